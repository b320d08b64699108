"""The node's decisions beside the real kubelet's functions: random pods and nodes, its answers, ours, and what differs.

    python -m tests.conformance.kubelet live [CASES] [SEED]     asks upstream/kubelet, compiled if need be
    python -m tests.conformance.kubelet record [CASES] [SEED]
    python -m tests.conformance.kubelet replay

What is compared: of pods, the statuses of containers, the phase, the conditions Initialized, Ready and ContainersReady,
which containers are restarted, quality of service, who is critical; of nodes, whole histories of the eviction manager
(conditions, who is evicted with which grace and words, events, who is admitted) and the groups of a graceful shutdown;
of containers that end again and again, when each attempt starts; of pods that come to a node one after another, who is
taken, who is refused in which words, and who is preempted.
A recording holds a seed, a digest of the case and upstream's answer; the generator makes the case again from the seed.
Rules of the generator: chance must not show (no two thresholds but memory's can be met in one look, no two pods tie).
"""

from __future__ import annotations

import hashlib
import json
import lzma
import random
import subprocess
import sys
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from seatrial.control import qos
from seatrial.control.lifecycle import admission, backoff, configuration, pods, pressure, rejection, shutdown, sync
from seatrial.control.lifecycle.eviction import ContainerUsage, DiskUsage, PodUsage
from seatrial.control.lifecycle.facts import (
    ContainerFact,
    ContainerPhase,
    PodFacts,
    ProbeFact,
    ProbeKind,
    Problem,
    SandboxFact,
)
from seatrial.control.lifecycle.origins import is_critical
from seatrial.control.lifecycle.pressure import Memory, Observation
from seatrial.kube.objects import Node, Pod, parse_as
from seatrial.kube.objects.base import to_wire

Json = dict[str, Any]
RECORDED: Final = Path(__file__).parent / "recordings" / "kubelet.jsonl.xz"
T0: Final = datetime(2026, 1, 1, tzinfo=UTC)
NOW: Final = T0 + timedelta(seconds=1000)
_KINDS: Final = ("pod", "pod", "pod", "pod", "eviction", "eviction", "shutdown", "backoff", "admission")


def made(seed: int) -> Json:
    """The case of a seed."""
    rng = random.Random(seed)
    kind = _KINDS[seed % len(_KINDS)]
    return {"kind": kind, **_GENERATORS[kind](rng)}


# --- pods ------------------------------------------------------------------------------------------------------------


def _pod_case(rng: random.Random) -> Json:
    init = [_container(rng, f"i{number}", init=True) for number in range(rng.choice([0, 0, 1, 2]))]
    apps = [_container(rng, name) for name in rng.sample(["web", "cache", "agent"], rng.choice([1, 1, 2, 3]))]
    spec: Json = {
        "restartPolicy": rng.choice(["Always", "Always", "OnFailure", "Never"]),
        "containers": apps,
        "priority": rng.choice([0, 0, 2_000_000_000, 1_999_999_999]),
    }
    if init:
        spec["initContainers"] = init
    if rng.random() < 0.1:
        spec["resources"] = _resources(rng)
    kind = rng.choice(["config.mirror", "config.source"])
    annotations = {f"kubernetes.io/{kind}": "file"} if rng.random() < 0.1 else {}
    meta = {"name": "pod", "namespace": "default", "uid": "uid", "generation": 3, "annotations": annotations}
    sandbox_at = rng.choice([0, 0, 0, 500])
    containers: list[Json] = []
    started: dict[str, bool] = {}
    reasons: dict[str, list[str]] = {}
    over = rng.random() < 0.3
    for part in (init, apps):
        for container in part:
            attempts = _attempts(rng, container, init=part is init, over=over)
            containers += attempts
            if not attempts and rng.random() < 0.15:
                reasons[container["name"]] = ["CreateContainerConfigError", 'secret "a" not found']
    if any(each["name"] == app["name"] for app in apps for each in containers):
        containers = [each for each in containers if each["name"][0] != "i" or len(each["name"]) > 2] + [
            _ended_before(container, rng) for container in init
        ]
    probed = {container["name"] for part in (init, apps) for container in part if "startupProbe" in container}
    for each in containers:
        if each["state"] == "running" and each["name"] in probed:
            started[each["id"]] = rng.random() < 0.6
    for each in containers:
        each["active"] = each["started"] >= sandbox_at
    status: Json = {"phase": rng.choice(["Pending", "Running"]), "qosClass": "BestEffort", "conditions": []}
    if rng.random() < 0.3:
        status["conditions"].append({"type": "Initialized", "status": "True"})
    for part, name in ((init, "initContainerStatuses"), (apps, "containerStatuses")):
        reported = [_reported(rng, container, containers) for container in part]
        if known := [each for each in reported if each is not None]:
            status[name] = known
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec, "status": status}
    return {
        "pod": pod,
        "containers": containers,
        "sandboxAt": sandbox_at,
        "reasons": reasons,
        "started": started,
    }


