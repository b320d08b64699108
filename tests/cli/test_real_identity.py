"""A real container asks the API with its service account's token: an unmodified kubectl with nothing configured."""

from __future__ import annotations

import stat
import time
from collections.abc import Callable, Iterator

import pytest

from tests.machines import KUBECTL, Machine

pytestmark = pytest.mark.privileged

ROBOTS = """\
apiVersion: v1
kind: ServiceAccount
metadata: {name: robot}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: reads-pods}
rules: [{apiGroups: [""], resources: [pods], verbs: [get, list]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: robot}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: reads-pods}
subjects: [{kind: ServiceAccount, name: robot}]
---
apiVersion: v1
kind: Pod
metadata: {name: robot}
spec:
  serviceAccountName: robot
  restartPolicy: Never
  volumes: [{name: kubectl, hostPath: {path: KUBECTL, type: File}}]
  containers:
    - name: robot
      image: web:1
      command: [/bin/busybox, sh, -c]
      args:
        - |
          export HOME=/tmp
          /kubectl get pods -o name
          /kubectl get secrets
          /kubectl auth whoami -o jsonpath='{.status.userInfo.username}{"\\n"}'
          cd /var/run/secrets/kubernetes.io/serviceaccount
          /bin/busybox cat namespace; echo
          here="--server=https://kubernetes.default.svc --certificate-authority=ca.crt"
          /kubectl $here --token="$(/bin/busybox cat token)" get pods robot -o name
          /kubectl $here --token=rubbish get pods robot
      volumeMounts: [{name: kubectl, mountPath: /kubectl, readOnly: true}]
---
apiVersion: v1
kind: Pod
metadata: {name: careful}
spec:
  terminationGracePeriodSeconds: 0
  securityContext: {runAsUser: 1000}
  containers: [{name: careful, image: web:1, command: [/bin/busybox, sleep, "1000"]}]
---
apiVersion: v1
kind: Pod
metadata: {name: without}
spec:
  automountServiceAccountToken: false
  terminationGracePeriodSeconds: 0
  containers: [{name: without, image: web:1, command: [/bin/busybox, sleep, "1000"]}]
"""
REFUSED = (
    'Error from server (Forbidden): secrets is forbidden: User "system:serviceaccount:default:robot" cannot list '
    'resource "secrets" in API group "" in the namespace "default"'
)


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    machine = Machine(tmp_path_factory.mktemp("identity"))
    machine.web_image()
    machine.manifests.write_text("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings}\n")
    try:
        machine.seatrial("up", str(machine.manifests))
        machine.manifests.write_text(ROBOTS.replace("KUBECTL", str(KUBECTL.resolve())))
        machine.kubectl("apply", "-f", str(machine.manifests))
        yield machine
    finally:
        machine.seatrial("down", "--images")


def comes(holds: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 60
    while not holds() and time.monotonic() < deadline:
        time.sleep(0.1)
    return holds()


def phase(machine: Machine, pod: str) -> str:
    return machine.kubectl("get", "pods", pod, "-o", "jsonpath={.status.phase}")


def test_a_pod_may_do_what_its_account_may_and_nothing_else(machine: Machine) -> None:
    assert comes(lambda: phase(machine, "robot") in ("Succeeded", "Failed")), machine.kubectl("describe", "pod")
    said = machine.kubectl("logs", "robot")
    assert said.splitlines() == [
        "pod/careful",
        "pod/robot",
        "pod/without",
        REFUSED,
        "system:serviceaccount:default:robot",
        "default",
        "pod/robot",
        "error: You must be logged in to the server (Unauthorized)",
    ]


def test_only_the_user_of_the_containers_may_read_the_token(machine: Machine) -> None:
    assert comes(lambda: phase(machine, "careful") == "Running"), machine.kubectl("describe", "pod", "careful")
    uid = machine.kubectl("get", "pods", "careful", "-o", "jsonpath={.metadata.uid}")
    (volume,) = (machine.state / "pods" / uid / "volumes").iterdir()
    token = (volume / "token").resolve()
    assert (token.stat().st_uid, stat.S_IMODE(token.stat().st_mode)) == (1000, 0o600)
    assert stat.S_IMODE((volume / "ca.crt").resolve().stat().st_mode) == 0o644


def test_a_pod_that_wants_no_token_gets_none(machine: Machine) -> None:
    assert comes(lambda: phase(machine, "without") == "Running")
    assert machine.kubectl("get", "pods", "without", "-o", "jsonpath={.spec.volumes}") == ""
