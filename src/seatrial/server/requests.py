"""What a client asks of the API beside an object: options of writes and deletions, what a list is about, its pages."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Protocol

from seatrial.control.access import User
from seatrial.kube import selectors
from seatrial.kube.objects import JsonObject
from seatrial.server import errors

JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
STRATEGIC_PATCH = "application/strategic-merge-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"


@dataclass(frozen=True, slots=True)
class LogQuery:
    """What a client asked of a container's log; the fields are the query parameters of `pods/log`."""

    container: str
    follow: bool = False
    previous: bool = False
    timestamps: bool = False
    tail_lines: int | None = None
    since: datetime | None = None
    limit_bytes: int | None = None


class LogSource(Protocol):
    """Where the logs of containers come from; the cluster provides it from its nodes."""

    def lines(self, pod: JsonObject, query: LogQuery) -> AsyncIterator[bytes]:
        """Pieces of the log as they come; ends by itself unless the log is followed.

        Raises `LookupError`, with a message for the user, where there is no such log."""


@dataclass(slots=True)
class Options:
    """What comes with a write; `warnings` collects texts for the client's `Warning` headers.

    A `trusted` write was encoded from a typed value by a component of this process: its shape needs no checking.
    """

    dry_run: bool = False
    trusted: bool = False
    field_validation: str = "Ignore"
    duplicates: tuple[str, ...] = ()
    subresource: str = ""
    """The subresource by which an object is written: what is frozen otherwise may change there, and the reverse."""
    patched: JsonObject | None = None
    """The outcome of a patch, if it was one."""
    warnings: list[str] = field(default_factory=list)
    user: User | None = None
    """Who writes; None is a component of the cluster, which may write everything."""


@dataclass(frozen=True, slots=True)
class DeleteOptions:
    grace_period_s: int | None = None
    uid: str | None = None
    resource_version: str | None = None
    propagation: str = ""
    dry_run: bool = False

    @classmethod
    def from_wire(cls, raw: JsonObject) -> DeleteOptions:
        preconditions = raw.get("preconditions") or {}
        propagation = raw.get("propagationPolicy") or ("Orphan" if raw.get("orphanDependents") else "")
        return cls(
            grace_period_s=raw.get("gracePeriodSeconds"),
            uid=preconditions.get("uid"),
            resource_version=preconditions.get("resourceVersion"),
            propagation=propagation,
            dry_run=bool(raw.get("dryRun")),
        )


@dataclass(frozen=True, slots=True)
class Filter:
    """Which objects of a kind a list or watch is about."""

    namespace: str = ""
    labels: str = ""
    fields: str = ""

    def field_paths(self) -> list[str]:
        """The fields that are asked about. Raises `StatusError` (400)."""
        try:
            return [path for path, _, _ in selectors.parse_fields(self.fields).terms]
        except ValueError as error:
            raise errors.bad_request(f"unable to parse requirement: {error}") from error

    def predicate(self) -> Callable[[JsonObject], bool]:
        try:
            labels = selectors.parse(self.labels) if self.labels else None
            fields = selectors.parse_fields(self.fields) if self.fields else None
        except ValueError as error:
            raise errors.bad_request(f"unable to parse requirement: {error}") from error

        def selects(raw: JsonObject) -> bool:
            metadata = raw["metadata"]
            if self.namespace and metadata.get("namespace", "") != self.namespace:
                return False
            if labels is not None and not labels.matches(metadata.get("labels") or {}):
                return False
            return fields is None or fields.matches(raw)

        return selects


EVERYTHING: Final = Filter()
AS_USUAL: Final = DeleteOptions()


@dataclass(frozen=True, slots=True)
class Page:
    """A list: `revision` is what a watch continues from."""

    items: list[JsonObject]
    revision: int
    continue_token: str = ""
    remaining: int | None = None


def encode_continue(revision: int, after: tuple[str, str]) -> str:
    return base64.urlsafe_b64encode(json.dumps({"rv": revision, "after": after}).encode()).decode().rstrip("=")


def decode_continue(token: str) -> tuple[int, tuple[str, str]]:
    try:
        raw = json.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
        namespace, name = raw["after"]
        return int(raw["rv"]), (str(namespace), str(name))
    except (ValueError, KeyError, TypeError) as error:
        raise errors.bad_request("continue key is not valid: use the token of the previous page unchanged") from error
