"""`seatrial check` that mends, compares with a commit, and looks into a live cluster."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.machines import KUBECTL, Machine

EXAMPLE = Path(__file__).parents[2] / "examples" / "broken" / "anti-affinity"
LINES = ["  strategy:", "    rollingUpdate:", "      maxUnavailable: 1"]


@pytest.fixture
def system(tmp_path: Path) -> Path:
    for file in EXAMPLE.glob("*.yaml"):
        shutil.copy(file, tmp_path)
    return tmp_path


def check(system: Path, *words: str, code: int, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "seatrial", "check", *words]
    known = {**os.environ, "COLUMNS": "300", **environment}
    done = subprocess.run(command, cwd=system, env=known, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    return done


def git(system: Path, *words: str) -> None:
    name = ["-c", "user.name=x", "-c", "user.email=x@example.com"]
    subprocess.run(["git", *name, *words], cwd=system, check=True, capture_output=True)


def test_fix_writes_the_smallest_repair_and_keeps_the_rest(system: Path) -> None:
    before = (system / "web.yaml").read_text().splitlines()
    (system / "web.yaml").chmod(0o640)
    done = check(system, ".", "--fix", code=0)
    assert done.stderr == "web.yaml: repaired\n"
    after = (system / "web.yaml").read_text().splitlines()
    assert [line for line in after if line not in before] == LINES
    assert [line for line in after if line not in LINES] == before
    assert (system / "web.yaml").stat().st_mode & 0o777 == 0o640
    check(system, ".", code=0)


def test_diff_prints_a_patch_that_git_applies_and_touches_nothing(system: Path) -> None:
    before = (system / "web.yaml").read_bytes()
    patch = check(system, ".", "--diff", code=0).stdout
    assert (system / "web.yaml").read_bytes() == before
    subprocess.run(["git", "apply", "-"], cwd=system, input=patch, text=True, check=True)
    check(system, ".", code=0)


def test_each_of_several_faults_is_mended(system: Path) -> None:
    web = (system / "web.yaml").read_text()
    (system / "other.yaml").write_text(web.replace("name: web", "name: other").replace("app: web", "app: other"))
    done = check(system, ".", "--fix", code=0)
    assert done.stderr == "other.yaml: repaired\nweb.yaml: repaired\n"


def test_standard_input_is_not_mended_in_place(system: Path) -> None:
    assert "--diff prints a patch" in check(system, "-", "--fix", code=3).stderr


def test_since_tells_what_a_change_breaks_and_mends(system: Path) -> None:
    git(system, "init", "-q")
    git(system, "add", ".")
    git(system, "commit", "-qm", "broken")
    unchanged = check(system, ".", "--since", "HEAD", code=0)
    assert "0 newly refuted, 0 newly proved" in unchanged.stderr
    assert "rollout" not in unchanged.stdout
    check(system, ".", "--fix", code=0)
    mended = check(system, ".", "--since", "HEAD", code=0)
    assert "0 newly refuted, 1 newly proved" in mended.stderr
    assert mended.stdout.startswith("✓ rollout/converges  Deployment default/web")
    git(system, "commit", "-qam", "mended")
    git(system, "revert", "--no-edit", "HEAD")
    broken = check(system, ".", "--since", "HEAD~1", code=1)
    assert "1 newly refuted, 0 newly proved" in broken.stderr
    told = json.loads(check(system, ".", "--since", "HEAD~1", "--output", "json", code=1).stdout)
    assert [verdict["property"] for verdict in told["verdicts"]] == ["rollout/converges"]
    assert "git nonsense" in check(system, ".", "--since", "nonsense", code=3).stderr


def test_since_works_below_the_top_of_a_repository(system: Path) -> None:
    (system / "deploy").mkdir()
    for file in list(system.glob("*.yaml")):
        file.rename(system / "deploy" / file.name)
    git(system, "init", "-q")
    git(system, "add", ".")
    git(system, "commit", "-qm", "broken")
    assert "0 newly refuted, 0 newly proved" in check(system / "deploy", ".", "--since", "HEAD", code=0).stderr
    assert "of 1 that were refuted" in check(system, "deploy", "--since", "HEAD~0", code=0).stderr


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    machine = Machine(tmp_path_factory.mktemp("cluster"))
    try:
        machine.seatrial("up", str(machine.manifests), "--simulate")
        yield machine
    finally:
        machine.seatrial("down")


def of_context(cluster: Machine, system: Path, *words: str, code: int) -> subprocess.CompletedProcess[str]:
    kubeconfig = cluster.state / "cluster" / "kubeconfig"
    context = json.loads(cluster.kubectl("config", "view", "-o", "json"))["current-context"]
    path = f"{KUBECTL.parent}{os.pathsep}{os.environ['PATH']}"
    words = ("--context", context, *words)
    return check(system, *words, code=code, KUBECONFIG=str(kubeconfig), PATH=path)


def test_a_live_cluster_is_input(cluster: Machine, tmp_path: Path) -> None:
    done = of_context(cluster, tmp_path, "--output", "json", code=0)
    subjects = {(v["property"], v["subject"]) for v in json.loads(done.stdout)["verdicts"]}
    assert ("rollout/converges", "Deployment default/web") in subjects
    assert not any("ReplicaSet" in subject or "Pod " in subject for _, subject in subjects)


def test_files_stand_for_the_objects_of_the_same_name(cluster: Machine, tmp_path: Path) -> None:
    text = cluster.manifests.read_text().split("---")[0].replace("name: http}]", "name: https}]")
    (tmp_path / "web.yaml").write_text(text)
    done = of_context(cluster, tmp_path, "web.yaml", "--only", "references/exist", code=1)
    assert "http" in done.stdout


def test_a_context_that_is_not_there_is_told_in_the_words_of_kubectl(cluster: Machine, tmp_path: Path) -> None:
    kubeconfig = cluster.state / "cluster" / "kubeconfig"
    path = f"{KUBECTL.parent}{os.pathsep}{os.environ['PATH']}"
    done = check(tmp_path, "--context", "nowhere", code=3, KUBECONFIG=str(kubeconfig), PATH=path)
    assert 'context "nowhere" does not exist' in done.stderr


def test_without_a_path_it_says_what_to_write(tmp_path: Path) -> None:
    assert "seatrial check ." in check(tmp_path, code=3).stderr
