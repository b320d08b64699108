"""A node's agent: registers the node and does for each of its pods what the life cycle decides.

It holds no opinion: after every change of a pod or its facts, and at each wake-up, it calls `lifecycle.sync`, writes
the status, records the events and hands the actions to the runtime. Rules: the status is written before the actions
start, so that nothing that happened goes unreported; an action that is under way is not asked for again until its
outcome shows in the facts or `RETRY` has passed; a conflict means that the pod changed, so it is looked at again.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path

import msgspec

from seatrial.control.lifecycle import admission, origins, rejection, resize, shutdown, sync
from seatrial.control.lifecycle.configuration import DEFAULT_KUBELET, KubeletConfiguration
from seatrial.control.lifecycle.facts import (
    Action,
    CreateSandbox,
    Eviction,
    PodEvent,
    PodFacts,
    RemoveContainers,
    RemoveFromApi,
    RemoveSandbox,
    ResizeContainer,
    Room,
    RunPreStop,
    RunProbe,
    StartContainer,
    StopContainer,
    StopSandbox,
)
from seatrial.control.lifecycle.pods import DONE
from seatrial.control.volumes import mounting
from seatrial.control.writes import ConflictError, Delete, RecordEvent, RefusedError, UpdateStatus
from seatrial.kube import schemas
from seatrial.kube.objects import Node, Pod, PodStatus
from seatrial.kube.quantities import Quantity
from seatrial.node.api import Change, ClusterObjects
from seatrial.node.heartbeat import Heartbeat
from seatrial.node.manifests import ManifestDirectory
from seatrial.node.pressure import PressureWatch
from seatrial.node.runtime import Clock, PodRuntime, Timer
from seatrial.node.static import StaticPods

logger = logging.getLogger(__name__)

RETRY = timedelta(seconds=10)
"""How long an unanswered or failed action rests before it is asked for again (the kubelet's sync period)."""


@dataclass(slots=True)
class _Watched:
    """What the agent remembers of one pod."""

    pod: Pod
    allocated: Pod
    """The pod with the resources that the node grants it."""
    refusal: rejection.Rejection | None = None
    """Why the node does not take the pod."""
    waits_for: frozenset[str] = frozenset()
    """The uids of those that have to go before this one begins; `waits_until` then it begins all the same."""
    waits_until: datetime | None = None
    asked: dict[Action, datetime] = field(default_factory=dict)
    told: set[PodEvent] = field(default_factory=set)
    eviction: Eviction | None = None
    in_use: frozenset[str] = frozenset()
    """Its attachable volumes, until nothing of the pod is left here."""
    timer: Timer | None = None
    queued: bool = False


class NodeAgent:
    """`capacity` is what the node has, e.g. {"cpu": "2", "memory": "4Gi", "pods": "110"}.

    `renews` False is for simulated nodes: see `heartbeat`; all that they have is for pods. `version` is the Kubernetes
    version to behave as; `manifests` the directory of the node's static pods, if it has one.
    """

    def __init__(
        self,
        name: str,
        cluster: ClusterObjects,
        runtime: PodRuntime,
        clock: Clock,
        *,
        capacity: Mapping[str, str] | None = None,
        address: str = "",
        renews: bool = True,
        version: str = schemas.NEWEST,
        manifests: Path | None = None,
        configuration: KubeletConfiguration = DEFAULT_KUBELET,
    ) -> None:
        self.name = name
        self._minor = int(version.partition(".")[2])
        self._cluster = cluster
        self._runtime = runtime
        self._clock = clock
        self._heartbeat = Heartbeat(
            name,
            cluster,
            clock,
            capacity=capacity or {"cpu": "4", "memory": "8Gi", "pods": "110"},
            address=address,
            renews=renews,
            allocatable=configuration.allocatable if renews else dict,
        )
        self._pods: dict[str, _Watched] = {}
        self._waiting: set[str] = set()
        """The uids of pods that wait until others have made room."""
        self.static_pods = StaticPods(name, cluster, clock, self._follow)
        self._manifests = (
            ManifestDirectory(
                manifests, name, clock, want=self.static_pods.want, report=self._report_manifest, version=version
            )
            if manifests is not None
            else None
        )
        self._configuration = configuration
        self._pressure = PressureWatch(
            runtime,
            clock,
            configuration,
            pods=self._active,
            is_gone=self._is_gone,
            evict=self.evict,
            tell=self._tell_of_node,
            show=self._heartbeat.show,
            polls=renews,
        )
        self._shutdown: shutdown.Shutdown | None = None
        self._shutdown_timer: Timer | None = None
        self._on_off: Callable[[str], None] = lambda _: None
        self._lost = False
        self._stop_watching: Callable[[], None] = lambda: None

    def start(self) -> None:
        """Register the node, adopt the pods that are bound to it and follow them from now on.

        As upstream's, a node that begins admits again what it ran before, the oldest first.
        """
        self._runtime.on_change = self._wake
        self._heartbeat.start()
        self._stop_watching = self._cluster.subscribe(self._on_change)
        bound = [
            pod for pod in self._cluster.all(Pod) if pod.spec.node_name == self.name and not origins.is_mirror(pod)
        ]
        for pod in sorted(bound, key=lambda each: each.metadata.creation_timestamp or self._clock.now()):
            self._follow(pod)
        if self._manifests is not None:
            self._manifests.start()
        self.static_pods.start()
        for uid in set(self._runtime.uids()) - self._pods.keys():  # gone while no process of this node ran
            self._runtime.forget(uid)
        if not self._pods:
            self._report_volumes()
        self._pressure.start()

    def stop(self) -> None:
        """Look at nothing any more; containers keep running."""
        self._pause()
        self._heartbeat.stop()
        self._pods.clear()

    def fall_silent(self) -> None:
        """As if the node were cut off: nothing is reported, nothing done; containers keep running."""
        self._heartbeat.fall_silent()
        self._lost = True
        self._pause()

    def come_back(self) -> None:
        """Report again, finish what was deleted meanwhile, go on with the rest; or call off a shutdown under way."""
        if self._shutdown is not None:
            self._shutdown = None
            self._tell_of_node("Normal", "NodeShutdown", shutdown.CANCELLED)
            self._heartbeat.show_ready()
            self.static_pods.closed = False
            self.static_pods.look_soon()
            return
        self._lost = False
        for uid, watched in tuple(self._pods.items()):
            if origins.is_static(watched.pod):
                self._wake(uid)
                continue
            pod = self._cluster.get(Pod, watched.pod.metadata.namespace, watched.pod.metadata.name)
            if pod is None or pod.metadata.uid != uid:
                del self._pods[uid]
                self._runtime.forget(uid)
        self.start()

    def evict(self, pod: Pod, eviction: Eviction) -> None:
        """The node ends a pod by itself and says so; `control.lifecycle.pressure` says whom and why."""
        watched = self._pods.get(pod.metadata.uid)
        if watched is not None and watched.eviction is None:
            self._record(watched, PodEvent("Warning", eviction.reason, eviction.message, eviction.at))
            self._end(watched, eviction)

    def _end(self, watched: _Watched, eviction: Eviction) -> None:
        if watched.eviction is None:
            watched.eviction = eviction
            self._wake(watched.pod.metadata.uid)

    def shut_down(self, on_off: Callable[[str], None] = lambda _: None) -> None:
        """The machine is about to go off: end the pods in order, if the node is configured to, then fall silent.

        `on_off` is told the node's name when it has come to that.
        """
        if self._lost or self._shutdown is not None:
            on_off(self.name)
            return
        self._on_off = on_off
        graces = self._configuration.shutdown_graces
        if not graces:
            self._go_off()
            return
        self._tell_of_node("Normal", "NodeShutdown", shutdown.BEGINS)
        self._shutdown = shutdown.begin(graces, self._active())
        self._heartbeat.show_ready(shutdown.NOT_READY)
        self.static_pods.closed = True
        self._shut_down_further()

    def _shut_down_further(self) -> None:
        if self._shutdown is None:
            return
        step = shutdown.step(self._shutdown, self._is_gone, self._clock.now())
        self._shutdown = step.shutdown
        for pod, eviction in step.evict:
            if pod.metadata.uid in self._pods:
                self._end(self._pods[pod.metadata.uid], eviction)
        if step.shutdown is None:
            self._go_off()
        elif step.wake_at is not None:
            if self._shutdown_timer is not None:
                self._shutdown_timer.cancel()
            self._shutdown_timer = self._clock.call_at(step.wake_at, self._shut_down_further)

    def _go_off(self) -> None:
        """The machine forgets; what it runs when it is switched on again is admitted and begins anew."""
        self.fall_silent()
        self._heartbeat.show_ready()
        self._runtime.power_off()
        self._pressure.forget()
        self._pods.clear()
        self._waiting.clear()
        self.static_pods.closed = False
        self.static_pods.forget()
        self._on_off(self.name)

    def _active(self) -> list[Pod]:
        """The pods of which something may run."""
        return [each.pod for each in self._pods.values() if each.refusal is None and not self._is_gone(each.pod)]

    def _is_gone(self, pod: Pod) -> bool:
        """Nothing of the pod is left on the node but dead containers, and it does not begin any more."""
        watched = self._pods.get(pod.metadata.uid)
        if watched is None:
            return True
        if watched.pod.status.phase not in DONE:
            return False
        facts = self._runtime.facts(watched.pod)
        return facts.sandbox is None and not any(each.finished_at is None for each in facts.containers)

    def _pause(self) -> None:
        self._stop_watching()
        self._stop_watching = lambda: None
        self._pressure.stop()
        self.static_pods.pause()
        if self._manifests is not None:
            self._manifests.stop()
        for watched in self._pods.values():
            if watched.timer is not None:
                watched.timer.cancel()
                watched.timer = None

    def _on_change(self, change: Change) -> None:
        before, after = change.before, change.after
        self._heartbeat.on_change(change)
        self.static_pods.on_change(change)
        if isinstance(after, Pod) and after.spec.node_name == self.name and not origins.is_mirror(after):
            self._follow(after)
        elif after is None and isinstance(before, Pod) and before.metadata.uid in self._pods:
            self._drop(before.metadata.uid)

    def _drop(self, uid: str) -> None:
        watched = self._pods.pop(uid)
        if watched.timer is not None:
            watched.timer.cancel()
        self._waiting.discard(uid)
        self._runtime.forget(uid)
        self._report_volumes()
        self._wake_deferred()
        self._wake_waiting()

    def _wake_waiting(self) -> None:
        for uid in self._waiting:
            self._wake(uid)

    def _wake_deferred(self) -> None:
        """There may be room now for resizes that had to wait."""
        for uid, watched in self._pods.items():
            if any(each.type == "PodResizePending" for each in watched.pod.status.conditions):
                self._wake(uid)

    def _follow(self, pod: Pod) -> None:
        uid = pod.metadata.uid
        watched = self._pods.get(uid)
        if watched is None:
            watched = _Watched(pod, pod)
            if pod.status.phase not in DONE and pod.metadata.deletion_timestamp is None and not self._lost:
                self._admit(watched)
            self._pods[uid] = watched
        watched.pod = pod
        self._wake(uid)

    def _admit(self, newcomer: _Watched) -> None:
        """Decide whether the pod is taken, and have those go that make room for it."""
        pod, now = newcomer.pod, self._clock.now()
        others = [
            each.allocated
            for each in self._pods.values()
            if each.refusal is None
            and (each.eviction is None or each.eviction.reason != admission.PREEMPTED)
            and each.pod.status.phase not in DONE  # as the scheduler sees it, who binds as soon as it is told
        ]
        found = admission.admit(
            pod,
            self._heartbeat.node(),
            others,
            pressures=self._pressure.conditions,
            shutting_down=self._shutdown is not None,
            minor=self._minor,
        )
        newcomer.refusal = found.rejection
        if found.rejection is not None:
            self._tell(RecordEvent(pod, "Warning", found.rejection.reason, found.rejection.message))
        if found.preempted:
            newcomer.waits_for = frozenset(other.metadata.uid for other in found.preempted)
            newcomer.waits_until = now + admission.patience(found.preempted)
            self._waiting.add(pod.metadata.uid)
            for other in found.preempted:
                self.evict(other, admission.preemption(other, now))

    def _waits_for_room(self, watched: _Watched, now: datetime) -> bool:
        uid, until = watched.pod.metadata.uid, watched.waits_until
        if until is None or uid not in self._waiting:
            return False
        going = any(other in self._pods and not self._is_gone(self._pods[other].pod) for other in watched.waits_for)
        if going and now < until and watched.pod.metadata.deletion_timestamp is None:
            if watched.timer is None:
                watched.timer = self._clock.call_at(until, lambda: self._wake(uid))
            return True
        self._waiting.discard(uid)
        return False

    def _wake(self, uid: str) -> None:
        """Look at the pod soon; never at once, because we may be inside a write or a runtime's call."""
        watched = self._pods.get(uid)
        if watched is not None and not watched.queued:
            watched.queued = True
            self._clock.call_at(self._clock.now(), lambda: self._look(uid))

    def _look(self, uid: str) -> None:
        watched = self._pods.get(uid)
        if watched is None:
            return
        watched.queued = False
        if self._lost:
            return
        now = self._clock.now()
        pod = watched.pod
        if watched.refusal is not None and pod.status.phase not in DONE:
            self._report(watched, rejection.status(pod, watched.refusal, now, minor=self._minor))
            return
        if self._waits_for_room(watched, now):
            return
        facts = self._facts(watched)
        self._use_volumes(watched, facts)
        decision = sync(pod, facts, now, minor=self._minor)
        watched.allocated = decision.allocated
        if decision.status != pod.status and not self._report(watched, decision.status):
            return
        for event in decision.events:
            self._record(watched, event)
        self._perform(watched, decision.allocated, decision.actions, facts, now)
        wakes = [at for at in (decision.wake_at, *self._retries(watched, decision.actions)) if at is not None]
        if watched.timer is not None:
            watched.timer.cancel()
            watched.timer = None
        if wakes and uid in self._pods:
            watched.timer = self._clock.call_at(max(now, min(wakes)), lambda: self._wake(uid))
        self._wake_waiting()
        if self._shutdown is not None:
            self._shut_down_further()

    def _report(self, watched: _Watched, status: PodStatus) -> bool:
        """Write the pod's status; False if somebody else wrote the pod, which then is looked at again."""
        pod = watched.pod
        reported = msgspec.structs.replace(pod, status=status)
        if origins.is_static(pod):
            watched.pod = reported
            self.static_pods.report(reported)
            self._wake(pod.metadata.uid)
            return True
        try:
            self._cluster.apply(UpdateStatus(pod, reported))
        except ConflictError:
            fresh = self._cluster.get(Pod, pod.metadata.namespace, pod.metadata.name)
            if fresh is not None and fresh.metadata.uid == pod.metadata.uid:
                self._follow(fresh)
            return False
        except RefusedError as error:
            logger.warning("status: %s", error)
        return True

    def _use_volumes(self, watched: _Watched, facts: PodFacts) -> None:
        if any(mounting.is_claim(volume) for volume in watched.pod.spec.volumes):
            ended = watched.pod.status.phase in DONE and facts.sandbox is None
            watched.in_use = frozenset() if ended else mounting.in_use(watched.pod, self._cluster)
            self._report_volumes()

    def _report_volumes(self) -> None:
        self._heartbeat.use(tuple(sorted({name for each in self._pods.values() for name in each.in_use})))

    def _facts(self, watched: _Watched) -> PodFacts:
        facts = self._runtime.facts(watched.pod)
        if watched.eviction is not None:
            facts = replace(facts, eviction=watched.eviction)
        if resize.wanted(watched.pod, facts):
            facts = replace(facts, room=self._room(watched.pod))
        return facts

    def _room(self, pod: Pod) -> Room | None:
        node = self._cluster.get(Node, "", self.name)
        if node is None:
            return None
        used: dict[str, Quantity] = {}
        for uid, other in self._pods.items():
            if uid != pod.metadata.uid and other.pod.status.phase not in DONE:
                for name, amount in resize.requests(other.pod).items():
                    used[name] = used[name] + amount if name in used else amount
        return Room(node.status.allocatable, used)

    def _record(self, watched: _Watched, event: PodEvent) -> None:
        if event in watched.told:
            return
        watched.told.add(event)
        self._tell(RecordEvent(watched.pod, event.type, event.reason, event.message))

    def _tell(self, event: RecordEvent) -> None:
        try:
            self._cluster.apply(event)
        except (ConflictError, RefusedError) as error:
            logger.warning("event: %s", error)

    def _report_manifest(self, message: str) -> None:
        self._tell_of_node("Warning", "FailedValidation", message)

    def _tell_of_node(self, kind: str, reason: str, message: str) -> None:
        node = self._cluster.get(Node, "", self.name)
        if node is not None:
            self._tell(RecordEvent(node, kind, reason, message))

    def _perform(
        self, watched: _Watched, allocated: Pod, actions: tuple[Action, ...], facts: PodFacts, now: datetime
    ) -> None:
        watched.asked = {
            a: at
            for a, at in watched.asked.items()
            if (a in actions if isinstance(a, ResizeContainer) else not _answered(a, facts, at))
        }
        for action in actions:
            asked_at = watched.asked.get(action)
            if asked_at is not None and now < asked_at + RETRY and not isinstance(action, RemoveFromApi):
                continue
            watched.asked[action] = now
            if isinstance(action, RemoveFromApi) and origins.is_static(watched.pod):
                self._drop(watched.pod.metadata.uid)
                self.static_pods.ended(watched.pod.metadata.uid)
            elif isinstance(action, RemoveFromApi):
                try:
                    self._cluster.apply(Delete(watched.pod, grace_period_s=0))
                except ConflictError:
                    self._wake(watched.pod.metadata.uid)
            else:
                self._runtime.perform(allocated, action)

    @staticmethod
    def _retries(watched: _Watched, actions: tuple[Action, ...]) -> list[datetime]:
        return [watched.asked[action] + RETRY for action in actions if action in watched.asked]


def _answered(action: Action, facts: PodFacts, asked_at: datetime) -> bool:
    """The outcome of an action shows in the facts, so that the same action would be a new one."""
    match action:
        case CreateSandbox():
            return facts.sandbox is not None
        case RemoveSandbox() | StopSandbox():
            return facts.sandbox is None
        case RemoveContainers():
            return not facts.containers
        case RunPreStop(name=name):
            return name in facts.stops
        case StartContainer(name=name, attempt=attempt):
            return any(fact.name == name and fact.attempt >= attempt for fact in facts.containers)
        case StopContainer(name=name, attempt=attempt):
            return any(f.name == name and f.attempt == attempt and f.finished_at is not None for f in facts.containers)
        case RunProbe(container=name, attempt=attempt, kind=kind):
            wanted = (name, attempt, kind)
            runs = (p for p in facts.probes if (p.container, p.attempt, p.kind) == wanted)
            return any(p.last_at is not None and p.last_at >= asked_at for p in runs)
        case RemoveFromApi() | ResizeContainer():
            return False
