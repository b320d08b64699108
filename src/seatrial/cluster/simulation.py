"""When a simulated cluster's time leaps: while something is under way, at most an hour past an outside write.

Rules: what waits only for time (a container's start, a back-off, a progress deadline) is not waited for; a cluster
that has settled runs on real time, so that its probes cost nothing; a cluster that never settles (a crash loop) stops
leaping an hour of its own time after the last change that came from outside.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Final, Protocol, TypeVar

from seatrial.cluster.clock import LeapingClock
from seatrial.cluster.cluster import Cluster
from seatrial.cluster.settings import Event, NodeLoss, NodePressure, NodeShutdown
from seatrial.control.deployment import is_complete
from seatrial.control.ownership import is_ready
from seatrial.kube.objects import (
    DaemonSet,
    Deployment,
    Job,
    Key,
    Object,
    Pod,
    ReplicaSet,
    ReplicationController,
    StatefulSet,
)
from seatrial.node.api import Change
from seatrial.server.store import Store

T = TypeVar("T", bound=Object)

PATIENCE = timedelta(hours=1)


QUIET_S = 1.0
"""Planned events count from when nobody outside has written for so long (real time): the system has been applied."""
AFTERMATH = timedelta(minutes=10)
"""How long an event is followed in leaps: unreachable after 40 s, evicted 300 s later, started elsewhere."""


def resumed(store: Store, start: datetime | None = None) -> LeapingClock:
    """A clock that begins at `start`, if that is given, and never behind what the stored objects say has happened."""
    made = (stored.raw["metadata"] for resource in store.resources() for stored in store.all(resource).values())
    times = (datetime.fromisoformat(each["creationTimestamp"]) for each in made if "creationTimestamp" in each)
    now = datetime.now(UTC)
    ahead = max((time - now for time in times), default=timedelta())
    return LeapingClock(ahead if start is None else max(ahead, start - now))


@asynccontextmanager
async def passing(cluster: Cluster, events: Sequence[Event] = ()) -> AsyncIterator[None]:
    """Time passes in a cluster with a `LeapingClock` while this is entered, and nodes meet with what is planned."""
    clock = cluster.clock
    assert isinstance(clock, LeapingClock), "made with `resumed`"
    last_outside = clock.now()
    planned_until: datetime | None = None
    quiet: asyncio.TimerHandle | None = None

    def become_quiet() -> None:
        nonlocal planned_until
        if planned_until is None:
            planned_until = plan(cluster, events)
        clock.look_again()

    def on_change(_: Change) -> None:
        nonlocal last_outside, quiet
        if not cluster.objects.own_write:
            last_outside = clock.now()
            if events:
                if quiet is not None:
                    quiet.cancel()
                quiet = asyncio.get_running_loop().call_later(QUIET_S, become_quiet)

    under_way = UnderWay(cluster.objects)

    def leaps() -> bool:
        now = clock.now()
        if planned_until is not None and now < planned_until:
            return True
        return now < last_outside + PATIENCE and bool(under_way)

    clock.leaps = leaps
    stop = cluster.objects.subscribe(on_change)
    running = asyncio.create_task(clock.run())
    try:
        yield
    finally:
        stop()
        under_way.close()
        if quiet is not None:
            quiet.cancel()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


def plan(cluster: Cluster, events: Sequence[Event]) -> datetime:
    """Let nodes meet with these events at their times from now, and recover; until when that keeps the cluster busy."""
    clock = cluster.clock
    now = busy_until = clock.now()
    for event in events:
        happen, recover = _sides(cluster, event)
        at = now + timedelta(seconds=event.at_s)
        clock.call_at(at, happen)
        busy_until = max(busy_until, at + AFTERMATH)
        if event.for_s is not None:
            back_at = at + timedelta(seconds=event.for_s)
            clock.call_at(back_at, recover)
            busy_until = max(busy_until, back_at + AFTERMATH)
    return busy_until


def _sides(cluster: Cluster, event: Event) -> tuple[Callable[[], None], Callable[[], None]]:
    """What happens, and what ends it."""
    restore = partial(cluster.restore_node, event.node)
    match event:
        case NodeLoss():
            return partial(cluster.fail_node, event.node), restore
        case NodeShutdown():
            return partial(cluster.shut_down_node, event.node), restore
        case NodePressure():
            pressure = partial(cluster.set_pressure, event.node)
            return partial(pressure, event.available), partial(pressure, {})


class Followed(Protocol):
    """Typed objects and their changes."""

    def all(self, kind: type[T]) -> Sequence[T]: ...

    def subscribe(self, on_change: Callable[[Change], None]) -> Callable[[], None]: ...


class UnderWay:
    """True while something is: a pod starts or stops, a workload is not yet what it is to be. Follows the changes."""

    def __init__(self, objects: Followed) -> None:
        self._keys: set[Key] = set()
        for kind in _IS_UNDER_WAY:
            for obj in objects.all(kind):
                self._on_change(Change(None, obj))
        self.close = objects.subscribe(self._on_change)

    def __bool__(self) -> bool:
        return bool(self._keys)

    def names(self) -> list[Key]:
        return sorted(self._keys)

    def _on_change(self, change: Change) -> None:
        obj = change.after or change.before
        assert obj is not None, "a change has a side"
        is_under_way = _IS_UNDER_WAY.get(type(obj))
        if is_under_way is None:
            return
        if change.after is not None and is_under_way(change.after):
            self._keys.add(obj.key)
        else:
            self._keys.discard(obj.key)


def _pod(pod: Object) -> bool:
    assert isinstance(pod, Pod)
    if pod.metadata.deletion_timestamp is not None:
        return True
    return bool(pod.spec.node_name) and not is_ready(pod) and pod.status.phase not in ("Succeeded", "Failed")


def _deployment(deployment: Object) -> bool:
    """Neither complete nor past its deadline."""
    assert isinstance(deployment, Deployment)
    status = deployment.status
    if status.observed_generation < deployment.metadata.generation:
        return True
    late = any(condition.reason == "ProgressDeadlineExceeded" for condition in status.conditions)
    return not late and not deployment.spec.paused and not is_complete(deployment, status)


def _replicas(owner: Object) -> bool:
    assert isinstance(owner, ReplicaSet | ReplicationController)
    wanted = 1 if owner.spec.replicas is None else owner.spec.replicas
    status = owner.status
    return status.observed_generation < owner.metadata.generation or status.replicas != wanted


def _stateful_set(stateful: Object) -> bool:
    assert isinstance(stateful, StatefulSet)
    status, spec = stateful.status, stateful.spec
    wanted = 1 if spec.replicas is None else spec.replicas
    if status.observed_generation < stateful.metadata.generation:
        return True
    strategy = spec.update_strategy
    rolling = strategy.rolling_update
    held_back = (rolling.partition or 0) if rolling is not None else 0
    old = strategy.type != "OnDelete" and status.updated_replicas < wanted - held_back
    return old or not status.replicas == status.available_replicas == wanted


def _daemon_set(daemons: Object) -> bool:
    assert isinstance(daemons, DaemonSet)
    status, wanted = daemons.status, daemons.status.desired_number_scheduled
    if status.observed_generation < daemons.metadata.generation:
        return True
    old = daemons.spec.update_strategy.type != "OnDelete" and status.updated_number_scheduled < wanted
    return old or status.number_available < wanted


def _job(job: Object) -> bool:
    assert isinstance(job, Job)
    finished = any(c.type in ("Complete", "Failed") and c.status == "True" for c in job.status.conditions)
    return not finished and not job.spec.suspend


_IS_UNDER_WAY: Final[Mapping[type[Object], Callable[[Object], bool]]] = {
    DaemonSet: _daemon_set,
    Deployment: _deployment,
    Job: _job,
    Pod: _pod,
    ReplicaSet: _replicas,
    ReplicationController: _replicas,
    StatefulSet: _stateful_set,
}
