"""RBAC decisions, and which roles may be written by whom; kube-apiserver's are in tests/conformance/test_access.py."""

from __future__ import annotations

import pytest

from seatrial.control import access, admission, bootstrap_policy
from seatrial.control.access import Attributes, User
from seatrial.kube.objects import JsonObject, Object, parse

API = {"apiVersion": "rbac.authorization.k8s.io/v1"}
GROUP = "rbac.authorization.k8s.io"


def role(name: str, *rules: JsonObject, namespace: str = "") -> JsonObject:
    metadata = {"name": name, "namespace": namespace} if namespace else {"name": name}
    return {**API, "kind": "Role" if namespace else "ClusterRole", "metadata": metadata, "rules": list(rules)}


def rule(verbs: str, resources: str, groups: str = "", names: str = "") -> JsonObject:
    made: JsonObject = {"verbs": verbs.split(), "resources": resources.split(), "apiGroups": groups.split(",")}
    return {**made, "resourceNames": names.split()} if names else made


def binding(name: str, to: str, *subjects: JsonObject, namespace: str = "") -> JsonObject:
    kind, _, ref = to.partition("/")
    metadata = {"name": name, "namespace": namespace} if namespace else {"name": name}
    made = "RoleBinding" if namespace else "ClusterRoleBinding"
    ref_value = {"apiGroup": GROUP, "kind": kind, "name": ref}
    return {**API, "kind": made, "metadata": metadata, "roleRef": ref_value, "subjects": list(subjects)}


def user(name: str) -> JsonObject:
    return {"kind": "User", "apiGroup": GROUP, "name": name}


def typed(raw: JsonObject) -> Object:
    found = parse(raw)
    assert found is not None
    return found


def policy(*objects: JsonObject) -> access.Given:
    return access.Given(map(typed, objects))


@pytest.mark.parametrize(
    ("given", "asked", "allowed"),
    [
        (rule("get", "pods"), Attributes("get", "", "pods", namespace="a"), True),
        (rule("get", "pods"), Attributes("list", "", "pods"), False),
        (rule("get", "pods"), Attributes("get", "apps", "pods"), False),
        (rule("get", "pods"), Attributes("get", "", "pods", "log"), False),
        (rule("get", "pods/log"), Attributes("get", "", "pods", "log"), True),
        (rule("get", "*/scale", "apps"), Attributes("get", "apps", "deployments", "scale"), True),
        (rule("get", "*/scale", "apps"), Attributes("get", "apps", "deployments"), False),
        (rule("get", "*"), Attributes("get", "", "pods", "exec"), True),
        (rule("*", "pods", "*"), Attributes("whatever", "any", "pods"), True),
        (rule("get", "pods", names="a b"), Attributes("get", "", "pods", name="b"), True),
        (rule("list", "pods", names="a"), Attributes("list", "", "pods"), False),
        ({"verbs": ["get"], "nonResourceURLs": ["/logs/*"]}, Attributes("get", path="/logs/x/y"), True),
        ({"verbs": ["get"], "nonResourceURLs": ["/logs/*"]}, Attributes("get", path="/logs"), False),
        ({"verbs": ["get"], "nonResourceURLs": ["*"]}, Attributes("get", "", "pods"), False),
    ],
)
def test_a_rule_allows(given: JsonObject, asked: Attributes, allowed: bool) -> None:
    found = policy(role("r", given), binding("b", "ClusterRole/r", user("u")))
    assert access.authorise(found, User("u"), asked).allowed is allowed


def test_the_reason_names_the_binding_that_allows() -> None:
    robot = {"kind": "ServiceAccount", "name": "robot"}
    found = policy(
        role("reads", rule("get", "pods"), namespace="one"), binding("b", "Role/reads", robot, namespace="one")
    )
    account = User("system:serviceaccount:one:robot")
    answer = access.authorise(found, account, Attributes("get", "", "pods", namespace="one"))
    reason = 'RBAC: allowed by RoleBinding "b/one" of Role "reads" to ServiceAccount "robot/one"'
    assert answer == access.Answer(True, reason)
    assert not access.authorise(found, account, Attributes("get", "", "pods", namespace="two")).allowed
    assert not access.authorise(found, account, Attributes("get", "", "pods")).allowed


