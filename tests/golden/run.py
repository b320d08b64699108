"""Plays golden scenario scripts: on a real cluster given by its kubeconfig, or on ours in memory (`test_golden.py`).

`python -m tests.golden.run KUBECONFIG [NAME...]` says where a real control plane, its nodes simulated by kwok, answers
differently from the scripts; with `--record` before the rest what it answers is written into them.
"""

from __future__ import annotations

import difflib
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from seatrial.kube.objects import Pod
from seatrial.testing import Cluster
from tests.machines import KUBECTL

SCRIPTS = Path(__file__).parent
OURS_ONLY = "Played on the simulated cluster only"
WAITING = re.compile(r"kubectl (rollout status|wait|drain|delete|replace)")
_FENCE = "```"
_HERE_DOCUMENT_END = "END"
_PLACES = (
    (re.compile(r"-[bcdf0-9][bcdfghjklmnpqrstvwxz0-9]{6,9}\b(?=-[bcdfghjklmnpqrstvwxz0-9]{5}\b)"), "-<hash>"),
    (re.compile(r"(?<=-)(?=[a-z]*\d)[bcdfghjklmnpqrstvwxz2456789]{7,10}\b"), "<hash>"),
    (re.compile(r"(?<=[\w>]-)(?=[a-z0-9]*)[bcdfghjklmnpqrstvwxz2456789]{5}\b"), "<id>"),
    (re.compile(r"\b10\.\d+\.\d+\.\d+\b"), "<ip>"),
    (re.compile(r"(?<=\s)(\d+[dhms])+(?=\s|$)"), "<age>"),
)


class Stage(Protocol):
    kubeconfig: Path

    def during(self, command: str) -> AbstractContextManager[None]: ...
    def advance(self, seconds: float) -> None: ...
    def settle(self) -> None: ...
    def exit(self, namespace: str, labels: str, code: int) -> None: ...
    def fail(self, node: str) -> None: ...
    def restore(self, node: str) -> None: ...


