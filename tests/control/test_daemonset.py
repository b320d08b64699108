"""DaemonSets: which nodes get a pod, rollouts with and without surge, failed pods, history."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from msgspec.structs import replace

from seatrial.control import daemonset
from seatrial.control.writes import Create
from seatrial.kube.objects import ControllerRevision, DaemonSet, Node, Pod
from seatrial.kube.objects.pods import PodStatus
from tests.control.harness import Harness


def daemon_set(image: str = "a:1", strategy: dict[str, object] | None = None, **pod: object) -> dict[str, Any]:
    return {
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": {"name": "agent", "namespace": "default"},
        "spec": {
            "selector": {"matchLabels": {"app": "agent"}},
            "revisionHistoryLimit": 10,
            "updateStrategy": strategy or rolling(1, 0),
            "template": {
                "metadata": {"labels": {"app": "agent"}},
                "spec": {"containers": [{"name": "a", "image": image}], **pod},
            },
        },
    }


def rolling(unavailable: int | str, surge: int | str) -> dict[str, object]:
    return {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": unavailable, "maxSurge": surge}}


def add_node(cluster: Harness, name: str, effect: str = "", key: str = "dedicated", **labels: str) -> None:
    taints = [{"key": key, "effect": effect}] if effect else []
    meta = {"name": name, "labels": labels}
    cluster.apply({"apiVersion": "v1", "kind": "Node", "metadata": meta, "spec": {"taints": taints}})


def new_cluster(nodes: int = 3) -> Harness:
    cluster = Harness([daemonset.CONTROLLER])
    for number in range(1, nodes + 1):
        add_node(cluster, f"n{number}")
    return cluster


def pods(cluster: Harness) -> list[str]:
    """The pods as `node:image`, with a ! while they go."""
    return sorted(
        f"{daemonset.target_of(pod)}:{pod.spec.containers[0].image[2:]}{'!' if pod.metadata.deletion_timestamp else ''}"
        for pod in cluster.all(Pod)
    )


def story(cluster: Harness) -> list[list[str]]:
    told: list[list[str]] = []
    for _ in range(30):
        cluster.settle()
        if told and told[-1] == pods(cluster) and "!" not in "".join(told[-1]):
            return told
        told.append(pods(cluster))
        cluster.run_pods()
    raise AssertionError(f"no end: {told}")


def status(cluster: Harness) -> Any:
    return cluster.get(DaemonSet, "agent").status


def test_every_node_gets_one_pod_pinned_to_it() -> None:
    """Documentation: "A DaemonSet ensures that all (or some) Nodes run a copy of a Pod"."""
    cluster = new_cluster()
    cluster.apply(daemon_set())
    story(cluster)
    assert pods(cluster) == ["n1:1", "n2:1", "n3:1"]
    now = status(cluster)
    assert (now.desired_number_scheduled, now.current_number_scheduled, now.number_ready) == (3, 3, 3)
    assert (now.number_available, now.number_unavailable, now.updated_number_scheduled) == (3, 0, 3)
    add_node(cluster, "n4")
    assert story(cluster)[-1] == ["n1:1", "n2:1", "n3:1", "n4:1"]


def test_selectors_and_taints_choose_the_nodes() -> None:
    cluster = new_cluster(0)
    add_node(cluster, "fast", disk="ssd")
    add_node(cluster, "slow", disk="hdd")
    add_node(cluster, "theirs", "NoSchedule", disk="ssd")
    add_node(cluster, "ill", "NoExecute", key="node.kubernetes.io/not-ready", disk="ssd")
    add_node(cluster, "cordoned", "NoSchedule", key="node.kubernetes.io/unschedulable", disk="ssd")
    cluster.apply(daemon_set(nodeSelector={"disk": "ssd"}))
    story(cluster)
    assert pods(cluster) == ["cordoned:1", "fast:1", "ill:1"]


def test_a_no_schedule_taint_leaves_the_pod_and_no_execute_removes_it() -> None:
    cluster = new_cluster(2)
    cluster.apply(daemon_set())
    story(cluster)
    add_node(cluster, "n1", "NoSchedule")
    assert story(cluster)[-1] == ["n1:1", "n2:1"]
    assert (status(cluster).desired_number_scheduled, status(cluster).number_misscheduled) == (1, 1)
    add_node(cluster, "n1", "NoExecute")
    assert story(cluster)[-1] == ["n2:1"]
    assert status(cluster).number_misscheduled == 0


def test_a_rollout_replaces_no_more_than_max_unavailable() -> None:
    cluster = new_cluster()
    cluster.apply(daemon_set())
    story(cluster)
    cluster.apply(daemon_set("a:2", rolling(2, 0)))
    assert story(cluster) == [
        ["n1:1!", "n2:1!", "n3:1"],
        ["n1:2", "n2:2", "n3:1"],
        ["n1:2", "n2:2", "n3:1!"],
        ["n1:2", "n2:2", "n3:2"],
    ]


def test_with_a_surge_the_new_pod_is_available_before_the_old_one_goes() -> None:
    """KEP-1591."""
    cluster = new_cluster(2)
    cluster.apply(daemon_set())
    story(cluster)
    cluster.apply(daemon_set("a:2", rolling(0, 1)))
    told = story(cluster)
    assert told[0] == ["n1:1", "n1:2", "n2:1"]
    assert told[-1] == ["n1:2", "n2:2"]
    assert all(any(pod.startswith(node) and "!" not in pod for pod in step) for step in told for node in ("n1", "n2"))


def test_on_delete_waits_for_somebody_to_delete() -> None:
    cluster = new_cluster(2)
    cluster.apply(daemon_set(strategy={"type": "OnDelete"}))
    story(cluster)
    cluster.apply(daemon_set("a:2", {"type": "OnDelete"}))
    assert story(cluster)[-1] == ["n1:1", "n2:1"]
    cluster.delete(next(pod.key for pod in cluster.all(Pod) if pod.spec.node_name == "n1"))
    assert story(cluster)[-1] == ["n1:2", "n2:1"]


def test_failed_pods_are_replaced_ever_more_slowly() -> None:
    """Waiting times double from one second, as the controller's back-off does."""
    cluster = new_cluster(1)
    cluster.apply(daemon_set())
    waited: list[float] = []
    for _ in range(4):
        cluster.settle()
        (pod,) = cluster.all(Pod)
        cluster.objects[pod.key] = replace(pod, status=PodStatus(phase="Failed"))
        began = cluster.now
        cluster.settle()
        while pod.key in cluster.objects:
            (at,) = (at for at in cluster.wakes.values() if at is not None)
            cluster.now = at
            cluster.settle()
        waited.append((cluster.now - began) / timedelta(seconds=1))
    assert waited == [0, 1, 2, 4]
    name = pod.metadata.name
    message = f"Found failed daemon pod default/{name} on node n1, will try to kill it"
    assert f"Warning FailedDaemonPod {message}" in cluster.events


