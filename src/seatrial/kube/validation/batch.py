"""What the API server refuses in the spec of a Job or a CronJob beyond its schema, in upstream's wording and order.

A status write validates no spec, so these are asked only when a spec is new or changed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Final

from seatrial.kube import cronschedule
from seatrial.kube.faults import Fault
from seatrial.kube.objects import JsonObject
from seatrial.kube.validation.fields import invalid, negative, required, unsupported

_NON_NEGATIVE: Final = (
    "parallelism",
    "completions",
    "activeDeadlineSeconds",
    "backoffLimit",
    "ttlSecondsAfterFinished",
    "backoffLimitPerIndex",
    "maxFailedIndexes",
)
_MOST_INDEXES: Final = 100_000
_MOST_WITH_MANY: Final = 10_000
"""Of parallelism and maxFailedIndexes, when completions are above `_MOST_INDEXES` and counted per index."""
_LONGEST_CRON_JOB_NAME: Final = 52
_ZONE_PART: Final = re.compile(r"[A-Za-z.\-_0-9+]{1,14}")
_PER_INDEX: Final = f"when completions are above {_MOST_INDEXES} and used with backoff limit per index"


def causes(kind: str, raw: JsonObject, before: JsonObject | None) -> Iterator[Fault]:
    """Why a write of this object is refused; nothing for other kinds and for an unchanged spec."""
    spec = raw.get("spec")
    if not isinstance(spec, dict) or (before is not None and before.get("spec") == spec):
        return
    if kind == "Job":
        yield from _job(spec, "spec")
        yield from _room_for_index(raw["metadata"]["name"], spec)
    elif kind == "CronJob":
        yield from _cron_job(spec, None if before is None else before["spec"])
        name = raw["metadata"]["name"]
        if before is None and len(name) > _LONGEST_CRON_JOB_NAME:
            yield invalid("metadata.name", name, f"must be no more than {_LONGEST_CRON_JOB_NAME} characters")


def template_causes(before: JsonObject, after: JsonObject) -> Iterator[Fault]:
    """A Job's template stays, but for scheduling directives and resources while it is suspended without pods."""
    old, new = before["spec"], after["spec"]
    status = before.get("status") or {}
    suspended = bool(old.get("suspend"))
    is_told = any(c["type"] == "Suspended" and c["status"] == "True" for c in status.get("conditions") or ())
    free = suspended and (not status.get("startTime") or is_told) and not status.get("active")
    path = "spec.template"
    old_template, new_template = old.get("template"), new.get("template")
    if free:
        path = "spec.template.spec"
        old_template, new_template = _fixed(old["template"]), _fixed(new["template"])
    if old_template != new_template:
        yield invalid(path, new_template, "field is immutable")


def _fixed(template: JsonObject) -> JsonObject:
    """The part of a template that not even a suspended Job may change."""
    free = ("nodeSelector", "tolerations", "schedulingGates", "affinity")
    spec = {key: value for key, value in template["spec"].items() if key not in free}
    affinity = {k: v for k, v in (template["spec"].get("affinity") or {}).items() if k != "nodeAffinity"}
    for part in ("containers", "initContainers"):
        if part in spec:
            spec[part] = [{key: value for key, value in item.items() if key != "resources"} for item in spec[part]]
    return {**spec, "affinity": affinity} if affinity else spec


