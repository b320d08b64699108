"""What a `seatrial.toml` says of a simulation, and how it is told what is wrong with it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from seatrial.cluster import behaviours, settings
from seatrial.cluster.cluster import NodeShape
from seatrial.cluster.settings import NodeLoss, NodePressure, NodeShutdown
from seatrial.cluster.simulation import plan
from seatrial.cluster.virtual import VirtualCluster
from seatrial.control.addons.csi import Driver
from seatrial.project import toml
from seatrial.project.toml import SettingsError

GOOD = """
[simulate]
seed = 7
start = 2026-03-01T00:00:00Z

[[simulate.node]]
name = "small"
count = 2
capacity = { cpu = "2", memory = "4Gi" }
labels = { "topology.kubernetes.io/zone" = "a" }

[[simulate.pods]]
labels = "app=web"
ready_after_s = 20
metrics = { cpu = [[0, 0.1], [60, 0.9]], memory = 1e6 }

[[simulate.loss]]
node = "small-2"
at_s = 600
for_s = 900.5

[[simulate.driver]]
name = "disk.example.com"
attach_s = 20
mount_error = "no such device"
volumes_per_node = 3

[[simulate.pressure]]
node = "small-1"
at_s = 60
available = { "memory.available" = "50Mi", "nodefs.available" = "5%" }

[[simulate.shutdown]]
node = "small-2"
at_s = 700
for_s = 60

