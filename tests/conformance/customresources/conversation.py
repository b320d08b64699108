"""A long conversation about custom resources with kube-apiserver: definitions and objects, good and bad.

    python -m tests.conformance.customresources.conversation --record    ask kube-apiserver and keep what it said
    python -m tests.conformance.customresources.conversation             ask kube-apiserver and compare

Each step is one request; what is compared is the status, the warnings and the body without what is another each time.
"""

from __future__ import annotations

import asyncio
import copy
import http.client
import json
import lzma
import re
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from seatrial.cluster.virtual import VirtualCluster
from seatrial.control.access import User
from seatrial.server.http import Handler, Request
from tests.conformance.upstream import Upstream

Json = Any
RECORDING = Path(__file__).parents[1] / "recordings" / "customresources-api.json.xz"
GROUP = "/apis/demo.example.com"
SHOPS = f"{GROUP}/v1/namespaces/default/shops"
OLD_SHOPS = f"{GROUP}/v1beta1/namespaces/default/shops"
REGIONS = f"{GROUP}/v1/regions"
CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
TABLE = {"accept": "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"}
MERGE = {"content-type": "application/merge-patch+json"}
JSON_PATCH = {"content-type": "application/json-patch+json"}
STRATEGIC = {"content-type": "application/strategic-merge-patch+json"}
_VOLATILE = {
    "uid": "<uid>",
    "resourceVersion": "<version>",
    "creationTimestamp": "<time>",
    "deletionTimestamp": "<time>",
    "lastTransitionTime": "<time>",
}


_GENERATED = re.compile(r"^made-\w{5}$")
_UID = re.compile(r"uid: [0-9a-f-]{36}")
_STRUCT = re.compile(r'Invalid value: \[?\{".*\}\]?: (?=[a-z])')
_PATCHED = re.compile(r'Invalid value: "\{.*\}": ')


@dataclass(frozen=True)
class Step:
    method: str
    path: str
    body: Json = None
    headers: tuple[tuple[str, str], ...] = ()
    text: str = ""
    """A body as it goes over the wire, instead of `body`."""

    @property
    def name(self) -> str:
        return f"{self.method} {self.path}"


def step(method: str, path: str, body: Json = None, headers: dict[str, str] | None = None, text: str = "") -> Step:
    return Step(method, path, body, tuple((headers or {}).items()), text)


