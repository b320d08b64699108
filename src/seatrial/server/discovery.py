"""What clients learn a server by: discovery documents (plain and aggregated), the version, and OpenAPI v3.

`kubectl` decides from these what it can do: an operation's `fieldValidation` parameter says that the server reports
unknown fields, `x-kubernetes-group-version-kind` connects a path to a kind.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache

import msgspec

from seatrial.control import tokens
from seatrial.kube import schemas
from seatrial.kube.objects import JsonObject
from seatrial.kube.schemas import Resource
from seatrial.server.customresources import Served
from seatrial.server.resources import Resources, group_version, load

AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
_PATCH_TYPES = ("application/json-patch+json", "application/merge-patch+json", "application/strategic-merge-patch+json")
_SUBRESOURCE_KINDS = {
    "scale": ("autoscaling", "v1", "Scale"),
    "eviction": ("policy", "v1", "Eviction"),
    "token": ("authentication.k8s.io", "v1", "TokenRequest"),
}
_SERVED_SUBRESOURCES = {
    "status",
    "scale",
    "log",
    "binding",
    "finalize",
    "eviction",
    "ephemeralcontainers",
    "resize",
    "token",
    "approval",
}


def version_info(version: str) -> JsonObject:
    major, minor = version.split(".")[:2]
    return {
        "major": major,
        "minor": minor,
        "gitVersion": f"v{version}.0+seatrial",
        "gitCommit": "",
        "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": "",
        "compiler": "",
        "platform": "linux/amd64",
    }


def issuer(server: str) -> JsonObject:
    """What others need to know to check service accounts' tokens themselves (OpenID Connect Discovery)."""
    return {
        "issuer": tokens.ISSUER,
        "jwks_uri": f"https://{server}/openid/v1/jwks",
        "response_types_supported": ["id_token"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["ES256"],
    }


def served_subresources(resource: Resource) -> tuple[str, ...]:
    return tuple(name for name in resource.subresources if name in _SERVED_SUBRESOURCES)


def aggregated(resources: Resources, *, core: bool) -> JsonObject:
    """`/api` (core) or `/apis` as one APIGroupDiscoveryList."""
    items = []
    for group in resources.groups():
        if (group == "") == core:
            versions = [_version(resources, group, version) for version in resources.versions(group)]
            metadata: JsonObject = {"name": group} if group else {}
            items.append({"metadata": metadata, "versions": versions})
    return {"kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {}, "items": items}


def _version(resources: Resources, group: str, version: str) -> JsonObject:
    out = []
    for item in resources.of(group, version):
        entry: JsonObject = {
            "resource": item.plural,
            "responseKind": {"group": item.group, "version": item.version, "kind": item.kind},
            "scope": "Namespaced" if item.namespaced else "Cluster",
            "singularResource": item.singular,
            "verbs": list(item.verbs),
        }
        if item.short_names:
            entry["shortNames"] = list(item.short_names)
        if item.categories:
            entry["categories"] = list(item.categories)
        subresources = [
            {
                "subresource": name,
                "responseKind": dict(zip(("group", "version", "kind"), _subresource_kind(item, name), strict=True)),
                "verbs": _subresource_verbs(name),
            }
            for name in served_subresources(item)
        ]
        if subresources:
            entry["subresources"] = subresources
        out.append(entry)
    return {"version": version, "freshness": "Current", "resources": out}


def _subresource_kind(item: Resource, name: str) -> tuple[str, str, str]:
    if name == "binding":
        return ("", "v1", "Binding")
    return _SUBRESOURCE_KINDS.get(name, (item.group, item.version, item.kind))


def _subresource_verbs(name: str) -> list[str]:
    match name:
        case "log":
            return ["get"]
        case "binding" | "eviction" | "token":
            return ["create"]
        case "finalize":
            return ["update"]
    return ["get", "patch", "update"]


def api_versions(server: str) -> JsonObject:
    addresses = [{"clientCIDR": "0.0.0.0/0", "serverAddress": server}]
    return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": addresses}


def group(resources: Resources, name: str) -> JsonObject:
    versions = [{"groupVersion": f"{name}/{version}", "version": version} for version in resources.versions(name)]
    return {"name": name, "versions": versions, "preferredVersion": versions[0]}


def group_list(resources: Resources) -> JsonObject:
    groups = [group(resources, name) for name in resources.groups() if name]
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}


def resource_list(resources: Resources, group_name: str, version: str) -> JsonObject:
    out: list[JsonObject] = []
    for item in resources.of(group_name, version):
        entry: JsonObject = {
            "name": item.plural,
            "singularName": item.singular,
            "namespaced": item.namespaced,
            "kind": item.kind,
            "verbs": list(item.verbs),
        }
        if item.short_names:
            entry["shortNames"] = list(item.short_names)
        if item.categories:
            entry["categories"] = list(item.categories)
        out.append(entry)
        for name in served_subresources(item):
            at_group, at_version, kind = _subresource_kind(item, name)
            sub: JsonObject = {
                "name": f"{item.plural}/{name}",
                "singularName": "",
                "namespaced": item.namespaced,
                "kind": kind,
                "verbs": _subresource_verbs(name),
            }
            if (at_group, at_version) != (item.group, item.version):
                sub |= {"group": at_group, "version": at_version}
            out.append(sub)
    at = f"{group_name}/{version}" if group_name else version
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": at, "resources": out}


@lru_cache(maxsize=64)
def openapi(version: str, path: str) -> bytes:
    """The OpenAPI v3 document of `api/v1` or `apis/group/version`. Raises `KeyError` for another path."""
    parts = path.split("/")
    group_name, at = ("", parts[1]) if parts[0] == "api" and len(parts) == 2 else (parts[1], parts[2])
    items = load(version).of(group_name, at)
    if not items:
        raise KeyError(path)
    document = schemas.load(version).openapi_v3(group_version(items[0]))
    return msgspec.json.encode({**document, "paths": _paths(items, path)})


def custom_openapi(version: str, path: str, served: Sequence[Served]) -> bytes:
    """The document of a group and version with custom kinds (and Kubernetes' own, where it has both)."""
    document = schemas.load(version).openapi_v3(path.removeprefix("apis/"))
    known = dict(document["components"]["schemas"])
    meta = schemas.load(version).openapi_v3("v1")["components"]["schemas"]
    prefix = "io.k8s.apimachinery.pkg.apis.meta.v1."
    known |= {name: schema for name, schema in meta.items() if name.startswith(prefix)}
    for each in served:
        known |= each.documents.v3
    builtin = load(version).of(*path.split("/")[1:])
    items = {item.plural: item for item in (*builtin, *(each.resource for each in served))}
    components = {"schemas": dict(sorted(known.items()))}
    return msgspec.json.encode({**document, "components": components, "paths": _paths(items.values(), path)})


def _paths(items: Iterable[Resource], path: str) -> JsonObject:
    paths: JsonObject = {}
    for item in items:
        scope = "namespaces/{namespace}/" if item.namespaced else ""
        base = f"/{path}/{scope}{item.plural}"
        paths[base] = {"post": _operation(item, "post", "post")}
        paths[base + "/{name}"] = {
            "get": _operation(item, "get", "get"),
            "put": _operation(item, "put", "put"),
            "patch": _operation(item, "patch", "patch"),
            "delete": _operation(item, "delete", "delete"),
        }
    return paths


def _operation(item: Resource, verb: str, action: str) -> JsonObject:
    operation: JsonObject = {
        "operationId": f"{verb}{item.group.split('.')[0].title() or 'Core'}{item.version.title()}{item.kind}",
        "responses": {"200": {"description": "OK"}},
        "x-kubernetes-action": action,
        "x-kubernetes-group-version-kind": {"group": item.group, "version": item.version, "kind": item.kind},
    }
    if verb in ("post", "put", "patch"):
        operation["parameters"] = [
            {"name": name, "in": "query", "schema": {"type": "string", "uniqueItems": True}}
            for name in ("dryRun", "fieldManager", "fieldValidation")
        ]
    if verb == "patch":
        kinds = _PATCH_TYPES[:2] if item.custom else _PATCH_TYPES
        content = {kind: {"schema": {"type": "object"}} for kind in kinds}
        operation["requestBody"] = {"content": content, "required": True}
    return operation


def openapi_index(version: str, custom: Mapping[str, str]) -> JsonObject:
    """Where the documents are; `custom` has a hash of those with custom kinds, which change while a server runs."""
    tag = openapi_tag(version)
    found = load(version)
    paths = {f"api/{at}" if not name else f"apis/{name}/{at}" for name in found.groups() for at in found.versions(name)}
    tags = {**dict.fromkeys(paths, tag), **custom}
    return {"paths": {path: {"serverRelativeURL": f"/openapi/v3/{path}?hash={tags[path]}"} for path in sorted(tags)}}


def openapi_tag(version: str) -> str:
    return content_tag(version.encode())


def content_tag(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:32].upper()
