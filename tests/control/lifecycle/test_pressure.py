"""Node pressure: when a node evicts, whom, and what it says; who is refused; in which order a shutdown ends pods."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from seatrial.control.lifecycle import configuration, eviction, pressure, rejection, shutdown
from seatrial.control.lifecycle.configuration import ConfigurationError, KubeletConfiguration, ShutdownGrace
from seatrial.control.lifecycle.eviction import ContainerUsage, DiskUsage, Measure, PodUsage
from seatrial.control.lifecycle.facts import Eviction
from seatrial.control.lifecycle.pressure import Memory, Observation, Pressure
from seatrial.kube.objects import Pod, parse_as

T0 = datetime(2026, 1, 1, tzinfo=UTC)
MI, GI = 1 << 20, 1 << 30


def pod(name: str, *, priority: int = 0, requests: Mapping[str, str] | None = None, **spec: Any) -> Pod:
    containers = [{"name": "main", "resources": {"requests": requests or {}}}]
    raw = {
        "metadata": {"name": name, "uid": name, "annotations": spec.pop("annotations", {})},
        "spec": {"priority": priority, "containers": containers, **spec},
    }
    return parse_as(Pod, raw)


def memory_of(amounts: Mapping[str, int]) -> Any:
    return lambda pod: PodUsage(amounts[pod.metadata.name] * MI) if pod.metadata.name in amounts else None


class Node:
    """A node that looks again and again."""

    def __init__(self, *pods: Pod, used: Mapping[str, int] | None = None, **settings: Any) -> None:
        self.configuration = configuration.read(settings)
        self.pods = list(pods)
        self.usage = memory_of(used or {})
        self.memory = Memory()
        self.shared_machine = False

    def look(self, at_s: float, **available: int) -> Pressure:
        capacities = {"memory_available": 8 * GI, "nodefs_available": 100 * GI, "imagefs_available": 100 * GI}
        names = {
            "nodefs_inodesFree": "nodefs.inodesFree",
            "pid_available": "pid.available",
        }
        observations = {
            names.get(name, name.replace("_", ".")): Observation(amount, capacities.get(name, 1000))
            for name, amount in available.items()
        }
        now = T0 + timedelta(seconds=at_s)
        result = pressure.look(
            self.memory,
            self.configuration,
            observations,
            self.pods,
            self.usage,
            now,
            shared_machine=self.shared_machine,
        )
        self.memory = result.memory
        return result


def names(result: Pressure) -> list[str]:
    return [each.metadata.name for each, _ in result.evict]


def test_a_hard_threshold_evicts_at_once_one_pod_a_look() -> None:
    node = Node(pod("a"), pod("b"), used={"a": 10, "b": 20})
    assert node.look(0, memory_available=100 * MI) == Pressure(node.memory, ())
    result = node.look(10, memory_available=100 * MI - 1)
    assert (result.conditions, result.reclaiming, names(result)) == (("MemoryPressure",), "memory", ["b"])
    text = "The node was low on resource: memory. Threshold quantity: 100Mi, available: 104857599. "
    assert result.evict[0][1] == Eviction("Evicted", text, T0 + timedelta(seconds=10), 1)


def test_a_condition_lasts_for_the_transition_period() -> None:
    node = Node()
    assert node.look(0, memory_available=MI).conditions == ("MemoryPressure",)
    assert node.look(299, memory_available=GI).conditions == ("MemoryPressure",)
    assert not node.memory.is_quiet
    assert node.look(300, memory_available=GI).conditions == ()
    assert node.memory.is_quiet


def test_a_soft_threshold_shows_at_once_and_evicts_after_its_grace_with_the_pods_own() -> None:
    soft: dict[str, Any] = {
        "evictionSoft": {"memory.available": "1Gi"},
        "evictionSoftGracePeriod": {"memory.available": "1m30s"},
    }
    node = Node(pod("a", terminationGracePeriodSeconds=20), evictionMaxPodGracePeriod=60, **soft)
    first = node.look(0, memory_available=GI - 1)
    assert (first.conditions, first.evict) == (("MemoryPressure",), ())
    assert node.look(89, memory_available=GI - 1).evict == ()
    assert node.look(90, memory_available=GI - 1).evict[0][1].grace_s == 20
    node = Node(pod("a", terminationGracePeriodSeconds=200), evictionMaxPodGracePeriod=60, **soft)
    node.look(0, memory_available=MI * 500)
    assert node.look(90, memory_available=MI * 500).evict[0][1].grace_s == 60
    node.look(91, memory_available=2 * GI)
    assert node.look(92, memory_available=GI - 1).evict == (), "the grace period begins anew"


def test_what_was_short_is_short_until_the_least_is_reclaimed_on_top() -> None:
    node = Node(pod("a"), used={"a": 1}, evictionMinimumReclaim={"memory.available": "500Mi"})
    assert names(node.look(0, memory_available=99 * MI)) == ["a"]
    assert names(node.look(10, memory_available=599 * MI)) == ["a"]
    assert names(node.look(20, memory_available=600 * MI)) == []
    assert names(node.look(30, memory_available=150 * MI)) == [], "without having been short again"


def test_memory_is_reclaimed_before_disks() -> None:
    node = Node(pod("a"), used={"a": 1})
    result = node.look(0, nodefs_available=GI, memory_available=MI, pid_available=999)
    assert result.reclaiming == "memory"
    assert result.conditions == ("MemoryPressure", "DiskPressure")
    assert node.look(10, nodefs_available=GI).reclaiming == "ephemeral-storage"


def test_shares_are_of_the_capacity() -> None:
    node = Node(pod("a"), used={"a": 1})
    assert node.look(0, nodefs_available=10 * GI + 1000).evict == ()
    message = node.look(10, nodefs_available=10 * GI - 1000).evict[0][1].message
    # Ten per cent as Go's float32 has it.
    assert message == (
        "The node was low on resource: ephemeral-storage. Threshold quantity: 10737418400, available: 10737417240. "
    )
    assert node.look(20, nodefs_inodesFree=49).conditions == ("DiskPressure",)


def test_a_threshold_crossed_before_a_shared_machine_was_looked_at_is_set_aside_until_it_recovers() -> None:
    node = Node(pod("a"), used={"a": 1})
    node.shared_machine = True
    first = node.look(0, imagefs_available=5 * GI, memory_available=GI)
    assert [threshold.signal for threshold, _ in first.newly_set_aside] == ["imagefs.available"]
    assert (first.conditions, first.evict) == ((), ())
    again = node.look(10, imagefs_available=4 * GI, memory_available=MI)
    assert (again.conditions, again.newly_set_aside, names(again)) == (("MemoryPressure",), (), ["a"])
    assert node.look(20, imagefs_available=50 * GI, memory_available=GI).evict == ()
    assert node.look(30, imagefs_available=5 * GI, memory_available=GI).reclaiming == "ephemeral-storage"


def test_old_measurements_evict_nobody_again() -> None:
    node = Node(pod("a"), used={"a": 1})

    def look(at_s: int, measured_s: int) -> list[str]:
        seen = {"memory.available": Observation(MI, 8 * GI, T0 + timedelta(seconds=measured_s))}
        now = T0 + timedelta(seconds=at_s)
        result = pressure.look(node.memory, node.configuration, seen, node.pods, node.usage, now)
        node.memory = result.memory
        return names(result)

    assert [look(0, 0), look(10, 0), look(20, 15)] == [["a"], [], ["a"]]


def test_critical_pods_are_not_evicted() -> None:
    mirror = pod("mirror", annotations={"kubernetes.io/config.mirror": "x"})
    static = pod("static", annotations={"kubernetes.io/config.source": "file"})
    system = pod("system", priority=2_000_000_000)
    used = {"mirror": 9, "static": 9, "system": 9, "plain": 1}
    assert names(Node(mirror, static, system, used=used).look(0, memory_available=0)) == []
    assert names(Node(mirror, static, system, pod("plain"), used=used).look(0, memory_available=0)) == ["plain"]


def test_who_goes_first() -> None:
    """Over the request, then priority, then by how much; who was not measured before all."""

    def ranked(measure: Measure, usage: Mapping[str, PodUsage]) -> list[str]:
        pods = [
            pod("within", requests={"memory": "100Mi", "ephemeral-storage": "1Gi"}),
            pod("much", priority=5, requests={"memory": "10Mi"}),
            pod("more", priority=5, requests={"memory": "10Mi"}),
            pod("low", priority=1, requests={"memory": "1Mi"}),
            pod("unknown", priority=9),
        ]
        return [each.metadata.name for each in eviction.ranked(pods, lambda pod: usage.get(pod.metadata.name), measure)]

    by_memory = {"within": 90, "much": 50, "more": 60, "low": 2}
    used = {name: PodUsage(amount * MI) for name, amount in by_memory.items()}
    assert ranked(Measure.MEMORY, used) == ["unknown", "low", "more", "much", "within"]
    processes = {
        name: PodUsage(processes=count) for name, count in (("within", 3), ("much", 9), ("more", 10), ("low", 1))
    }
    assert ranked(Measure.PROCESSES, processes) == ["within", "low", "more", "much", "unknown"]

    def disk(layer: int, logs: int) -> PodUsage:
        return PodUsage(containers={"main": ContainerUsage(0, DiskUsage(layer, 1), DiskUsage(logs, 1))})

    disks = {"within": disk(GI, 0), "much": disk(5, 0), "more": disk(1, 10), "low": disk(0, 1)}
    one = Measure.of("nodefs.available", image_disk=False)
    assert ranked(one, disks) == ["unknown", "low", "more", "much", "within"]
    layers = Measure.of("imagefs.available", image_disk=True)
    assert ranked(layers, disks) == ["unknown", "much", "more", "within", "low"]
    # Of inodes nothing can be requested; between equals the request for bytes counts, as upstream has it.
    assert ranked(Measure.of("nodefs.inodesFree", image_disk=False), disks)[-2:] == ["much", "more"]


def test_a_message_names_the_containers_that_use_more_than_they_requested() -> None:
    raw = {
        "metadata": {"name": "web"},
        "spec": {
            "containers": [{"name": "a", "resources": {"requests": {"memory": "10Mi"}}}, {"name": "b"}, {"name": "c"}],
            "initContainers": [{"name": "i"}],
        },
    }
    used = {"a": ContainerUsage(11 * MI), "b": ContainerUsage(0), "i": ContainerUsage(1500)}
    text = eviction.message(parse_as(Pod, raw), PodUsage(containers=used), "memory", "100Mi", "5Mi")
    assert text == (
        "The node was low on resource: memory. Threshold quantity: 100Mi, available: 5Mi. "
        "Container a was using 11Mi, request is 10Mi, has larger consumption of memory. "
        "Container i was using 1500, request is 0, has larger consumption of memory. "
    )
    disk = {"b": ContainerUsage(0, DiskUsage(2048), DiskUsage(2048)), "c": ContainerUsage(0, DiskUsage(4096))}
    text = eviction.message(parse_as(Pod, raw), PodUsage(containers=disk), "ephemeral-storage", "1", "0")
    assert text.endswith("Container b was using 4Ki, request is 0, has larger consumption of ephemeral-storage. ")


def test_limits_of_local_storage_end_a_pod_without_pressure_and_without_a_disruption_condition() -> None:
    def limited(limit: str | None, *, size: str | None = None) -> Pod:
        limits = {"ephemeral-storage": limit} if limit else {}
        volume = {"name": "scratch", "emptyDir": {"sizeLimit": size} if size else {}}
        main = {"name": "main", "resources": {"limits": limits}}
        helper = {"name": "helper", "restartPolicy": "Always", "resources": {"limits": limits}}
        spec = {"containers": [main], "initContainers": [helper], "volumes": [volume]}
        return parse_as(Pod, {"metadata": {"name": "a", "uid": "a"}, "spec": spec})

    def message(pod: Pod, **usage: Any) -> str:
        return eviction.exceeded_limit(pod, lambda _: PodUsage(**usage), image_disk=False)

    scratch = {"volumes": {"scratch": DiskUsage(11 * MI)}}
    assert message(limited(None, size="10Mi"), **scratch) == (
        'Usage of EmptyDir volume "scratch" exceeds the limit "10Mi". '
    )
    assert message(limited(None), **scratch) == message(limited(None, size="11Mi"), **scratch) == ""
    assert message(limited("1Gi"), ephemeral_bytes=2 * GI) == ""
    assert message(limited("1Gi"), ephemeral_bytes=2 * GI + 1) == (
        "Pod ephemeral local storage usage exceeds the total limit of containers 2Gi. "
    )
    over = {"helper": ContainerUsage(0, DiskUsage(GI), DiskUsage(1))}
    assert message(limited("1Gi"), containers=over) == (
        'Container helper exceeded its local ephemeral storage limit "1Gi". '
    )
    node = Node(limited("1Gi"))
    node.usage = lambda pod: PodUsage(ephemeral_bytes=3 * GI)
    ((_, found),) = node.look(0).evict
    assert (found.grace_s, found.disruption) == (1, False)


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        ({"evictionHard": {"cpu.available": "1"}}, "unsupported eviction signal cpu.available"),
        ({"evictionHard": {"memory.available": "120%"}}, "must be <= 100%"),
        ({"evictionHard": {"memory.available": "-1%"}}, "must be >= 0%"),
        ({"evictionHard": {"memory.available": "0"}}, "must be positive"),
        ({"evictionHard": {"memory.available": "much"}}, "not a quantity"),
        ({"evictionHard": {"memory.available": "a%"}}, "no percentage"),
        ({"evictionSoft": {"memory.available": "1Gi"}}, "grace period must be specified"),
        ({"evictionMinimumReclaim": {"memory.available": "0%"}}, "must be positive"),
        ({"evictionPressureTransitionPeriod": "5"}, 'invalid duration "5"'),
        ({"evictionPressureTransitionPeriod": "9" * 30 + "h"}, "longer than 292 years"),
        ({"shutdownGracePeriod": "500ms"}, "at least 1 second"),
        ({"shutdownGracePeriodCriticalPods": "5s"}, "less than or equal to shutdownGracePeriod"),
        ({"evictionhard": {}}, "unknown field `evictionhard`"),
        ({"evictionMaxPodGracePeriod": -1}, "not negative"),
        (
            {
                "shutdownGracePeriod": "5s",
                "shutdownGracePeriodByPodPriority": [{"priority": 1, "shutdownGracePeriodSeconds": 1}],
            },
            "not both",
        ),
    ],
)
def test_a_configuration_that_cannot_be_used_is_told(raw: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigurationError) as error:
        configuration.read(raw)
    assert says in str(error.value)


def test_the_defaults_are_upstreams_and_a_map_replaces_them_whole() -> None:
    found = {each.signal: str(each.value.of(1000)) for each in KubeletConfiguration().thresholds}
    assert found == {
        "memory.available": "100Mi",
        "nodefs.available": "100",
        "nodefs.inodesFree": "50",
        "imagefs.available": "150",
        "imagefs.inodesFree": "50",
    }
    assert KubeletConfiguration().shutdown_graces == ()
    given = configuration.read({"evictionHard": {"nodefs.available": "0%", "pid.available": "10"}})
    assert [each.signal for each in given.thresholds] == ["pid.available"]


def test_who_is_refused_by_a_node_under_pressure() -> None:
    best_effort, burstable = pod("a"), pod("b", requests={"cpu": "1"})
    tolerates = pod("c", tolerations=[{"key": "node.kubernetes.io/memory-pressure", "operator": "Exists"}])
    critical = pod("d", priority=2_000_000_000)

    def refused(*conditions: str, off: bool = False) -> list[str]:
        pods = (best_effort, burstable, tolerates, critical)
        return [p.metadata.name for p in pods if rejection.of(p, conditions, shutting_down=off) is not None]

    assert refused() == []
    assert refused("MemoryPressure") == ["a"]
    assert refused("DiskPressure") == refused("MemoryPressure", "PIDPressure") == ["a", "b", "c"]
    assert refused(off=True) == ["a", "b", "c", "d"]
    found = rejection.of(best_effort, ("MemoryPressure",), shutting_down=False)
    assert found is not None
    assert (found.reason, found.message) == ("Evicted", "The node had condition: [MemoryPressure]. ")
    status = rejection.status(best_effort, found, T0, minor=37)
    assert (status.phase, status.reason) == ("Failed", "Evicted")
    assert status.message == "Pod was rejected: The node had condition: [MemoryPressure]. "


def test_a_shutdown_ends_group_after_group() -> None:
    graces = configuration.read(
        {"shutdownGracePeriod": "30s", "shutdownGracePeriodCriticalPods": "10s"}
    ).shutdown_graces
    assert graces == (ShutdownGrace(0, 20), ShutdownGrace(2_000_000_000, 10))
    quick, slow = pod("quick", terminationGracePeriodSeconds=5), pod("slow", terminationGracePeriodSeconds=300)
    static = pod("static", annotations={"kubernetes.io/config.source": "file"})
    system = pod("system", priority=2_000_001_000)
    under_way = shutdown.begin(graces, [system, quick, slow, static])
    ended: set[str] = set()

    def step(at_s: int) -> tuple[list[tuple[str, int]], float | None]:
        nonlocal under_way
        now = T0 + timedelta(seconds=at_s)
        found = shutdown.step(under_way, lambda pod: pod.metadata.name in ended, now)
        if found.shutdown is not None:
            under_way = found.shutdown
        wake_s = (found.wake_at - T0).total_seconds() if found.wake_at is not None else None
        return [(each.metadata.name, why.grace_s) for each, why in found.evict], wake_s

    assert step(0) == ([("quick", 5), ("slow", 20), ("static", 20)], 20.0)
    ended.update(("quick", "static"))
    assert step(6) == ([], 20.0)
    assert step(20) == ([("system", 10)], 30.0), "the time of the first group is over"
    ended.add("system")
    assert step(21) == ([], None)


def test_a_shutdown_by_priority_takes_boundaries_and_leaves_out_empty_groups() -> None:
    entries = [(100_000, 10), (10_000, 180), (0, 60)]
    by = [{"priority": priority, "shutdownGracePeriodSeconds": seconds} for priority, seconds in entries]
    graces = configuration.read({"shutdownGracePeriodByPodPriority": by}).shutdown_graces
    pods = [pod(str(priority), priority=priority) for priority in (-5, 0, 9_999, 100_000, 200_000)]
    found = shutdown.begin(graces, pods)
    assert [(group.grace.priority, [p.metadata.name for p in group.pods]) for group in found.groups] == [
        (0, ["-5", "0", "9999"]),
        (100_000, ["100000", "200000"]),
    ]
