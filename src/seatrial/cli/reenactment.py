"""A counterexample made again on the embedded cluster's own API, controllers and scheduler, move by move.

The checker says in which order who moves; here the one who moves is the cluster's: a controller of the control loop is
asked for one decision about the subject, which is written through the API; the scheduler is asked about the pod, and
must find the node of the counterexample among the best; what containers come to is reported by the pod life cycle's
`sync`; what the user does is a patch. After each move the pods of the cluster must be those of the checker's state, as
far as they can be told apart there (`signature`). Nothing moves by itself.

Which of several equal pods a controller picks hangs on their names, which are drawn: other names are tried.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from typing import Any, Final

import msgspec

from seatrial.check.model.pods import Outcome, facts
from seatrial.check.model.space import ABSENT, Effect, State
from seatrial.check.story import Run
from seatrial.cluster.clock import VirtualClock
from seatrial.cluster.cluster import Cluster
from seatrial.cluster.objects import Component
from seatrial.control import scheduler
from seatrial.control.lifecycle import sync
from seatrial.control.manager import CONTROLLERS
from seatrial.control.ownership import ready_since
from seatrial.control.writes import Bind, Delete, RefusedError, UpdateStatus
from seatrial.kube.objects import JsonObject, Namespace, Node, Object, Pod, ResourceQuota, to_wire
from seatrial.kube.objects.pods import PodCondition
from seatrial.kube.patches import diff_merge
from seatrial.server.requests import MERGE_PATCH, Options
from seatrial.server.store import Store

NAMES_TRIED: Final = 12
_LATER: Final = timedelta(seconds=1)
"""What passes between two moves, so that who came first is known."""

Signature = Counter[tuple[str, ...]]


class DiffersError(Exception):
    """The cluster did not do what the checker said; the message says what it did."""


class NoReplayError(Exception):
    """The counterexample has a move that this cannot make."""


def reenact(run: Run, version: str, told: Callable[[int], None] = lambda _: None) -> int:
    """Makes the moves of a run; `told` hears of each, by its number. The number of names tried until all went through.

    Raises `DiffersError` (of the last try), `NoReplayError`.
    """
    for seed in range(NAMES_TRIED):
        stage = _Stage(run, version, seed)
        try:
            for number, (effect, after) in enumerate(run.moves):
                stage.move(effect, after)
                told(number)
            stage.end()
        except DiffersError:
            if seed == NAMES_TRIED - 1:
                raise
        else:
            return seed + 1
    raise AssertionError("the last try returns or raises")


class _Stage:
    def __init__(self, run: Run, version: str, seed: int) -> None:
        self._run = run
        self._pool = run.pool
        self._minor = int(version.partition(".")[2])
        self._clock = VirtualClock()
        self._cluster = Cluster(
            Store.open(":memory:"), nodes=(), controllers=CONTROLLERS, clock=self._clock, version=version, seed=seed
        )
        self._api = self._cluster.api
        self._objects = self._cluster.objects
        self._hand = Component(self._objects, "replay")
        self._signatures: list[Signature] = []
        there = [self._pool[number] for slot in run.initial for number in slot]
        objects = [item for item in there if isinstance(item, Object)]
        for namespace in dict.fromkeys(item.metadata.namespace for item in objects if item.metadata.namespace):
            if self._objects.get(Namespace, "", namespace) is None:
                self._api.create(self._api.kind("v1", "Namespace"), "", {"metadata": {"name": namespace}})
            self._api.create(self._api.kind("v1", "ServiceAccount"), namespace, {"metadata": {"name": "default"}})
        for item in objects:
            self._create(item)

    def _create(self, item: Object) -> None:
        raw = to_wire(item)
        kept = ("name", "namespace", "labels", "annotations")
        raw["metadata"] = {key: value for key, value in raw["metadata"].items() if key in kept}
        resource = self._api.kind(*item.identity)
        self._api.create(resource, item.metadata.namespace, raw, Options(trusted=True))
        if isinstance(item, Node | ResourceQuota):
            self._set_status(item)

    def _set_status(self, item: Object) -> None:
        status = {"status": to_wire(item).get("status", {})}
        meta, resource = item.metadata, self._api.kind(*item.identity)
        trusted = Options(trusted=True)
        self._api.patch(resource, meta.namespace, meta.name, status, MERGE_PATCH, trusted, subresource="status")

    def move(self, effect: Effect, after: State) -> None:
        self._clock.run(_LATER)
        actor = str(effect.label[0])
        if actor == "user":
            self._user(effect)
        elif actor == "scheduler":
            self._schedule(effect)
        elif actor == "node stops":
            self._gone(self._like(self._pool[effect.pairs[0][0]]))
        elif actor.startswith("node "):
            self._node(effect, Outcome[actor.removeprefix("node ")])
        elif actor == "time":
            self._clock.run(timedelta(seconds=self._min_ready_s()))
        elif any(each.name == actor for each in CONTROLLERS):
            self._control(actor, effect)
        else:
            raise NoReplayError(f"a move of {effect.actor} ({effect.action}) cannot be made on the cluster yet")
        here, there = self._signature(), self._wanted(after)
        if here != there:
            raise DiffersError(f"{effect.actor}: expected {_shown(there)}; the cluster has {_shown(here)}")
        self._signatures.append(here)

    def end(self) -> None:
        """Where the run is stuck nobody moves here either; where it repeats the pods are those of the first time."""
        if self._run.loop and self._signatures[self._run.loop - 1] != self._signatures[-1]:
            raise DiffersError("going around once leads to other pods than at first")
        if not self._run.stuck:
            return
        before = self._signature()
        for controller in CONTROLLERS:
            for subject in tuple(self._objects.all(controller.subject)):
                self._cluster.loop.step(controller.name, subject.key)
        for pod in self._pods():
            if not pod.spec.node_name and self._placement(pod).best:
                raise DiffersError(f"pod {pod.metadata.name} finds a node after all")
        if self._signature() != before:
            raise DiffersError(f"it goes on from {_shown(before)} to {_shown(self._signature())}")

    def _control(self, name: str, effect: Effect) -> None:
        number: Any = effect.label[1]
        subject: Object = self._pool[number]
        if not subject.metadata.name:
            raise NoReplayError(f"{effect.actor} decides about an object whose name is drawn")
        self._cluster.loop.step(name, subject.key)
        if any(isinstance(self._pool[old], Pod) for old, new in effect.pairs if old != ABSENT and new == ABSENT):
            # Where pods that stop decide nothing the checker takes them away at once.
            for pod in self._pods():
                if pod.metadata.deletion_timestamp is not None:
                    self._gone(pod)

    def _schedule(self, effect: Effect) -> None:
        before, after = (self._pool[number] for number in effect.pairs[0])
        pod = self._like(before)
        placement = self._placement(pod)
        if after.spec.node_name:
            if after.spec.node_name not in placement.best:
                raise DiffersError(f"the scheduler takes one of {', '.join(placement.best) or 'no nodes'}")
            self._write(Bind(pod, after.spec.node_name))
        elif placement.best:
            raise DiffersError(f"the scheduler places {pod.metadata.name} on one of {', '.join(placement.best)}")
        else:
            refused = PodCondition(
                type="PodScheduled", status="False", reason="Unschedulable", message=placement.message
            )
            self._write(UpdateStatus(pod, msgspec.structs.replace(pod, status=_with(pod.status, refused))))

    def _placement(self, pod: Pod) -> Any:
        others = [each for each in self._pods() if each.spec.node_name]
        return scheduler.schedule(pod, self._objects.all(Node), others, minor=self._minor)

    def _node(self, effect: Effect, outcome: Outcome) -> None:
        pod = self._like(self._pool[effect.pairs[0][0]])
        for _ in range(2):  # what the first makes known the second acts upon
            status = sync(pod, facts(pod, outcome), self._clock.now(), minor=self._minor).status
            self._write(UpdateStatus(pod, msgspec.structs.replace(pod, status=status)))
            again = self._objects.get(Pod, pod.metadata.namespace, pod.metadata.name)
            assert again is not None
            pod = again

    def _user(self, effect: Effect) -> None:
        for old, new in effect.pairs:
            before, after = (None if number == ABSENT else self._pool[number] for number in (old, new))
            if isinstance(before, Pod) and isinstance(after, Pod):  # a pod on a node that stops answering
                pod = self._like(before)
                self._write(UpdateStatus(pod, msgspec.structs.replace(pod, status=after.status)))
            elif isinstance(before, Object) and isinstance(after, Object):
                patch = diff_merge(_desired(before), _desired(after))
                resource = self._api.kind(*after.identity)
                self._api.patch(resource, after.metadata.namespace, after.metadata.name, patch, MERGE_PATCH)
                if isinstance(after, Node):
                    self._set_status(after)
            elif isinstance(after, Object):
                self._create(after)
            elif isinstance(before, Object):
                self._api.delete(self._api.kind(*before.identity), before.metadata.namespace, before.metadata.name)

    def _gone(self, pod: Pod) -> None:
        self._write(Delete(pod, grace_period_s=0))

    def _write(self, write: Any) -> None:
        try:
            self._hand.apply(write)
        except RefusedError as error:
            raise DiffersError(f"the API refuses: {error}") from error

    def _min_ready_s(self) -> int:
        subjects = [self._pool[number] for number in self._run.initial[0]]
        return max((getattr(each.spec, "min_ready_seconds", 0) for each in subjects), default=0)

    def _pods(self) -> tuple[Pod, ...]:
        return tuple(self._objects.all(Pod))

    def _like(self, wanted: Pod) -> Pod:
        """A pod of the cluster that cannot be told from one of the checker's."""
        signature = _of(wanted)
        found = next((pod for pod in self._pods() if _of(pod) == signature), None)
        if found is None:
            raise DiffersError(f"there is no pod {' '.join(signature)}")
        return found

    def _signature(self) -> Signature:
        return Counter(_of(pod) for pod in self._pods())

    def _wanted(self, state: State) -> Signature:
        return Counter(_of(self._pool[number]) for number in state[self._run.space.pods])


