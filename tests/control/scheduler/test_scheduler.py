"""The scheduler that follows a cluster: its queue, preemption's writes, and that what it keeps changes no answer."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from seatrial.control.scheduler import Scheduler, schedule
from seatrial.control.scheduler.queue import Queue
from seatrial.control.writes import Bind, Delete, RecordEvent, UpdateStatus
from seatrial.kube.objects import Namespace, Node, Object, Pod, parse, parse_as
from tests.conformance.scheduling import Cluster

NOW = datetime(2030, 1, 1, tzinfo=UTC)


def second(number: float) -> datetime:
    return NOW + timedelta(seconds=number)


def node(name: str, cpu: str = "1") -> Node:
    status = {"allocatable": {"cpu": cpu, "memory": "8Gi", "pods": "110"}}
    return parse_as(Node, {"metadata": {"name": name}, "status": status})


def pod(name: str, at: str = "", priority: int = 0, cpu: str = "1", **spec: object) -> Pod:
    container = {"name": "main", "resources": {"requests": {"cpu": cpu}}}
    metadata = {"name": name, "namespace": "default", "uid": f"uid-{name}"}
    whole = {"containers": [container], "nodeName": at, "priority": priority, **spec}
    return parse_as(Pod, {"metadata": metadata, "spec": whole, "status": {"phase": "Pending"}})


def following(*objects: Object) -> Scheduler:
    made = Scheduler()
    for item in objects:
        made.change(None, item, NOW)
    return made


def test_the_most_important_pod_is_next_then_the_one_that_waits_longest() -> None:
    queue = Queue()
    for offset, one in enumerate((pod("old"), pod("young"), pod("important", priority=5))):
        queue.put(one, second(offset))
    assert [found.metadata.name for _ in range(3) if (found := queue.pop(second(9)))] == ["important", "old", "young"]


def test_after_each_failure_a_pod_waits_twice_as_long_up_to_ten_seconds() -> None:
    queue = Queue(eager=False)
    one = pod("p")
    queue.put(one, NOW)
    waits = []
    now = NOW
    for _ in range(6):
        assert queue.pop(now) == one
        queue.failed(one, (), now)
        due = queue.wake_at()
        assert due is not None
        waits.append((due - now).total_seconds())
        assert queue.pop(due - timedelta(milliseconds=1)) is None
        now = due
    assert waits == [1, 2, 4, 8, 10, 10]


def test_a_refused_pod_is_tried_again_when_a_pod_leaves_and_not_when_one_comes() -> None:
    there = pod("there", at="a")
    made = following(node("a"), there, pod("waits"))
    waiting = made.next(NOW)
    assert waiting is not None
    made.place(waiting, NOW)
    made.change(None, pod("other", at="a", cpu="0"), second(20))
    assert made.next(second(20)) is None
    made.change(there, None, second(21))
    assert made.next(second(21)) == waiting


def test_a_refused_pod_is_tried_again_after_five_minutes_whatever_happens() -> None:
    made = following(node("a"), pod("there", at="a"), pod("waits"))
    waiting = made.next(NOW)
    assert waiting is not None
    made.place(waiting, NOW)
    assert made.next(second(299)) is None
    assert made.next(second(300)) == waiting


def test_preemption_evicts_tells_why_and_nominates_the_node() -> None:
    made = following(node("a"), pod("victim", at="a"), pod("urgent", priority=9))
    urgent = made.next(NOW)
    assert urgent is not None
    report, failed, doomed, delete, told = made.place(urgent, NOW).writes
    assert isinstance(report, UpdateStatus)
    assert isinstance(report.after, Pod)
    assert report.after.status.nominated_node_name == "a"
    assert isinstance(failed, RecordEvent)
    assert failed.message == (
        "0/1 nodes are available: 1 Insufficient cpu. preemption: found a potential placement for pod on node a,"
        " preempting 1 victims"
    )
    assert isinstance(doomed, UpdateStatus)
    assert isinstance(doomed.after, Pod)
    (condition,) = doomed.after.status.conditions
    assert (condition.type, condition.reason) == ("DisruptionTarget", "PreemptionByScheduler")
    assert condition.message == "default-scheduler: preempting to accommodate a higher priority pod"
    assert isinstance(delete, Delete)
    assert isinstance(told, RecordEvent)
    assert told.message == "Preempted by pod uid-urgent on node a"


def test_a_gated_pod_and_another_schedulers_pod_are_left_alone() -> None:
    made = following(
        node("a"), pod("gated", schedulingGates=[{"name": "wait"}]), pod("theirs", schedulerName="somebody")
    )
    assert made.next(NOW) is None


@pytest.mark.parametrize("seed", range(40_000, 40_040))
def test_a_board_that_followed_changes_answers_as_one_laid_out_anew(seed: int) -> None:
    """Pods are placed one after the other while nodes and pods come and go; nothing kept may change an answer."""
    cluster = Cluster(seed)
    objects = [found for raw in cluster.objects if (found := parse(raw)) is not None]
    made = following()
    there: list[Object] = []
    for number, item in enumerate(objects):
        made.change(None, item, NOW)
        there.append(item)
        if number % 7 == 6:
            gone = there.pop(cluster.random.randrange(len(there)))
            made.change(gone, None, NOW)
        for waiting in [one for one in there if isinstance(one, Pod) and not one.spec.node_name]:
            nodes = [one for one in there if isinstance(one, Node)]
            pods = [one for one in there if isinstance(one, Pod)]
            namespaces = [one for one in there if isinstance(one, Namespace)]
            others = [one for one in there if not isinstance(one, Node | Pod | Namespace)]
            expected = schedule(waiting, nodes, pods, namespaces, others)
            answer = made.placement(waiting)
            assert (answer.best, answer.message, answer.scores) == (expected.best, expected.message, expected.scores)
            if answer.best and number % 2:
                bound = msgspec.structs.replace(
                    waiting, spec=msgspec.structs.replace(waiting.spec, node_name=answer.best[0])
                )
                there[there.index(waiting)] = bound
                made.change(waiting, bound, NOW)


def test_equal_pods_are_bound_one_after_the_other_and_spread() -> None:
    made = following(node("a", "4"), node("b", "4"), *(pod(f"p{number}") for number in range(4)))
    nodes = []
    while (waiting := made.next(NOW)) is not None:
        bind = made.place(waiting, NOW).writes[0]
        assert isinstance(bind, Bind)
        nodes.append(bind.node_name)
        bound = msgspec.structs.replace(waiting, spec=msgspec.structs.replace(waiting.spec, node_name=bind.node_name))
        made.change(waiting, bound, NOW)
    assert nodes == ["a", "b", "a", "b"]
