"""kubectl 1.37 about who may do what. What it prints was compared with what it prints of kube-apiserver 1.37."""

from __future__ import annotations

import base64
import json
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from seatrial.testing import Cluster
from tests import certificate_requests
from tests.machines import KUBECTL

Kubectl = Callable[..., str]
ROBOT = "--as=system:serviceaccount:default:robot"


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with Cluster(nodes=0) as running:
        yield running


def shell(kubeconfig: Path, directory: Path) -> Kubectl:
    command = [str(KUBECTL), "--kubeconfig", str(kubeconfig), "--cache-dir", str(directory / "cache")]

    def kubectl(*words: str, stdin: str = "", code: int = 0) -> str:
        done = subprocess.run([*command, *words], input=stdin, capture_output=True, text=True, timeout=60, check=False)
        said = done.stdout + done.stderr
        assert done.returncode == code, f"exit code {done.returncode} of {words}\n{said}"
        return said

    return kubectl


@pytest.fixture(scope="module")
def kubectl(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Kubectl:
    return shell(cluster.kubeconfig, tmp_path_factory.mktemp("kubectl"))


@pytest.fixture(scope="module")
def robot(kubectl: Kubectl) -> Kubectl:
    """An account that may read pods."""
    kubectl("create", "serviceaccount", "robot")
    kubectl("create", "role", "reads", "--verb=get,list", "--resource=pods")
    kubectl("create", "rolebinding", "robot", "--role=reads", "--serviceaccount=default:robot")
    return kubectl


def without_times(text: str) -> str:
    """Columns closed up, ages and times replaced."""
    text = re.sub(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", "TIME", text)
    text = re.sub(r"(?<= )(\d+[smhd])+(?=\s)", "AGE", text)
    return "\n".join(" ".join(line.split()) for line in text.splitlines())


def test_roles_and_bindings_are_shown_in_upstreams_columns(robot: Kubectl) -> None:
    assert without_times(robot("get", "role/reads", "rolebinding/robot", "-o", "wide")) == (
        "NAME CREATED AT\nrole.rbac.authorization.k8s.io/reads TIME\n\n"
        "NAME ROLE AGE USERS GROUPS SERVICEACCOUNTS\n"
        "rolebinding.rbac.authorization.k8s.io/robot Role/reads AGE default/robot"
    )
    assert "  ServiceAccount  robot  default\n" in robot("describe", "rolebinding", "robot")
    assert "  pods       []                 []              [get list]\n" in robot("describe", "role", "reads")


def test_auth_can_i(robot: Kubectl) -> None:
    assert robot("auth", "can-i", "list", "pods", ROBOT) == "yes\n"
    assert robot("auth", "can-i", "delete", "pods", ROBOT, code=1) == "no\n"
    assert robot("auth", "can-i", "list", "pods", "-n", "kube-system", ROBOT, code=1) == "no\n"
    assert robot("auth", "can-i", "get", "/version", "--as=anybody") == "yes\n"
    assert robot("auth", "can-i", "*", "*") == "yes\n"
    listed = without_times(robot("auth", "can-i", "--list", ROBOT))
    assert listed.splitlines()[0] == "Resources Non-Resource URLs Resource Names Verbs"
    assert "pods [] [] [get list]" in listed
    assert "selfsubjectreviews.authentication.k8s.io [] [] [create]" in listed


def test_auth_whoami(kubectl: Kubectl) -> None:
    joe = without_times(kubectl("auth", "whoami", "--as=joe", "--as-group=staff"))
    assert joe == "ATTRIBUTE VALUE\nUsername joe\nGroups [staff system:authenticated]"
    admin = without_times(kubectl("auth", "whoami"))
    assert "Username kubernetes-admin\nGroups [system:masters system:authenticated]\n" in admin
    assert "[X509SHA256=" in admin


def test_who_may_not_is_told_what(robot: Kubectl) -> None:
    refused = (
        'Error from server (Forbidden): {} is forbidden: User "joe" cannot {} resource "{}" in API group "{}" {}\n'
    )
    here = 'in the namespace "default"'
    assert robot("get", "pods", "--as=joe", code=1) == refused.format("pods", "list", "pods", "", here)
    assert robot("get", "nodes", "--as=joe", code=1) == refused.format(
        "nodes", "list", "nodes", "", "at the cluster scope"
    )
    assert robot("delete", "deployment", "web", "--as=joe", code=1) == refused.format(
        'deployments.apps "web"', "delete", "deployments", "apps", here
    )
    again = robot("get", "pods", "--as=joe", "--as-group=system:masters")
    assert again == "No resources found in default namespace.\n"


def test_a_token_is_its_account_and_dies_with_it(cluster: Cluster, kubectl: Kubectl, tmp_path: Path) -> None:
    kubectl("create", "serviceaccount", "passing")
    kubectl("create", "clusterrolebinding", "passing", "--clusterrole=view", "--serviceaccount=default:passing")
    token = kubectl("create", "token", "passing", "--duration=10m").strip()
    config = yaml.safe_load(cluster.kubeconfig.read_text())
    config["users"][0]["user"] = {"token": token}
    own = tmp_path / "kubeconfig"
    own.write_text(yaml.safe_dump(config))
    bearer = shell(own, tmp_path)
    assert "Username system:serviceaccount:default:passing" in without_times(bearer("auth", "whoami"))
    assert bearer("get", "configmaps", "-o", "name") == "configmap/kube-root-ca.crt\n"
    assert "cannot list resource" in bearer("get", "secrets", code=1)
    kubectl("delete", "serviceaccount", "passing")
    said = bearer("get", "configmaps", code=1)
    assert "error: You must be logged in to the server (Unauthorized)" in said


def test_create_token_says_what_is_wrong(robot: Kubectl) -> None:
    why = 'TokenRequest.authentication.k8s.io "" is invalid: spec.expirationSeconds: Invalid value: 300: '
    assert robot("create", "token", "robot", "--duration=5m", code=1) == (
        f"error: failed to create token: {why}may not specify a duration less than 10 minutes\n"
    )
    assert robot("create", "token", "nobody", code=1) == (
        'error: failed to create token: serviceaccounts "nobody" not found\n'
    )


def test_a_secret_for_a_token_is_filled_and_works(robot: Kubectl) -> None:
    metadata = {"name": "key", "annotations": {"kubernetes.io/service-account.name": "robot"}}
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": "kubernetes.io/service-account-token"}
    robot("apply", "-f", "-", stdin=json.dumps(secret))
    shown = without_times(robot("get", "secret", "key"))
    assert shown == "NAME TYPE DATA AGE\nkey kubernetes.io/service-account-token 3 AGE"
    token = base64.b64decode(robot("get", "secret", "key", "-o", "jsonpath={.data.token}")).decode()
    review = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": token}}
    asked = robot("create", "-f", "-", "-o", "jsonpath={.status.user.username}", stdin=json.dumps(review))
    assert asked == "system:serviceaccount:default:robot"
    assert robot("get", "secret", "key", "-o", r"jsonpath={.metadata.annotations.kubernetes\.io/service-account\.uid}")


def test_a_certificate_is_asked_for_approved_and_used(cluster: Cluster, kubectl: Kubectl, tmp_path: Path) -> None:
    spec = {
        "request": certificate_requests.request("jane", ("dev",)),
        "signerName": "kubernetes.io/kube-apiserver-client",
        "usages": ["client auth"],
        "expirationSeconds": 86400,
    }
    api = {"apiVersion": "certificates.k8s.io/v1", "kind": "CertificateSigningRequest"}
    for name in ("jane", "joe"):
        kubectl("create", "-f", "-", stdin=json.dumps({**api, "metadata": {"name": name}, "spec": spec}))
    pending = "kubernetes.io/kube-apiserver-client kubernetes-admin 24h"
    assert without_times(kubectl("get", "csr", "jane")).splitlines() == [
        "NAME AGE SIGNERNAME REQUESTOR REQUESTEDDURATION CONDITION",
        f"jane AGE {pending} Pending".replace("24h", "AGE"),
    ]
    assert kubectl("certificate", "approve", "jane") == (
        "certificatesigningrequest.certificates.k8s.io/jane approved\n"
    )
    assert kubectl("certificate", "deny", "joe") == "certificatesigningrequest.certificates.k8s.io/joe denied\n"
    conditions = [line.split()[-1] for line in kubectl("get", "csr", "--no-headers").splitlines()]
    assert conditions == ["Approved,Issued", "Denied"]

    issued = base64.b64decode(kubectl("get", "csr", "jane", "-o", "jsonpath={.status.certificate}"))
    made = x509.load_pem_x509_certificate(issued)
    assert made.subject.rfc4514_string() == "CN=jane,O=dev"
    plain = serialization.NoEncryption()
    key = certificate_requests.key().private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    config = yaml.safe_load(cluster.kubeconfig.read_text())
    config["users"][0]["user"] = {
        "client-certificate-data": base64.b64encode(issued).decode(),
        "client-key-data": base64.b64encode(key).decode(),
    }
    own = tmp_path / "kubeconfig"
    own.write_text(yaml.safe_dump(config))
    jane = shell(own, tmp_path)
    assert "Username jane\nGroups [dev system:authenticated]" in without_times(jane("auth", "whoami"))
    assert 'User "jane" cannot list resource "pods"' in jane("get", "pods", code=1)


def test_nobody_grants_more_than_he_has(kubectl: Kubectl) -> None:
    kubectl("create", "clusterrole", "writes-roles", "--verb=create", "--resource=roles,rolebindings")
    kubectl("create", "clusterrolebinding", "ann", "--clusterrole=writes-roles", "--user=ann")
    said = kubectl("create", "role", "more", "--verb=get", "--resource=secrets", "--as=ann", code=1)
    assert said == (
        'Error from server (Forbidden): roles.rbac.authorization.k8s.io "more" is forbidden: user "ann" '
        '(groups=["system:authenticated"]) is attempting to grant RBAC permissions not currently held:\n'
        '{APIGroups:[""], Resources:["secrets"], Verbs:["get"]}\n'
    )
    kubectl("create", "role", "same", "--verb=create", "--resource=roles", "--as=ann")
    refused = kubectl("create", "rolebinding", "b", "--clusterrole=view", "--user=ann", "--as=ann", code=1)
    assert "is attempting to grant RBAC permissions not currently held" in refused
