"""Playing a script: each command becomes requests to a Kubernetes API; the driver is also scheduler and kubelet."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime
from functools import cache
from typing import Any, Final, Protocol
from urllib.parse import urlencode

from seatrial.kube.objects import JsonObject
from seatrial.server.resources import group_version, load
from tests.conformance.histories.script import AnyCommand, Create, Delete, Nodes, Patch, Pods, Relabel, Wait
from tests.conformance.histories.world import World, host

STRATEGIC: Final = "application/strategic-merge-patch+json"
MERGE: Final = "application/merge-patch+json"
PREFERRED: Final = (
    "v1",
    "apps/v1",
    "batch/v1",
    "autoscaling/v2",
    "policy/v1",
    "discovery.k8s.io/v1",
    "scheduling.k8s.io/v1",
    "rbac.authorization.k8s.io/v1",
    "storage.k8s.io/v1",
)
UNREACHABLE: Final = "node.kubernetes.io/unreachable"
EVICTED: Final = ("DeletionByTaintManager", "Taint manager: deleting due to NoExecute taint")
COLLECTED: Final = ("DeletionByPodGC", "PodGC: node no longer exists")


_UID: Final = re.compile(r"\$UID:([\w./-]+)")


class Target(Protocol):
    """A Kubernetes API to play against."""

    def request(
        self, method: str, path: str, body: object = None, content_type: str = "application/json"
    ) -> tuple[int, Any]:
        """Status code and decoded answer."""

    def now(self) -> datetime: ...


@cache
def api_version(kind: str) -> str:
    resources = load("1.37")
    return next(version for version in PREFERRED if resources.kind(version, kind) is not None)


def is_namespaced(kind: str) -> bool:
    resource = load("1.37").kind(api_version(kind), kind)
    return resource is not None and resource.namespaced


def path(kind: str, namespace: str, name: str = "", subresource: str = "") -> str:
    resource = load("1.37").kind(api_version(kind), kind)
    assert resource is not None
    version = group_version(resource)
    parts = ["/apis" if "/" in version else "/api", version]
    if resource.namespaced and namespace:
        parts += ["namespaces", namespace]
    parts.append(resource.plural)
    return "/".join(part for part in [*parts, name, subresource] if part)


def is_active(pod: JsonObject) -> bool:
    return not _is_going(pod) and not _is_finished(pod)


def _is_finished(pod: JsonObject) -> bool:
    return (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")


def _is_going(pod: JsonObject) -> bool:
    return "deletionTimestamp" in pod["metadata"]


def _is_ready(pod: JsonObject) -> bool:
    conditions = (pod.get("status") or {}).get("conditions") or ()
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


ELIGIBLE: Final[dict[str, Callable[[JsonObject], bool]]] = {
    "running": lambda pod: is_active(pod) and pod["status"].get("phase") != "Running",
    "ready": lambda pod: is_active(pod) and not _is_ready(pod),
    "unready": lambda pod: _is_ready(pod) and not _is_finished(pod),
    "failed": lambda pod: not _is_finished(pod),
    "disrupted": lambda pod: not _is_finished(pod),
    "succeeded": lambda pod: not _is_finished(pod),
    "deleted": lambda pod: not _is_going(pod),
    "evicted": lambda pod: not _is_going(pod),
    "gone": _is_going,
}
"""Which pods a `Pods` command chooses from."""


class Player:
    """One script's run in one namespace of a target."""

    def __init__(self, target: Target, world: World, given: tuple[JsonObject, ...] = ()) -> None:
        self.target = target
        self.world = world
        self.answers: list[str] = []
        self._given = given

    def begin(self) -> None:
        for made in self._given:  # another history may have made them already
            kind, name, namespace = made["kind"], made["metadata"]["name"], made["metadata"].get("namespace", "")
            self._send("POST", path(kind, namespace), {"apiVersion": api_version(kind), **made})
            uid = self._send("GET", path(kind, namespace, name))["metadata"]["uid"]
            self.world.given_uid(f"{namespace}/{kind}/{name}", uid)
        metadata = {"name": self.world.name, "labels": {"history": self.world.name}}
        self._send("POST", "/api/v1/namespaces", {"metadata": metadata})
        self.answers.clear()

    def do(self, command: AnyCommand) -> None:
        """Ask for it; what was refused is in `answers`. `Wait` is the caller's: all histories wait together."""
        self.answers = []
        namespace = self.world.name
        match command:
            case Create(made):
                made = self._real(made)
                kind = made["kind"]
                self.world.made_by_script(kind, made["metadata"].get("name", ""))
                self._send("POST", path(kind, namespace), {"apiVersion": api_version(kind), **made})
            case Patch(target, patch, subresource):
                found = self.world.resolve(self._real(target))
                if found is not None:
                    self._send(
                        "PATCH",
                        path(found[0], namespace, found[1], subresource),
                        self._real(patch),
                        STRATEGIC if subresource != "scale" else MERGE,
                    )
            case Delete(target, options):
                found = self.world.resolve(self._real(target))
                if found is not None:
                    query = "?" + urlencode(options) if options else ""
                    self._send("DELETE", path(found[0], namespace, found[1]) + query)
            case Pods():
                for pod in self._chosen(ELIGIBLE[command.become], command.pick, command.where):
                    self._become(pod, command)
            case Nodes(become, name):
                self._lose(become, self._real(name))
            case Relabel(labels, pick, where):
                for pod in self._chosen(lambda pod: True, pick, where):
                    patch = {"metadata": {"labels": labels}}
                    self._send("PATCH", path("Pod", namespace, pod["metadata"]["name"]), patch, MERGE)
            case Wait():
                pass

    def _real(self, value: Any) -> Any:
        """What a script says, with this run's namespace for $NS, the time for $NOW, its uids for $UID:Kind/name."""
        text = json.dumps(value).replace("$NS", self.world.name).replace("$NOW", self._now())
        return json.loads(_UID.sub(lambda found: self.world.uid(found.group(1)), text))

    def _send(self, method: str, where: str, body: object = None, content_type: str = "application/json") -> Any:
        code, answer = self.target.request(method, where, body, content_type)
        if code >= 400:
            message = str(answer.get("message")).partition("\n")[0]  # a diff of Go structs may follow
            self.answers.append(self.world.stable(f"{code} {answer.get('reason')}: {message}"))
        return answer

    def _chosen(
        self, eligible: Callable[[JsonObject], bool], pick: tuple[int, ...] | None, where: str
    ) -> list[JsonObject]:
        pods = [
            raw for raw in self.world.in_order("Pod") if raw["metadata"]["name"].startswith(where) and eligible(raw)
        ]
        positions = (
            range(len(pods)) if pick is None else sorted({number % len(pods) for number in pick} if pods else ())
        )
        return [pods[position] for position in positions]

    def _become(self, pod: JsonObject, command: Pods) -> None:
        name, namespace = pod["metadata"]["name"], self.world.name
        where = path("Pod", namespace, name)
        match command.become:
            case "deleted":
                self._send("DELETE", where)
            case "gone":
                self._send("DELETE", f"{where}?gracePeriodSeconds=0")
            case "evicted":
                self._send(
                    "POST",
                    where + "/eviction",
                    {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name}},
                )
            case _:
                if not pod["spec"].get("nodeName") and not _is_going(pod):
                    node = {"apiVersion": "v1", "kind": "Node", "name": host(pod) or self._real(command.node)}
                    self._send(
                        "POST",
                        where + "/binding",
                        {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": name}, "target": node},
                    )
                patch = {"status": self._status(pod, command)}
                self._send("PATCH", where + "/status", patch, STRATEGIC)

    def _lose(self, become: str, target: str) -> None:
        found = self.world.resolve(target) if "/" in target else ("Node", target)
        if found is None:
            return
        kind, name = found
        if become in ("lost", "back"):
            self._mark_node(path(kind, "", name), lost=become == "lost")
            return
        for pod in self._chosen(lambda pod: pod["spec"].get("nodeName") == name, None, ""):
            self._pod_of_lost_node(pod, become)

    def _mark_node(self, where: str, *, lost: bool) -> None:
        """As node lifecycle does when a node's heartbeats end, or come again."""
        node = self._send("GET", where)
        if "spec" not in node:
            return
        ready = {"type": "Ready", "status": "Unknown" if lost else "True", "lastTransitionTime": self._now()}
        self._send("PATCH", where + "/status", {"status": {"conditions": [ready]}}, STRATEGIC)
        taints = [taint for taint in node["spec"].get("taints") or () if taint["key"] != UNREACHABLE]
        if lost:
            taints += [{"key": UNREACHABLE, "effect": effect} for effect in ("NoSchedule", "NoExecute")]
        self._send("PATCH", where, {"spec": {"taints": taints}}, MERGE)

    def _pod_of_lost_node(self, pod: JsonObject, become: str) -> None:
        where = path("Pod", self.world.name, pod["metadata"]["name"])
        status: JsonObject = {}
        match become:
            case "silent" if _is_ready(pod):
                status = {"conditions": [self._condition("Ready", "False")]}
            case "evicting" if not _is_going(pod):
                status = {"conditions": [self._condition("DisruptionTarget", "True", *EVICTED)]}
            case "collected" if not _is_finished(pod):
                disrupted = self._condition("DisruptionTarget", "True", *COLLECTED)
                status = {"phase": "Failed", "conditions": [disrupted]}
            case "heard" if _is_going(pod) and not _is_finished(pod):
                status = {"phase": "Failed", "conditions": [self._condition("Ready", "False")]}
            case "heard" if is_active(pod) and not _is_ready(pod):
                self._become(pod, Pods("ready"))
        if status:
            self._send("PATCH", where + "/status", {"status": status}, STRATEGIC)
        if become == "evicting" and not _is_going(pod):
            self._send("DELETE", where)
        if become in ("collected", "dropped") or (become == "heard" and _is_going(pod)):
            self._send("DELETE", f"{where}?gracePeriodSeconds=0")

    def _condition(self, kind: str, status: str, reason: str = "", message: str = "") -> JsonObject:
        said = {key: text for key, text in (("reason", reason), ("message", message)) if text}
        return {"type": kind, "status": status, "lastTransitionTime": self._now(), **said}

    def _now(self) -> str:
        return self.target.now().astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

    def _status(self, pod: JsonObject, command: Pods) -> JsonObject:
        """As a kubelet writes it; of times only those that controllers read."""
        now = self._now()
        phase = {"failed": "Failed", "disrupted": "Failed", "succeeded": "Succeeded"}.get(command.become, "Running")
        ready = "True" if command.become == "ready" else "False"
        before = {c["type"]: c for c in (pod.get("status") or {}).get("conditions") or ()}
        conditions = []
        for kind, holds in (("Initialized", "True"), ("Ready", ready), ("ContainersReady", ready)):
            old = before.get(kind)
            since = old["lastTransitionTime"] if old and old["status"] == holds else now
            conditions.append({"type": kind, "status": holds, "lastTransitionTime": since})
        if command.become == "disrupted":
            conditions.append(self._condition("DisruptionTarget", "True", "TerminationByKubelet"))
        status: JsonObject = {"phase": phase, "conditions": conditions, **self._real(command.detail)}
        if phase == "Running":
            address = (pod.get("status") or {}).get("podIP") or self.world.new_address(pod["metadata"]["name"])
            status |= {"podIP": address, "podIPs": [{"ip": address}], "hostIP": "192.0.2.1"}
        return status
