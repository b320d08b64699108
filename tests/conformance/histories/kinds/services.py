"""Services: their EndpointSlices and Endpoints as pods and ports change; Endpoints and slices that people write.

The nodes are the same for every history. In what order endpoints stand in a slice is chance upstream. Pods change one
at a time: of two, upstream's controllers may see one first, or take their cache for stale and forget the trigger's
time. Nobody takes the labels of a slice that its controller knows it by: upstream's cache is stale for it ever after.
"""

from __future__ import annotations

from random import Random
from typing import Any, Final

from seatrial.kube.objects import JsonObject
from tests.conformance.histories.script import AnyCommand, Choices, Create, Delete, Patch, Pods, Relabel, drawn

WATCHED = ("Service", "EndpointSlice", "Endpoints", "Pod", "Event")
QUIET_S = 1.6
"""Upstream lets changes of slices wait for a second."""
SERVICE_NAME: Final = "kubernetes.io/service-name"
MANAGED_BY: Final = "endpointslice.kubernetes.io/managed-by"


def _node(name: str, zone: str, cpu: str) -> JsonObject:
    """Nodes are ready; a cluster's CPU by zone is what hints are shared out by."""
    labels = {"topology.kubernetes.io/zone": zone}
    status = {
        "allocatable": {"cpu": cpu},
        "capacity": {"cpu": cpu},
        "conditions": [{"type": "Ready", "status": "True"}],
    }
    return {"kind": "Node", "metadata": {"name": name, "labels": labels}, "status": status}


GIVEN: Final = (_node("za", "a", "4"), _node("za2", "a", "2"), _node("zb", "b", "4"))


def script(random: Random) -> list[AnyCommand]:
    commands: list[AnyCommand] = [Create(_service(random, "one"))]
    commands += [Create(_pod(random, f"p{number}")) for number in range(1, random.randint(2, 5))]
    if random.random() < 0.5:
        commands.append(Create(_service(random, "two")))
    random.shuffle(commands)
    commands += [Pods("ready", (number,), node=_host(random)) for number in range(random.randint(1, 3))]
    by_hand = random.random() < 0.5
    for _ in range(random.randint(8, 16)):
        commands.append(_command(random, by_hand))
    return commands


def _host(random: Random) -> str:
    return random.choice(("za", "za", "za2", "zb", "zb", "lost") if random.random() < 0.3 else ("za", "za2", "zb"))


def _command(random: Random, by_hand: bool) -> AnyCommand:
    def pick() -> tuple[int, ...]:
        return (random.randrange(60),)

    def pod() -> str:
        return f"p{random.randint(1, 7)}"

    def service() -> str:
        return "Service/" + random.choice(("one", "one", "two"))

    choices: Choices = [
        (8, lambda: Create(_pod(random, pod()))),
        (18, lambda: Pods("ready", pick(), node=_host(random))),
        (6, lambda: Pods("running", pick(), node=_host(random))),
        (8, lambda: Pods("unready", pick())),
        (3, lambda: Pods("failed", pick())),
        (2, lambda: Pods("succeeded", pick())),
        (8, lambda: Pods("deleted", pick())),
        (8, lambda: Pods("gone")),
        (6, lambda: Relabel({"app": random.choice(("web", "other", None))}, pick())),
        (2, lambda: Relabel({"tier": random.choice(("front", None))}, pick())),
        (5, lambda: Patch(service(), {"spec": {"selector": _selector(random)}})),
        (2, lambda: Patch(service(), {"spec": {"selector": None}})),
        (6, lambda: Patch(service(), {"spec": {"ports": _replaced(_ports(random))}})),
        (4, lambda: Patch(service(), {"spec": {"publishNotReadyAddresses": random.random() < 0.6}})),
        (5, lambda: Patch(service(), {"metadata": {"labels": _labels(random)}})),
        (5, lambda: Patch(service(), {"spec": {"trafficDistribution": _distribution(random)}})),
        (4, lambda: Patch(service(), {"metadata": {"annotations": _mode(random)}})),
        (2, lambda: Patch(service(), {"spec": {"sessionAffinity": random.choice(("ClientIP", "None"))}})),
        (2, lambda: Patch(service(), {"spec": {"type": "ExternalName", "externalName": "example.com"}})),
        (1, lambda: Patch(service(), {"spec": {"type": "ClusterIP", "externalName": None}})),
        (3, lambda: Delete(service())),
        (4, lambda: Create(_service(random, random.choice(("one", "two"))))),
        (3, lambda: Delete(f"EndpointSlice/#{random.randrange(9)}")),
        (2, lambda: Delete(f"Endpoints/{random.choice(('one', 'two'))}")),
        (
            2,
            lambda: Patch(
                f"EndpointSlice/#{random.randrange(9)}", {"metadata": {"labels": {"team": random.choice(("a", "c"))}}}
            ),
        ),
        (1, lambda: Patch(f"EndpointSlice/#{random.randrange(9)}", {"endpoints": []})),
        (2, lambda: Patch(f"Endpoints/{random.choice(('one', 'two'))}", {"metadata": {"labels": _labels(random)}})),
        (1, lambda: Patch(f"Endpoints/{random.choice(('one', 'two'))}", {"subsets": _subsets(random)})),
    ]
    if by_hand:
        name = random.choice(("one", "two", "three"))
        choices += [
            (12, lambda: Create(_endpoints(random, name))),
            (10, lambda: Patch(f"Endpoints/{name}", {"subsets": _subsets(random)})),
            (6, lambda: Patch(f"Endpoints/{name}", {"metadata": _by_hand(random)})),
            (4, lambda: Delete(f"Endpoints/{name}")),
            (4, lambda: Create(_slice(random))),
            (3, lambda: Create({**_service(random, name), "spec": {"ports": [{"port": 80}]}})),
        ]
    return drawn(random, choices)


