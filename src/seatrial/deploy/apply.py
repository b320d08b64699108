"""Bringing a cluster's objects to what the files say, as `kubectl apply` does on the client's side.

What was applied last is kept in the object's annotation, so that a field that left the file leaves the object, and a
field that somebody else set stays. Kubernetes describes the three-way merge under "Declarative Management of Kubernetes
Objects Using Configuration Files". Lists are replaced as a whole; the server defaults their elements again.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum

from seatrial.deploy.client import ApiError, Client
from seatrial.kube.objects import JsonObject

ESTABLISHED_WITHIN_S = 30
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"

# What others refer to comes first; everything else follows in the files' order.
FIRST = ("Namespace", "CustomResourceDefinition", "PriorityClass", "ServiceAccount", "Secret", "ConfigMap", "Service")


class Outcome(Enum):
    CREATED = "created"
    CONFIGURED = "configured"
    UNCHANGED = "unchanged"


@dataclass(frozen=True, slots=True)
class Applied:
    """What became of one object of the files."""

    kind: str
    namespace: str
    name: str
    outcome: Outcome


def in_order(objects: Sequence[JsonObject]) -> list[JsonObject]:
    return sorted(objects, key=lambda raw: FIRST.index(raw["kind"]) if raw["kind"] in FIRST else len(FIRST))


def apply(client: Client, objects: Sequence[JsonObject]) -> Iterator[Applied]:
    """Apply each object in turn. Raises `ApiError` at the first that the server refuses; what came before stays."""
    for raw in in_order(objects):
        metadata = raw["metadata"]
        namespace = metadata.get("namespace", "")
        collection = client.collection(raw["apiVersion"], raw["kind"], namespace)
        outcome = _apply_one(client, collection, raw)
        if raw["kind"] == "CustomResourceDefinition":
            _await_kind(client, f"{collection}/{metadata['name']}")
        yield Applied(raw["kind"], namespace, metadata["name"], outcome)


def _await_kind(client: Client, path: str) -> None:
    """A definition's objects can be made once its names are accepted, which takes the server a moment."""
    deadline = time.monotonic() + ESTABLISHED_WITHIN_S
    while True:
        status = client.request("GET", path).get("status") or {}
        conditions = {each["type"]: each for each in status.get("conditions") or ()}
        if conditions.get("Established", {}).get("status") == "True":
            client.forget_kinds()
            return
        refused = conditions.get("NamesAccepted", {})
        if refused.get("status") == "False" or time.monotonic() > deadline:
            why = refused.get("message") or f"not established after {ESTABLISHED_WITHIN_S} s"
            raise ApiError({"code": 409, "message": f"{path.rpartition('/')[2]} is not served: {why}"})
        time.sleep(0.05)


def _apply_one(client: Client, collection: str, raw: JsonObject) -> Outcome:
    desired = _annotated(raw)
    path = f"{collection}/{raw['metadata']['name']}"
    try:
        live = client.request("GET", path)
    except ApiError as error:
        if error.code != 404:
            raise
        client.request("POST", collection, desired)
        return Outcome.CREATED
    patch = three_way(_last_applied(live), desired, live)
    if not patch:
        return Outcome.UNCHANGED
    changed = client.request("PATCH", path, patch, content_type="application/merge-patch+json")
    same = changed["metadata"]["resourceVersion"] == live["metadata"]["resourceVersion"]
    return Outcome.UNCHANGED if same else Outcome.CONFIGURED


def three_way(last: JsonObject, desired: JsonObject, live: JsonObject) -> JsonObject:
    """The JSON merge patch (RFC 7386) that makes `live` have what `desired` says, without what only `last` said."""
    patch: JsonObject = {key: None for key in last if key not in desired and key in live}
    for key, value in desired.items():
        if isinstance(value, dict) and isinstance(live.get(key), dict):
            before = last.get(key)
            inner = three_way(before if isinstance(before, dict) else {}, value, live[key])
            if inner:
                patch[key] = inner
        elif key not in live or live[key] != value:
            patch[key] = value
    return patch


def _annotated(raw: JsonObject) -> JsonObject:
    metadata = raw["metadata"]
    annotations = {key: value for key, value in metadata.get("annotations", {}).items() if key != LAST_APPLIED}
    plain = {**raw, "metadata": {**metadata, "annotations": annotations}}
    text = json.dumps(plain, separators=(",", ":"), sort_keys=True) + "\n"
    return {**raw, "metadata": {**metadata, "annotations": {**annotations, LAST_APPLIED: text}}}


def _last_applied(live: JsonObject) -> JsonObject:
    text = live["metadata"].get("annotations", {}).get(LAST_APPLIED, "{}")
    try:
        last = json.loads(text)
    except ValueError:
        return {}
    return last if isinstance(last, dict) else {}
