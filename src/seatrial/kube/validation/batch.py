"""Jobs and CronJobs (`pkg/apis/batch/validation`)."""

from __future__ import annotations

import json
import re
from typing import Final

from seatrial.kube import cronschedule, selectors
from seatrial.kube.faults import Fault
from seatrial.kube.objects import JsonObject, LabelSelector
from seatrial.kube.objects.base import parse_as
from seatrial.kube.validation import pods
from seatrial.kube.validation.fields import (
    IMMUTABLE,
    Faults,
    byte_length,
    chosen,
    domain_path,
    duplicate,
    invalid,
    items,
    label_selector,
    negative,
    one_of,
    part,
    qualified_name,
    required,
    same,
    too_long,
    too_many,
    unchanged,
    unsupported,
)
from seatrial.kube.validation.kinds import Rules

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


def _job(raw: JsonObject, minor: int) -> Faults:
    spec, metadata = part(raw, "spec"), part(raw, "metadata")
    yield from job_spec("spec", spec, minor)
    selector = spec.get("selector")
    if selector is None:
        yield required("spec.selector")
    faults = list(label_selector("spec.selector", selector))
    yield from faults
    labels = part(part(part(spec, "template"), "metadata"), "labels")
    if not faults and (selector is None or not selectors.matches(parse_as(LabelSelector, selector), labels)):
        why = "`selector` does not match template `labels`"
        yield invalid("spec.template.metadata.labels", labels or None, why)
    yield from _room_for_index(metadata.get("name") or "", spec)


_OWN_LABELS: Final = ("controller-uid", "job-name")


def _new_job(raw: JsonObject, minor: int) -> Faults:
    """A Job that does not select its pods by hand selects those that carry its uid and name."""
    spec, metadata = part(raw, "spec"), part(raw, "metadata")
    selector = spec.get("selector")
    if spec.get("manualSelector") is True or selector is None:
        return
    labels = part(part(part(spec, "template"), "metadata"), "labels")
    path, wanted = "spec.template.metadata.labels", {}
    for prefix in ("", "batch.kubernetes.io/"):
        for name, value in zip(_OWN_LABELS, (metadata.get("uid") or "", metadata.get("name") or ""), strict=True):
            key = wanted[f"{prefix}{name}"] = value
            if f"{prefix}{name}" not in labels:
                yield required(f"{path}[{prefix}{name}]", f"must be '{value}'")
            elif labels[f"{prefix}{name}"] != key:
                yield invalid(f"{path}[{prefix}{name}]", labels, f"must be '{value}'")
    readable = next(label_selector("", selector), None) is None
    if readable and not selectors.matches(parse_as(LabelSelector, selector), wanted):
        yield invalid("spec.selector", selector, "`selector` not auto-generated")


def _cron_job(raw: JsonObject, minor: int) -> Faults:
    return _cron_spec(part(raw, "spec"), minor)


def _new_cron_job(raw: JsonObject, minor: int) -> Faults:
    """Its Jobs' names are eleven characters longer."""
    yield from _schedule_and_zone(part(raw, "spec"), None)
    name = part(raw, "metadata").get("name") or ""
    if byte_length(name) > _LONGEST_CRON_JOB_NAME:
        yield invalid("metadata.name", name, f"must be no more than {_LONGEST_CRON_JOB_NAME} characters")


def _fixed_cron_job(raw: JsonObject, before: JsonObject, minor: int) -> Faults:
    return _schedule_and_zone(part(raw, "spec"), part(before, "spec"))


def _fixed_job(raw: JsonObject, before: JsonObject, minor: int) -> Faults:
    """The fields of a Job that stay; an Indexed Job may change its completions together with its parallelism."""
    new, old = part(raw, "spec"), part(before, "spec")
    completions = new.get("completions")
    elastic = new.get("completionMode") == "Indexed" and completions is not None
    if elastic and completions != old.get("completions") and completions != new.get("parallelism"):
        yield invalid("spec.completions", completions, "can only be modified in tandem with spec.parallelism")
    fixed = ("selector", "completionMode", "podFailurePolicy", "backoffLimitPerIndex", "managedBy", "successPolicy")
    for name in fixed if elastic else ("completions", *fixed):
        yield from unchanged(f"spec.{name}", new.get(name), old.get(name))
    yield from template_faults(raw, before)


def template_faults(raw: JsonObject, before: JsonObject) -> Faults:
    """A Job's template stays, but for scheduling directives and resources while it is suspended without pods."""
    old, new = before["spec"], raw["spec"]
    status = before.get("status") or {}
    suspended = bool(old.get("suspend"))
    is_told = any(c["type"] == "Suspended" and c["status"] == "True" for c in status.get("conditions") or ())
    free = suspended and (not status.get("startTime") or is_told) and not status.get("active")
    path = "spec.template"
    old_template, new_template = old.get("template"), new.get("template")
    if free:
        path = "spec.template.spec"
        old_template, new_template = _fixed(old["template"]), _fixed(new["template"])
    if not same(old_template, new_template):
        yield invalid(path, new_template, IMMUTABLE)


