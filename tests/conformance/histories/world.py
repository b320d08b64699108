"""What is seen of one history's namespace, and how it is written down so that two runs can be compared.

`World.note` takes every change in order. A snapshot leaves out what no two runs share (uids, times, resourceVersions)
and gives what is named at random a stable name: ReplicaSets by the revision that they were created with, and
every mention of a name, a uid or a hash follows. Objects whose names are drawn (`generateName`) have no name
of their own; equal ones are counted. Where nodes are alike (`Script.nodes_alike`) they have none either, because
upstream takes them in no particular order: shown are the nodes with what is on each (`hosts`), equal ones counted.
"""

from __future__ import annotations

import re
import time
import uuid
from collections import Counter
from typing import Any, Final

import msgspec

from seatrial.control import nodettl
from seatrial.kube.objects import JsonObject
from tests.conformance.histories.script import Snapshot

REVISION: Final = "deployment.kubernetes.io/revision"
_TIME: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")
_TOKEN: Final = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9.-]*")
_DROPPED: Final = (
    "uid",
    "resourceVersion",
    "creationTimestamp",
    "managedFields",
    "selfLink",
    "generateName",
    "namespace",
)
_COMBINED: Final = "(combined from similar events)"
_OBSERVING: Final = ("Deployment", "ReplicaSet", "ReplicationController", "StatefulSet", "DaemonSet")
_STEPS: Final = re.compile(r"(from|to) \d+ (to|from) \d+")
"""Of a Deployment's events the numbers hang on how pods that change at once fall between its decisions."""
_CERTIFICATE: Final = re.compile(r"-----BEGIN CERTIFICATE-----.*-----END CERTIFICATE-----\s*", re.DOTALL)
_LOUD: Final = 20
"""About an object with so many events upstream says no more for some minutes (its recorder's burst is 25)."""
_SATURATED: Final = 9
"""From so many different messages on, upstream's recorder sums events up: later messages are not compared."""


def _sum_up_hints(piece: JsonObject) -> None:
    """Where endpoints are meant for other zones than their own, it is chance which ones: then only count."""
    hinted = [each for each in piece.get("endpoints") or () if each.get("hints")]
    zones = [[zone["name"] for zone in each["hints"].get("forZones") or ()] for each in hinted]
    if all(names in ([], [each.get("zone")]) for names, each in zip(zones, hinted, strict=True)):
        return
    for each in hinted:
        del each["hints"]
    piece["hints"] = sorted(zones)


def _without_kubelet(node: JsonObject) -> None:
    """Of a node that nobody runs: not what a kubelet would fill in, and what is attached in an order of its own.

    How many nodes there are is the sum over all histories, so only that the seconds are a number is the history's.
    """
    annotations = node["metadata"].get("annotations") or {}
    if annotations.get(nodettl.ANNOTATION, "").isdecimal():
        annotations = {**annotations, nodettl.ANNOTATION: "SECONDS"}
    node["metadata"]["annotations"] = annotations
    status = {key: value for key, value in node["status"].items() if key not in ("nodeInfo", "daemonEndpoints")}
    attached = sorted(status.get("volumesAttached") or (), key=lambda each: str(each["name"]))
    node["status"] = {**status, "volumesAttached": attached}


def of_whom(raw: JsonObject) -> str:
    """The name of the history that an object belongs to: its namespace, or its label or name where it has none."""
    about = raw.get("involvedObject", {"namespace": "default"})
    if not about.get("namespace"):
        return "-".join(about.get("name", "").split("-")[:2])
    if raw["kind"] == "VolumeAttachment":
        return "-".join(raw["spec"]["nodeName"].split("-")[:2])
    meta = raw["metadata"]
    return str(meta.get("namespace") or (meta.get("labels") or {}).get("history", ""))


