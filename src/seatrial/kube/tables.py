"""How `kubectl get` shows objects: one row of cells per object, in upstream's columns for each kind.

The columns are upstream's printers (kubernetes/pkg/printers/internalversion); a kind without columns of its own shows
name and age. `priority` 1 columns appear with `-o wide` only. The current time is passed in, for ages.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple

from seatrial.kube.objects import JsonObject

_NONE = "<none>"


Cell = Callable[[JsonObject, datetime], Any]


class Column(NamedTuple):
    name: str
    cell: Cell
    type: str = "string"
    priority: int = 0
    format: str = ""
    description: str = ""


def table(
    kind: str,
    objects: Iterable[JsonObject],
    now: datetime,
    *,
    include: str = "Metadata",
    headers: bool = True,
    api_version: str = "meta.k8s.io/v1",
    columns: Sequence[Column] = (),
) -> JsonObject:
    """A `meta.k8s.io/v1` Table without list metadata; `include` is None, Metadata or Object; watches omit headers.

    `columns` are those of a custom resource."""
    columns = columns or _COLUMNS.get(kind, _DEFAULT)
    rows = []
    for raw in objects:
        row: JsonObject = {"cells": [column.cell(raw, now) for column in columns]}
        if include == "Object":
            row["object"] = raw
        elif include == "Metadata":
            row["object"] = {"kind": "PartialObjectMetadata", "apiVersion": api_version, "metadata": raw["metadata"]}
        rows.append(row)
    definitions = [
        {
            "name": column.name,
            "type": column.type,
            "format": "name" if column.name == "Name" else column.format,
            "description": column.description,
            "priority": column.priority,
        }
        for column in columns
    ]
    return {
        "kind": "Table",
        "apiVersion": api_version,
        "metadata": {},
        "columnDefinitions": definitions if headers else None,
        "rows": rows,
    }


def age(since: str | None, now: datetime) -> str:
    """Upstream's HumanDuration: at most two units, coarser as time passes."""
    moment = _moment(since)
    if moment is None:
        return "<unknown>"
    seconds = int((now - moment).total_seconds())
    if seconds < -1:
        return "<invalid>"
    seconds = max(seconds, 0)
    minutes, hours, days = seconds // 60, seconds // 3600, seconds // 86400
    if seconds < 120:
        return f"{seconds}s"
    if minutes < 10:
        return f"{minutes}m{seconds % 60}s" if seconds % 60 else f"{minutes}m"
    if hours < 3:
        return f"{minutes}m"
    if hours < 8:
        return f"{hours}h{minutes % 60}m" if minutes % 60 else f"{hours}h"
    if hours < 48:
        return f"{hours}h"
    if hours < 192:
        return f"{days}d{hours % 24}h" if hours % 24 else f"{days}d"
    if days < 365 * 2:
        return f"{days}d"
    if days < 365 * 8:
        return f"{days // 365}y{days % 365}d" if days % 365 else f"{days // 365}y"
    return f"{days // 365}y"


def _moment(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text.replace("Z", "+00:00")).astimezone(UTC) if text else None


def _at(path: str, default: Any = _NONE) -> Callable[[JsonObject, datetime], Any]:
    parts = path.split(".")

    def cell(raw: JsonObject, now: datetime) -> Any:
        value: Any = raw
        for part in parts:
            value = value.get(part) if isinstance(value, dict) else None
        return default if value in (None, "", {}, []) else value

    return cell


def _name(raw: JsonObject, now: datetime) -> str:
    return str(raw["metadata"].get("name", ""))


def _age(raw: JsonObject, now: datetime) -> str:
    return age(raw["metadata"].get("creationTimestamp"), now)


def _labels(labels: JsonObject | None) -> str:
    return ",".join(f"{key}={value}" for key, value in sorted((labels or {}).items())) or _NONE


def _selector(raw: JsonObject, now: datetime) -> str:
    selector = raw.get("spec", {}).get("selector") or {}
    if not selector.keys() & {"matchLabels", "matchExpressions"}:
        return _labels(selector)
    parts = [f"{key}={value}" for key, value in sorted((selector.get("matchLabels") or {}).items())]
    for item in selector.get("matchExpressions") or ():
        values = ",".join(sorted(item.get("values") or ()))
        words = {"In": f" in ({values})", "NotIn": f" notin ({values})"}
        prefix = "!" if item["operator"] == "DoesNotExist" else ""
        parts.append(prefix + item["key"] + words.get(item["operator"], ""))
    return ",".join(parts) or _NONE


