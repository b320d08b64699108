"""Resource quotas: what objects use, what a quota says is used, and whether one more fits.

`CONTROLLER` counts what is there; `charge` is what admission decides about one object, on the quotas' last counts. A
pod counts while it lives; as an object (`count/pods`) it counts while it is stored.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import Final

from msgspec.structs import replace

from seatrial.control import qos
from seatrial.control.controller import Controller, Decision, Read, Relation, Seen
from seatrial.control.garbage import ownership_only
from seatrial.control.kinds import OBJECTS, resource_of, served
from seatrial.control.podsizes import total
from seatrial.control.volumes.protection import attributes_classes
from seatrial.control.writes import UpdateStatus
from seatrial.kube.objects import (
    KINDS,
    ContainerStatus,
    CustomResource,
    CustomResourceDefinition,
    Object,
    ObjectMeta,
    PersistentVolumeClaim,
    Pod,
    PodSpec,
    PodStatus,
    ResourceQuota,
    Service,
)
from seatrial.kube.objects.policy import ResourceQuotaSpec, ResourceQuotaStatus, ScopedResourceSelectorRequirement
from seatrial.kube.objects.services import ServiceSpec
from seatrial.kube.quantities import ZERO, Quantity
from seatrial.kube.times import after

Amounts = Mapping[str, Quantity]

_ENDED: Final = ("Succeeded", "Failed")
ONE: Final = Quantity.parse("1")
RESYNC: Final = timedelta(minutes=5)
_COMPUTE: Final = ("cpu", "memory", "ephemeral-storage")
_MUST_BE_SET: Final = frozenset({"cpu", "memory", "requests.cpu", "requests.memory", "limits.cpu", "limits.memory"})
_ALIASES: Final = {"ConfigMap", "ResourceQuota", "ReplicationController", "Secret"}
_OF_A_CLASS: Final = ".storageclass.storage.k8s.io/"
_CLASS_ANNOTATION: Final = "volume.beta.kubernetes.io/storage-class"


class QuotaError(Exception):
    """A quota forbids the object; the text is the API's, after "is forbidden: "."""


@dataclass(frozen=True, slots=True)
class Charged:
    """The quota before, and with the object counted."""

    before: ResourceQuota
    after: ResourceQuota


def usage(obj: Object, now: datetime) -> dict[str, Quantity]:
    """All that `obj` uses, by the names quotas have for it."""
    resource = resource_of(obj)
    used = {f"count/{resource}": ONE}
    match obj:
        case Pod():
            used.update(_pod_usage(obj, now))
        case Service():
            used.update(_service_usage(obj))
        case PersistentVolumeClaim():
            used.update(_claim_usage(obj))
        case _ if obj.kind in _ALIASES:
            used[resource] = ONE
    return used


def charge(quotas: Sequence[ResourceQuota], obj: Object, before: Object | None, now: datetime) -> tuple[Charged, ...]:
    """The quotas that `obj`, created or changed from `before`, is counted on. Raises `QuotaError`."""
    asked = usage(obj, now)
    if isinstance(obj, Pod) and isinstance(before, Pod) and not _is_charged_anew(obj, before):
        return ()
    concerned: list[tuple[ResourceQuota, list[str]]] = []
    for quota in quotas:
        names = [name for name in quota.status.hard if _is_measured(obj, name)]
        if not names or not _in_scope(quota, obj):
            continue
        if isinstance(obj, Pod):
            _check_set(quota, obj, names)
        if any(name not in quota.status.used for name in names):
            listed = ",".join(sorted(names))
            raise QuotaError(f"status unknown for quota: {quota.metadata.name}, resources: {listed}")
        concerned.append((quota, names))
    charged = []
    for quota, names in concerned:
        more = asked
        if before is not None and _in_scope(quota, before):
            old = usage(before, now)
            more = {name: max(ZERO, size - old.get(name, ZERO)) for name, size in asked.items()}
        wanted = {name: more[name] for name in names if more.get(name, ZERO)}
        if not wanted:
            continue
        total = {name: quota.status.used[name] + size for name, size in wanted.items()}
        beyond = sorted(name for name, size in total.items() if size > quota.status.hard[name])
        if beyond:
            raise QuotaError(
                f"exceeded quota: {quota.metadata.name}, requested: {_listed(wanted, beyond)}, "
                f"used: {_listed(quota.status.used, beyond)}, limited: {_listed(quota.status.hard, beyond)}"
            )
        status = replace(quota.status, used={**quota.status.used, **total})
        charged.append(Charged(quota, replace(quota, status=status)))
    return tuple(charged)


def _is_charged_anew(pod: Pod, before: Pod) -> bool:
    """A changed pod is charged when it is resized, or comes under other scopes by getting a deadline."""
    deadlines = [each.spec.active_deadline_seconds is None for each in (pod, before)]
    sizes = [[each.resources for each in (*of.spec.containers, *of.spec.init_containers)] for of in (pod, before)]
    return deadlines[0] != deadlines[1] or sizes[0] != sizes[1] or pod.spec.resources != before.spec.resources


