"""Random roles and bindings beside kube-apiserver: who may do what, why, and which roles may not be written.

    python -m tests.conformance.access --record     ask upstream and keep its answers under recordings/
    python -m tests.conformance.access              ask upstream and compare

A world is a set of roles and bindings with questions (SubjectAccessReviews) and attempts to write more roles and
bindings as somebody. Of several bindings that allow the same, upstream names any: its reason must be one of them.
"""

from __future__ import annotations

import argparse
import json
import lzma
import random
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from seatrial.control import access, bootstrap_policy
from seatrial.deploy.client import ApiError, Client
from seatrial.kube.objects import JsonObject, parse
from tests.conformance.upstream import Upstream

RECORDING = Path(__file__).parent / "recordings" / "access.jsonl.xz"
WORLDS = 60
CACHES_LAG_S = 0.2
"""Upstream's authorizer looks at caches, which hear of a new binding a little later."""
NAMESPACES = ("one", "two")
API = "rbac.authorization.k8s.io/v1"
WRITER = "writer"
_USERS = ("alice", "bob", "system:serviceaccount:one:robot", "system:serviceaccount:two:robot")
_GROUPS = ("staff", "guests", "system:serviceaccounts:one", "system:masters", "system:authenticated")
_VERBS = ("get", "list", "create", "update", "*")
_API_GROUPS = ("", "apps", "batch", "*")
_RESOURCES = ("pods", "pods/log", "deployments", "deployments/scale", "*/scale", "secrets", "*")
_ASKED = ("pods", "pods/log", "deployments", "deployments/scale", "secrets", "jobs/scale")
_NAMES = ("a", "b")
_URLS = ("/healthz", "/logs/*", "/logs", "/logs/today", "*", "/metrics/*")


class Teller(Client):
    """The administrator, or somebody else for whom the administrator asks."""

    def as_user(self, name: str) -> None:
        self._headers["Impersonate-User"] = name

    def as_administrator(self) -> None:
        self._headers.pop("Impersonate-User", None)


