"""A cluster that is a dict: writes are applied at once, controllers run one after the other until nothing changes."""

from __future__ import annotations

import base64
import dataclasses
import json
from collections.abc import Callable, Hashable, Iterable
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from msgspec.structs import replace

from seatrial.control import disruption
from seatrial.control.batches import execute
from seatrial.control.controller import NEWEST_MINOR, Controller
from seatrial.control.relations import observe
from seatrial.control.scheduler import machines
from seatrial.control.writes import (
    Bind,
    Create,
    Delete,
    Evict,
    IssueToken,
    Propagation,
    RecordEvent,
    Refusal,
    RefusedError,
    SignCertificate,
    Update,
    UpdateStatus,
    Write,
)
from seatrial.kube.objects import (
    KINDS,
    Key,
    Namespace,
    Object,
    Pod,
    PodDisruptionBudget,
    ReplicaSet,
    Value,
    parse,
)
from seatrial.kube.objects.pods import PodCondition, PodIP, PodStatus

T = TypeVar("T", bound=Object)
START = datetime(2030, 1, 1, tzinfo=UTC)


class Harness:
    def __init__(self, controllers: Iterable[Controller]) -> None:
        self.controllers = tuple(controllers)
        self.objects: dict[Key, Object] = {}
        self.events: list[str] = []
        self.now = START
        self.wake_at: datetime | None = None
        self.memories: dict[tuple[str, Key], Hashable | None] = {}
        self.wakes: dict[tuple[str, Key], datetime | None] = {}
        self._repeated: dict[tuple[str, Key], tuple[Write, ...]] = {}
        self.minor = NEWEST_MINOR
        self.refuse: Callable[[Write], str] = lambda write: ""
        """What the API says to a write that it does not take; "" where it does."""
        self._serial = 0

    def apply(self, raw: dict[str, object]) -> None:
        obj = parse(raw)
        assert obj is not None
        old = self.objects.get(obj.key)
        if old is None:
            self.create(obj)
        else:
            meta = replace(old.metadata, generation=old.metadata.generation + 1, labels=obj.metadata.labels)
            self.objects[obj.key] = replace(obj, metadata=meta, **_status_of(old))

    def create(self, obj: Object) -> Object:
        self._serial += 1
        meta = obj.metadata
        name = meta.name or f"{meta.generate_name}{self._serial:05d}"
        meta = replace(
            meta, name=name, uid=meta.uid or f"uid-{self._serial:05d}", generation=1, creation_timestamp=self.now
        )
        obj = replace(obj, metadata=meta)
        assert obj.key not in self.objects, f"{obj.key} exists"
        self.objects[obj.key] = obj
        return obj

    def all(self, kind: type[T]) -> list[T]:
        return [obj for _, obj in sorted(self.objects.items()) if isinstance(obj, kind)]

    def get(self, kind: type[T], name: str, namespace: str = "default") -> T:
        obj = self.objects[Key(kind.kind, namespace, name)]
        assert isinstance(obj, kind)
        return obj

    def write(self, write: Write, created: str = "") -> str:
        match write:
            case Create(obj):
                return self.create(obj).metadata.name
            case Update(before, after):
                current = self.objects[before.key]
                changes = {name: getattr(after, name) for name in _differing(before, after) - {"metadata", "status"}}
                meta_changes = {
                    name: getattr(after.metadata, name) for name in _differing(before.metadata, after.metadata)
                }
                if changes:
                    meta_changes["generation"] = current.metadata.generation + 1
                updated = replace(current, metadata=replace(current.metadata, **meta_changes), **changes)
                self._put(updated, graceful=_ends_gracefully(updated))
            case UpdateStatus(before, after):
                self.objects[before.key] = replace(self.objects[before.key], **_status_of(after))
            case IssueToken(before, after, claims):
                token = base64.b64encode(json.dumps(claims, sort_keys=True).encode()).decode()
                return self.write(Update(before, replace(after, data={**after.data, "token": token})))
            case SignCertificate(request):
                signed = base64.b64encode(f"{write.not_before} to {write.not_after}".encode()).decode()
                after = replace(request, status=replace(request.status, certificate=signed))
                return self.write(UpdateStatus(request, after))
            case Delete(obj):
                self.delete(obj.key, write.propagation)
            case Evict(pod):
                self.evict(pod.metadata.name, pod.metadata.namespace)
            case Bind(pod, node):
                self.objects[pod.key] = replace(pod, spec=replace(pod.spec, node_name=node))
            case RecordEvent():
                self.events.append(f"{write.type} {write.reason} {write.message.replace('{created}', created)}")
        return ""

    def delete(self, key: Key, propagation: Propagation = Propagation.BACKGROUND) -> None:
        obj = self.objects[key]
        finalizers = list(obj.metadata.finalizers)
        extra = {Propagation.FOREGROUND: "foregroundDeletion", Propagation.ORPHAN: "orphan"}.get(propagation)
        if extra and extra not in finalizers:
            finalizers.append(extra)
        going = obj.metadata.deletion_timestamp or self.now
        self._put(
            replace(obj, metadata=replace(obj.metadata, finalizers=tuple(finalizers), deletion_timestamp=going)),
            graceful=_ends_gracefully(obj),
        )

    def evict(self, name: str, namespace: str = "default") -> disruption.Refused | None:
        """What the eviction subresource does."""
        pod = self.get(Pod, name, namespace)
        budgets = [each for each in self.all(PodDisruptionBudget) if each.metadata.namespace == namespace]
        decided = disruption.evict(pod, budgets, self.now)
        if isinstance(decided, disruption.Refused):
            return decided
        if decided is not None:
            self.objects[decided.key] = decided
        self.objects[pod.key] = disruption.evicted(pod, self.now, "EvictionByEvictionAPI", "Eviction API: evicting")
        self.delete(pod.key)
        return None

    def _put(self, obj: Object, graceful: bool = False) -> None:
        held = bool(obj.metadata.finalizers) or (isinstance(obj, Namespace) and bool(obj.spec.finalizers))
        if obj.metadata.deletion_timestamp is not None and not held and not graceful:
            self.objects.pop(obj.key, None)
        else:
            self.objects[obj.key] = obj

    def step(self, controller: Controller, subject: Object, refused: tuple[Refusal, ...] = ()) -> bool:
        """Let one controller decide once; whether it wrote anything, and was not stopped by a refusal."""
        seen = observe(controller, subject, {kind: self.all(kind) for kind in KINDS.values()}, self.now)
        who = (controller.actor, subject.key)
        seen = dataclasses.replace(seen, memory=self.memories.get(who), minor=self.minor, refused=refused)
        decision = controller.reconcile(seen)
        self.memories[who], self.wakes[who] = decision.memory, decision.wake_at
        if controller.name == "deployment-controller":
            self.wake_at = decision.wake_at
        only_tells = all(isinstance(write, RecordEvent) for write in decision.writes)
        if only_tells and self._repeated.get(who) == decision.writes:
            return False  # a cluster would be woken by nothing and not ask again
        self._repeated[who] = decision.writes
        created = ""

        def make(write: Write) -> None:
            nonlocal created
            error = self.refuse(write)
            if error:
                raise RefusedError(error)
            created = self.write(write, created) or created

        now_refused = execute(decision, make)
        if now_refused:
            if not refused and controller.hears_refusals and subject.key in self.objects:
                self.step(controller, self.objects[subject.key], now_refused)
            return False
        return bool(decision.writes)

    def settle(self, limit: int = 200) -> int:
        """Run every controller until none writes; how many decisions wrote something."""
        for count in range(limit):
            if not self.step_once():
                return count
        raise AssertionError(f"no rest after {limit} decisions")

    def step_once(self) -> bool:
        return any(
            self.step(controller, subject)
            for controller in self.controllers
            for subject in self.all(controller.subject)
            if subject.key in self.objects and (controller.concerned is None or controller.concerned(subject))
        )

    def run_pods(self, count: int | None = None, *, node: str = "n1", ready: bool = True) -> None:
        """The first `count` pods that are not ready become so; deleted ones go."""
        self.finish_deleted()
        todo = [pod for pod in self.all(Pod) if not pod.status.conditions]
        for pod in todo[:count]:
            ip = f"10.0.0.{self._serial % 200 + 1}"
            self._serial += 1
            condition = PodCondition(type="Ready", status="True" if ready else "False", last_transition_time=self.now)
            status = PodStatus(phase="Running", pod_ip=ip, pod_ips=(PodIP(ip=ip),), conditions=(condition,))
            named = sorted(machines.named_nodes(pod) or (node,))
            self.objects[pod.key] = replace(pod, spec=replace(pod.spec, node_name=named[0]), status=status)

    def finish_deleted(self) -> None:
        for pod in self.all(Pod):
            if pod.metadata.deletion_timestamp is not None and not pod.metadata.finalizers:
                del self.objects[pod.key]

    def roll_out(self, rounds: int = 50) -> list[str]:
        """Settle and let pods become ready, by turns, until nothing changes: the ReplicaSets' sizes on the way."""
        story: list[str] = []
        for _ in range(rounds):
            wrote = self.settle()
            sizes = " ".join(f"{rs.metadata.annotations[REVISION]}:{rs.spec.replicas}" for rs in self.by_revision())
            if not story or story[-1] != sizes:
                story.append(sizes)
            pending = [pod for pod in self.all(Pod) if not pod.status.conditions or pod.metadata.deletion_timestamp]
            if not wrote and not pending:
                return story
            self.run_pods()
        raise AssertionError(f"the rollout did not end: {story}")

    def by_revision(self) -> list[ReplicaSet]:
        return sorted(self.all(ReplicaSet), key=lambda rs: int(rs.metadata.annotations.get(REVISION, "0")))

    def pass_time(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)

    def live(self, seconds: float) -> None:
        """Let time pass; every controller looks when it asked to be woken, and once at the end."""
        end = self.now + timedelta(seconds=seconds)
        self.settle()
        while True:
            due = [at for (_, key), at in self.wakes.items() if at is not None and key in self.objects]
            self.now = min((at for at in due if at > self.now), default=end)
            if self.now >= end:
                self.now = end
                self.settle()
                return
            self.settle()


def _ends_gracefully(obj: Object) -> bool:
    """Whether a node has to end it before it goes."""
    return isinstance(obj, Pod) and bool(obj.spec.node_name) and obj.status.phase not in {"Succeeded", "Failed"}


def _status_of(obj: Object) -> dict[str, Any]:
    return {"status": obj.status} if hasattr(obj, "status") else {}


def _differing(before: Value, after: Value) -> set[str]:
    """Views are cut down, so only what differs between before and after may be written."""
    return {name for name in before.__struct_fields__ if getattr(before, name) != getattr(after, name)}


REVISION = "deployment.kubernetes.io/revision"


def deployment(image: str = "app:1", replicas: int = 3, **spec: object) -> dict[str, object]:
    port = {"name": "http", "containerPort": 80}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": "web"}},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}},
            "revisionHistoryLimit": 10,
            "progressDeadlineSeconds": 600,
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [{"name": "app", "image": image, "ports": [port]}]},
            },
            **spec,
        },
    }
