"""Invents metric histories. A history is JSON, and says the same to `upstream/autoscaler` and to `replay`."""

from __future__ import annotations

from random import Random
from typing import Any

Json = dict[str, Any]
CONTAINERS = ("app", "side")
METRIC_TYPES = ("Resource", "Resource", "Resource", "ContainerResource", "Pods", "Object", "External")


def invent(seed: int) -> Json:
    dice = Random(seed)
    minor = 37 if dice.random() < 0.85 else dice.choice((34, 35, 36))
    template = _template(dice)
    to_zero = minor >= 37 and dice.random() < 0.2
    first = spec = _spec(dice, to_zero=to_zero)
    steps = dice.randrange(6, 34)
    load = dice.uniform(0.2, 2.0)
    out: list[Json] = []
    for number in range(steps):
        if dice.random() < 0.25:
            load = dice.choice((0.0, 0.3, 0.6, 0.9, 1.0, 1.05, 1.12, 1.5, 2.5, 6.0)) * dice.uniform(0.9, 1.1)
        changes = number > 0 and dice.random() < 0.04
        if changes:
            spec = _spec(dice, to_zero=to_zero)
        step = _world(dice, spec, template, load, minor)
        if changes:
            step["spec"] = spec
        if dice.random() < 0.04:
            step["replicas"] = dice.choice((0, 1, 2, 5, 9, 14))
        if dice.random() < 0.02:
            step["gone"] = True
        if dice.random() < 0.01:
            step["selector"] = ""
        if dice.random() < 0.08:
            step["statusReplicas"] = dice.randrange(0, 12)
        out.append(step)
    replicas = dice.choice((0, 1, 1, 2, 3, 3, 4, 6, 10))
    return {"minor": minor, "spec": first, "replicas": replicas, "template": template, "steps": out}


def _template(dice: Random) -> Json:
    def container(name: str) -> Json:
        requests = {"cpu": dice.choice(("100m", "250m", "1")), "memory": dice.choice(("64Mi", "100M"))}
        if dice.random() < 0.04:
            del requests[dice.choice(("cpu", "memory"))]
        return {"name": name, "image": "x", "resources": {"requests": requests}}

    template: Json = {"containers": [container("app")]}
    if dice.random() < 0.3:
        template["containers"].append(container("side"))
    elif dice.random() < 0.15:
        template["initContainers"] = [{**container("side"), "restartPolicy": "Always"}]
    if dice.random() < 0.1:
        template["resources"] = {"requests": {"cpu": "500m"}}
    if dice.random() < 0.05:
        template["overhead"] = {"cpu": "50m"}
    return template


def _spec(dice: Random, *, to_zero: bool) -> Json:
    low = 0 if to_zero and dice.random() < 0.7 else dice.choice((1, 1, 1, 2, 3))
    spec: Json = {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
        "minReplicas": low,
        "maxReplicas": dice.choice((max(low, 1), 5, 8, 12, 12, 30)),
        "metrics": [_metric(dice, outside=to_zero) for _ in range(dice.choice((1, 1, 1, 2, 3)))],
    }
    if dice.random() < 0.6:
        spec["behavior"] = {"scaleUp": _rules(dice, 0), "scaleDown": _rules(dice, None)}
    return spec


def _rules(dice: Random, window: int | None) -> Json:
    rules: Json = {
        "selectPolicy": dice.choice(("Max", "Max", "Max", "Min", "Disabled" if dice.random() < 0.3 else "Min")),
        "policies": [
            {
                "type": dice.choice(("Pods", "Percent")),
                "value": dice.choice((1, 2, 3, 4, 10, 30, 50, 100, 200)),
                "periodSeconds": dice.choice((15, 15, 30, 60, 100, 200)),
            }
            for _ in range(dice.choice((1, 1, 2, 3)))
        ],
    }
    if window is not None or dice.random() < 0.7:
        rules["stabilizationWindowSeconds"] = dice.choice((0, 0, 30, 60, 70, 120, 200, 300))
    if dice.random() < 0.3:
        rules["tolerance"] = dice.choice(("0", "10m", "50m", "150m", "250m", "1"))
    return rules