def _container(rng: random.Random, name: str, *, init: bool = False) -> Json:
    container: Json = {"name": name, "image": "web:1", "resources": _resources(rng)}
    if init and rng.random() < 0.5:
        container["restartPolicy"] = "Always"
    elif rng.random() < 0.2:
        container["restartPolicy"] = rng.choice(
            ["Always", "OnFailure", "Never"] if not init else ["OnFailure", "Never"]
        )
        if rng.random() < 0.6:
            codes = rng.sample([1, 2, 3, 42], 2)
            exit_codes = {"operator": rng.choice(["In", "NotIn"]), "values": codes}
            container["restartPolicyRules"] = [{"action": "Restart", "exitCodes": exit_codes}]
    if rng.random() < 0.25 and (not init or container.get("restartPolicy") == "Always"):
        container["startupProbe"] = {"exec": {"command": ["true"]}, "failureThreshold": 30}
    return container


def _resources(rng: random.Random) -> Json:
    found: Json = {}
    for name, amounts in (("cpu", ["100m", "1", "0"]), ("memory", ["64Mi", "1Gi", "0"])):
        match rng.choice(["", "", "request", "both", "both", "burst"]):
            case "request":
                found.setdefault("requests", {})[name] = rng.choice(amounts)
            case "both":
                amount = rng.choice(amounts)
                found.setdefault("requests", {})[name] = amount
                found.setdefault("limits", {})[name] = amount
            case "burst":
                found.setdefault("requests", {})[name] = amounts[0]
                found.setdefault("limits", {})[name] = amounts[1]
    return found


def _attempts(rng: random.Random, container: Json, *, init: bool, over: bool) -> list[Json]:
    """The runtime's attempts of a container: none, the latest, or the latest and the one before."""
    name, sidecar = container["name"], container.get("restartPolicy") == "Always"
    count = rng.choice([0, 1, 1, 1, 2])
    first = rng.choice([0, 0, 1, 4]) if count else 0
    found = []
    for number in range(count):
        attempt = first + number
        began = 100 + 300 * number + (0 if init else 10)
        last = number == count - 1
        runs = last and not over and rng.random() < (0.5 if sidecar or not init else 0.15)
        code = rng.choice([0, 0, 0, 1, 2, 137]) if not (init and not sidecar) else rng.choice([0, 0, 0, 0, 1])
        reason = "" if runs else "OOMKilled" if code == 137 else "Error" if code else "Completed"
        found.append(
            {
                "name": name,
                "id": f"{name}-{attempt}",
                "attempt": attempt,
                "state": "running" if runs else "exited",
                "exit": 0 if runs else code,
                "reason": reason,
                "started": began,
                "finished": 0 if runs else began + 50,
            }
        )
    return found


def _ended_before(container: Json, rng: random.Random) -> Json:
    """The attempt of an init container that let the app containers begin: it succeeded, or goes on beside them."""
    sidecar = container.get("restartPolicy") == "Always"
    runs = sidecar and rng.random() < 0.7
    code = rng.choice([0, 1]) if sidecar and not runs else 0
    return {
        "name": container["name"],
        "id": f"{container['name']}-0",
        "attempt": 0,
        "state": "running" if runs else "exited",
        "exit": code,
        "reason": "" if runs else "Error" if code else "Completed",
        "started": 100,
        "finished": 0 if runs else 105,
    }


