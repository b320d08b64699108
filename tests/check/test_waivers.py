"""What is refuted may be waived: in the files, in seatrial.toml, by a baseline; it is still told, and not for ever."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[2] / "examples" / "broken" / "anti-affinity"


@pytest.fixture
def system(tmp_path: Path) -> Path:
    for file in EXAMPLE.glob("*.yaml"):
        (tmp_path / file.name).write_text(file.read_text())
    return tmp_path


def check(system: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "seatrial", "check", ".", *words]
    environment = {key: value for key, value in os.environ.items() if key != "COLUMNS"}
    return subprocess.run(command, cwd=system, env=environment, capture_output=True, text=True, check=False)


def comment(system: Path, text: str) -> None:
    web = system / "web.yaml"
    web.write_text(web.read_text().replace("spec:\n  replicas", f"# seatrial: waive {text}\nspec:\n  replicas", 1))


def test_a_comment_with_a_reason_waives_what_it_names(system: Path) -> None:
    comment(system, "rollout/converges until 2999-01-01: a fourth node comes in spring")
    done = check(system)
    assert done.returncode == 0, done.stdout
    assert "waived: a fourth node comes in spring (web.yaml:9)" in done.stdout
    assert done.stderr == ""


def test_an_expired_waiver_waives_nothing_and_says_so(system: Path) -> None:
    comment(system, "rollout/converges until 2020-01-01: soon")
    done = check(system)
    assert done.returncode == 1
    assert "web.yaml:9: the waiver of rollout/converges ended on 2020-01-01" in done.stderr


def test_a_waiver_without_a_reason_is_a_finding(system: Path) -> None:
    comment(system, "rollout/converges")
    done = check(system)
    assert done.returncode == 1
    assert "a waiver is written `PROPERTY until YYYY-MM-DD: REASON`" in done.stdout


def test_an_annotation_waives_for_its_object_only(system: Path) -> None:
    web = system / "web.yaml"
    note = '  annotations: {seatrial.dev/waive: "rollout/*: known"}\n'
    other = web.read_text().replace("name: web\n", "name: other\n").replace("app: web", "app: other")
    web.write_text(web.read_text().replace("  name: web\n", "  name: web\n" + note, 1))
    (system / "other.yaml").write_text(other)
    found = json.loads(check(system, "--only", "rollout/converges", "--output", "json").stdout)["verdicts"]
    assert {v["subject"]: bool(v["waived"]) for v in found} == {
        "Deployment default/web": True,
        "Deployment default/other": False,
    }


def test_a_table_of_the_settings_waives_by_patterns(system: Path) -> None:
    (system / "seatrial.toml").write_text(
        '[[waive]]\nproperty = "rollout/*"\nsubject = "Deployment */web"\nreason = "for show"\nuntil = 2999-12-31\n'
    )
    done = check(system)
    assert done.returncode == 0, done.stdout
    assert "waived: for show (seatrial.toml:1)" in done.stdout


def test_a_waiver_that_meets_nothing_is_noted(system: Path) -> None:
    comment(system, "schedule/fits: it is full")
    assert "the waiver of schedule/fits meets nothing that is refuted; remove it" in check(system).stderr


def test_a_baseline_passes_over_what_was_refuted_when_it_was_written(system: Path) -> None:
    written = check(system, "--write-baseline", "known.json")
    assert (written.returncode, written.stdout) == (0, "known.json: 1 refuted verdicts written down\n")
    web = system / "web.yaml"
    web.write_text("# a line more\n" + web.read_text())
    done = check(system, "--baseline", "known.json")
    assert done.returncode == 0, done.stdout
    assert "waived: in the baseline" in done.stdout
    web.write_text(web.read_text().replace("name: web\n", "name: other\n"))
    assert check(system, "--baseline", "known.json").returncode == 1


def test_a_file_that_is_no_baseline_is_told(system: Path) -> None:
    done = check(system, "--baseline", "web.yaml")
    assert (done.returncode, done.stderr) == (
        3,
        "seatrial: web.yaml: is no baseline; --write-baseline web.yaml makes one\n",
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[chek]\n", 'seatrial.toml:1: unknown table "chek"; did you mean check?'),
        ('[check]\nonly = ["rolout/*"]\n', "seatrial.toml:2: no property matches 'rolout/*'"),
        ('[assume]\n"nodes/fial" = 2\n', 'seatrial.toml:2: unknown assumption "nodes/fial"'),
        ('[[waive]]\nproperty = "rollout/*"\n', "seatrial.toml:1: reason is missing"),
        ('[[waive]]\nproperty = "rollout/*"\nuntil = 3\nreason = "x"\n', "seatrial.toml:3: until is a day such as"),
        ('waive = "x"\n', "seatrial.toml:1: waive is a list of tables: write [[waive]]"),
        ('[check]\nkubernetes = "9.9"\n', "no Kubernetes 9.9 here"),
    ],
)
def test_what_is_wrong_with_the_settings_is_told_with_its_line(system: Path, text: str, message: str) -> None:
    (system / "seatrial.toml").write_text(text)
    done = check(system)
    assert done.returncode == 3
    assert message in done.stderr


def test_the_settings_choose_properties_and_version(system: Path) -> None:
    (system / "seatrial.toml").write_text(
        '[check]\nkubernetes = "1.33"\nonly = ["rollout/*"]\nskip = ["rollout/converges"]\n'
    )
    report = json.loads(check(system, "--output", "json").stdout)
    assert report["kubernetes"] == "1.33"
    asked = {verdict["property"] for verdict in report["verdicts"]}
    assert "rollout/available" in asked
    assert "rollout/converges" not in asked
    assert all(name.startswith("rollout/") for name in asked)
