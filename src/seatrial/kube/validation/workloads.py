"""Deployments, ReplicaSets, StatefulSets, DaemonSets, ReplicationControllers, PodTemplates, ControllerRevisions
(`pkg/apis/apps/validation`).
"""

from __future__ import annotations

from typing import Final

from seatrial.kube import selectors
from seatrial.kube.faults import Fault
from seatrial.kube.objects import JsonObject, LabelSelector
from seatrial.kube.objects.base import parse_as
from seatrial.kube.validation import pods
from seatrial.kube.validation.claims import claim_spec
from seatrial.kube.validation.fields import (
    Faults,
    amount,
    at_most_all,
    forbidden,
    invalid,
    items,
    label_name,
    label_selector,
    negative,
    number_in,
    part,
    required,
    same,
    unchanged,
    unsupported,
)
from seatrial.kube.validation.kinds import Rules

_EMPTY: Final = {"ReplicaSet": "deployment"}  # upstream's slip
_FOR_EVER: Final = {"Deployment": "ReplicaSet"}


def _deployment(raw: JsonObject, minor: int) -> Faults:
    spec = part(raw, "spec")
    yield from negative(spec, ("replicas",), "spec")
    yield from _selected_template("Deployment", spec, minor)
    yield from _strategy(part(spec, "strategy"))
    yield from negative(spec, ("minReadySeconds", "revisionHistoryLimit", "progressDeadlineSeconds"), "spec")
    deadline = spec.get("progressDeadlineSeconds")
    if deadline is not None and deadline <= (spec.get("minReadySeconds") or 0):
        yield invalid("spec.progressDeadlineSeconds", deadline, "must be greater than minReadySeconds")


def _replica_set(raw: JsonObject, minor: int) -> Faults:
    spec = part(raw, "spec")
    yield from negative(spec, ("replicas", "minReadySeconds"), "spec")
    yield from _selected_template("ReplicaSet", spec, minor)


def _daemon_set(raw: JsonObject, minor: int) -> Faults:
    spec = part(raw, "spec")
    selector = spec.get("selector")
    yield from label_selector("spec.selector", selector)
    if selector is None or _is_readable(selector):
        yield from _mismatch(selector, spec)
    if selector is not None and not selector.get("matchLabels") and not selector.get("matchExpressions"):
        yield invalid("spec.selector", selector, "empty selector is invalid for daemonset")
    yield from pods.template("spec.template", part(spec, "template"), minor)
    yield from _endless("DaemonSet", spec)
    yield from negative(spec, ("minReadySeconds", "revisionHistoryLimit"), "spec")
    yield from _daemon_update(part(spec, "updateStrategy"))


def _replication_controller(raw: JsonObject, minor: int) -> Faults:
    spec = part(raw, "spec")
    yield from negative(spec, ("minReadySeconds",), "spec")
    selector = spec.get("selector") or {}
    if not selector:
        yield required("spec.selector")
    yield from negative(spec, ("replicas",), "spec")
    if spec.get("template") is None:
        yield required("spec.template")
        return
    labels = part(part(part(spec, "template"), "metadata"), "labels")
    if selector and not selectors.matches_labels(selector, labels):
        yield _no_match(spec)
    yield from pods.template("spec.template", spec["template"], minor)
    yield from _endless("ReplicationController", spec)


def _stateful_set(raw: JsonObject, minor: int) -> Faults:
    spec = part(raw, "spec")
    policy = spec.get("podManagementPolicy")
    if not policy:
        yield required("spec.podManagementPolicy")
    elif policy not in ("OrderedReady", "Parallel"):
        yield invalid("spec.podManagementPolicy", policy, "must be 'OrderedReady' or 'Parallel'")
    yield from _stateful_update(part(spec, "updateStrategy"))
    retention = spec.get("persistentVolumeClaimRetentionPolicy")
    for name in ("whenDeleted", "whenScaled") if retention is not None else ():
        choice = part(spec, "persistentVolumeClaimRetentionPolicy").get(name) or ""
        if choice not in ("Retain", "Delete"):
            yield unsupported(f"spec.persistentVolumeClaimRetentionPolicy.{name}", choice, ("Retain", "Delete"))
    yield from negative(spec, ("replicas", "minReadySeconds"), "spec")
    yield from negative(part(spec, "ordinals"), ("start",), "spec.ordinals")
    if spec.get("serviceName") and minor >= _SERVICE_NAME_SINCE:
        yield from label_name("spec.serviceName", spec["serviceName"])
    yield from _selected_template("StatefulSet", {**spec, "template": _with_claims(spec)}, minor)
    yield from _endless("StatefulSet", spec)


