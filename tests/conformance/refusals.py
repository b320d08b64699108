"""Specs that nobody may write, beside kube-apiserver: is each refused, and in the same words.

    python -m tests.conformance.refusals --record     ask upstream and keep what it said under recordings/
    python -m tests.conformance.refusals              ask upstream and compare

A case is a good object of one kind with some of its fields changed; it is created for trial (dryRun).
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from seatrial.deploy.client import ApiError, Client
from seatrial.kube.objects import JsonObject
from seatrial.server.api import Api
from seatrial.server.errors import StatusError
from seatrial.server.requests import Options
from seatrial.server.store import Store
from tests.conformance.upstream import Upstream

RECORDING = Path(__file__).parent / "recordings" / "refusals.json"
MOST = 2**31 - 1
LABELS = {"app": "a"}
TEMPLATE = {"metadata": {"labels": LABELS}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
DROP = "<drop>"
_CPU = {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}}}
GOOD: dict[str, tuple[str, JsonObject]] = {
    "Deployment": ("apps/v1", {"selector": {"matchLabels": LABELS}, "template": TEMPLATE}),
    "ReplicaSet": ("apps/v1", {"selector": {"matchLabels": LABELS}, "template": TEMPLATE}),
    "StatefulSet": ("apps/v1", {"selector": {"matchLabels": LABELS}, "template": TEMPLATE, "serviceName": "s"}),
    "DaemonSet": ("apps/v1", {"selector": {"matchLabels": LABELS}, "template": TEMPLATE}),
    "ReplicationController": ("v1", {"selector": LABELS, "template": TEMPLATE}),
    "HorizontalPodAutoscaler": (
        "autoscaling/v2",
        {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "d"},
            "maxReplicas": 3,
            "metrics": [_CPU],
        },
    ),
    "PodDisruptionBudget": ("policy/v1", {"selector": {"matchLabels": LABELS}, "minAvailable": 1}),
    "Service": ("v1", {"selector": LABELS, "ports": [{"port": 80}]}),
    "ResourceQuota": ("v1", {"hard": {"pods": "3"}}),
    "Node": ("v1", {}),
}
_COUNT = (-1, MOST, MOST + 1, -(2**31) - 1, 1.5, "3", None, True)
_AMOUNT = (-1, "-5%", "0%", "100%", "101%", "50", "x%", 0, MOST, "5.5%", "2147483648%")
_TARGET: tuple[JsonObject, ...] = (
    {"type": "Utilization"},
    {"type": "Utilization", "averageUtilization": 0},
    {"type": "Utilization", "averageUtilization": -3},
    {"type": "AverageValue"},
    {"type": "AverageValue", "averageValue": "0"},
    {"type": "AverageValue", "averageValue": "-1"},
    {"type": "Value", "value": "0"},
    {"type": "Nonsense", "value": "1"},
    {"type": "Utilization", "averageUtilization": 5, "averageValue": "5"},
)
_SELECTORS: tuple[Any, ...] = (
    DROP,
    {},
    {"matchLabels": {"app": "b"}},
    {"matchLabels": {"app": "not a value"}},
    {"matchLabels": {"-bad": "a"}},
    {"matchExpressions": [{"key": "app", "operator": "In"}]},
    {"matchExpressions": [{"key": "app", "operator": "Exists", "values": ["a"]}]},
    {"matchExpressions": [{"key": "app", "operator": "Gt", "values": ["1"]}]},
    {"matchExpressions": [{"key": "", "operator": "Exists"}]},
    {"matchExpressions": [{"key": "x", "operator": "Exists"}]},
)
CHANGES: dict[str, dict[str, tuple[Any, ...]]] = {
    "Deployment": {
        "replicas": _COUNT,
        "minReadySeconds": (-1, MOST),
        "revisionHistoryLimit": (-1, 0),
        "progressDeadlineSeconds": (-1, 0, 10),
        "selector": _SELECTORS,
        "strategy": (
            {"type": "Nonsense"},
            {"type": "Recreate", "rollingUpdate": {"maxSurge": 1}},
            {"rollingUpdate": {"maxSurge": 0, "maxUnavailable": 0}},
            {"rollingUpdate": {"maxSurge": "0%", "maxUnavailable": "0%"}},
        ),
        "strategy.rollingUpdate.maxSurge": _AMOUNT,
        "strategy.rollingUpdate.maxUnavailable": _AMOUNT,
        "template.spec.restartPolicy": ("Never", "OnFailure", "Sometimes"),
        "template.spec.activeDeadlineSeconds": (5, -1),
        "template.metadata.labels": ({}, DROP),
    },
    "ReplicaSet": {
        "replicas": (-1, MOST + 1),
        "minReadySeconds": (-1,),
        "selector": _SELECTORS,
        "template.spec.restartPolicy": ("Never",),
        "template.spec.activeDeadlineSeconds": (5,),
    },
    "StatefulSet": {
        "replicas": (-1,),
        "minReadySeconds": (-1,),
        "revisionHistoryLimit": (-1,),
        "selector": _SELECTORS,
        "podManagementPolicy": ("Nonsense", ""),
        "updateStrategy": (
            {"type": "Nonsense"},
            {"type": "OnDelete", "rollingUpdate": {"partition": 1}},
            {"type": "RollingUpdate", "rollingUpdate": {"partition": -1}},
            {"type": "RollingUpdate"},
        ),
        "updateStrategy.rollingUpdate.maxUnavailable": _AMOUNT,
        "ordinals": ({"start": -1}, {"start": MOST}),
        "persistentVolumeClaimRetentionPolicy": (
            {"whenDeleted": "Nonsense", "whenScaled": "Retain"},
            {"whenDeleted": "Delete"},
        ),
        "template.spec.restartPolicy": ("Never",),
        "template.spec.activeDeadlineSeconds": (5,),
        "serviceName": ("Not A Name", DROP),
    },
    "DaemonSet": {
        "minReadySeconds": (-1,),
        "revisionHistoryLimit": (-1,),
        "selector": _SELECTORS,
        "updateStrategy": (
            {"type": "Nonsense"},
            {"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 1}},
            {"rollingUpdate": {"maxSurge": 0, "maxUnavailable": 0}},
            {"type": "OnDelete", "rollingUpdate": {"maxSurge": 1}},
        ),
        "updateStrategy.rollingUpdate.maxUnavailable": _AMOUNT,
        "template.spec.restartPolicy": ("Never",),
        "template.spec.activeDeadlineSeconds": (5,),
    },
    "ReplicationController": {
        "replicas": (-1, MOST + 1),
        "minReadySeconds": (-1,),
        "selector": ({}, {"app": "b"}, {"app": "not a value"}, DROP),
        "template": (DROP,),
        "template.spec.restartPolicy": ("Never",),
        "template.spec.activeDeadlineSeconds": (5,),
    },
    "HorizontalPodAutoscaler": {
        "minReplicas": (-1, 0, 5),
        "maxReplicas": (0, -1, MOST + 1, DROP),
        "scaleTargetRef": (
            {"kind": "", "name": "d"},
            {"kind": "Deployment", "name": ""},
            {"kind": "a/b", "name": "d"},
            {"kind": "Deployment", "name": "a/b"},
        ),
        "metrics": (
            [{"type": "Nonsense"}],
            [{"type": "Resource"}],
            [{**_CPU, "pods": {"metric": {"name": "m"}, "target": {"type": "AverageValue", "averageValue": "1"}}}],
            [
                {
                    "type": "Pods",
                    "pods": {"metric": {"name": ""}, "target": {"type": "AverageValue", "averageValue": "1"}},
                }
            ],
            [{"type": "Pods", "pods": {"metric": {"name": "m"}, "target": {"type": "Value", "value": "1"}}}],
            [{"type": "External", "external": {"metric": {"name": "m"}, "target": {"type": "Value"}}}],
            [
                {
                    "type": "External",
                    "external": {
                        "metric": {"name": "m"},
                        "target": {"value": "1", "averageValue": "1", "type": "Value"},
                    },
                }
            ],
            [
                {
                    "type": "Object",
                    "object": {
                        "metric": {"name": "m"},
                        "describedObject": {"kind": "", "name": ""},
                        "target": {"type": "Value", "value": "1"},
                    },
                }
            ],
            [
                {
                    "type": "ContainerResource",
                    "containerResource": {
                        "name": "cpu",
                        "container": "",
                        "target": {"type": "Utilization", "averageUtilization": 5},
                    },
                }
            ],
            [
                {
                    "type": "Resource",
                    "resource": {"name": "", "target": {"type": "Utilization", "averageUtilization": 5}},
                }
            ],
            *([{"type": "Resource", "resource": {"name": "cpu", "target": target}}] for target in _TARGET),
        ),
        "behavior": (
            {"scaleDown": {"stabilizationWindowSeconds": -1}},
            {"scaleDown": {"stabilizationWindowSeconds": 3601}},
            {"scaleUp": {"policies": []}},
            {"scaleUp": {"policies": [{"type": "Nonsense", "value": 1, "periodSeconds": 1}]}},
            {"scaleUp": {"policies": [{"type": "Pods", "value": 0, "periodSeconds": 0}]}},
            {"scaleUp": {"policies": [{"type": "Pods", "value": -1, "periodSeconds": 1801}]}},
            {"scaleUp": {"selectPolicy": "Nonsense", "policies": [{"type": "Pods", "value": 1, "periodSeconds": 1}]}},
            {"scaleDown": {"tolerance": "-0.1"}},
        ),
    },
    "PodDisruptionBudget": {
        "minAvailable": _AMOUNT,
        "maxUnavailable": (1,),
        "selector": _SELECTORS,
        "unhealthyPodEvictionPolicy": ("Nonsense", "AlwaysAllow"),
    },
    "Service": {
        "ports": (
            [],
            DROP,
            [{"port": 0}],
            [{"port": 65536}],
            [{"port": 80, "protocol": "ICMP"}],
            [{"port": 80}, {"port": 81}],
            [{"port": 80, "name": "a"}, {"port": 80, "name": "b"}],
            [{"port": 80, "name": "a"}, {"port": 81, "name": "a"}],
            [{"port": 80, "name": "Not_A_Label"}],
            [{"port": 80, "targetPort": 0}],
            [{"port": 80, "targetPort": "way-too-long-for-a-port"}],
            [{"port": 80, "nodePort": 30000}],
        ),
        "type": ("Nonsense", "ExternalName", "NodePort"),
        "selector": ({"app": "not a value"}, {"-bad": "a"}),
        "clusterIP": ("1.2.3", "None"),
        "sessionAffinity": ("Nonsense", "ClientIP"),
        "externalTrafficPolicy": ("Local", "Nonsense"),
        "internalTrafficPolicy": ("Nonsense",),
        "trafficDistribution": ("Nonsense", "PreferClose"),
        "ipFamilyPolicy": ("Nonsense",),
        "externalIPs": (["127.0.0.1"], ["x"]),
        "sessionAffinityConfig": ({"clientIP": {"timeoutSeconds": 0}},),
    },
    "ResourceQuota": {
        "hard": (
            {"pods": "-1"},
            {"pods": "1.5"},
            {"pods": "x"},
            {"Not A Name": "1"},
            {"": "1"},
            {"nonsense": "1"},
            {"example.com/x": "1"},
        ),
        "scopes": (["Nonsense"], ["BestEffort", "NotBestEffort"], ["Terminating", "NotTerminating"], ["BestEffort"]),
        "scopeSelector": (
            {"matchExpressions": [{"scopeName": "PriorityClass", "operator": "In", "values": []}]},
            {"matchExpressions": [{"scopeName": "PriorityClass", "operator": "Nonsense", "values": ["a"]}]},
            {"matchExpressions": [{"scopeName": "BestEffort", "operator": "In", "values": ["a"]}]},
            {"matchExpressions": [{"scopeName": "PriorityClass", "operator": "Exists", "values": ["a"]}]},
        ),
    },
    "Node": {
        "taints": (
            [{"key": "", "effect": "NoSchedule"}],
            [{"key": "a", "effect": "Nonsense"}],
            [{"key": "a"}],
            [{"key": "not a key", "effect": "NoSchedule"}],
            [{"key": "a", "value": "not a value", "effect": "NoSchedule"}],
            [{"key": "a", "effect": "NoSchedule"}, {"key": "a", "effect": "NoSchedule"}],
        ),
        "podCIDR": ("nonsense", "10.0.0.0/24"),
        "podCIDRs": (["10.0.0.0/24", "10.0.1.0/24"],),
    },
}


def cases() -> Iterator[tuple[str, JsonObject]]:
    """A name for each, and the object."""
    for kind, (api_version, spec) in GOOD.items():
        yield kind, _made(kind, api_version, spec)
        for path, values in CHANGES[kind].items():
            for value in values:
                changed = json.loads(json.dumps(spec))
                _set(changed, path.split("."), value)
                yield f"{kind} {path}={json.dumps(value)}", _made(kind, api_version, changed)


def _made(kind: str, api_version: str, spec: JsonObject) -> JsonObject:
    namespace = {} if kind == "Node" else {"namespace": "default"}
    return {"apiVersion": api_version, "kind": kind, "metadata": {"name": "x", **namespace}, "spec": spec}


def _set(spec: JsonObject, path: list[str], value: Any) -> None:
    *way, last = path
    for step in way:
        spec = spec.setdefault(step, {})
    if value == DROP:
        spec.pop(last, None)
    else:
        spec[last] = value


def told_by_ours() -> dict[str, str]:
    api = Api(Store(None))
    said = {}
    for name, raw in cases():
        resource = api.kind(raw["apiVersion"], raw["kind"])
        try:
            api.create(resource, raw["metadata"].get("namespace", ""), raw, Options(dry_run=True))
            said[name] = ""
        except StatusError as error:
            said[name] = f"{error.code} {error}"
    return said


def told_by_upstream(upstream: Upstream) -> dict[str, str]:
    client, ours, said = Client(upstream.kubeconfig), Api(Store(None)), {}
    for name, raw in cases():
        resource = ours.kind(raw["apiVersion"], raw["kind"])
        place = "/apis/" if "/" in raw["apiVersion"] else "/api/"
        namespaced = "/namespaces/default" if resource.namespaced else ""
        path = f"{place}{raw['apiVersion']}{namespaced}/{resource.plural}?dryRun=All"
        try:
            client.request("POST", path, raw)
            said[name] = ""
        except ApiError as error:
            said[name] = f"{error.code} {error.status.get('message')}"
    return said


def differences(upstream: dict[str, str], ours: dict[str, str]) -> list[str]:
    """One paragraph each."""
    return [
        f"{name}\n    upstream: {said or 'taken'}\n    ours:     {ours[name] or 'taken'}"
        for name, said in upstream.items()
        if said != ours.get(name)
    ]


def recorded() -> dict[str, str]:
    said: dict[str, str] = json.loads(RECORDING.read_text())
    return said


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--record", action="store_true")
    asked = parser.parse_args()
    with Upstream.start(components=("etcd", "kube-apiserver")) as upstream:
        said = told_by_upstream(upstream)
    if asked.record:
        RECORDING.write_text(json.dumps(said, indent=1) + "\n")
    found = differences(said, told_by_ours())
    print(*found, sep="\n")
    print(f"{len(said)} cases, {len(found)} differ")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
