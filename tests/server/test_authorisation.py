"""What a request is about, read from its URL, and whether it may be made."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

import pytest

from seatrial.control import access
from seatrial.control.access import Attributes, User
from seatrial.kube.objects import ClusterRole, ClusterRoleBinding, JsonObject, parse_as
from seatrial.server import authorisation
from seatrial.server.errors import StatusError


@pytest.mark.parametrize(
    ("method", "url", "expected"),
    [
        ("GET", "/version", Attributes("get", path="/version")),
        ("GET", "/api/v1", Attributes("get", path="/api/v1")),
        ("GET", "/apis/apps/v1", Attributes("get", path="/apis/apps/v1")),
        ("GET", "/api/v1/nodes", Attributes("list", "", "nodes")),
        ("GET", "/api/v1/nodes?watch=true", Attributes("watch", "", "nodes")),
        ("GET", "/api/v1/nodes?watch=0", Attributes("list", "", "nodes")),
        ("GET", "/api/v1/nodes/a", Attributes("get", "", "nodes", name="a")),
        ("HEAD", "/api/v1/nodes/a", Attributes("get", "", "nodes", name="a")),
        ("GET", "/api/v1/namespaces", Attributes("list", "", "namespaces")),
        ("GET", "/api/v1/namespaces/a", Attributes("get", "", "namespaces", namespace="a", name="a")),
        ("PUT", "/api/v1/namespaces/a/finalize", Attributes("update", "", "namespaces", "finalize", "a", "a")),
        ("POST", "/api/v1/namespaces/a/pods", Attributes("create", "", "pods", namespace="a")),
        ("POST", "/api/v1/namespaces/a/pods/b/eviction", Attributes("create", "", "pods", "eviction", "a", "b")),
        ("DELETE", "/apis/apps/v1/namespaces/a/jobs", Attributes("deletecollection", "apps", "jobs", "", "a")),
        ("PATCH", "/apis/apps/v1/namespaces/a/deployments/b/scale",
         Attributes("patch", "apps", "deployments", "scale", "a", "b")),
        ("GET", "/api/v1/namespaces/a/pods?fieldSelector=metadata.name%3Db",
         Attributes("list", "", "pods", "", "a", "b")),
        ("GET", "/api/v1/pods?watch=1&fieldSelector=x%3Dy,metadata.name%3D%3Db",
         Attributes("watch", "", "pods", name="b")),
    ],
)  # fmt: skip
def test_what_a_request_is_about(method: str, url: str, expected: Attributes) -> None:
    parts = urlsplit(url)
    assert authorisation.attributes(method, parts.path, parse_qs(parts.query)) == expected


def test_a_stream_into_a_pod_needs_create_since_1_35() -> None:
    rule: JsonObject = {"apiGroups": [""], "resources": ["pods/exec"], "verbs": ["get"]}
    role = parse_as(ClusterRole, {"metadata": {"name": "r"}, "rules": [rule]})
    binding = parse_as(
        ClusterRoleBinding,
        {
            "metadata": {"name": "b"},
            "roleRef": {"kind": "ClusterRole", "name": "r"},
            "subjects": [{"kind": "User", "name": "u"}],
        },
    )
    policy = access.Given((role, binding))
    asked = Attributes("get", "", "pods", "exec", "a", "p")
    authorisation.check(policy, User("u"), asked, 34)
    with pytest.raises(StatusError) as refused:
        authorisation.check(policy, User("u"), asked, 35)
    assert str(refused.value).startswith('pods "p" is forbidden')
