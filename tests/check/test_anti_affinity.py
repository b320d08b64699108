"""The example that must be refuted: its story, its repairs, its repaired twin, and the shape of the output."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest

from seatrial import project
from seatrial.check import judge
from seatrial.check.verdicts import Answer, Report, Verdict
from seatrial.cli.reports import text

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "broken" / "anti-affinity"


def verdict(report: Report, name: str) -> Verdict:
    (found,) = [verdict for verdict in report.verdicts if verdict.property == name]
    return found


@pytest.fixture(scope="module")
def report() -> Report:
    return judge.judge(project.load([EXAMPLE]))


def test_the_rollout_is_refuted_in_few_steps_with_the_fields_in_conflict(report: Report) -> None:
    found = verdict(report, "rollout/converges")
    assert found.verdict is Answer.REFUTED
    assert found.message.startswith("the first install works, but the next rollout never ends")
    assert [step.actor for step in found.trace[2:5]] == ["Deployment controller", "ReplicaSet controller", "Scheduler"]
    assert len(found.trace) <= 12
    assert found.loop is None
    assert {place.path.rpartition(".")[2] for place in found.places} >= {"maxUnavailable", "replicas"}
    assert found.covered is not None
    assert found.covered.states == 38
    assert report.exit_code == 1


def test_everything_else_about_it_is_proved(report: Report) -> None:
    others = {v.property: v.verdict for v in report.verdicts if v.property != "rollout/converges"}
    assert {"schema/valid", "schedule/fits", "schedule/survives", "rollout/available"} <= set(others)
    assert set(others.values()) == {Answer.PROVED}


def test_a_repair_written_into_the_file_is_proved(report: Report, tmp_path: Path) -> None:
    repair = verdict(report, "rollout/converges").repairs[0]
    assert [(edit.path, edit.to) for edit in repair.edits] == [("spec.strategy.rollingUpdate.maxUnavailable", 1)]
    text = (EXAMPLE / "web.yaml").read_text()
    (tmp_path / "web.yaml").write_text(
        text.replace("  replicas: 3\n", "  replicas: 3\n  strategy:\n    rollingUpdate:\n      maxUnavailable: 1\n")
    )
    twin = judge.judge(project.load([tmp_path, EXAMPLE / "nodes.yaml"]))
    assert twin.exit_code == 0


def test_the_output_follows_the_published_schema(report: Report) -> None:
    schema: dict[str, Any] = json.loads((ROOT / "docs" / "reference" / "verdicts.schema.json").read_text())
    jsonschema.validate(json.loads(msgspec.json.encode(report)), schema)


def test_the_text_leads_with_what_is_refuted(report: Report) -> None:
    lines = text.render(report).splitlines()
    assert lines[0].startswith("✗ rollout/converges")
    assert any("repair (proved): spec.strategy.rollingUpdate.maxUnavailable: 1" in line for line in lines)
