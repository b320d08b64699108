"""The two APIs that scripts are played against, and the loops that play many scripts, or one."""

from __future__ import annotations

import os
import random
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

import msgspec

from seatrial.cluster.clock import VirtualClock
from seatrial.cluster.loop import ControlLoop
from seatrial.cluster.objects import Objects
from seatrial.control import nodelifecycle
from seatrial.control.access import User
from seatrial.control.controller import NEWEST_MINOR, Controller
from seatrial.control.manager import CONTROLLERS
from seatrial.control.serviceaccount import root_ca_publisher
from seatrial.deploy.client import ApiError, Client
from seatrial.kube.objects import JsonObject
from seatrial.server.api import Api
from seatrial.server.http import Handler, Request
from seatrial.server.pki import ADMIN, ADMIN_GROUP
from seatrial.server.store import Store
from tests.conformance.histories.play import MERGE, Player, is_namespaced, path
from tests.conformance.histories.script import Recording, Script, Snapshot, lasts_s
from tests.conformance.histories.world import World, of_whom
from tests.conformance.upstream import Upstream

STEP_S: Final = 1.1
"""At least this long is a step: timestamps have seconds, and what is older must look older."""
QUIET_S: Final = 0.6
"""Nothing changed for so long: quiet. Longer for kinds whose controllers let work wait, and on a busy machine."""
RESTLESS_S: Final = 20.0
IDLE_S: Final = 60.0
"""A connection that was idle for longer may have been closed."""
LATE_S: Final = 6.0
"""How long a controller that was seen not to have counted yet is waited for: the machine may be busy."""
WITHOUT: Final = (
    "node-lifecycle-controller",
    "node-ipam-controller",
    "pod-garbage-collector-controller",
    "taint-eviction-controller",
)
"""Controllers of nodes and for pods on nodes: the script is what happens to nodes."""
OF_NODES: Final = frozenset({"nodes"})
"""Kinds of histories for which these controllers run all the same, but the clean-up of pods."""
NEVER: Final = timedelta(hours=24)
"""So long a node may say nothing: the script says how it is."""
ORIGIN: Final = datetime(2026, 3, 1, 12, tzinfo=UTC)
_LETTERS: Final = "bcdfghjklmnpqrstvwxz2456789"


class UpstreamTarget:
    """Kubernetes, shared by many histories: requests by a pool of threads, one watch for each kind."""

    def __init__(self, upstream: Upstream, kinds: Iterable[str]) -> None:
        self._upstream = upstream
        self._local = threading.local()
        self._worlds: dict[str, World] = {}
        self._stopped = False
        for kind in kinds:
            threading.Thread(target=self._watch, args=(kind,), daemon=True).start()

    def add(self, world: World) -> None:
        self._worlds[world.name] = world

    def remove(self, world: World) -> None:
        self._worlds.pop(world.name, None)

    def stop(self) -> None:
        self._stopped = True

    def now(self) -> datetime:
        return datetime.now(UTC)

    def request(
        self, method: str, path: str, body: object = None, content_type: str = "application/json"
    ) -> tuple[int, Any]:
        client = getattr(self._local, "client", None)
        if client is None or time.monotonic() - self._local.used > IDLE_S:
            client = self._local.client = Client(self._upstream.kubeconfig)
        self._local.used = time.monotonic()
        try:
            return 200, client.request(method, path, body, content_type=content_type)
        except ApiError as error:
            return error.code, error.status

    def _watch(self, kind: str) -> None:
        client = Client(self._upstream.kubeconfig)
        everything = path(kind, "")
        listed = client.request("GET", everything)
        revision = listed["metadata"]["resourceVersion"]
        connection = client._connection
        while not self._stopped:
            connection.request("GET", f"{everything}?watch=true&resourceVersion={revision}&timeoutSeconds=3000")
            if connection.sock is not None:
                connection.sock.settimeout(None)
            for line in connection.getresponse():
                event = msgspec.json.decode(line)
                raw: JsonObject = event["object"]
                if event["type"] in ("ADDED", "MODIFIED", "DELETED"):
                    revision = raw["metadata"]["resourceVersion"]
                    world = self._world_of(raw)
                    if world is not None:
                        world.note(raw, gone=event["type"] == "DELETED")

    def _world_of(self, raw: JsonObject) -> World | None:
        return self._worlds.get(of_whom(raw))