class Simulated:
    """Our cluster in memory: time passes when the script says so, or while a command waits."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self.kubeconfig = cluster.kubeconfig
        self.advance = cluster.advance
        self.fail, self.restore = cluster.fail_node, cluster.restore_node

    def during(self, command: str) -> AbstractContextManager[None]:
        return self._cluster.flowing() if WAITING.search(command) else nullcontext()

    def settle(self) -> None:
        self._cluster.settle(60)

    def exit(self, namespace: str, labels: str, code: int) -> None:
        for pod in self._cluster.list(Pod, namespace, labels):
            if pod.status.phase == "Running":
                self._cluster.crash(pod.metadata.name, namespace, exit_code=code)
        self._cluster.settle(60)


class Real:
    """A cluster of the real components: a second lasts a second, and a container ends as its status says so."""

    def __init__(self, kubeconfig: Path) -> None:
        self.kubeconfig = kubeconfig
        self.advance: Callable[[float], None] = time.sleep

    def during(self, command: str) -> AbstractContextManager[None]:
        return nullcontext()

    def settle(self) -> None:
        time.sleep(5)

    def exit(self, namespace: str, labels: str, code: int) -> None:
        kubectl = [str(KUBECTL), f"--kubeconfig={self.kubeconfig}", "--namespace", namespace]
        pods: list[dict[str, Any]] = json.loads(
            subprocess.check_output([*kubectl, "get", "pods", "-l", labels, "-o", "json"])
        )["items"]
        for pod in pods:
            if pod["status"]["phase"] != "Running":
                continue
            ended = {"exitCode": code, "reason": "Error" if code else "Completed"}
            statuses = [
                {**each, "ready": False, "started": False, "state": {"terminated": ended}}
                for each in pod["status"]["containerStatuses"]
            ]
            status = {"phase": "Failed" if code else "Succeeded", "containerStatuses": statuses}
            patch = ["--subresource=status", "--type=merge", "-p", json.dumps({"status": status})]
            subprocess.check_output([*kubectl, "patch", "pod", pod["metadata"]["name"], *patch])
        self.settle()

    def fail(self, node: str) -> None:
        raise NotImplementedError("a node of kwok does not fail")

    restore = fail


@dataclass(frozen=True, slots=True)
class Step:
    command: str
    said: str


@dataclass(frozen=True, slots=True)
class Script:
    path: Path
    story: str
    steps: tuple[Step, ...]

    @property
    def name(self) -> str:
        return self.path.stem

    @classmethod
    def read(cls, path: Path) -> Script:
        story, _, rest = path.read_text().partition(f"{_FENCE}console\n")
        return cls(path, story, tuple(_steps(rest.partition(_FENCE)[0].splitlines())))

    def text(self) -> str:
        said = "".join(f"{step.command}\n{step.said}" for step in self.steps)
        return f"{self.story}{_FENCE}console\n{said}{_FENCE}\n"


def scripts() -> list[Script]:
    return [Script.read(path) for path in sorted(SCRIPTS.glob("*.md")) if path.name != "README.md"]


def _steps(lines: list[str]) -> Iterator[Step]:
    """A command begins with `$ ` or `> `, goes on to END if it has a here-document; then comes what it says."""
    rest = iter([*lines, "> end"])
    command: list[str] = []
    said: list[str] = []
    for line in rest:
        if not line.startswith(("$ ", "> ")):
            said.append(line)
            continue
        if command:
            yield Step("\n".join(command), "".join(f"{each}\n" for each in said))
        command, said = [line], []
        if "<<END" in line:
            for more in rest:
                command.append(more)
                if more == _HERE_DOCUMENT_END:
                    break


def play(script: Script, stage: Stage) -> Script:
    """The script with what this cluster answers."""
    namespace = f"golden-{script.name}"
    _shell(stage, "default", f"kubectl create namespace {namespace}")
    stage.settle()
    steps = []
    for step in script.steps:
        said = ""
        if step.command.startswith("$ "):
            with stage.during(step.command):
                said = normalised(_shell(stage, namespace, step.command[2:]), namespace)
        else:
            _act(stage, namespace, step.command[2:].split())
        steps.append(Step(step.command, said))
    _shell(stage, "default", f"kubectl delete namespace {namespace} --wait=false")
    return Script(script.path, script.story, tuple(steps))


def _act(stage: Stage, namespace: str, words: list[str]) -> None:
    match words:
        case ["settle"]:
            stage.settle()
        case ["advance", duration]:
            stage.advance(float(duration.removesuffix("s")))
        case ["pods", labels, "exit", code]:
            stage.exit(namespace, labels, int(code))
        case [node, "fails"]:
            stage.fail(node)
        case [node, "returns"]:
            stage.restore(node)
        case _:
            raise ValueError(f"no such verb: {' '.join(words)}")


def _shell(stage: Stage, namespace: str, command: str) -> str:
    wrapped = f'kubectl() {{ {KUBECTL} -n {namespace} "$@"; }}\n{command}\n'
    environment = {**os.environ, "KUBECONFIG": str(stage.kubeconfig)}
    done = subprocess.run(
        ["bash", "-c", wrapped], env=environment, capture_output=True, text=True, timeout=90, check=False
    )
    return done.stdout + done.stderr


def normalised(said: str, namespace: str) -> str:
    """Without what differs from run to run: generated names, addresses, ages, columns' widths, the order of rows."""
    said = said.replace(namespace, "<namespace>")
    for pattern, place in _PLACES:
        said = pattern.sub(place, said)
    lines = [re.sub(r" {2,}", "  ", line).rstrip() for line in said.splitlines()]
    headed = bool(lines) and lines[0].isupper()
    rows = [lines[0], *sorted(lines[1:])] if headed else lines
    return "".join(f"{row}\n" for row in rows if row)


def difference(expected: Script, played: Script) -> str:
    before, after = (each.text().splitlines() for each in (expected, played))
    return "\n".join(difflib.unified_diff(before, after, expected.path.name, "played", lineterm="", n=2))


def main(words: list[str]) -> int:
    recording = words[:1] == ["--record"]
    kubeconfig, *names = words[recording:]
    chosen = [each for each in scripts() if OURS_ONLY not in each.story and (not names or each.name in names)]
    with ThreadPoolExecutor(8) as pool:
        played = list(pool.map(lambda each: play(each, Real(Path(kubeconfig))), chosen))
    if recording:
        for each in played:
            each.path.write_text(each.text())
        return 0
    differences = [text for pair in zip(chosen, played, strict=True) if (text := difference(*pair))]
    print("\n".join(differences))
    return bool(differences)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