def _selector(random: Random) -> JsonObject:
    return random.choice(
        ({"app": "web", "tier": None}, {"app": "web", "tier": "front"}, {"app": "other", "tier": None})
    )


def _labels(random: Random) -> JsonObject:
    return {
        "team": random.choice(("a", "b", None)),
        **({"service.kubernetes.io/headless": random.choice(("", None))} if random.random() < 0.3 else {}),
        **({MANAGED_BY: random.choice(("me", None))} if random.random() < 0.2 else {}),
    }


def _distribution(random: Random) -> str | None:
    return random.choice(("PreferClose", "PreferSameZone", "PreferSameNode", None))


def _mode(random: Random) -> JsonObject:
    return {"service.kubernetes.io/topology-mode": random.choice(("Auto", "Auto", "Disabled", None))}


def _port(random: Random, name: str) -> JsonObject:
    port: JsonObject = {"port": random.choice((80, 443, 8080))}
    if name:
        port["name"] = name
    if random.random() < 0.6:
        port["targetPort"] = random.choice(("http", "http", "admin", "side", 8080, 9090))
    if random.random() < 0.15:
        port["protocol"] = random.choice(("UDP", "SCTP"))
    if random.random() < 0.3:
        port["appProtocol"] = random.choice(("http", "kubernetes.io/h2c"))
    return port


def _ports(random: Random) -> list[JsonObject]:
    count = random.choice((1, 1, 2, 3))
    ports = [_port(random, "" if count == 1 else name) for name in random.sample(("a", "b", "web", "metrics"), count)]
    numbers = {(port["port"], port.get("protocol")): port for port in ports}
    return list(numbers.values()) if count == 1 or len(numbers) == count else [_port(random, "")]


def _replaced(ports: list[JsonObject]) -> list[Any]:
    """A strategic merge patch that takes the place of the list."""
    return [{"$patch": "replace"}, *ports]


def _service(random: Random, name: str) -> JsonObject:
    spec: JsonObject = {"ports": _ports(random)}
    if random.random() < 0.85:
        spec["selector"] = {key: value for key, value in _selector(random).items() if value}
    if random.random() < 0.3:
        spec["clusterIP"] = "None"
        if random.random() < 0.3:
            del spec["ports"]
    if random.random() < 0.15:
        spec["publishNotReadyAddresses"] = True
    if random.random() < 0.25:
        spec["trafficDistribution"] = _distribution(random) or "PreferClose"
    if random.random() < 0.1:
        spec["type"] = random.choice(("NodePort", "LoadBalancer"))
        spec.pop("clusterIP", None)
        spec.setdefault("ports", [{"port": 80}])
    metadata: JsonObject = {"name": name}
    if random.random() < 0.3:
        metadata["labels"] = {key: value for key, value in _labels(random).items() if value is not None}
    if random.random() < 0.2:
        metadata["annotations"] = {key: value for key, value in _mode(random).items() if value is not None}
    return {"kind": "Service", "metadata": metadata, "spec": spec}


