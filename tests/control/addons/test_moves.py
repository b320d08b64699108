"""What kubectl does by hand, and what it refuses."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from seatrial.control import deployment as deployments
from seatrial.control import disruption, replicaset
from seatrial.control.addons import moves
from seatrial.control.addons.moves import DrainOptions, MoveError
from seatrial.control.writes import Evict, Write
from seatrial.kube.objects import DaemonSet, Deployment, Node, Pod, ReplicaSet
from tests.control.harness import Harness, deployment
from tests.control.test_disruption import budget

CONTROLLERS = (deployments.CONTROLLER, replicaset.CONTROLLER, disruption.CONTROLLER)


def rolled_out(replicas: int = 3) -> Harness:
    cluster = Harness(CONTROLLERS)
    cluster.apply({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1"}})
    cluster.apply(deployment(replicas=replicas))
    cluster.roll_out()
    return cluster


def do(cluster: Harness, writes: Iterable[Write]) -> None:
    for write in writes:
        cluster.write(write)


def drain(cluster: Harness, **options: bool) -> tuple[Write, ...]:
    node = cluster.get(Node, "n1", "")
    return moves.drain(node, cluster.all(Pod), cluster.all(DaemonSet), DrainOptions(**options))


def evicted_names(writes: Iterable[Write]) -> set[str]:
    return {write.pod.metadata.name for write in writes if isinstance(write, Evict)}


def test_a_drain_cordons_and_evicts_what_runs_there_within_the_budget() -> None:
    cluster = rolled_out()
    cluster.apply(budget(maxUnavailable=1))
    cluster.settle()
    writes = drain(cluster)
    assert [type(write).__name__ for write in writes] == ["Update", "Evict", "Evict", "Evict"]
    do(cluster, writes)
    cluster.finish_deleted()
    assert cluster.get(Node, "n1", "").spec.unschedulable
    assert len(cluster.all(Pod)) == 2, "the budget let one go"
    cluster.settle()
    cluster.run_pods(node="n2")
    cluster.settle()
    rounds = 0
    while evictions := [write for write in drain(cluster) if isinstance(write, Evict)]:
        do(cluster, evictions)
        cluster.finish_deleted()
        cluster.settle()
        cluster.run_pods(node="n2")
        cluster.settle()
        rounds += 1
    assert rounds == 2
    assert {pod.spec.node_name for pod in cluster.all(Pod)} == {"n2"}


def pod(name: str, **spec: object) -> dict[str, object]:
    meta = {"name": name, "namespace": "default", "labels": {"app": "lone"}}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": {"nodeName": "n1", "containers": [], **spec}}


def test_a_drain_refuses_to_lose_what_nobody_brings_back() -> None:
    cluster = rolled_out()
    cluster.apply(pod("lone"))
    cluster.apply(pod("scratch", volumes=[{"name": "v", "emptyDir": {}}]))
    with pytest.raises(MoveError) as refused:
        drain(cluster)
    assert str(refused.value) == (
        "cannot delete Pods that declare no controller (use --force to override): default/lone; "
        "cannot delete Pods with local storage (use --delete-emptydir-data to override): default/scratch"
    )
    evicted = evicted_names(drain(cluster, force=True, delete_emptydir_data=True))
    assert {"lone", "scratch"} <= evicted


def test_daemon_pods_stay_if_one_says_so_and_mirror_pods_are_passed_over() -> None:
    cluster = rolled_out()
    cluster.apply({"apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": "d", "namespace": "default"}})
    uid = cluster.get(DaemonSet, "d").metadata.uid
    owner = {"apiVersion": "apps/v1", "kind": "DaemonSet", "name": "d", "uid": uid, "controller": True}
    daemon = pod("daemon")
    daemon["metadata"] = {"name": "daemon", "namespace": "default", "ownerReferences": [owner]}
    mirror = pod("mirror")
    mirror["metadata"] = {
        "name": "mirror",
        "namespace": "default",
        "annotations": {"kubernetes.io/config.mirror": "x"},
    }
    cluster.apply(daemon)
    cluster.apply(mirror)
    with pytest.raises(MoveError, match="DaemonSet-managed Pods"):
        drain(cluster)
    evicted = evicted_names(drain(cluster, ignore_daemonsets=True))
    assert len(evicted) == 3
    assert not evicted & {"daemon", "mirror"}


def test_cordon_and_uncordon_change_one_field() -> None:
    cluster = rolled_out()
    do(cluster, moves.cordon(cluster.get(Node, "n1", "")))
    assert moves.cordon(cluster.get(Node, "n1", "")) == ()
    do(cluster, moves.cordon(cluster.get(Node, "n1", ""), unschedulable=False))
    assert not cluster.get(Node, "n1", "").spec.unschedulable


def test_a_restart_replaces_every_pod_and_an_undo_brings_the_old_template_back() -> None:
    cluster = rolled_out()
    before = {pod.metadata.name for pod in cluster.all(Pod)}
    do(cluster, moves.restart(cluster.get(Deployment, "web"), cluster.now))
    cluster.roll_out()
    assert not before & {pod.metadata.name for pod in cluster.all(Pod)}
    do(cluster, moves.set_image(cluster.get(Deployment, "web"), "app", "app:2"))
    cluster.roll_out()
    do(cluster, moves.undo(cluster.get(Deployment, "web"), cluster.all(ReplicaSet)))
    cluster.roll_out()
    assert {pod.spec.containers[0].image for pod in cluster.all(Pod)} == {"app:1"}
    do(cluster, moves.undo(cluster.get(Deployment, "web"), cluster.all(ReplicaSet), to_revision=1))
    assert "kubectl.kubernetes.io/restartedAt" not in cluster.get(Deployment, "web").spec.template.metadata.annotations
    with pytest.raises(MoveError, match="unable to find specified revision 77 in history"):
        moves.undo(cluster.get(Deployment, "web"), cluster.all(ReplicaSet), to_revision=77)


def test_a_paused_deployment_is_not_restarted_or_rolled_back() -> None:
    cluster = rolled_out()
    do(cluster, moves.pause(cluster.get(Deployment, "web")))
    paused = cluster.get(Deployment, "web")
    with pytest.raises(MoveError, match="can't restart paused deployment"):
        moves.restart(paused, cluster.now)
    with pytest.raises(MoveError, match="you cannot rollback a paused deployment"):
        moves.undo(paused, cluster.all(ReplicaSet))
    with pytest.raises(MoveError, match="is already paused"):
        moves.pause(paused)
    do(cluster, moves.pause(paused, paused=False))
    assert not cluster.get(Deployment, "web").spec.paused


def test_scaling_and_images_are_written_only_when_they_differ() -> None:
    cluster = rolled_out()
    web = cluster.get(Deployment, "web")
    assert moves.scale(web, 3) == ()
    assert moves.set_image(web, "app", "app:1") == ()
    do(cluster, moves.scale(web, 1))
    cluster.roll_out()
    assert len(cluster.all(Pod)) == 1
    with pytest.raises(MoveError, match='unable to find container named "nobody"'):
        moves.set_image(web, "nobody", "app:1")
