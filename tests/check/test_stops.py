"""How pods end: hooks against the grace of their pods, as found and on the simulated cluster."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from seatrial import project
from seatrial.check import judge
from seatrial.check.verdicts import Answer, Verdict
from seatrial.kube.objects import Pod
from seatrial.testing import Cluster

SERVICE = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": "web"},
    "spec": {"selector": {"app": "web"}, "ports": [{"port": 80}]},
}


def pod(hook: dict[str, Any] | None, grace_s: int | None = None, *, sidecar: bool = False) -> dict[str, Any]:
    container: dict[str, Any] = {"name": "web", "image": "web:1"}
    hooked = container if hook is None else {**container, "lifecycle": {"preStop": hook}}
    spec: dict[str, Any] = {"containers": [hooked]}
    if sidecar:
        spec = {"initContainers": [{**hooked, "name": "proxy", "restartPolicy": "Always"}], "containers": [container]}
    if grace_s is not None:
        spec["terminationGracePeriodSeconds"] = grace_s
    meta = {"name": "web", "labels": {"app": "web"}, "finalizers": ["example.com/look"]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec}


def verdict(tmp_path: Path, raw: dict[str, Any]) -> Verdict:
    (tmp_path / "system.yaml").write_text(yaml.safe_dump_all([raw, SERVICE]))
    (found,) = judge.judge(project.load([tmp_path]), ["stop/*"]).verdicts
    return found


def shell(script: str) -> dict[str, Any]:
    return {"exec": {"command": ["sh", "-c", script]}}


@pytest.mark.parametrize(
    ("hook", "grace_s", "answer"),
    [
        (None, None, Answer.PROVED),
        (None, 0, Answer.REFUTED),
        ({"sleep": {"seconds": 10}}, None, Answer.PROVED),
        ({"sleep": {"seconds": 30}}, None, Answer.REFUTED),
        ({"sleep": {"seconds": 5}}, 5, Answer.REFUTED),
        (shell("sleep 15"), None, Answer.PROVED),
        (shell("sleep 1m"), None, Answer.REFUTED),
        (shell("sleep 20; app drain; sleep 20"), None, Answer.REFUTED),
        (shell("sleep 20; app drain; sleep 20"), 60, Answer.PROVED),
        ({"exec": {"command": ["/bin/sleep", "45"]}}, None, Answer.REFUTED),
        ({"httpGet": {"path": "/drain", "port": 80}}, None, Answer.PROVED),
        (shell("app drain --seconds 90"), None, Answer.PROVED),
    ],
)
def test_hooks_and_the_grace_of_their_pods(
    tmp_path: Path, hook: dict[str, Any] | None, grace_s: int | None, answer: Answer
) -> None:
    found = verdict(tmp_path, pod(hook, grace_s))
    assert found.verdict is answer
    assert (answer is Answer.PROVED) == (not found.places)


def test_the_hook_of_a_sidecar_counts_as_well(tmp_path: Path) -> None:
    assert verdict(tmp_path, pod(shell("sleep 60"), sidecar=True)).verdict is Answer.REFUTED
    assert verdict(tmp_path, pod(shell("sleep 60"), 90, sidecar=True)).verdict is Answer.PROVED


def test_nobody_asks_of_pods_without_a_service(tmp_path: Path) -> None:
    (tmp_path / "system.yaml").write_text(yaml.safe_dump(pod(shell("sleep 60"))))
    assert judge.judge(project.load([tmp_path]), ["stop/*"]).verdicts == ()


@pytest.mark.parametrize(("seconds", "code"), [(20, 143), (30, 137)])
def test_the_simulated_cluster_kills_who_is_still_in_its_hook(tmp_path: Path, seconds: int, code: int) -> None:
    raw = pod({"sleep": {"seconds": seconds}})
    assert (verdict(tmp_path, raw).verdict is Answer.REFUTED) == (code == 137)
    with Cluster(nodes=1) as cluster:
        cluster.apply([raw])
        assert cluster.settle()
        cluster.delete("v1", "Pod", "web")
        cluster.advance(60)
        left = cluster.get(Pod, "web")
        assert left is not None
        state = left.status.container_statuses[0].state
        assert state is not None
        assert state.terminated is not None
        assert state.terminated.exit_code == code
