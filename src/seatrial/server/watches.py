"""One watch, without sockets: store changes in, watch events out, in the order of the store.

An object that comes to match the selector is ADDED, one that stops matching is DELETED. A slow client's events wait in
a bounded queue; when that is full the watch ends, and the client lists again, as after any lost connection.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from seatrial.kube.objects import JsonObject
from seatrial.kube.schemas import Resource
from seatrial.server import errors
from seatrial.server.api import Api
from seatrial.server.requests import Filter
from seatrial.server.resources import storage_key
from seatrial.server.store import Change

MAX_WAITING = 10_000
INITIAL_EVENTS_END = {"k8s.io/initial-events-end": "true"}


@dataclass(frozen=True, slots=True)
class WatchEvent:
    """`type` is ADDED, MODIFIED, DELETED or BOOKMARK."""

    type: str
    object: JsonObject


class Watch:
    """Events since a revision. `on_event` is called when events wait; `take` returns them."""

    def __init__(
        self,
        api: Api,
        resource: Resource,
        which: Filter,
        *,
        since: int | None,
        initial_events: bool = False,
        on_event: Callable[[], None] = lambda: None,
    ) -> None:
        """`since` None starts with the objects there are now. Raises `StatusError` 410 if `since` is too old."""
        self._key = storage_key(resource)
        self._resource = resource
        self._selects = api.predicate(resource, which)
        self._served = api.served
        self._waiting: deque[WatchEvent] = deque()
        self._on_event = on_event
        self._revision = api.store.revision
        self.overflowed = False
        if since is None or initial_events:
            for item in api.list(resource, which).items:
                self._waiting.append(WatchEvent("ADDED", item))
            if initial_events:
                self._waiting.append(self.bookmark(INITIAL_EVENTS_END))
        else:
            if since < api.store.oldest:
                raise errors.expired(f"too old resource version: {since} ({api.store.oldest})")
            for change in api.store.since(since):
                self._on_change(change)
        self.close = api.store.subscribe(self._on_change)

    def take(self) -> list[WatchEvent]:
        taken = list(self._waiting)
        self._waiting.clear()
        return taken

    def bookmark(self, annotations: JsonObject | None = None) -> WatchEvent:
        """Says that everything up to its resourceVersion has been seen."""
        metadata: JsonObject = {"resourceVersion": str(self._revision), "creationTimestamp": None}
        if annotations:
            metadata["annotations"] = annotations
        return WatchEvent(
            "BOOKMARK",
            {"kind": self._resource.kind, "apiVersion": self._resource.api_version, "metadata": metadata},
        )

    def _on_change(self, change: Change) -> None:
        self._revision = change.revision
        if change.resource != self._key or self.overflowed:
            return
        before = change.before is not None and self._selects(change.before.raw)
        after = change.after is not None and self._selects(change.after.raw)
        if not before and not after:
            return
        kind = "MODIFIED" if before and after else "ADDED" if after else "DELETED"
        raw = self._served(self._resource, change.last.raw)
        if len(self._waiting) >= MAX_WAITING:
            self.overflowed = True
        else:
            self._waiting.append(WatchEvent(kind, raw))
        self._on_event()
