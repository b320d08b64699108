"""A machine whose clock is set while a cluster runs on it, seen through what the cluster does and stores.

The event loop's own time is virtual here: it leaps to the next thing to do, and the machine's ticking is that time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta, tzinfo
from types import SimpleNamespace
from typing import Any

import pytest

from seatrial.cluster import clock as clocks
from seatrial.cluster import simulation
from seatrial.cluster.clock import RealClock
from seatrial.cluster.cluster import SIMULATED_CONTROLLERS, Cluster
from seatrial.cluster.simulated import SimulatedRuntime
from seatrial.kube.objects import JsonObject
from seatrial.server.requests import Filter
from seatrial.server.store import Store

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


class _Loop(asyncio.SelectorEventLoop):
    """Nobody waits: the next call is made at its time, at once."""

    def __init__(self) -> None:
        super().__init__()
        self.ticks = 0.0

    def time(self) -> float:
        return getattr(self, "ticks", 0.0)

    def _run_once(self) -> None:
        if not self._ready and self._scheduled:  # type: ignore[attr-defined]  # asyncio's own names
            self.ticks = max(self.ticks, self._scheduled[0]._when)  # type: ignore[attr-defined]
        super()._run_once()  # type: ignore[misc]


class Machine:
    """Its clock shows `set_by` more than what has passed since noon."""

    def __init__(self) -> None:
        self.loop = _Loop()
        self.set_by = timedelta()

    def wall(self) -> datetime:
        return NOON + self.set_by + timedelta(seconds=self.loop.ticks)

    def run(self, story: Callable[[], Awaitable[None]]) -> None:
        asyncio.set_event_loop(self.loop)
        try:
            self.loop.run_until_complete(story())
        finally:
            asyncio.set_event_loop(None)
            self.loop.close()


def web(replicas: int = 2, delay_s: int = 0) -> JsonObject:
    labels = {"app": "web"}
    probe = {"tcpSocket": {"port": 1}, "initialDelaySeconds": delay_s}
    container = {"name": "c", "image": "app:1", "readinessProbe": probe}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [container]}}
    spec = {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template}
    metadata = {"name": "web", "namespace": "default"}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": spec}


def create(cluster: Cluster, raw: JsonObject) -> None:
    cluster.api.create(cluster.api.kind(raw["apiVersion"], raw["kind"]), "default", raw)


def all_of(cluster: Cluster, api_version: str, kind: str) -> list[JsonObject]:
    return cluster.api.list(cluster.api.kind(api_version, kind), Filter()).items


def ready(cluster: Cluster) -> int:
    (found,) = all_of(cluster, "apps/v1", "Deployment")
    replicas: int = found["status"].get("readyReplicas", 0)
    return replicas


@pytest.mark.parametrize("set_by", [timedelta(hours=1), timedelta(days=400), timedelta(minutes=-30)])
def test_a_clock_that_is_set_while_real_nodes_beat_loses_no_node(set_by: timedelta) -> None:
    """Nobody was silent for the time that was left out; set back, time goes on more slowly and never back."""
    machine = Machine()

    async def story() -> None:
        clock = RealClock(machine.wall, machine.loop.time)

        def runtime(name: str, component: Any) -> SimulatedRuntime:
            return SimulatedRuntime(clock, component, name=name, subnet="10.0.0.0/24", host_ip="10.1.0.1")

        cluster = Cluster(
            Store(None), nodes=["a", "b"], controllers=SIMULATED_CONTROLLERS, clock=clock, runtimes=runtime
        )
        cluster.start()
        create(cluster, web())
        await asyncio.sleep(90)
        assert ready(cluster) == 2
        before = clock.now()
        pods = {raw["metadata"]["uid"] for raw in all_of(cluster, "v1", "Pod")}
        machine.set_by = set_by
        for name in ("a", "b"):  # so that they are looked at before they are heard of again
            cluster.api.patch(cluster.api.kind("v1", "Node"), "", name, {"metadata": {"labels": {"looked": "at"}}})
        await asyncio.sleep(600)
        assert clock.now() > before
        nodes = all_of(cluster, "v1", "Node")
        states = [each["status"] for raw in nodes for each in raw["status"]["conditions"] if each["type"] == "Ready"]
        assert states == ["True", "True"]
        assert not [raw for raw in all_of(cluster, "v1", "Event") if raw["reason"] == "NodeNotReady"]
        assert {raw["metadata"]["uid"] for raw in all_of(cluster, "v1", "Pod")} == pods
        cluster.stop()

    machine.run(story)


def test_who_sets_the_machines_clock_does_not_set_that_of_a_simulation(monkeypatch: pytest.MonkeyPatch) -> None:
    """A simulated day goes on from where it was: leaps, waiting and times in objects; so it does in a new process."""
    machine = Machine()

    class Machines(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
            return machine.wall()

    for module in (clocks, simulation):
        monkeypatch.setattr(module, "datetime", Machines)
    monkeypatch.setattr(clocks, "time", SimpleNamespace(monotonic=machine.loop.time))

    async def story() -> None:
        store = Store(None)
        first = _simulated(store)
        async with simulation.passing(first):
            first.start()
            create(first, web(delay_s=300))
            await asyncio.sleep(5)
            assert ready(first) == 2, "five minutes were leapt over"
            leapt = first.clock.now()
            assert leapt > NOON + timedelta(minutes=5)
            machine.set_by = timedelta(days=-1)
            await asyncio.sleep(5)
            passed = first.clock.now() - leapt
            assert timedelta(seconds=5) <= passed < timedelta(seconds=6), "nothing is under way: time passes as it does"
            create(first, {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "later"}})
        first.stop()
        (later,) = [raw for raw in all_of(first, "v1", "ConfigMap") if raw["metadata"]["name"] == "later"]
        assert datetime.fromisoformat(later["metadata"]["creationTimestamp"]) >= leapt

        second = _simulated(store)
        assert second.clock.now() >= leapt, "the machine's clock is a day behind what is stored"
        async with simulation.passing(second):
            second.start()
            await asyncio.sleep(60)
            assert ready(second) == 2
        second.stop()

    def _simulated(store: Store) -> Cluster:
        clock = simulation.resumed(store)
        return Cluster(store, nodes=["a"], controllers=SIMULATED_CONTROLLERS, clock=clock)

    machine.run(story)
