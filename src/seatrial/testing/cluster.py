"""`Cluster`: the simulated cluster of `seatrial.cluster.virtual` with its API on a port and faults at hand.

The cluster lives on an event loop in a thread of its own, and whatever touches it happens there: requests of clients
and the calls of the test take turns. Rules: virtual time stands still between `advance`, `settle` and `flowing`; what
is due at the present moment (a controller's answer to a write) happens by itself; a fault stays until it is lifted.
"""

from __future__ import annotations

import asyncio
import tempfile
import threading
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final, Self, TypeVar

import yaml

from seatrial.cluster.behaviours import Rule, by_rules
from seatrial.cluster.clock import START
from seatrial.cluster.cluster import NodeShape
from seatrial.cluster.simulated import Behaviour, SimulatedRuntime
from seatrial.cluster.virtual import VirtualCluster
from seatrial.control.addons.csi import Driver
from seatrial.control.lifecycle import configuration
from seatrial.kube import schemas, selectors
from seatrial.kube.objects import KINDS, JsonObject, Object, Pod, parse_as
from seatrial.kube.schemas import Resource
from seatrial.server import errors, http
from seatrial.server.api import Api
from seatrial.server.authority import Authority
from seatrial.server.errors import StatusError
from seatrial.server.pki import Pki
from seatrial.server.requests import DeleteOptions, Filter

T = TypeVar("T")
K = TypeVar("K", bound=Object)

STEPS_AT_ONCE: Final = 100
"""Calls of virtual time between two turns of the clients."""
_SIGNALS: Final = {
    "memory_available": "memory.available",
    "nodefs_available": "nodefs.available",
    "nodefs_inodes_free": "nodefs.inodesFree",
    "imagefs_available": "imagefs.available",
    "imagefs_inodes_free": "imagefs.inodesFree",
    "pid_available": "pid.available",
}
_SUFFIXES: Final = (".yaml", ".yml", ".json")
_ONE_AT_A_TIME: Final = threading.Lock()


def _know_types() -> None:
    """Several clusters may start in threads, and msgspec crashes where two meet a type for the first time at once."""
    with _ONE_AT_A_TIME:
        for kind in KINDS.values():
            parse_as(kind, {})


