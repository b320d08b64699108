"""Invents histories. A history is JSON, and says the same to `upstream/clocked` and to `replay`.

What falls together is left out, because then chance decides upstream: commands come at seconds of their own, not at
those at which a controller looks (multiples of 5) or something ends.
"""

from __future__ import annotations

from random import Random
from typing import Any, Final

from tests.conformance.recording import Recording

Json = dict[str, Any]
BEGIN: Final = 1_780_000_000
"""A multiple of 20 s, upstream's longest period: it counts from its start, ours from 1970."""
OUT_OF_SERVICE: Final = "node.kubernetes.io/out-of-service"


def invent(seed: int) -> Json:
    dice = Random(seed)
    match dice.choice(("podgc", "ttl")):
        case "podgc":
            run, span_s, make = ["podgc"], 400, _collected
        case _:
            run, span_s, make = ["ttl"], 300, _expiring
    count = dice.randint(8, 24)
    seconds = dice.sample([each for each in range(1, span_s) if each % 5], count)
    commands = [{"at": at + 0.4, **make(dice, number)} for number, at in enumerate(sorted(seconds))]
    return {"run": run, "begin": BEGIN, "commands": commands, "until": span_s + 200.6}


def _command(do: str, kind: str, name: str, body: Json | None = None) -> Json:
    return {"do": do, "kind": kind, "name": name, "body": body or {}}


def _pod(dice: Random, node: str, **more: Any) -> Json:
    spec: Json = {"containers": [{"name": "app", "image": "app:1"}], "terminationGracePeriodSeconds": 30, **more}
    spec |= {"nodeName": node} if node else {}
    ready = dice.choice(("True", "True", "False"))
    conditions = [{"type": "Ready", "status": ready, "lastTransitionTime": "$NOW"}]
    phase = dice.choice(("Running", "Running", "Running", "Pending", "Succeeded", "Failed"))
    return {"spec": spec, "status": {"phase": phase, "conditions": conditions if phase == "Running" else []}}


def _collected(dice: Random, number: int) -> Json:
    """Pods whose nodes come and go, are out of service; pods that are to go and are held by a finalizer."""
    node, pod = f"n{dice.randint(1, 2)}", f"p{dice.randint(1, 5)}"
    ready = {"status": {"conditions": [{"type": "Ready", "status": dice.choice(("True", "False", "Unknown"))}]}}
    if number == 0:
        return _command("create", "Node", node, ready)
    made = _pod(dice, dice.choice((node, node, node, "")))
    if dice.random() < 0.3:
        made["metadata"] = {"finalizers": ["example.com/hold"]}
    taints = [{"key": OUT_OF_SERVICE, "effect": "NoExecute"}] if dice.random() < 0.6 else []
    return dice.choices(
        (
            _command("create", "Pod", pod, made),
            _command("delete", "Pod", pod),
            _command("patch", "Pod", pod, {"metadata": {"finalizers": None}}),
            _command("create", "Node", node, ready),
            _command("delete", "Node", node),
            _command("patch", "Node", node, ready),
            _command("patch", "Node", node, {"spec": {"taints": taints}}),
        ),
        (30, 22, 5, 12, 12, 6, 12),
    )[0]


def _expiring(dice: Random, number: int) -> Json:
    """Jobs that end, whose time to live is set, changed and taken away, before and after."""
    job = f"j{dice.randint(1, 4)}"
    end = {"type": dice.choice(("Complete", "Failed")), "status": "True", "lastTransitionTime": "$NOW"}
    status = {"conditions": [end], "startTime": "$NOW"}
    if end["type"] == "Complete":
        status["completionTime"] = "$NOW"
    ttl = dice.choice((0, 1, 7, 33, 58, 121, None))
    made = {"spec": {"ttlSecondsAfterFinished": ttl, "template": _template()}}
    return dice.choices(
        (
            _command("create", "Job", job, made),
            _command("finish", "Job", job, {"status": status}),
            _command("patch", "Job", job, {"spec": {"ttlSecondsAfterFinished": ttl}}),
            _command("delete", "Job", job),
        ),
        (100 if number < 2 else 20, 30, 14, 2),
    )[0]


def _template() -> Json:
    return {"spec": {"restartPolicy": "Never", "containers": [{"name": "app", "image": "app:1"}]}}


RECORDING = Recording("clocked", invent)