def play_upstream(
    target: UpstreamTarget, scripts: Sequence[Script], quiet_s: float = QUIET_S, step_s: float = STEP_S
) -> list[Recording]:
    """All scripts at once, step by step: the next step begins when every namespace has been quiet for a while."""
    run = uuid.uuid4().hex[:6]
    players = [
        Player(target, World(f"h{run}-{number}", nodes_alike=script.nodes_alike), script.given)
        for number, script in enumerate(scripts)
    ]
    snapshots: list[list[Snapshot]] = [[] for _ in scripts]
    times: list[list[tuple[float, float]]] = [[] for _ in scripts]
    with ThreadPoolExecutor(8) as pool:
        for player in players:
            target.add(player.world)
        list(pool.map(lambda player: player.begin(), players))
        _await_quiet([player.world for player in players], quiet_s)
        ended, origin = time.monotonic(), float(int(time.time()))

        def play(number: int) -> float:
            at = time.time() - origin
            players[number].do(scripts[number].commands[step])
            return at

        for step in range(max(len(script.commands) for script in scripts)):
            began = ended
            going = [number for number, script in enumerate(scripts) if step < len(script.commands)]
            given = dict(zip(going, pool.map(play, going), strict=True))
            time.sleep(max((lasts_s(scripts[number].commands[step]) for number in going), default=0.0))
            restless = _await_quiet([players[number].world for number in going], quiet_s)
            ended = max(began + step_s, time.monotonic())
            time.sleep(max(0.0, ended - time.monotonic()))
            for number in going:
                snapshot = {"answers": players[number].answers, **players[number].world.snapshot()}
                if players[number].world.name in restless:
                    snapshot["restless"] = True
                snapshots[number].append(snapshot)
                times[number].append((round(given[number], 2), round(time.time() - origin, 2)))
        for player in players:
            target.remove(player.world)
        list(pool.map(lambda player: _clear(target, player.world.name), players))
        left = [key for player in players for key in player.world.objects if not is_namespaced(key[0])]
        for kind, name in left:
            target.request("PATCH", path(kind, "", name), {"metadata": {"finalizers": None}}, MERGE)
        list(pool.map(lambda key: target.request("DELETE", path(key[0], "", key[1])), left))
    told = zip(scripts, snapshots, times, strict=True)
    return [Recording(script, tuple(seen), tuple(instants)) for script, seen, instants in told]


def _clear(target: UpstreamTarget, namespace: str) -> None:
    """Pods first: no kubelet ends them, and a namespace that waits for them keeps upstream busy."""
    target.request("DELETE", path("Pod", namespace) + "?gracePeriodSeconds=0")
    target.request("DELETE", f"/api/v1/namespaces/{namespace}")


def _await_quiet(worlds: Sequence[World], quiet_s: float) -> set[str]:
    """The names of those that did not come to rest."""
    began = time.monotonic()
    quiet_s *= max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))
    while True:
        now = time.monotonic()
        if not any(max(world.changed, began) > now - quiet_s for world in worlds) and (
            all(world.is_counted() for world in worlds) or not any(world.changed > now - LATE_S for world in worlds)
        ):
            return set()
        if now - began > RESTLESS_S:
            return {world.name for world in worlds if world.changed > now - quiet_s}
        time.sleep(0.05)