def _reported(rng: random.Random, container: Json, attempts: list[Json]) -> Json | None:
    """What was said of a container last: nothing, or something of its latest attempt, or of one the runtime forgot."""
    own = [each for each in attempts if each["name"] == container["name"]]
    status: Json = {
        "name": container["name"],
        "image": "web:1",
        "imageID": "web:1",
        "ready": False,
        "restartCount": 0,
        "lastState": {},
    }
    if not own:
        match rng.choice(["none", "none", "waiting", "running", "ended"]):
            case "none":
                return None
            case "waiting":
                status["state"] = {"waiting": {"reason": "ContainerCreating"}}
            case "running":
                status |= {"restartCount": 2, "containerID": "test://lost", "ready": True}
                status["state"] = {"running": {"startedAt": _time(50)}}
            case "ended":
                status |= {"restartCount": 2, "containerID": "test://lost"}
                ended = {"exitCode": rng.choice([0, 1]), "reason": "Error", "containerID": "test://lost"}
                status["state"] = {"terminated": ended}
        return status
    if rng.random() < 0.4:
        return None
    latest = own[-1]
    status |= {"restartCount": latest["attempt"], "containerID": f"test://{latest['id']}", "ready": True}
    status["state"] = {"running": {"startedAt": _time(latest["started"])}}
    return status


def _time(at_s: int) -> str:
    return (T0 + timedelta(seconds=at_s)).strftime("%Y-%m-%dT%H:%M:%SZ")


def _our_pod(case: Json) -> Json:
    pod = parse_as(Pod, case["pod"])
    facts = tuple(
        ContainerFact(
            each["name"],
            each["attempt"],
            ContainerPhase.RUNNING if each["state"] == "running" else ContainerPhase.EXITED,
            f"test://{each['id']}",
            "web:1",
            "web:1",
            T0 + timedelta(seconds=each["started"]),
            T0 + timedelta(seconds=each["finished"]) if each["finished"] else None,
            each["exit"],
            reason=each["reason"],
        )
        for each in case["containers"]
    )
    probed = tuple(
        ProbeFact(
            each["name"], each["attempt"], ProbeKind.STARTUP, successes=int(good), failures=int(not good), last_at=NOW
        )
        for each in case["containers"]
        if (good := case["started"].get(each["id"])) is not None
    )
    problems = {name: Problem(*words) for name, words in case["reasons"].items()}
    sandbox = SandboxFact("10.0.0.2", "192.0.2.1", T0 + timedelta(seconds=case["sandboxAt"]))
    seen = PodFacts(sandbox, facts, probed, problems)
    status = sync(pod, seen, NOW).status
    look = pods._look(pod, seen, NOW, 37)
    wire = to_wire(status)
    return {
        "phase": status.phase,
        "conditions": [
            _condition(each)
            for each in wire["conditions"]
            if each["type"] in ("Initialized", "Ready", "ContainersReady")
        ],
        "containers": [_shown(each) for each in wire.get("containerStatuses", ())],
        "initContainers": [_shown(each) for each in wire.get("initContainerStatuses", ())],
        "restarts": {
            container.name: look.restarts(container, role) or container.name not in look.latest
            for container, role in look.containers
            if container.name in _to_restart(case)
        },
        "qos": qos.computed(pod.spec),
        "critical": is_critical(pod),
    }


def _their_pod(case: Json, raw: Json) -> Json:
    phase, runs = raw["phase"], any(each["state"] == "running" for each in case["containers"])
    final = phase in ("Succeeded", "Failed")
    if final and runs:
        phase = case["pod"]["status"]["phase"]  # the status manager holds it back until nothing runs
    # Once it is over, what never ended is shown as of unknown state: these functions do not have the last word.
    shown = (
        {}
        if final
        else {
            "containers": [_shown(each) for each in raw["containers"] or ()],
            "initContainers": [_shown(each) for each in raw["initContainers"] or ()],
        }
    )
    return {
        **shown,
        "phase": phase,
        "conditions": [_condition(each) for each in raw["conditions"] if not final or each["type"] != "Initialized"],
        "restarts": {name: again for name, again in raw["restarts"].items() if name in _to_restart(case)},
        "qos": raw["qos"],
        "critical": raw["critical"],
    }


