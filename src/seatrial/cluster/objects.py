"""The cluster's typed objects over the API: reads from memory, writes as patches with a precondition.

One `Objects` follows the API; each component (a controller, a node's agent) writes through its own `Component`, so that
events carry their source. Rules: what no longer holds (409, 404) is a `ConflictError`, every other refusal stays a
`RefusedError`; an object that does not fit its typed view is invisible here and stays as it is on the wire. Events are
not kept in memory: equal ones are counted on one object, as upstream's recorder does.
"""

from __future__ import annotations

import base64
import itertools
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import TypeVar

import msgspec

from seatrial.cluster.correlation import Correlator
from seatrial.cluster.index import Index
from seatrial.control import tokens
from seatrial.control.writes import (
    Bind,
    ConflictError,
    Create,
    Delete,
    Evict,
    IssueToken,
    RecordEvent,
    RefusedError,
    SignCertificate,
    TerminatingError,
    Update,
    UpdateStatus,
    Write,
    target,
)
from seatrial.kube.objects import (
    KINDS,
    CertificateSigningRequest,
    ConfigMap,
    CustomResourceDefinition,
    Event,
    JsonObject,
    Key,
    Namespace,
    Object,
    Pod,
    Secret,
    parse,
    to_wire,
)
from seatrial.kube.patches import diff_merge
from seatrial.node.api import Change, Token
from seatrial.server import accounts, evictions
from seatrial.server.api import Api
from seatrial.server.errors import StatusError
from seatrial.server.requests import DeleteOptions, Options
from seatrial.server.resources import storage_key
from seatrial.server.times import wire_time

T = TypeVar("T", bound=Object)


class Objects:
    """All typed objects of `api` but events, kept up to date by its changes."""

    def __init__(self, api: Api) -> None:
        self.api = api
        self.events: dict[tuple[str, ...], str] = {}
        self.correlator = Correlator()
        self.event_numbers = itertools.count(1)
        self.index = Index()
        self._listeners: list[Callable[[Change], None]] = []
        self._on_host: dict[str, list[Callable[[Change], None]]] = {}
        self.own_write = False
        """True while a component of the cluster writes, as opposed to somebody outside."""
        for (api_version, kind), typed in KINDS.items():
            resource = api.resources.kind(api_version, kind)
            if typed is Event or resource is None:
                continue
            for stored in api.store.all(storage_key(resource)).values():
                found = _typed({"apiVersion": api_version, "kind": kind, **stored.raw})
                if found is not None:
                    self.index.put(found)
        self._follow_definitions()
        api.subscribe(self._on_change)

    def get(self, kind: type[T], namespace: str, name: str) -> T | None:
        return self.index.get(kind, namespace, name)

    def all(self, kind: type[T]) -> Sequence[T]:
        return self.index.all(kind)

    def subscribe(self, on_change: Callable[[Change], None]) -> Callable[[], None]:
        self._listeners.append(on_change)
        return lambda: self._listeners.remove(on_change)

    def subscribe_on_host(self, host: str, on_change: Callable[[Change], None]) -> Callable[[], None]:
        """As `subscribe`, but only what may concern one node: its pods, what is called as it is, volumes' contents."""
        self._on_host.setdefault(host, []).append(on_change)
        return lambda: self._on_host[host].remove(on_change)

    def _on_change(self, before: JsonObject | None, after: JsonObject | None, _: int) -> None:
        raw = after or before
        assert raw is not None, "a change has a side"
        meta = raw["metadata"]
        key = Key(raw["kind"], meta.get("namespace", ""), meta["name"])
        if (raw["apiVersion"], raw["kind"]) not in KINDS and (custom := self.api.custom.view(raw)) is not None:
            key = custom.key
        change = Change(self.index.at(key), None if after is None else self.typed(after))
        if raw["kind"] == CustomResourceDefinition.kind:
            self._follow_definitions()
        gone, there = change.before, change.after
        if gone is not None and there is None:
            self.index.remove(gone.key)
        if there is not None:
            self.index.put(there)
        if gone is not None or there is not None:
            for listener in (*self._listeners, *self._hosted(change)):
                listener(change)

    def typed(self, raw: JsonObject) -> Object | None:
        """The typed view of an object; None for one that does not fit it, or is of a kind without."""
        return _typed(raw) or self.api.custom.view(raw)

    def _follow_definitions(self) -> None:
        """Objects of custom kinds that were stored before their kind was served, by this process or to it."""
        for key in {storage_key(served.resource) for served in self.api.custom.all()}:
            for stored in self.api.store.all(key).values():
                found = self.typed(stored.raw)
                if found is not None and self.index.at(found.key) is None:
                    self.index.put(found)

    def _hosted(self, change: Change) -> Iterator[Callable[[Change], None]]:
        sides = [side for side in (change.before, change.after) if side is not None]
        if isinstance(sides[0], ConfigMap | Secret):
            for listeners in self._on_host.values():
                yield from listeners
            return
        hosts = {side.spec.node_name if isinstance(side, Pod) else side.metadata.name for side in sides}
        for host in sorted(hosts & self._on_host.keys()):
            yield from self._on_host[host]