def _room_for_index(name: str, spec: JsonObject) -> Iterator[Fault]:
    completions = spec.get("completions")
    if spec.get("completionMode") == "Indexed" and completions:
        hostname = f"{name}-{completions - 1}"
        if len(hostname) > 63 or not re.fullmatch(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?", hostname):
            yield invalid("metadata.name", name, f"will not able to create pod with invalid DNS label: {hostname}")


def _job(spec: JsonObject, path: str) -> Iterator[Fault]:
    yield from negative(spec, _NON_NEGATIVE, path)
    if spec.get("maxFailedIndexes") is not None and spec.get("backoffLimitPerIndex") is None:
        yield required(f"{path}.backoffLimitPerIndex", "when maxFailedIndexes is specified")
    indexed = spec.get("completionMode") == "Indexed"
    if indexed:
        yield from _indexed(spec, path)
    else:
        for name in ("backoffLimitPerIndex", "maxFailedIndexes"):
            if spec.get(name) is not None:
                yield invalid(f"{path}.{name}", spec[name], "requires indexed completion mode")
    if spec.get("podFailurePolicy") is not None:
        for number, rule in enumerate(spec["podFailurePolicy"].get("rules") or ()):
            yield from _failure_rule(spec, rule, f"{path}.podFailurePolicy.rules[{number}]")
    policy = spec.get("successPolicy")
    if policy is not None and not indexed:
        yield invalid(f"{path}.successPolicy", policy, "requires indexed completion mode")
    elif policy is not None:
        rules = policy.get("rules") or ()
        if not rules:
            why = "at least one rules must be specified when the successPolicy is specified"
            yield required(f"{path}.successPolicy.rules", why)
        for number, rule in enumerate(rules):
            yield from _success_rule(rule, spec.get("completions") or 0, f"{path}.successPolicy.rules[{number}]")
    replacement = spec.get("podReplacementPolicy")
    allowed = ("Failed",) if spec.get("podFailurePolicy") is not None else ("Failed", "TerminatingOrFailed")
    if replacement is not None and replacement not in allowed:
        yield unsupported(f"{path}.podReplacementPolicy", replacement, allowed)
    yield from _restart_policy(spec, f"{path}.template.spec.restartPolicy")


def _indexed(spec: JsonObject, path: str) -> Iterator[Fault]:
    completions, parallelism, most_failed = (
        spec.get(name) for name in ("completions", "parallelism", "maxFailedIndexes")
    )
    if completions is None:
        yield required(f"{path}.completions", "when completion mode is Indexed")
    if (parallelism or 0) > _MOST_INDEXES:
        why = f"must be less than or equal to {_MOST_INDEXES} when completion mode is Indexed"
        yield invalid(f"{path}.parallelism", parallelism, why)
    if completions is not None and (most_failed or 0) > completions:
        yield invalid(f"{path}.maxFailedIndexes", most_failed, "must be less than or equal to completions")
    if (most_failed or 0) > _MOST_INDEXES:
        yield invalid(f"{path}.maxFailedIndexes", most_failed, f"must be less than or equal to {_MOST_INDEXES}")
    if (completions or 0) > _MOST_INDEXES and spec.get("backoffLimitPerIndex") is not None:
        if most_failed is None:
            why = f"must be specified when completions is above {_MOST_INDEXES}"
            yield required(f"{path}.maxFailedIndexes", why)
        for name, value in (("parallelism", parallelism), ("maxFailedIndexes", most_failed)):
            if (value or 0) > _MOST_WITH_MANY:
                why = f"must be less than or equal to {_MOST_WITH_MANY} {_PER_INDEX}"
                yield invalid(f"{path}.{name}", value, why)


def _failure_rule(spec: JsonObject, rule: JsonObject, path: str) -> Iterator[Fault]:
    if rule.get("action") == "FailIndex" and spec.get("backoffLimitPerIndex") is None:
        yield invalid(f"{path}.action", "FailIndex", "requires the backoffLimitPerIndex to be set")
    codes, conditions = rule.get("onExitCodes"), rule.get("onPodConditions")
    if codes is not None:
        yield from _exit_codes(spec, codes, f"{path}.onExitCodes")
    if codes is not None and conditions:
        why = "specifying both OnExitCodes and OnPodConditions is not supported"
        yield Fault("FieldValueInvalid", path, f"Invalid value: {why}")
    if codes is None and not conditions:
        why = "specifying one of OnExitCodes and OnPodConditions is required"
        yield Fault("FieldValueInvalid", path, f"Invalid value: {why}")


def _exit_codes(spec: JsonObject, codes: JsonObject, path: str) -> Iterator[Fault]:
    pod = spec["template"]["spec"]
    names = {item["name"] for part in ("containers", "initContainers") for item in pod.get(part) or ()}
    if codes.get("containerName") is not None and codes["containerName"] not in names:
        why = "must be one of the container or initContainer names in the pod template"
        yield invalid(f"{path}.containerName", codes["containerName"], why)
    values = codes.get("values") or []
    if not values:
        yield invalid(f"{path}.values", values, "at least one value is required")
    for number, value in enumerate(values):
        if codes.get("operator") == "In" and value == 0:
            yield invalid(f"{path}.values[{number}]", value, "must not be 0 for the In operator")
        if value in values[:number]:
            yield Fault("FieldValueDuplicate", f"{path}.values[{number}]", f"Duplicate value: {value}")
    if values != sorted(values):
        yield invalid(f"{path}.values", values, "must be ordered")


def _success_rule(rule: JsonObject, completions: int, path: str) -> Iterator[Fault]:
    indexes, count = rule.get("succeededIndexes"), rule.get("succeededCount")
    if indexes is None and count is None:
        yield required(path, "at least one of succeededCount or succeededIndexes must be specified")
    total = 0
    if indexes is not None:
        try:
            total = _count(indexes, completions)
        except ValueError as error:
            yield invalid(f"{path}.succeededIndexes", indexes, f"error parsing succeededIndexes: {error}")
    if count is None:
        return
    yield from negative(rule, ("succeededCount",), path)
    if count > completions:
        why = f"must be less than or equal to {completions} (the number of specified completions)"
        yield invalid(f"{path}.succeededCount", count, why)
    if indexes is not None and count > total:
        why = f"must be less than or equal to {total} (the number of indexes in the specified succeededIndexes field)"
        yield invalid(f"{path}.succeededCount", count, why)


def _count(text: str, completions: int) -> int:
    """How many indexes `1,3-5` names. Raises `ValueError`."""
    total, last = 0, -1
    for item in text.split(",") if text else ():
        ends = item.split("-")
        if len(ends) > 2:
            raise ValueError(
                f"the fragment {json.dumps(item)} violates the requirement that an index interval can have at most "
                "two parts separated by '-'"
            )
        for end in ends:
            if not re.fullmatch(r"\+?[0-9]+", end):
                raise ValueError(f"cannot convert string to integer for index: {json.dumps(end)}")
            if int(end) >= completions:
                raise ValueError(f"too large index: {json.dumps(end)}")
        low, high = int(ends[0]), int(ends[-1])
        if len(ends) == 2 and low >= high:
            raise ValueError(f"non-increasing order, previous: {low}, current: {high}")
        if last >= low:
            raise ValueError(f"non-increasing order, previous: {last}, current: {low}")
        total, last = total + high - low + 1, high
    return total


def _restart_policy(spec: JsonObject, path: str) -> Iterator[Fault]:
    policy = spec["template"]["spec"].get("restartPolicy") or "Always"
    if policy == "Always":
        yield required(path, 'valid values: "OnFailure", "Never"')
    elif policy not in ("OnFailure", "Never"):
        yield unsupported(path, policy, ("OnFailure", "Never"))
    elif spec.get("podFailurePolicy") is not None and policy != "Never":
        yield invalid(path, policy, 'only "Never" is supported when podFailurePolicy is specified')


def _cron_job(spec: JsonObject, old: JsonObject | None) -> Iterator[Fault]:
    schedule, zone = spec.get("schedule"), spec.get("timeZone")
    if not schedule:
        yield required("spec.schedule", "")
    else:
        yield from _schedule(schedule, zone, may_name_zone=old is not None and "TZ" in old["schedule"])
    yield from negative(spec, ("startingDeadlineSeconds",), "spec")
    if zone is not None and (old is None or old.get("timeZone") != zone):
        yield from _time_zone(zone)
    policies = ("Allow", "Forbid", "Replace")
    if spec.get("concurrencyPolicy", "Allow") not in policies:
        yield unsupported("spec.concurrencyPolicy", spec["concurrencyPolicy"], policies)
    job = spec["jobTemplate"]["spec"]
    path = "spec.jobTemplate.spec"
    yield from _job(job, path)
    if job.get("selector") is not None:
        yield invalid(f"{path}.selector", job["selector"], "`selector` will be auto-generated")
    if job.get("manualSelector"):
        yield unsupported(f"{path}.manualSelector", True, ("nil", "false"))
    yield from negative(spec, ("successfulJobsHistoryLimit", "failedJobsHistoryLimit"), "spec")


def _schedule(schedule: str, zone: str | None, *, may_name_zone: bool) -> Iterator[Fault]:
    try:
        cronschedule.parse(schedule)
    except cronschedule.ScheduleError as error:
        yield invalid("spec.schedule", schedule, str(error))
    if "TZ" not in schedule:
        return
    if not may_name_zone:
        why = "cannot use TZ or CRON_TZ in schedule, use timeZone field instead"
        yield invalid("spec.schedule", schedule, why)
    elif zone is not None:
        why = "cannot use both timeZone field and TZ or CRON_TZ in schedule"
        yield invalid("spec.schedule", schedule, why)


def _time_zone(zone: str) -> Iterator[Fault]:
    if not zone:
        yield invalid("spec.timeZone", zone, "timeZone must be nil or non-empty string")
        return
    parts = zone.split("/")
    if any(p in (".", "..") or p.startswith("-") or not _ZONE_PART.fullmatch(p) for p in parts):
        yield invalid("spec.timeZone", zone, f"unknown time zone {zone}")
        return
    if zone.lower() == "local":
        why = "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones"
        yield invalid("spec.timeZone", zone, why)
        if zone == "Local":
            return
    try:
        cronschedule.time_zone(zone)
    except cronschedule.ScheduleError as error:
        yield invalid("spec.timeZone", zone, str(error))
