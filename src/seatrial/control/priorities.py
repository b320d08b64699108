"""Priority admission: which class a new pod is of, and the priority and preemption policy that follow.

A pod that names no class is of the default one, if there is one when the pod is *made*; pods that were there before it
keep what they have. Semantics: https://kubernetes.io/docs/concepts/scheduling-eviction/pod-priority-preemption/
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from seatrial.kube.objects import PriorityClass

SYSTEM: Final[Mapping[str, int]] = {"system-node-critical": 2_000_001_000, "system-cluster-critical": 2_000_000_000}
"""The classes that every cluster has."""


def default(classes: Iterable[PriorityClass]) -> PriorityClass | None:
    """The default class; of several the one of the least value."""
    return min((each for each in classes if each.global_default), key=lambda each: each.value, default=None)


def of(found: PriorityClass | None) -> tuple[int, str]:
    """Priority and preemption policy of a pod of this class, or of none."""
    if found is None:
        return 0, "PreemptLowerPriority"
    return found.value, found.preemption_policy or "PreemptLowerPriority"
