"""Events, by the version they were written in: the fields of both are the same under other names
(`pkg/apis/core/validation/events.go`).
"""

from __future__ import annotations

from typing import Final

from seatrial.kube.objects import JsonObject
from seatrial.kube.validation import meta
from seatrial.kube.validation.fields import (
    Faults,
    byte_length,
    invalid,
    part,
    qualified_name,
    required,
    same,
    subdomain,
    unchanged,
)
from seatrial.kube.validation.kinds import Rules

_LONGEST: Final = 128
_LONGEST_NOTE: Final = 1024
_IN_EVENTS_V1: Final = {
    "count": "deprecatedCount",
    "firstTimestamp": "deprecatedFirstTimestamp",
    "involvedObject": "regarding",
    "lastTimestamp": "deprecatedLastTimestamp",
    "message": "note",
    "source": "deprecatedSource",
}
"""How events.k8s.io/v1 calls the fields of v1; faults tell the latter."""


def _is_newer(raw: JsonObject) -> bool:
    return bool(raw.get("apiVersion") == "events.k8s.io/v1")


def _value(raw: JsonObject, name: str) -> object:
    if _is_newer(raw):
        return raw.get(_IN_EVENTS_V1.get(name, name))
    return raw.get("reportingComponent" if name == "reportingController" else name)


def _text(raw: JsonObject, name: str) -> str:
    return str(_value(raw, name) or "")


def _event(raw: JsonObject, minor: int) -> Faults:
    about = _value(raw, "involvedObject")
    theirs = (about.get("namespace") or "") if isinstance(about, dict) else ""
    ours, at = part(raw, "metadata").get("namespace") or "", "involvedObject.namespace"
    no_match = invalid(at, theirs, "does not match event.namespace")
    if not raw.get("eventTime"):
        if (theirs or ours != "default") and theirs != ours:
            yield no_match
        return
    if not theirs and ours not in ("default", "kube-system"):
        yield no_match
    reporter = "reportingController" if _is_newer(raw) else "reportingComponent"
    if not _text(raw, "reportingController"):
        yield required(reporter)
    yield from qualified_name(reporter, _text(raw, "reportingController"))
    for name in ("reportingInstance", "action", "reason"):
        if not _text(raw, name):
            yield required(name)
        if byte_length(_text(raw, name)) > _LONGEST:
            yield invalid(name, "", f"can have at most {_LONGEST} characters")
    if byte_length(_text(raw, "message")) > _LONGEST_NOTE:
        yield invalid("message", "", f"can have at most {_LONGEST_NOTE} characters")


def _new_event(raw: JsonObject, minor: int) -> Faults:
    """What only the newer version asks for."""
    if not _is_newer(raw):
        return
    yield from meta.new(part(raw, "metadata"), Rules(), subdomain, namespaced=True)
    yield from _series(raw)
    if not raw.get("eventTime"):
        yield required("eventTime")
    if raw.get("type") not in ("Normal", "Warning"):
        yield invalid("type", "", f"has invalid value: {raw.get('type') or ''}")
    for name in ("firstTimestamp", "lastTimestamp", "count"):
        if _value(raw, name):
            yield invalid(name, "", "needs to be unset")
    source = _value(raw, "source")
    if isinstance(source, dict) and (source.get("component") or source.get("host")):
        yield invalid("source", "", "needs to be unset")


def _series(raw: JsonObject) -> Faults:
    series = raw.get("series")
    if series is None:
        return
    if (series.get("count") or 0) < 2:
        yield invalid("series.count", "", "should be at least 2")
    if not series.get("lastObservedTime"):
        yield required("series.lastObservedTime")


_FIXED: Final = (
    "involvedObject",
    "reason",
    "message",
    "source",
    "firstTimestamp",
    "lastTimestamp",
    "count",
    "type",
    "eventTime",
    "action",
    "related",
    "reportingController",
    "reportingInstance",
)


def _fixed_event(raw: JsonObject, before: JsonObject, minor: int) -> Faults:
    if not _is_newer(raw):
        return
    yield from meta.changed(part(raw, "metadata"), part(before, "metadata"), core=True)
    if not same(raw.get("series"), before.get("series")):
        yield from _series(raw)
    for name in _FIXED:
        yield from unchanged(name, _value(raw, name) or None, _value(before, name) or None)


RULES: Final = {
    "Event": Rules(valid=_event, new=_new_event, fixed=_fixed_event, has_metadata_rules=False),
}
