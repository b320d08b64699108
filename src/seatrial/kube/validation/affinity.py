"""Where pods may go: node selectors, affinity to nodes and pods, tolerations, topology spread."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from seatrial.kube.objects import JsonObject
from seatrial.kube.validation.fields import (
    Faults,
    duplicate,
    forbidden,
    invalid,
    items,
    label_name,
    label_selector,
    label_value,
    no_label_value,
    one_of,
    part,
    positive,
    qualified_name,
    required,
    subdomain,
    unsupported,
)

EFFECTS: Final = ("NoSchedule", "PreferNoSchedule", "NoExecute")
_MERGED_SINCE: Final = 34
"""The keys of a spread constraint become part of its selector."""
_REQUIRED: Final = "requiredDuringSchedulingIgnoredDuringExecution"
_PREFERRED: Final = "preferredDuringSchedulingIgnoredDuringExecution"
_NO_OPERATOR: Final = "not a valid selector operator"


def affinity(path: str, held: JsonObject | None) -> Faults:
    for name, single in (("nodeAffinity", None), ("podAffinity", _pod_term), ("podAntiAffinity", _pod_term)):
        each, at = part(held or {}, name), f"{path}.{name}"
        if single is None:
            if each.get(_REQUIRED) is not None:
                yield from node_selector(f"{at}.{_REQUIRED}", each[_REQUIRED])
            for place, term in items(f"{at}.{_PREFERRED}", each, _PREFERRED):
                yield from _weight(f"{place}.weight", term.get("weight"))
                yield from _node_term(f"{place}.preference", part(term, "preference"), any_value=True)
            continue
        for place, term in items(f"{at}.{_REQUIRED}", each, _REQUIRED):
            yield from single(place, term)
        for place, term in items(f"{at}.{_PREFERRED}", each, _PREFERRED):
            yield from _weight(f"{place}.weight", term.get("weight"))
            yield from single(f"{place}.podAffinityTerm", part(term, "podAffinityTerm"))


def _weight(path: str, weight: int | None) -> Faults:
    if not 0 < (weight or 0) <= 100:
        yield invalid(path, weight or 0, "must be in the range 1-100")


def node_selector(path: str, selector: JsonObject, *, any_value: bool = False) -> Faults:
    terms = f"{path}.nodeSelectorTerms"
    if not selector.get("nodeSelectorTerms"):
        yield required(terms, "must have at least one node selector term")
    for place, term in items(terms, selector, "nodeSelectorTerms"):
        yield from _node_term(place, term, any_value=any_value)


def _node_term(path: str, term: JsonObject, *, any_value: bool) -> Faults:
    for at, each in items(f"{path}.matchExpressions", term, "matchExpressions"):
        yield from _expression(at, each, any_value=any_value)
    for at, each in items(f"{path}.matchFields", term, "matchFields"):
        operator, key, values = each.get("operator") or "", each.get("key") or "", each.get("values") or ()
        if operator not in ("In", "NotIn"):
            yield invalid(f"{at}.operator", operator, _NO_OPERATOR)
        elif len(values) != 1:
            why = "must be only one value when `operator` is 'In' or 'NotIn' for node field selector"
            yield required(f"{at}.values", why)
        if key != "metadata.name":
            yield invalid(f"{at}.key", key, "not a valid field selector key")
        else:
            for number, value in enumerate(values):
                yield from subdomain(f"{at}.values[{number}]", value or "")


def _expression(path: str, each: JsonObject, *, any_value: bool) -> Faults:
    operator, values = each.get("operator") or "", each.get("values") or ()
    if operator in ("In", "NotIn"):
        if not values:
            yield required(f"{path}.values", "must be specified when `operator` is 'In' or 'NotIn'")
    elif operator in ("Exists", "DoesNotExist"):
        if values:
            yield forbidden(f"{path}.values", "may not be specified when `operator` is 'Exists' or 'DoesNotExist'")
    elif operator in ("Gt", "Lt"):
        if len(values) != 1:
            yield required(f"{path}.values", "must be specified single value when `operator` is 'Lt' or 'Gt'")
    else:
        yield invalid(f"{path}.operator", operator, _NO_OPERATOR)
    yield from qualified_name(f"{path}.key", each.get("key") or "")
    for number, value in enumerate(() if any_value else values):
        yield from label_value(f"{path}.values[{number}]", value or "")


def _pod_term(path: str, term: JsonObject) -> Faults:
    selector = term.get("labelSelector")
    yield from label_selector(f"{path}.labelSelector", selector)
    yield from label_selector(f"{path}.namespaceSelector", term.get("namespaceSelector"))
    for name in term.get("namespaces") or ():
        yield from label_name(f"{path}.namespace", name or "")
    yield from _keys(path, term.get("matchLabelKeys") or (), term.get("mismatchLabelKeys") or (), selector)
    key = term.get("topologyKey") or ""
    if not key:
        yield required(f"{path}.topologyKey", "can not be empty")
    yield from qualified_name(f"{path}.topologyKey", key)


def _keys(path: str, same: Sequence[str], other: Sequence[str], selector: Mapping[str, Any] | None) -> Faults:
    """Keys whose values the selector takes from the pod itself."""
    for name, keys in (("matchLabelKeys", same), ("mismatchLabelKeys", other)):
        if keys and selector is None:
            yield forbidden(f"{path}.{name}", "must not be specified when labelSelector is not set")
        elif keys:
            for number, key in enumerate(keys):
                yield from qualified_name(f"{path}.{name}[{number}]", key or "")
    if selector is not None:
        places = {key: number for number, key in enumerate(same)}
        seen = set(part(selector, "matchLabels"))
        for _, each in items("", selector, "matchExpressions"):
            key = each.get("key") or ""
            if key in places and key in seen:
                why = "exists in both matchLabelKeys and labelSelector"
                yield invalid(f"{path}[{places[key]}]", key, why)
            seen.add(key)
    for number, key in enumerate(same):
        if key in other:
            why = "exists in both matchLabelKeys and mismatchLabelKeys"
            yield invalid(f"{path}.matchLabelKeys[{number}]", key, why)


def taint_effect(path: str, effect: str) -> Faults:
    if not effect:
        yield required(path)
    else:
        yield from one_of(path, effect, EFFECTS)


def tolerations(path: str, holder: JsonObject) -> Faults:
    for at, each in items(f"{path}.tolerations", holder, "tolerations"):
        key, operator, value = each.get("key") or "", each.get("operator") or "", each.get("value") or ""
        effect = each.get("effect") or ""
        if key:
            yield from qualified_name(f"{at}.key", key)
        if not key and operator != "Exists":
            why = 'operator must be Exists when `key` is empty, which means "match all values and all keys"'
            yield invalid(f"{at}.operator", operator, why)
        if each.get("tolerationSeconds") is not None and effect != "NoExecute":
            why = "effect must be 'NoExecute' when `tolerationSeconds` is set"
            yield invalid(f"{at}.effect", effect, why)
        yield from _toleration_operator(f"{at}.operator", operator, value)
        if effect:
            yield from one_of(f"{at}.effect", effect, EFFECTS)


def _toleration_operator(path: str, operator: str, value: str) -> Faults:
    if operator in ("", "Equal"):
        wrong = ";".join(no_label_value(value))
        if wrong:
            yield invalid(path, value, wrong)
    elif operator == "Exists":
        if value:
            yield invalid(path, value, "value must be empty when `operator` is 'Exists'")
    elif operator in ("Lt", "Gt"):
        yield unsupported(path, operator, ("Equal", "Exists", "Lt", "Gt"))
    else:
        yield unsupported(path, operator, ("Equal", "Exists"))


def spread(path: str, spec: JsonObject, minor: int) -> Faults:
    constraints = spec.get("topologySpreadConstraints") or []
    at = f"{path}.topologySpreadConstraints"
    for number, (place, each) in enumerate(items(at, spec, "topologySpreadConstraints")):
        key, action = each.get("topologyKey") or "", each.get("whenUnsatisfiable") or ""
        yield from positive(f"{place}.maxSkew", each.get("maxSkew"))
        if not key:
            yield required(f"{place}.topologyKey", "can not be empty")
        yield from one_of(f"{place}.whenUnsatisfiable", action, ("DoNotSchedule", "ScheduleAnyway"))
        if any(_names(other) == (key, action) for other in constraints[number + 1 :]):
            yield duplicate(f"{place}.{{topologyKey, whenUnsatisfiable}}", f"{{{key}, {action}}}")
        domains = each.get("minDomains")
        if domains is not None:
            yield from positive(f"{place}.minDomains", domains)
            if action != "DoNotSchedule":
                why = f"can only use minDomains if whenUnsatisfiable=DoNotSchedule, not {action}"
                yield invalid(f"{place}.minDomains", domains, why)
        for name in ("nodeAffinityPolicy", "nodeTaintsPolicy"):
            if each.get(name) is not None:
                yield from one_of(f"{place}.{name}", each[name], ("Honor", "Ignore"))
        keys, selector = each.get("matchLabelKeys") or (), each.get("labelSelector")
        if minor >= _MERGED_SINCE:
            yield from _keys(place, keys, (), selector)
        else:
            yield from _plain_keys(f"{place}.matchLabelKeys", keys, selector)
        yield from label_selector(f"{place}.labelSelector", selector)


def _names(constraint: JsonObject | None) -> tuple[str, str]:
    held = constraint or {}
    return held.get("topologyKey") or "", held.get("whenUnsatisfiable") or ""


def _plain_keys(path: str, keys: Sequence[str], selector: Mapping[str, Any] | None) -> Faults:
    if keys and selector is None:
        yield forbidden(path, "must not be specified when labelSelector is not set")
    held = selector or {}
    named = {*part(held, "matchLabels"), *(each.get("key") for _, each in items("", held, "matchExpressions"))}
    for number, key in enumerate(keys):
        yield from qualified_name(f"{path}[{number}]", key or "")
        if key in named:
            yield invalid(f"{path}[{number}]", key, "exists in both matchLabelKeys and labelSelector")