def _containers(part: str) -> Callable[[JsonObject, datetime], str]:
    def cell(raw: JsonObject, now: datetime) -> str:
        spec = ((raw.get("spec") or {}).get("template") or {}).get("spec") or {}
        return ",".join(item.get(part, "") for item in spec.get("containers") or ()) or _NONE

    return cell


def _size(*parts: str) -> Callable[[JsonObject, datetime], int]:
    return lambda raw, now: sum(len(raw.get(part) or ()) for part in parts)


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
        if terminated is not None and not terminated.get("exitCode"):
            continue
        if item["name"] in sidecars and item.get("started"):
            continue
        if terminated is not None:
            reason = f"Init:{_ended(terminated)}"
        elif waiting.get("reason") not in (None, "", "PodInitializing"):
            reason = f"Init:{waiting['reason']}"
        else:
            reason = f"Init:{index}/{len(spec.get('initContainers') or ())}"
        initializing = True
        break
    if not initializing:
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
            reason = "Running" if _condition(raw, "Ready") == "True" else "NotReady"
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


def _condition(raw: JsonObject, kind: str) -> str:
    conditions = (raw.get("status") or {}).get("conditions") or ()
    return next((item["status"] for item in conditions if item["type"] == kind), "")


def _pod_restarts(raw: JsonObject, now: datetime) -> str:
    status = raw.get("status") or {}
    restarts, last = 0, ""
    for item in status.get("containerStatuses") or ():
        restarts += item.get("restartCount", 0)
        last = max(last, ((item.get("lastState") or {}).get("terminated") or {}).get("finishedAt") or "")
    return f"{restarts} ({age(last, now)} ago)" if restarts and last else str(restarts)


def _gates(raw: JsonObject, now: datetime) -> str:
    gates = (raw.get("spec") or {}).get("readinessGates") or ()
    met = sum(1 for gate in gates if _condition(raw, gate["conditionType"]) == "True")
    return f"{met}/{len(gates)}" if gates else _NONE


def _deployment_ready(raw: JsonObject, now: datetime) -> str:
    wanted = (raw.get("spec") or {}).get("replicas", 0)
    return f"{(raw.get('status') or {}).get('readyReplicas', 0)}/{wanted}"


def _external_address(raw: JsonObject, now: datetime) -> str:
    spec = raw.get("spec") or {}
    given = ",".join(spec.get("externalIPs") or ())
    match spec.get("type"):
        case "LoadBalancer":
            ingress = ((raw.get("status") or {}).get("loadBalancer") or {}).get("ingress") or ()
            found = ",".join(item.get("ip") or item.get("hostname", "") for item in ingress)
            return ",".join(filter(None, (found, given))) or "<pending>"
        case "ExternalName":
            return str(spec.get("externalName", _NONE))
    return given or _NONE


def _service_ports(raw: JsonObject, now: datetime) -> str:
    texts = []
    for port in (raw.get("spec") or {}).get("ports") or ():
        node_port = f":{port['nodePort']}" if port.get("nodePort") else ""
        texts.append(f"{port['port']}{node_port}/{port.get('protocol', 'TCP')}")
    return ",".join(texts) or _NONE


def _slice_ports(raw: JsonObject, now: datetime) -> str:
    ports = raw.get("ports")
    return _some([str(port.get("port", "*")) for port in ports]) if ports else "<unset>"


def _slice_endpoints(raw: JsonObject, now: datetime) -> str:
    addresses = [address for item in raw.get("endpoints") or () for address in item.get("addresses") or ()]
    return _some(addresses) if addresses else "<unset>"


def _some(texts: Sequence[str]) -> str:
    shown = ",".join(texts[:3])
    return f"{shown} + {len(texts) - 3} more..." if len(texts) > 3 else shown


def _node_status(raw: JsonObject, now: datetime) -> str:
    status = {"True": "Ready", "": "Unknown"}.get(_condition(raw, "Ready"), "NotReady")
    return status + (",SchedulingDisabled" if (raw.get("spec") or {}).get("unschedulable") else "")


def _node_roles(raw: JsonObject, now: datetime) -> str:
    prefix = "node-role.kubernetes.io/"
    labels = raw["metadata"].get("labels") or {}
    return ",".join(sorted(key.removeprefix(prefix) for key in labels if key.startswith(prefix))) or _NONE