def _new_stateful_set(raw: JsonObject, minor: int) -> Faults:
    if minor >= _CLAIM_TEMPLATES_SINCE:
        spec = part(raw, "spec")
        for at, claim in items("spec.volumeClaimTemplates", spec, "volumeClaimTemplates"):
            yield from claim_spec(f"{at}.spec", part(claim, "spec"))


_CLAIM_TEMPLATES_SINCE: Final = 36
_SERVICE_NAME_SINCE: Final = 34


def _with_claims(spec: JsonObject) -> JsonObject:
    """The template with a volume for each claim, as its pods have, and without what they are given themselves."""
    template, inner = part(spec, "template"), part(part(spec, "template"), "spec")
    claims = dict.fromkeys(
        part(claim, "metadata").get("name") or "" for _, claim in items("", spec, "volumeClaimTemplates")
    )
    volumes = [{"name": name, "persistentVolumeClaim": {"claimName": name}} for name in claims]
    volumes += [each for _, each in items("", inner, "volumes") if (each.get("name") or "") not in claims]
    return {**template, "spec": {**inner, "volumes": volumes, "subdomain": "", "hostname": ""}}


def _selected_template(kind: str, spec: JsonObject, minor: int) -> Faults:
    selector, path = spec.get("selector"), "spec.selector"
    if selector is None:
        yield required(path)
    else:
        yield from label_selector(path, selector)
        if not selector.get("matchLabels") and not selector.get("matchExpressions"):
            yield invalid(path, selector, f"empty selector is invalid for {_EMPTY.get(kind, kind.lower())}")
        if not _is_readable(selector):
            yield invalid(path, selector, "" if kind == "StatefulSet" else "invalid label selector")
            return
    yield from _mismatch(selector, spec)
    yield from pods.template("spec.template", part(spec, "template"), minor)
    if kind == "StatefulSet":
        return
    yield from _endless(kind, spec)


def _endless(kind: str, spec: JsonObject) -> Faults:
    """Pods that are to be there for ever."""
    pod, path = part(part(spec, "template"), "spec"), "spec.template.spec"
    if pod.get("restartPolicy") != "Always":
        yield unsupported(f"{path}.restartPolicy", pod.get("restartPolicy") or "", ("Always",))
    if pod.get("activeDeadlineSeconds") is not None:
        why = f"activeDeadlineSeconds in {_FOR_EVER.get(kind, kind)} is not Supported"
        yield forbidden(f"{path}.activeDeadlineSeconds", why)


def _is_readable(selector: JsonObject) -> bool:
    return next(label_selector("", selector), None) is None


def _mismatch(selector: JsonObject | None, spec: JsonObject) -> Faults:
    """An empty selector was refused already; none selects nothing."""
    labels = part(part(part(spec, "template"), "metadata"), "labels")
    if selector is None or (
        (selector.get("matchLabels") or selector.get("matchExpressions"))
        and not selectors.matches(parse_as(LabelSelector, selector), labels)
    ):
        yield from (_no_match(spec),)


def _no_match(spec: JsonObject) -> Fault:
    labels = part(part(spec, "template"), "metadata").get("labels")
    return invalid("spec.template.metadata.labels", labels, "`selector` does not match template `labels`")


def _strategy(strategy: JsonObject) -> Faults:
    rolling, path = strategy.get("rollingUpdate"), "spec.strategy.rollingUpdate"
    kind = strategy.get("type") or ""
    if kind == "Recreate":
        if rolling is not None:
            yield forbidden(path, "may not be specified when strategy `type` is 'Recreate'")
        return
    if kind != "RollingUpdate":
        yield unsupported("spec.strategy", {"Type": kind, "RollingUpdate": rolling}, ("Recreate", "RollingUpdate"))
        return
    surge, unavailable = ((rolling or {}).get(name, "25%") for name in ("maxSurge", "maxUnavailable"))
    yield from amount(f"{path}.maxUnavailable", unavailable)
    yield from amount(f"{path}.maxSurge", surge)
    if number_in(surge) == number_in(unavailable) == 0:
        yield invalid(f"{path}.maxUnavailable", unavailable, "may not be 0 when `maxSurge` is 0")
    yield from at_most_all(f"{path}.maxUnavailable", unavailable)