def _pod(random: Random, name: str) -> JsonObject:
    numbers = random.choice((8080, 8080, 8081))
    ports: list[JsonObject] = [{"name": "http", "containerPort": numbers}]
    if random.random() < 0.5:
        ports.append({"name": "admin", "containerPort": 9090, "protocol": random.choice(("TCP", "UDP"))})
    spec: JsonObject = {"containers": [{"name": "app", "image": "app:1", "ports": ports}]}
    if random.random() < 0.3:
        sidecar: JsonObject = {"name": "side", "image": "side:1", "ports": [{"name": "side", "containerPort": 9999}]}
        if random.random() < 0.7:
            sidecar["restartPolicy"] = "Always"
        spec["initContainers"] = [sidecar]
    if random.random() < 0.3:
        spec["hostname"], spec["subdomain"] = name, random.choice(("one", "two"))
    labels = {"app": random.choice(("web", "web", "web", "other"))}
    if random.random() < 0.3:
        labels["tier"] = "front"
    return {"kind": "Pod", "metadata": {"name": name, "labels": labels}, "spec": spec}


def _addresses(random: Random) -> list[JsonObject]:
    addresses = []
    for number in sorted(random.sample(range(1, 9), random.randint(1, 3))):
        address: JsonObject = {"ip": f"192.0.2.{number}" if random.random() < 0.9 else f"2001:db8::{number}"}
        if random.random() < 0.2:
            address["hostname"] = f"host-{number}"
        if random.random() < 0.2:
            address["nodeName"] = random.choice(("za", "elsewhere"))
        if random.random() < 0.2:
            address["targetRef"] = {"kind": "Pod", "name": f"p{number}", "namespace": "$NS"}
        addresses.append(address)
    return addresses


def _subsets(random: Random) -> list[JsonObject]:
    """No port is in two subsets with an appProtocol: upstream would take it for two."""
    subsets = []
    for _ in range(random.choice((0, 1, 1, 1, 2))):
        subset: JsonObject = {"addresses": _addresses(random)}
        if random.random() < 0.3:
            subset["notReadyAddresses"] = _addresses(random)
        names = random.sample(("a", "b", "c"), random.choice((0, 1, 1, 2)))
        subset["ports"] = [{"name": name, "port": random.choice((80, 81))} for name in names]
        subsets.append({key: value for key, value in subset.items() if value})
    return subsets


def _by_hand(random: Random) -> JsonObject:
    return random.choice(
        (
            {"labels": {"team": random.choice(("a", "b", None))}},
            {"labels": {"endpointslice.kubernetes.io/skip-mirror": random.choice(("true", "false", None))}},
            {"annotations": {"example.com/note": random.choice(("x", None))}},
            {"annotations": {"control-plane.alpha.kubernetes.io/leader": random.choice(("{}", None))}},
            {"annotations": {"endpoints.kubernetes.io/last-change-trigger-time": "2026-01-01T00:00:00Z"}},
        )
    )


def _endpoints(random: Random, name: str) -> JsonObject:
    metadata: JsonObject = {"name": name}
    if random.random() < 0.4:
        given = _by_hand(random)
        metadata |= {key: {k: v for k, v in values.items() if v is not None} for key, values in given.items()}
    subsets = _subsets(random)
    if random.random() < 0.02:
        addresses = [{"ip": f"198.51.{number // 250}.{number % 250 + 1}"} for number in range(1003)]
        subsets = [{"addresses": addresses, "ports": [{"port": 80}]}]
    return {"kind": "Endpoints", "metadata": metadata, "subsets": subsets}


def _slice(random: Random) -> JsonObject:
    labels = {SERVICE_NAME: random.choice(("one", "two"))}
    if random.random() < 0.5:
        labels[MANAGED_BY] = random.choice(
            ("me", "endpointslice-controller.k8s.io", "endpointslicemirroring-controller.k8s.io")
        )
    return {
        "kind": "EndpointSlice",
        "metadata": {"name": random.choice(("mine", "yours")), "labels": labels},
        "addressType": "IPv4",
        "endpoints": [{"addresses": [f"203.0.113.{random.randint(1, 4)}"]}],
        "ports": [{"name": "", "port": 80, "protocol": "TCP"}],
    }