def reconcile(seen: Seen) -> Decision:
    quota = seen.subject
    assert isinstance(quota, ResourceQuota)
    used = {name: quota.status.used.get(name, ZERO) for name in quota.spec.hard if name in quota.status.used}
    custom = frozenset(served(seen.all(CustomResourceDefinition)).values())
    used |= {name: ZERO for name in quota.spec.hard if _is_measurable(name, custom)}
    for kind in OBJECTS:
        for obj in seen.all(kind):
            if _in_scope(quota, obj):
                for name, size in usage(obj, seen.now).items():
                    if name in used:
                        used[name] = used[name] + size
    status = ResourceQuotaStatus(hard=quota.spec.hard, used=used)
    wake_at = seen.now + RESYNC
    if status == quota.status:
        return Decision(wake_at=wake_at)
    return Decision((UpdateStatus(quota, replace(quota, status=status)),), wake_at)


def _pod_usage(pod: Pod, now: datetime) -> dict[str, Quantity]:
    meta = pod.metadata
    if pod.status.phase in _ENDED:
        return {}
    grace_s, since = meta.deletion_grace_period_seconds, meta.deletion_timestamp
    if since is not None and grace_s is not None and now > after(since, grace_s):
        return {}  # stuck: its node may be lost, and its owner must be able to replace it
    return {"pods": ONE, **_compute(total(pod.spec, "requests"), total(pod.spec, "limits"))}


def _compute(requests: Amounts, limits: Amounts) -> dict[str, Quantity]:
    used: dict[str, Quantity] = {}
    for name, size in requests.items():
        if name in _COMPUTE or name.startswith("hugepages-"):
            used[name] = used[f"requests.{name}"] = size
        elif "/" in name:
            used[f"requests.{name}"] = size
    for name in _COMPUTE:
        if name in limits:
            used[f"limits.{name}"] = limits[name]
    return used


def _service_usage(service: Service) -> dict[str, Quantity]:
    spec = service.spec
    node_ports = 0
    if spec.type == "NodePort" or (spec.type == "LoadBalancer" and spec.allocate_load_balancer_node_ports is not False):
        node_ports = len(spec.ports)
    elif spec.type == "LoadBalancer":
        node_ports = sum(port.node_port != 0 for port in spec.ports)
    balancers = ONE if spec.type == "LoadBalancer" else ZERO
    return {"services": ONE, "services.nodeports": Quantity.parse(node_ports), "services.loadbalancers": balancers}


def _claim_usage(claim: PersistentVolumeClaim) -> dict[str, Quantity]:
    asked = claim.spec.resources.requests.get("storage")
    allocated = claim.status.allocated_resources.get("storage")
    used = {"persistentvolumeclaims": ONE}
    if asked is not None:
        used["requests.storage"] = asked if allocated is None else max(asked, allocated)
    storage_class = claim.metadata.annotations.get(_CLASS_ANNOTATION) or claim.spec.storage_class_name
    if storage_class:
        used.update({f"{storage_class}{_OF_A_CLASS}{name}": size for name, size in tuple(used.items())})
    return used


def _is_measured(obj: Object, name: str) -> bool:
    """Whether a quota's `name` is about objects of this kind."""
    if name == f"count/{resource_of(obj)}":
        return True
    match obj:
        case Pod():
            plain = name.removeprefix("requests.").removeprefix("limits.")
            return (
                name == "pods"
                or plain in _COMPUTE
                or plain.startswith("hugepages-")
                or (name.startswith("requests.") and "/" in name)
            )
        case Service():
            return name in {"services", "services.nodeports", "services.loadbalancers"}
        case PersistentVolumeClaim():
            return name.rpartition(_OF_A_CLASS)[2] in {"persistentvolumeclaims", "requests.storage"}
    return obj.kind in _ALIASES and name == resource_of(obj)


def _is_measurable(name: str, custom: frozenset[str]) -> bool:
    """Whether any kind that is served uses some of it; `custom` are the resources that definitions add."""
    if name.startswith("count/"):
        return name.removeprefix("count/") in _resources() | custom
    if any(_is_measured(each, name) for each in (Pod(), Service(), PersistentVolumeClaim())):
        return True
    return name in {resource_of(kind()) for kind in KINDS.values() if kind.kind in _ALIASES}


@cache
def _resources() -> frozenset[str]:
    return frozenset(resource_of(kind()) for kind in OBJECTS if kind is not CustomResource)


def _check_set(quota: ResourceQuota, pod: Pod, names: Iterable[str]) -> None:
    """A quota of cpu or memory wants both said by every container (or by the pod)."""
    if pod.spec.resources.requests or pod.spec.resources.limits:
        return
    required = _MUST_BE_SET.intersection(names)
    missing: dict[str, set[str]] = {}
    for container in (*pod.spec.containers, *pod.spec.init_containers):
        said = _compute(container.resources.requests, container.resources.limits)
        for name in required.difference(said):
            missing.setdefault(name, set()).add(container.name)
    if missing:
        listed = "; ".join(f"{name} for: {','.join(sorted(missing[name]))}" for name in sorted(missing))
        raise QuotaError(f"failed quota: {quota.metadata.name}: must specify {listed}")


