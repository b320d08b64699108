"""Our API and controller on a history, and what they did in the form in which `upstream/cronjob` tells it.

Compared is instant by instant (what lies closer together than `TOGETHER_S` is one): Jobs made and deleted, the statuses
in the end, events with their counts. Upstream writes a new Job into the status at once, ours in a decision of its own.
"""

from __future__ import annotations

import json
import random
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import zip_longest
from typing import Any

from seatrial.cluster.clock import VirtualClock
from seatrial.cluster.loop import ControlLoop
from seatrial.cluster.objects import Objects
from seatrial.control import cronjob
from seatrial.kube.objects import JsonObject
from seatrial.server.api import Api
from seatrial.server.store import Store
from seatrial.server.times import wire_time
from tests.conformance.cronjob.histories import Json
from tests.conformance.histories.targets import Requests

TOGETHER_S = 0.4
EDGE_OF_RATION = frozenset({1_000_259})
"""Seeds of histories with an event at the very moment at which its source may send one more: in the test upstream hears
a millisecond later of what it wrote, and that decides."""
SPACE = "default"
_JOBS = f"/apis/batch/v1/namespaces/{SPACE}/jobs"
_CRON_JOBS = f"/apis/batch/v1/namespaces/{SPACE}/cronjobs"
_QUOTAS = f"/api/v1/namespaces/{SPACE}/resourcequotas"
_MERGE = "application/merge-patch+json"
_NOTHING: Json = {"active": [], "scheduled": "", "successful": ""}


def differences(history: Json, upstream: list[Json]) -> Iterator[str]:
    """Where ours does otherwise than upstream did, in words."""
    theirs, ours = _instants(upstream), _instants(play(history))
    for one, other in zip_longest(theirs, ours):
        if one is None or other is None:
            yield f"upstream {one}, here {other}"
            return
        changed = [key for key in one if key != "at" and one[key] != other[key]]
        if changed or abs(one["at"] - other["at"]) > TOGETHER_S / 2:
            expected, actual = ({key: side[key] for key in ("at", *changed)} for side in (one, other))
            yield f"upstream {expected}, here {actual}"
            return


def play(history: Json) -> list[Json]:
    return _Play(history).run()