def _metric(dice: Random, *, outside: bool) -> Json:
    kind = dice.choice(("Object", "External")) if outside and dice.random() < 0.8 else dice.choice(METRIC_TYPES)
    name = dice.choice(("cpu", "cpu", "memory"))
    match kind:
        case "Resource":
            return {"type": kind, "resource": {"name": name, "target": _resource_target(dice, name)}}
        case "ContainerResource":
            target = _resource_target(dice, name)
            container = dice.choice((*CONTAINERS, "app", "app"))
            return {"type": kind, "containerResource": {"name": name, "container": container, "target": target}}
        case "Pods":
            target = {"type": "AverageValue", "averageValue": dice.choice(("10", "500m", "1k"))}
            return {"type": kind, "pods": {"metric": _identifier(dice, "hits"), "target": target}}
        case "Object":
            about = {"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "name": "door"}
            if dice.random() < 0.15:
                about = {"apiVersion": "v1", "kind": "Namespace", "name": "default"}
            target = _target(dice)
            return {
                "type": kind,
                "object": {"metric": _identifier(dice, "rate"), "describedObject": about, "target": target},
            }
        case _:
            return {"type": kind, "external": {"metric": _identifier(dice, "queue"), "target": _target(dice)}}


def _resource_target(dice: Random, name: str) -> Json:
    if dice.random() < 0.7:
        return {"type": "Utilization", "averageUtilization": dice.choice((30, 50, 75, 80, 100, 150))}
    return {"type": "AverageValue", "averageValue": "80m" if name == "cpu" else dice.choice(("48Mi", "50M"))}


def _target(dice: Random) -> Json:
    value = dice.choice(("10", "100", "2500m"))
    if dice.random() < 0.5:
        return {"type": "Value", "value": value}
    return {"type": "AverageValue", "averageValue": value}


def _identifier(dice: Random, name: str) -> Json:
    if dice.random() < 0.3:
        return {"name": name, "selector": {"matchLabels": {"tier": "web"}}}
    return {"name": name}


def _world(dice: Random, spec: Json, template: Json, load: float, minor: int) -> Json:
    pods, usage = [], []
    trouble = dice.random()
    for number in range(14):
        pods.append(_pod(dice, trouble))
        if dice.random() < (0.97 if trouble < 0.8 else 0.6):
            usage.append(_usage(dice, template, number, load, trouble))
    if trouble > 0.99:
        pods = []
    if dice.random() < 0.02:
        usage = []
    elif dice.random() < 0.03:  # of a pod that is gone
        pods = pods[:3]
    world: Json = {"pods": pods, "usage": usage}
    custom, external = [], []
    for name, kind, target in (("hits", "Pod", 10.0), ("rate", "Ingress", 100.0), ("rate", "Namespace", 100.0)):
        # Before 1.37 the words for a missing metric were others, and a newer program does not say them.
        if not _asks_for(spec, name) or (dice.random() < 0.04 and (minor >= 37 or kind == "Pod")):
            continue
        for selector in (None, {"matchLabels": {"tier": "web"}}):
            for number in range(14 if kind == "Pod" else 1):
                named = f"web-{number:02d}" if kind == "Pod" else {"Ingress": "door", "Namespace": "default"}[kind]
                if kind == "Pod" and dice.random() < 0.05:
                    continue
                value = {"kind": kind, "name": named, "metric": name, "value": _value(dice, target * load)}
                custom.append(value if selector is None else {**value, "selector": selector})
    if _asks_for(spec, "queue") and dice.random() > 0.04:
        for labels in ({"tier": "web"}, {"tier": "web", "shard": "1"}, {"tier": "db"}):
            if dice.random() < 0.8:
                external.append({"metric": "queue", "labels": labels, "value": _value(dice, 60 * load)})
    if custom:
        world["custom"] = custom
    if external:
        world["external"] = external
    return world


def _asks_for(spec: Json, name: str) -> bool:
    return any(
        part.get("metric", {}).get("name") == name
        for m in spec["metrics"]
        for part in m.values()
        if isinstance(part, dict)
    )


def _pod(dice: Random, trouble: float) -> list[Any]:
    """[phase, ready, age, seconds since readiness changed, terminating]"""
    age = dice.choice((5, 20, 40, 100, 250, 299, 300, 301, 400, 2000)) if trouble > 0.3 else 2000
    changed = dice.randrange(0, age + 1) if trouble > 0.3 else age - 10
    if dice.random() > 0.06 + trouble / 8:
        return ["Running", "True", age, changed, False]
    match dice.randrange(7):
        case 0:
            return ["Pending", "", -1, 0, False]
        case 1:
            return ["Pending", "False", age, age, False]
        case 2:
            return ["Failed", "False", age, changed, False]
        case 3:
            return ["Running", "True", age, changed, True]
        case 4:
            return ["Running", "", age, 0, False]
        case 5:
            return ["Succeeded", "False", age, changed, False]
        case _:
            return ["Running", "False", age, dice.choice((changed, age - min(age, 20), age - min(age, 30))), False]


def _usage(dice: Random, template: Json, number: int, load: float, trouble: float) -> list[Any]:
    """[pod's number, age of the sample, window, usage by container and resource]"""
    containers = {}
    for container in (*template["containers"], *template.get("initContainers", ())):
        amounts = {
            "cpu": f"{int(100 * load * dice.uniform(0.8, 1.2))}m",
            "memory": dice.choice((f"{int(50 * load * dice.uniform(0.8, 1.2))}Mi", str(int(5e7 * load)))),
        }
        if trouble > 0.9 and dice.random() < 0.1:
            del amounts[dice.choice(("cpu", "memory"))]
        if trouble < 0.95 or dice.random() > 0.1:
            containers[container["name"]] = amounts
    return [number, dice.choice((0, 3, 14, 29, 60, 100)), dice.choice((15, 30, 60)), containers]


def _value(dice: Random, around: float) -> str:
    if dice.random() < 0.01:
        return dice.choice(("0", "9e18", "5e15", "-20", "3e12"))
    return f"{int(around * dice.uniform(0.7, 1.3) * 1000)}m"