def _in_scope(quota: ResourceQuota, obj: Object) -> bool:
    scopes = [ScopedResourceSelectorRequirement(scope_name=name, operator="Exists") for name in quota.spec.scopes]
    if quota.spec.scope_selector is not None:
        scopes += quota.spec.scope_selector.match_expressions
    return all(_matches(scope, obj) for scope in scopes)


def _matches(scope: ScopedResourceSelectorRequirement, obj: Object) -> bool:
    if isinstance(obj, PersistentVolumeClaim) and scope.scope_name == "VolumeAttributesClass":
        return _selects_one(scope, set(attributes_classes(obj)))
    if not isinstance(obj, Pod):
        return False
    match scope.scope_name:
        case "Terminating":
            return obj.spec.active_deadline_seconds is not None
        case "NotTerminating":
            return obj.spec.active_deadline_seconds is None
        case "BestEffort":
            return qos.of(obj) == qos.BEST_EFFORT
        case "NotBestEffort":
            return qos.of(obj) != qos.BEST_EFFORT
        case "PriorityClass":
            return _selects_one(scope, {obj.spec.priority_class_name} - {""})
        case "CrossNamespacePodAffinity":
            return _reaches_other_namespaces(obj.spec)
    return False


def _selects_one(scope: ScopedResourceSelectorRequirement, names: set[str]) -> bool:
    """Whether one of the classes, or that there is none, is what the scope asks for."""
    match scope.operator:
        case "In":
            return not names.isdisjoint(scope.values)
        case "NotIn":
            return not names or bool(names.difference(scope.values))
        case "DoesNotExist":
            return not names
    return bool(names)


def _reaches_other_namespaces(spec: PodSpec) -> bool:
    affinity = spec.affinity
    if affinity is None:
        return False
    for side in (affinity.pod_affinity, affinity.pod_anti_affinity):
        if side is None:
            continue
        preferred = (each.pod_affinity_term for each in side.preferred_during_scheduling_ignored_during_execution)
        for term in (*side.required_during_scheduling_ignored_during_execution, *preferred):
            if term is not None and (term.namespaces or term.namespace_selector is not None):
                return True
    return False


def _listed(sizes: Amounts, names: Iterable[str]) -> str:
    return ",".join(f"{name}={sizes[name]}" for name in names)


_MEASURED: Final = (Pod, Service, PersistentVolumeClaim)


def _pod_news(pod: Object) -> Object:
    """When a pod stops counting, gets a deadline or is resized."""
    assert isinstance(pod, Pod)
    meta, status = pod.metadata, pod.status
    sizes = tuple(
        replace(ContainerStatus(name=each.name), resources=each.resources) for each in status.container_statuses
    )
    return Pod(
        metadata=ObjectMeta(name=meta.name, namespace=meta.namespace, uid=meta.uid),
        spec=PodSpec(active_deadline_seconds=0 if pod.spec.active_deadline_seconds is not None else None),
        status=PodStatus(phase="Failed" if status.phase in _ENDED else "", container_statuses=sizes),
    )


def _service_news(service: Object) -> Object:
    assert isinstance(service, Service)
    meta = ObjectMeta(name=service.metadata.name, namespace=service.metadata.namespace, uid=service.metadata.uid)
    kind = service.spec.type if service.spec.type in ("NodePort", "LoadBalancer") else ""
    return Service(metadata=meta, spec=ServiceSpec(type=kind))


def _identity(obj: Object) -> Object:
    meta = obj.metadata
    return type(obj)(metadata=ObjectMeta(name=meta.name, namespace=meta.namespace, uid=meta.uid))


def _hard_only(quota: Object) -> Object:
    assert isinstance(quota, ResourceQuota)
    meta = ObjectMeta(name=quota.metadata.name, namespace=quota.metadata.namespace, uid=quota.metadata.uid)
    return ResourceQuota(metadata=meta, spec=ResourceQuotaSpec(hard=quota.spec.hard))


def _notices(seen: Seen, before: Object | None, now: Object | None) -> bool:
    """Upstream looks at a quota again when something changes that it measures, not at others in the namespace."""
    quota, changed = seen.subject, now or before
    assert isinstance(quota, ResourceQuota)
    return changed is not None and any(_is_measured(changed, name) for name in quota.status.hard)


_NEWS: Final[Mapping[type[Object], Callable[[Object], Object] | None]] = {
    Pod: _pod_news,
    Service: _service_news,
    PersistentVolumeClaim: None,
}
"""Admission has counted what is new already; only what may free something is looked at again."""

CONTROLLER: Final = Controller(
    name="resourcequota-controller",
    actor="ResourceQuota controller",
    subject=ResourceQuota,
    reads=(
        *(
            Read(kind, Relation.NEIGHBOUR, view=None if kind in _MEASURED else ownership_only, wakes=False)
            for kind in OBJECTS
        ),
        *(
            Read(kind, Relation.NEIGHBOUR, view=_NEWS.get(kind, _identity), appears=False, notices=_notices)
            for kind in OBJECTS
        ),
        Read(CustomResourceDefinition, Relation.ALL),
    ),
    reconcile=reconcile,
    view=_hard_only,
)
