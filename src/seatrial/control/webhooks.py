"""Which requests an admission webhook is asked about: rules and selectors, as kube-apiserver matches them.

Rules (https://kubernetes.io/docs/reference/access-authn-authz/extensible-admission-controllers/): a rule names
operations, groups, versions and resources, `*` for any; `pods` is not `pods/status`, `*` is every resource but no
subresource, `*/*` everything. With matchPolicy Equivalent (the default) another version of the same resource matches,
too. The namespace selector is held against the labels of the object's namespace, or of the object if it is a namespace;
without a namespace it matches. Webhook configurations and admission policies themselves are never asked about.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import msgspec

from seatrial.kube import selectors
from seatrial.kube.objects import JsonObject, LabelSelector, parse_as

GROUP: Final = "admissionregistration.k8s.io"
DEFAULT_TIMEOUT_S: Final = 10
REQUEST_TIMEOUT_S: Final = 34
"""After so long kube-apiserver gives up a write (`requestTimeoutUpperBound`), whatever the webhooks' policies say."""


@dataclass(frozen=True, slots=True)
class Request:
    """A write as webhooks are told of it. `namespace_labels` is None for an object without a namespace."""

    operation: str
    group: str
    version: str
    resource: str
    subresource: str = ""
    labels: Mapping[str, str] | None = None
    namespace_labels: Mapping[str, str] | None = None

    def __str__(self) -> str:
        what = f"{self.resource}/{self.subresource}" if self.subresource else self.resource
        return f"{self.operation} {what}"


def covers(webhook: JsonObject, request: Request) -> bool:
    """Whether the webhook is asked about the request; its matchConditions aside."""
    if request.group == GROUP:
        return False
    return any(_matches(webhook, rule, request) for rule in _items(webhook, "rules")) and _selected(webhook, request)


def fails_closed(webhook: JsonObject) -> bool:
    """A request that it does not answer is refused: the default."""
    return bool(webhook.get("failurePolicy", "Fail") != "Ignore")


def timeout_s(webhook: JsonObject) -> int:
    given = webhook.get("timeoutSeconds")
    return given if isinstance(given, int) and not isinstance(given, bool) else DEFAULT_TIMEOUT_S


def _matches(webhook: JsonObject, rule: JsonObject, request: Request) -> bool:
    operations, groups, versions, resources = (
        _texts(rule, name) for name in ("operations", "apiGroups", "apiVersions", "resources")
    )
    any_version = webhook.get("matchPolicy", "Equivalent") == "Equivalent"
    scope = rule.get("scope") or "*"
    has_namespace = request.namespace_labels is not None and request.resource != "namespaces"
    return (
        ("*" in operations or request.operation in operations)
        and ("*" in groups or request.group in groups)
        and ("*" in versions or request.version in versions or (any_version and bool(versions)))
        and any(_is_meant(name, request) for name in resources)
        and scope in ("*", "Namespaced" if has_namespace else "Cluster")
    )


def _is_meant(name: str, request: Request) -> bool:
    resource, slash, subresource = name.partition("/")
    if resource not in ("*", request.resource):
        return False
    return subresource in ("*", request.subresource) if slash else not request.subresource


def _selected(webhook: JsonObject, request: Request) -> bool:
    of_namespace = request.namespace_labels
    if of_namespace is not None and not _holds(webhook, "namespaceSelector", of_namespace):
        return False
    return _holds(webhook, "objectSelector", request.labels or {})


def _holds(webhook: JsonObject, name: str, labels: Mapping[str, str]) -> bool:
    """One that is not there, is empty, or that the API would refuse selects everything."""
    given = webhook.get(name)
    if not isinstance(given, dict) or not given:
        return True
    try:
        return selectors.matches(parse_as(LabelSelector, given), labels)
    except (msgspec.ValidationError, ValueError):
        return True


def _items(parent: JsonObject, name: str) -> Iterator[JsonObject]:
    items = parent.get(name)
    return (each for each in items if isinstance(each, dict)) if isinstance(items, list) else iter(())


def _texts(parent: JsonObject, name: str) -> tuple[str, ...]:
    items = parent.get(name)
    return tuple(each for each in items if isinstance(each, str)) if isinstance(items, list) else ()
