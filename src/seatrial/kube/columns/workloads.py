"""Columns of what runs pods, pods themselves, and what scales or guards them."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from seatrial.kube.columns import cells
from seatrial.kube.columns.cells import AGE, NAME, TEMPLATE, Column, age, at
from seatrial.kube.objects import JsonObject


def _pod_ready(raw: JsonObject, now: datetime) -> str:
    spec, status = raw.get("spec") or {}, raw.get("status") or {}
    sidecars = {item["name"] for item in spec.get("initContainers") or () if item.get("restartPolicy") == "Always"}
    total = len(spec.get("containers") or ()) + len(sidecars)
    ready = sum(1 for item in status.get("containerStatuses") or () if _runs_ready(item))
    ready += sum(
        1 for item in status.get("initContainerStatuses") or () if item["name"] in sidecars and _runs_ready(item)
    )
    return f"{ready}/{total}"


def _runs_ready(status: JsonObject) -> bool:
    return bool(status.get("ready") and (status.get("state") or {}).get("running") is not None)


def _pod_status(raw: JsonObject, now: datetime) -> str:
    spec, status = raw.get("spec") or {}, raw.get("status") or {}
    reason = status.get("reason") or status.get("phase", "")
    for condition in status.get("conditions") or ():
        if condition["type"] == "PodScheduled" and condition.get("reason") == "SchedulingGated":
            reason = "SchedulingGated"
    sidecars = {item["name"] for item in spec.get("initContainers") or () if item.get("restartPolicy") == "Always"}
    initializing = False
    for index, item in enumerate(status.get("initContainerStatuses") or ()):
        state = item.get("state") or {}
        terminated, waiting = state.get("terminated"), state.get("waiting") or {}
        if _is_past(item, sidecars):
            continue
        if terminated is not None:
            reason = f"Init:{_ended(terminated)}"
        elif waiting.get("reason") not in (None, "", "PodInitializing"):
            reason = f"Init:{waiting['reason']}"
        else:
            reason = f"Init:{index}/{len(spec.get('initContainers') or ())}"
        initializing = True
        break
    if not initializing or cells.condition(raw, "Initialized") == "True":
        running = False
        for item in reversed(status.get("containerStatuses") or ()):
            state = item.get("state") or {}
            if (state.get("waiting") or {}).get("reason"):
                reason = state["waiting"]["reason"]
            elif state.get("terminated") is not None:
                reason = _ended(state["terminated"])
            elif _runs_ready(item):
                running = True
        if reason == "Completed" and running:
            reason = "Running" if cells.condition(raw, "Ready") == "True" else "NotReady"
    if raw["metadata"].get("deletionTimestamp"):
        if status.get("reason") == "NodeLost":
            return "Unknown"
        if status.get("phase") not in ("Succeeded", "Failed"):
            return "Terminating"
    return str(reason)


def _ended(terminated: JsonObject) -> str:
    if terminated.get("reason"):
        return str(terminated["reason"])
    if terminated.get("signal"):
        return f"Signal:{terminated['signal']}"
    return f"ExitCode:{terminated.get('exitCode', 0)}"


def _is_past(status: JsonObject, sidecars: set[str]) -> bool:
    """The init container has ended well, or is a sidecar that has started."""
    terminated = (status.get("state") or {}).get("terminated")
    if terminated is not None and not terminated.get("exitCode"):
        return True
    return status["name"] in sidecars and bool(status.get("started"))


def _pod_restarts(raw: JsonObject, now: datetime) -> str:
    """Of init containers while the pod stands at one of them; then of sidecars and the others."""
    spec, status = raw.get("spec") or {}, raw.get("status") or {}
    inits, counted = status.get("initContainerStatuses") or (), list(status.get("containerStatuses") or ())
    sidecars = {item["name"] for item in spec.get("initContainers") or () if item.get("restartPolicy") == "Always"}
    stands_at = next((number for number, item in enumerate(inits) if not _is_past(item, sidecars)), None)
    if stands_at is None or cells.condition(raw, "Initialized") == "True":
        counted += [item for item in inits if item["name"] in sidecars]
    else:
        counted = list(inits[: stands_at + 1])
    restarts, last = 0, ""
    for item in counted:
        restarts += item.get("restartCount", 0)
        last = max(last, ((item.get("lastState") or {}).get("terminated") or {}).get("finishedAt") or "")
    return f"{restarts} ({age(last, now)} ago)" if restarts and last else str(restarts)


def _gates(raw: JsonObject, now: datetime) -> str:
    gates = (raw.get("spec") or {}).get("readinessGates") or ()
    met = sum(1 for gate in gates if cells.condition(raw, gate["conditionType"]) == "True")
    return f"{met}/{len(gates)}" if gates else cells.NONE


def _deployment_ready(raw: JsonObject, now: datetime) -> str:
    wanted = (raw.get("spec") or {}).get("replicas", 0)
    return f"{(raw.get('status') or {}).get('readyReplicas', 0)}/{wanted}"


def _hpa_reference(raw: JsonObject, now: datetime) -> str:
    target = (raw.get("spec") or {}).get("scaleTargetRef") or {}
    return f"{target.get('kind', '')}/{target.get('name', '')}"


def _hpa_targets(raw: JsonObject, now: datetime) -> str:
    specs = (raw.get("spec") or {}).get("metrics") or []
    statuses = (raw.get("status") or {}).get("currentMetrics") or []
    if not specs:
        return "<none>"
    shown = [_hpa_target(spec, statuses[place] if place < len(statuses) else {}) for place, spec in enumerate(specs)]
    more = f" + {len(shown) - 2} more..." if len(shown) > 2 else ""
    return ", ".join(shown[:2]) + more


def _hpa_target(spec: JsonObject, status: JsonObject) -> str:
    kind = spec.get("type", "")
    part = f"{kind[:1].lower()}{kind[1:]}"
    wanted, found = spec.get(part), status.get(part) or {}
    if part not in ("containerResource", "external", "object", "pods", "resource") or wanted is None:
        return "<unknown type>"
    target, current = wanted.get("target") or {}, found.get("current") or {}
    named = f"{wanted.get('name')}: " if part in ("containerResource", "resource") else ""
    if "averageValue" in target:
        shared = " (avg)" if part in ("external", "object") else ""
        return f"{named}{current.get('averageValue', '<unknown>')}/{target['averageValue']}{shared}"
    if named:
        now_percent = f"{current['averageUtilization']}%" if "averageUtilization" in current else "<unknown>"
        wanted_percent = f"{target['averageUtilization']}%" if "averageUtilization" in target else "<auto>"
        return f"{named}{now_percent}/{wanted_percent}"
    return f"{current.get('value', '<unknown>')}/{target.get('value')}"


def _job_status(raw: JsonObject, now: datetime) -> str:
    def is_true(kind: str) -> bool:
        return cells.condition(raw, kind) == "True"

    if is_true("Complete"):
        return "Complete"
    if is_true("Failed"):
        return "Failed"
    if raw["metadata"].get("deletionTimestamp"):
        return "Terminating"
    return next(filter(is_true, ("Suspended", "FailureTarget", "SuccessCriteriaMet")), "Running")


def _job_completions(raw: JsonObject, now: datetime) -> str:
    spec, succeeded = raw.get("spec") or {}, (raw.get("status") or {}).get("succeeded", 0)
    if spec.get("completions") is not None:
        return f"{succeeded}/{spec['completions']}"
    parallelism = spec.get("parallelism") or 0
    return f"{succeeded}/1 of {parallelism}" if parallelism > 1 else f"{succeeded}/1"


def _job_duration(raw: JsonObject, now: datetime) -> str:
    status = raw.get("status") or {}
    if not status.get("startTime"):
        return ""
    ended = cells.moment(status.get("completionTime"))
    return age(status["startTime"], ended or now)


def _suspended(raw: JsonObject, now: datetime) -> str:
    suspend = (raw.get("spec") or {}).get("suspend")
    return cells.UNSET if suspend is None else str(suspend)


def _last_schedule(raw: JsonObject, now: datetime) -> str:
    last = (raw.get("status") or {}).get("lastScheduleTime")
    return age(last, now) if last else cells.NONE


def _controller(raw: JsonObject, now: datetime) -> str:
    owners = raw["metadata"].get("ownerReferences") or ()
    owner = next((each for each in owners if each.get("controller")), None)
    if owner is None:
        return cells.NONE
    group = owner["apiVersion"].rpartition("/")[0]
    return f"{owner['kind']}{'.' if group else ''}{group}".lower() + f"/{owner['name']}"


COLUMNS: Final[dict[str, tuple[Column, ...]]] = {
    "Pod": (
        NAME,
        Column("Ready", _pod_ready),
        Column("Status", _pod_status),
        Column("Restarts", _pod_restarts),
        AGE,
        Column("IP", at("status.podIP"), priority=1),
        Column("Node", at("spec.nodeName"), priority=1),
        Column("Nominated Node", at("status.nominatedNodeName"), priority=1),
        Column("Readiness Gates", _gates, priority=1),
    ),
    "Deployment": (
        NAME,
        Column("Ready", _deployment_ready),
        Column("Up-to-date", at("status.updatedReplicas", 0), "integer"),
        Column("Available", at("status.availableReplicas", 0), "integer"),
        AGE,
        *TEMPLATE,
    ),
    "StatefulSet": (NAME, Column("Ready", _deployment_ready), AGE, *TEMPLATE[:2]),
    "ReplicaSet": (
        NAME,
        Column("Desired", at("spec.replicas", 0), "integer"),
        Column("Current", at("status.replicas", 0), "integer"),
        Column("Ready", at("status.readyReplicas", 0), "integer"),
        AGE,
        *TEMPLATE,
    ),
    "DaemonSet": (
        NAME,
        Column("Desired", at("status.desiredNumberScheduled", 0), "integer"),
        Column("Current", at("status.currentNumberScheduled", 0), "integer"),
        Column("Ready", at("status.numberReady", 0), "integer"),
        Column("Up-to-date", at("status.updatedNumberScheduled", 0), "integer"),
        Column("Available", at("status.numberAvailable", 0), "integer"),
        Column("Node Selector", lambda raw, now: cells.labels(at("spec.template.spec.nodeSelector", {})(raw, now))),
        AGE,
        *TEMPLATE,
    ),
    "HorizontalPodAutoscaler": (
        NAME,
        Column("Reference", _hpa_reference),
        Column("Targets", _hpa_targets),
        Column("MinPods", at("spec.minReplicas", "<unset>")),
        Column("MaxPods", at("spec.maxReplicas", 0)),
        Column("Replicas", at("status.currentReplicas", 0)),
        AGE,
    ),
    "PodDisruptionBudget": (
        NAME,
        Column("Min Available", at("spec.minAvailable", "N/A")),
        Column("Max Unavailable", at("spec.maxUnavailable", "N/A")),
        Column("Allowed Disruptions", at("status.disruptionsAllowed", 0), "integer"),
        AGE,
    ),
    "ReplicationController": (
        NAME,
        Column("Desired", at("spec.replicas", 0), "integer"),
        Column("Current", at("status.replicas", 0), "integer"),
        Column("Ready", at("status.readyReplicas", 0), "integer"),
        AGE,
        *TEMPLATE,
    ),
    "Job": (
        NAME,
        Column("Status", _job_status),
        Column("Completions", _job_completions),
        Column("Duration", _job_duration),
        AGE,
        *TEMPLATE,
    ),
    "CronJob": (
        NAME,
        Column("Schedule", at("spec.schedule", "")),
        Column("Timezone", at("spec.timeZone")),
        Column("Suspend", _suspended, "boolean"),
        Column("Active", cells.size("status.active"), "integer"),
        Column("Last Schedule", _last_schedule),
        AGE,
        *cells.template("spec.jobTemplate.spec"),
    ),
    "ControllerRevision": (
        NAME,
        Column("Controller", _controller),
        Column("Revision", at("revision", 0)),
        AGE,
    ),
    "PodTemplate": (
        NAME,
        Column("Containers", cells.containers("name", "template.spec.containers")),
        Column("Images", cells.containers("image", "template.spec.containers")),
        Column("Pod Labels", lambda raw, now: cells.labels(at("template.metadata.labels", {})(raw, now))),
    ),
    "PriorityClass": (
        NAME,
        Column("Value", at("value", 0), "integer"),
        Column("Global-Default", at("globalDefault", False), "boolean"),
        AGE,
        Column("PreemptionPolicy", at("preemptionPolicy", "")),
    ),
}
