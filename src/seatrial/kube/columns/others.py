"""Columns of nodes, events, configuration, access and the rest."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from seatrial.kube.columns import cells
from seatrial.kube.columns.cells import AGE, CREATED, NAME, Cell, Column, age, at
from seatrial.kube.objects import JsonObject


def _node_status(raw: JsonObject, now: datetime) -> str:
    status = {"True": "Ready", "": "Unknown"}.get(cells.condition(raw, "Ready"), "NotReady")
    return status + (",SchedulingDisabled" if (raw.get("spec") or {}).get("unschedulable") else "")


def _node_roles(raw: JsonObject, now: datetime) -> str:
    prefix = "node-role.kubernetes.io/"
    labels = raw["metadata"].get("labels") or {}
    return ",".join(sorted(key.removeprefix(prefix) for key in labels if key.startswith(prefix))) or cells.NONE


def _node_address(kind: str) -> Cell:
    def cell(raw: JsonObject, now: datetime) -> str:
        addresses = (raw.get("status") or {}).get("addresses") or ()
        return next((item["address"] for item in addresses if item["type"] == kind), cells.NONE)

    return cell


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


def _quota(limits: bool) -> Cell:
    """Used and hard of each resource; limits have a column of their own."""

    def cell(raw: JsonObject, now: datetime) -> str:
        status = raw.get("status") or {}
        hard, used = status.get("hard") or {}, status.get("used") or {}
        chosen = (each for each in sorted(hard) if each.startswith("limits.") == limits)
        return ", ".join(f"{each}: {used.get(each, '0')}/{hard[each]}" for each in chosen)

    return cell


def _role(raw: JsonObject, now: datetime) -> str:
    role = raw.get("roleRef") or {}
    return f"{role.get('kind', '')}/{role.get('name', '')}"


def _subjects(kind: str) -> Cell:
    def cell(raw: JsonObject, now: datetime) -> str:
        found = [each for each in raw.get("subjects") or () if each.get("kind") == kind]
        if kind == "ServiceAccount":
            return ", ".join(f"{each.get('namespace', '')}/{each['name']}" for each in found)
        return ", ".join(each["name"] for each in found)

    return cell


_BINDING: Final = (
    NAME,
    Column("Role", _role),
    AGE,
    Column("Users", _subjects("User"), priority=1),
    Column("Groups", _subjects("Group"), priority=1),
    Column("ServiceAccounts", _subjects("ServiceAccount"), priority=1),
)


def _request_state(raw: JsonObject, now: datetime) -> str:
    status = raw.get("status") or {}
    kinds = {each.get("type") for each in status.get("conditions") or ()}
    state = "Denied" if "Denied" in kinds else "Approved" if "Approved" in kinds else "Pending"
    return state + (",Failed" if "Failed" in kinds else "") + (",Issued" if status.get("certificate") else "")


def _requested_duration(raw: JsonObject, now: datetime) -> str:
    seconds = (raw.get("spec") or {}).get("expirationSeconds")
    return cells.NONE if seconds is None else age(now.isoformat(), now + timedelta(seconds=seconds))


def _param_kind(raw: JsonObject, now: datetime) -> str:
    kind = (raw.get("spec") or {}).get("paramKind")
    return f"{kind.get('apiVersion', '')}/{kind.get('kind', '')}" if kind else cells.UNSET


def _param_ref(raw: JsonObject, now: datetime) -> str:
    """Without a name it is a selector; where a parameter without a namespace lives cannot be told from here."""
    ref = (raw.get("spec") or {}).get("paramRef") or {}
    if ref.get("name"):
        return f"{ref.get('namespace') or '*'}/{ref['name']}"
    return cells.selector("spec.paramRef.selector")(raw, now) if ref.get("selector") is not None else cells.UNSET


_POLICY_BINDING: Final = (
    NAME,
    Column("PolicyName", at("spec.policyName", "")),
    Column("ParamRef", _param_ref),
    AGE,
)
_WEBHOOKS: Final = (NAME, Column("Webhooks", cells.size("webhooks"), "integer"), AGE)


def _dangling(raw: JsonObject, now: datetime) -> str:
    return cells.condition(raw, "Dangling") or "?"


def _claim_state(raw: JsonObject, now: datetime) -> str:
    status, is_going = raw.get("status") or {}, bool(raw["metadata"].get("deletionTimestamp"))
    states = ["deleted"] if is_going else []
    if status.get("allocation") is not None:
        states += ["allocated", *(["reserved"] if status.get("reservedFor") else [])]
    elif not is_going:
        states.append("pending")
    return ",".join(states)


def _served_versions(raw: JsonObject, now: datetime) -> str:
    versions = (raw.get("spec") or {}).get("versions") or ()
    return ",".join(sorted(f"{v['name']}{'(storage)' * bool(v.get('storage'))}" for v in versions if v.get("served")))


def _short_names(raw: JsonObject, now: datetime) -> str:
    return ",".join(at("spec.names.shortNames", ())(raw, now))


def _established(raw: JsonObject, now: datetime) -> bool:
    return cells.condition(raw, "Established") == "True"


COLUMNS: Final[dict[str, tuple[Column, ...]]] = {
    "Node": (
        NAME,
        Column("Status", _node_status),
        Column("Roles", _node_roles),
        AGE,
        Column("Version", at("status.nodeInfo.kubeletVersion", "")),
        Column("Internal-IP", _node_address("InternalIP"), priority=1),
        Column("External-IP", _node_address("ExternalIP"), priority=1),
        Column("OS-Image", at("status.nodeInfo.osImage", "<unknown>"), priority=1),
        Column("Kernel-Version", at("status.nodeInfo.kernelVersion", "<unknown>"), priority=1),
        Column("Container-Runtime", at("status.nodeInfo.containerRuntimeVersion", "<unknown>"), priority=1),
    ),
    "Event": (
        Column("Last Seen", _event_seen),
        Column("Type", at("type", "")),
        Column("Reason", at("reason", "")),
        Column("Object", _event_object),
        Column("Subobject", at("involvedObject.fieldPath", ""), priority=1),
        Column("Source", _event_source, priority=1),
        Column("Message", lambda raw, now: (raw.get("message") or raw.get("note") or "").strip()),
        Column("First Seen", _event_first, priority=1),
        Column("Count", at("count", 1), priority=1),
        Column("Name", cells.name, priority=1),
    ),
    "Namespace": (NAME, Column("Status", at("status.phase")), AGE),
    "ConfigMap": (NAME, Column("Data", cells.size("data", "binaryData")), AGE),
    "Secret": (NAME, Column("Type", at("type")), Column("Data", cells.size("data"), "integer"), AGE),
    "ServiceAccount": (NAME, AGE),
    "Lease": (NAME, Column("Holder", at("spec.holderIdentity", "")), AGE),
    "ResourceQuota": (
        NAME,
        Column("Request", _quota(limits=False)),
        Column("Limit", _quota(limits=True)),
        AGE,
    ),
    "RoleBinding": _BINDING,
    "ClusterRoleBinding": _BINDING,
    "CertificateSigningRequest": (
        NAME,
        AGE,
        Column("SignerName", at("spec.signerName")),
        Column("Requestor", at("spec.username", "")),
        Column("RequestedDuration", _requested_duration),
        Column("Condition", _request_state),
    ),
    "ClusterTrustBundle": (NAME, Column("SignerName", at("spec.signerName"))),
    "RuntimeClass": (NAME, Column("Handler", at("handler", "")), AGE),
    "MutatingWebhookConfiguration": _WEBHOOKS,
    "ValidatingWebhookConfiguration": _WEBHOOKS,
    "ValidatingAdmissionPolicy": (
        NAME,
        Column("Validations", cells.size("spec.validations"), "integer"),
        Column("ParamKind", _param_kind),
        AGE,
    ),
    "MutatingAdmissionPolicy": (
        NAME,
        Column("Mutations", cells.size("spec.mutations"), "integer"),
        Column("ParamKind", _param_kind),
        AGE,
    ),
    "ValidatingAdmissionPolicyBinding": _POLICY_BINDING,
    "MutatingAdmissionPolicyBinding": _POLICY_BINDING,
    "FlowSchema": (
        NAME,
        Column("PriorityLevel", at("spec.priorityLevelConfiguration.name", "")),
        Column("MatchingPrecedence", at("spec.matchingPrecedence", 0)),
        Column("DistinguisherMethod", at("spec.distinguisherMethod.type")),
        AGE,
        Column("MissingPL", _dangling),
    ),
    "PriorityLevelConfiguration": (
        NAME,
        Column("Type", at("spec.type", "")),
        Column("NominalConcurrencyShares", at("spec.limited.nominalConcurrencyShares")),
        Column("Queues", at("spec.limited.limitResponse.queuing.queues")),
        Column("HandSize", at("spec.limited.limitResponse.queuing.handSize")),
        Column("QueueLengthLimit", at("spec.limited.limitResponse.queuing.queueLengthLimit")),
        AGE,
    ),
    "DeviceClass": (NAME, AGE),
    "ResourceClaim": (NAME, Column("State", _claim_state), AGE),
    "ResourceClaimTemplate": (NAME, AGE),
    "ResourceSlice": (
        NAME,
        Column("Node", at("spec.nodeName", "")),
        Column("Driver", at("spec.driver", "")),
        Column("Pool", at("spec.pool.name", "")),
        AGE,
    ),
    "CustomResourceDefinition": (
        NAME,
        Column("Scope", at("spec.scope", ""), description="Cluster/Namespaced"),
        Column("Versions", _served_versions, description="Served versions"),
        CREATED,
        Column("Group", at("spec.group", ""), priority=1, description="API group"),
        Column("Kind", at("spec.names.kind", ""), priority=1, description="CustomResource kind"),
        Column("ShortNames", _short_names, priority=1, description="Short names"),
        Column("Established", _established, "boolean", 1, description="Established status"),
    ),
}
