"""Where scripts are played: on our cluster in memory, or on Kubernetes itself with our nodes (`conformance/nodes.py`).

Both stages have the same nodes (three, called node-1 to node-3), containers that behave alike, and one meaning of
`settle`: nothing is under way in the namespace, and nothing has changed for some seconds. On Kubernetes a second lasts
a second; in memory time stands still between the verbs, and passes while a command waits for what is under way.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, Final, Protocol

from seatrial.cluster.behaviours import Rule
from seatrial.cluster.simulated import Behaviour
from seatrial.kube import selectors
from seatrial.kube.objects import Node, Pod
from seatrial.testing import Cluster
from tests.conformance.nodes import RemoteNodes
from tests.golden.script import Script, Step, normalised
from tests.machines import KUBECTL

NODES: Final = ("node-1", "node-2", "node-3")
QUIET_S: Final = 4.0
"""Longer than controllers put anything off that is done for a change (a Job's status: a second)."""
PATIENCE_S: Final = 60.0
COMMAND_S: Final = 120
_WAITS: Final = ("kubectl rollout status", "kubectl wait", "kubectl drain", "kubectl delete", "kubectl replace")


class Stage(Protocol):
    kubeconfig: Path
    namespace: str

    def during(self, command: str) -> AbstractContextManager[None]: ...
    def advance(self, seconds: float) -> None: ...
    def settle(self) -> None: ...
    def pods(self) -> Iterable[Pod]: ...
    def crash(self, pod: Pod, code: int) -> None: ...
    def behave(self, labels: str, behaviour: Behaviour) -> None: ...
    def fail(self, node: str) -> None: ...
    def restore(self, node: str) -> None: ...


class Simulated:
    """Our cluster in memory."""

    def __init__(self, cluster: Cluster, namespace: str) -> None:
        self._cluster = cluster
        self.kubeconfig = cluster.kubeconfig
        self.namespace = namespace
        self.advance = cluster.advance
        self.fail, self.restore = cluster.fail_node, cluster.restore_node

    def during(self, command: str) -> AbstractContextManager[None]:
        waits = any(each in command for each in _WAITS) and "--wait=false" not in command
        return self._cluster.flowing() if waits else nullcontext()

    def settle(self) -> None:
        end = self._cluster.now().timestamp() + PATIENCE_S
        while (left := end - self._cluster.now().timestamp()) > 0:
            self._cluster.settle(left)
            self._cluster.advance(min(QUIET_S, left))
            if self._cluster.settle(0):
                return

    def pods(self) -> Iterable[Pod]:
        return self._cluster.list(Pod, self.namespace)

    def crash(self, pod: Pod, code: int) -> None:
        self._cluster.crash(pod.metadata.name, self.namespace, exit_code=code)

    def behave(self, labels: str, behaviour: Behaviour) -> None:
        self._cluster.behave(labels, namespace=self.namespace, behaviour=behaviour)


class Real:
    """Kubernetes itself, with our nodes."""

    def __init__(self, nodes: RemoteNodes, kubeconfig: Path, namespace: str) -> None:
        self._nodes = nodes
        self.kubeconfig = kubeconfig
        self.namespace = namespace
        self.fail, self.restore = nodes.fail, nodes.restore

    def during(self, command: str) -> AbstractContextManager[None]:
        return nullcontext()

    def advance(self, seconds: float) -> None:
        time.sleep(seconds)

    def settle(self) -> None:
        began = time.monotonic()
        while (passed := time.monotonic() - began) < PATIENCE_S:
            if min(passed, self._nodes.quiet_s(self.namespace)) >= QUIET_S and not self._nodes.is_under_way(
                self.namespace
            ):
                return
            time.sleep(0.1)

    def pods(self) -> Iterable[Pod]:
        return [pod for pod in self._nodes.list(Pod) if pod.metadata.namespace == self.namespace]

    def crash(self, pod: Pod, code: int) -> None:
        self._nodes.crash(pod, code)

    def behave(self, labels: str, behaviour: Behaviour) -> None:
        self._nodes.behave(Rule(behaviour, labels, self.namespace))

    def begin_anew(self) -> None:
        """Nodes as if new, with nothing on them; whatever other namespaces still hold makes no more pods."""
        while len(self._nodes.list(Node)) + len(self._nodes.list(Pod)):
            self._nodes.leave()
            time.sleep(0.5)
        self._nodes.join()
        while not all(_is_usable(node) for node in self._nodes.list(Node)):
            time.sleep(0.1)


def play(script: Script, stage: Stage) -> Script:
    """The script with what this cluster answers."""
    _shell(stage, "default", f"kubectl create namespace {stage.namespace}")
    stage.settle()
    steps = []
    for step in script.steps:
        said = ""
        if step.command.startswith("$ "):
            with stage.during(step.command):
                said = normalised(_shell(stage, stage.namespace, step.command[2:]), stage.namespace)
        else:
            _act(stage, step.command[2:].split())
        steps.append(Step(step.command, said))
    _shell(stage, "default", f"kubectl delete namespace {stage.namespace} --wait=false")
    return Script(script.path, script.story, tuple(steps))


def _act(stage: Stage, words: list[str]) -> None:
    match words:
        case ["settle"]:
            stage.settle()
        case ["advance", duration]:
            stage.advance(float(duration.removesuffix("s")))
        case ["pods", labels, "exit", code]:
            for pod in _running(stage, labels):
                stage.crash(pod, int(code))
            stage.settle()
        case ["pods", labels, "behave", *fields]:
            stage.behave(labels, Behaviour(**dict(map(_field, fields))))
        case [node, "fails"]:
            stage.fail(node)
        case [node, "returns"]:
            stage.restore(node)
        case _:
            raise ValueError(f"no such verb: {' '.join(words)}")


def _field(text: str) -> tuple[str, Any]:
    """`ready_after_s=30` as a field of a `Behaviour`."""
    name, _, value = text.partition("=")
    return name, value == "true" if value in ("true", "false") else float(value) if "_s" in name else int(value)


def _running(stage: Stage, labels: str) -> list[Pod]:
    selector = selectors.parse(labels)
    return [pod for pod in stage.pods() if pod.status.phase == "Running" and selector.matches(pod.metadata.labels)]


def _shell(stage: Stage, namespace: str, command: str) -> str:
    wrapped = f'kubectl() {{ {KUBECTL} -n {namespace} "$@"; }}\n{command}\n'
    environment = {
        **os.environ,
        "KUBECONFIG": str(stage.kubeconfig),
        "KUBECACHEDIR": str(stage.kubeconfig.parent),
        "NAMESPACE": namespace,
    }
    process = subprocess.Popen(
        ["bash", "-c", wrapped],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        said, complained = process.communicate(timeout=COMMAND_S)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)  # what it has started, too, or the pipes stay open
        process.communicate()
        return f"(did not end within {COMMAND_S} s)\n"
    return said + complained


def _is_usable(node: Node) -> bool:
    ready = any(each.type == "Ready" and each.status == "True" for each in node.status.conditions)
    return ready and not node.spec.taints
