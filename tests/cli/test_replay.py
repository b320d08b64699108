"""`seatrial replay`: counterexamples are made again on the cluster, and what cannot be or differs is said."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path

import pytest

from seatrial import project
from seatrial.check import judge
from seatrial.check.story import Run
from seatrial.cli.reenactment import DiffersError, NoReplayError, reenact

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "broken" / "anti-affinity"


def replay(*words: str, within: Path = ROOT) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "seatrial", "replay", *words]
    return subprocess.run(command, cwd=within, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def run() -> Run:
    return judge.judgement(project.load([EXAMPLE]), ["rollout/converges"], repairing=False).runs[
        "rollout/converges", "Deployment default/web"
    ]


def test_every_move_is_made_and_nobody_goes_on() -> None:
    done = replay(str(EXAMPLE), "--only", "rollout/*")
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == "✓ rollout/converges  Deployment default/web: all 14 moves were made on the cluster"
    assert lines[-1].strip() == "asked once more, no controller and no scheduler moves"


def test_a_report_names_what_is_replayed(tmp_path: Path) -> None:
    check = [sys.executable, "-m", "seatrial", "check", str(EXAMPLE), "--output", "json"]
    report = tmp_path / "report.json"
    report.write_bytes(subprocess.run(check, capture_output=True, check=False).stdout)
    assert replay(str(EXAMPLE), "--trace", str(report)).stdout.count("✓") == 1
    report.write_text('{"verdicts": []}')
    assert "nothing to replay" in replay(str(EXAMPLE), "--trace", str(report)).stderr
    report.write_text("no report")
    done = replay(str(EXAMPLE), "--trace", str(report))
    assert (done.returncode, "is no report of" in done.stderr) == (3, True)


def test_what_is_proved_has_nothing_to_replay() -> None:
    done = replay(str(EXAMPLE), "--only", "rollout/rollback")
    assert (done.returncode, "nothing to replay" in done.stderr) == (0, True)


def test_a_state_that_the_cluster_does_not_reach_is_a_difference(run: Run) -> None:
    """The moves of a run with one left out: the cluster is behind what is expected."""
    with pytest.raises(DiffersError, match=r"expected 3 x web-\w+ pending; the cluster has no pods"):
        reenact(dataclasses.replace(run, moves=run.moves[1:]), "1.37")


def test_an_end_that_is_none_is_a_difference(run: Run) -> None:
    """A run cut off in the middle is not stuck: the cluster goes on."""
    with pytest.raises(DiffersError, match=r"it goes on|finds a node after all"):
        reenact(dataclasses.replace(run, moves=run.moves[:1]), "1.37")


def test_a_move_that_the_cluster_has_no_one_for_is_told(run: Run) -> None:
    effect, after = run.moves[0]
    strange = dataclasses.replace(effect, label=("weather", 0), actor="Weather", action="changes")
    with pytest.raises(NoReplayError, match="a move of Weather"):
        reenact(dataclasses.replace(run, moves=((strange, after),)), "1.37")
