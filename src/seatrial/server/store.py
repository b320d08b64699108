"""Where the cluster's objects live: an append-only SQLite table, its newest rows kept in memory.

The revision of a change is its row id, so it only grows and one database orders everything. Reads and watches come
from memory: the current objects and a window of recent changes. Crash recovery is reading the table.

Rules: an object that was handed in or out is never modified afterwards. A change is visible in memory at once and
durable after `commit`. Without `on_pending` each change commits itself; an event loop sets `on_pending` to schedule one
commit for all changes of a tick, and answers its clients after it. `synchronous=FULL` (fsync at each commit) because an
acknowledged write must survive a power cut, and the group commit makes one fsync serve all writers of a tick;
`NORMAL` was rejected: in WAL mode it only survives the death of the process.
"""

from __future__ import annotations

import sqlite3
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import msgspec

from seatrial.kube.objects import JsonObject

WINDOW = 10_000
"""Changes kept in memory for watches and for the pages of a list; upstream compacts after five minutes instead."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS changes (
    revision INTEGER PRIMARY KEY AUTOINCREMENT,
    resource TEXT NOT NULL, namespace TEXT NOT NULL, name TEXT NOT NULL,
    deleted INTEGER NOT NULL, object BLOB NOT NULL);
CREATE INDEX IF NOT EXISTS newest ON changes (resource, namespace, name, revision);
"""

_CURRENT = """
SELECT resource, namespace, name, object FROM changes WHERE NOT deleted AND revision IN
    (SELECT max(revision) FROM changes GROUP BY resource, namespace, name)
"""

_COMPACT = """
DELETE FROM changes WHERE revision <= :oldest AND (deleted OR EXISTS (
    SELECT 1 FROM changes AS newer WHERE newer.resource = changes.resource AND newer.namespace = changes.namespace
    AND newer.name = changes.name AND newer.revision > changes.revision))
"""
"""What nobody can ask for any more: rows before the window that a later row of the same object has made history."""


class StoreError(Exception):
    """The database cannot be opened or written; the message says why and what to do."""


class Stored:
    """One version of an object; its JSON is encoded once, whoever asks."""

    def __init__(self, raw: JsonObject) -> None:
        self.raw = raw

    @cached_property
    def encoded(self) -> bytes:
        return msgspec.json.encode(self.raw)


@dataclass(frozen=True, slots=True)
class Change:
    """One row: created if `before` is None, gone if `after` is None. `last` is the newest version there is.

    For a deletion `last` is the object as it was, with the revision of the deletion.
    """

    revision: int
    resource: str
    namespace: str
    name: str
    before: Stored | None
    after: Stored | None
    last: Stored


ObjectName = tuple[str, str]
"""Namespace (empty for cluster-scoped kinds) and name."""