def world(seed: int) -> JsonObject:
    """Objects, questions and attempts."""
    chance = random.Random(seed)

    def some(values: tuple[str, ...], most: int = 2) -> list[str]:
        return sorted(chance.sample(values, chance.randint(1, most)))

    def rule(*, namespaced: bool) -> JsonObject:
        if not namespaced and chance.random() < 0.25:
            return {"nonResourceURLs": some(_URLS), "verbs": some(_VERBS)}
        made: JsonObject = {"apiGroups": some(_API_GROUPS), "resources": some(_RESOURCES), "verbs": some(_VERBS, 3)}
        if chance.random() < 0.3:
            made["resourceNames"] = some(_NAMES)
        return made

    def role(name: str, namespace: str) -> JsonObject:
        rules = [rule(namespaced=bool(namespace)) for _ in range(chance.randint(1, 3))]
        return _object("Role" if namespace else "ClusterRole", name, namespace, rules=rules)

    def binding(name: str, namespace: str, roles: list[JsonObject]) -> JsonObject:
        refs = [("ClusterRole", each["metadata"]["name"]) for each in roles if each["kind"] == "ClusterRole"]
        refs += [(each["kind"], each["metadata"]["name"]) for each in roles if _namespace(each) == namespace != ""]
        refs += [("ClusterRole", "nowhere"), ("ClusterRole", "view")]
        kind, ref = chance.choice(refs)
        subjects = []
        for _ in range(chance.randint(1, 2)):
            which = chance.choice(("User", "Group", "ServiceAccount"))
            if which == "ServiceAccount":
                subject = {"kind": which, "name": "robot", "namespace": chance.choice(NAMESPACES)}
            else:
                subject = {
                    "kind": which,
                    "name": chance.choice((*_USERS[:2], WRITER) if which == "User" else _GROUPS[:3]),
                }
                subject["apiGroup"] = "rbac.authorization.k8s.io"
            subjects.append(subject)
        made = "RoleBinding" if namespace else "ClusterRoleBinding"
        ref_value = {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": ref}
        return _object(made, name, namespace, roleRef=ref_value, subjects=subjects)

    places = ("", *NAMESPACES)
    roles = [role(f"w-role-{number}", chance.choice(places)) for number in range(4)]
    objects = [*roles, *(binding(f"w-binding-{number}", chance.choice(places), roles) for number in range(6))]
    questions = []
    for _ in range(40):
        who = {"user": chance.choice(_USERS), "groups": some(_GROUPS, 2)}
        if chance.random() < 0.2:
            asked: JsonObject = {"path": chance.choice(("/healthz", "/logs", "/logs/today", "/metrics")), "verb": "get"}
            questions.append({**who, "nonResourceAttributes": asked})
            continue
        resource, _, subresource = chance.choice(_ASKED).partition("/")
        asked = {
            "verb": chance.choice(_VERBS[:4]),
            "group": chance.choice(_API_GROUPS[:3]),
            "resource": resource,
            "subresource": subresource,
            "namespace": chance.choice(places),
            "name": chance.choice(("", *_NAMES)),
        }
        questions.append({**who, "resourceAttributes": asked})
    attempts = [role(f"w-more-{number}", chance.choice(places)) for number in range(4)]
    attempts += [binding(f"w-gift-{number}", chance.choice(places), roles) for number in range(4)]
    aggregated = _object("ClusterRole", "w-gatherer", "", rules=[])
    aggregated["aggregationRule"] = {"clusterRoleSelectors": [{"matchLabels": {"a": "b"}}]}
    attempts.append(aggregated)
    if chance.random() < 0.3:
        verb = chance.choice(("bind", "escalate"))
        kinds = ["roles", "clusterroles"] if verb == "escalate" else [chance.choice(("roles", "clusterroles"))]
        rules = [{"apiGroups": ["rbac.authorization.k8s.io"], "resources": kinds, "verbs": [verb]}]
        objects.append(_object("ClusterRole", "w-power", "", rules=rules))
        objects.append(_bound_to_writer("w-power", "w-power"))
    return {"objects": objects, "questions": questions, "attempts": attempts}


def writers() -> list[JsonObject]:
    """What lets the writer write roles and bindings at all."""
    kinds = ["roles", "clusterroles", "rolebindings", "clusterrolebindings"]
    rules = [{"apiGroups": ["rbac.authorization.k8s.io"], "resources": kinds, "verbs": ["create", "delete"]}]
    return [_object("ClusterRole", "writes-roles", "", rules=rules), _bound_to_writer("writes-roles", "writes-roles")]


def _bound_to_writer(name: str, role: str) -> JsonObject:
    subject = {"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": WRITER}
    ref = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role}
    return _object("ClusterRoleBinding", name, "", roleRef=ref, subjects=[subject])


def _object(kind: str, name: str, namespace: str, **rest: Any) -> JsonObject:
    metadata = {"name": name, **({"namespace": namespace} if namespace else {})}
    return {"apiVersion": API, "kind": kind, "metadata": metadata, **rest}


def _namespace(raw: JsonObject) -> str:
    return str(raw["metadata"].get("namespace", ""))