def _fixed(template: JsonObject) -> JsonObject:
    """The part of a template that not even a suspended Job may change."""
    free = ("nodeSelector", "tolerations", "schedulingGates", "affinity")
    spec = {key: value for key, value in template["spec"].items() if key not in free}
    affinity = {k: v for k, v in (template["spec"].get("affinity") or {}).items() if k != "nodeAffinity"}
    for kind in ("containers", "initContainers"):
        if kind in spec:
            spec[kind] = [{key: value for key, value in item.items() if key != "resources"} for item in spec[kind]]
    return {**spec, "affinity": affinity} if affinity else spec


def _room_for_index(name: str, spec: JsonObject) -> Faults:
    completions = spec.get("completions")
    if spec.get("completionMode") == "Indexed" and completions:
        hostname = f"{name}-{completions - 1}"
        if len(hostname) > 63 or not re.fullmatch(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?", hostname):
            yield invalid("metadata.name", name, f"will not able to create pod with invalid DNS label: {hostname}")


def job_spec(path: str, spec: JsonObject, minor: int) -> Faults:
    yield from negative(spec, _NON_NEGATIVE, path)
    if spec.get("maxFailedIndexes") is not None and spec.get("backoffLimitPerIndex") is None:
        yield required(f"{path}.backoffLimitPerIndex", "when maxFailedIndexes is specified")
    manager = spec.get("managedBy")
    if manager is not None:
        yield from domain_path(f"{path}.managedBy", manager)
        if byte_length(manager) > _LONGEST_MANAGER:
            yield too_long(f"{path}.managedBy", _LONGEST_MANAGER)
    mode = spec.get("completionMode", "NonIndexed")
    yield from one_of(f"{path}.completionMode", mode, ("NonIndexed", "Indexed"))
    indexed = mode == "Indexed"
    if indexed:
        yield from _indexed(spec, path)
    elif mode == "NonIndexed":
        for name in ("backoffLimitPerIndex", "maxFailedIndexes"):
            if spec.get(name) is not None:
                yield invalid(f"{path}.{name}", spec[name], "requires indexed completion mode")
    if spec.get("podFailurePolicy") is not None:
        yield from _failure_policy(f"{path}.podFailurePolicy.rules", spec)
    policy = spec.get("successPolicy")
    if policy is not None and not indexed:
        yield invalid(f"{path}.successPolicy", policy, "requires indexed completion mode")
    elif policy is not None:
        yield from _success_policy(f"{path}.successPolicy.rules", policy, spec.get("completions"))
    replacement = spec.get("podReplacementPolicy")
    allowed = ("Failed",) if spec.get("podFailurePolicy") is not None else ("Failed", "TerminatingOrFailed")
    if replacement is not None:
        yield from one_of(f"{path}.podReplacementPolicy", replacement, allowed)
    yield from pods.template(f"{path}.template", part(spec, "template"), minor)
    yield from _restart_policy(spec, f"{path}.template.spec.restartPolicy")


_LONGEST_MANAGER: Final = 63
_MOST_RULES: Final = 20
_MOST_CODES: Final = 255
_LONGEST_INDEXES: Final = 64 * 1024
_ACTIONS: Final = ("Count", "FailIndex", "FailJob", "Ignore")


def _listed(values: tuple[str, ...]) -> str:
    return "[" + " ".join(f'"{value}"' for value in values) + "]"


def _failure_policy(path: str, spec: JsonObject) -> Faults:
    policy = part(spec, "podFailurePolicy")
    if len(policy.get("rules") or ()) > _MOST_RULES:
        yield too_many(path, len(policy["rules"]), _MOST_RULES)
    for at, rule in items(path, policy, "rules"):
        yield from _failure_rule(spec, rule, at)


def _success_policy(path: str, policy: JsonObject, completions: int | None) -> Faults:
    """Where the Job has no completions upstream's server breaks down; ours refuses it for that already."""
    rules = policy.get("rules") or ()
    if not rules:
        yield required(path, "at least one rules must be specified when the successPolicy is specified")
    if len(rules) > _MOST_RULES:
        yield too_many(path, len(rules), _MOST_RULES)
    for at, rule in items(path, policy, "rules"):
        yield from _success_rule(rule, completions or 0, at)


def _indexed(spec: JsonObject, path: str) -> Faults:
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


def _failure_rule(spec: JsonObject, rule: JsonObject, path: str) -> Faults:
    action = rule.get("action") or ""
    if not action:
        yield required(f"{path}.action", f"valid values: {_listed(_ACTIONS)}")
    elif action == "FailIndex" and spec.get("backoffLimitPerIndex") is None:
        yield invalid(f"{path}.action", "FailIndex", "requires the backoffLimitPerIndex to be set")
    else:
        yield from one_of(f"{path}.action", action, _ACTIONS)
    codes, conditions = rule.get("onExitCodes"), rule.get("onPodConditions")
    if codes is not None:
        yield from _exit_codes(spec, codes, f"{path}.onExitCodes")
    if len(conditions or ()) > _MOST_RULES:
        yield too_many(f"{path}.onPodConditions", len(conditions or ()), _MOST_RULES)
    for at, pattern in items(f"{path}.onPodConditions", rule, "onPodConditions"):
        yield from qualified_name(f"{at}.type", pattern.get("type") or "")
        status, known = pattern.get("status") or "", ("False", "True", "Unknown")
        if not status:
            yield required(f"{at}.status", f"valid values: {_listed(known)}")
        else:
            yield from one_of(f"{at}.status", status, known)
    if codes is not None and conditions:
        why = "specifying both OnExitCodes and OnPodConditions is not supported"
        yield Fault("FieldValueInvalid", path, f"Invalid value: {why}")
    if codes is None and not conditions:
        why = "specifying one of OnExitCodes and OnPodConditions is required"
        yield Fault("FieldValueInvalid", path, f"Invalid value: {why}")


def _exit_codes(spec: JsonObject, codes: JsonObject, path: str) -> Faults:
    operator, known = codes.get("operator") or "", ("In", "NotIn")
    if not operator:
        yield required(f"{path}.operator", f"valid values: {_listed(known)}")
    else:
        yield from one_of(f"{path}.operator", operator, known)
    pod = part(part(spec, "template"), "spec")
    names = {each.get("name") or "" for kind in ("containers", "initContainers") for _, each in items("", pod, kind)}
    if codes.get("containerName") is not None and codes["containerName"] not in names:
        why = "must be one of the container or initContainer names in the pod template"
        yield invalid(f"{path}.containerName", codes["containerName"], why)
    values = codes.get("values") or []
    if not values:
        yield invalid(f"{path}.values", values, "at least one value is required")
    elif len(values) > _MOST_CODES:
        yield too_many(f"{path}.values", len(values), _MOST_CODES)
    ordered = True
    seen: set[int] = set()
    for number, value in enumerate(values):
        if operator == "In" and value == 0:
            yield invalid(f"{path}.values[{number}]", value, "must not be 0 for the In operator")
        if value in seen:
            yield duplicate(f"{path}.values[{number}]", value)
        seen.add(value)
        ordered = ordered and (number == 0 or values[number - 1] <= value)
    if not ordered:
        yield invalid(f"{path}.values", values, "must be ordered")


def _success_rule(rule: JsonObject, completions: int, path: str) -> Faults:
    indexes, count = rule.get("succeededIndexes"), rule.get("succeededCount")
    if indexes is None and count is None:
        yield required(path, "at least one of succeededCount or succeededIndexes must be specified")
    total = 0
    if indexes is not None:
        if byte_length(indexes) > _LONGEST_INDEXES:
            yield too_long(f"{path}.succeededIndexes", _LONGEST_INDEXES)
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


def _restart_policy(spec: JsonObject, path: str) -> Faults:
    policy = part(part(spec, "template"), "spec").get("restartPolicy") or "Always"
    if policy == "Always":
        yield required(path, 'valid values: "OnFailure", "Never"')
    elif policy not in ("OnFailure", "Never"):
        yield unsupported(path, policy, ("OnFailure", "Never"))
    elif spec.get("podFailurePolicy") is not None and policy != "Never":
        yield invalid(path, policy, 'only "Never" is supported when podFailurePolicy is specified')


def _cron_spec(spec: JsonObject, minor: int) -> Faults:
    yield from negative(spec, ("startingDeadlineSeconds",), "spec")
    yield from chosen("spec.concurrencyPolicy", spec.get("concurrencyPolicy"), ("Allow", "Forbid", "Replace"))
    job, path = part(part(spec, "jobTemplate"), "spec"), "spec.jobTemplate.spec"
    yield from job_spec(path, job, minor)
    if job.get("selector") is not None:
        yield invalid(f"{path}.selector", job["selector"], "`selector` will be auto-generated")
    if job.get("manualSelector"):
        yield unsupported(f"{path}.manualSelector", True, ("nil", "false"))
    yield from negative(spec, ("successfulJobsHistoryLimit", "failedJobsHistoryLimit"), "spec")


def _schedule_and_zone(spec: JsonObject, old: JsonObject | None) -> Faults:
    schedule, zone = spec.get("schedule"), spec.get("timeZone")
    if not schedule:
        yield required("spec.schedule", "")
    else:
        yield from _schedule(schedule, zone, may_name_zone=old is not None and "TZ" in (old.get("schedule") or ""))
    if zone is not None and (old is None or old.get("timeZone") != zone):
        yield from _time_zone(zone)


def _schedule(schedule: str, zone: str | None, *, may_name_zone: bool) -> Faults:
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


def _time_zone(zone: str) -> Faults:
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


RULES: Final = {
    "Job": Rules(valid=_job, new=_new_job, fixed=_fixed_job),
    "CronJob": Rules(valid=_cron_job, new=_new_cron_job, fixed=_fixed_cron_job),
}
