"""What CI services call: the GitHub Action's script and the pre-commit hook do what they say."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "broken" / "anti-affinity"
VENV = """\
#!/bin/sh
# Stands for `python -m venv DIR`: pip has nothing to fetch, seatrial is the one under test.
mkdir -p "$3/bin"
printf '#!/bin/sh\\necho "$@" > "%s"\\n' "$INSTALLED" > "$3/bin/pip"
printf '#!/bin/sh\\nexec "%s" -m seatrial "$@"\\n' "$REAL_PYTHON" > "$3/bin/seatrial"
chmod +x "$3/bin/pip" "$3/bin/seatrial"
"""


@pytest.fixture
def action(tmp_path: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((ROOT / "action.yml").read_text())
    return loaded


def run(action: dict[str, Any], directory: Path, **inputs: str) -> subprocess.CompletedProcess[str]:
    """The script of the step, with the variables that the runner would set."""
    step = next(step for step in action["runs"]["steps"] if step.get("id") == "check")
    given = {name: str(each.get("default", "")) for name, each in action["inputs"].items()} | inputs
    variables = {
        name: given[value.removeprefix("${{ inputs.").removesuffix(" }}")] for name, value in step["env"].items()
    }
    (directory / "python").write_text(VENV)
    (directory / "python").chmod(0o755)
    known = {
        **os.environ,
        **variables,
        "PATH": f"{directory}{os.pathsep}{os.environ['PATH']}",
        "INSTALLED": str(directory / "installed"),
        "REAL_PYTHON": sys.executable,
        "RUNNER_TEMP": str(directory / "temp"),
        "GITHUB_OUTPUT": str(directory / "output"),
        "GITHUB_STEP_SUMMARY": str(directory / "summary"),
    }
    # as the runner calls it
    command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]]
    return subprocess.run(command, cwd=EXAMPLE, env=known, capture_output=True, text=True, check=False)


def test_the_action_annotates_sums_up_and_fails(action: dict[str, Any], tmp_path: Path) -> None:
    done = run(action, tmp_path, sarif=str(tmp_path / "report.sarif"), version="1.2.0")
    assert done.returncode == 1, done.stderr
    assert done.stdout.startswith("::error title=rollout/converges Deployment default/web,file=web.yaml,line=9")
    assert (tmp_path / "output").read_text() == "exit-code=1\n"
    assert (tmp_path / "summary").read_text().startswith("### seatrial check: **1 refuted**")
    assert '"version": "2.1.0"' in (tmp_path / "report.sarif").read_text()
    assert (tmp_path / "installed").read_text() == "install --quiet seatrial==1.2.0\n"


def test_the_action_passes_arguments_on_and_says_what_it_cannot_read(action: dict[str, Any], tmp_path: Path) -> None:
    assert run(action, tmp_path, arguments="--only schema/valid").returncode == 0
    done = run(action, tmp_path, paths="nowhere")
    assert done.returncode == 3
    assert "nowhere: no such file or directory" in done.stderr


def test_the_hook_is_a_command_that_there_is(tmp_path: Path) -> None:
    (hook,) = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())
    program, *words = shlex.split(hook["entry"])
    assert program == "seatrial"
    command = [sys.executable, "-m", "seatrial", *words, *hook["args"]]
    done = subprocess.run(command, cwd=EXAMPLE, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "✗ rollout/converges" in done.stdout
