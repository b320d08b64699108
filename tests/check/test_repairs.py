"""The search for repairs: what is tried, what counts, and how much work it may be."""

from __future__ import annotations

from pathlib import Path

import pytest

from seatrial import project
from seatrial.check import candidates, judge
from seatrial.check.budget import Budget
from seatrial.check.judge import ask
from seatrial.check.properties import Question
from seatrial.check.repairs import MOST_WORK, Search
from seatrial.check.verdicts import Answer, Assumption, Edit, Verdict

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "broken" / "anti-affinity"
MISSING = """\
apiVersion: apps/v1
kind: Deployment
metadata: {{name: web-{number}}}
spec:
  selector: {{matchLabels: {{app: web-{number}}}}}
  template:
    metadata: {{labels: {{app: web-{number}}}}}
    spec:
      containers:
        - name: web
          image: web:1
          envFrom: [{{configMapRef: {{name: setings}}}}]
---
"""


def edits_of(path: Path, prefix: str) -> list[list[Edit]]:
    report = judge.judge(project.load([path]))
    (found,) = [v for v in report.verdicts if v.property.startswith(prefix) and v.verdict is Answer.REFUTED]
    return [list(repair.edits) for repair in found.repairs]


def test_a_name_that_is_nearly_one_that_there_is_is_put_right(tmp_path: Path) -> None:
    config = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings}\ndata: {A: b}\n"
    (tmp_path / "web.yaml").write_text(MISSING.format(number=1) + config)
    ((edit,),) = edits_of(tmp_path, "references/")
    assert (edit.path, edit.to) == ("spec.template.spec.containers[0].envFrom[0].configMapRef.name", "settings")


@pytest.mark.parametrize(
    ("scenario", "prefix", "wanted"),
    [
        ("drain/budget-of-all-pods", "drain/", {"spec.maxUnavailable": 1}),
        ("drain/crashing-pods", "drain/", {"spec.unhealthyPodEvictionPolicy": "AlwaysAllow"}),
        ("schedule/zones-against-hosts", "schedule/", {"spec.maxReplicas": 5}),
        ("storage/names-its-node", "storage/", {"spec.template.spec.nodeName": None}),
        ("scale/replicas-applied", "scale/", {"spec.replicas": None}),
    ],
)
def test_the_edit_follows_from_the_field_in_conflict(scenario: str, prefix: str, wanted: dict[str, object]) -> None:
    repairs = edits_of(ROOT / "tests" / "scenarios" / scenario / "broken", prefix)
    assert any(wanted.items() <= {edit.path: edit.to for edit in repair}.items() for repair in repairs)


def test_what_is_offered_as_proved_leaves_nothing_refuted(tmp_path: Path) -> None:
    judgement = judge.judgement(project.load([EXAMPLE]))
    cures = [cure for cures in judgement.cures for cure in cures]
    assert {cure.answer for cure in cures} == {Answer.PROVED}
    fields = [[(change.entry.key, change.path) for change in cure.changes] for cure in cures]
    assert len(fields) == len({str(each) for each in fields}), "one value for a field is enough"


def test_the_work_of_a_search_is_bounded(tmp_path: Path) -> None:
    """In a large system of many faults the search ends long before it has tried everything for each."""
    count = 200
    (tmp_path / "web.yaml").write_text("".join(MISSING.format(number=number) for number in range(count)))
    system = project.load([tmp_path])
    asked = 0

    def counted(question: Question, wanted: frozenset[str]) -> list[Verdict]:
        nonlocal asked
        asked += 1
        return ask(question, frozenset(("references/exist",)))

    question = Question(system, (), Assumption("nodes/given", "inferred", ""), Budget())
    search = Search(
        question, counted, frozenset(("references/exist",)), lambda q, verdict: candidates.of(q.system, verdict)
    )
    for verdict in ask(question, frozenset(("references/exist",))):
        search.cures(verdict)
    assert 0 < asked <= 3 * MOST_WORK // count
