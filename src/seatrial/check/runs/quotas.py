"""What a namespace's quotas and limit ranges make of the system's objects: who is charged, who is refused.

Rules: charging is `control.quota`'s, sizes that pods are given are `control.limitranges`'s; nothing is there before the
objects of the files.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from seatrial.check import machines
from seatrial.check.model.pool import NOW
from seatrial.check.system import System
from seatrial.control import limitranges, quota, relations
from seatrial.control.writes import UpdateStatus
from seatrial.kube.objects import (
    LimitRange,
    Object,
    PersistentVolumeClaim,
    Pod,
    ResourceQuota,
    StatefulSet,
    parse_as,
    to_wire,
)


def counting(before: ResourceQuota, pods: Sequence[Pod]) -> ResourceQuota:
    """The quota as its controller has left it once these pods were there."""
    named = msgspec.structs.replace(before, metadata=msgspec.structs.replace(before.metadata, uid=before.metadata.name))
    seen = relations.observe(quota.CONTROLLER, named, {Pod: pods}, NOW)
    told = [write.after for write in quota.CONTROLLER.reconcile(seen).writes if isinstance(write, UpdateStatus)]
    return next((each for each in told if isinstance(each, ResourceQuota)), named)


def of_namespace(system: System, namespace: str) -> tuple[ResourceQuota, ...]:
    return tuple(each for each in system.all(ResourceQuota) if each.metadata.namespace == namespace)


def ranges(system: System, namespace: str) -> tuple[LimitRange, ...]:
    return tuple(each for each in system.all(LimitRange) if each.metadata.namespace == namespace)


def sized(pod: Pod, limits: Sequence[LimitRange]) -> Pod:
    """The pod with the sizes that limit ranges give it."""
    return parse_as(Pod, limitranges.defaulted(to_wire(pod), limits)) if limits else pod


class Account:
    """What is charged on the quotas of one namespace so far."""

    def __init__(self, system: System, namespace: str) -> None:
        self.quotas = [counting(each, ()) for each in of_namespace(system, namespace)]
        self._ranges = ranges(system, namespace)

    def copy(self) -> Account:
        made = object.__new__(Account)
        made.quotas, made._ranges = list(self.quotas), self._ranges
        return made

    def charge(self, item: Object) -> str:
        """Why the object is refused; empty if it is not, and then it is charged."""
        asked = sized(item, self._ranges) if isinstance(item, Pod) else item
        try:
            charged = {id(each.before): each.after for each in quota.charge(self.quotas, asked, None, NOW)}
        except quota.QuotaError as error:
            return str(error)
        self.quotas = [charged.get(id(each), each) for each in self.quotas]
        return ""


def pod_of(workload: machines.Workload) -> Pod:
    return machines.pods_of(workload, 1)[0]


def claims_of(workload: Object) -> tuple[PersistentVolumeClaim, ...]:
    """The claims that come with each pod of a StatefulSet."""
    if not isinstance(workload, StatefulSet):
        return ()
    namespace = workload.metadata.namespace
    return tuple(
        msgspec.structs.replace(claim, metadata=msgspec.structs.replace(claim.metadata, namespace=namespace))
        for claim in workload.spec.volume_claim_templates
    )
