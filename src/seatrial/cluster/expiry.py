"""Events go an hour after they were last written, as kube-apiserver's `--event-ttl` has it by default.

One timer for the oldest event, not one for each: writing an event again only moves it to the end of the line.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

from seatrial.kube.objects import JsonObject
from seatrial.node.runtime import Clock, Timer
from seatrial.server.api import Api
from seatrial.server.errors import StatusError
from seatrial.server.resources import storage_key

TTL: Final = timedelta(hours=1)
SWEEP: Final = timedelta(minutes=1)
"""How long an event may stay beyond its time, so that many go at once."""


class EventExpiry:
    def __init__(self, api: Api, clock: Clock) -> None:
        self._api = api
        self._clock = clock
        self._events = api.kind("v1", "Event")
        self._written: dict[tuple[str, str], datetime] = {}
        self._timer: Timer | None = None
        self._stop_watching: Callable[[], None] = lambda: None

    def start(self) -> None:
        for stored in self._api.store.all(storage_key(self._events)).values():
            self._note(stored.raw, _last_written(stored.raw) or self._clock.now())
        self._stop_watching = self._api.subscribe(self._on_change)

    def stop(self) -> None:
        self._stop_watching()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _on_change(self, before: JsonObject | None, after: JsonObject | None, _: int) -> None:
        if after is not None and after["kind"] == "Event":
            self._note(after, self._clock.now())
        elif before is not None and after is None and before["kind"] == "Event":
            self._written.pop(_place(before), None)

    def _note(self, raw: JsonObject, at: datetime) -> None:
        self._written.pop(_place(raw), None)
        self._written[_place(raw)] = at
        self._sweep_later()

    def _sweep_later(self) -> None:
        if self._timer is None and self._written:
            oldest = next(iter(self._written.values()))
            self._timer = self._clock.call_at(oldest + TTL + SWEEP, self._sweep)

    def _sweep(self) -> None:
        self._timer = None
        now = self._clock.now()
        for (namespace, name), at in tuple(self._written.items()):
            if at + TTL > now:
                break
            self._written.pop((namespace, name), None)
            try:
                self._api.delete(self._events, namespace, name)
            except StatusError as error:
                if error.code != 404:
                    raise
        self._sweep_later()


def _place(raw: JsonObject) -> tuple[str, str]:
    return raw["metadata"].get("namespace", ""), raw["metadata"]["name"]


def _last_written(raw: JsonObject) -> datetime | None:
    text = raw.get("lastTimestamp") or raw["metadata"].get("creationTimestamp")
    return datetime.fromisoformat(text) if text else None