def _stateful_update(strategy: JsonObject) -> Faults:
    kind, rolling = strategy.get("type") or "RollingUpdate", strategy.get("rollingUpdate")
    path = "spec.updateStrategy.rollingUpdate"
    if kind == "OnDelete" and rolling is not None:
        shown = {"Partition": rolling.get("partition", 0), "MaxUnavailable": rolling.get("maxUnavailable")}
        yield invalid(path, shown, "only allowed for updateStrategy 'RollingUpdate'")
    elif kind == "RollingUpdate" and rolling is not None:
        yield from negative(rolling, ("partition",), path)
        most = rolling.get("maxUnavailable")
        if most is not None:
            yield from amount(f"{path}.maxUnavailable", most)
            if number_in(most) == 0:
                yield invalid(f"{path}.maxUnavailable", most, "cannot be 0")
            yield from at_most_all(f"{path}.maxUnavailable", most)
    elif kind not in ("OnDelete", "RollingUpdate"):
        shown = {"Type": kind, "RollingUpdate": rolling}
        yield invalid("spec.updateStrategy", shown, "must be 'RollingUpdate' or 'OnDelete'")


def _daemon_update(strategy: JsonObject) -> Faults:
    kind, rolling = strategy.get("type") or "RollingUpdate", strategy.get("rollingUpdate") or {}
    path = "spec.updateStrategy.rollingUpdate"
    if kind == "OnDelete":
        return
    if kind != "RollingUpdate":
        shown = {"Type": kind, "RollingUpdate": strategy.get("rollingUpdate")}
        yield unsupported("spec.updateStrategy", shown, ("RollingUpdate", "OnDelete"))
        return
    unavailable, surge = rolling.get("maxUnavailable", 1), rolling.get("maxSurge", 0)
    for check in (amount, at_most_all):
        yield from check(f"{path}.maxUnavailable", unavailable)
        yield from check(f"{path}.maxSurge", surge)
    if number_in(unavailable) and number_in(surge):
        yield invalid(f"{path}.maxSurge", surge, "may not be set when maxUnavailable is non-zero")
    elif not number_in(unavailable) and not number_in(surge):
        yield required(f"{path}.maxUnavailable", "cannot be 0 when maxSurge is 0")


def _pod_template(raw: JsonObject, minor: int) -> Faults:
    return pods.template("template", part(raw, "template"), minor)


def _revision(raw: JsonObject, minor: int) -> Faults:
    return negative(raw, ("revision",), "")


def _new_revision(raw: JsonObject, minor: int) -> Faults:
    if raw.get("data") is None:
        yield required("data", "data is mandatory")
    elif not isinstance(raw["data"], dict):
        yield required("data", "data must be a valid JSON object")


def _fixed_revision(raw: JsonObject, before: JsonObject, minor: int) -> Faults:
    return unchanged("data", raw.get("data"), before.get("data"))


def _fixed_selector(raw: JsonObject, before: JsonObject, minor: int) -> Faults:
    return unchanged("spec.selector", part(raw, "spec").get("selector"), part(before, "spec").get("selector"))


_FIXED: Final = ("selector", "volumeClaimTemplates", "serviceName", "podManagementPolicy")


def _fixed_stateful_set(raw: JsonObject, before: JsonObject, minor: int) -> Faults:
    """Until 1.36 all in one message; until 1.32 the length of the history stayed, too."""
    new, old = part(raw, "spec"), part(before, "spec")
    fixed = _FIXED if minor >= 33 else (*_FIXED, "revisionHistoryLimit")
    changed = [name for name in fixed if not same(new.get(name), old.get(name))]
    if minor >= 37:
        yield from (invalid(f"spec.{name}", new.get(name), "field is immutable") for name in changed)
    elif changed:
        history = "'revisionHistoryLimit', " if minor >= 33 else ""
        yield forbidden(
            "spec",
            "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', "
            f"{history}'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden",
        )


RULES: Final = {
    "Deployment": Rules(valid=_deployment, fixed=_fixed_selector),
    "ReplicaSet": Rules(valid=_replica_set, fixed=_fixed_selector),
    "StatefulSet": Rules(valid=_stateful_set, new=_new_stateful_set, fixed=_fixed_stateful_set, named=label_name),
    "DaemonSet": Rules(valid=_daemon_set, fixed=_fixed_selector),
    "ReplicationController": Rules(valid=_replication_controller, checks_prefix=False),
    "PodTemplate": Rules(valid=_pod_template),
    "ControllerRevision": Rules(valid=_revision, new=_new_revision, fixed=_fixed_revision),
}
