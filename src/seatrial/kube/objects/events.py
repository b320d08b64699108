"""Event, in the core/v1 form that `kubectl describe` reads."""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar

from seatrial.kube.objects.base import Object, Value
from seatrial.kube.objects.services import ObjectReference


class EventSeries(Value, frozen=True):
    count: int = 0
    last_observed_time: datetime | None = None


class EventSource(Value, frozen=True):
    component: str = ""
    host: str = ""


class Event(Object, frozen=True):
    api_version: ClassVar[str] = "v1"
    kind: ClassVar[str] = "Event"

    action: str = ""
    count: int = 0
    event_time: datetime | None = None
    first_timestamp: datetime | None = None
    involved_object: ObjectReference | None = None
    last_timestamp: datetime | None = None
    message: str = ""
    reason: str = ""
    related: ObjectReference | None = None
    reporting_component: str = ""
    reporting_instance: str = ""
    series: EventSeries | None = None
    source: EventSource | None = None
    type: str = ""
