"""Static pods on a whole simulated cluster, and in a directory of manifests."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from seatrial.cluster.clock import VirtualClock
from seatrial.cluster.cluster import NodeShape
from seatrial.control.lifecycle.static import ManifestError
from seatrial.kube.objects import Node, Pod
from seatrial.node.manifests import ManifestDirectory
from seatrial.testing import Cluster

MANIFEST = """\
apiVersion: v1
kind: Pod
metadata: {name: proxy, namespace: kube-system, labels: {tier: control-plane}}
spec:
  priorityClassName: system-node-critical
  terminationGracePeriodSeconds: 5
  containers: [{name: proxy, image: "proxy:1"}]
"""


def proxy(cluster: Cluster) -> Pod:
    pod = cluster.get(Pod, "proxy-node-1", "kube-system")
    assert pod is not None
    return pod


def uid_of_static(pod: Pod) -> str:
    return pod.metadata.annotations["kubernetes.io/config.mirror"]


def test_a_static_pod_runs_without_a_scheduler_and_the_api_shows_it(seatrial_cluster: Cluster) -> None:
    seatrial_cluster.static_pods("node-1", MANIFEST)
    assert seatrial_cluster.settle()
    pod = proxy(seatrial_cluster)
    assert (pod.status.phase, pod.spec.node_name, pod.spec.priority) == ("Running", "node-1", 2_000_001_000)
    node = seatrial_cluster.get(Node, "node-1")
    assert node is not None
    assert [(o.kind, o.uid) for o in pod.metadata.owner_references] == [("Node", node.metadata.uid)]
    assert not pod.spec.service_account_name
    assert any("Started" in event for event in seatrial_cluster.events("proxy-node-1"))
    raw: Sequence[dict[str, Any]] = seatrial_cluster.raw_list("v1", "Event", "kube-system")
    assert {each["involvedObject"]["uid"] for each in raw} == {uid_of_static(pod)}


def test_a_deleted_mirror_comes_again_and_the_pod_did_not_notice(seatrial_cluster: Cluster) -> None:
    seatrial_cluster.static_pods("node-1", MANIFEST)
    seatrial_cluster.settle()
    before = proxy(seatrial_cluster)
    seatrial_cluster.delete("v1", "Pod", "proxy-node-1", "kube-system")
    seatrial_cluster.advance(1)
    after = proxy(seatrial_cluster)
    assert after.metadata.uid != before.metadata.uid
    assert uid_of_static(after) == uid_of_static(before)
    assert after.status.phase == "Running"
    assert after.status.container_statuses == before.status.container_statuses


def test_a_changed_manifest_ends_the_pod_and_begins_another(seatrial_cluster: Cluster) -> None:
    seatrial_cluster.static_pods("node-1", MANIFEST)
    seatrial_cluster.settle()
    before = proxy(seatrial_cluster)
    seatrial_cluster.static_pods("node-1", MANIFEST.replace("proxy:1", "proxy:2"))
    seatrial_cluster.advance(0.5)
    assert proxy(seatrial_cluster).metadata.uid == before.metadata.uid, "the old one is still ending"
    seatrial_cluster.advance(10)
    after = proxy(seatrial_cluster)
    assert uid_of_static(after) != uid_of_static(before)
    assert after.spec.containers[0].image == "proxy:2"
    assert after.status.phase == "Running"


def test_a_removed_manifest_ends_the_pod_and_takes_its_mirror_along(seatrial_cluster: Cluster) -> None:
    seatrial_cluster.static_pods("node-1", MANIFEST)
    seatrial_cluster.settle()
    seatrial_cluster.static_pods("node-1", [])
    seatrial_cluster.advance(0.5)
    assert proxy(seatrial_cluster).status.phase == "Running", "it is stopping"
    seatrial_cluster.advance(10)
    assert seatrial_cluster.get(Pod, "proxy-node-1", "kube-system") is None
    assert any("Killing" in event for event in seatrial_cluster.events("proxy-node-1"))


def test_a_crash_of_a_static_pod_shows_in_its_mirror(seatrial_cluster: Cluster) -> None:
    seatrial_cluster.static_pods("node-1", MANIFEST)
    seatrial_cluster.settle()
    seatrial_cluster.crash("proxy-node-1", "kube-system", exit_code=3)
    assert seatrial_cluster.settle()
    (status,) = proxy(seatrial_cluster).status.container_statuses
    assert status.restart_count == 1


def test_a_mirror_waits_for_its_namespace_and_the_pod_does_not(seatrial_cluster: Cluster) -> None:
    seatrial_cluster.static_pods("node-1", MANIFEST.replace("kube-system", "later"))
    seatrial_cluster.advance(30)
    assert seatrial_cluster.list(Pod) == ()
    seatrial_cluster.apply("apiVersion: v1\nkind: Namespace\nmetadata: {name: later}\n")
    seatrial_cluster.advance(60)
    (pod,) = seatrial_cluster.list(Pod)
    assert pod.status.phase == "Running"
    assert pod.status.start_time is not None
    assert pod.metadata.creation_timestamp is not None
    assert pod.status.start_time < pod.metadata.creation_timestamp, "it ran before the API knew"


@pytest.mark.seatrial(nodes=[NodeShape("node-1", static_pods=(yaml.safe_load(MANIFEST),))])
def test_static_pods_of_a_nodes_shape(seatrial_cluster: Cluster) -> None:
    assert seatrial_cluster.settle()
    assert proxy(seatrial_cluster).status.phase == "Running"


def test_a_manifest_that_refers_to_the_api_is_refused(seatrial_cluster: Cluster) -> None:
    with pytest.raises(ManifestError, match="static pods may not reference serviceaccounts"):
        seatrial_cluster.static_pods("node-1", MANIFEST.replace("spec:\n", "spec:\n  serviceAccountName: a\n"))


class Directory:
    """A directory of manifests, followed."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.clock = VirtualClock()
        self.wanted: list[str] = []
        self.reports: list[str] = []
        follower = ManifestDirectory(path, "node-1", self.clock, want=self._want, report=self.reports.append)
        follower.start()

    def _want(self, pods: Sequence[Pod]) -> None:
        self.wanted = [pod.metadata.name for pod in pods]

    def after(self, **files: str) -> list[str]:
        for name, text in files.items():
            (self.path / f"{name}.yaml").write_text(text)
        self.clock.run(timedelta(seconds=1))
        return self.wanted


