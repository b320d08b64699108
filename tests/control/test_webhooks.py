"""Which requests a webhook is asked about, by the rules of kube-apiserver."""

from __future__ import annotations

from typing import Any

import pytest

from seatrial.control.webhooks import Request, covers, fails_closed, timeout_s

RULE = {"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"]}
CREATE = Request("CREATE", "", "v1", "pods", "", {"app": "web"}, {"kubernetes.io/metadata.name": "shop"})
STATUS = Request("UPDATE", "", "v1", "pods", "status", {"app": "web"}, {"kubernetes.io/metadata.name": "shop"})
NODE = Request("CREATE", "", "v1", "nodes", "", {}, None)


@pytest.mark.parametrize(
    ("rule", "request_", "covered"),
    [
        ({}, CREATE, True),
        ({"operations": ["*"]}, CREATE, True),
        ({"operations": ["UPDATE", "DELETE"]}, CREATE, False),
        ({"apiGroups": ["apps"]}, CREATE, False),
        ({"resources": ["*"]}, CREATE, True),
        ({"operations": ["*"], "resources": ["*"]}, STATUS, False),
        ({"operations": ["*"], "resources": ["*/*"]}, STATUS, True),
        ({"operations": ["*"], "resources": ["pods/*"]}, STATUS, True),
        ({"operations": ["*"], "resources": ["pods/status"]}, STATUS, True),
        ({"resources": ["pods/status"]}, CREATE, False),
        ({"apiVersions": ["v1beta1"]}, CREATE, True),
        ({"scope": "Cluster"}, CREATE, False),
        ({"scope": "Cluster", "resources": ["*"]}, NODE, True),
        ({"scope": "Namespaced", "resources": ["*"]}, NODE, False),
    ],
)
def test_rules(rule: dict[str, Any], request_: Request, covered: bool) -> None:
    assert covers({"rules": [{**RULE, **rule}]}, request_) == covered


def test_an_exact_policy_asks_for_the_version() -> None:
    assert not covers({"matchPolicy": "Exact", "rules": [{**RULE, "apiVersions": ["v1beta1"]}]}, CREATE)


@pytest.mark.parametrize(
    ("selectors", "covered"),
    [
        ({"namespaceSelector": {}}, True),
        ({"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "shop"}}}, True),
        ({"namespaceSelector": {"matchLabels": {"injection": "enabled"}}}, False),
        ({"objectSelector": {"matchLabels": {"app": "web"}}}, True),
        ({"objectSelector": {"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["web"]}]}}, False),
        ({"objectSelector": {"matchExpressions": [{"key": "app", "operator": "Near"}]}}, True),
    ],
)
def test_selectors(selectors: dict[str, Any], covered: bool) -> None:
    assert covers({"rules": [RULE], **selectors}, CREATE) == covered


def test_defaults_and_the_requests_that_are_never_asked_about() -> None:
    configuration = Request("CREATE", "admissionregistration.k8s.io", "v1", "validatingwebhookconfigurations")
    everything = {"rules": [{"operations": ["*"], "apiGroups": ["*"], "apiVersions": ["*"], "resources": ["*/*"]}]}
    assert not covers(everything, configuration)
    assert covers(everything, NODE)
    assert fails_closed({})
    assert not fails_closed({"failurePolicy": "Ignore"})
    assert timeout_s({}) == 10