[kubelet]
shutdownGracePeriod = "30s"
evictionHard = { "pid.available" = "10%" }
"""


def read(tmp_path: Path, text: str) -> settings.Settings:
    (tmp_path / "seatrial.toml").write_text(text)
    found = toml.find([tmp_path / "web.yaml", tmp_path])
    assert found is not None
    return settings.read(found)


def test_everything_that_can_be_said(tmp_path: Path) -> None:
    given = read(tmp_path, GOOD)
    assert (given.seed, given.start) == (7, datetime(2026, 3, 1, tzinfo=UTC))
    capacity = {"cpu": "2", "memory": "4Gi", "pods": "110"}
    zone = {"topology.kubernetes.io/zone": "a"}
    assert given.nodes == (NodeShape("small-1", capacity, zone), NodeShape("small-2", capacity, zone))
    (rule,) = given.rules
    assert (rule.labels, rule.behaviour.ready_after_s) == ("app=web", 20)
    assert [rule.behaviour.amount("cpu", at_s) for at_s in (0, 59, 60)] == [0.1, 0.1, 0.9]
    (driver,) = given.drivers
    assert driver == Driver("disk.example.com", attach_s=20, mount_error="no such device", volumes_per_node=3)
    assert Driver.of(driver.installed()) == driver, "the annotations of its CSIDriver say the same"
    assert given.events == (
        NodeLoss("small-2", 600, 900.5),
        NodePressure("small-1", 60, {"memory.available": "50Mi", "nodefs.available": "5%"}),
        NodeShutdown("small-2", 700, 60),
    )
    assert (given.kubelet.shutdown_grace_period, given.kubelet.eviction_hard) == ("30s", {"pid.available": "10%"})


def test_a_nodes_static_pods_are_the_manifests_of_a_directory(tmp_path: Path) -> None:
    text = """[[simulate.node]]\ncount = 2\nmanifests = "static"\n"""
    with pytest.raises(SettingsError, match=r"toml:3: manifests names a directory"):
        read(tmp_path, text)
    (tmp_path / "static").mkdir()
    (tmp_path / "static" / ".hidden").write_text("no manifest")
    manifest = tmp_path / "static" / "etcd.yaml"
    manifest.write_text(
        "kind: Pod\napiVersion: v1\nmetadata: {name: etcd}\nspec: {containers: [{name: a, image: a}]}\n"
    )
    nodes = read(tmp_path, text).nodes
    assert [(node.name, node.static_pods[0]["metadata"]["name"]) for node in nodes] == [
        ("node-1", "etcd"),
        ("node-2", "etcd"),
    ]
    manifest.write_text("kind: Service\napiVersion: v1\n")
    with pytest.raises(SettingsError, match=r"etcd.yaml: couldn't parse as pod: it is v1 Service"):
        read(tmp_path, text)


def test_an_empty_file_changes_nothing(tmp_path: Path) -> None:
    assert read(tmp_path, "") == settings.Settings()


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("[simulate]\nsede = 1", 2, 'unknown key "sede"; did you mean seed?'),
        ("[simulate]\nseed = true", 2, "seed is a whole number"),
        ("[simulate]\nnodes = 0.5", 2, "nodes is a whole number"),
        ("[simulate]\nnodes = -1", 2, "between 1 and 5000"),
        ("[simulate]\nstart = 2026-01-01T00:00:00", 2, "end it with Z"),
        ("[[simulate.pods]]\n\n[[simulate.pods]]\nready_after_s = -3", 4, "not negative"),
        ('[[simulate.pods]]\nlabels = "a in b"', 2, 'try "app=web"'),
        ("[[simulate.pods]]\nready_after = 3", 2, "did you mean ready_after_s?"),
        ('[[simulate.pods]]\nmetrics = { cpu = ["x"] }', 2, "steps such as"),
        ('[[simulate.node]]\ncapacity = { cpu = "many" }', 2, "capacity.cpu is no quantity"),
        ('[[simulate.node]]\nname = "a"\n[[simulate.node]]\nname = "a"', 1, "two nodes have one name"),
        ('[[simulate.loss]]\nnode = "node-1"', 1, "at_s is missing"),
        ('[simulate]\nnodes = 2\n[[simulate.loss]]\nat_s = 1\nnode = "node-3"', 5, "there is no node node-3"),
        ("[[simulate.driver]]\nattach_s = 3", 1, "name is missing"),
        ('[[simulate.driver]]\nname = "d"\nattach_s = inf', 3, "not negative"),
        ('[[simulate.driver]]\nname = "d"\nattach = 3', 3, "did you mean attach_s?"),
        ("[simulate]\npods = 3", 2, "pods is a list"),
        ('[[simulate.pressure]]\nat_s = 1\nnode = "node-1"', 1, "available is missing"),
        (
            '[[simulate.pressure]]\nat_s = 1\nnode = "node-1"\navailable = { "memory.free" = "1" }',
            4,
            "there is no signal memory.free",
        ),
        (
            '[[simulate.pressure]]\nat_s = 1\nnode = "node-1"\navailable = { "memory.available" = "a%" }',
            4,
            'try "50Mi" or "5%"',
        ),
        ('[kubelet]\nevictionHard = { "cpu.available" = "1" }', 2, "unsupported eviction signal cpu.available"),
        ('[kubelet]\nshutdownGracePeriod = "5"', 2, 'invalid duration "5"'),
        ("[kubelet]\nshutdown = 1", 2, "unknown field `shutdown`; known: evictionHard,"),
        ("kubelet = 1", 1, "[kubelet] is a table"),
        ("simulate = 3", 1, "[simulate] is a table"),
        ("[simulate", 1, "not TOML"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(tmp_path: Path, text: str, line: int, says: str) -> None:
    with pytest.raises(SettingsError) as error:
        read(tmp_path, text)
    assert says in str(error.value)
    if "not TOML" not in says:
        assert f"seatrial.toml:{line}: " in str(error.value)


def test_planned_losses_happen_at_their_times(tmp_path: Path) -> None:
    given = read(tmp_path, GOOD)
    cluster = VirtualCluster(nodes=given.nodes, behaves=behaviours.by_rules(given.rules))
    began = cluster.clock.now()
    assert plan(cluster.cluster, given.events) > began + timedelta(seconds=1500)

    def ready() -> list[str]:
        return [
            condition["status"]
            for node in cluster.list("v1", "Node")
            for condition in node["status"]["conditions"]
            if condition["type"] == "Ready"
        ]

    cluster.advance(timedelta(seconds=599))
    assert ready() == ["True", "True"]
    cluster.advance(timedelta(seconds=120))
    assert ready() == ["True", "Unknown"]
    cluster.advance(timedelta(seconds=900))
    assert ready() == ["True", "True"]
