"""What simulated containers can be made to do, and what the API then shows: the pod life cycle in a whole cluster."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

from seatrial.cluster.clock import VirtualClock
from seatrial.cluster.cluster import Cluster
from seatrial.cluster.simulated import Behaviour, SimulatedRuntime
from seatrial.control import scheduler
from seatrial.control.lifecycle.facts import Eviction
from seatrial.kube.objects import Pod
from seatrial.server.requests import DeleteOptions
from seatrial.server.store import Store


class Scene:
    """One pod on one node."""

    def __init__(self, cluster: Cluster, clock: VirtualClock) -> None:
        self.cluster, self.clock = cluster, clock
        self.pods = cluster.api.kind("v1", "Pod")

    def create(self, **spec: Any) -> None:
        spec.setdefault("containers", [{"name": "web", "image": "web:1"}])
        self.cluster.api.create(self.pods, "default", {"metadata": {"name": "web"}, "spec": spec})

    def run(self, seconds: float, until: Callable[[], bool] = lambda: False) -> bool:
        return self.clock.run(timedelta(seconds=seconds), until=until)

    @property
    def status(self) -> dict[str, Any]:
        return dict(self.cluster.api.get(self.pods, "default", "web")["status"])

    @property
    def web(self) -> dict[str, Any]:
        (found,) = self.status.get("containerStatuses", [{"state": {}}])
        return dict(found)

    def condition(self, kind: str) -> dict[str, Any]:
        return next((c for c in self.status["conditions"] if c["type"] == kind), {})

    def events(self) -> set[str]:
        found = self.cluster.api.list(self.cluster.api.kind("v1", "Event")).items
        return {f"{each['reason']}: {each['message']}" for each in found}


@contextmanager
def scene(behaviour: Behaviour, version: str = "1.37", capacity: str = "4") -> Iterator[Scene]:
    store, clock = Store.open(":memory:"), VirtualClock()
    cluster = Cluster(
        store,
        nodes=("a",),
        controllers=[scheduler.CONTROLLER],
        clock=clock,
        version=version,
        behaves=lambda pod, container: behaviour,
        capacity={"cpu": capacity, "memory": "8Gi", "pods": "110"},
        disabled_plugins=("ServiceAccount",),
    )
    cluster.start()
    try:
        yield Scene(cluster, clock)
    finally:
        cluster.stop()
        store.close()


def test_a_container_that_crashes_twice_runs_in_the_end_and_says_how_it_ended() -> None:
    with scene(Behaviour(exits_after_s=5, exit_code=3, failing_attempts=2)) as play:
        play.create()
        assert play.run(120, lambda: play.status.get("phase") == "Running" and play.web["restartCount"] == 2)
        play.run(60)
        assert play.web["restartCount"] == 2
        assert play.web["lastState"]["terminated"]["exitCode"] == 3
        assert play.condition("Ready")["status"] == "True"


def test_back_off_shows_its_length() -> None:
    with scene(Behaviour(exits_after_s=1, exit_code=1)) as play:
        play.create()
        assert play.run(300, lambda: "waiting" in play.web["state"] and play.web["restartCount"] == 2)
        waiting = play.web["state"]["waiting"]
        assert waiting["reason"] == "CrashLoopBackOff"
        assert waiting["message"].startswith("back-off 20s restarting failed container=web pod=web_default(")


def test_a_container_that_uses_more_memory_than_its_limit_is_oom_killed() -> None:
    with scene(Behaviour(metrics={"memory": ((0, 1e6), (7, 3e7))})) as play:
        resources = {"limits": {"memory": "16Mi"}}
        play.create(containers=[{"name": "web", "image": "web:1", "resources": resources}], restartPolicy="Never")
        runtime = play.cluster.runtimes["a"]
        assert isinstance(runtime, SimulatedRuntime)
        play.run(5)
        (pod,) = play.cluster.objects.all(Pod)
        usage = runtime.usage(pod)
        assert usage is not None
        assert (usage.memory_bytes, usage.containers["web"].memory_bytes) == (1_000_000, 1_000_000)
        play.run(15)
        assert play.web["state"]["terminated"]["reason"] == "OOMKilled"
        assert (play.web["state"]["terminated"]["exitCode"], play.status["phase"]) == (137, "Failed")
        assert play.condition("PodReadyToStartContainers")["status"] == "False", "a finished pod has no sandbox"
        assert play.status["podIP"], "but keeps its address on show"


def test_an_image_that_cannot_be_pulled_backs_off_and_is_pulled_at_last() -> None:
    with scene(Behaviour(pull_failures=2)) as play:
        play.create()
        assert play.run(20, lambda: play.status.get("containerStatuses", [{}])[0].get("state", {}) != {})
        seen = set()

        def pulled() -> bool:
            seen.add(play.web["state"].get("waiting", {}).get("reason", ""))
            return "running" in play.web["state"]

        assert play.run(60, pulled)
        assert {"ContainerCreating", "ErrImagePull", "ImagePullBackOff"} <= seen
        assert 'BackOff: Back-off pulling image "web:1"' in play.events()


def test_a_flapping_container_comes_and_goes() -> None:
    probe = {"tcpSocket": {"port": 1}, "periodSeconds": 1, "failureThreshold": 1}
    with scene(Behaviour(ready_after_s=3, ready_for_s=10, unready_for_s=5)) as play:
        play.create(containers=[{"name": "web", "image": "web:1", "readinessProbe": probe}])
        turns = []
        for _ in range(60):
            play.run(1)
            turns.append(play.condition("Ready").get("status"))
        changes = sum(a != b for a, b in itertools.pairwise(turns))
        assert changes >= 6
        assert play.web["restartCount"] == 0


def test_a_container_that_does_not_hear_its_stop_signal_is_killed_when_grace_is_over_and_sooner_if_asked() -> None:
    with scene(Behaviour(hangs_on_stop=True)) as play:
        play.create(terminationGracePeriodSeconds=60)
        play.run(10)
        play.cluster.api.delete(play.pods, "default", "web", DeleteOptions(grace_period_s=60))
        play.run(20)
        assert play.web["state"].keys() == {"running"}
        play.cluster.api.delete(play.pods, "default", "web", DeleteOptions(grace_period_s=5))
        assert play.run(8, lambda: not play.cluster.objects.all(Pod)), "the second deletion shortened the first's grace"


def test_with_less_grace_a_node_counts_anew_and_the_api_from_the_beginning_of_the_deletion() -> None:
    """The kubelet stops the containers once more, with the new period; rest.BeforeDelete moves the timestamp back."""
    with scene(Behaviour(hangs_on_stop=True)) as play:
        play.create(terminationGracePeriodSeconds=60)
        play.run(10)
        play.cluster.api.delete(play.pods, "default", "web")
        play.run(20)
        left = play.cluster.api.delete(play.pods, "default", "web", DeleteOptions(grace_period_s=30))["metadata"]
        ends_at = datetime.fromisoformat(left["deletionTimestamp"])
        assert 8 <= (ends_at - play.cluster.clock.now()).total_seconds() <= 10
        play.run(28)
        assert play.web["state"].keys() == {"running"}
        assert play.run(4, lambda: not play.cluster.objects.all(Pod))


def test_a_resize_is_granted_in_place_and_waits_where_there_is_no_room() -> None:
    """KEP-1287: without a restart policy for the resource the container keeps running."""
    with scene(Behaviour(), capacity="1") as play:
        resources = {"requests": {"cpu": "100m"}}
        play.create(containers=[{"name": "web", "image": "web:1", "resources": resources}])
        play.run(10)

        def resize(cpu: str) -> None:
            patch = {
                "spec": {"containers": [{"name": "web", "image": "web:1", "resources": {"requests": {"cpu": cpu}}}]}
            }
            play.cluster.api.patch(play.pods, "default", "web", patch, subresource="resize")

        resize("500m")
        play.run(5)
        assert play.web["resources"] == {"requests": {"cpu": "500m"}}
        assert (play.web["allocatedResources"], play.web["restartCount"]) == ({"cpu": "500m"}, 0)
        assert play.condition("PodResizeInProgress") == {}
        resize("3")
        play.run(5)
        assert play.condition("PodResizePending")["reason"] == "Deferred"
        assert "requested: 3000, used: 0, capacity: 1000" in play.condition("PodResizePending")["message"]
        assert play.web["allocatedResources"] == {"cpu": "500m"}
        assert any(each.startswith("ResizeDeferred: Pod resize Deferred: ") for each in play.events())


def test_an_ephemeral_container_joins_a_running_pod_and_counts_for_nothing() -> None:
    with scene(Behaviour()) as play:
        play.create()
        play.run(10)
        debugger = {"name": "debug", "image": "busybox:1", "terminationMessagePolicy": "File"}
        patch = {"spec": {"ephemeralContainers": [debugger]}}
        play.cluster.api.patch(play.pods, "default", "web", patch, subresource="ephemeralcontainers")
        play.run(5)
        (status,) = play.status["ephemeralContainerStatuses"]
        assert (status["state"].keys(), status["ready"]) == ({"running"}, False)
        assert play.condition("Ready")["status"] == "True"


def test_an_evicted_pod_says_why_once_it_has_ended() -> None:
    with scene(Behaviour()) as play:
        play.create()
        play.run(10)
        (pod,) = play.cluster.objects.all(Pod)
        message = "The node was low on resource: memory. "
        play.cluster.agents[0].evict(pod, Eviction("Evicted", message, play.clock.now(), 1))
        play.run(0)
        assert play.status["phase"] == "Running", "it ends first"
        play.run(10)
        assert (play.status["phase"], play.status["reason"], play.status["message"]) == ("Failed", "Evicted", message)
        target = play.condition("DisruptionTarget")
        assert (target["status"], target["reason"]) == ("True", "TerminationByKubelet")


def test_an_older_version_says_it_in_its_own_words() -> None:
    with scene(Behaviour(), version="1.29") as play:
        play.create()
        play.run(10)
        assert "Created: Created container web" in play.events()
        assert "observedGeneration" not in play.status
        assert "allocatedResources" not in play.web
