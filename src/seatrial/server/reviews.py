"""Questions that are asked by creating something that is never stored: may somebody do this, who am I, is this token
valid (`kubectl auth can-i`, `kubectl auth whoami`; the API groups authorization.k8s.io and authentication.k8s.io).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from seatrial.control import access, tokens
from seatrial.control.access import Attributes, User
from seatrial.kube import schemas
from seatrial.kube.objects import JsonObject, to_wire
from seatrial.kube.schemas import Resource
from seatrial.kube.validation import fields
from seatrial.server import authentication, errors
from seatrial.server.errors import Cause
from seatrial.server.times import wire_time

if TYPE_CHECKING:
    from seatrial.server.api import Api

_ONE_OF = "exactly one of nonResourceAttributes or resourceAttributes must be specified"


def is_review(resource: Resource) -> bool:
    return resource.group in ("authorization.k8s.io", "authentication.k8s.io") and resource.kind.endswith("Review")


def answer(api: Api, user: User, resource: Resource, namespace: str, raw: JsonObject) -> JsonObject:
    """The review with its status. Raises `StatusError`."""
    raw = _decoded(api, resource, raw)
    match resource.kind:
        case "SelfSubjectRulesReview":
            return _rules(api, user, raw)
        case "SelfSubjectReview":
            raw["metadata"] = {"creationTimestamp": wire_time(api.now())}
            return {**raw, "status": {"userInfo": _user_info(user)}}
        case "TokenReview":
            return {**raw, "status": _token_status(api, raw["spec"])}
    causes = list(_causes(resource.kind, raw))
    if causes:
        raise errors.invalid("", resource.group, "", causes)  # upstream forgets the kind
    if resource.kind == "LocalSubjectAccessReview" and raw["metadata"].get("namespace", "") != namespace:
        raise errors.bad_request(f"spec.resourceAttributes.namespace must match namespace: {namespace}")
    spec = raw["spec"]
    if resource.kind != "SelfSubjectAccessReview":
        extra = {key: tuple(values or ()) for key, values in (spec.get("extra") or {}).items()}
        user = User(spec.get("user", ""), tuple(spec.get("groups") or ()), spec.get("uid", ""), extra)
    found = access.authorise(api.policy, user, _asked(spec))
    status: JsonObject = {"allowed": found.allowed}
    if found.reason:
        status["reason"] = found.reason
    return {**raw, "status": status}


def _decoded(api: Api, resource: Resource, raw: JsonObject) -> JsonObject:
    if raw.get("kind", resource.kind) != resource.kind or raw.get("apiVersion", resource.api_version) != (
        resource.api_version
    ):
        raise errors.bad_request(
            f"the API version in the data ({raw.get('apiVersion')}, Kind={raw.get('kind')}) does not match the "
            f"expected API version ({resource.api_version}, Kind={resource.kind})"
        )
    raw = {"kind": resource.kind, "apiVersion": resource.api_version, "metadata": {}, "spec": {}, **raw}
    raw.pop("status", None)
    for problem in schemas.validate(raw, schemas.load(api.version)):
        if problem.kind == "type":
            path = ".".join(map(str, problem.path))
            raise errors.bad_request(
                f'{resource.kind} in version "{resource.version}" cannot be handled as a {resource.kind}: '
                f"{path}: {problem.message}"
            )
    return {**raw, "metadata": raw["metadata"] or {}, "spec": raw["spec"] or {}}


def _asked(spec: JsonObject) -> Attributes:
    given = spec.get("resourceAttributes")
    if given is None:
        other = spec["nonResourceAttributes"]
        return Attributes(other.get("verb", ""), path=other.get("path", ""))
    names = ("verb", "group", "resource", "subresource", "namespace", "name")
    return Attributes(**{name: given.get(name, "") for name in names})


def _causes(kind: str, raw: JsonObject) -> Iterator[Cause]:
    spec = raw["spec"]
    resource, other = spec.get("resourceAttributes"), spec.get("nonResourceAttributes")
    if other is not None:
        other = {key.title(): value for key, value in other.items()}  # upstream shows its own type
    if (resource is None) == (other is None):
        yield fields.invalid("spec", other, _ONE_OF)
    if kind != "SelfSubjectAccessReview" and not spec.get("user") and not spec.get("groups"):
        yield fields.invalid("spec.user", spec.get("user", ""), "at least one of user or group must be specified")
    metadata = {key: value for key, value in raw["metadata"].items() if value and key != "managedFields"}
    local = kind == "LocalSubjectAccessReview"
    namespace = metadata.pop("namespace", "") if local else ""
    if metadata:
        why = "must be empty except for namespace" if local else "must be empty"
        yield fields.invalid("metadata", raw["metadata"], why)
    if local and resource is not None and resource.get("namespace", "") != namespace:
        at = resource.get("namespace", "")
        yield fields.invalid("spec.resourceAttributes.namespace", at, "must match metadata.namespace")
    if local and other is not None:
        yield fields.invalid("spec.nonResourceAttributes", other, "disallowed on this kind of request")


def _rules(api: Api, user: User, raw: JsonObject) -> JsonObject:
    namespace = raw["spec"].get("namespace", "")
    if not namespace:
        raise errors.bad_request("no namespace on request")
    rules, problem = access.rules_for(api.policy, user, namespace)
    about_resources, about_urls = [], []
    for rule in rules:
        wire = to_wire(rule)
        if rule.resources:
            about_resources.append({key: value for key, value in wire.items() if key != "nonResourceURLs"})
        if rule.non_resource_ur_ls:
            about_urls.append({key: wire[key] for key in ("verbs", "nonResourceURLs") if key in wire})
    status = {"resourceRules": about_resources, "nonResourceRules": about_urls, "incomplete": False}
    if problem:
        status["evaluationError"] = problem
    return {**raw, "metadata": {}, "spec": {}, "status": status}


def _token_status(api: Api, spec: JsonObject) -> JsonObject:
    token, audiences = spec.get("token", ""), tuple(spec.get("audiences") or tokens.AUDIENCES)
    if not token:
        raise errors.bad_request("token is required for TokenReview in authentication")
    try:
        user, common = authentication.of_token(api, token, audiences)
    except tokens.InvalidTokenError as error:
        # Upstream asks two authenticators, of which one knows no service accounts.
        unknown = "invalid bearer token"
        return {"user": {}, "error": unknown if str(error) == unknown else f"[{unknown}, {error}]"}
    groups = (*user.groups, access.AUTHENTICATED)
    shown = _user_info(User(user.name, groups, user.uid, user.extra))
    return {"authenticated": True, "user": shown, "audiences": list(common)}


def _user_info(user: User) -> JsonObject:
    info: JsonObject = {"username": user.name}
    if user.uid:
        info["uid"] = user.uid
    info["groups"] = list(user.groups)
    if user.extra:
        info["extra"] = {key: list(values) for key, values in user.extra.items()}
    return info
