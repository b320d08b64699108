"""Resource quotas: what objects use, what a quota says is used, and whether one more fits.

`CONTROLLER` counts what is there; `charge` is what admission decides about one object, on the quotas' last counts. A
pod counts while it lives; as an object (`count/pods`) it counts while it is stored.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from msgspec.structs import replace

from seatrial.control import qos
from seatrial.control.controller import Controller, Decision, Read, Relation, Seen
from seatrial.control.garbage import ownership_only
from seatrial.control.kinds import OBJECTS, resource_of
from seatrial.control.scheduler.demand import demand
from seatrial.control.writes import UpdateStatus
from seatrial.kube.objects import (
    Container,
    Object,
    PersistentVolumeClaim,
    Pod,
    PodSpec,
    ResourceQuota,
    Service,
)
from seatrial.kube.objects.policy import ResourceQuotaStatus, ScopedResourceSelectorRequirement
from seatrial.kube.quantities import ZERO, Quantity
from seatrial.kube.times import after

Amounts = Mapping[str, Quantity]

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
    charged = []
    for quota in quotas:
        names = [name for name in quota.status.hard if _is_measured(obj, name)]
        if not names or not _in_scope(quota, obj):
            continue
        if isinstance(obj, Pod):
            _check_set(quota, obj, names)
        if any(name not in quota.status.used for name in names):
            listed = ",".join(sorted(names))
            raise QuotaError(f"status unknown for quota: {quota.metadata.name}, resources: {listed}")
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


def reconcile(seen: Seen) -> Decision:
    quota = seen.subject
    assert isinstance(quota, ResourceQuota)
    used = dict.fromkeys(quota.spec.hard, ZERO)
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
    if pod.status.phase in {"Succeeded", "Failed"}:
        return {}
    grace_s, since = meta.deletion_grace_period_seconds, meta.deletion_timestamp
    if since is not None and grace_s is not None and now > after(since, grace_s):
        return {}  # stuck: its node may be lost, and its owner must be able to replace it
    limits = _with_limits(pod.spec)
    return {"pods": ONE, **_compute(_sizes(pod.spec), _sizes(limits))}


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


def _sizes(spec: PodSpec) -> dict[str, Quantity]:
    sizes = demand(Pod(spec=spec)).requests
    return {name: _size(name, amount) for name, amount in sizes.items()}


def _size(name: str, amount: int) -> Quantity:
    if name == "cpu":
        return Quantity.parse(f"{amount}m")
    if name in ("memory", "ephemeral-storage") or name.startswith("hugepages-"):
        return Quantity.parse(f"{amount // 1024}Ki") if amount % 1024 == 0 else Quantity.parse(amount)
    return Quantity.parse(amount)


def _with_limits(spec: PodSpec) -> PodSpec:
    """The spec with limits in the place of requests, so that both are summed by one rule."""

    def limited(container: Container) -> Container:
        return replace(container, resources=replace(container.resources, requests=container.resources.limits))

    containers = tuple(limited(each) for each in spec.containers)
    init_containers = tuple(limited(each) for each in spec.init_containers)
    names = {name for each in (*containers, *init_containers) for name in each.resources.limits}
    return replace(
        spec,
        containers=containers,
        init_containers=init_containers,
        resources=replace(spec.resources, requests=spec.resources.limits),
        overhead={name: size for name, size in spec.overhead.items() if name in names},
    )


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
            return _selects(scope, obj.spec.priority_class_name)
        case "CrossNamespacePodAffinity":
            return _reaches_other_namespaces(obj.spec)
    return False


def _selects(scope: ScopedResourceSelectorRequirement, name: str) -> bool:
    match scope.operator:
        case "In":
            return bool(name) and name in scope.values
        case "NotIn":
            return name not in scope.values
        case "DoesNotExist":
            return not name
    return bool(name)


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

CONTROLLER: Final = Controller(
    name="resourcequota-controller",
    actor="ResourceQuota controller",
    subject=ResourceQuota,
    reads=tuple(Read(kind, Relation.NEIGHBOUR, view=None if kind in _MEASURED else ownership_only) for kind in OBJECTS),
    reconcile=reconcile,
)
