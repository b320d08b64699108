"""What every namespace is given, and what aggregated roles gather."""

from __future__ import annotations

import base64
import json

from seatrial.control import clusterrole, serviceaccount
from seatrial.kube.objects import ClusterRole, ConfigMap, Namespace, Secret, ServiceAccount
from seatrial.kube.objects.access import PolicyRule
from tests.control.harness import Harness


def namespace(name: str, phase: str = "Active") -> dict[str, object]:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}, "status": {"phase": phase}}


def test_an_active_namespace_gets_its_account_and_the_authority() -> None:
    cluster = Harness((serviceaccount.CONTROLLER, serviceaccount.root_ca_publisher("PEM")))
    cluster.apply(namespace("shop"))
    cluster.apply(namespace("old", "Terminating"))
    cluster.settle()
    assert [str(each.key) for each in cluster.all(ServiceAccount)] == ["ServiceAccount shop/default"]
    (bundle,) = cluster.all(ConfigMap)
    assert bundle.metadata.name == "kube-root-ca.crt"
    assert bundle.data == {"ca.crt": "PEM"}


def test_both_come_back_when_somebody_deletes_or_edits_them() -> None:
    cluster = Harness((serviceaccount.CONTROLLER, serviceaccount.root_ca_publisher("PEM")))
    cluster.apply(namespace("shop"))
    cluster.settle()
    cluster.delete(cluster.get(ServiceAccount, "default", "shop").key)
    bundle = {"metadata": {"name": "kube-root-ca.crt", "namespace": "shop"}, "data": {"ca.crt": "other"}}
    cluster.apply({"apiVersion": "v1", "kind": "ConfigMap", **bundle})
    cluster.settle()
    assert cluster.get(ServiceAccount, "default", "shop")
    assert cluster.get(ConfigMap, "kube-root-ca.crt", "shop").data == {"ca.crt": "PEM"}


def account(name: str, *secrets: str) -> dict[str, object]:
    listed = [{"name": each} for each in secrets]
    return {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": {"name": name, "namespace": "shop"},
        "secrets": listed,
    }


def token_secret(name: str, of: str) -> dict[str, object]:
    meta = {"name": name, "namespace": "shop", "annotations": {"kubernetes.io/service-account.name": of}}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": meta, "type": "kubernetes.io/service-account-token"}


def test_a_secret_for_a_token_is_filled_and_goes_with_its_account() -> None:
    cluster = Harness((serviceaccount.token_controller("PEM"), serviceaccount.REFERENCES))
    cluster.apply(account("robot"))
    cluster.apply(token_secret("key", "robot"))
    cluster.settle()
    key = cluster.get(Secret, "key", "shop")
    plain = {name: base64.b64decode(value).decode() for name, value in key.data.items()}
    assert {name: plain[name] for name in ("ca.crt", "namespace")} == {"ca.crt": "PEM", "namespace": "shop"}
    assert json.loads(plain["token"]) == {
        "iss": "kubernetes/serviceaccount",
        "kubernetes.io/serviceaccount/namespace": "shop",
        "kubernetes.io/serviceaccount/secret.name": "key",
        "kubernetes.io/serviceaccount/service-account.name": "robot",
        "kubernetes.io/serviceaccount/service-account.uid": cluster.get(ServiceAccount, "robot", "shop").metadata.uid,
        "sub": "system:serviceaccount:shop:robot",
    }
    cluster.delete(cluster.get(ServiceAccount, "robot", "shop").key)
    cluster.apply(account("robot"))
    cluster.settle()
    assert cluster.all(Secret) == [], "another account of the name is another account"


def test_an_account_forgets_a_token_that_is_gone_and_nothing_else() -> None:
    cluster = Harness((serviceaccount.token_controller(""), serviceaccount.REFERENCES))
    cluster.apply(account("robot", "key", "other"))
    cluster.apply(token_secret("key", "robot"))
    cluster.settle()
    cluster.delete(cluster.get(Secret, "key", "shop").key)
    cluster.settle()
    assert [each.name for each in cluster.get(ServiceAccount, "robot", "shop").secrets] == ["other"]


def role(name: str, labels: dict[str, str], verb: str, **more: object) -> dict[str, object]:
    rule = {"apiGroups": [""], "resources": ["pods"], "verbs": [verb]}
    meta = {"name": name, "labels": labels}
    kind = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole"}
    return {**kind, "metadata": meta, "rules": [rule] if verb else [], **more}


def test_an_aggregated_role_has_the_rules_of_the_roles_it_selects() -> None:
    """The control plane overwrites any values that you manually specify in the rules of an aggregate ClusterRole."""
    cluster = Harness((clusterrole.CONTROLLER,))
    selects = {"clusterRoleSelectors": [{"matchLabels": {"monitor": "yes"}}]}
    cluster.apply(role("monitoring", {"monitor": "yes"}, "delete", aggregationRule=selects))
    cluster.apply(role("b", {"monitor": "yes"}, "list"))
    cluster.apply(role("a", {"monitor": "yes"}, "get"))
    cluster.apply(role("a2", {"monitor": "yes"}, "get"))
    cluster.apply(role("c", {"monitor": "no"}, "create"))
    cluster.settle()

    def verbs() -> list[tuple[str, ...]]:
        return [rule.verbs for rule in cluster.get(ClusterRole, "monitoring", "").rules]

    assert verbs() == [("get",), ("list",)]
    assert cluster.get(ClusterRole, "c", "").rules == (
        PolicyRule(api_groups=("",), resources=("pods",), verbs=("create",)),
    )
    cluster.apply(role("b", {}, "list"))
    cluster.settle()
    assert verbs() == [("get",)]


def test_namespaces_are_left_alone_otherwise() -> None:
    cluster = Harness((serviceaccount.CONTROLLER,))
    cluster.apply(namespace("shop"))
    before = cluster.get(Namespace, "shop", "")
    cluster.settle()
    assert cluster.get(Namespace, "shop", "") == before