def shops() -> Json:
    spec = {
        "type": "object",
        "required": ["size"],
        "properties": {
            "size": {"type": "string", "enum": ["small", "large"]},
            "replicas": {"type": "integer", "format": "int32", "minimum": 0, "maximum": 10, "default": 1},
            "owner": {"type": "string", "pattern": "^[a-z]+@[a-z.]+$", "maxLength": 20},
            "opened": {"type": "string", "format": "date"},
            "port": {"x-kubernetes-int-or-string": True},
            "open": {"type": "boolean", "default": True},
            "note": {"type": "string", "nullable": True},
            "tags": {"type": "array", "items": {"type": "string"}, "x-kubernetes-list-type": "set", "maxItems": 3},
            "shelves": {
                "type": "array",
                "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["name"],
                "items": {
                    "type": "object",
                    "required": ["name"],
                    "properties": {
                        "name": {"type": "string"},
                        "width": {"type": "number", "exclusiveMinimum": True, "minimum": 0},
                    },
                },
            },
            "labels": {"type": "object", "additionalProperties": {"type": "string"}, "maxProperties": 2},
            "extra": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
            "template": {
                "type": "object",
                "x-kubernetes-embedded-resource": True,
                "x-kubernetes-preserve-unknown-fields": True,
            },
        },
        "oneOf": [{"required": ["owner"]}, {"required": ["note"]}],
    }
    status = {
        "type": "object",
        "properties": {
            "replicas": {"type": "integer"},
            "selector": {"type": "string"},
            "phase": {"type": "string", "enum": ["Open", "Closed"]},
        },
    }
    schema = {"type": "object", "description": "A shop.", "properties": {"spec": spec, "status": status}}
    columns = [
        {"name": "Size", "type": "string", "jsonPath": ".spec.size", "description": "How large it is"},
        {"name": "Replicas", "type": "integer", "jsonPath": ".spec.replicas"},
        {"name": "Widths", "type": "number", "jsonPath": ".spec.shelves[*].width", "priority": 1},
        {"name": "First", "type": "string", "jsonPath": '.spec.shelves[?(@.name=="a")].width'},
        {"name": "Tags", "type": "string", "jsonPath": ".spec.tags"},
        {"name": "Open", "type": "boolean", "jsonPath": ".spec.open"},
        {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
    ]
    scale = {
        "specReplicasPath": ".spec.replicas",
        "statusReplicasPath": ".status.replicas",
        "labelSelectorPath": ".status.selector",
    }
    first: Json = {
        "name": "v1beta1",
        "served": True,
        "storage": False,
        "deprecated": True,
        "schema": {"openAPIV3Schema": copy.deepcopy(schema)},
        "subresources": {"status": {}},
    }
    first["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["legacy"] = {"type": "string"}
    second = {
        "name": "v1",
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": schema},
        "subresources": {"status": {}, "scale": scale},
        "additionalPrinterColumns": columns,
        "selectableFields": [{"jsonPath": ".spec.size"}, {"jsonPath": ".spec.open"}],
    }
    names = {"plural": "shops", "kind": "Shop", "shortNames": ["sh"], "categories": ["demo"]}
    return definition("shops", names, "Namespaced", [first, second])


def regions() -> Json:
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    return definition("regions", {"plural": "regions", "kind": "Region"}, "Cluster", [version])


def definition(plural: str, names: Json, scope: str, versions: list[Json]) -> Json:
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.demo.example.com"},
        "spec": {"group": "demo.example.com", "scope": scope, "names": names, "versions": versions},
    }


def shop(name: str, /, **spec: Any) -> Json:
    given = {"size": "small", "owner": "a@b.c", **spec}
    return {"apiVersion": "demo.example.com/v1", "kind": "Shop", "metadata": {"name": name}, "spec": given}


def changed(raw: Json, path: str, value: Any) -> Json:
    raw = copy.deepcopy(raw)
    *way, last = path.split("/")
    here = raw
    for part in way:
        here = here[int(part)] if isinstance(here, list) else here[part]
    if value is None:
        del here[last]
    else:
        here[int(last) if isinstance(here, list) else last] = value
    return raw


def steps() -> Iterator[Step]:
    yield from _definitions()
    yield from _discovery()
    yield from _creations()
    yield from _reads()
    yield from _updates()
    yield from _patches()
    yield from _subresources()
    yield from _versions()
    yield from _cluster_scoped()
    yield from _changes_of_definitions()
    yield from _deletions()


def _definitions() -> Iterator[Step]:
    good = shops()
    for path, value in (
        ("metadata/name", "shop.demo.example.com"),
        ("spec/group", "demo"),
        ("spec/scope", "Global"),
        ("spec/scope", None),
        ("spec/names/kind", "Shop_"),
        ("spec/names", {"plural": "shops"}),
        ("spec/versions", []),
        ("spec/versions/1/storage", False),
        ("spec/versions/0/name", "v1"),
        ("spec/versions/1/schema", None),
        ("spec/versions/0/deprecationWarning", ""),
        ("spec/versions/1/schema/openAPIV3Schema/properties/spec/type", None),
        ("spec/versions/1/schema/openAPIV3Schema/properties/spec/properties/tags/items", None),
        ("spec/versions/1/schema/openAPIV3Schema/properties/spec/properties/size/default", "huge"),
        ("spec/versions/1/schema/openAPIV3Schema/properties/spec/properties/owner/pattern", "^[a-z"),
        ("spec/versions/1/schema/openAPIV3Schema/properties/spec/oneOf/0/type", "object"),
        ("spec/versions/1/schema/openAPIV3Schema/anyOf", [{"properties": {"nowhere": {"minLength": 1}}}]),
        ("spec/versions/1/schema/openAPIV3Schema/properties/metadata", {"type": "object", "required": ["labels"]}),
        ("spec/versions/1/schema/openAPIV3Schema/nullable", True),
        ("spec/versions/1/additionalPrinterColumns/0/jsonPath", "spec.size"),
        ("spec/versions/1/additionalPrinterColumns/1/type", "int"),
        ("spec/versions/1/subresources/scale/specReplicasPath", ".status.replicas"),
        ("spec/versions/1/selectableFields/0/jsonPath", ".spec.nowhere"),
        ("spec/versions/1/selectableFields/0/jsonPath", ".spec.tags"),
        ("spec/conversion", {"strategy": "Webhook"}),
        ("spec/preserveUnknownFields", True),
    ):
        yield step("POST", CRDS, changed(good, path, value))
    protected = changed(changed(good, "spec/group", "demo.k8s.io"), "metadata/name", "shops.demo.k8s.io")
    yield step("POST", CRDS, protected)
    yield step("POST", f"{CRDS}?fieldValidation=Strict", {**good, "spec": {**good["spec"], "color": "red"}})
    yield step("POST", f"{CRDS}?dryRun=All", good)
    yield step("POST", SHOPS, shop("early"))
    yield step("POST", CRDS, good)
    yield step("GET", f"{CRDS}/shops.demo.example.com")
    yield step("POST", CRDS, good)
    yield step("POST", CRDS, regions())
    yield step("GET", f"{CRDS}/regions.demo.example.com", headers=TABLE)
    taken = {"plural": "shows", "kind": "Show", "singular": "shop", "shortNames": ["sh", "so"]}
    yield step("POST", CRDS, definition("shows", taken, "Cluster", regions()["spec"]["versions"]))
    yield step("GET", f"{CRDS}/shows.demo.example.com")
    yield step("GET", f"{GROUP}/v1/shows")
    yield step("DELETE", f"{CRDS}/shows.demo.example.com")
    odd = changed(regions(), "spec/versions/0/schema/openAPIV3Schema", {"type": "object", "properties": {}})
    odd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"] = {
        "type": "object",
        "properties": {
            "a": {"type": "string", "format": "unheard"},
            "b": {
                "type": "array",
                "x-kubernetes-list-type": "set",
                "items": {"type": "object", "x-kubernetes-map-type": "atomic"},
            },
        },
    }
    yield step("POST", f"{CRDS}?dryRun=All", odd | {"metadata": {"name": "regions.demo.example.com"}})
    odd["metadata"]["name"], odd["spec"]["names"] = "odds.demo.example.com", {"plural": "odds", "kind": "Odd"}
    yield step("POST", f"{CRDS}?dryRun=All", odd)


