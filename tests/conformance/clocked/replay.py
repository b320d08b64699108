"""Our API and controllers on a history, and how objects looked in it, in the form in which `upstream/clocked` tells it.

Compared is instant by instant: what lies closer together than `TOGETHER_S` is one.
"""

from __future__ import annotations

import json
import random
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import zip_longest
from typing import Any, Final

from seatrial.cluster.clock import VirtualClock
from seatrial.cluster.loop import ControlLoop
from seatrial.cluster.objects import Objects
from seatrial.control import podgc, ttl
from seatrial.control.controller import Controller
from seatrial.kube.objects import JsonObject
from seatrial.server.api import Api
from seatrial.server.store import Store
from seatrial.server.times import wire_time
from tests.conformance.clocked.histories import Json
from tests.conformance.histories.targets import Requests

TOGETHER_S: Final = 0.3
_MERGE: Final = "application/merge-patch+json"
_PATHS: Final = {
    "Pod": "/api/v1/namespaces/default/pods",
    "Node": "/api/v1/nodes",
    "Job": "/apis/batch/v1/namespaces/default/jobs",
}


def differences(history: Json, upstream: list[Json]) -> Iterator[str]:
    """Where ours does otherwise than upstream did, in words."""
    theirs, ours = (_instants(lines) for lines in (upstream, play(history)))
    for one, other in zip_longest(theirs, ours):
        if one is None or other is None:
            yield f"upstream {one}, here {other}"
            return
        (at, looks), (ours_at, ours_looks) = one, other
        if looks != ours_looks or abs(at - ours_at) > TOGETHER_S:
            changed = sorted(key for key in looks | ours_looks if looks.get(key) != ours_looks.get(key))
            told = "; ".join(f"{key}: {looks.get(key)} | {ours_looks.get(key)}" for key in changed)
            yield f"at {at} | {ours_at}: {told or sorted(looks)}"
            return


def play(history: Json) -> list[Json]:
    return _Play(history).run()


def _controllers(history: Json) -> Iterator[Controller]:
    for name in history["run"]:
        match name:
            case "podgc":
                yield podgc.CONTROLLER
            case "ttl":
                yield ttl.CONTROLLER


class _Play:
    def __init__(self, history: Json) -> None:
        self.history = history
        self.begin = datetime.fromtimestamp(history["begin"], UTC)
        self.clock = VirtualClock(self.begin)
        draw = random.Random(history["begin"])
        self.api = Api(
            Store(None),
            now=self.clock.now,
            new_uid=lambda: str(uuid.UUID(int=draw.getrandbits(128), version=4)),
            disabled_plugins=("ServiceAccount",),
        )
        self.requests = Requests(self.api)
        self.lines: list[Json] = []
        self.looks: dict[str, str] = {}

    def run(self) -> list[Json]:
        for name in ("default", "kube-system"):
            self._send("POST", "/api/v1/namespaces", {"metadata": {"name": name}})
        self.api.subscribe(self._note)
        ControlLoop(tuple(_controllers(self.history)), Objects(self.api), self.clock).start()
        for command in self.history["commands"]:
            self._until(command["at"])
            self._do(**{key: value for key, value in command.items() if key != "at"})
        self._until(self.history["until"])
        return self.lines

    def _until(self, second: float) -> None:
        self.clock.run(self.begin + timedelta(seconds=second) - self.clock.now())

    def _send(self, method: str, path: str, body: object = None) -> Any:
        content_type = _MERGE if method == "PATCH" else "application/json"
        code, answer = self.requests.request(method, path, body, content_type)
        assert code < 400 or code in (404, 409), answer
        return answer if code < 400 else None

    def _do(self, do: str, kind: str, name: str, body: Json) -> None:
        now = wire_time(self.clock.now())
        body = json.loads(json.dumps(body).replace("$NOW", now))
        status = body.pop("status", None)
        one = f"{_PATHS[kind]}/{name}"
        there = self._send("GET", one)
        match do:
            case "create" if there is None:
                self._send("POST", _PATHS[kind], {**body, "metadata": {**body.get("metadata", {}), "name": name}})
                if status:
                    self._send("PATCH", one + "/status", {"status": status})
            case "patch" if there is not None:
                if body:
                    self._send("PATCH", one, body)
                if status:
                    self._send("PATCH", one + "/status", {"status": status})
            case "finish" if there is not None and not there["status"].get("conditions"):
                self._send("PATCH", one + "/status", {"status": status})
            case "delete" if there is not None:
                self._send("DELETE", one + ("?propagationPolicy=Background" if kind == "Job" else ""))

    def _note(self, before: JsonObject | None, after: JsonObject | None, _: int) -> None:
        raw = after or before
        assert raw is not None
        if raw["kind"] == "Event":
            about = raw["involvedObject"]
            key = f"event {about['kind']}/{about['name']} {raw['type']} {raw['reason']} {raw['message']}"
            self._tell(key, str(raw.get("count", 1)))
        elif raw["kind"] in _PATHS:
            if after is None:
                self._tell(f"{raw['kind']}/{raw['metadata']['name']}", "gone")
            else:
                self._tell(f"{raw['kind']}/{raw['metadata']['name']}", _look(after))

    def _tell(self, about: str, now: str) -> None:
        if self.looks.get(about) != now:
            self.looks[about] = now
            self.lines.append({"at": (self.clock.now() - self.begin).total_seconds(), "about": about, "is": now})


def _look(raw: JsonObject) -> str:
    said = ["going"] if "deletionTimestamp" in raw["metadata"] else []
    if raw["kind"] == "Pod":
        status = raw.get("status") or {}
        conditions = status.get("conditions") or ()
        said += [status.get("phase", ""), *(f"{c['type']}={c['status']} {c.get('reason', '')}" for c in conditions)]
    return ", ".join(sorted(said))


def _instants(lines: list[Json]) -> list[tuple[float, dict[str, str]]]:
    """How objects look after each instant at which one changed."""
    found: list[tuple[float, dict[str, str]]] = []
    known: dict[str, str] = {}
    last = -1.0
    for line in lines:
        if not found or line["at"] - last > TOGETHER_S:
            found.append((line["at"], {}))
        last = line["at"]
        found[-1][1][line["about"]] = line["is"]
    result = []
    for at, looks in found:
        changed = {about: now for about, now in looks.items() if known.get(about) != now}
        known |= looks
        if changed:
            result.append((at, changed))
    return result