class World:
    """One history's namespace. `name` is the real one; scripts and snapshots call it NS."""

    def __init__(self, name: str, *, nodes_alike: bool = False) -> None:
        self.name = name
        self.objects: dict[tuple[str, str], JsonObject] = {}
        self.order: dict[str, int] = {}
        """Uids in the order in which the objects came."""
        self.events: dict[str, JsonObject] = {}
        self.changed = time.monotonic()
        self._stable: dict[str, str] = {name: "NS"}
        self._given_uids: dict[str, str] = {}
        self._addresses = 0
        self._known: set[str] = set()
        self._by_script: set[str] = set()
        self._nodes_alike = nodes_alike

    def note(self, raw: JsonObject, *, gone: bool = False) -> None:
        """An object is there, changed or (`gone`) is no more."""
        kind, meta = raw["kind"], raw["metadata"]
        if kind != "Event" or meta["name"] not in self.events:  # what is said once more is nothing new
            self.changed = time.monotonic()
        if kind == "Event":
            self.events[meta["name"]] = raw
            return
        if meta["uid"] not in self.order:
            self.order[meta["uid"]] = len(self.order)
            self._name(raw)
        if kind == "Service" and raw["spec"].get("clusterIP") not in (None, "", "None"):
            self._stable[raw["spec"]["clusterIP"]] = f"ip-of-Service-{meta['name']}"
        if gone:
            self.objects.pop((kind, meta["name"]), None)
        else:
            self.objects[kind, meta["name"]] = raw

    def made_by_script(self, kind: str, name: str) -> None:
        self._by_script.add(f"{kind}/{name}")

    def given_uid(self, target: str, uid: str) -> None:
        """The uid of an object outside of the namespace, that `uid` knows as namespace/Kind/name."""
        self._given_uids[target] = uid
        self._stable[uid] = "uid-of-" + "-".join(map(self.stable, target.split("/")))

    def uid(self, target: str) -> str:
        """The uid of Kind/name; that of nothing if it is not there."""
        found = self.resolve(target)
        raw = None if found is None else self.objects.get(found)
        if raw is not None:
            return str(raw["metadata"]["uid"])
        if target not in self._given_uids:
            nothing = str(uuid.uuid5(uuid.NAMESPACE_URL, f"{self.name}/{target}"))
            self.given_uid(target, nothing)
        return self._given_uids[target]

    def new_address(self, pod: str) -> str:
        """An address for a pod, known by the pod's stable name."""
        self._addresses += 1
        address = f"10.244.{self._addresses // 250}.{self._addresses % 250 + 1}"
        self._stable[address] = f"ip-of-{self.stable(pod)}"
        return address

    def resolve(self, target: str) -> tuple[str, str] | None:
        """The kind and the real name of what a script names; None when a position finds nothing."""
        kind, _, name = target.partition("/")
        if name.startswith("#"):
            there = self.in_order(kind)
            return (kind, there[int(name[1:]) % len(there)]["metadata"]["name"]) if there else None
        known = (real for of, real in list(self.objects) if of == kind and self.stable(real) == name)
        return kind, next(known, name)

    def hosts(self) -> dict[str, JsonObject]:
        """By name, the nodes that are or were there: each with the pods on it, as snapshots show them."""
        if not self._nodes_alike:
            return {}
        nodes = {name: self.plain(raw) for (kind, name), raw in list(self.objects.items()) if kind == "Node"}
        pods: dict[str, Counter[bytes]] = {}
        for (kind, _), raw in list(self.objects.items()):
            if kind == "Pod":
                pods.setdefault(host(raw), Counter())[msgspec.json.encode(self.plain(raw), order="sorted")] += 1
        names = sorted({*nodes, *pods})
        return {name: {"node": nodes.get(name), "pods": _counted(pods.get(name, Counter()))} for name in names}

    def in_order(self, kind: str) -> list[JsonObject]:
        """The objects of a kind in an order that two runs share: of equal ones it does not matter which is which."""
        hosts = {name: msgspec.json.encode(shown, order="sorted") for name, shown in self.hosts().items()}

        def key(raw: JsonObject) -> tuple[bytes, bytes, int]:
            where = hosts.get({"Node": raw["metadata"]["name"], "Pod": host(raw)}.get(kind, ""), b"")
            return msgspec.json.encode(self.plain(raw), order="sorted"), where, self.order[raw["metadata"]["uid"]]

        return sorted((raw for (of, _), raw in list(self.objects.items()) if of == kind), key=key)

    def stable(self, text: str) -> str:
        """`text` with every drawn name in it replaced by its stable one."""
        text = _TIME.sub("TIME", text)
        return _TOKEN.sub(self._token, text)

    def plain(self, raw: JsonObject) -> JsonObject:
        """An object as snapshots show it."""
        if raw["kind"] == "Node" and self._nodes_alike:
            return self._plain_node(raw)
        meta = {key: value for key, value in raw["metadata"].items() if key not in _DROPPED}
        generation = meta.pop("generation", None)
        if f"{raw['kind']}/{meta['name']}" in self._by_script:
            meta["generation"] = generation
        if self.stable(meta["name"]) == "*":  # though another name may have been taken from it since
            meta["name"] = "*"
        status = dict(raw.get("status") or {})
        if "observedGeneration" in status and generation is not None:
            status["observedGeneration"] = "current" if status["observedGeneration"] == generation else "behind"
        if isinstance(status.get("conditions"), list):
            status["conditions"] = sorted(status["conditions"], key=lambda condition: str(condition.get("type")))
        shown = {**raw, "metadata": meta, "status": status}
        claim = (raw.get("spec") or {}).get("claimRef") if raw["kind"] == "PersistentVolume" else None
        if claim is not None:
            known = {key: value for key, value in claim.items() if key != "resourceVersion"}
            shown["spec"] = {**raw["spec"], "claimRef": known}
        if raw["kind"] == "Node":
            _without_kubelet(shown)
        shown.pop("apiVersion", None)
        if raw["kind"] == "Pod":  # the ServiceAccount admission is off upstream: it mounts a token under a drawn name
            shown["spec"] = {key: value for key, value in raw["spec"].items() if not key.startswith("serviceAccount")}
        stable: JsonObject = self._stabilised(shown)
        if raw["kind"] == "Service":  # which numbers are free hangs on what else is there
            for port in stable["spec"].get("ports") or ():
                port.pop("nodePort", None)
            stable["spec"].pop("healthCheckNodePort", None)
        if raw["kind"] == "Node":  # who of two writers came first
            stable.get("spec", {}).get("taints", []).sort(key=lambda taint: (taint["key"], taint["effect"]))
        if raw["kind"] == "ConfigMap" and "ca.crt" in stable.get("data", {}):
            stable["data"]["ca.crt"] = _CERTIFICATE.sub("CERTIFICATE", stable["data"]["ca.crt"])
        if raw["kind"] == "EndpointSlice":
            _sum_up_hints(stable)
        if raw["kind"] in ("EndpointSlice", "Endpoints"):
            for unordered in ("endpoints", "subsets"):
                if unordered in stable:
                    stable[unordered] = sorted(
                        stable[unordered], key=lambda one: msgspec.json.encode(one, order="sorted")
                    )
        return stable

    def _plain_node(self, raw: JsonObject) -> JsonObject:
        """What the script says about nodes; other things about them are their controllers'."""
        spec, conditions = raw.get("spec") or {}, (raw.get("status") or {}).get("conditions") or ()
        taints = sorted((taint["key"], taint["effect"]) for taint in spec.get("taints") or ())
        ready = [condition["status"] for condition in conditions if condition["type"] == "Ready"]
        labels = self._stabilised(raw["metadata"].get("labels") or {})
        return {"labels": labels, "taints": taints, "unschedulable": spec.get("unschedulable", False), "ready": ready}

    def is_counted(self) -> bool:
        """Whether the controllers' counts are those of what is there, as far as that can be told from outside."""
        pods: Counter[str] = Counter()
        for raw in list(self.objects.values()):
            going = "deletionTimestamp" in raw["metadata"]
            if raw["kind"] == "Pod" and not going and raw["status"].get("phase") not in ("Succeeded", "Failed"):
                pods.update(owner["uid"] for owner in raw["metadata"].get("ownerReferences") or ())
        for raw in list(self.objects.values()):
            meta, status = raw["metadata"], raw.get("status") or {}
            if "deletionTimestamp" in meta:
                continue
            if raw["kind"] in _OBSERVING and status.get("observedGeneration", 0) < meta.get("generation", 0):
                return False
            if (
                raw["kind"] in ("ReplicaSet", "ReplicationController")
                and status.get("replicas", 0) != pods[meta["uid"]]
            ):
                return False
        return True

    def snapshot(self) -> Snapshot:
        objects: dict[str, Any] = {}
        alike: Counter[bytes] = Counter()
        for (kind, name), raw in list(self.objects.items()):
            if self._nodes_alike and kind in ("Node", "Pod"):
                continue
            shown = self.plain(raw)
            if self.stable(name) == "*":
                alike[msgspec.json.encode(shown, order="sorted")] += 1
            else:
                objects[f"{kind}/{self.stable(name)}"] = shown
        return {
            "objects": dict(sorted(objects.items())),
            "alike": _counted(alike),
            "hosts": _counted(Counter(msgspec.json.encode(shown, order="sorted") for shown in self.hosts().values())),
            "events": self._told(),
            "loud": sorted(about for about, count in self._events_about().items() if count >= _LOUD),
        }

    def _events_about(self) -> Counter[str]:
        """How many events there were about each object."""
        counts: Counter[str] = Counter()
        for event in list(self.events.values()):
            about = event["involvedObject"]
            counts[f"{about.get('kind')}/{self.stable(about.get('name', ''))}"] += event.get("count") or 1
        return counts

    def _told(self) -> dict[str, list[str]]:
        """Messages by object, type and reason; none where so many came that upstream sums them up."""
        messages: dict[str, set[str]] = {}
        for event in list(self.events.values()):
            about = event["involvedObject"]
            name = self.stable(about.get("name", ""))
            key = f"{about.get('kind')}/{name} {event.get('type')} {event.get('reason')}"
            messages.setdefault(key, set()).add(event.get("message", ""))
        return {
            key: ["…"]
            if len(texts) > _SATURATED and len({self.stable(text) for text in texts}) > 1
            else sorted(
                {_STEPS.sub(r"\1 N \2 N", self.stable(text.removeprefix(_COMBINED).lstrip(": "))) for text in texts}
            )
            for key, texts in sorted(messages.items())
        }

    def _token(self, match: re.Match[str]) -> str:
        word = match.group()
        found = self._stable.get(word)
        if found is not None:
            return found
        stripped = word.rstrip(".-")
        if stripped in self._stable:
            return self._stable[stripped] + word[len(stripped) :]
        if word.startswith(self.name + "-"):
            return "NS" + word[len(self.name) :]
        return word

    def _stabilised(self, value: Any) -> Any:
        match value:
            case dict():
                shown = ((self.stable(str(key)), self._stabilised(item)) for key, item in value.items())
                return {key: item for key, item in shown if item not in (None, {}, [])}
            case list():
                return [self._stabilised(item) for item in value]
            case str():
                return self.stable(value)
        return value

    def _name(self, raw: JsonObject) -> None:
        """Choose the stable name of something new, and of the uid and the hashes that it brings."""
        kind, meta = raw["kind"], raw["metadata"]
        labels, name = meta.get("labels") or {}, meta["name"]
        if kind == "Node" and self._nodes_alike:
            stable = "a-node"
        elif meta.get("generateName"):
            stable = "*"
        elif kind == "ReplicaSet" and (hashed := labels.get("pod-template-hash")) and name.endswith("-" + hashed):
            revision = "r" + str((meta.get("annotations") or {}).get(REVISION, ""))
            stable = self._unused(f"{name.removesuffix('-' + hashed)}-{revision}")
            self._stable.setdefault(hashed, stable.rpartition("-")[2])
        elif kind == "ControllerRevision":
            owner = next((ref["name"] for ref in meta.get("ownerReferences") or ()), "")
            stable = self._unused(f"{owner}-r{raw.get('revision')}")
            for hashed in (
                name.removeprefix(owner + "-"),
                labels.get("controller-revision-hash"),
                labels.get("controller.kubernetes.io/hash"),
            ):
                if hashed and hashed != name:
                    self._stable.setdefault(hashed, stable.rpartition("-")[2])
        elif kind == "VolumeAttachment":
            node, volume = raw["spec"]["nodeName"], raw["spec"]["source"].get("persistentVolumeName", "")
            stable = f"{self.stable(volume)}-on-{self.stable(node)}"
        else:
            stable = name
        if stable != name:
            self._stable[name] = stable
        self._stable[meta["uid"]] = f"uid-of-{kind}-{self.stable(stable)}"

    def _unused(self, stable: str) -> str:
        number = 2
        wanted = stable
        while wanted in self._known:
            wanted = f"{stable}.{number}"
            number += 1
        self._known.add(wanted)
        return wanted


def host(pod: JsonObject) -> str:
    """The node that a pod is on, or that it asks for as those of DaemonSets do."""
    spec = pod.get("spec") or {}
    if spec.get("nodeName"):
        return str(spec["nodeName"])
    affinity = (spec.get("affinity") or {}).get("nodeAffinity") or {}
    terms = (affinity.get("requiredDuringSchedulingIgnoredDuringExecution") or {}).get("nodeSelectorTerms") or ()
    names = [field["values"][0] for term in terms for field in term.get("matchFields") or ()]
    return str(names[0]) if names else ""


def _counted(texts: Counter[bytes]) -> list[Any]:
    return [[count, msgspec.json.decode(text)] for text, count in sorted(texts.items())]