def _of(pod: Pod) -> tuple[str, ...]:
    """What tells a pod from others: its owner, its own name unless drawn, its template's marks, node and condition."""
    owner = pod.metadata.controller
    name = pod.metadata.name if owner is not None and owner.kind == "StatefulSet" else ""
    marks = tuple(sorted(f"{key}={value}" for key, value in pod.metadata.annotations.items()))
    if pod.metadata.deletion_timestamp is not None:
        how = "stopping"
    elif ready_since(pod) is not None:
        how = "ready"
    elif any(status.state is not None and status.state.terminated for status in pod.status.container_statuses):
        how = "crashed"
    else:
        how = "starting" if pod.spec.node_name else "pending"
    return (owner.name if owner else "", name, *marks, pod.spec.node_name, how)


def _shown(signature: Signature) -> str:
    return (
        ", ".join(f"{count} x {' '.join(filter(None, each))}" for each, count in sorted(signature.items())) or "no pods"
    )


def _with(status: Any, condition: PodCondition) -> Any:
    others = tuple(each for each in status.conditions if each.type != condition.type)
    return msgspec.structs.replace(status, conditions=(*others, condition), phase="Pending")


def _desired(item: Object) -> JsonObject:
    """What a user writes of an object."""
    raw = to_wire(item)
    metadata = {key: value for key, value in raw["metadata"].items() if key in ("labels", "annotations")}
    return {**{key: value for key, value in raw.items() if key != "status"}, "metadata": metadata}
