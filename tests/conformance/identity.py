"""A conversation about who is who, beside kube-apiserver and kube-controller-manager: accounts, tokens, reviews,
roles that are wrong, certificate requests.

    python -m tests.conformance.identity --record     ask upstream and keep its answers under recordings/
    python -m tests.conformance.identity              ask upstream and compare

A step is a request as somebody; what it answers is kept without what differs from run to run (`told`). `$NAME` in a
request stands for what an earlier answer said. Upstream works in its own time: a step may say for what to wait.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import difflib
import gzip
import json
import re
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import parse_qs, urlsplit

import msgspec
from cryptography import x509

from seatrial.cluster.virtual import VirtualCluster
from seatrial.control.access import User
from seatrial.control.manager import CONTROLLERS
from seatrial.deploy.client import Client
from seatrial.kube.objects import JsonObject
from seatrial.server.authority import Authority
from seatrial.server.http import Handler, Request
from seatrial.server.pki import ADMIN, ADMIN_GROUP, Pki
from tests import certificate_requests
from tests.conformance.upstream import Upstream

RECORDING = Path(__file__).parent / "recordings" / "identity.txt.gz"
CORE, AUTH, RBAC = "/api/v1", "/apis/authentication.k8s.io/v1", "/apis/rbac.authorization.k8s.io/v1"
REVIEWS, CSRS = "/apis/authorization.k8s.io/v1", "/apis/certificates.k8s.io/v1/certificatesigningrequests"
SHOP = f"{CORE}/namespaces/shop"
ROBOT = "system:serviceaccount:shop:robot"
CHANGING = (
    "uid", "resourceVersion", "creationTimestamp", "managedFields", "generation", "token", "lastUpdateTime",
    "lastTransitionTime", "expirationTimestamp", "x", "y", "kid", "deletionTimestamp", "deletionGracePeriodSeconds",
)  # fmt: skip


@dataclass(frozen=True)
class Step:
    method: str
    path: str
    body: Any = None
    who: Mapping[str, Any] = field(default_factory=dict)
    """Headers: a token, or impersonation."""
    save: Mapping[str, str] = field(default_factory=dict)
    """Names for parts of the answer, by their paths."""
    until: str = ""
    """Ask again until the answer has this part."""
    kind: str = "application/json"
    accept: str = "application/json"


def named(name: str, **more: Any) -> JsonObject:
    return {"metadata": {"name": name, **more}}


def review(kind: str, **spec: Any) -> JsonObject:
    group = "authentication" if kind in ("TokenReview", "SelfSubjectReview") else "authorization"
    return {"apiVersion": f"{group}.k8s.io/v1", "kind": kind, "spec": spec}


def role(kind: str, name: str, **parts: Any) -> JsonObject:
    return {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": kind, **named(name), **parts}


def request(name: str, signer: str, usages: list[str], pem: str, **spec: Any) -> JsonObject:
    spec = {"signerName": signer, "usages": usages, "request": pem, **spec}
    return {"apiVersion": "certificates.k8s.io/v1", "kind": "CertificateSigningRequest", **named(name), "spec": spec}


def approval(name: str, *conditions: JsonObject, **status: Any) -> JsonObject:
    return {"apiVersion": "certificates.k8s.io/v1", "kind": "CertificateSigningRequest", **named(name),
            "spec": {"signerName": "x.io/y", "request": "", "usages": []},
            "status": {"conditions": list(conditions), **status}}  # fmt: skip


YES = {"type": "Approved", "status": "True", "reason": "ByTest", "message": "why not"}
NO = {"type": "Denied", "status": "True", "reason": "ByTest", "message": "no"}
CLIENT, KUBELET = "kubernetes.io/kube-apiserver-client", "kubernetes.io/kube-apiserver-client-kubelet"
SERVING = "kubernetes.io/kubelet-serving"
USUAL = ["digital signature", "client auth"]
AS_ROBOT = {"token": "$token"}
ALICE = {"as": "alice"}


def steps() -> Iterator[Step]:
    yield from _accounts()
    yield from _tokens()
    yield from _questions()
    yield from _roles()
    yield from _impersonation()
    yield from _certificates()


def _accounts() -> Iterator[Step]:
    yield Step("POST", f"{CORE}/namespaces", named("shop"))
    yield Step("GET", f"{SHOP}/serviceaccounts/default", until="metadata.name")
    yield Step("POST", f"{SHOP}/serviceaccounts", named("robot"), save={"uid": "metadata.uid"})
    container = {"name": "c", "image": "i:1"}
    pod = {**named("web"), "spec": {"serviceAccountName": "robot", "containers": [container]}}
    yield Step("POST", f"{SHOP}/pods", pod, save={"pod": "metadata.uid"})
    nobody = {**named("nobodys"), "spec": {"serviceAccountName": "nobody", "containers": [container]}}
    yield Step("POST", f"{SHOP}/pods", nobody)
    plain = {**named("plain"), "spec": {"automountServiceAccountToken": False, "containers": [container]}}
    yield Step("POST", f"{SHOP}/pods", plain)
    secret = {"type": "kubernetes.io/service-account-token"}
    noted = {"annotations": {"kubernetes.io/service-account.name": "robot"}}
    yield Step("POST", f"{SHOP}/secrets", {**named("nameless"), **secret})
    yield Step("POST", f"{SHOP}/secrets", {**named("key", **noted), **secret})
    yield Step("GET", f"{SHOP}/secrets/key", until="data.token", save={"old": "data.token"})


def _tokens() -> Iterator[Step]:
    def asked(**spec: Any) -> JsonObject:
        return {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}

    at = f"{SHOP}/serviceaccounts/robot/token"
    yield Step("POST", at, asked(), save={"token": "status.token"})
    yield Step("POST", at, asked(expirationSeconds=599))
    yield Step("POST", at, asked(expirationSeconds=2**32 + 1))
    yield Step("POST", at, {**asked(), **named("other")})
    yield Step("POST", at, {**asked(), "metadata": {"namespace": "other"}})
    yield Step("POST", at, {**asked(), "metadata": {"uid": "other"}})
    yield Step("POST", f"{SHOP}/serviceaccounts/nobody/token", asked())
    yield Step("POST", at, asked(audiences=["vault"]), save={"vault": "status.token"})

    def bound(kind: str, name: str, version: str = "v1", **more: str) -> JsonObject:
        return asked(boundObjectRef={"apiVersion": version, "kind": kind, "name": name, **more})

    yield Step("POST", at, bound("Pod", "web"), save={"bound": "status.token"})
    yield Step("POST", at, bound("Pod", "plain"))
    yield Step("POST", at, bound("Pod", "none"))
    yield Step("POST", at, bound("Pod", "web", uid="other"))
    yield Step("POST", at, bound("Secret", "key"))
    yield Step("POST", at, bound("Node", "none"))
    yield Step("POST", at, bound("Deployment", "web", "apps/v1"))
    yield Step("GET", at)
    yield Step("GET", f"{REVIEWS}/selfsubjectaccessreviews")
    yield Step("POST", f"{AUTH}/selfsubjectreviews", review("SelfSubjectReview"), AS_ROBOT)
    yield Step("POST", f"{AUTH}/selfsubjectreviews", review("SelfSubjectReview"), {"token": "$bound"})
    yield Step("POST", f"{AUTH}/selfsubjectreviews", review("SelfSubjectReview"), {"token": "=$old"})
    yield Step("GET", f"{SHOP}/pods", None, AS_ROBOT)
    yield Step("GET", f"{SHOP}/pods/web/log", None, AS_ROBOT)
    yield Step("GET", "/metrics", None, AS_ROBOT)
    yield Step("GET", f"{SHOP}/pods", None, {"token": "rubbish"})
    yield Step("GET", f"{SHOP}/pods", None, {"token": "$vault"})
    for token, more in (("$token", {}), ("rubbish", {}), ("$vault", {}), ("$vault", {"audiences": ["vault", "x"]}),
                        ("$token", {"audiences": ["vault"]}), ("", {}), ("$bound", {})):  # fmt: skip
        yield Step("POST", f"{AUTH}/tokenreviews", review("TokenReview", token=token, **more))
    yield Step("DELETE", f"{SHOP}/pods/web", {"gracePeriodSeconds": 0})
    yield Step("POST", f"{AUTH}/tokenreviews", review("TokenReview", token="$bound"), until="status.error")


def _questions() -> Iterator[Step]:
    yield Step("GET", "/.well-known/openid-configuration", None, AS_ROBOT)
    yield Step("GET", "/openid/v1/jwks", None, AS_ROBOT)
    yield Step("GET", "/openid/v1/jwks", None, AS_ROBOT, accept="*/*")
    yield Step("GET", "/openid/v1/jwks", None, ALICE)
    own = f"{REVIEWS}/selfsubjectaccessreviews"
    pods = {"verb": "get", "resource": "pods", "namespace": "shop"}
    yield Step("POST", own, review("SelfSubjectAccessReview", resourceAttributes=pods), AS_ROBOT)
    yield Step("POST", own, review("SelfSubjectAccessReview", resourceAttributes=pods))
    yield Step(
        "POST", own, review("SelfSubjectAccessReview", nonResourceAttributes={"path": "/api", "verb": "get"}), AS_ROBOT
    )
    yield Step("POST", own, review("SelfSubjectAccessReview"))
    yield Step("POST", own, review("SelfSubjectAccessReview", resourceAttributes=pods,
                                   nonResourceAttributes={"path": "/", "verb": "get"}))  # fmt: skip
    yield Step("POST", own, {**review("SelfSubjectAccessReview", resourceAttributes=pods), **named("x")})
    others = f"{REVIEWS}/subjectaccessreviews"
    yield Step("POST", others, review("SubjectAccessReview", resourceAttributes=pods))
    yield Step("POST", others, review("SubjectAccessReview", resourceAttributes=pods, user=ROBOT))
    yield Step(
        "POST", others, review("SubjectAccessReview", resourceAttributes=pods, user="x", groups=["system:masters"])
    )
    yield Step("POST", others, review("SubjectAccessReview", resourceAttributes=pods, user="x"), AS_ROBOT)
    local = f"{REVIEWS}/namespaces/shop/localsubjectaccessreviews"
    here = {"metadata": {"namespace": "shop"}}
    yield Step("POST", local, {**review("LocalSubjectAccessReview", resourceAttributes=pods, user="x"), **here})
    yield Step(
        "POST",
        local,
        {**review("LocalSubjectAccessReview", resourceAttributes={**pods, "namespace": "y"}, user="x"), **here},
    )
    yield Step(
        "POST",
        local,
        {**review("LocalSubjectAccessReview", nonResourceAttributes={"path": "/", "verb": "get"}, user="x"), **here},
    )
    yield Step(
        "POST", f"{REVIEWS}/selfsubjectrulesreviews", review("SelfSubjectRulesReview", namespace="shop"), AS_ROBOT
    )
    yield Step("POST", f"{REVIEWS}/selfsubjectrulesreviews", review("SelfSubjectRulesReview"), AS_ROBOT)


def _roles() -> Iterator[Step]:
    reads = {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list"]}
    roles, bindings = f"{RBAC}/namespaces/shop/roles", f"{RBAC}/namespaces/shop/rolebindings"
    yield Step("POST", roles, role("Role", "reads-pods", rules=[reads]))
    robot = {"kind": "ServiceAccount", "name": "robot"}
    refers = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "reads-pods"}
    bare = {"kind": "Role", "name": "reads-pods"}
    yield Step(
        "POST", bindings, role("RoleBinding", "robot", roleRef=bare, subjects=[robot, {"kind": "User", "name": "u"}])
    )
    question = {"verb": "get", "resource": "pods", "namespace": "shop"}
    yield Step("POST", f"{REVIEWS}/selfsubjectaccessreviews",
               review("SelfSubjectAccessReview", resourceAttributes=question),
               AS_ROBOT, until="status.reason")  # fmt: skip
    yield Step("GET", f"{SHOP}/secrets/key", None, AS_ROBOT)
    for rules in ([{"verbs": ["get"]}], [{**reads, "verbs": []}], [{"nonResourceURLs": ["/x"], "verbs": ["get"]}],
                  [{**reads, "verbs": ["get"], "nonResourceURLs": ["/x"]}]):  # fmt: skip
        yield Step("POST", roles, role("Role", "wrong", rules=rules))
    yield Step(
        "POST", f"{RBAC}/clusterroles", role("ClusterRole", "wrong", aggregationRule={"clusterRoleSelectors": []})
    )
    for ref, subjects in (
        ({"apiGroup": "x", "kind": "Role", "name": "r"}, []),
        ({"kind": "Pod", "name": "r"}, []),
        ({"kind": "Role", "name": ""}, []),
        (refers, [{"kind": "User", "name": ""}]),
        (refers, [{"kind": "Pod", "name": "x"}]),
        (refers, [{"kind": "ServiceAccount", "name": "x", "apiGroup": "y"}]),
        (refers, [{"kind": "Group", "name": "x", "apiGroup": "y"}]),
    ):
        yield Step("POST", bindings, role("RoleBinding", "wrong", roleRef=ref, subjects=subjects))
    cluster_ref = {**refers, "kind": "ClusterRole"}
    yield Step(
        "POST",
        f"{RBAC}/clusterrolebindings",
        role("ClusterRoleBinding", "wrong", roleRef=cluster_ref, subjects=[robot]),
    )
    yield Step("POST", f"{RBAC}/clusterrolebindings", role("ClusterRoleBinding", "wrong", roleRef=refers))
    yield Step(
        "PUT", f"{bindings}/robot", role("RoleBinding", "robot", roleRef={**refers, "name": "other"}, subjects=[])
    )
    yield Step("POST", roles, role("Role", "more", rules=[reads]), ALICE)
    editor = {"apiGroups": ["rbac.authorization.k8s.io"], "resources": ["roles", "rolebindings"], "verbs": ["*"]}
    yield Step("POST", roles, role("Role", "edits", rules=[editor]))
    yield Step("POST", bindings, role("RoleBinding", "alice", roleRef={**refers, "name": "edits"},
                                      subjects=[{"kind": "User", "name": "alice"}]))  # fmt: skip
    asks = {"verb": "create", "group": "rbac.authorization.k8s.io", "resource": "roles", "namespace": "shop"}
    yield Step("POST", f"{REVIEWS}/subjectaccessreviews",
               review("SubjectAccessReview", resourceAttributes=asks, user="alice"), until="status.reason")  # fmt: skip
    yield Step("POST", roles, role("Role", "same", rules=[editor]), ALICE)
    yield Step("PUT", f"{roles}/same", role("Role", "same", rules=[editor, reads]), ALICE)
    yield Step("PATCH", f"{roles}/same", {"rules": [editor]}, ALICE, kind="application/merge-patch+json")
    yield Step(
        "PATCH", f"{roles}/same", {"metadata": {"finalizers": ["x.io/y"]}}, ALICE, kind="application/merge-patch+json"
    )


def _impersonation() -> Iterator[Step]:
    whoami = (f"{AUTH}/selfsubjectreviews", review("SelfSubjectReview"))
    yield Step("POST", *whoami, {"as": "alice"})
    yield Step(
        "POST",
        *whoami,
        {"as": "alice", "groups": ["dev", "ops"], "uid": "7", "extra": {"example.com%2fscopes": ["a", "b"]}},
    )
    yield Step("POST", *whoami, {"as": ROBOT})
    yield Step("POST", *whoami, {"as": "system:node:n1"})
    yield Step("POST", *whoami, {"as": "system:anonymous"})
    yield Step("POST", *whoami, {"token": "$token", "as": "alice"})
    yield Step("POST", *whoami, {"token": "$token", "as": ROBOT})
    yield Step("POST", *whoami, {"token": "$token", "as": "system:node:n1"})
    yield Step("GET", f"{SHOP}/pods", None, {"as": "alice"})
    yield Step("GET", f"{SHOP}/pods/x", None, {"as": "alice"})
    yield Step("DELETE", f"{SHOP}/pods", None, {"as": "alice"})
    yield Step("GET", f"{CORE}/nodes?watch=1", None, {"as": "alice"})
    yield Step("PUT", f"{CORE}/namespaces/shop/finalize", {}, {"as": "alice"})


def _certificates() -> Iterator[Step]:
    plain = certificate_requests.request("jane", ("dev",))
    for name, signer, usages, pem, spec in (
        ("ok", CLIENT, USUAL, plain, {"expirationSeconds": 7200}),
        ("no-usages", CLIENT, [], plain, {}),
        ("odd-usages", CLIENT, ["client auth", "odd", "client auth"], plain, {}),
        ("no-signer", "", USUAL, plain, {}),
        ("bad-signer", "kubernetes.io", USUAL, plain, {}),
        ("bad-domain", "x/y", USUAL, plain, {}),
        ("bad-label", "a_b.io/y", USUAL, plain, {}),
        ("bad-path", "a.io/_", USUAL, plain, {}),
        ("legacy", "kubernetes.io/legacy-unknown", USUAL, plain, {}),
        ("too-short", CLIENT, USUAL, plain, {"expirationSeconds": 60}),
        ("masters", CLIENT, USUAL, certificate_requests.request("x", ("system:masters",)), {}),
        ("not-pem", "x.io/y", USUAL, certificate_requests.encoded("nonsense"), {}),
    ):
        yield Step("POST", CSRS, request(name, signer, usages, pem, **spec))
    yield Step("PUT", f"{CSRS}/ok", request("ok", KUBELET, ["any"], plain))
    yield Step(
        "PATCH", f"{CSRS}/ok/approval", {"status": {"conditions": [YES]}}, ALICE, kind="application/merge-patch+json"
    )
    yield Step("PATCH", f"{CSRS}/ok/status", {"status": {"conditions": [YES]}}, kind="application/merge-patch+json")
    yield Step("PUT", f"{CSRS}/ok/approval", approval("ok", YES, NO))
    yield Step("PUT", f"{CSRS}/ok/approval", approval("ok", {**YES, "status": "False"}))
    yield Step("PUT", f"{CSRS}/ok/approval", approval("ok", {"type": "Approved"}))
    yield Step("PUT", f"{CSRS}/ok/approval", approval("ok", YES, YES))
    yield Step("PUT", f"{CSRS}/ok/approval", approval("ok", YES, certificate="eA=="))
    yield Step("GET", f"{CSRS}/ok", until="status.certificate")
    yield Step("PUT", f"{CSRS}/ok/approval", approval("ok", NO))
    yield Step("PATCH", f"{CSRS}/ok/status", {"status": {"certificate": "eA=="}}, kind="application/merge-patch+json")
    yield Step("POST", CSRS, request("own", "example.com/own", ["any"], plain), {"as": "jane", "groups": ["dev"]})
    yield Step("POST", CSRS, request("own", "example.com/own", ["any"], plain))
    yield Step("PATCH", f"{CSRS}/own/status", {"status": {"certificate": certificate_requests.encoded("x")}},
               kind="application/merge-patch+json")  # fmt: skip
    node = certificate_requests.request("system:node:n1", ("system:nodes",))
    for name, signer, usages, pem in (
        ("usage", CLIENT, ["server auth", "client auth"], plain),
        ("group", KUBELET, USUAL, plain),
        ("serving", SERVING, ["digital signature", "server auth"], node),
        ("kubelet", KUBELET, ["client auth"], node),
    ):
        yield Step("POST", CSRS, request(name, signer, usages, pem))
        yield Step(
            "PATCH", f"{CSRS}/{name}/approval", {"status": {"conditions": [YES]}}, kind="application/merge-patch+json"
        )
        yield Step("GET", f"{CSRS}/{name}", until="status.conditions.1")
    yield Step("POST", CSRS, request("node", KUBELET, USUAL, node))
    ref = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole",
           "name": "system:certificates.k8s.io:certificatesigningrequests:nodeclient"}  # fmt: skip
    yield Step("POST", f"{RBAC}/clusterrolebindings", role("ClusterRoleBinding", "booting", roleRef=ref,
               subjects=[{"kind": "Group", "name": "booting"}]))  # fmt: skip
    asks = {"verb": "create", "group": "certificates.k8s.io", "resource": "certificatesigningrequests",
            "subresource": "nodeclient"}  # fmt: skip
    yield Step("POST", f"{REVIEWS}/subjectaccessreviews",
               review("SubjectAccessReview", resourceAttributes=asks, user="x", groups=["booting"]),
               until="status.reason")  # fmt: skip
    yield Step(
        "POST", CSRS, request("new", KUBELET, USUAL, node), {"as": "bootstrap", "groups": ["booting", "system:masters"]}
    )
    yield Step("GET", f"{CSRS}/new", until="status.certificate")


# --- who is asked ---


class Asked(Protocol):
    def request(self, step: Step, who: Mapping[str, Any], body: Any) -> tuple[int, Any]: ...

    def wait(self) -> None: ...


class Theirs:
    """kube-apiserver, over the network."""

    def __init__(self, upstream: Upstream) -> None:
        self._admin = Client(upstream.kubeconfig)
        directory = tempfile.mkdtemp()
        self._without = Path(directory) / "kubeconfig"
        text = upstream.kubeconfig.read_text()
        self._without.write_text(
            re.sub(r"    client-certificate-data.*\n    client-key-data.*\n", "    token: none\n", text)
        )
        self._bearer = Client(self._without)

    def request(self, step: Step, who: Mapping[str, Any], body: Any) -> tuple[int, Any]:
        client = self._bearer if "token" in who else self._admin
        connection = client._connection
        headers = [("Accept", step.accept), ("Content-Type", step.kind), *_headers(who)]
        data = b"" if body is None else json.dumps(body).encode()
        connection.putrequest(step.method, step.path)
        for key, value in (*headers, ("Content-Length", str(len(data)))):
            connection.putheader(key, value)
        connection.endheaders(data)
        answer = connection.getresponse()
        raw = answer.read()
        return answer.status, _decoded(raw)

    def wait(self) -> None:
        time.sleep(0.1)


class Ours:
    """seatrial in this thread, in virtual time."""

    def __init__(self, pki: Pki) -> None:
        start = datetime.now(UTC).replace(microsecond=0)  # certificates are made in real time
        self._cluster = VirtualCluster(nodes=0, controllers=CONTROLLERS, authority=Authority(pki), start=start)
        self._handler = Handler(self._cluster.api)
        self._fingerprint = {"authentication.kubernetes.io/credential-id": ("X509SHA256=" + "0" * 64,)}

    def request(self, step: Step, who: Mapping[str, Any], body: Any) -> tuple[int, Any]:
        url = urlsplit(step.path)
        raw = b"" if body is None else msgspec.json.encode(body)
        pairs = [(key.lower(), value) for key, value in _headers(who)]
        headers = {"accept": step.accept, "content-type": step.kind, **dict(pairs)}
        asked = Request(step.method, url.path, parse_qs(url.query), headers, raw)
        shown = None if "token" in who else User(ADMIN, (ADMIN_GROUP,), extra=self._fingerprint)
        response = asyncio.run(self._handler.respond(asked, shown, pairs))
        self.wait()
        return response.status, _decoded(response.body)

    def wait(self) -> None:
        self._cluster.advance(timedelta(seconds=0.1))


def _headers(who: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    if "token" in who:
        yield "Authorization", f"Bearer {who['token']}"
    if "as" in who:
        yield "Impersonate-User", who["as"]
    if "uid" in who:
        yield "Impersonate-Uid", who["uid"]
    for group in who.get("groups", ()):
        yield "Impersonate-Group", group
    for key, values in who.get("extra", {}).items():
        for value in values:
            yield f"Impersonate-Extra-{key}", value


def _decoded(raw: bytes) -> Any:
    try:
        return json.loads(raw)
    except ValueError:
        return raw.decode(errors="replace")


# --- the conversation ---


def conversation(asked: Asked) -> Iterator[str]:
    """One line per step: the request, the status, what was told."""
    known: dict[str, str] = {}
    for step in steps():
        who = {key: _filled(value, known) for key, value in step.who.items()}
        body = _filled(step.body, known)
        status, answer = asked.request(step, who, body)
        for _ in range(150):
            if not step.until or _at(answer, step.until) not in (None, ""):
                break
            asked.wait()
            status, answer = asked.request(step, who, body)
        for name, path in step.save.items():
            known[name] = str(_at(answer, path))
        mine = json.dumps(step.body, sort_keys=True) if step.body is not None else ""
        asker = json.dumps(dict(step.who), sort_keys=True) if step.who else ""
        if step.path == CSRS or "/certificatesigningrequests/" in step.path:
            mine = re.sub(r'"(request|certificate)": "[A-Za-z0-9+/=]{20,}"', r'"\1": "..."', mine)
        yield f"{step.method} {step.path} {mine} {asker}".rstrip()
        yield f"  {status} {json.dumps(told(answer), sort_keys=True)}"


def _filled(value: Any, known: Mapping[str, str]) -> Any:
    if isinstance(value, dict):
        return {key: _filled(each, known) for key, each in value.items()}
    if isinstance(value, list):
        return [_filled(each, known) for each in value]
    if isinstance(value, str) and value.startswith("=$"):
        return base64.b64decode(known[value[2:]]).decode()
    if isinstance(value, str) and value.startswith("$") and value[1:] in known:
        return known[value[1:]]
    return value


def _at(answer: Any, path: str) -> Any:
    for part in path.split("."):
        if isinstance(answer, list):
            answer = answer[int(part)] if int(part) < len(answer) else None
        else:
            answer = answer.get(part) if isinstance(answer, dict) else None
    return answer


def told(answer: Any) -> Any:
    """What of an answer is compared: without uids, times and what is signed (of which is kept what it says)."""
    if isinstance(answer, list):
        return [told(each) for each in answer]
    if not isinstance(answer, dict):
        return _text(answer) if isinstance(answer, str) else answer
    found = {}
    for key, value in answer.items():
        if key == "request" or value in (None, {}, [], ""):
            continue
        if key == "certificate":
            value = _certificate(value)
        elif key == "token" and isinstance(value, str):
            value = _claims(value)
        elif key == "ca.crt":
            value = "..."
        elif key in CHANGING:
            continue
        found[key] = told(value)
        if key.endswith("Rules"):  # upstream's come in any order
            found[key] = sorted(found[key], key=str)
    return {key: value for key, value in found.items() if value not in ({}, [])}


def _text(text: str) -> str:
    text = re.sub(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", "UID", text)
    text = re.sub(r"https://[^/]*/openid", "https://SERVER/openid", text)
    text = re.sub(r"X509SHA256=[0-9a-f]{64}", "X509SHA256=HASH", text)
    text = re.sub(r',"managedFields":\[.*\]', "", text)
    text = re.sub(r"kube-api-access-\w{5}", "kube-api-access-xxxxx", text)
    return re.sub(r"[A-Za-z0-9+/=]{100,}", "LONG", text)


def _claims(token: str) -> Any:
    if token.count(".") != 2:
        try:
            token = base64.b64decode(token).decode()
        except ValueError:
            return token
    parts = token.split(".")
    if len(parts) != 3:
        return token
    said = json.loads(base64.urlsafe_b64decode(parts[1] + "=="))
    start = said.pop("iat", 0)
    said.pop("jti", None)
    times = {key: said[key] - start for key in ("exp", "nbf") if key in said}
    header = json.loads(base64.urlsafe_b64decode(parts[0] + "=="))
    return {**said, **times, "alg": header["alg"]}


def _certificate(encoded: str) -> Any:
    try:
        made = x509.load_pem_x509_certificate(base64.b64decode(encoded))
    except ValueError:
        return encoded
    lasts = made.not_valid_after_utc - made.not_valid_before_utc
    kinds = sorted(f"{each.oid._name}{' critical' if each.critical else ''}: {each.value}" for each in made.extensions
                   if each.oid._name != "authorityKeyIdentifier")  # fmt: skip
    return {"subject": made.subject.rfc4514_string(), "lasts": str(lasts), "extensions": kinds}


def recorded() -> list[str]:
    return gzip.decompress(RECORDING.read_bytes()).decode().splitlines()


def ours(directory: Path) -> list[str]:
    return list(conversation(Ours(Pki.ensure(directory / "pki"))))


def differences(theirs: list[str], mine: list[str]) -> list[str]:
    return list(difflib.unified_diff(theirs, mine, "upstream", "seatrial", n=1, lineterm=""))


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--record", action="store_true")
    parser.add_argument("--replay", action="store_true")
    arguments = parser.parse_args()
    if arguments.replay:
        theirs = recorded()
    else:
        flags = {"kube-controller-manager": ["--controllers=*"]}
        with Upstream.start(flags=flags) as upstream:
            theirs = list(conversation(Theirs(upstream)))
    with tempfile.TemporaryDirectory() as directory:
        found = differences(theirs, ours(Path(directory)))
    print("\n".join(found))
    if arguments.record:
        RECORDING.write_bytes(gzip.compress("\n".join(theirs).encode(), mtime=0))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
