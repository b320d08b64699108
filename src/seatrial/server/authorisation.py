"""May this request be made? `control.access` decides from the roles and bindings that are stored."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Final, TypeVar

from seatrial.control import access
from seatrial.control.access import Attributes, User
from seatrial.kube.objects import ClusterRole, ClusterRoleBinding, Object, Role, RoleBinding, parse_as
from seatrial.server import errors
from seatrial.server.errors import StatusError
from seatrial.server.store import Change, Store

K = TypeVar("K", bound=Object)

_VERBS: Final = {"POST": "create", "GET": "get", "HEAD": "get", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
_OF_NAMESPACES: Final = ("status", "finalize")
_STREAMS: Final = ("attach", "exec", "portforward")
_STREAMS_SINCE: Final = 35
_ONE_NAME: Final = re.compile(r"metadata\.name==?([^,]+)")


class StoredPolicy:
    """The roles and bindings of a store, parsed once each."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._parsed: dict[tuple[str, str, str], tuple[str, Object]] = {}
        store.subscribe(self._on_change)

    def cluster_role(self, name: str) -> ClusterRole | None:
        return self._one(ClusterRole, "", name)

    def role(self, namespace: str, name: str) -> Role | None:
        return self._one(Role, namespace, name)

    def cluster_role_bindings(self) -> Iterable[ClusterRoleBinding]:
        return self._all(ClusterRoleBinding, "")

    def role_bindings(self, namespace: str) -> Iterable[RoleBinding]:
        return self._all(RoleBinding, namespace)

    def _on_change(self, change: Change) -> None:
        if change.after is None and change.before is not None:
            raw = change.before.raw
            key = f"{access.GROUP}/{raw['kind'].lower()}s"
            self._parsed.pop((key, raw["metadata"].get("namespace", ""), raw["metadata"]["name"]), None)

    def _one(self, kind: type[K], namespace: str, name: str) -> K | None:
        key = f"{access.GROUP}/{kind.kind.lower()}s"
        stored = self._store.get(key, namespace, name)
        if stored is None:
            return None
        version = stored.raw["metadata"]["resourceVersion"]
        known = self._parsed.get((key, namespace, name))
        if known is None or known[0] != version:
            known = self._parsed[key, namespace, name] = (version, parse_as(kind, stored.raw))
        found = known[1]
        assert isinstance(found, kind)
        return found

    def _all(self, kind: type[K], namespace: str) -> Iterable[K]:
        stored = self._store.all(f"{access.GROUP}/{kind.kind.lower()}s")
        names = sorted(name for at, name in stored if at == namespace)
        return [found for name in names if (found := self._one(kind, namespace, name)) is not None]


def attributes(method: str, path: str, query: Mapping[str, Sequence[str]]) -> Attributes:
    """What a request is about, as upstream reads it from its URL."""
    verb = _VERBS.get(method, method.lower())
    parts = [part for part in path.split("/") if part]
    prefix = 2 if parts[:1] == ["api"] else 3 if parts[:1] == ["apis"] else 0
    if not prefix or len(parts) <= prefix:
        return Attributes(method.lower(), path=path)
    group = parts[1] if prefix == 3 else ""
    parts = parts[prefix:]
    namespace = ""
    if parts[0] == "namespaces" and len(parts) > 1:
        namespace = parts[1]
        if len(parts) > 2 and parts[2] not in _OF_NAMESPACES:
            parts = parts[2:]
    name = parts[1] if len(parts) > 1 else ""
    if not name and verb == "get":
        watching = query.get("watch", ["false"])[0].lower() not in ("false", "0")
        verb = "watch" if watching else "list"
        only = _ONE_NAME.search(query.get("fieldSelector", [""])[0])
        name = only[1] if only is not None else ""
    elif not name and verb == "delete":
        verb = "deletecollection"
    return Attributes(verb, group, parts[0], parts[2] if len(parts) > 2 else "", namespace, name)


def check(policy: access.Policy, user: User, asked: Attributes, minor: int) -> None:
    """Raises `StatusError` (403) if `user` may not.

    Since 1.35 who opens a stream into a pod by GET (websockets) must be allowed to create it as well.
    """
    answer = access.authorise(policy, user, asked)
    if not answer.allowed:
        raise forbidden(user, asked, answer.reason)
    if asked.verb == "get" and asked.resource == "pods" and asked.subresource in _STREAMS and minor >= _STREAMS_SINCE:
        answer = access.authorise(policy, user, replace(asked, verb="create"))
        if not answer.allowed:
            raise errors.forbidden(asked.resource, asked.group, asked.name, answer.reason)


def forbidden(user: User, asked: Attributes, reason: str) -> StatusError:
    why = access.refusal(user, asked, reason)
    if asked.resource:
        return errors.forbidden(asked.resource, asked.group, asked.name, why)
    error = errors.failure(403, "Forbidden", f"forbidden: {why}")
    error.status["details"] = {}
    return error
