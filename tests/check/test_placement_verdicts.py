"""What is said about placement of systems as people write them: ordinary ones, large ones, absurd ones."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from seatrial import project
from seatrial.check import judge
from seatrial.check.verdicts import Answer, Verdict

Judged = Callable[..., dict[str, Verdict]]

ASKED = ("schedule/*", "drain/*", "storage/*", "nodes/*")


@pytest.fixture
def judged(tmp_path: Path) -> Judged:
    def ask(*documents: str, only: tuple[str, ...] = ASKED) -> dict[str, Verdict]:
        """The verdicts by property; of several subjects the worst."""
        path = tmp_path / "system.yaml"
        path.write_text("---\n".join(documents))
        ranks = {Answer.REFUTED: 0, Answer.UNKNOWN: 1, Answer.PROVED: 2}
        found: dict[str, Verdict] = {}
        for verdict in judge.judge(project.load([path]), only).verdicts:
            known = found.get(verdict.property)
            if known is None or ranks[verdict.verdict] < ranks[known.verdict]:
                found[verdict.property] = verdict
        return found

    return ask


def node(name: str, cpu: str = "4", memory: str = "16Gi", zone: str = "") -> str:
    labels = f"kubernetes.io/hostname: {name}" + (f", topology.kubernetes.io/zone: {zone}" if zone else "")
    return f"""apiVersion: v1
kind: Node
metadata: {{name: {name}, labels: {{{labels}}}}}
status: {{allocatable: {{cpu: "{cpu}", memory: {memory}, pods: "110"}}}}
"""


def web(name: str = "web", replicas: int = 2, cpu: str = "100m", pod: str = "", strategy: str = "{}") -> str:
    return f"""apiVersion: apps/v1
kind: Deployment
metadata: {{name: {name}}}
spec:
  replicas: {replicas}
  strategy: {strategy}
  selector: {{matchLabels: {{app: {name}}}}}
  template:
    metadata: {{labels: {{app: {name}}}}}
    spec:
      containers: [{{name: {name}, image: "{name}:1", resources: {{requests: {{cpu: {cpu}}}}}}}]
      {pod}
"""


def budget(what: str, name: str = "web") -> str:
    return f"""apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {{name: {name}}}
