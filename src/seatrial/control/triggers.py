"""What set off a change of a Service's endpoints: the time in `endpoints.kubernetes.io/last-change-trigger-time`.

It is the earliest of the readiness transitions, and of the Service's creation, that are newer than those seen at the
look before; of a Service seen for the first time it is its creation. How long endpoints take to be programmed is
measured from it (the network programming latency SLI).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from seatrial.kube.objects import Pod, Service

LAST_CHANGE: Final = "endpoints.kubernetes.io/last-change-trigger-time"


@dataclass(frozen=True, slots=True)
class Triggers:
    """The times seen at the last look: what a controller keeps of a Service."""

    created: datetime | None
    pods: frozenset[tuple[str, datetime]]


def triggered(service: Service, pods: Iterable[Pod], before: Triggers | None) -> tuple[datetime | None, Triggers]:
    """When what is new since `before` happened, None if nothing is; and what is to be kept."""
    created = service.metadata.creation_timestamp
    times = {}
    for pod in pods:
        ready = next((each for each in pod.status.conditions if each.type == "Ready"), None)
        if ready is not None and ready.last_transition_time is not None:
            times[pod.metadata.name] = ready.last_transition_time
    kept = Triggers(created, frozenset(times.items()))
    if before is None:
        return created, kept
    known = dict(before.pods)
    news = [time for name, time in times.items() if name not in known or time > known[name]]
    if created is not None and (before.created is None or created > before.created):
        news.append(created)
    return min(news, default=None), kept


def annotated(annotations: Mapping[str, str], trigger: datetime | None) -> dict[str, str]:
    """Annotations that say `trigger`, or nothing of the kind."""
    kept = {key: value for key, value in annotations.items() if key != LAST_CHANGE}
    if trigger is not None:
        kept[LAST_CHANGE] = trigger.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return kept
