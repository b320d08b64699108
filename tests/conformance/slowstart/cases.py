"""Cases, and what our controllers do in them: JSON that says the same to `upstream/slowstart` and to `play`."""

from __future__ import annotations

from random import Random
from typing import Any, Final

from seatrial.control import daemonset, job, replicaset, replicationcontroller, statefulset
from seatrial.control.controller import Controller
from seatrial.control.writes import Create, Write
from seatrial.kube.objects import Key, Pod
from tests.conformance.recording import Recording
from tests.control.harness import Harness

Json = dict[str, Any]
CONTROLLERS: Final[dict[str, Controller]] = {
    "ReplicaSet": replicaset.CONTROLLER,
    "ReplicationController": replicationcontroller.CONTROLLER,
    "StatefulSet": statefulset.CONTROLLER,
    "Job": job.CONTROLLERS[0],
    "DaemonSet": daemonset.CONTROLLER,
}
_LABELS: Final = {"app": "web"}
_VERSIONS: Final = {"ReplicationController": "v1", "Job": "batch/v1"}


def invent(seed: int) -> Json:
    dice = Random(seed)
    room = [
        dice.choice((0, 1, 2, 3, 5, dice.randint(0, 40))),
        *(dice.randint(1, 12) for _ in range(dice.randint(0, 4))),
    ]
    kind = dice.choice(tuple(CONTROLLERS))
    mode = dice.choice(("Indexed", "NonIndexed")) if kind == "Job" else ""
    return {"kind": kind, "size": dice.randint(1, 45), "room": room, "mode": mode}


def play(case: Json) -> list[Json]:
    """The decisions in which pods were taken: how many were, and how many were refused."""
    harness = Harness(())
    harness.apply({"apiVersion": _VERSIONS.get(case["kind"], "apps/v1"), "kind": case["kind"], **_workload(case)})
    if case["kind"] == "DaemonSet":
        for number in range(case["size"]):
            harness.apply({"apiVersion": "v1", "kind": "Node", "metadata": {"name": f"n{number:02}"}})
    room = 0
    rounds: list[Json] = []

    def refuse(write: Write) -> str:
        nonlocal room
        if not isinstance(write, Create) or not isinstance(write.object, Pod):
            return ""
        room -= 1
        rounds[-1]["taken" if room >= 0 else "refused"] += 1
        return "" if room >= 0 else "exceeded quota: few"

    harness.refuse = refuse
    for more in case["room"]:
        room = max(0, room) + more
        while True:
            rounds.append({"taken": 0, "refused": 0})
            harness.step(CONTROLLERS[case["kind"]], harness.objects[Key(case["kind"], "default", "one")])
            if not rounds[-1]["taken"]:
                break
    return [each for each in rounds if each["taken"]]


def _workload(case: Json) -> Json:
    template: Json = {"metadata": {"labels": _LABELS}, "spec": {"containers": [{"name": "app", "image": "app:1"}]}}
    selector: Json = {"matchLabels": _LABELS}
    spec: Json = {"selector": selector, "template": template}
    match case["kind"]:
        case "ReplicaSet":
            spec |= {"replicas": case["size"]}
        case "ReplicationController":
            spec |= {"replicas": case["size"], "selector": _LABELS}
        case "StatefulSet":
            spec |= {
                "replicas": case["size"],
                "podManagementPolicy": "Parallel",
                "updateStrategy": {"type": "OnDelete"},
            }
        case "Job":
            template["spec"]["restartPolicy"] = "Never"
            spec |= {"parallelism": case["size"], "completions": case["size"], "completionMode": case["mode"]}
        case "DaemonSet":
            spec |= {"updateStrategy": {"type": "OnDelete"}}
    return {"metadata": {"name": "one", "namespace": "default"}, "spec": spec}


RECORDING = Recording("slowstart", invent)