@dataclass(slots=True, eq=False)
class Refusal:
    """What the API is told to refuse; empty fields mean anything. Lifted after `times`, or by `lift`."""

    verb: str = ""
    kind: str = ""
    namespace: str = ""
    name: str = ""
    code: int = 403
    reason: str = "Forbidden"
    message: str = "refused by the test"
    times: int | None = None
    refused: int = 0
    """How many requests it has refused so far."""
    _others: list[Refusal] = field(default_factory=list, repr=False)

    def lift(self) -> None:
        if self in self._others:
            self._others.remove(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.lift()

    def _meets(self, verb: str, resource: Resource, namespace: str, name: str) -> bool:
        asked = ((self.verb, verb), (self.kind, resource.kind), (self.namespace, namespace), (self.name, name))
        return all(wanted in ("", given) for wanted, given in asked)


class Cluster:
    """A running cluster; a context manager, as it has a thread and a port.

    `kubeconfig` is the path that clients are given, `server` the URL of the API; `kubelet` says how the nodes are
    configured, in the words of a KubeletConfiguration (`{"shutdownGracePeriod": "30s"}`).
    """

    def __init__(
        self,
        *,
        nodes: int | Sequence[str | NodeShape] = 1,
        seed: int = 0,
        version: str = schemas.NEWEST,
        start: datetime = START,
        kubelet: Mapping[str, Any] | None = None,
        pki: Pki | None = None,
    ) -> None:
        _know_types()
        self._directory = tempfile.TemporaryDirectory(prefix="seatrial-")
        self._rules: list[Rule] = []
        self._refusals: list[Refusal] = []
        directory = Path(self._directory.name)
        self._pki = pki or Pki.ensure(directory / "pki")
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="seatrial cluster", daemon=True)
        self._thread.start()
        self._virtual = self._call(
            lambda: VirtualCluster(
                nodes=nodes,
                seed=seed,
                version=version,
                start=start,
                behaves=by_rules(self._rules),
                authority=Authority(self._pki),
                kubelet=configuration.read(kubelet or {}),
            )
        )
        self._server = http.serve(self._api, "127.0.0.1", 0, self._pki)
        self._passing = asyncio.Lock()
        self.port: int = self._await(self._server.__aenter__())
        self.server = f"https://127.0.0.1:{self.port}"
        self.kubeconfig = directory / "kubeconfig"
        self._pki.write_kubeconfig(self.kubeconfig, self.server)
        self._working = False
        self._virtual.clock.on_due = self._work_soon
        self._api.on_request = self._on_request

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the server and its thread; harmless the second time."""
        if self._loop.is_closed():
            return
        self._await(self._server.__aexit__(None, None, None))
        self._call(self._virtual.cluster.stop)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self._directory.cleanup()

    # Objects

    def apply(self, manifests: str | Path | JsonObject | Iterable[JsonObject]) -> None:
        """Create or change what the manifests say: objects, YAML text, a file or a directory of files."""
        objects = list(_read(manifests))
        self._call(lambda: self._virtual.apply(objects))

    def get(self, kind: type[K], name: str, namespace: str = "default") -> K | None:
        """A typed view (`seatrial.kube.objects`) of an object; None if it is not there."""
        return self._call(lambda: self._virtual.objects.get(kind, namespace, name)) or self._call(
            lambda: self._virtual.objects.get(kind, "", name)
        )

    def list(self, kind: type[K], namespace: str = "", labels: str = "") -> tuple[K, ...]:
        """Typed views, by namespace and name. `labels` is a selector as kubectl takes it."""
        selector = selectors.parse(labels)
        found = self._call(lambda: self._virtual.objects.all(kind))
        chosen = (
            obj for obj in found if namespace in ("", obj.metadata.namespace) and selector.matches(obj.metadata.labels)
        )
        return tuple(sorted(chosen, key=lambda obj: obj.key))

    def raw(self, api_version: str, kind: str, name: str, namespace: str = "default") -> JsonObject:
        """An object as the API serves it, of any kind. Raises `StatusError`."""
        return self._call(lambda: self._api.get(self._api.kind(api_version, kind), namespace, name))

    def raw_list(self, api_version: str, kind: str, namespace: str = "") -> list[JsonObject]:  # type: ignore[valid-type]  # `list` is a method here
        return self._call(lambda: self._virtual.list(api_version, kind, namespace))

    def delete(
        self, api_version: str, kind: str, name: str, namespace: str = "default", *, grace_s: int | None = None
    ) -> None:
        """`grace_s` 0 for a pod: at once, as `kubectl delete --force`."""
        options = DeleteOptions(grace_period_s=grace_s)
        self._call(lambda: self._api.delete(self._api.kind(api_version, kind), namespace, name, options))

    def events(self, name: str = "", namespace: str = "") -> tuple[str, ...]:
        """`TYPE REASON MESSAGE` of the events (about what is called `name`), in the order of their creation."""
        found = self._call(lambda: self._api.list(self._api.kind("v1", "Event"), Filter(namespace=namespace)).items)
        found.sort(key=lambda raw: raw["metadata"]["name"].rpartition(".")[2])
        return tuple(
            f"{raw['type']} {raw['reason']} {raw['message']}"
            for raw in found
            if name in ("", raw["involvedObject"]["name"])
        )

    # Time

    def now(self) -> datetime:
        return self._virtual.clock.now()

    def advance(self, seconds: float) -> None:
        """Let so much virtual time pass."""
        self._await(self._pass(timedelta(seconds=seconds), lambda: False))

    def settle(self, patience_s: float = 3600.0) -> bool:
        """Let time pass until nothing is under way (no pod starts or stops, no workload is short of what it is to be),
        at most `patience_s`; whether it came to that. If not, `unsettled` says what kept it.
        """
        return self._await(self._pass(timedelta(seconds=patience_s), self._virtual.is_settled))

    def unsettled(self) -> tuple[str, ...]:
        """What is under way now, and which controllers go on writing without end; for people to read."""
        return self._call(self._virtual.unsettled)

    @contextmanager
    def flowing(self) -> Iterator[None]:
        """While this is entered time passes by itself whenever something is under way: for clients that wait."""
        flow = asyncio.run_coroutine_threadsafe(self._flow(), self._loop)
        try:
            yield
        finally:
            flow.cancel()

    # Behaviour and faults

    def behave(
        self,
        labels: str = "",
        *,
        namespace: str = "",
        container: str = "",
        behaviour: Behaviour | None = None,
        **how: Any,
    ) -> None:
        """Say how containers of the pods that `labels` select behave: a `Behaviour`, or its fields; the last counts.

        `cluster.behave("app=web", ready_after_s=30)`; `cluster.behave("app=job", exits_after_s=5, exit_code=1)`
        """
        rule = Rule(behaviour or Behaviour(**how), labels, namespace, container)

        def change() -> None:
            self._rules.insert(0, rule)
            for runtime in self._runtimes():
                runtime.probe_again()

        self._call(change)

    def install_driver(self, name: str, **how: Any) -> None:
        """A CSI driver, played by its stand-in: the fields of `seatrial.testing.Driver`; the last word counts.

        `cluster.install_driver("disk.example.com", attach_s=30)`, then `attach_error="no more slots"` for trouble.
        """
        self._call(lambda: self._virtual.cluster.install(Driver(name, **how)))

    def fail_node(self, name: str) -> None:
        """Cut a node off: nothing is heard of it any more."""
        self._call(lambda: self._virtual.cluster.fail_node(name))

    def restore_node(self, name: str) -> None:
        self._call(lambda: self._virtual.cluster.restore_node(name))

    def set_pressure(self, node: str, **available: str) -> None:
        """So much is available of a node's signals, of all others enough: `memory_available="50Mi"`,
        `nodefs_available="5%"`, `nodefs_inodes_free`, `imagefs_available`, `imagefs_inodes_free`, `pid_available`.
        """
        amounts = {_SIGNALS.get(name, name): text for name, text in available.items()}
        self._call(lambda: self._virtual.cluster.set_pressure(node, amounts))

    def shut_down_node(self, name: str) -> None:
        """The node is told to shut down: it ends its pods as it is configured to and goes off. `restore_node` calls
        that off, or switches the node on again.
        """
        self._call(lambda: self._virtual.cluster.shut_down_node(name))

    def static_pods(self, node: str, manifests: str | Path | JsonObject | Iterable[JsonObject]) -> None:
        """These, and no others, are the manifests of a node's static pods from now on. Raises `ManifestError`."""
        objects = list(_read(manifests))
        self._call(lambda: self._virtual.cluster.set_static_pods(node, objects))

    def crash(self, pod: str, namespace: str = "default", *, container: str = "", exit_code: int = 1) -> None:
        """End a running container of a pod as if by itself. Raises `LookupError` if none runs."""

        def end() -> bool:
            found = self._virtual.objects.get(Pod, namespace, pod)
            return found is not None and any(run.crash(found, container, exit_code) for run in self._runtimes())

        if not self._call(end):
            raise LookupError(f"no container {container or 'at all'} runs in pod {namespace}/{pod}")

    def delay(self, controller: str, seconds: float) -> None:
        """Let a controller (by upstream's name, such as "replicaset-controller") hear of changes late; 0 ends that."""

        def set_lag() -> None:
            names = {each.name for each in self._virtual.controllers}
            if controller not in names:
                raise LookupError(f"no controller {controller}; there are {', '.join(sorted(names))}")
            self._virtual.cluster.loop.lags.pop(controller, None)
            if seconds:
                self._virtual.cluster.loop.lags[controller] = timedelta(seconds=seconds)

        self._call(set_lag)

    def refuse(
        self,
        verb: str = "",
        kind: str = "",
        *,
        namespace: str = "",
        name: str = "",
        code: int = 403,
        reason: str = "Forbidden",
        message: str = "refused by the test",
        times: int | None = None,
    ) -> Refusal:
        """Let the API refuse requests: of clients and of the cluster's own controllers and nodes alike.

        `verb` is get, list, create, update, patch, delete or bind. `with cluster.refuse("create", "Pod"): ...`
        """
        refusal = Refusal(verb, kind, namespace, name, code, reason, message, times, 0, self._refusals)
        self._call(lambda: self._refusals.append(refusal))
        return refusal

    def conflict(self, verb: str = "update", kind: str = "", *, times: int = 1, **which: str) -> Refusal:
        """Let requests meet a conflict, as if somebody had been faster."""
        why = "the object has been modified; please apply your changes to the latest version and try again"
        return self.refuse(verb, kind, code=409, reason="Conflict", message=why, times=times, **which)

    # Below

    @property
    def _api(self) -> Api:
        return self._virtual.api

    def _runtimes(self) -> Iterator[SimulatedRuntime]:
        for runtime in self._virtual.cluster.runtimes.values():
            assert isinstance(runtime, SimulatedRuntime), "all nodes are simulated"
            yield runtime

    def _on_request(self, verb: str, resource: Resource, namespace: str, name: str) -> None:
        for refusal in tuple(self._refusals):
            if refusal._meets(verb, resource, namespace, name):
                refusal.refused += 1
                if refusal.times is not None and refusal.refused >= refusal.times:
                    refusal.lift()
                raise errors.failure(refusal.code, refusal.reason, refusal.message)

    def _call(self, call: Callable[[], T]) -> T:
        async def run() -> T:
            return call()

        return self._await(run())

    def _await(self, awaited: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(awaited, self._loop).result()

    async def _pass(self, duration: timedelta, until: Callable[[], bool]) -> bool:
        async with self._passing:
            clock, end = self._virtual.clock, self._virtual.clock.now() + duration
            while True:
                for _ in range(STEPS_AT_ONCE):
                    if until():
                        return True
                    if not clock.step(end):
                        clock.run(end - clock.now())
                        return until()
                await asyncio.sleep(0)

    async def _flow(self) -> None:
        """A minute at a time. What does not settle within one gets its next minute a little later, so that the clients
        get their turn and what waits for somebody outside does not wait for days."""
        while True:
            settled = await self._pass(timedelta(minutes=1), self._virtual.is_settled)
            await asyncio.sleep(0.001 if settled else 0.05)

    def _work_soon(self) -> None:
        """What is due at this moment is done soon, on the event loop; never inside the call that it follows from."""
        if not self._working:
            self._working = True
            self._loop.call_soon(self._work)

    def _work(self) -> None:
        self._working = False
        for _ in range(STEPS_AT_ONCE):
            if not self._virtual.clock.step(self._virtual.clock.now()):
                return
        self._work_soon()


def _read(manifests: str | Path | JsonObject | Iterable[JsonObject]) -> Iterator[JsonObject]:
    """Every object of what `Cluster.apply` takes."""
    if isinstance(manifests, dict):
        yield from manifests["items"] if manifests.get("kind") == "List" else (manifests,)
    elif isinstance(manifests, str) and "\n" in manifests:
        for document in yaml.safe_load_all(manifests):
            if document:
                yield from _read(document)
    elif isinstance(manifests, str | Path):
        path = Path(manifests)
        files = sorted(file for file in path.rglob("*") if file.suffix in _SUFFIXES) if path.is_dir() else [path]
        for file in files:
            yield from _read(file.read_text() + "\n")
    else:
        for each in manifests:
            yield from _read(each)


__all__ = ["Cluster", "Refusal", "StatusError"]