def _to_restart(case: Json) -> set[str]:
    """The containers that have ended, without ordinary init containers that succeeded: these are never asked about."""
    spec = case["pod"]["spec"]
    ordinary = {each["name"] for each in spec.get("initContainers", ()) if each.get("restartPolicy") != "Always"}
    latest = {each["name"]: each for each in case["containers"]}
    return {
        name for name, each in latest.items() if each["state"] == "exited" and (each["exit"] or name not in ordinary)
    }


def _condition(raw: Json) -> list[str]:
    return [raw["type"], raw["status"], raw.get("reason", ""), raw.get("message", "")]


def _shown(raw: Json) -> Json:
    """A container's status without what the runtime alone says."""
    return {
        "name": raw["name"],
        "state": _state(raw.get("state")),
        "lastState": _state(raw.get("lastState")),
        "restartCount": raw.get("restartCount", 0),
        "ready": raw.get("ready", False),
        "started": raw.get("started"),
    }


def _state(raw: Json | None) -> list[Any]:
    for kind, each in (raw or {}).items():
        if each is not None:
            return [kind, each.get("reason", ""), each.get("message", ""), each.get("exitCode", 0)]
    return []


# --- nodes -----------------------------------------------------------------------------------------------------------

MI: Final = 1 << 20


def _eviction_case(rng: random.Random) -> Json:
    image_disk = rng.random() < 0.3
    other = rng.choice(
        ["nodefs.available", "nodefs.inodesFree", "imagefs.available", "imagefs.inodesFree", "pid.available"]
    )
    if not image_disk and other.startswith("imagefs"):
        other = other.replace("imagefs", "nodefs")
    capacities = {"memory.available": 8192 * MI, "nodefs.available": 100_000 * MI, "imagefs.available": 50_000 * MI}
    hard: Json = {}
    soft: Json = {}
    graces: Json = {}
    reclaim: Json = {}
    for signal in ("memory.available", other):
        counted = signal.endswith("Free") or signal == "pid.available"
        value = rng.choice(
            ["5%", "10%", "12.5%", "7.3%"]
            if rng.random() < 0.5
            else [["500Mi", "1Gi", "733Mi"], ["100", "1k"]][counted]
        )
        if rng.random() < 0.6:
            hard[signal] = value
        else:
            soft[signal], graces[signal] = value, rng.choice(["10s", "30s", "1m"])
        if rng.random() < 0.3:
            reclaim[signal] = rng.choice(["5%", "200" if counted else "200Mi"])
    looks = []
    at = 0
    members = [_member(rng, number) for number in range(rng.choice([0, 2, 3, 5]))]
    low = dict.fromkeys(("memory.available", other), False)
    for _ in range(rng.choice([4, 8, 12])):
        at += rng.choice([1, 10, 10, 10, 45, 200])
        signals = {}
        for signal in low:
            low[signal] = low[signal] ^ (rng.random() < 0.35)
            capacity = capacities.get(signal, 20_000)
            share = rng.uniform(0.001, 0.13) if low[signal] else rng.uniform(0.06, 0.9)
            signals[signal] = [int(capacity * share), capacity]
        if rng.random() < 0.05:
            del signals[other]
        usage = {pod["metadata"]["uid"]: _usage(rng, pod) for pod in members if rng.random() < 0.95}
        looks.append({"at": at, "signals": signals, "usage": usage})
    newcomers = [_member(rng, 100 + number) for number in range(4)]
    for each in newcomers:
        if rng.random() < 0.4:
            effect = rng.choice(["NoSchedule", "NoExecute", ""])
            toleration = {"key": "node.kubernetes.io/memory-pressure", "operator": "Exists", "effect": effect}
            each["spec"]["tolerations"] = [toleration]
    return {
        "hard": hard,
        "soft": soft,
        "graces": graces,
        "reclaim": reclaim,
        "transition": rng.choice([0, 30, 300]),
        "maxGrace": rng.choice([0, 20, 600]),
        "imageDisk": image_disk,
        "pods": members,
        "looks": looks,
        "newcomers": newcomers,
    }