spec: {{{what}, selector: {{matchLabels: {{app: {name}}}}}}}
"""


def spread(key: str, name: str = "web") -> str:
    rule = f"maxSkew: 1, topologyKey: {key}, whenUnsatisfiable: DoNotSchedule"
    return f"topologySpreadConstraints: [{{{rule}, labelSelector: {{matchLabels: {{app: {name}}}}}}}]"


def test_a_single_replica_is_asked_nothing_about_survival(judged: Judged) -> None:
    found = judged(web(replicas=1), node("a"), node("b"))
    assert {name: each.verdict for name, each in found.items()} == {"schedule/fits": Answer.PROVED}


def test_inferred_machines_are_not_lost(judged: Judged) -> None:
    found = judged(web(replicas=3), budget("minAvailable: 2"))
    assert set(found) == {"schedule/fits", "drain/completes"}
    assert found["drain/completes"].verdict is Answer.PROVED
    assert "nodes/one-more" in found["drain/completes"].assumptions


def test_pods_that_all_want_one_machine_do_not_survive_it(judged: Judged) -> None:
    near = "{topologyKey: kubernetes.io/hostname, labelSelector: {matchLabels: {app: web}}}"
    together = f"affinity: {{podAffinity: {{requiredDuringSchedulingIgnoredDuringExecution: [{near}]}}}}"
    found = judged(web(replicas=2, pod=together), node("a"), node("b"))["schedule/survives"]
    assert found.verdict is Answer.REFUTED
    assert "takes 2 of 2 pods at once: 0 are left, one has to be" in found.message


def test_a_zone_that_is_lost_takes_no_more_than_its_pods(judged: Judged) -> None:
    machines = [node(name, zone=zone) for name, zone in (("a", "east"), ("b", "east"), ("c", "west"))]
    rule = spread("topology.kubernetes.io/zone")
    assert judged(web(replicas=2, pod=rule), *machines)["schedule/survives"].verdict is Answer.PROVED
    cordoned = node("c", zone="west").replace("status:", "spec: {unschedulable: true}\nstatus:")
    soft = rule.replace("DoNotSchedule", "ScheduleAnyway")
    found = judged(web(replicas=2, pod=soft), *machines[:2], cordoned)["schedule/survives"]
    assert found.verdict is Answer.REFUTED
    assert found.message.startswith("the loss of zone east takes 2 of 2 pods at once")


def test_machines_are_inferred_in_zones_where_pods_are_spread_over_zones(judged: Judged) -> None:
    found = judged(web(replicas=4, pod=spread("topology.kubernetes.io/zone")))["schedule/fits"]
    assert found.verdict is Answer.PROVED
    assert found.assumptions[0] == "nodes/inferred=3"


def test_machines_are_inferred_with_the_labels_that_pods_insist_on(judged: Judged) -> None:
    found = judged(web(pod="nodeSelector: {pool: fast}"), web("batch", pod="nodeSelector: {pool: slow}"))
    assert found["schedule/fits"].verdict is Answer.PROVED
    assert found["schedule/fits"].assumptions[0] == "nodes/inferred=2"


def test_a_budget_of_another_kind_of_minimum_is_counted_as_the_controller_counts(judged: Judged) -> None:
    for what, answer in (
        ("maxUnavailable: 0", Answer.REFUTED),
        ("minAvailable: 100%", Answer.REFUTED),
        ("minAvailable: 51%", Answer.REFUTED),  # of two pods rounded up: both
        ("minAvailable: 50%", Answer.PROVED),
        ("maxUnavailable: 1", Answer.PROVED),
    ):
        assert judged(web(), budget(what))["drain/completes"].verdict is answer, what


def test_two_budgets_for_one_pod_keep_it_from_being_evicted(judged: Judged) -> None:
    second = budget("minAvailable: 1").replace("name: web}", "name: more}", 1)
    found = judged(web(), budget("minAvailable: 1"), second)["drain/completes"]
    assert found.verdict is Answer.REFUTED
    assert "This pod has more than one PodDisruptionBudget" in found.message


def test_a_drain_that_has_no_room_for_what_it_evicts_never_ends(judged: Judged) -> None:
    """Two pods on each of two full machines; the budget lets one go, and that one finds no place."""
    found = judged(web(replicas=4, cpu="1"), budget("maxUnavailable: 1"), node("a", "2"), node("b", "2"))
    drain = found["drain/completes"]
    assert drain.verdict is Answer.REFUTED
    assert "1 evicted before find no other node" in drain.message
    assert drain.loop == len(drain.trace) - 1


def test_a_rollout_that_shares_a_disk_with_the_old_pod_waits_for_itself(judged: Judged) -> None:
    pod = "volumes: [{name: data, persistentVolumeClaim: {claimName: data}}]"
    claim = """apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: data}
spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}
"""
    rolling = judged(web(replicas=1, pod=pod), claim, node("a"), node("b"))["storage/attaches"]
    assert rolling.verdict is Answer.REFUTED
    assert rolling.message.startswith("its rollout never ends")
    recreated = judged(web(replicas=1, pod=pod, strategy="{type: Recreate}"), claim, node("a"), node("b"))
    assert recreated["storage/attaches"].verdict is Answer.PROVED


def test_absurd_numbers_are_answered(judged: Judged) -> None:
    found = judged(web(replicas=2_147_483_647), budget("maxUnavailable: 1"))
    assert found["schedule/fits"].verdict is Answer.REFUTED
    assert found["drain/completes"].verdict is Answer.UNKNOWN


def test_a_system_of_many_workloads_is_answered(judged: Judged) -> None:
    names = [f"app-{number}" for number in range(20)]
    rules = [spread("kubernetes.io/hostname", name) if number % 5 == 0 else "" for number, name in enumerate(names)]
    documents = [web(name, 3, "200m", rule) for name, rule in zip(names, rules, strict=True)]
    found = judged(*documents, *(budget("maxUnavailable: 1", name) for name in names), *map(node, "abcdef"))
    assert {each.verdict for each in found.values()} == {Answer.PROVED}
    assert "others/as-written" in found["schedule/fits"].assumptions


@pytest.mark.parametrize("what", ["minAvailable: abc", "maxUnavailable: -5%", "minAvailable: -1", "minAvailable: 200%"])
def test_budgets_that_no_api_would_take_stop_nobody(judged: Judged, what: str) -> None:
    assert judged(web(), budget(what), only=("drain/*", "arithmetic/*"))


def test_nodes_of_one_name_are_one(judged: Judged) -> None:
    assert judged(web(), node("a"), node("a"))["schedule/fits"].message.endswith("on 1 node, in whatever order")
