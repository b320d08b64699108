"""Which pods are a Job's, and the finalizer that keeps each of them until it is counted."""

from __future__ import annotations

from typing import Final

from msgspec.structs import replace

from seatrial.control.ownership import controller_reference
from seatrial.control.writes import Update
from seatrial.kube import selectors
from seatrial.kube.objects import Job, Object, Pod

TRACKING_FINALIZER: Final = "batch.kubernetes.io/job-tracking"


def claim(job: Job, candidates: tuple[Pod, ...]) -> tuple[list[Pod], list[Update]]:
    """The Job's pods, as they then are. Unlike other controllers' they come and go with the tracking finalizer."""
    mine: list[Pod] = []
    updates: list[Update] = []
    staying = job.metadata.deletion_timestamp is None
    for pod in candidates:
        owner = pod.metadata.controller
        selected = selectors.matches(job.spec.selector, pod.metadata.labels)
        if owner is not None and owner.uid == job.metadata.uid:
            if selected:
                mine.append(pod)
            elif staying:
                others = tuple(ref for ref in pod.metadata.owner_references if ref.uid != job.metadata.uid)
                free = untracked(pod)
                updates.append(Update(pod, replace(free, metadata=replace(free.metadata, owner_references=others))))
        elif owner is None and selected and staying and pod.metadata.deletion_timestamp is None:
            owners = (*pod.metadata.owner_references, controller_reference(job))
            finalizers = (*untracked(pod).metadata.finalizers, TRACKING_FINALIZER)
            adopted = replace(pod, metadata=replace(pod.metadata, owner_references=owners, finalizers=finalizers))
            updates.append(Update(pod, adopted))
            mine.append(adopted)
    return mine, updates


def is_tracked(pod: Object) -> bool:
    return TRACKING_FINALIZER in pod.metadata.finalizers


def untracked(pod: Pod) -> Pod:
    finalizers = tuple(item for item in pod.metadata.finalizers if item != TRACKING_FINALIZER)
    return replace(pod, metadata=replace(pod.metadata, finalizers=finalizers))


def is_terminating(pod: Pod) -> bool:
    return pod.metadata.deletion_timestamp is not None and pod.status.phase not in {"Succeeded", "Failed"}
