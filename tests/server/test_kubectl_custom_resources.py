"""Custom resources with unmodified kubectl, newest and oldest: define, apply, explain, scale, print, delete."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from seatrial.testing import Cluster

NEWEST = Path(sys.executable).with_name("kubectl")
OLDEST = Path(sys.prefix) / "kubectl-oldest" / "kubectl"
DEFINITION = """
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: crontabs.stable.example.com}
spec:
  group: stable.example.com
  scope: Namespaced
  names: {plural: crontabs, singular: crontab, kind: CronTab, shortNames: [ct], categories: [all]}
  versions:
  - name: v1
    served: true
    storage: true
    subresources:
      status: {}
      scale: {specReplicasPath: .spec.replicas, statusReplicasPath: .status.replicas}
    additionalPrinterColumns:
    - {name: Spec, type: string, jsonPath: .spec.cronSpec, description: The cron spec}
    - {name: Replicas, type: integer, jsonPath: .spec.replicas}
    schema:
      openAPIV3Schema:
        type: object
        description: CronTab runs something.
        properties:
          spec:
            type: object
            required: [cronSpec]
            properties:
              cronSpec:
                type: string
                description: When it runs.
                pattern: '^(\\d+|\\*)(/\\d+)?(\\s+(\\d+|\\*)(/\\d+)?){4}$'
              image: {type: string}
              replicas: {type: integer, minimum: 1, maximum: 10, default: 1}
          status:
            type: object
            properties: {replicas: {type: integer}}
"""
OBJECT = """
apiVersion: stable.example.com/v1
kind: CronTab
metadata: {name: my}
spec: {cronSpec: "* * * * */5", image: app}
"""

Kubectl = Callable[..., str]


@pytest.fixture(params=[NEWEST, OLDEST], ids=["newest", "oldest"])
def kubectl(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Kubectl]:
    program: Path = request.param
    if not program.exists():
        pytest.skip(f"{program} is not there: ./dev set-up brings both")
    with Cluster() as cluster, cluster.flowing():
        environment = {**os.environ, "KUBECONFIG": str(cluster.kubeconfig), "HOME": str(tmp_path)}

        def run(*words: str, stdin: str = "", code: int = 0) -> str:
            done = subprocess.run(
                [program, *words], input=stdin, env=environment, capture_output=True, text=True, timeout=60, check=False
            )
            assert done.returncode == code, done.stdout + done.stderr
            return done.stdout + done.stderr

        yield run


def test_a_kind_is_defined_used_and_deleted(kubectl: Kubectl) -> None:
    defined = kubectl("apply", "-f", "-", stdin=DEFINITION)
    assert defined == "customresourcedefinition.apiextensions.k8s.io/crontabs.stable.example.com created\n"
    kubectl("wait", "--for=condition=Established", "crd/crontabs.stable.example.com", "--timeout=10s")
    assert kubectl("apply", "-f", "-", stdin=OBJECT) == "crontab.stable.example.com/my created\n"
    assert kubectl("apply", "-f", "-", stdin=DEFINITION + "---" + OBJECT).count("unchanged") == 2
    header, row = kubectl("get", "ct").splitlines()
    assert header.split() == ["NAME", "SPEC", "REPLICAS"]
    assert row.split()[0] == "my"
    assert row.split()[-1] == "1"
    assert "crontab.stable.example.com/my" in kubectl("get", "all", "-o", "name")
    assert kubectl("scale", "ct/my", "--replicas=4") == "crontab.stable.example.com/my scaled\n"
    assert kubectl("get", "ct/my", "-o", "jsonpath={.spec.replicas}{.metadata.generation}") == "42"
    patched = kubectl("patch", "ct/my", "--type=merge", "-p", '{"spec":{"image":"other"}}')
    assert patched == "crontab.stable.example.com/my patched\n"
    strategic = kubectl("patch", "ct/my", "-p", '{"spec":{"image":"other"}}', code=1)
    assert "application/merge-patch+json" in strategic or "strategic" in strategic
    assert "CronTab" in kubectl("api-resources", "--api-group=stable.example.com")
    assert "When it runs." in kubectl("explain", "ct.spec.cronSpec")
    assert "Replicas:" in kubectl("describe", "ct", "my")
    kubectl("delete", "crd", "crontabs.stable.example.com")
    assert "doesn't have a resource type" in kubectl("get", "crontabs.stable.example.com", code=1)


def test_what_is_wrong_with_an_object_is_said(kubectl: Kubectl) -> None:
    kubectl("apply", "-f", "-", stdin=DEFINITION)
    kubectl("wait", "--for=condition=Established", "crd/crontabs.stable.example.com", "--timeout=10s")
    unknown = kubectl("apply", "-f", "-", stdin=OBJECT.replace("image:", "picture:"), code=1)
    assert 'unknown field "spec.picture"' in unknown or 'unknown field "picture"' in unknown
    wrong = OBJECT.replace("image: app", "replicas: 15")
    refused = kubectl("apply", "-f", "-", stdin=wrong, code=1)
    assert 'The CronTab "my" is invalid: ' in refused
    assert "spec.replicas: Invalid value: 15: spec.replicas in body should be less than or equal to 10" in refused