class Store:
    """Objects by resource (`group/plural`), namespace and name."""

    def __init__(self, database: sqlite3.Connection | None, window: int = WINDOW) -> None:
        """Without a database nothing outlives the store: for tests and simulations."""
        self._database = database
        self._window = window
        self._objects: dict[str, dict[ObjectName, Stored]] = {}
        self._recent: deque[Change] = deque(maxlen=window)
        self._listeners: dict[object, Callable[[Change], None]] = {}
        self._pending = False
        self.on_pending: Callable[[], None] | None = None
        self.revision = 0
        if database is not None:
            for resource, namespace, name, encoded in database.execute(_CURRENT):
                self._objects.setdefault(resource, {})[namespace, name] = Stored(msgspec.json.decode(encoded))
            (self.revision,) = database.execute("SELECT coalesce(max(revision), 0) FROM changes").fetchone()
        self.oldest = self.revision
        """Changes after this revision are in the window."""
        self._compacted = self.revision

    @classmethod
    def open(cls, path: Path | str, *, window: int = WINDOW) -> Store:
        """Open or create the database at `path` (":memory:" for one that is forgotten). Raises `StoreError`."""
        if str(path) == ":memory:":
            return cls(None, window)
        try:
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            database = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            database.execute("PRAGMA journal_mode=WAL")
            database.execute("PRAGMA synchronous=FULL")
            database.executescript(_SCHEMA)
            return cls(database, window)
        except (sqlite3.Error, OSError) as error:
            raise StoreError(
                f"cannot open the cluster's database {path}: {error}. Is the disk full or the directory not yours? "
                "A damaged database can be moved away; the cluster then starts empty."
            ) from error

    def get(self, resource: str, namespace: str, name: str) -> Stored | None:
        return self._objects.get(resource, {}).get((namespace, name))

    def all(self, resource: str) -> Mapping[ObjectName, Stored]:
        return self._objects.get(resource, {})

    def resources(self) -> tuple[str, ...]:
        """The resources that have objects."""
        return tuple(resource for resource, objects in self._objects.items() if objects)

    def at(self, resource: str, revision: int) -> dict[ObjectName, Stored] | None:
        """The objects as they were at `revision`; None if that is before the window."""
        if revision < self.oldest:
            return None
        objects = dict(self.all(resource))
        for change in reversed(self._recent):
            if change.revision <= revision:
                break
            if change.resource != resource:
                continue
            if change.before is None:
                objects.pop((change.namespace, change.name), None)
            else:
                objects[change.namespace, change.name] = change.before
        return objects

    def since(self, revision: int) -> Iterator[Change]:
        """The changes after `revision`, oldest first; the caller has compared it with `oldest`."""
        start = len(self._recent)
        for change in reversed(self._recent):
            if change.revision <= revision:
                break
            start -= 1
        return iter(list(self._recent)[start:])

    def put(self, resource: str, namespace: str, name: str, raw: JsonObject) -> JsonObject:
        """Write an object; returns it with its new `metadata.resourceVersion`."""
        after = _with_revision(raw, self.revision + 1)
        self._append(resource, namespace, name, self.get(resource, namespace, name), after, deleted=False)
        return after.raw

    def remove(self, resource: str, namespace: str, name: str) -> JsonObject:
        """Remove an object that exists; returns its last version, with the revision of the removal."""
        before = self._objects[resource][namespace, name]
        last = _with_revision(before.raw, self.revision + 1)
        self._append(resource, namespace, name, before, last, deleted=True)
        return last.raw

    def subscribe(self, listener: Callable[[Change], None]) -> Callable[[], None]:
        """Call `listener` for each later change, in order; returns how to stop that."""
        token = object()
        self._listeners[token] = listener
        return lambda: self._listeners.pop(token, None) and None

    def commit(self) -> None:
        """Make all changes so far durable. Raises `StoreError`, for instance when the disk is full."""
        if not self._pending or self._database is None:
            return
        try:
            if self.oldest >= self._compacted + self._window:
                self._database.execute(_COMPACT, {"oldest": self.oldest})
                self._compacted = self.oldest
            self._database.execute("COMMIT")
        except sqlite3.Error as error:
            raise StoreError(f"the cluster's database cannot be written: {error}. Is the disk full?") from error
        self._pending = False

    @contextmanager
    def together(self) -> Iterator[None]:
        """One commit for all changes inside, where each would commit itself."""
        if self.on_pending is not None:
            yield
            return
        self.on_pending = lambda: None
        try:
            yield
        finally:
            self.on_pending = None
            self.commit()

    def close(self) -> None:
        self.commit()
        if self._database is not None:
            self._database.close()

    def _append(
        self, resource: str, namespace: str, name: str, before: Stored | None, last: Stored, *, deleted: bool
    ) -> None:
        revision = self.revision + 1
        first = not self._pending
        if self._database is not None:
            self._write(first, (revision, resource, namespace, name, deleted, last.encoded))
            self._pending = True
        self.revision = revision
        objects = self._objects.setdefault(resource, {})
        if deleted:
            del objects[namespace, name]
        else:
            objects[namespace, name] = last
        if len(self._recent) == self._recent.maxlen:
            self.oldest = self._recent[0].revision
        change = Change(revision, resource, namespace, name, before, None if deleted else last, last)
        self._recent.append(change)
        if self.on_pending is None:
            self.commit()
        elif first and self._pending:
            self.on_pending()
        for listener in tuple(self._listeners.values()):
            listener(change)

    def _write(self, first: bool, row: tuple[object, ...]) -> None:
        assert self._database is not None, "only called with one"
        try:
            if first:
                self._database.execute("BEGIN")
            self._database.execute("INSERT INTO changes VALUES (?, ?, ?, ?, ?, ?)", row)
        except sqlite3.Error as error:
            if first and self._database.in_transaction:
                self._database.execute("ROLLBACK")
            raise StoreError(f"the cluster's database cannot be written: {error}. Is the disk full?") from error


def _with_revision(raw: JsonObject, revision: int) -> Stored:
    return Stored({**raw, "metadata": {**raw["metadata"], "resourceVersion": str(revision)}})
