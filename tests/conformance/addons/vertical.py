"""Cases of the VerticalPodAutoscaler, and what we make of them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

from seatrial.control.addons.vpa import policies
from seatrial.control.addons.vpa.priority import due
from seatrial.control.addons.vpa.recommendation import recommended
from seatrial.control.addons.vpa.usage import Peaks, Usage, killed, measured_cpu, measured_memory
from seatrial.kube.objects import Pod, VerticalPodAutoscaler, parse_as, to_wire
from seatrial.kube.objects.verticalscaling import RecommendedPodResources
from seatrial.kube.quantities import Quantity

Json = dict[str, Any]
MIB = 1 << 20
START = datetime(2026, 3, 1, 9, 30, tzinfo=UTC)
NAMES = ("app", "proxy", "log")


def case(random: Random) -> Json:
    names = NAMES[: random.randint(1, 3)]
    samples, lasts = _samples(random, names)
    policy = _policy(random, names)
    spec: Json = {"resourcePolicy": {"containerPolicies": policy}} if policy else {}
    if random.random() < 0.7:
        spec["updatePolicy"] = _update_policy(random)
    age = lasts + random.choice([0, 60, 3600, 86400])
    pods = [_pod(random, number, names, age) for number in range(random.randint(0, 6))]
    kind = {"apiVersion": "autoscaling.k8s.io/v1", "kind": "VerticalPodAutoscaler"}
    autoscaler = {**kind, "metadata": {"name": "web", "namespace": "default"}, "spec": spec}
    return {"Autoscaler": autoscaler, "Start": _time(0), "Samples": samples, "Pods": pods, "Age": age}


def _time(seconds: float) -> str:
    return (START + timedelta(seconds=int(seconds))).strftime("%Y-%m-%dT%H:%M:%SZ")


def _samples(random: Random, names: tuple[str, ...]) -> tuple[list[Json], int]:
    found: list[Json] = []
    second = 0
    size = {
        name: (random.choice([1, 50, 300, 5000, 2 * 10**6]), random.choice([5, 200, 3000, 2 * 10**6])) for name in names
    }
    for _ in range(random.choice([0, 1, 5, 60, 200])):
        second += random.choice([0, 15, 60, 60, 60, 3600, 5 * 3600, 86400, 12 * 86400])
        for pod in range(random.randint(1, 3)):
            for name in names:
                cpu, memory = size[name]
                found.append(
                    {
                        "Pod": f"pod-{pod}",
                        "Container": name,
                        "Second": second + (-30 if random.random() < 0.05 else 0),
                        "CPU": int(cpu * random.uniform(0, 2)),
                        "Memory": int(memory * MIB * random.uniform(0, 2)),
                        "Killed": random.random() < 0.05,
                    }
                )
    return found, second


def _amounts(random: Random) -> Json:
    found = {}
    if random.random() < 0.7:
        found["cpu"] = random.choice(["0", "10m", "100m", "333m", "1", "2500m", "64"])
    if random.random() < 0.7:
        found["memory"] = random.choice(["0", "10Mi", "100M", "512Mi", "1Gi", "3G", "1Ti", "123456789"])
    return found


def _policy(random: Random, names: tuple[str, ...]) -> list[Json]:
    found = []
    for name in (*names, "*"):
        if random.random() < 0.4:
            each: Json = {"containerName": name}
            for bound in ("minAllowed", "maxAllowed"):
                if random.random() < 0.5:
                    each[bound] = _amounts(random)
            if random.random() < 0.3:
                each["controlledResources"] = random.choice([["cpu"], ["memory"], ["memory", "cpu"], []])
            if random.random() < 0.4:
                each["controlledValues"] = random.choice(["RequestsOnly", "RequestsAndLimits"])
            if random.random() < 0.3:
                each["mode"] = random.choice(["Off", "Auto"])
            found.append(each)
    random.shuffle(found)
    return found


def _update_policy(random: Random) -> Json:
    found: Json = {"updateMode": random.choice(["Recreate", "Auto", "Initial", "InPlaceOrRecreate"])}
    if random.random() < 0.4:
        found["evictionRequirements"] = [
            {
                "resources": random.choice([["cpu"], ["memory"], ["cpu", "memory"]]),
                "changeRequirement": random.choice(["TargetHigherThanRequests", "TargetLowerThanRequests"]),
            }
            for _ in range(random.randint(1, 2))
        ]
    return found


def _pod(random: Random, number: int, names: tuple[str, ...], age: int) -> Json:
    containers = [{"name": name, "resources": _resources(random)} for name in (*names, "other")]
    annotations = {}
    if random.random() < 0.3:
        annotations["vpaObservedContainers"] = ", ".join(name for name in names if random.random() < 0.7)
    status: Json = {"phase": "Running"}
    if random.random() < 0.9:
        status["startTime"] = _time(age - random.choice([60, 3600, 13 * 3600, 90 * 86400]))
    status["containerStatuses"] = [_status(random, container, age) for container in containers if random.random() < 0.7]
    metadata: Json = {"name": f"pod-{number}", "namespace": "default", "annotations": annotations}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata,
        "spec": {"containers": containers},
        "status": status,
    }


def _resources(random: Random) -> Json:
    return {part: _amounts(random) for part in ("requests", "limits") if random.random() < 0.7}


def _status(random: Random, container: Json, age: int) -> Json:
    status: Json = {"name": container["name"]}
    if random.random() < 0.3 and (resources := _resources(random)) and any(resources.values()):
        status["resources"] = resources
    if random.random() < 0.4:
        ended = age - random.choice([30, 500, 700, 10_000])
        status["lastState"] = {
            "terminated": {
                "exitCode": 137,
                "reason": random.choice(["OOMKilled", "OOMKilled", "Error"]),
                "startedAt": _time(ended - random.choice([5, 500, 700])),
                "finishedAt": _time(ended),
            }
        }
    return status


def judge(asked: Json) -> Json:
    autoscaler = parse_as(VerticalPodAutoscaler, asked["Autoscaler"])
    usages: dict[str, Usage] = {}
    peaks: dict[str, Peaks] = {}
    for each in asked["Samples"]:
        name, key = each["Container"], f"{each['Pod']}/{each['Container']}"
        usage, mine = usages.get(name, Usage()), peaks.get(key, Peaks())
        at = START + timedelta(seconds=each["Second"])
        if each["Killed"]:
            usage, mine = killed(usage, mine, each["Memory"], at)
        else:
            usage, mine = measured_cpu(usage, mine, each["CPU"], at)
            usage, mine = measured_memory(usage, mine, each["Memory"], at)
        usages[name], peaks[key] = usage, mine
    recommendation = recommended(usages, autoscaler.spec.resource_policy)
    status = {**to_wire(autoscaler), "status": {"recommendation": _wire(recommendation)}}
    autoscaler = parse_as(VerticalPodAutoscaler, status)
    pods = [parse_as(Pod, each) for each in asked["Pods"]]
    now = START + timedelta(seconds=asked["Age"])
    return {
        "Recommendation": _wire(recommendation),
        "Resources": [
            {name: _given(found) for name, found in policies.resources(autoscaler, pod).items()} for pod in pods
        ],
        "Order": [pod.metadata.name for pod in due(pods, autoscaler, now)],
    }


def _wire(recommendation: RecommendedPodResources) -> Json:
    return to_wire(recommendation)


def _given(found: policies.Resources) -> Json:
    return {"Requests": _texts(found.requests), "Limits": _texts(found.limits), "Notes": sorted(found.notes)}


def _texts(amounts: Any) -> dict[str, str]:
    return {name: str(amount) for name, amount in amounts.items()}


def settled(answer: Json) -> Json:
    """An answer, ours or upstream's, in the form that is compared: nothing is the same as empty, amounts by value."""
    told = (answer["Recommendation"] or {}).get("containerRecommendations") or []
    return {
        "recommendation": {
            each["containerName"]: {
                part: _values(each.get(part)) for part in ("target", "lowerBound", "upperBound", "uncappedTarget")
            }
            for each in told
        },
        "resources": [
            {
                name: [_values(each["Requests"]), _values(each["Limits"]), each["Notes"] or []]
                for name, each in by.items()
                if each["Requests"] or each["Limits"]
            }
            for by in answer["Resources"] or []
        ],
        "order": answer["Order"] or [],
    }


def _values(amounts: Json | None) -> dict[str, str]:
    return {name: str(Quantity.parse(amount)) for name, amount in (amounts or {}).items()}
