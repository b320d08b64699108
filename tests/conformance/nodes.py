"""Our nodes for a control plane that is not ours: seatrial's node agents and simulated containers as its kubelets.

`RemoteObjects` gives the agents' door to the cluster (`node/api.py`) over HTTP: reads come from memory, which one watch
for each kind keeps up to date, writes are patches with the precondition that the object is still the one that was seen.
Rules: everything happens on one event loop in a thread of its own, watches only hand over to it; what a write answers
is in memory before the write returns, as in a cluster of one process; a watch never puts back what is older.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import socket
import threading
import time
from collections.abc import Callable, Coroutine, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec

from seatrial.cluster.behaviours import Rule, by_rules
from seatrial.cluster.clock import RealClock
from seatrial.cluster.correlation import Correlator
from seatrial.cluster.simulated import SimulatedRuntime
from seatrial.cluster.simulation import UnderWay
from seatrial.cluster.virtual import NODE_CAPACITY
from seatrial.control import tokens
from seatrial.control.writes import (
    ConflictError,
    Create,
    Delete,
    RecordEvent,
    RefusedError,
    Update,
    UpdateStatus,
    Write,
)
from seatrial.deploy.client import ApiError, Client
from seatrial.kube.objects import JsonObject, Key, Lease, Namespace, Node, Object, Pod, parse, to_wire
from seatrial.kube.patches import diff_merge
from seatrial.node.agent import NodeAgent
from seatrial.node.api import Change, Token

T = TypeVar("T", bound=Object)
K = TypeVar("K", bound=Object)
R = TypeVar("R")

WATCHED: Final = (
    ("v1", "Node"),
    ("coordination.k8s.io/v1", "Lease"),
    ("v1", "Pod"),
    ("apps/v1", "ReplicaSet"),
    ("v1", "ReplicationController"),
    ("apps/v1", "Deployment"),
    ("apps/v1", "StatefulSet"),
    ("apps/v1", "DaemonSet"),
    ("batch/v1", "Job"),
    ("batch/v1", "CronJob"),
    ("v1", "Service"),
    ("discovery.k8s.io/v1", "EndpointSlice"),
    ("v1", "PersistentVolumeClaim"),
    ("v1", "PersistentVolume"),
    ("storage.k8s.io/v1", "StorageClass"),
    ("storage.k8s.io/v1", "CSINode"),
    ("storage.k8s.io/v1", "CSIDriver"),
    ("storage.k8s.io/v1", "VolumeAttachment"),
    ("policy/v1", "PodDisruptionBudget"),
    ("autoscaling/v2", "HorizontalPodAutoscaler"),
    ("v1", "ResourceQuota"),
    ("v1", "Namespace"),
)
"""What agents read, what may be under way, and what people wait for."""


class RemoteObjects:
    """Typed objects of another cluster; made and used on `loop`, which `begin` may be called from outside of."""

    def __init__(self, kubeconfig: Path, loop: asyncio.AbstractEventLoop) -> None:
        self.client = Client(kubeconfig)
        self.changed: dict[str, float] = {}
        """When (monotonic) something last changed in each namespace; "" is nodes and volumes. Leases do not count."""
        self._kubeconfig = kubeconfig
        self._loop = loop
        self._objects: dict[Key, Object] = {}
        self._listeners: list[Callable[[Change], None]] = []
        self._watches: list[Client] = []
        self._stopped = False

    def begin(self) -> None:
        """Read everything once, then follow it."""
        for api_version, kind in WATCHED:
            client = Client(self._kubeconfig)
            path = _everywhere(client, api_version, kind)
            listed = client.request("GET", path)
            for raw in listed["items"]:
                self._note({"apiVersion": api_version, "kind": kind, **raw}, gone=False)
            revision = listed["metadata"]["resourceVersion"]
            self._watches.append(client)
            threading.Thread(target=self._watch, args=(client, path, revision), daemon=True).start()

    def stop(self) -> None:
        self._stopped = True
        self.client.close()
        for watch in self._watches:  # or the API server waits for them when it is to end
            if watch._connection.sock is not None:
                watch._connection.sock.shutdown(socket.SHUT_RDWR)

    def get(self, kind: type[T], namespace: str, name: str) -> T | None:
        found = self._objects.get(Key(kind.kind, namespace, name))
        return found if isinstance(found, kind) else None

    def all(self, kind: type[T]) -> Sequence[T]:
        return [each for each in self._objects.values() if isinstance(each, kind)]

    def subscribe(self, on_change: Callable[[Change], None]) -> Callable[[], None]:
        self._listeners.append(on_change)
        return lambda: self._listeners.remove(on_change)

    def apply(self, write: Write) -> Object | None:
        raise NotImplementedError("components write, each under its own name")

    def note(self, raw: JsonObject) -> Object | None:
        """The object as a write answered it."""
        return self._note(raw, gone=False)

    def look_again(self, seen: Object) -> None:
        """Somebody else was faster: read the object anew."""
        meta = seen.metadata
        try:
            raw = self.client.request("GET", path_of(self.client, seen))
        except ApiError as error:
            if error.code == 404 and (known := self._objects.get(seen.key)) is not None:
                self._note({**to_wire(known), "metadata": {**to_wire(meta), "resourceVersion": "0"}}, gone=True)
        else:
            self._note(raw, gone=False)

    def _watch(self, client: Client, path: str, revision: str) -> None:
        connection = client._connection
        while not self._stopped:
            try:
                connection.request("GET", f"{path}?watch=true&resourceVersion={revision}&timeoutSeconds=3000")
                if connection.sock is not None:
                    connection.sock.settimeout(None)
                for line in connection.getresponse():
                    event = msgspec.json.decode(line)
                    raw: JsonObject = event["object"]
                    if event["type"] in ("ADDED", "MODIFIED", "DELETED"):
                        revision = raw["metadata"]["resourceVersion"]
                        gone = event["type"] == "DELETED"
                        self._loop.call_soon_threadsafe(lambda raw=raw, gone=gone: self._note(raw, gone=gone))  # type: ignore[misc]
            except (OSError, RuntimeError, http.client.HTTPException):  # the control plane, or our loop, has ended
                return

    def _note(self, raw: JsonObject, *, gone: bool) -> Object | None:
        meta = raw["metadata"]
        key = Key(raw["kind"], meta.get("namespace", ""), meta["name"])
        before = self._objects.get(key)
        if before is not None and before.metadata.uid == meta["uid"]:
            if not gone and int(meta["resourceVersion"]) <= int(before.metadata.resource_version):
                return before
        elif gone:
            return None
        if raw["kind"] != Lease.kind:
            self.changed[key.name if raw["kind"] == Namespace.kind else key.namespace] = time.monotonic()
        after = None if gone else _typed(raw)
        if after is None:
            self._objects.pop(key, None)
        else:
            self._objects[key] = after
        for listener in tuple(self._listeners):
            listener(Change(before, after))
        return after


class RemoteComponent:
    """`RemoteObjects` as one node sees and writes them."""

    def __init__(self, objects: RemoteObjects, name: str, host: str) -> None:
        self._objects = objects
        self._name = name
        self._host = host
        self._correlator = Correlator()
        self._events: dict[tuple[str, ...], str] = {}
        self.get, self.all, self.subscribe = objects.get, objects.all, objects.subscribe

    def apply(self, write: Write) -> Object | None:
        client = self._objects.client
        try:
            match write:
                case Create(object=made):
                    path = client.collection(made.api_version, made.kind, made.metadata.namespace)
                    return self._objects.note(client.request("POST", path, to_wire(made)))
                case Update(before=before, after=after):
                    return self._patch(before, after, "")
                case UpdateStatus(before=before, after=after):
                    return self._patch(before, after, "/status")
                case Delete(object=gone, grace_period_s=grace_s):
                    options: JsonObject = {"preconditions": {"uid": gone.metadata.uid}}
                    if grace_s is not None:
                        options["gracePeriodSeconds"] = grace_s
                    client.request("DELETE", path_of(client, gone), options)
                case RecordEvent():
                    self._record(write)
                case _:
                    raise NotImplementedError(f"no node writes a {type(write).__name__}")
        except ApiError as error:
            if error.code in (404, 409) and error.status.get("reason") != "AlreadyExists":
                if isinstance(write, Update | UpdateStatus):
                    self._objects.look_again(write.before)
                raise ConflictError(str(error)) from error
            raise RefusedError(str(error)) from error
        return None

    def token(self, pod: Pod, audience: str, lifetime_s: int) -> Token:
        client, meta = self._objects.client, pod.metadata
        bound = {"apiVersion": "v1", "kind": "Pod", "name": meta.name, "uid": meta.uid}
        spec = {"audiences": [audience] if audience else [], "expirationSeconds": lifetime_s, "boundObjectRef": bound}
        account = f"{client.collection('v1', 'ServiceAccount', meta.namespace)}/{pod.spec.service_account_name}"
        try:
            made = client.request("POST", f"{account}/token", {"spec": spec})
        except ApiError as error:
            raise (ConflictError if error.code in (404, 409) else RefusedError)(str(error)) from error
        ends = datetime.fromisoformat(made["status"]["expirationTimestamp"])
        return Token(made["status"]["token"], tokens.refresh_at(ends - timedelta(seconds=lifetime_s), ends))

    def _patch(self, before: Object, after: Object, subresource: str) -> Object | None:
        old, new = to_wire(before), to_wire(after)
        parts = ("status",) if subresource else tuple(key for key in {**old, **new} if key != "status")
        patch = diff_merge({key: old.get(key) for key in parts}, {key: new.get(key) for key in parts})
        meta = before.metadata
        patch["metadata"] = {
            **patch.get("metadata", {}),
            "uid": meta.uid,
            "resourceVersion": meta.resource_version,
        }
        client = self._objects.client
        path = path_of(client, before) + subresource
        return self._objects.note(client.request("PATCH", path, patch, content_type="application/merge-patch+json"))

    def _record(self, event: RecordEvent) -> None:
        about, now = event.about.metadata, datetime.now(UTC)
        source = (self._name, self._host)
        written = self._correlator.correlate(
            source, about.uid or about.name, event.type, event.reason, event.message, now
        )
        if written is None:
            return
        key, message, count = written
        namespace, stamp = about.namespace or "default", now.strftime("%Y-%m-%dT%H:%M:%SZ")
        client = self._objects.client
        path = client.collection("v1", "Event", namespace)
        if key in self._events:
            at = f"{path}/{self._events[key]}"
            more = {"count": count, "lastTimestamp": stamp, "message": message}
            client.request("PATCH", at, more, content_type="application/merge-patch+json")
            return
        name = f"{about.name}.{time.time_ns():x}"
        client.request(
            "POST",
            path,
            {
                "metadata": {"name": name, "namespace": namespace},
                "involvedObject": {
                    "apiVersion": event.about.api_version,
                    "kind": event.about.kind,
                    "namespace": about.namespace,
                    "name": about.name,
                    "uid": about.uid,
                    "resourceVersion": about.resource_version,
                },
                "type": event.type,
                "reason": event.reason,
                "message": message,
                "count": count,
                "firstTimestamp": stamp,
                "lastTimestamp": stamp,
                "source": {"component": self._name, "host": self._host},
                "reportingComponent": self._name,
                "reportingInstance": self._host,
            },
        )
        self._events[key] = name


class RemoteNodes:
    """Simulated nodes that have joined the cluster of a kubeconfig; every method may be called from any thread."""

    def __init__(self, kubeconfig: Path, names: Sequence[str]) -> None:
        self._rules: list[Rule] = []
        self._names = tuple(names)
        self._agents: dict[str, NodeAgent] = {}
        self._runtimes: dict[str, SimulatedRuntime] = {}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="remote nodes", daemon=True)
        self._thread.start()
        self.objects = RemoteObjects(kubeconfig, self._loop)
        self._call(self.objects.begin)

    def join(self) -> None:
        """All nodes register, as if new."""
        self._call(self._join)

    def leave(self) -> None:
        """The machines are gone with all that ran on them, and their Nodes; how containers behave is forgotten."""
        self._call(self._leave)

    def fail(self, name: str) -> None:
        self._call(self._agents[name].fall_silent)

    def restore(self, name: str) -> None:
        self._call(self._agents[name].come_back)

    def behave(self, rule: Rule) -> None:
        def change() -> None:
            self._rules.insert(0, rule)
            for runtime in self._runtimes.values():
                runtime.probe_again()

        self._call(change)

    def crash(self, pod: Pod, exit_code: int) -> None:
        self._call(lambda: [run.crash(pod, exit_code=exit_code) for run in self._runtimes.values()])

    def list(self, kind: type[K]) -> Sequence[K]:
        return self._call(lambda: self.objects.all(kind))

    def quiet_s(self, namespace: str) -> float:
        """For how long nothing has changed in the namespace, nor in what has none."""
        there = (self.objects.changed.get(each, 0.0) for each in (namespace, ""))
        return time.monotonic() - max(there)

    def is_under_way(self, namespace: str) -> bool:
        """Something in the namespace is: see `UnderWay`."""

        def look() -> bool:
            under_way = UnderWay(_Namespace(self.objects, namespace))
            under_way.close()
            return bool(under_way)

        return self._call(look)

    def close(self) -> None:
        def end() -> None:
            for agent in self._agents.values():
                agent.stop()
            self.objects.stop()

        self._call(end)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _join(self) -> None:
        clock = RealClock()
        for number, name in enumerate(self._names, 1):
            address = f"192.0.2.{number}"
            component = RemoteComponent(self.objects, "kubelet", name)
            runtime = SimulatedRuntime(
                clock,
                component,
                name=name,
                subnet=f"10.244.{number}",
                host_ip=address,
                behaves=by_rules(self._rules),
            )
            agent = NodeAgent(name, component, runtime, clock, capacity=NODE_CAPACITY, address=address)
            self._agents[name], self._runtimes[name] = agent, runtime
            agent.start()

    def _leave(self) -> None:
        for agent in self._agents.values():
            agent.stop()
        self._agents.clear()
        self._runtimes.clear()
        self._rules.clear()
        for gone in (*self.objects.all(Pod), *self.objects.all(Node)):
            component = RemoteComponent(self.objects, "kubelet", gone.metadata.name)
            with contextlib.suppress(ConflictError):
                component.apply(Delete(gone, grace_period_s=0))

    def _call(self, call: Callable[[], R]) -> R:
        async def run() -> R:
            return call()

        awaited: Coroutine[Any, Any, R] = run()
        return asyncio.run_coroutine_threadsafe(awaited, self._loop).result()


class _Namespace:
    """The objects of one namespace."""

    def __init__(self, objects: RemoteObjects, namespace: str) -> None:
        self._objects = objects
        self._namespace = namespace
        self.subscribe = objects.subscribe

    def all(self, kind: type[T]) -> Sequence[T]:
        return [each for each in self._objects.all(kind) if each.metadata.namespace == self._namespace]


def _typed(raw: JsonObject) -> Object | None:
    """The view that our own cluster would have of it: none, if it does not fit (a slice without endpoints)."""
    try:
        return parse(raw)
    except msgspec.ValidationError:
        return None


def path_of(client: Client, obj: Object) -> str:
    return f"{client.collection(obj.api_version, obj.kind, obj.metadata.namespace)}/{obj.metadata.name}"


def _everywhere(client: Client, api_version: str, kind: str) -> str:
    """The path of all objects of a kind, in every namespace."""
    return client.collection(api_version, kind, "-").replace("/namespaces/-/", "/")
