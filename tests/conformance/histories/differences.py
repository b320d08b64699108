"""Two runs of one script, compared: the first step at which they differ, as a story."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any, Final

import msgspec

from tests.conformance.histories.script import Nodes, Pods, Script, Snapshot, told

_REFUSED = re.compile(r'pods "([\w.-]+-)\w{5}"(?= is forbidden)')
_IMMUTABLE = re.compile(r"Invalid value: \{.*\}: field is immutable")
"""Upstream prints its Go structs, we print the JSON."""

_SEVERAL: Final = re.compile(r": \[(.*)\]$", re.DOTALL)


_GO_AMOUNT: Final = re.compile(
    r'intstr\.IntOrString\{Type:(?P<type>\d), IntVal:(?P<number>-?\d+), StrVal:(?P<text>"[^"]*")\}'
)
"""How messages showed an amount before 1.34; the same for all, in words of today."""


@dataclass(frozen=True, slots=True)
class Difference:
    """`paths` are where upstream and ours differ after the command at `step`."""

    script: Script
    step: int
    paths: tuple[str, ...]

    def story(self) -> str:
        lines = [f"{self.script.kind} history {self.script.seed}"]
        lines += [
            f"  {number:2}. {told(command)}" for number, command in enumerate(self.script.commands[: self.step + 1], 1)
        ]
        return "\n".join([*lines, "  then (upstream | ours):", *(f"      {path}" for path in self.paths)])


def first(script: Script, upstream: Sequence[Snapshot], ours: Sequence[Snapshot]) -> Difference | None:
    for step, (expected, actual) in enumerate(zip(upstream, ours, strict=True)):
        raced = isinstance(script.commands[step], Pods | Nodes) and any(
            text.startswith("404") for text in expected["answers"]
        )
        if raced:  # a pod went while it was about to change: from here on chance has told another story
            return None
        paths = tuple(compare(_comparable(expected, actual), _comparable(actual, expected)))
        if paths:
            return Difference(script, step, paths)
    return None


def compare(upstream: Any, ours: Any, path: str = "") -> Iterator[str]:
    if upstream == ours:
        return
    if isinstance(upstream, dict) and isinstance(ours, dict):
        for key in sorted(upstream.keys() | ours.keys()):
            yield from compare(upstream.get(key), ours.get(key), f"{path}.{key}" if path else key)
    elif path.endswith(("alike", "hosts", ".pods")):
        yield from _compare_alike(upstream or [], ours or [], path)
    elif isinstance(upstream, list) and isinstance(ours, list) and len(upstream) == len(ours):
        for position, (one, other) in enumerate(zip_longest(upstream, ours)):
            yield from compare(one, other, f"{path}[{position}]")
    else:
        yield f"{path}: {_text(upstream)} | {_text(ours)}"


def _comparable(one: Snapshot, other: Snapshot) -> Snapshot:
    """Without what chance decides, or what only one side can say.

    Left out are the events that upstream's recorder summed up or kept to itself, which of several budgets hears of a
    pod, and conflicts: a controller's cache was behind, and it tried again. Of a Deployment's ReplicaSets, how often
    they were resized (their generation) and whether one acted on a size that stood for a moment only (its events): that
    hangs on how two controllers, which run side by side, follow each other.
    """
    summed = {key for side in (one, other) for key, texts in side["events"].items() if texts == ["…"]}
    loud = {about for side in (one, other) for about in side.get("loud", ())}
    owned = any(key.startswith("Deployment/") for side in (one, other) for key in side["events"])
    events = {
        key: ["…"] if key in summed or key.endswith("MultiplePodDisruptionBudgets") else texts
        for key, texts in one["events"].items()
        if key.partition(" ")[0] not in loud and not (owned and key.startswith("ReplicaSet/") and "Successful" in key)
    }
    events = {
        key: sorted({_in_order(_REFUSED.sub(r'pods "\1*"', text)) for text in texts}) for key, texts in events.items()
    }
    events = {
        key: left
        for key, texts in events.items()
        if (left := [text for text in texts if "has been modified" not in text])
    }
    objects = {
        key: _anonymous(_unsized(raw) if key.startswith("ReplicaSet/") else raw) for key, raw in one["objects"].items()
    }
    kept = {"hosts": [], **{key: value for key, value in one.items() if key not in ("restless", "loud")}}
    answers = [_IMMUTABLE.sub("Invalid value: …: field is immutable", text) for text in one["answers"]]
    return {
        **kept,
        "answers": [_in_order(_GO_AMOUNT.sub(_amount, text)) for text in answers],
        "events": events,
        "objects": objects,
    }


def _in_order(text: str) -> str:
    """Several reasons in one message come in any order upstream, where they come from a map."""
    found = _SEVERAL.search(text)
    return text if found is None else text[: found.start(1)] + ", ".join(sorted(found.group(1).split(", "))) + "]"


def _amount(go: re.Match[str]) -> str:
    return go["text"] if go["type"] == "1" else go["number"]


def _anonymous(raw: Any) -> Any:
    """Without the drawn names of pods that were refused, in what a condition says of them."""
    conditions = (raw.get("status") or {}).get("conditions") or ()
    if not any(_REFUSED.search(each.get("message") or "") for each in conditions):
        return raw
    shown = [{**each, "message": _REFUSED.sub(r'pods "\1*"', each.get("message") or "")} for each in conditions]
    return {**raw, "status": {**raw["status"], "conditions": shown}}


def _unsized(raw: Any) -> Any:
    meta = raw["metadata"]
    if "ownerReferences" not in meta:
        return raw
    return {**raw, "metadata": {key: value for key, value in meta.items() if key != "generation"}}


def _compare_alike(upstream: list[Any], ours: list[Any], path: str) -> Iterator[str]:
    """Objects without names: those that only one side has; two that are nearly the same are told field by field."""
    counts = {msgspec.json.encode(item, order="sorted"): [count, 0, item] for count, item in upstream or ()}
    for count, item in ours or ():
        counts.setdefault(msgspec.json.encode(item, order="sorted"), [0, 0, item])[1] = count
    differing = [(theirs, mine, item) for theirs, mine, item in counts.values() if theirs != mine]
    more = [item for theirs, mine, item in differing if theirs > mine]
    less = [item for theirs, mine, item in differing if theirs < mine]
    if len(more) == len(less) == 1:
        yield from compare(more[0], less[0], path)
        return
    for theirs, mine, item in differing:
        yield f"{path}: {theirs} | {mine} of {_brief(item)}"


def _brief(item: Any) -> str:
    if "metadata" not in item:  # a node with its pods
        pods = [f"{count} of {_brief(pod)}" for count, pod in item.get("pods") or ()]
        return _text({"node": item.get("node"), "pods": pods})
    meta, status = item["metadata"], item.get("status") or {}
    conditions = {c["type"]: c["status"] for c in status.get("conditions") or ()}
    owner = [ref["name"] for ref in meta.get("ownerReferences") or ()]
    spec = item.get("spec") or {}
    return _text(
        {
            "name": meta["name"],
            "labels": meta.get("labels"),
            "owner": owner,
            "phase": status.get("phase"),
            "ready": conditions.get("Ready"),
            "node": spec.get("nodeName"),
            "going": "deletionTimestamp" in meta,
            "finalizers": meta.get("finalizers"),
        }
    )


def _text(value: Any) -> str:
    text = msgspec.json.encode(value).decode()
    return text if len(text) <= 700 else text[:700] + "…"
