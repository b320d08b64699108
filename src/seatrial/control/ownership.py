"""Who controls an object: adoption, release and when a pod counts, as all workload controllers decide it.

An object that the selector matches and nobody controls is adopted; one that is controlled but no longer matches is
released. An owner that is being deleted does neither.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import TypeVar

from msgspec.structs import replace

from seatrial.control.writes import Update
from seatrial.kube import selectors
from seatrial.kube.objects import LabelSelector, Object, OwnerReference, Pod
from seatrial.kube.times import after

T = TypeVar("T", bound=Object)


def controller_reference(owner: Object) -> OwnerReference:
    return OwnerReference(
        api_version=owner.api_version,
        kind=owner.kind,
        name=owner.metadata.name,
        uid=owner.metadata.uid,
        controller=True,
        block_owner_deletion=True,
    )


def claim(
    owner: Object, selector: LabelSelector | None, candidates: Iterable[T], member: Callable[[T], bool] = lambda _: True
) -> tuple[list[T], list[Update]]:
    """The candidates that `owner` controls now, as they then are, and the updates that adopt and release.

    What is no `member` counts as not selected.
    """
    mine: list[T] = []
    updates: list[Update] = []
    owner_stays = owner.metadata.deletion_timestamp is None
    for candidate in candidates:
        meta = candidate.metadata
        selected = selectors.matches(selector, meta.labels) and member(candidate)
        current = meta.controller
        if current is not None:
            if current.uid != owner.metadata.uid:
                continue
            if selected:
                mine.append(candidate)
            elif owner_stays:
                others = tuple(ref for ref in meta.owner_references if ref.uid != owner.metadata.uid)
                updates.append(Update(candidate, _with_owners(candidate, others)))
        elif selected and owner_stays and meta.deletion_timestamp is None:
            taken = adopted(owner, candidate)
            updates.append(Update(candidate, taken))
            mine.append(taken)
    return mine, updates


def adopted(owner: Object, orphan: T) -> T:
    """`orphan` with `owner` as its controller; anything that has one already stays as it is."""
    if orphan.metadata.controller is not None:
        return orphan
    return _with_owners(orphan, (*orphan.metadata.owner_references, controller_reference(owner)))


def is_active(pod: Pod) -> bool:
    """Neither finished nor being deleted."""
    return pod.status.phase not in {"Succeeded", "Failed"} and pod.metadata.deletion_timestamp is None


def ready_since(pod: Pod) -> datetime | None:
    """Since when the pod is Ready; None when it is not, or does not say since when."""
    return next(
        (c.last_transition_time for c in pod.status.conditions if c.type == "Ready" and c.status == "True"), None
    )


def is_ready(pod: Pod) -> bool:
    return any(c.type == "Ready" and c.status == "True" for c in pod.status.conditions)


def available_at(pod: Pod, min_ready_seconds: int) -> datetime | None:
    """When a ready pod becomes, or became, available: ready for `min_ready_seconds`. None when it is not ready."""
    since = ready_since(pod)
    return None if since is None else after(since, min_ready_seconds)


def is_available(pod: Pod, min_ready_seconds: int, now: datetime) -> bool:
    if not is_ready(pod):
        return False
    if min_ready_seconds == 0:
        return True
    at = available_at(pod, min_ready_seconds)
    return at is not None and at <= now


def _with_owners(obj: T, owners: tuple[OwnerReference, ...]) -> T:
    return replace(obj, metadata=replace(obj.metadata, owner_references=owners))