def test_a_revision_is_reused_on_the_way_back_and_old_ones_are_cut() -> None:
    cluster = new_cluster(1)
    for image in ("a:1", "a:2", "a:1"):
        cluster.apply(daemon_set(image))
        story(cluster)
    assert sorted(revision.revision for revision in cluster.all(ControllerRevision)) == [2, 3]
    made = daemon_set("a:3")
    made["spec"]["revisionHistoryLimit"] = 0
    cluster.apply(made)
    story(cluster)
    assert [revision.revision for revision in cluster.all(ControllerRevision)] == [4]


def test_a_refused_pod_is_told_of() -> None:
    cluster = new_cluster(1)
    cluster.refuse = lambda write: "no room" if isinstance(write, Create) and isinstance(write.object, Pod) else ""
    cluster.apply(daemon_set())
    cluster.settle()
    assert cluster.events == ["Warning FailedCreate Error creating: no room"]
    assert (status(cluster).desired_number_scheduled, status(cluster).current_number_scheduled) == (1, 0)


def test_pods_waiting_for_a_node_that_went_are_deleted() -> None:
    cluster = new_cluster(2)
    cluster.apply(daemon_set())
    cluster.settle()
    del cluster.objects[cluster.get(Node, "n1", "").key]
    assert story(cluster)[-1] == ["n2:1"]


def test_a_selector_of_all_pods_is_refused() -> None:
    cluster = new_cluster(1)
    made = daemon_set()
    made["spec"]["selector"] = {}
    cluster.apply(made)
    (subject,) = cluster.all(DaemonSet)
    cluster.step(daemonset.CONTROLLER, subject)
    expected = "This daemon set is selecting all pods. A non-empty selector is required."
    assert cluster.events == [f"Warning SelectingAll {expected}"]
    assert cluster.all(Pod) == []
