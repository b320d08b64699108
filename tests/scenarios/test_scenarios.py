"""Ways in which real systems failed: each refuted from its plain files, each repaired twin proved.

A scenario is a directory FAMILY/NAME: `broken/` and `repaired/` hold the files, `expected.toml` what must be found:

    story = "what happened"
    source = "where it is told"
    kubernetes = ["1.30", "1.37"]    # versions that are tried (1.37)
    mended = ["1.34"]                # versions in which the broken files are proved, too, since Kubernetes has changed

    [[refuted]]                      # one or more
    property = "rollout/converges"
    subject = "Deployment default/web"
    message = "words of the message"
    steps = 15                       # the longest trace

Nothing but the files goes into the check: no option and no file that knows the scenario. Of the repaired twin
everything is proved, not only what was refuted.
"""

from __future__ import annotations

import tomllib
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from seatrial import project
from seatrial.check import judge
from seatrial.check.judge import Judgement
from seatrial.check.verdicts import Answer
from seatrial.cli import reenactment

HERE = Path(__file__).parent
SCENARIOS = {str(path.parent.relative_to(HERE)): path.parent for path in sorted(HERE.glob("*/*/expected.toml"))}


@cache
def expected(name: str) -> dict[str, Any]:
    return tomllib.loads((SCENARIOS[name] / "expected.toml").read_text())


def of_versions(key: str, default: tuple[str, ...]) -> list[tuple[str, str]]:
    return [(name, version) for name in SCENARIOS for version in expected(name).get(key, default)]


@cache
def judged(name: str, twin: str, version: str) -> Judgement:
    return judge.judgement(project.load([SCENARIOS[name] / twin], version=version), repairing=False)


@pytest.mark.parametrize(("name", "version"), of_versions("kubernetes", ("1.37",)))
def test_what_failed_is_refuted(name: str, version: str) -> None:
    found = judged(name, "broken", version).report.verdicts
    for wanted in expected(name)["refuted"]:
        (verdict,) = [v for v in found if (v.property, v.subject) == (wanted["property"], wanted["subject"])]
        assert verdict.verdict is Answer.REFUTED
        assert wanted["message"] in verdict.message
        assert verdict.places
        assert all(place.line for place in verdict.places)
        assert len(verdict.trace) <= wanted["steps"]


@pytest.mark.parametrize(("name", "version"), of_versions("kubernetes", ("1.37",)))
def test_its_counterexamples_happen_on_the_cluster(name: str, version: str) -> None:
    """Move by move, with the cluster's own API, controllers and scheduler; a witness that is no run has no moves."""
    judgement = judged(name, "broken", version)
    refuted = {(v.property, v.subject) for v in judgement.report.verdicts if v.verdict is Answer.REFUTED}
    assert set(judgement.runs) <= refuted
    for run in judgement.runs.values():
        assert reenactment.reenact(run, version) <= reenactment.NAMES_TRIED


@pytest.mark.parametrize(
    ("name", "twin", "version"),
    [
        *((name, "repaired", version) for name, version in of_versions("kubernetes", ("1.37",))),
        *((name, "broken", version) for name, version in of_versions("mended", ())),
    ],
)
def test_its_twin_is_proved(name: str, twin: str, version: str) -> None:
    found = judged(name, twin, version).report.verdicts
    assert [f"{v.property} {v.subject}: {v.message}" for v in found if v.verdict is not Answer.PROVED] == []