def _discovery() -> Iterator[Step]:
    yield step("GET", GROUP)
    yield step("GET", f"{GROUP}/v1")
    yield step("GET", f"{GROUP}/v1beta1")
    yield step("GET", f"{GROUP}/v2")
    yield step("GET", f"{GROUP}/v2/shops")


def _creations() -> Iterator[Step]:
    yield step(
        "POST", SHOPS, shop("first", shelves=[{"name": "a", "width": 2.5}, {"name": "b", "width": 3}], tags=["x"])
    )
    yield step("POST", SHOPS, shop("first"))
    for spec in (
        {"size": "huge"},
        {"size": None},
        {"size": 3},
        {"replicas": -1},
        {"replicas": 11},
        {"replicas": 1.5},
        {"replicas": 2147483648},
        {"replicas": "1"},
        {"replicas": None},
        {"owner": "A@b"},
        {"owner": "abcdefghijklmnop@qrstuvw.xyz"},
        {"note": "both"},
        {"owner": None},
        {"opened": "yesterday"},
        {"port": "http"},
        {"port": 80},
        {"port": True},
        {"open": "yes"},
        {"tags": ["a", "b", "a"]},
        {"tags": ["a", "b", "c", "d"]},
        {"tags": "a"},
        {"shelves": [{"name": "a"}, {"name": "a", "width": 1}]},
        {"shelves": [{"width": 1}]},
        {"shelves": [{"name": "a", "width": 0}]},
        {"shelves": ["a"]},
        {"labels": {"a": "b", "c": 1}},
        {"labels": {"a": "b", "c": "d", "e": "f"}},
        {"extra": {"any": [1, None, {"thing": 1.5}]}, "unknown": 1},
        {"template": {"kind": "Pod"}},
        {"template": {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x", "color": "red"}, "spec": {"a": 1}}},
        {"template": {"apiVersion": "v1/v2/v3", "kind": "9", "metadata": {"name": ".."}}},
        {"template": {"apiVersion": "v1", "kind": "Pod", "metadata": {"labels": 3}}},
        {"template": "text"},
    ):
        yield step("POST", f"{SHOPS}?dryRun=All", shop("trial", **spec))
    good = changed(shop("second", note=None, unknown=1, shelves=[{"name": "a", "depth": 2}]), "spec/owner", None)
    good["metadata"]["color"] = "red"
    good["status"] = {"phase": "Open"}
    good["top"] = 1
    for how in ("Strict", "Warn", "Ignore"):
        yield step("POST", f"{SHOPS}?dryRun=All&fieldValidation={how}", good)
    twice = '{"apiVersion":"demo.example.com/v1","kind":"Shop","metadata":{"name":"twice","name":"twice"},'
    twice += '"spec":{"size":"small","size":"large","owner":"a@b.c"}}'
    for how in ("Strict", "Warn"):
        yield step("POST", f"{SHOPS}?dryRun=All&fieldValidation={how}", text=twice)
    yield step("POST", SHOPS, good)
    yield step("POST", SHOPS, changed(shop("x"), "metadata", {"generateName": "made-", "labels": {"a": "b"}}))
    yield step("POST", SHOPS, changed(shop("x"), "metadata", {}))
    yield step("POST", SHOPS, changed(shop("x"), "metadata/name", "Not A Name"))
    yield step("POST", SHOPS, changed(shop("x"), "metadata/namespace", "elsewhere"))
    yield step("POST", SHOPS, changed(shop("x"), "metadata/labels", {"a": 1}))
    yield step(
        "POST",
        SHOPS,
        changed(shop("x"), "metadata/finalizers", ["hold", "example.com/hold"]) | {"spec": shop("y")["spec"]},
    )
    yield step("POST", SHOPS, changed(shop("x"), "kind", "Region"))
    yield step("POST", SHOPS, changed(shop("x"), "apiVersion", "demo.example.com/v1beta1"))
    yield step("POST", f"{GROUP}/v1/namespaces/nowhere/shops", shop("x"))
    yield step("POST", f"{GROUP}/v1/shops", shop("x"))


def _reads() -> Iterator[Step]:
    yield step("GET", f"{SHOPS}/first")
    yield step("GET", f"{SHOPS}/nowhere")
    yield step("GET", SHOPS)
    yield step("GET", f"{GROUP}/v1/shops?labelSelector=a%3Db")
    yield step("GET", SHOPS, headers=TABLE)
    yield step("GET", f"{SHOPS}/first", headers=TABLE)
    yield step("GET", f"{SHOPS}?fieldSelector=spec.size%3Dsmall,metadata.name%3Dfirst")
    yield step("GET", f"{SHOPS}?fieldSelector=spec.open%3Dfalse")
    yield step("GET", f"{SHOPS}?fieldSelector=spec.owner%3Da")
    yield step("GET", f"{SHOPS}/first/log")
    yield step("GET", CRDS, headers=TABLE)


def _updates() -> Iterator[Step]:
    yield step("PUT", f"{SHOPS}/first", shop("first"))
    yield step("PUT", f"{SHOPS}/first", {**shop("first"), "metadata": {"name": "first", "resourceVersion": "1"}})
    yield step(
        "PUT",
        f"{SHOPS}/first",
        {**shop("first", size="large"), "metadata": {"name": "first", "resourceVersion": "@first"}},
    )
    yield step(
        "PUT",
        f"{SHOPS}/first",
        {**shop("first", size="huge"), "metadata": {"name": "first", "resourceVersion": "@first"}},
    )
    labelled = {"name": "first", "resourceVersion": "@first", "labels": {"a": "b"}}
    yield step(
        "PUT", f"{SHOPS}/first", {**shop("first", size="large"), "metadata": labelled, "status": {"phase": "Open"}}
    )
    yield step("PUT", f"{SHOPS}/nowhere", shop("nowhere"))
    yield step("PUT", f"{SHOPS}/first", {**shop("other"), "metadata": {"name": "other", "resourceVersion": "@first"}})


def _patches() -> Iterator[Step]:
    yield step("PATCH", f"{SHOPS}/first", {"spec": {"replicas": 3, "note": None}}, MERGE)
    yield step("PATCH", f"{SHOPS}/first", {"spec": {"replicas": 30}}, MERGE)
    yield step("PATCH", f"{SHOPS}/first", {"spec": {"replicas": None}}, MERGE)
    yield step("PATCH", f"{SHOPS}/first?fieldValidation=Strict", {"spec": {"unknown": 3}}, MERGE)
    yield step("PATCH", f"{SHOPS}/first", [{"op": "replace", "path": "/spec/replicas", "value": 4}], JSON_PATCH)
    yield step("PATCH", f"{SHOPS}/first", {"spec": {"replicas": 5}}, STRATEGIC)
    yield step("PATCH", f"{SHOPS}/nowhere", {"spec": {"replicas": 5}}, MERGE)
    yield step("PATCH", f"{SHOPS}/first", {"spec": {"shelves": [{"name": "a", "width": 7}]}}, MERGE)
    yield step("GET", f"{SHOPS}/first")


def _subresources() -> Iterator[Step]:
    status = {"phase": "Open", "replicas": 2, "selector": "a=b", "unknown": 1}
    yield step("PATCH", f"{SHOPS}/first/status", {"status": status, "spec": {"replicas": 9}}, MERGE)
    yield step("PATCH", f"{SHOPS}/first/status", {"status": {"phase": "Ajar"}}, MERGE)
    yield step(
        "PATCH", f"{SHOPS}/first/status", {"metadata": {"labels": {"c": "d"}}, "status": {"phase": "Closed"}}, MERGE
    )
    yield step("PUT", f"{SHOPS}/first/status", shop("first"))
    yield step("GET", f"{SHOPS}/first/status")
    yield step("GET", f"{SHOPS}/first/scale")
    yield step("PATCH", f"{SHOPS}/first/scale", {"spec": {"replicas": 6}}, MERGE)
    yield step("PATCH", f"{SHOPS}/first/scale", {"spec": {"replicas": 60}}, MERGE)
    yield step("PATCH", f"{SHOPS}/first/scale", {"spec": {"replicas": -1}}, MERGE)
    scale = {"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": {"name": "first", "namespace": "default"}}
    yield step("PUT", f"{SHOPS}/first/scale", {**scale, "spec": {"replicas": 2}})
    yield step("GET", f"{SHOPS}/first/scale")
    yield step("GET", f"{SHOPS}/nowhere/scale")
    yield step("GET", f"{OLD_SHOPS}/first/scale")
    yield step("GET", f"{SHOPS}/first")


def _versions() -> Iterator[Step]:
    old = {**shop("old", legacy="yes"), "apiVersion": "demo.example.com/v1beta1"}
    yield step("POST", OLD_SHOPS, old)
    yield step("GET", f"{SHOPS}/old")
    yield step("GET", f"{OLD_SHOPS}/old")
    yield step("GET", f"{OLD_SHOPS}/first", headers=TABLE)
    yield step("PATCH", f"{OLD_SHOPS}/old", {"spec": {"legacy": "again", "replicas": 2}}, MERGE)
    yield step("DELETE", f"{OLD_SHOPS}/old")


def _cluster_scoped() -> Iterator[Step]:
    region = {"apiVersion": "demo.example.com/v1", "kind": "Region", "metadata": {"name": "north"}}
    yield step("POST", REGIONS, {**region, "anything": {"at": ["all", 1.0]}, "status": {"here": True}})
    yield step("GET", f"{REGIONS}/north")
    yield step("PATCH", f"{REGIONS}/north", {"status": {"here": False}}, MERGE)
    yield step("PATCH", f"{REGIONS}/north", {"metadata": {"labels": {"a": "b"}}}, MERGE)
    yield step("PATCH", f"{REGIONS}/north/status", {"status": {"here": False}}, MERGE)
    yield step("GET", REGIONS, headers=TABLE)
    yield step("POST", f"{GROUP}/v1/namespaces/default/regions", region)


def _changes_of_definitions() -> Iterator[Step]:
    path = f"{CRDS}/shops.demo.example.com"
    yield step("PATCH", path, {"spec": {"scope": "Cluster"}}, MERGE)
    yield step("PATCH", path, {"spec": {"names": {"kind": "Store"}}}, MERGE)
    yield step("PATCH", path, {"spec": {"group": "other.example.com"}}, MERGE)
    yield step("PATCH", path, {"spec": {"versions": shops()["spec"]["versions"][:1]}}, MERGE)
    yield step("PUT", path, shops())
    yield step("PATCH", path, {"spec": {"names": {"shortNames": ["sh", "sp"], "categories": ["demo", "all"]}}}, MERGE)
    yield step("GET", path)
    yield step("GET", f"{GROUP}/v1")
    stricter = shops()["spec"]["versions"]
    stricter[1]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["size"]["enum"] = ["small"]
    yield step("PATCH", path, {"spec": {"versions": stricter}}, MERGE)
    yield step("GET", f"{SHOPS}/first")
    yield step("PATCH", f"{SHOPS}/first", {"spec": {"replicas": 7}}, MERGE)
    yield step("PATCH", f"{SHOPS}/first", {"spec": {"size": "tiny"}}, MERGE)
    unserved = copy.deepcopy(stricter)
    unserved[0]["served"] = False
    yield step("PATCH", path, {"spec": {"versions": unserved}}, MERGE)
    yield step("GET", f"{OLD_SHOPS}/first")
    yield step("GET", GROUP)


def _deletions() -> Iterator[Step]:
    yield step("PATCH", f"{SHOPS}/second", {"metadata": {"finalizers": ["example.com/hold"]}}, MERGE)
    yield step("DELETE", f"{SHOPS}/second")
    yield step("GET", f"{SHOPS}/second")
    yield step(
        "PATCH", f"{SHOPS}/second", {"metadata": {"finalizers": ["example.com/hold", "example.com/more"]}}, MERGE
    )
    yield step("PATCH", f"{SHOPS}/second", {"metadata": {"finalizers": []}}, MERGE)
    yield step("GET", f"{SHOPS}/second")
    yield step("DELETE", f"{SHOPS}/first?dryRun=All")
    yield step("DELETE", f"{SHOPS}?labelSelector=a%3Db")
    yield step("DELETE", f"{CRDS}/shops.demo.example.com")
    yield step("GET", f"{CRDS}/shops.demo.example.com")
    yield step("GET", SHOPS)
    yield step("GET", f"{GROUP}/v1")
    yield step("DELETE", f"{CRDS}/regions.demo.example.com")
    yield step("GET", GROUP)


Ask = Callable[[Step, Json], tuple[int, list[str], Json]]


def converse(ask: Ask) -> Iterator[Json]:
    """Every step's answer; `@name` as a resourceVersion stands for the current one of that shop."""
    for each in steps():
        body = each.body
        if isinstance(body, dict) and str((body.get("metadata") or {}).get("resourceVersion", "")).startswith("@"):
            name = body["metadata"]["resourceVersion"][1:]
            current = ask(step("GET", f"{SHOPS}/{name}"), None)[2]["metadata"]["resourceVersion"]
            body = {**body, "metadata": {**body["metadata"], "resourceVersion": current}}
        status, warnings, answer = ask(each, body)
        yield {"step": each.name, "status": status, "warnings": sorted(warnings), "body": plain(answer)}


def plain(value: Json, key: str = "") -> Json:
    """The answer without what is another each time, in one order where upstream's is any."""
    if isinstance(value, dict):
        made = {name: _plain_of(name, each) for name, each in value.items() if not _is_left_out(name, each)}
        if made.get("kind") == "Status" and len((made.get("details") or {}).get("causes") or ()) > 1:
            del made["message"]  # says the same as the causes, in any order
        return made
    if isinstance(value, list):
        found = [plain(each) for each in value]
        if key in ("causes", "verbs", "resources"):
            found.sort(key=lambda each: json.dumps(each, sort_keys=True))
        return [_cell(each) for each in found] if key == "cells" else found
    if key == "name" and isinstance(value, str):
        return _GENERATED.sub("made-<any>", value)
    return value


def _is_left_out(name: str, value: Json) -> bool:
    """Field ownership and hashes of storage versions are not here; Go's structs in messages and long texts neither."""
    return name in ("managedFields", "storageVersionHash") or (name, value) == ("metadata", {})


def _plain_of(name: str, value: Json) -> Json:
    if name in _VOLATILE and isinstance(value, str):
        return _VOLATILE[name]
    if name == "message" and isinstance(value, str):
        value = _STRUCT.sub("Invalid value: <struct>: ", _UID.sub("uid: <uid>", value))
        return _PATCHED.sub("Invalid value: <patched>: ", value)
    if name == "columnDefinitions" and value and len(value) == 8:
        return [{**each, "description": ""} for each in value]  # of definitions, whose texts are those of metadata
    return plain(value, name)


def _cell(value: Json) -> Json:
    if isinstance(value, str) and re.fullmatch(r"\d+s|\d{4}-\S+Z", value):
        return "<age>"
    return _GENERATED.sub("made-<any>", value) if isinstance(value, str) else value


def of_upstream(upstream: Upstream) -> Ask:
    context = upstream.pki.client_context()

    def ask(each: Step, body: Json) -> tuple[int, list[str], Json]:
        connection = http.client.HTTPSConnection("127.0.0.1", upstream.port, context=context, timeout=60)
        headers = {"accept": "application/json", "content-type": "application/json", **dict(each.headers)}
        sent = each.text or (None if body is None else json.dumps(body))
        connection.request(each.method, each.path, sent, headers)
        answer = connection.getresponse()
        read = answer.read()
        warnings = [text for name, text in answer.getheaders() if name.lower() == "warning"]
        connection.close()
        if each.method != "GET" and each.path.startswith(CRDS) and answer.status < 300 and "dryRun" not in each.path:
            time.sleep(3)  # until the definition is served, or is not any more
        return answer.status, warnings, json.loads(read) if read.startswith((b"{", b"[")) else read.decode()

    return ask


def of_seatrial(cluster: VirtualCluster) -> Ask:
    handler = Handler(cluster.api)
    administrator = User("admin", ("system:masters",))

    def ask(each: Step, body: Json) -> tuple[int, list[str], Json]:
        target = urlsplit(each.path)
        headers = {"accept": "application/json", "content-type": "application/json", **dict(each.headers)}
        sent = (each.text or ("" if body is None else json.dumps(body))).encode()
        request = Request(each.method, target.path, parse_qs(target.query, keep_blank_values=True), headers, sent)
        answer = asyncio.run(handler.respond(request, administrator, tuple(headers.items())))
        cluster.advance(timedelta(seconds=3 if each.method != "GET" and each.path.startswith(CRDS) else 0))
        warnings = [text for name, text in answer.headers if name.lower() == "warning"]
        read = answer.body
        return answer.status, warnings, json.loads(read) if read.startswith((b"{", b"[")) else read.decode()

    return ask


def recorded() -> list[Json]:
    found: list[Json] = json.loads(lzma.decompress(RECORDING.read_bytes()))
    return found


def main() -> int:
    with Upstream.start(components=("etcd", "kube-apiserver")) as upstream:
        theirs = list(converse(of_upstream(upstream)))
    if "--record" in sys.argv:
        RECORDING.write_bytes(lzma.compress(json.dumps(theirs, sort_keys=True).encode(), preset=9))
    wrong = 0
    for one, other in zip(theirs, converse(of_seatrial(VirtualCluster())), strict=True):
        if one != other:
            wrong += 1
            print(f"{one['step']}\n  upstream {json.dumps(one)}\n  seatrial {json.dumps(other)}")
    print(f"{len(theirs)} answers, {wrong} differ")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