def _node_address(kind: str) -> Callable[[JsonObject, datetime], str]:
    def cell(raw: JsonObject, now: datetime) -> str:
        addresses = (raw.get("status") or {}).get("addresses") or ()
        return next((item["address"] for item in addresses if item["type"] == kind), _NONE)

    return cell


_ACCESS_MODES: Final = {
    "ReadWriteOnce": "RWO",
    "ReadOnlyMany": "ROX",
    "ReadWriteMany": "RWX",
    "ReadWriteOncePod": "RWOP",
}


def _access_modes(path: str) -> Callable[[JsonObject, datetime], Any]:
    modes = _at(path, ())
    return lambda raw, now: ",".join(short for mode, short in _ACCESS_MODES.items() if mode in modes(raw, now))


def _phase(raw: JsonObject, now: datetime) -> Any:
    return "Terminating" if raw["metadata"].get("deletionTimestamp") else _at("status.phase", "")(raw, now)


def _claim(raw: JsonObject, now: datetime) -> str:
    claim = _at("spec.claimRef", {})(raw, now)
    return f"{claim.get('namespace', '')}/{claim.get('name', '')}" if claim else ""


def _storage_class(raw: JsonObject, now: datetime) -> Any:
    beta = _at("metadata.annotations", {})(raw, now).get("volume.beta.kubernetes.io/storage-class")
    return beta if beta is not None else _at("spec.storageClassName", "")(raw, now)


def _storage_class_name(raw: JsonObject, now: datetime) -> str:
    """Upstream marks the one default that counts; a single row cannot tell, so every default is marked."""
    annotations = _at("metadata.annotations", {})(raw, now)
    default = any(
        annotations.get(f"storageclass.{beta}kubernetes.io/is-default-class") == "true" for beta in ("", "beta.")
    )
    return f"{_name(raw, now)} (default)" if default else _name(raw, now)


def _served_versions(raw: JsonObject, now: datetime) -> str:
    versions = _at("spec.versions", ())(raw, now)
    return ",".join(sorted(f"{v['name']}{'(storage)' * bool(v.get('storage'))}" for v in versions if v.get("served")))


def _short_names(raw: JsonObject, now: datetime) -> str:
    return ",".join(_at("spec.names.shortNames", ())(raw, now))


def _established(raw: JsonObject, now: datetime) -> bool:
    return _condition(raw, "Established") == "True"


def _event_seen(raw: JsonObject, now: datetime) -> str:
    series = raw.get("series") or {}
    last = series.get("lastObservedTime") or raw.get("lastTimestamp") or raw.get("eventTime")
    return age(last or raw["metadata"].get("creationTimestamp"), now)


def _event_first(raw: JsonObject, now: datetime) -> str:
    return age(raw.get("firstTimestamp") or raw.get("eventTime") or raw["metadata"].get("creationTimestamp"), now)


def _event_object(raw: JsonObject, now: datetime) -> str:
    about = raw.get("involvedObject") or raw.get("regarding") or {}
    return f"{about.get('kind', '').lower()}/{about.get('name', '')}"


def _event_source(raw: JsonObject, now: datetime) -> str:
    source = raw.get("source") or {}
    component = source.get("component") or raw.get("reportingComponent", "")
    return ", ".join(filter(None, (component, source.get("host"))))


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


def _job_completions(raw: JsonObject, now: datetime) -> str:
    wanted = (raw.get("spec") or {}).get("completions", 1)
    return f"{(raw.get('status') or {}).get('succeeded', 0)}/{wanted}"


_NAME = Column("Name", _name)
_AGE = Column("Age", _age)
_DEFAULT = (_NAME, _AGE)
_TEMPLATE = (
    Column("Containers", _containers("name"), priority=1),
    Column("Images", _containers("image"), priority=1),
    Column("Selector", _selector, priority=1),
)


def _role(raw: JsonObject, now: datetime) -> str:
    reference = raw.get("roleRef") or {}
    return f"{reference.get('kind')}/{reference.get('name')}"


def _subjects(kind: str) -> Cell:
    def cell(raw: JsonObject, now: datetime) -> str:
        found = [each for each in raw.get("subjects") or () if each.get("kind") == kind]
        return ", ".join("/".join(filter(None, (each.get("namespace"), each.get("name")))) for each in found)

    return cell