def test_a_missing_role_is_the_reason_of_a_refusal() -> None:
    found = policy(binding("b", "ClusterRole/gone", user("u")))
    answer = access.authorise(found, User("u"), Attributes("get", "", "pods"))
    assert answer == access.Answer(False, f'rbac: RBAC: clusterrole.{GROUP} "gone" not found')


def test_members_of_system_masters_may_do_everything() -> None:
    assert access.authorise(policy(), User("x", (access.MASTERS,)), Attributes("anything", "x", "y")).allowed


def test_nobody_writes_a_role_with_more_than_he_has() -> None:
    found = policy(role("r", rule("get list", "pods")), binding("b", "ClusterRole/r", user("u")))
    asker = User("u", ("staff",))
    assert access.escalation(found, asker, typed(role("less", rule("get", "pods"), namespace="a"))) == ""
    assert access.escalation(found, asker, typed(role("more", rule("get delete", "pods secrets")))) == (
        'user "u" (groups=["staff"]) is attempting to grant RBAC permissions not currently held:\n'
        '{APIGroups:[""], Resources:["pods"], Verbs:["delete"]}\n'
        '{APIGroups:[""], Resources:["secrets"], Verbs:["get" "delete"]}'
    )


def test_escalate_and_bind_lift_the_check() -> None:
    power = role("power", rule("escalate", "clusterroles", GROUP), rule("bind", "clusterroles", GROUP, "strong"))
    strong = role("strong", rule("*", "*", "*"))
    found = policy(power, strong, role("other", rule("get", "nodes")), binding("b", "ClusterRole/power", user("u")))
    assert access.escalation(found, User("u"), typed(strong)) == ""
    assert access.escalation(found, User("u"), typed(binding("gift", "ClusterRole/strong", user("v")))) == ""
    assert "attempting to grant" in access.escalation(
        found, User("u"), typed(binding("gift", "ClusterRole/other", user("v")))
    )
    with pytest.raises(access.RoleMissingError, match=r'clusterrolebindings.* "gone" not found'):
        access.escalation(found, User("u"), typed(binding("gift", "ClusterRole/gone", user("v"))))


def test_aggregation_needs_full_authority() -> None:
    gatherer = {
        **role("gatherer"),
        "aggregationRule": {"clusterRoleSelectors": [{"matchLabels": {"a": "b"}}]},
    }
    why = "must have cluster-admin privileges to use the aggregationRule"
    assert access.escalation(policy(), User("u"), typed(gatherer)) == why


def test_the_policy_of_a_new_cluster() -> None:
    found = policy(*bootstrap_policy.objects())
    anybody = User("somebody", (access.AUTHENTICATED,))
    review = Attributes("create", "authorization.k8s.io", "selfsubjectaccessreviews")
    assert access.authorise(found, anybody, review).allowed
    assert access.authorise(found, anybody, Attributes("get", path="/api/v1")).allowed
    assert not access.authorise(found, anybody, Attributes("get", "", "pods", namespace="default")).allowed
    assert access.authorise(found, access.NOBODY, Attributes("get", path="/version")).allowed
    assert not access.authorise(found, access.NOBODY, Attributes("get", path="/api")).allowed
    garbage = User("system:serviceaccount:kube-system:generic-garbage-collector")
    assert access.authorise(found, garbage, Attributes("delete", "anything", "any")).allowed


def test_its_objects_are_as_the_api_stores_them() -> None:
    """They go into the store of a new cluster without passing through the API."""
    for raw in bootstrap_policy.objects():
        assert admission.admit(raw) == raw


def test_a_restart_adds_what_is_missing_and_takes_nothing_away() -> None:
    wanted = next(raw for raw in bootstrap_policy.objects() if raw["metadata"]["name"] == "system:basic-user")
    more = rule("get", "pods")
    changed = {**wanted, "rules": [more]}
    after = bootstrap_policy.reconciled(changed, wanted)
    assert after is not None
    assert after["rules"][0] == more
    assert len(after["rules"]) > 1
    assert bootstrap_policy.reconciled(after, wanted) is None
    mine = {**changed, "metadata": {**wanted["metadata"], "annotations": {}}}
    assert bootstrap_policy.reconciled(mine, wanted) is None