class Component:
    """`Objects` as one component sees and writes them; `name` and `host` are the source of its events."""

    def __init__(self, objects: Objects, name: str, host: str = "") -> None:
        self._objects = objects
        self._api = objects.api
        self._name = name
        self._host = host
        self._created = ""
        self._own_writes: dict[tuple[str, str], str] | None = None

    def begin(self) -> None:
        """A decision's writes follow: one may build on another's outcome, as the rest of an object on its status."""
        self._own_writes = {}

    def get(self, kind: type[T], namespace: str, name: str) -> T | None:
        return self._objects.get(kind, namespace, name)

    def all(self, kind: type[T]) -> Sequence[T]:
        return self._objects.all(kind)

    def subscribe(self, on_change: Callable[[Change], None]) -> Callable[[], None]:
        if self._host:
            return self._objects.subscribe_on_host(self._host, on_change)
        return self._objects.subscribe(on_change)

    def apply(self, write: Write) -> Object | None:
        self._objects.own_write = True
        try:
            raw = self._execute(write)
        except StatusError as error:
            if error.code in (404, 409) and error.reason != "AlreadyExists":
                raise ConflictError(str(error)) from error
            causes = (error.status.get("details") or {}).get("causes", ())
            if any(cause.get("reason") == "NamespaceTerminating" for cause in causes):
                raise TerminatingError(str(error)) from error
            raise RefusedError(str(error)) from error
        finally:
            self._objects.own_write = False
        return None if raw is None else self._objects.typed(raw)

    def token(self, pod: Pod, audience: str, lifetime_s: int) -> Token:
        meta = pod.metadata
        bound = {"apiVersion": "v1", "kind": "Pod", "name": meta.name, "uid": meta.uid}
        spec = {"audiences": [audience] if audience else [], "expirationSeconds": lifetime_s, "boundObjectRef": bound}
        try:
            made = accounts.token(self._api, meta.namespace, pod.spec.service_account_name, {"spec": spec})
        except StatusError as error:
            raise (ConflictError if error.code in (404, 409) else RefusedError)(str(error)) from error
        ends = datetime.fromisoformat(made["status"]["expirationTimestamp"])
        issued = ends - timedelta(seconds=made["spec"]["expirationSeconds"])
        return Token(made["status"]["token"], tokens.refresh_at(issued, ends))

    def _execute(self, write: Write) -> JsonObject | None:
        match write:
            case Create(object=made):
                resource = self._api.kind(*made.identity)
                created = self._api.create(resource, made.metadata.namespace, to_wire(made), Options(trusted=True))
                self._created = created["metadata"]["name"]
                return created
            case Update(before=before, after=after):
                return self._patch(before, after, _part(before, after))
            case UpdateStatus(before=before, after=after):
                return self._patch(before, after, _status_part(before, after))
            case IssueToken(before=before, after=after, claims=claims):
                token = base64.b64encode(self._api.authority.token(dict(claims)).encode()).decode()
                return self._patch(before, msgspec.structs.replace(after, data={**after.data, "token": token}), "")
            case SignCertificate(request=request, not_before=start, not_after=end):
                pem = base64.b64decode(request.spec.request).decode()
                signed = self._api.authority.sign(pem, request.spec.usages, start, end, self._api.now())
                status = msgspec.structs.replace(request.status, certificate=base64.b64encode(signed.encode()).decode())
                return self._patch(request, msgspec.structs.replace(request, status=status), "status")
            case Delete(object=gone, grace_period_s=grace_s, propagation=propagation):
                resource = self._api.kind(*gone.identity)
                options = DeleteOptions(
                    grace_period_s=grace_s, uid=gone.metadata.uid or None, propagation=propagation.value
                )
                return self._api.delete(resource, gone.metadata.namespace, gone.metadata.name, options)
            case Evict(pod=pod):
                options = DeleteOptions(uid=pod.metadata.uid or None)
                evictions.evict(self._api, pod.metadata.namespace, pod.metadata.name, options)
                return None
            case Bind(pod=pod, node_name=node_name):
                return self._api.bind(pod.metadata.namespace, pod.metadata.name, node_name)
            case RecordEvent():
                self._record(write)
                return None

    def _patch(self, before: Object, after: Object, subresource: str) -> JsonObject:
        if subresource in ("status", "approval"):
            old, new = ({"status": to_wire(getattr(side, "status"))} for side in (before, after))  # noqa: B009
        else:
            old, new = ({k: v for k, v in to_wire(side).items() if k != "status"} for side in (before, after))
        patch = diff_merge(old, new)
        meta = before.metadata
        seen = (meta.uid, meta.resource_version)
        version = (self._own_writes or {}).get(seen, meta.resource_version)
        patch["metadata"] = {**patch.get("metadata", {}), "uid": meta.uid, "resourceVersion": version}
        if self._host and subresource == "status":
            del patch["metadata"]["resourceVersion"]  # a kubelet's patch of a status holds whatever came in between
        resource = self._api.kind(*before.identity)
        written = self._api.patch(
            resource, meta.namespace, meta.name, patch, options=Options(trusted=True), subresource=subresource
        )
        if self._own_writes is not None:
            self._own_writes[seen] = written["metadata"]["resourceVersion"]
        return written

    def _record(self, event: RecordEvent) -> None:
        about = event.about.metadata
        message = event.message.replace("{created}", self._created)
        namespace = about.namespace or "default"
        resource = self._api.kind("v1", "Event")
        source = (self._name, self._host)
        written = self._objects.correlator.correlate(
            source, about.uid or about.name, event.type, event.reason, message, self._api.now()
        )
        if written is None:
            return
        key, message, count = written
        now = wire_time(self._api.now())
        name = self._objects.events.get(key)
        if name is not None:
            try:
                more = {"count": count, "lastTimestamp": now, "message": message}
                self._api.patch(resource, namespace, name, more, options=Options(trusted=True))
            except StatusError as error:
                if error.code != 404:
                    raise
            else:
                return
        nanoseconds = int(self._api.now().timestamp() * 1e6) * 1000 + next(self._objects.event_numbers)
        name = f"{about.name}.{nanoseconds:x}"
        raw = {
            "metadata": {"name": name, "namespace": namespace},
            "involvedObject": {
                "apiVersion": event.about.identity[0],
                "kind": event.about.identity[1],
                "namespace": about.namespace,
                "name": about.name,
                "uid": about.uid,
                "resourceVersion": about.resource_version,
            },
            "type": event.type,
            "reason": event.reason,
            "message": message,
            "count": count,
            "firstTimestamp": now,
            "lastTimestamp": now,
            "source": {"component": self._name, **({"host": self._host} if self._host else {})},
            "reportingComponent": self._name,
            "reportingInstance": self._host,
        }
        try:
            self._api.create(resource, namespace, raw, Options(trusted=True))
        except StatusError as error:
            if error.code not in (403, 404):  # a namespace that is going away takes no more events
                raise
        else:
            self._objects.events[key] = name


def _part(before: Object, after: Object) -> str:
    """The subresource by which all but a status is written: other resources for running containers are a resize."""
    if isinstance(before, Pod) and isinstance(after, Pod):
        return "" if before.spec.containers == after.spec.containers else "resize"
    return "finalize" if isinstance(after, Namespace) else ""


def _status_part(before: Object, after: Object) -> str:
    """The subresource by which a status is written: who approves a certificate request writes its approval."""
    if not isinstance(before, CertificateSigningRequest) or not isinstance(after, CertificateSigningRequest):
        return "status"
    said = [[each for each in side.status.conditions if each.type != "Failed"] for side in (before, after)]
    return "status" if said[0] == said[1] else "approval"


def named(write: Write) -> str:
    """The write as a person would name it."""
    return f"{type(write).__name__} {target(write).key}"


def _typed(raw: JsonObject | None) -> Object | None:
    if raw is None or raw.get("kind") == Event.kind:
        return None
    try:
        return parse(raw)
    except msgspec.ValidationError:
        return None
