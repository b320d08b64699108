"""What every namespace is given, and what aggregated roles gather."""

from __future__ import annotations

from seatrial.control import clusterrole, serviceaccount
from seatrial.kube.objects import ClusterRole, ConfigMap, Namespace, ServiceAccount
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
