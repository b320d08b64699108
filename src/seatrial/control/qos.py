"""The quality of service class of a pod: Guaranteed, Burstable or BestEffort.

Guaranteed: every container's cpu and memory have equal, positive requests and limits; BestEffort: none has any;
Burstable: all others. Resources of the pod itself take the containers' place. What was stored in a pod's status when it
was made stands for good. Semantics: `ComputePodQOS` and `GetPodQOS` of 1.37.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from seatrial.kube.objects import Pod, PodSpec
from seatrial.kube.objects.pods import ResourceRequirements
from seatrial.kube.quantities import ZERO, Quantity

GUARANTEED: Final = "Guaranteed"
BURSTABLE: Final = "Burstable"
BEST_EFFORT: Final = "BestEffort"
Amounts = Mapping[str, Quantity]


def of(pod: Pod) -> str:
    return pod.status.qos_class or computed(pod.spec)


def computed(spec: PodSpec) -> str:
    """The class that a pod of this spec gets."""
    if has_pod_level(spec.resources):
        return classified([(spec.resources.requests, spec.resources.limits)])
    holders = (each.resources for each in (*spec.init_containers, *spec.containers))
    return classified((held.requests, held.limits) for held in holders)


def has_pod_level(held: ResourceRequirements) -> bool:
    """The pod itself has resources, of a kind that counts for pods."""
    return any(name in ("cpu", "memory") or name.startswith("hugepages-") for name in (*held.requests, *held.limits))


def classified(holders: Iterable[tuple[Amounts, Amounts]]) -> str:
    """The class by the requests and limits of each holder of resources."""
    found = set()
    for requests, limits in holders:
        for name in ("cpu", "memory"):
            asked, most = requests.get(name, ZERO), limits.get(name, ZERO)
            if asked != most:
                return BURSTABLE
            found.add(GUARANTEED if asked else BEST_EFFORT)
    if len(found) > 1:
        return BURSTABLE
    return found.pop() if found else BEST_EFFORT