def _member(rng: random.Random, number: int) -> Json:
    def requests() -> Json:
        found = {}
        if rng.random() < 0.6:
            found["memory"] = rng.choice(["64Mi", "256Mi", "1Gi"])
        if rng.random() < 0.4:
            found["ephemeral-storage"] = rng.choice(["64Mi", "1Gi"])
        return found

    containers = []
    for name in ("a", "b")[: rng.choice([1, 2])]:
        resources: Json = {"requests": requests()}
        if rng.random() < 0.15:
            resources["limits"] = {"ephemeral-storage": rng.choice(["900Mi", "2Gi"])}
        containers.append({"name": name, "image": "web:1", "resources": resources})
    spec: Json = {"containers": containers, "priority": rng.choice([-5, 0, 0, 0, 1000, 2_000_000_000])}
    if rng.random() < 0.2:
        helper = {"name": "helper", "image": "web:1", "resources": {"requests": requests()}}
        spec["initContainers"] = [helper | ({"restartPolicy": "Always"} if rng.random() < 0.5 else {})]
    if rng.random() < 0.2:
        spec["overhead"] = {"memory": "10Mi"}
    if rng.random() < 0.15:
        spec["resources"] = {"requests": {"memory": rng.choice(["128Mi", "2Gi"])}}
    if rng.random() < 0.6:
        spec["terminationGracePeriodSeconds"] = rng.choice([0, 5, 30, 900])
    if rng.random() < 0.4:
        empty: Json = {"sizeLimit": rng.choice(["300Mi", "1Gi"])} if rng.random() < 0.3 else {}
        if rng.random() < 0.3:
            empty["medium"] = "Memory"
        spec["volumes"] = [{"name": "scratch", "emptyDir": empty}, {"name": "host", "hostPath": {"path": "/srv"}}]
    meta: Json = {"name": f"pod-{number}", "namespace": "default", "uid": f"pod-{number}"}
    if rng.random() < 0.1:
        meta["annotations"] = {"kubernetes.io/config.source": "file"}
    return {"metadata": meta, "spec": spec}


def _usage(rng: random.Random, pod: Json) -> Json:
    def disk(most: int) -> list[int]:
        return [rng.randrange(most * MI), rng.randrange(2000)]

    spec = pod["spec"]
    names = [each["name"] for each in (*spec["containers"], *spec.get("initContainers", ()))]
    containers = {
        name: {"memory": rng.randrange(600 * MI), "layer": disk(400), "logs": disk(100)}
        for name in names
        if name != "helper" or rng.random() < 0.7
    }
    return {
        "memory": sum(each["memory"] for each in containers.values()),
        "processes": rng.randrange(1, 10_000),
        "ephemeral": rng.randrange(1500 * MI),
        "containers": containers,
        "volumes": {each["name"]: disk(350) for each in spec.get("volumes", ()) if rng.random() < 0.9},
    }