class Requests:
    """seatrial's API in this thread, asked as over HTTP."""

    def __init__(self, api: Api) -> None:
        self._handler = Handler(api)

    def request(
        self, method: str, path: str, body: object = None, content_type: str = "application/json"
    ) -> tuple[int, Any]:
        url = urlsplit(path)
        raw = b"" if body is None else msgspec.json.encode(body)
        headers = {"accept": "application/json", "content-type": content_type}
        request = Request(method, url.path, parse_qs(url.query), headers, raw)
        answering = self._handler.respond(request, User(ADMIN, (ADMIN_GROUP,)), ())
        while True:  # it only ever yields to let a commit happen
            try:
                answering.send(None)
            except StopIteration as done:
                response = done.value
                return response.status, msgspec.json.decode(response.body)


class Ours:
    """seatrial's API and controllers in this thread, in virtual time."""

    def __init__(
        self,
        seed: str,
        controllers: Sequence[Controller] = CONTROLLERS,
        minor: int = NEWEST_MINOR,
        *,
        nodes: bool = False,
    ) -> None:
        random_ = random.Random(seed)
        self.clock = VirtualClock(ORIGIN)
        self.api = Api(
            Store(None),
            version=f"1.{minor}",
            now=self.clock.now,
            new_uid=lambda: str(uuid.UUID(int=random_.getrandbits(128), version=4)),
            suffix=lambda: "".join(random_.choices(_LETTERS, k=5)),
            disabled_plugins=("ServiceAccount",),  # as it is upstream here
        )
        self.request = Requests(self.api).request
        left_out = {*WITHOUT, "node-controller", "pod-garbage-collector"}  # sources of events, not the names of flags
        everybody = (*controllers, root_ca_publisher("CERTIFICATE"))
        if nodes:  # nobody renews leases
            left_out -= {"taint-eviction-controller"}
            everybody = (*everybody, *(replace(each, name="nodes") for each in nodelifecycle.controllers(NEVER)))
        wanted = [controller for controller in everybody if controller.name not in left_out]
        self._loop = ControlLoop(wanted, Objects(self.api), self.clock, minor=minor)
        self._loop.start()

    def now(self) -> datetime:
        return self.clock.now()

    def sleep_until(self, second: float) -> None:
        self.clock.run(max(timedelta(0), ORIGIN + timedelta(seconds=second) - self.clock.now()))


def play_ours(
    recording: Recording, kinds: Iterable[str], step_s: float = STEP_S, minor: int = NEWEST_MINOR
) -> list[Snapshot]:
    """A recorded script again, each command and each look at the second at which upstream had it."""
    script = recording.script
    if script.kind == "daemonset" and not script.nodes_alike:  # older recordings of DaemonSets do not show nodes
        kinds = frozenset(kinds) - {"Node"}
    ours = Ours(script.seed, minor=minor, nodes=script.kind in OF_NODES)
    return list(_snapshots(ours, recording, kinds, step_s))


def _times(recording: Recording, step_s: float) -> Iterator[tuple[float, float]]:
    """Older recordings do not say: as soon as it may have been."""
    yield from recording.times
    if not recording.times:
        second = 0.3 + STEP_S
        for command in recording.script.commands:
            yield second, (second := second + step_s + lasts_s(command))


def _snapshots(ours: Ours, recording: Recording, kinds: Iterable[str], step_s: float) -> Iterator[Snapshot]:
    world = World("h000000-0", nodes_alike=recording.script.nodes_alike)
    with _followed(ours, world, frozenset(kinds)):
        player = Player(ours, world, recording.script.given)
        player.begin()
        for command, (given, looked) in zip(recording.script.commands, _times(recording, step_s), strict=True):
            ours.sleep_until(given)
            player.do(command)
            ours.sleep_until(looked)
            yield {"answers": player.answers, **world.snapshot()}


@contextmanager
def _followed(ours: Ours, world: World, kinds: frozenset[str]) -> Iterator[None]:
    def on_change(before: JsonObject | None, after: JsonObject | None, revision: int) -> None:
        raw = after or before
        if raw is not None and raw["kind"] in kinds and of_whom(raw) == world.name:
            world.note(raw, gone=after is None)

    stop: Callable[[], None] = ours.api.subscribe(on_change)
    try:
        yield
    finally:
        stop()