def _request_condition(raw: JsonObject, now: datetime) -> str:
    status = raw.get("status") or {}
    kinds = {each.get("type") for each in status.get("conditions") or ()}
    text = "Denied" if "Denied" in kinds else "Approved" if "Approved" in kinds else "Pending"
    return text + (",Failed" if "Failed" in kinds else "") + (",Issued" if status.get("certificate") else "")


def _requested_duration(raw: JsonObject, now: datetime) -> str:
    seconds = (raw.get("spec") or {}).get("expirationSeconds")
    return _NONE if seconds is None else age((now - timedelta(seconds=seconds)).isoformat(), now)


_ROLE_COLUMNS: Final = (Column("Name", _name), Column("Created At", _at("metadata.creationTimestamp"), "date"))
_BINDING_COLUMNS: Final = (
    Column("Name", _name),
    Column("Role", _role),
    Column("Age", _age),
    Column("Users", _subjects("User"), priority=1),
    Column("Groups", _subjects("Group"), priority=1),
    Column("ServiceAccounts", _subjects("ServiceAccount"), priority=1),
)
_COLUMNS: dict[str, tuple[Column, ...]] = {
    "CertificateSigningRequest": (
        Column("Name", _name),
        Column("Age", _age),
        Column("SignerName", _at("spec.signerName")),
        Column("Requestor", _at("spec.username", "")),
        Column("RequestedDuration", _requested_duration),
        Column("Condition", _request_condition),
    ),
    "ClusterRole": _ROLE_COLUMNS,
    "ClusterRoleBinding": _BINDING_COLUMNS,
    "Role": _ROLE_COLUMNS,
    "RoleBinding": _BINDING_COLUMNS,
    "Pod": (
        _NAME,
        Column("Ready", _pod_ready),
        Column("Status", _pod_status),
        Column("Restarts", _pod_restarts),
        _AGE,
        Column("IP", _at("status.podIP"), priority=1),
        Column("Node", _at("spec.nodeName"), priority=1),
        Column("Nominated Node", _at("status.nominatedNodeName"), priority=1),
        Column("Readiness Gates", _gates, priority=1),
    ),
    "Deployment": (
        _NAME,
        Column("Ready", _deployment_ready),
        Column("Up-to-date", _at("status.updatedReplicas", 0), "integer"),
        Column("Available", _at("status.availableReplicas", 0), "integer"),
        _AGE,
        *_TEMPLATE,
    ),
    "StatefulSet": (_NAME, Column("Ready", _deployment_ready), _AGE, *_TEMPLATE[:2]),
    "ReplicaSet": (
        _NAME,
        Column("Desired", _at("spec.replicas", 0), "integer"),
        Column("Current", _at("status.replicas", 0), "integer"),
        Column("Ready", _at("status.readyReplicas", 0), "integer"),
        _AGE,
        *_TEMPLATE,
    ),
    "DaemonSet": (
        _NAME,
        Column("Desired", _at("status.desiredNumberScheduled", 0), "integer"),
        Column("Current", _at("status.currentNumberScheduled", 0), "integer"),
        Column("Ready", _at("status.numberReady", 0), "integer"),
        Column("Up-to-date", _at("status.updatedNumberScheduled", 0), "integer"),
        Column("Available", _at("status.numberAvailable", 0), "integer"),
        Column("Node Selector", lambda raw, now: _labels(_at("spec.template.spec.nodeSelector", {})(raw, now))),
        _AGE,
        *_TEMPLATE,
    ),
    "Job": (_NAME, Column("Completions", _job_completions), _AGE, *_TEMPLATE),
    "Service": (
        _NAME,
        Column("Type", _at("spec.type")),
        Column("Cluster-IP", _at("spec.clusterIP")),
        Column("External-IP", _external_address),
        Column("Port(s)", _service_ports),
        _AGE,
        Column("Selector", _selector, priority=1),
    ),
    "EndpointSlice": (
        _NAME,
        Column("AddressType", _at("addressType")),
        Column("Ports", _slice_ports),
        Column("Endpoints", _slice_endpoints),
        _AGE,
    ),
    "ConfigMap": (_NAME, Column("Data", _size("data", "binaryData")), _AGE),
    "Secret": (_NAME, Column("Type", _at("type")), Column("Data", _size("data"), "integer"), _AGE),
    "ServiceAccount": (_NAME, _AGE),
    "Namespace": (_NAME, Column("Status", _at("status.phase")), _AGE),
    "Node": (
        _NAME,
        Column("Status", _node_status),
        Column("Roles", _node_roles),
        _AGE,
        Column("Version", _at("status.nodeInfo.kubeletVersion", "")),
        Column("Internal-IP", _node_address("InternalIP"), priority=1),
        Column("External-IP", _node_address("ExternalIP"), priority=1),
        Column("OS-Image", _at("status.nodeInfo.osImage", "<unknown>"), priority=1),
        Column("Kernel-Version", _at("status.nodeInfo.kernelVersion", "<unknown>"), priority=1),
        Column("Container-Runtime", _at("status.nodeInfo.containerRuntimeVersion", "<unknown>"), priority=1),
    ),
    "Event": (
        Column("Last Seen", _event_seen),
        Column("Type", _at("type", "")),
        Column("Reason", _at("reason", "")),
        Column("Object", _event_object),
        Column("Subobject", _at("involvedObject.fieldPath", ""), priority=1),
        Column("Source", _event_source, priority=1),
        Column("Message", lambda raw, now: (raw.get("message") or raw.get("note") or "").strip()),
        Column("First Seen", _event_first, priority=1),
        Column("Count", _at("count", 1), priority=1),
        Column("Name", _name, priority=1),
    ),
    "PersistentVolume": (
        _NAME,
        Column("Capacity", _at("spec.capacity.storage", "0")),
        Column("Access Modes", _access_modes("spec.accessModes")),
        Column("Reclaim Policy", _at("spec.persistentVolumeReclaimPolicy", "")),
        Column("Status", _phase),
        Column("Claim", _claim),
        Column("StorageClass", _storage_class),
        Column("VolumeAttributesClass", _at("spec.volumeAttributesClassName", "<unset>")),
        Column("Reason", _at("status.reason", "")),
        _AGE,
        Column("VolumeMode", _at("spec.volumeMode", "<unset>"), priority=1),
    ),
    "PersistentVolumeClaim": (
        _NAME,
        Column("Status", _phase),
        Column("Volume", _at("spec.volumeName", "")),
        Column("Capacity", _at("status.capacity.storage", "")),
        Column("Access Modes", _access_modes("status.accessModes")),
        Column("StorageClass", _storage_class),
        Column("VolumeAttributesClass", _at("spec.volumeAttributesClassName", "<unset>")),
        _AGE,
        Column("VolumeMode", _at("spec.volumeMode", "<unset>"), priority=1),
    ),
    "StorageClass": (
        Column("Name", _storage_class_name),
        Column("Provisioner", _at("provisioner", "")),
        Column("ReclaimPolicy", _at("reclaimPolicy", "Delete")),
        Column("VolumeBindingMode", _at("volumeBindingMode", "Immediate")),
        Column("AllowVolumeExpansion", _at("allowVolumeExpansion", False)),
        _AGE,
    ),
    "CustomResourceDefinition": (
        _NAME,
        Column("Scope", _at("spec.scope", ""), description="Cluster/Namespaced"),
        Column("Versions", _served_versions, description="Served versions"),
        Column("Created At", _at("metadata.creationTimestamp", ""), "date"),
        Column("Group", _at("spec.group", ""), priority=1, description="API group"),
        Column("Kind", _at("spec.names.kind", ""), priority=1, description="CustomResource kind"),
        Column("ShortNames", _short_names, priority=1, description="Short names"),
        Column("Established", _established, "boolean", 1, description="Established status"),
    ),
    "Lease": (_NAME, Column("Holder", _at("spec.holderIdentity", "")), _AGE),
    "HorizontalPodAutoscaler": (
        _NAME,
        Column("Reference", _hpa_reference),
        Column("Targets", _hpa_targets),
        Column("MinPods", _at("spec.minReplicas", "<unset>")),
        Column("MaxPods", _at("spec.maxReplicas", 0)),
        Column("Replicas", _at("status.currentReplicas", 0)),
        _AGE,
    ),
    "PodDisruptionBudget": (
        _NAME,
        Column("Min Available", _at("spec.minAvailable", "N/A")),
        Column("Max Unavailable", _at("spec.maxUnavailable", "N/A")),
        Column("Allowed Disruptions", _at("status.disruptionsAllowed", 0), "integer"),
        _AGE,
    ),
    "NetworkPolicy": (
        _NAME,
        Column("Pod-Selector", lambda raw, now: _labels(_at("spec.podSelector.matchLabels", {})(raw, now))),
        _AGE,
    ),
}