def asked_of(client: Teller, given: JsonObject) -> JsonObject:
    """What the server that `client` speaks to says about a world."""

    def path(raw: JsonObject) -> str:
        return client.collection(API, raw["kind"], _namespace(raw))

    for raw in given["objects"]:
        client.request("POST", path(raw), raw)
    time.sleep(CACHES_LAG_S)
    answers, refusals = [], []
    try:
        for question in given["questions"]:
            review = {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": question}
            status = client.request("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", review)["status"]
            answers.append(status)
        for raw in given["attempts"]:
            client.as_user(WRITER)
            try:
                client.request("POST", path(raw), raw)
                refusals.append("")
                client.as_administrator()
                client.request("DELETE", f"{path(raw)}/{raw['metadata']['name']}")
            except ApiError as error:
                refusals.append(error.status["message"])
            client.as_administrator()
    finally:
        client.as_administrator()
        for raw in given["objects"]:
            client.request("DELETE", f"{path(raw)}/{raw['metadata']['name']}")
    return {"answers": answers, "refusals": refusals}


def differences(given: JsonObject, said: JsonObject) -> Iterator[str]:
    """Where `control.access` says something else than upstream did."""
    raws = [*given["objects"], *writers()]
    base = [found for raw in bootstrap_policy.objects() if (found := parse(raw)) is not None]
    objects = [*base, *(found for raw in raws if (found := parse(raw)) is not None)]
    policy = access.Given(objects)
    for question, status in zip(given["questions"], said["answers"], strict=True):
        user = access.User(question["user"], tuple(question["groups"]))
        asked = access.Attributes(**(question.get("resourceAttributes") or question["nonResourceAttributes"]))
        answer = access.authorise(policy, user, asked)
        theirs = (status["allowed"], status.get("reason", ""))
        if (answer.allowed, answer.reason) == theirs or theirs[1] in _reasons(objects, user, asked, answer):
            continue
        yield f"{question}: {answer} here, {theirs} upstream"
    for raw, refusal in zip(given["attempts"], said["refusals"], strict=True):
        written = parse(raw)
        assert written is not None
        try:
            ours = access.escalation(policy, access.User(WRITER, (access.AUTHENTICATED,)), written)
        except access.RoleMissingError as error:
            ours = str(error)
        if ours != refusal and not refusal.endswith(f" is forbidden: {ours}"):
            yield f"{raw}: {ours!r} here, {refusal!r} upstream"


def bootstrap_differences(client: Teller) -> Iterator[str]:
    """Roles and bindings of a new cluster that are other there than ours."""
    theirs = {}
    for kind in ("ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding"):
        items = client.request("GET", f"/apis/{API}/{kind.lower()}s")["items"]
        for raw in items:
            metadata = {key: raw["metadata"].get(key) for key in ("namespace", "name", "labels", "annotations")}
            rest = {key: raw[key] for key in ("rules", "aggregationRule", "roleRef", "subjects") if raw.get(key)}
            theirs[kind, metadata["namespace"], metadata["name"]] = (metadata["labels"], metadata["annotations"], rest)
    for raw in bootstrap_policy.objects():
        metadata = raw["metadata"]
        rest = {key: raw[key] for key in ("rules", "aggregationRule", "roleRef", "subjects") if raw.get(key)}
        ours = (metadata["labels"], metadata["annotations"], rest)
        key = (raw["kind"], metadata.get("namespace"), metadata["name"])
        if (there := theirs.pop(key, None)) != ours:
            yield f"{key}: {ours} here, {there} upstream"
    yield from (f"{key} is missing here" for key in theirs)


def _reasons(objects: list[Any], user: access.User, asked: access.Attributes, answer: access.Answer) -> Iterator[str]:
    """Every reason that could be given as well: each binding's by itself."""
    bindings = [each for each in objects if each.kind.endswith("Binding")]
    roles = [each for each in objects if not each.kind.endswith("Binding")]
    for binding in bindings:
        alone = access.authorise(access.Given([*roles, binding]), user, asked)
        if alone.allowed and answer.allowed:
            yield alone.reason


def recorded() -> list[tuple[JsonObject, JsonObject]]:
    with lzma.open(RECORDING, "rt") as file:
        return [(world(seed), json.loads(line)) for seed, line in enumerate(file)]


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--record", action="store_true")
    parser.add_argument("--worlds", type=int, default=WORLDS)
    arguments = parser.parse_args()
    with Upstream.start(components=("etcd", "kube-apiserver")) as upstream:
        client = Teller(upstream.kubeconfig)
        found = list(bootstrap_differences(client))
        for name in NAMESPACES:
            client.request("POST", "/api/v1/namespaces", {"metadata": {"name": name}})
        for raw in writers():
            client.request("POST", client.collection(API, raw["kind"], ""), raw)
        worlds = [world(seed) for seed in range(arguments.worlds)]
        said = [asked_of(client, given) for given in worlds]
    found += [line for given, answer in zip(worlds, said, strict=True) for line in differences(given, answer)]
    print("\n".join(found))
    print(f"{len(worlds)} worlds, {len(found)} differences")
    if arguments.record:
        with lzma.open(RECORDING, "wt") as file:
            file.writelines(json.dumps(each) + "\n" for each in said)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