def _our_eviction(case: Json) -> Json:
    settings = configuration.read(
        {
            "evictionHard": case["hard"],
            "evictionSoft": case["soft"],
            "evictionSoftGracePeriod": case["graces"],
            "evictionMinimumReclaim": case["reclaim"],
            "evictionPressureTransitionPeriod": f"{case['transition']}s",
            "evictionMaxPodGracePeriod": case["maxGrace"],
        }
    )
    members = [parse_as(Pod, each) for each in case["pods"]]
    newcomers = [parse_as(Pod, each) for each in case["newcomers"]]
    memory, answers = Memory(), []
    for look in case["looks"]:
        now = T0 + timedelta(seconds=look["at"])
        observations = {
            signal: Observation(available, capacity, now) for signal, (available, capacity) in look["signals"].items()
        }
        usage = {uid: _as_usage(raw) for uid, raw in look["usage"].items()}
        result = pressure.look(
            memory,
            settings,
            observations,
            members,
            lambda pod, usage=usage: usage.get(pod.metadata.uid),  # type: ignore[misc]
            now,
            image_disk=case["imageDisk"],
        )
        memory = result.memory
        gone = {pod.metadata.uid for pod, _ in result.evict}
        members = [pod for pod in members if pod.metadata.uid not in gone]
        events = [f"EvictionThresholdMet Attempting to reclaim {result.reclaiming}"] if result.reclaiming else []
        answers.append(
            {
                "conditions": list(result.conditions),
                "evicted": [
                    {
                        "uid": pod.metadata.uid,
                        "grace": why.grace_s,
                        "message": why.message,
                        "disruption": why.disruption,
                    }
                    for pod, why in result.evict
                ],
                "events": events + [f"Evicted {why.message}" for _, why in result.evict],
                "admitted": {
                    pod.metadata.uid: rejection.of(pod, result.conditions, shutting_down=False) is None
                    for pod in newcomers
                },
            }
        )
    return {"looks": answers}


def _as_usage(raw: Json) -> PodUsage:
    containers = {
        name: ContainerUsage(each["memory"], DiskUsage(*each["layer"]), DiskUsage(*each["logs"]))
        for name, each in raw["containers"].items()
    }
    volumes = {name: DiskUsage(*each) for name, each in raw["volumes"].items()}
    return PodUsage(raw["memory"], raw["processes"], containers, volumes, raw["ephemeral"])


def _their_eviction(_: Json, raw: Any) -> Json:
    looks = []
    for look in raw:
        evicted = [{key: each[key] for key in ("uid", "message", "disruption")} for each in look["evicted"]]
        for each, given in zip(evicted, look["evicted"], strict=True):
            each["grace"] = max(1, given["grace"])  # what the pod workers make of it
        looks.append({**look, "evicted": evicted})
    return {"looks": looks}


def _shutdown_case(rng: random.Random) -> Json:
    members = []
    for number in range(rng.choice([1, 4, 8])):
        pod = _member(rng, number)
        pod["spec"]["priority"] = rng.choice([-10, 0, 1, 999, 1000, 1001, 2_000_000_000, 2_000_001_000])
        if rng.random() < 0.2:
            del pod["spec"]["priority"]
        members.append(pod)
    case: Json = {"pods": members, "requested": f"{rng.choice([0, 10, 60])}s", "critical": f"{rng.choice([0, 5, 10])}s"}
    if case["requested"] == "0s":
        case["critical"] = "0s"
    if rng.random() < 0.5:
        entries = rng.sample([-100, 0, 1000, 5000, 2_000_000_000], rng.choice([1, 2, 3]))
        by = [{"Priority": priority, "ShutdownGracePeriodSeconds": rng.choice([0, 5, 120])} for priority in entries]
        case |= {"byPriority": by, "requested": "0s", "critical": "0s"}
    return case


def _our_shutdown(case: Json) -> Json:
    raw: Json = {"shutdownGracePeriod": case["requested"], "shutdownGracePeriodCriticalPods": case["critical"]}
    if "byPriority" in case:
        raw["shutdownGracePeriodByPodPriority"] = [
            {"priority": each["Priority"], "shutdownGracePeriodSeconds": each["ShutdownGracePeriodSeconds"]}
            for each in case["byPriority"]
        ]
    under_way = shutdown.begin(configuration.read(raw).shutdown_graces, [parse_as(Pod, each) for each in case["pods"]])
    return {
        "groups": [
            [group.grace.priority, group.grace.seconds, [pod.metadata.uid for pod in group.pods]]
            for group in under_way.groups
        ]
    }


def _their_shutdown(_: Json, raw: Any) -> Json:
    return {"groups": raw}


def _backoff_case(rng: random.Random) -> Json:
    """How long each attempt of a container runs that ends again and again."""
    return {"runs": [rng.choice([0, 1, 5, 30, 290, 599, 600, 601, 700, 3000]) for _ in range(rng.choice([3, 8, 12]))]}