def test_a_bad_file_is_reported_once_and_the_others_run(tmp_path: Path) -> None:
    directory = Directory(tmp_path)
    (tmp_path / "folder").mkdir()
    (tmp_path / ".swap").write_text(MANIFEST)
    assert directory.after(a=MANIFEST, b="a: [", c="kind: Service") == ["proxy-node-1"]
    assert [report.partition(": ")[0] for report in directory.reports] == [
        f"Error validating manifest {tmp_path}/{name}.yaml" for name in ("b", "c")
    ]
    directory.clock.run(timedelta(seconds=30))
    assert len(directory.reports) == 2
    assert directory.after(b=MANIFEST.replace("proxy", "other")) == ["proxy-node-1", "other-node-1"]
    (tmp_path / "a.yaml").unlink()
    assert directory.after() == ["other-node-1"]


def test_a_directory_may_come_later_and_hold_anything(tmp_path: Path) -> None:
    directory = Directory(tmp_path / "later")
    assert directory.after() == []
    (tmp_path / "later").mkdir()
    (tmp_path / "later" / "a.yaml").write_bytes(b"\xff\xfe")
    loop: dict[str, Any] = {"b": "a: &a [*a]"}
    assert directory.after(**loop, c=MANIFEST) == ["proxy-node-1"]
    assert len(directory.reports) == 2
