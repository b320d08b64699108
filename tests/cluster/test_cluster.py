"""The whole cluster, simulated: the code that runs on Linux, in virtual time and in memory."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest

from seatrial.cluster.clock import VirtualClock
from seatrial.cluster.cluster import AlreadyRunningError, Cluster, locked, serve
from seatrial.cluster.objects import Component
from seatrial.control import deployment, replicaset, scheduler
from seatrial.control.writes import ConflictError, Create, Delete, RecordEvent, Update
from seatrial.kube.objects import Container, ObjectMeta, Pod, PodSpec
from seatrial.server.requests import Filter
from seatrial.server.store import Store


def simulated(*controllers: object) -> tuple[Cluster, VirtualClock]:
    clock = VirtualClock()
    store = Store.open(":memory:")
    cluster = Cluster(
        store,
        nodes=("a", "b"),
        controllers=controllers,  # type: ignore[arg-type]
        clock=clock,
        disabled_plugins=("ServiceAccount",),
    )
    cluster.start()
    return cluster, clock


def pod(**spec: object) -> Pod:
    fields = {"containers": (Container(name="web", image="web:1"),), **spec}
    meta = ObjectMeta(generate_name="web-", namespace="default")
    return Pod(metadata=meta, spec=msgspec.structs.replace(PodSpec(), **fields))


def test_a_pod_is_scheduled_started_and_removed() -> None:
    cluster, clock = simulated(scheduler.CONTROLLER)
    user = Component(cluster.objects, "user")
    user.apply(Create(pod()))

    def ready() -> bool:
        return any(c.type == "Ready" and c.status == "True" for p in user.all(Pod) for c in p.status.conditions)

    assert clock.run(timedelta(minutes=1), until=ready)
    (running,) = user.all(Pod)
    assert (running.status.phase, running.spec.node_name in ("a", "b")) == ("Running", True)
    user.apply(Delete(running))
    assert clock.run(timedelta(minutes=1), until=lambda: not user.all(Pod))
    cluster.api.store.close()


def test_a_deployment_of_three_becomes_available() -> None:
    cluster, clock = simulated(deployment.CONTROLLER, replicaset.CONTROLLER, scheduler.CONTROLLER)
    labels = {"app": "web"}
    raw = {
        "metadata": {"name": "web"},
        "spec": {
            "replicas": 3,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"containers": [{"name": "web", "image": "web:1"}]},
            },
        },
    }
    deployments = cluster.api.kind("apps/v1", "Deployment")
    cluster.api.create(deployments, "default", raw)

    def available() -> bool:
        status = cluster.api.get(deployments, "default", "web").get("status", {})
        return bool(status.get("availableReplicas") == 3)

    assert clock.run(timedelta(minutes=2), until=available)
    cluster.api.store.close()


def test_a_replica_set_of_three_becomes_available_and_replaces_a_deleted_pod() -> None:
    cluster, clock = simulated(replicaset.CONTROLLER, scheduler.CONTROLLER)
    labels = {"app": "web"}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "web", "image": "web:1"}]}}
    spec = {"replicas": 3, "selector": {"matchLabels": labels}, "template": template}
    sets = cluster.api.kind("apps/v1", "ReplicaSet")
    cluster.api.create(sets, "default", {"metadata": {"name": "web"}, "spec": spec})

    def available() -> int:
        return int(cluster.api.get(sets, "default", "web").get("status", {}).get("availableReplicas", 0))

    assert clock.run(timedelta(minutes=2), until=lambda: available() == 3)
    user = Component(cluster.objects, "user")
    gone = user.all(Pod)[0]
    user.apply(Delete(gone))
    assert clock.run(timedelta(minutes=2), until=lambda: available() == 2)
    assert clock.run(
        timedelta(minutes=2), until=lambda: available() == 3 and gone.key not in {p.key for p in user.all(Pod)}
    )
    cluster.api.store.close()


def test_agents_adopt_the_pods_of_an_earlier_process_with_a_node_that_kept_its_name() -> None:
    cluster, clock = simulated()
    user = Component(cluster.objects, "user")
    user.apply(Create(pod(node_name="a")))
    cluster.stop()
    again = Cluster(cluster.api.store, nodes=("a",), controllers=(), clock=clock)
    again.start()
    assert clock.run(timedelta(minutes=1), until=lambda: user.all(Pod)[0].status.phase == "Running")
    cluster.api.store.close()


def test_an_update_of_something_that_changed_since_is_a_conflict() -> None:
    cluster, _ = simulated()
    user = Component(cluster.objects, "user")
    made = user.apply(Create(pod()))
    assert isinstance(made, Pod)
    labelled = msgspec.structs.replace(made, metadata=msgspec.structs.replace(made.metadata, labels={"x": "1"}))
    user.apply(Update(made, labelled))
    other = msgspec.structs.replace(made, metadata=msgspec.structs.replace(made.metadata, labels={"x": "2"}))
    with pytest.raises(ConflictError):
        user.apply(Update(made, other))
    cluster.api.store.close()


def test_equal_events_are_counted_on_one_object() -> None:
    cluster, _ = simulated()
    user = Component(cluster.objects, "tester")
    made = user.apply(Create(pod()))
    assert made is not None
    for _ in range(3):
        user.apply(RecordEvent(made, "Normal", "Tried", "once more"))
    events = cluster.api.list(cluster.api.kind("v1", "Event"), Filter(namespace="default")).items
    (event,) = [each for each in events if each["reason"] == "Tried"]
    assert (event["count"], event["source"]["component"]) == (3, "tester")
    cluster.api.store.close()


def test_a_second_process_on_the_same_state_directory_is_refused(tmp_path: Path) -> None:
    with locked(tmp_path), pytest.raises(AlreadyRunningError, match="already runs"), locked(tmp_path):
        pass


def test_ready_says_where_the_api_is_and_goes_away_with_it(tmp_path: Path) -> None:
    async def main() -> None:
        stop = asyncio.Event()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(serve(tmp_path, nodes=("a",), controllers=(), stop=stop, port=0))
            while not (tmp_path / "run" / "ready").exists():  # noqa: ASYNC110 - a file has no event
                await asyncio.sleep(0.01)
            assert (tmp_path / "run" / "ready").read_text().startswith("https://127.0.0.1:")
            stop.set()

    asyncio.run(main())
    assert not (tmp_path / "run" / "ready").exists()