def _our_backoff(case: Json) -> Json:
    starts, at = [], T0
    latest: ContainerFact | None = None
    for attempt, run_s in enumerate(case["runs"]):
        starts.append(int((at - T0).total_seconds()))
        wait_s = backoff.following(latest, None)
        ended = at + timedelta(seconds=run_s)
        latest = ContainerFact(
            "c", attempt, ContainerPhase.EXITED, started_at=at, finished_at=ended, exit_code=1, back_off_s=wait_s
        )
        at = backoff.until(latest, None) or ended
    return {"starts": starts}


def _their_backoff(_: Json, raw: Any) -> Json:
    return {"starts": raw}


def _admission_case(rng: random.Random) -> Json:
    """A small node to which pods come; at most one resource that is neither cpu, memory, nor disk (Go's maps)."""
    labels = {"kubernetes.io/os": "linux"} | ({"disk": "ssd"} if rng.random() < 0.5 else {})
    allocatable = {"cpu": "4", "memory": "4Gi", "ephemeral-storage": "4Gi", "pods": str(rng.choice([3, 6, 20]))}
    if rng.random() < 0.5:
        allocatable["example.com/gpu"] = "2"
    taints = [{"key": "k", "value": "v", "effect": "NoExecute"}] if rng.random() < 0.2 else []
    node: Json = {"metadata": {"name": "n", "labels": labels}, "spec": {"taints": taints}}
    node["status"] = {"allocatable": allocatable, "capacity": allocatable}
    return {"node": node, "pods": [], "newcomers": [_newcomer(rng, number) for number in range(12)]}


def _newcomer(rng: random.Random, number: int) -> Json:
    pod = _member(rng, number)
    pod["metadata"]["creationTimestamp"] = None
    spec = pod["spec"]
    spec["nodeName"] = "n"
    held = spec["containers"][0]["resources"]
    if rng.random() < 0.6:
        held["requests"]["cpu"] = f"{rng.choice([1, 5, 10, 15, 30, 50]) * 100 + number}m"  # no two alike
    if "memory" in held["requests"] and rng.random() < 0.5:
        held["requests"]["memory"] = f"{rng.choice([500, 1500, 3000]) + number}Mi"
    if rng.random() < 0.2:
        held["requests"]["example.com/gpu"] = str(rng.choice([1, 2, 3]))
    if rng.random() < 0.2:
        exact = {"cpu": f"{500 + number}m", "memory": f"{200 + number}Mi"}
        spec["containers"] = [{"name": "a", "image": "web:1", "resources": {"requests": exact, "limits": exact}}]
    if rng.random() < 0.2:
        port = {"containerPort": 80, "hostPort": rng.choice([80, 81]), "protocol": rng.choice(["TCP", "UDP"])}
        spec["containers"][0]["ports"] = [port | ({"hostIP": "10.0.0.1"} if rng.random() < 0.3 else {})]
    if rng.random() < 0.2:
        spec["nodeSelector"] = {"disk": rng.choice(["ssd", "hdd"])}
    if rng.random() < 0.7:
        spec["tolerations"] = [{"key": "k", "operator": "Exists"}]
    if rng.random() < 0.1:
        spec["os"] = {"name": rng.choice(["linux", "windows"])}
    if rng.random() < 0.1:
        pod["metadata"]["labels"] = {"kubernetes.io/os": rng.choice(["linux", "windows"])}
    return pod


def _our_admission(case: Json) -> Json:
    node = parse_as(Node, case["node"])
    members: list[Pod] = []
    answers = []
    for raw in case["newcomers"]:
        pod = parse_as(Pod, raw)
        found = admission.admit(pod, node, members)
        gone = {each.metadata.uid: admission.preemption(each, NOW) for each in found.preempted}
        members = [each for each in members if each.metadata.uid not in gone]
        if found.rejection is None:
            members.append(pod)
        answers.append(
            {
                "reason": found.rejection.reason if found.rejection is not None else "",
                "message": found.rejection.message if found.rejection is not None else "",
                "gone": [
                    {"uid": uid, "reason": why.reason, "message": why.message, "disruption": why.disruption_message}
                    for uid, why in gone.items()
                ],
            }
        )
    return {"newcomers": answers}