class _Play:
    def __init__(self, history: Json) -> None:
        self.history = history
        self.begin = datetime.fromtimestamp(history["begin"], UTC)
        self.clock = VirtualClock(self.begin)
        draw = random.Random(history["begin"])
        self.api = Api(
            Store(None), now=self.clock.now, new_uid=lambda: str(uuid.UUID(int=draw.getrandbits(128), version=4))
        )
        self.requests = Requests(self.api)
        self.lines: list[Json] = []
        self.by_hand = False
        self.quota = False
        self.stop: Callable[[], None] | None = None

    def run(self) -> list[Json]:
        self._send("POST", "/api/v1/namespaces", {"metadata": {"name": SPACE}})
        self.api.subscribe(self._note)
        self._start()
        for command in self.history["commands"]:
            self._until(command["at"])
            self.by_hand = True
            self._do(command)
            self.by_hand = False
        self._until(self.history["until"])
        return self.lines

    def _until(self, second: float) -> None:
        self.clock.run(self.begin + timedelta(seconds=second) - self.clock.now())

    def _start(self) -> None:
        if self.stop is None:
            loop = ControlLoop((cronjob.CONTROLLER,), Objects(self.api), self.clock)
            loop.start()
            self.stop = loop.stop

    def _send(self, method: str, path: str, body: object = None) -> Any:
        content_type = _MERGE if method == "PATCH" else "application/json"
        code, answer = self.requests.request(method, path, body, content_type)
        assert code < 400 or code in (404, 409), answer
        return answer if code < 400 else None

    def _note(self, before: JsonObject | None, after: JsonObject | None, _: int) -> None:
        raw = after or before
        assert raw is not None
        name = raw["metadata"]["name"]
        if raw["kind"] == "Event" and after is not None:
            about = raw["involvedObject"]["name"]
            self._tell("event", f"{about} {raw['type']} {raw['reason']} {raw['message']} x{raw.get('count', 1)}")
        if self.by_hand:
            return
        if raw["kind"] == "Job" and before is None:
            made, image = raw["metadata"], raw["spec"]["template"]["spec"]["containers"][0]["image"]
            labels, annotations = made.get("labels", {}), made.get("annotations", {})
            self._tell("create", {"name": name, "labels": labels, "annotations": annotations, "image": image})
        elif raw["kind"] == "Job" and after is None:
            self._tell("delete", name)
        elif raw["kind"] == "CronJob" and before is not None and after is not None:
            status = raw.get("status") or {}
            told = {
                "name": name,
                "active": [ref["name"] for ref in status.get("active") or ()],
                "scheduled": status.get("lastScheduleTime") or "",
                "successful": status.get("lastSuccessfulTime") or "",
            }
            self._tell("status", told)

    def _tell(self, did: str, what: object) -> None:
        self.lines.append({"at": (self.clock.now() - self.begin).total_seconds(), "did": did, "what": what})

    def _jobs(self, wanted: Callable[[Json], bool]) -> list[Json]:
        return sorted(filter(wanted, self._send("GET", _JOBS)["items"]), key=lambda job: job["metadata"]["name"])

    def _end_of(self, command: Json, wanted: Callable[[Json], bool], status: Json) -> None:
        if found := self._jobs(wanted):
            name = found[command["pick"] % len(found)]["metadata"]["name"]
            self._send("PATCH", f"{_JOBS}/{name}/status", {"status": status})

    def _do(self, command: Json) -> None:
        name, now = command["name"], wire_time(self.clock.now())
        one = f"{_CRON_JOBS}/{name}"
        there = self._send("GET", one)
        match command["do"]:
            case "create" if there is None:
                self._send("POST", _CRON_JOBS, command["object"])
            case "patch" if there is not None:
                self._send("PATCH", one, command["spec"])
            case "delete" if there is not None:
                self._send("PATCH", one, {"metadata": {"finalizers": None}})
                if "deletionTimestamp" not in there["metadata"]:
                    self._send("DELETE", one)
                for job in self._jobs(lambda job: _owner(job) == there["metadata"]["uid"]):
                    self._send("DELETE", f"{_JOBS}/{job['metadata']['name']}?propagationPolicy=Background")
            case "leave" if there is not None:
                self._send("DELETE", one + "?propagationPolicy=Foreground")
            case "begin":
                self._end_of(command, lambda job: "startTime" not in job["status"], {"startTime": now})
            case "end":
                status: Json = {"conditions": [{"type": command["end"], "status": "True"}]}
                if command["end"] == "Complete":
                    status["completionTime"] = now
                self._end_of(command, lambda job: not job["status"].get("conditions"), status)
            case "remove":
                if found := self._jobs(lambda job: True):
                    gone = found[command["pick"] % len(found)]["metadata"]["name"]
                    self._send("DELETE", f"{_JOBS}/{gone}?propagationPolicy=Background")
            case "job" if not self.quota:
                self._send("POST", _JOBS, _by_hand(command, there, int(self.clock.now().timestamp()) // 60))
            case "quota":
                self._set_quota()
            case "stop" if self.stop is not None:
                self.stop()
                self.stop = None
            case "start":
                self._start()

    def _set_quota(self) -> None:
        self.quota = not self.quota
        if self.quota:
            hard = {"count/jobs.batch": "0"}
            self._send("POST", _QUOTAS, {"metadata": {"name": "none"}, "spec": {"hard": hard}})
            self._send("PATCH", f"{_QUOTAS}/none/status", {"status": {"hard": hard, "used": hard}})
        else:
            self._send("DELETE", f"{_QUOTAS}/none")


def _owner(job: Json) -> str | None:
    return next((ref["uid"] for ref in job["metadata"].get("ownerReferences") or () if ref.get("controller")), None)


def _by_hand(command: Json, cron_job: Json | None, minute: int) -> Json:
    meta: Json = {"name": f"{command['name']}-{minute + command['ahead']}"}
    if command["owned"] and cron_job is not None:
        owner = {"apiVersion": "batch/v1", "kind": "CronJob", "name": command["name"], "controller": True}
        meta["ownerReferences"] = [{**owner, "uid": cron_job["metadata"]["uid"], "blockOwnerDeletion": True}]
    pod = {"spec": {"restartPolicy": "Never", "containers": [{"name": "app", "image": "app:1"}]}}
    return {"metadata": meta, "spec": {"template": pod}}


def _instants(lines: list[Json]) -> list[Json]:
    known: dict[str, Json] = {}
    found: list[Json] = []
    last = -1.0
    for line in lines:
        if not found or line["at"] - last > TOGETHER_S:
            found.append({"at": line["at"], "created": [], "deleted": [], "statuses": {}, "events": {}})
        last, what, instant = line["at"], line["what"], found[-1]
        match line["did"]:
            case "create":
                instant["created"].append({**what, "labels": what["labels"] or {}})
            case "delete":
                instant["deleted"].append(what)
            case "status":
                instant["statuses"][what["name"]] = what
            case _:
                text, _, count = what.rpartition(" x")
                instant["events"][text] = count
    for instant in found:
        for key in ("created", "deleted"):
            instant[key] = sorted(instant[key], key=lambda each: json.dumps(each, sort_keys=True))
        statuses = instant["statuses"]
        instant["statuses"] = {
            name: now for name, now in statuses.items() if known.get(name, {"name": name, **_NOTHING}) != now
        }
        known |= statuses
    return [each for each in found if any(each[key] for key in each if key != "at")]
