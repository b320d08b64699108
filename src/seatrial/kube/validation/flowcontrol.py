"""Who is served first: FlowSchemas, PriorityLevelConfigurations (`pkg/apis/flowcontrol/validation`)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import ceil, log2
from typing import Final

from seatrial.kube.objects import JsonObject
from seatrial.kube.validation.fields import (
    Faults,
    forbidden,
    invalid,
    items,
    label_name,
    no_label,
    part,
    required,
    subdomain,
    unsupported,
)
from seatrial.kube.validation.kinds import Rules

_MOST_PRECEDENCE: Final = 10_000
_MOST_QUEUES: Final = 10_000_000
_MOST_BITS: Final = 60
_VERBS: Final = ("create", "delete", "deletecollection", "get", "list", "patch", "proxy", "update", "watch")
_KINDS: Final = {"ServiceAccount": "serviceAccount", "User": "user", "Group": "group"}


def _schema(raw: JsonObject, minor: int) -> Faults:
    spec, name = part(raw, "spec"), part(raw, "metadata").get("name") or ""
    precedence = spec.get("matchingPrecedence")
    precedence, at = 1000 if precedence in (None, 0) else precedence, "spec.matchingPrecedence"
    if precedence <= 0:
        yield invalid(at, precedence, "must be a positive value")
    if precedence > _MOST_PRECEDENCE:
        yield invalid(at, precedence, f"must not be greater than {_MOST_PRECEDENCE}")
    if precedence == 1 and name != "exempt":
        yield invalid(at, precedence, "only the schema named 'exempt' may have matchingPrecedence 1")
    method = spec.get("distinguisherMethod")
    if method is not None and method.get("type") not in ("ByNamespace", "ByUser"):
        shown = {"Type": method.get("type") or ""}
        yield unsupported("spec.distinguisherMethod.type", shown, ("ByNamespace", "ByUser"))
    level, at = part(spec, "priorityLevelConfiguration").get("name") or "", "spec.priorityLevelConfiguration.name"
    if level:
        yield from subdomain(at, level)
    else:
        yield required(at, "must reference a priority level")
    for at, rule in items("spec.rules", spec, "rules"):
        yield from _rule(at, rule)


def _rule(path: str, rule: JsonObject) -> Faults:
    if not rule.get("subjects"):
        yield required(f"{path}.subjects", "subjects must contain at least one value")
    for at, subject in items(f"{path}.subjects", rule, "subjects"):
        yield from _subject(at, subject)
    if not rule.get("resourceRules") and not rule.get("nonResourceRules"):
        yield required(path, "at least one of resourceRules and nonResourceRules has to be non-empty")
    for at, each in items(f"{path}.resourceRules", rule, "resourceRules"):
        yield from _verbs(f"{at}.verbs", each)
        for name, what in (("apiGroups", "api group"), ("resources", "resource")):
            given = each.get(name) or ()
            if not given:
                yield required(f"{at}.{name}", f"resource rules must supply at least one {what}")
            elif len(given) > 1 and "*" in given:
                yield invalid(f"{at}.{name}", given, f"if '*' is present, must not specify other {what}s")
        yield from _namespaces(f"{at}.namespaces", each)
    for at, each in items(f"{path}.nonResourceRules", rule, "nonResourceRules"):
        yield from _verbs(f"{at}.verbs", each)
        yield from _urls(f"{at}.nonResourceURLs", each.get("nonResourceURLs") or ())


def _subject(path: str, subject: JsonObject) -> Faults:
    kind = subject.get("kind") or ""
    if kind not in _KINDS:
        yield unsupported(f"{path}.kind", kind, ("Group", "ServiceAccount", "User"))
        return
    mine = _KINDS[kind]
    held, at = subject.get(mine), f"{path}.{mine}"
    if held is None:
        yield required(at, f"{mine} is required when subject kind is '{kind}'")
    else:
        name, space = held.get("name") or "", held.get("namespace") or ""
        if not name:
            yield required(f"{at}.name")
        elif kind == "ServiceAccount" and name != "*":
            yield from subdomain(f"{at}.name", name)
        if kind == "ServiceAccount" and space:
            yield from label_name(f"{at}.namespace", space)
        elif kind == "ServiceAccount":
            yield required(f"{at}.namespace", "must specify namespace for service account")
    for other, field in _KINDS.items():
        if field != mine and subject.get(field) is not None:
            yield forbidden(f"{path}.{field}", f"{field} is forbidden when subject kind is not '{other}'")


def _verbs(path: str, rule: JsonObject) -> Faults:
    verbs = rule.get("verbs") or ()
    if not verbs:
        yield required(path, "verbs must contain at least one value")
    elif "*" in verbs:
        if len(verbs) > 1:
            yield invalid(path, verbs, "if '*' is present, must not specify other verbs")
    elif not {*verbs} <= {*_VERBS}:
        yield unsupported(path, verbs, _VERBS)


def _namespaces(path: str, rule: JsonObject) -> Faults:
    given = rule.get("namespaces") or ()
    if not given and not rule.get("clusterScope"):
        yield required(path, "resource rules that are not cluster scoped must supply at least one namespace")
    elif "*" in given:
        if len(given) > 1:
            yield invalid(path, given, "if '*' is present, must not specify other namespaces")
    else:
        intro = "each member of this list must be '*' or a DNS-1123 label; "
        for number, name in enumerate(given):
            yield from (invalid(f"{path}[{number}]", name, f"{intro}{why}") for why in no_label(name or ""))


def _urls(path: str, given: Sequence[str]) -> Faults:
    if not given:
        yield required(path, "nonResourceURLs must contain at least one value")
    elif "*" in given:
        if len(given) > 1:
            yield invalid(path, given, "if '*' is present, must not specify other non-resource URLs")
    else:
        for number, url in enumerate(given):
            if why := _wrong_url(url or ""):
                yield invalid(f"{path}[{number}]", url or "", why)


def _wrong_url(url: str) -> str:
    rules: tuple[tuple[Callable[[str], bool], str], ...] = (
        (lambda text: not text, "must not be empty"),
        (lambda text: not text.startswith("/"), "must start with slash"),
        (lambda text: " " in text, "must not contain white-space"),
        (lambda text: "//" in text, "must not contain double slash"),
        (
            lambda text: text.count("*") > 1 or ("*" in text and not text.endswith("/*")),
            "wildcard can only do suffix matching",
        ),
    )
    return next((why for is_wrong, why in rules if is_wrong(url)), "")


# --- levels ---


def _level(raw: JsonObject, minor: int) -> Faults:
    spec, name = part(raw, "spec"), part(raw, "metadata").get("name") or ""
    kind, exempt, limited = spec.get("type") or "", spec.get("exempt"), spec.get("limited")
    if (name == "exempt") != (kind == "Exempt"):
        yield invalid("spec.type", kind, "must be 'Exempt' if and only if `name` is 'exempt'")
    if kind == "Exempt":
        if limited is not None:
            yield forbidden("spec.limited")
        yield from _shares("spec.exempt", exempt or {})
    elif kind == "Limited":
        if exempt is not None:
            yield forbidden("spec.exempt")
        if limited is None:
            yield required("spec.limited")
        else:
            yield from _shares("spec.limited", limited)
            yield from _response("spec.limited.limitResponse", part(limited, "limitResponse"))
            borrowed = limited.get("borrowingLimitPercent")
            if borrowed is not None and borrowed < 0:
                why = "if specified, must be a non-negative integer"
                yield invalid("spec.limited.borrowingLimitPercent", borrowed, why)
    else:
        for name, held in (("exempt", exempt), ("limited", limited)):
            if held is not None:
                yield forbidden(f"spec.{name}")
        if limited is not None and not part(limited, "limitResponse").get("type"):
            yield required("spec.limited.limitResponse.type")
        if not kind:
            yield required("spec.type")
        else:
            yield unsupported("spec.type", kind, ("Exempt", "Limited"))


def _shares(path: str, held: JsonObject) -> Faults:
    shares, lent = held.get("nominalConcurrencyShares"), held.get("lendablePercent")
    if shares is not None and shares < 0:
        yield invalid(f"{path}.nominalConcurrencyShares", shares, "must be a non-negative integer")
    if lent is not None and not 0 <= lent <= 100:
        yield invalid(f"{path}.lendablePercent", lent, "must be between 0 and 100, inclusive")


def _response(path: str, held: JsonObject) -> Faults:
    kind, queuing = held.get("type") or "", held.get("queuing")
    if kind == "Reject":
        if queuing is not None:
            yield forbidden(f"{path}.queuing")
    elif kind == "Queue":
        if queuing is None:
            yield required(f"{path}.queuing")
        else:
            yield from _queues(f"{path}.queuing", queuing)
    else:
        yield unsupported(f"{path}.type", kind, ("Queue", "Reject")) if kind else required(f"{path}.type")
        if queuing is not None:
            yield forbidden(f"{path}.queuing")


def _queues(path: str, held: JsonObject) -> Faults:
    queues, hand, longest = (
        held.get(name) or default for name, default in (("queues", 64), ("handSize", 8), ("queueLengthLimit", 50))
    )
    if longest <= 0:
        yield invalid(f"{path}.queueLengthLimit", longest, "must be positive")
    if queues <= 0:
        yield invalid(f"{path}.queues", queues, "must be positive")
    elif queues > _MOST_QUEUES:
        yield invalid(f"{path}.queues", queues, f"must not be greater than {_MOST_QUEUES}")
    if hand <= 0:
        yield invalid(f"{path}.handSize", hand, "must be positive")
    elif hand > queues:
        yield invalid(f"{path}.handSize", hand, f"should not be greater than queues ({queues})")
    elif (bits := ceil(log2(queues)) * hand if queues > 0 else 0) > _MOST_BITS and bits:
        why = f"required entropy bits of deckSize {queues} and handSize {hand} should not be greater than {_MOST_BITS}"
        yield invalid(f"{path}.handSize", hand, why)


RULES: Final = {
    "FlowSchema": Rules(valid=_schema, remeta=True),
    "PriorityLevelConfiguration": Rules(valid=_level, remeta=True),
}