def _their_admission(_: Json, raw: Any) -> Json:
    return {"newcomers": raw}


_GENERATORS: Final = {
    "pod": _pod_case,
    "eviction": _eviction_case,
    "shutdown": _shutdown_case,
    "backoff": _backoff_case,
    "admission": _admission_case,
}
_OURS: Final = {
    "pod": _our_pod,
    "eviction": _our_eviction,
    "shutdown": _our_shutdown,
    "backoff": _our_backoff,
    "admission": _our_admission,
}
_THEIRS: Final = {
    "pod": _their_pod,
    "eviction": _their_eviction,
    "shutdown": _their_shutdown,
    "backoff": _their_backoff,
    "admission": _their_admission,
}


# --- comparing -------------------------------------------------------------------------------------------------------


def differences(case: Json, raw: Any) -> list[str]:
    expected, found = _THEIRS[case["kind"]](case, raw), _OURS[case["kind"]](case)
    wrong = []
    for key, theirs in expected.items():
        ours = found[key]
        if key == "conditions":
            ours = [each for each in ours if each[0] in {each[0] for each in theirs}]
        if theirs == ours:
            continue
        if isinstance(theirs, list) and len(theirs) == len(ours):
            at = next(number for number, pair in enumerate(zip(theirs, ours, strict=True)) if pair[0] != pair[1])
            wrong.append(f"{key}[{at}]: upstream {theirs[at]}, ours {ours[at]}")
        else:
            wrong.append(f"{key}: upstream {theirs}, ours {ours}")
    return wrong


def upstream(cases: Iterable[Json]) -> Iterator[tuple[Json, Any]]:
    from tests.conformance.upstream import build

    with subprocess.Popen(
        [build("kubelet")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for case in cases:
            process.stdin.write(json.dumps(case) + "\n")
            process.stdin.flush()
            yield case, json.loads(process.stdout.readline())
        process.stdin.close()


def digest(case: Json) -> str:
    return hashlib.sha256(json.dumps(case, sort_keys=True).encode()).hexdigest()[:12]


def live(count: int, start: int, *, record: bool) -> int:
    failures: dict[str, int] = {}
    lines = []
    seeds = range(start, start + count)
    for seed, (case, raw) in zip(seeds, upstream(made(seed) for seed in seeds), strict=True):
        wrong = differences(case, raw)
        lines.append(json.dumps({"seed": seed, "case": digest(case), "answer": raw}, separators=(",", ":")))
        for each in wrong:
            failures[each.partition(":")[0].partition("[")[0]] = (
                failures.get(each.partition(":")[0].partition("[")[0], 0) + 1
            )
        if wrong and sum(failures.values()) <= 40:
            print(f"{seed} ({case['kind']}): {wrong[0]}")
    if record:
        RECORDED.write_bytes(lzma.compress("\n".join(lines).encode(), preset=9))
    print(f"{count} cases; differ: {failures or 'none'}")
    return len(failures)


def replay(every: int = 1, first: int = 0) -> list[str]:
    """What of the recorded answers is not ours."""
    wrong = []
    for number, line in enumerate(lzma.decompress(RECORDED.read_bytes()).decode().splitlines()):
        if number % every != first:
            continue
        recorded = json.loads(line)
        case = made(recorded["seed"])
        if digest(case) != recorded["case"]:
            raise ValueError(f"case {recorded['seed']} is not the one that was recorded: record anew")
        wrong += [f"{recorded['seed']}: {each}" for each in differences(case, recorded["answer"])]
    return wrong


def main() -> int:
    match sys.argv[1:]:
        case ["live" | "record" as verb, *numbers]:
            count, start, *_ = [*map(int, numbers), *[3000, 0][len(numbers) :]]
            return live(count, start, record=verb == "record")
        case ["replay"]:
            wrong = replay()
            print("\n".join(wrong[:20]) or "as recorded")
            return len(wrong)
    print(__doc__)
    return 2


if __name__ == "__main__":
    sys.exit(1 if main() else 0)
