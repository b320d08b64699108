"""`schema/valid`: what the API server would refuse is told at its line, in its words."""

from __future__ import annotations

from pathlib import Path

import pytest

from seatrial import project
from seatrial.check import judge
from seatrial.check.verdicts import Answer

DEPLOYMENT = """\
apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
  namespace: shop
spec:
  selector:
    matchLabels:
      app: web
  template:
    metadata:
      labels:
        app: web
    spec:
      containers:
        - name: web
          image: web:1
          ports:
            - containerPort: 8080
          livenessProbe:
            httpGet:
              path: /live
              port: 8080
"""
NAMESPACE = """\
apiVersion: v1
kind: Namespace
metadata:
  name: shop
  labels:
    pod-security.kubernetes.io/enforce: restricted
"""


def found(text: str, only: str, version: str | None = None) -> list[tuple[int, str]]:
    Path("system.yaml").write_text(text)
    system = project.load(["system.yaml"]) if version is None else project.load(["system.yaml"], version=version)
    verdicts = judge.judge(system, [only]).verdicts
    return [(each.places[0].line, each.message) for each in verdicts if each.verdict is Answer.REFUTED]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("change", "to", "line", "message"),
    [
        (
            "containerPort: 8080",
            "containerPort: 80800",
            19,
            "spec.template.spec.containers[0].ports[0].containerPort: Invalid value: 80800: must be between 1 and",
        ),
        (
            "labels:\n        app: web",
            "labels:\n        app: shop",
            12,
            'spec.template.metadata.labels: Invalid value: {"app":"shop"}: `selector` does not match template `labels`',
        ),
        (
            "          image: web:1\n",
            "          image: web:1\n          volumeMounts:\n            - {name: data, mountPath: /data}\n",
            19,
            'spec.template.spec.containers[0].volumeMounts[0].name: Not found: "data"',
        ),
        (
            "          image: web:1\n",
            "",
            16,
            "spec.template.spec.containers[0].image: Required value",
        ),
    ],
)
def test_what_the_api_server_refuses_is_told_at_its_line(change: str, to: str, line: int, message: str) -> None:
    assert change in DEPLOYMENT
    assert found(DEPLOYMENT, "schema/valid") == []
    [(at, told)] = found(DEPLOYMENT.replace(change, to, 1), "schema/valid")
    assert (at, told[: len(message)]) == (line, message)


def test_objects_that_the_server_completes_are_taken_as_they_are_written() -> None:
    """A Job selects its own pods, a name is made from its beginning, an old autoscaler is stored as a new one."""
    job = "apiVersion: batch/v1\nkind: Job\nmetadata: {generateName: work-}\nspec: {template: {spec: {"
    job += "restartPolicy: Never, containers: [{name: a, image: b}]}}}\n"
    scaler = "apiVersion: autoscaling/v1\nkind: HorizontalPodAutoscaler\nmetadata: {name: web}\nspec: {maxReplicas: 3,"
    scaler += (
        " targetCPUUtilizationPercentage: 50, scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: web}}\n"
    )
    assert found(f"{job}---\n{scaler}", "schema/valid") == []
    refused = found(scaler.replace("maxReplicas: 3", "maxReplicas: 0"), "schema/valid")
    why = "spec.maxReplicas: Invalid value: 0: must be greater than or equal to `minReplicas`"
    assert why in [message for _, message in refused]


def test_a_version_that_is_gone_says_what_to_use_and_an_old_one_is_told_by_the_way() -> None:
    budget = "apiVersion: policy/v1beta1\nkind: PodDisruptionBudget\nmetadata: {name: web}\nspec: {minAvailable: 1}\n"
    [(line, message)] = found(budget, "schema/valid")
    assert line == 2
    assert message.endswith("(removed in v1.25; use policy/v1)")
    Path("old.yaml").write_text("apiVersion: v1\nkind: Endpoints\nmetadata: {name: web}\n")
    [verdict] = judge.judge(project.load(["old.yaml"]), ["schema/valid"]).verdicts
    assert verdict.verdict is Answer.PROVED
    assert verdict.message.endswith("; v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice")


def test_a_level_that_there_is_not_is_refuted_at_its_label() -> None:
    assert found(NAMESPACE, "schema/valid") == []
    assert [line for line, _ in found(NAMESPACE.replace("restricted", "strict"), "schema/valid")] == [6]
