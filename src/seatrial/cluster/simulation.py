"""When a simulated cluster's time leaps: while something is under way, at most an hour past an outside write.

Rules: what waits only for time (a container's start, a back-off, a progress deadline) is not waited for; a cluster
that has settled runs on real time, so that its probes cost nothing; a cluster that never settles (a crash loop) stops
leaping an hour of its own time after the last change that came from outside.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

from seatrial.cluster.clock import LeapingClock
from seatrial.cluster.cluster import Cluster
from seatrial.cluster.objects import Objects
from seatrial.control.deployment import is_complete
from seatrial.control.ownership import is_ready
from seatrial.kube.objects import Deployment, Pod
from seatrial.node.api import Change
from seatrial.server.store import Store

PATIENCE = timedelta(hours=1)


def resumed(store: Store) -> LeapingClock:
    """A clock that does not run back behind what the stored objects say has happened."""
    made = (stored.raw["metadata"] for resource in store.resources() for stored in store.all(resource).values())
    times = (datetime.fromisoformat(each["creationTimestamp"]) for each in made if "creationTimestamp" in each)
    now = datetime.now(UTC)
    return LeapingClock(max((time - now for time in times), default=timedelta()))


@asynccontextmanager
async def passing(cluster: Cluster) -> AsyncIterator[None]:
    """Time passes in a cluster with a `LeapingClock` while this is entered."""
    clock = cluster.clock
    assert isinstance(clock, LeapingClock), "made with `resumed`"
    last_outside = clock.now()

    def on_change(_: Change) -> None:
        nonlocal last_outside
        if not cluster.objects.own_write:
            last_outside = clock.now()

    clock.leaps = lambda: clock.now() < last_outside + PATIENCE and under_way(cluster.objects)
    stop = cluster.objects.subscribe(on_change)
    running = asyncio.create_task(clock.run())
    try:
        yield
    finally:
        stop()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


def under_way(objects: Objects) -> bool:
    """Some pod is starting or stopping, or some rollout is neither complete nor past its deadline."""
    return any(map(_changing, objects.all(Pod))) or any(map(_rolling, objects.all(Deployment)))


def _changing(pod: Pod) -> bool:
    if pod.metadata.deletion_timestamp is not None:
        return True
    return bool(pod.spec.node_name) and not is_ready(pod) and pod.status.phase not in ("Succeeded", "Failed")


def _rolling(deployment: Deployment) -> bool:
    status = deployment.status
    if status.observed_generation < deployment.metadata.generation:
        return True
    late = any(condition.reason == "ProgressDeadlineExceeded" for condition in status.conditions)
    return not late and not deployment.spec.paused and not is_complete(deployment, status)
