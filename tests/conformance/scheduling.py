"""The scheduler beside the real one: random clusters, the real plug-ins' answers, ours, and what differs.

    python -m tests.conformance.scheduling live MINOR [CASES] [SEED]       MINOR is 37, 32 or 30
    python -m tests.conformance.scheduling record MINOR FILE [CASES] [SEED]
    python -m tests.conformance.scheduling replay MINOR FILE

A recording holds seeds and answers, not clusters: the generator makes these again from the seed. Whoever changes the
generator records anew.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import random
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import yaml

from seatrial.control.scheduler import schedule
from seatrial.control.scheduler.board import Board
from seatrial.control.scheduler.evaluation import LEFT_OUT_SAID_SINCE, Evaluation
from seatrial.control.scheduler.placement import Reason
from seatrial.control.scheduler.profiles import DEFAULT, read
from seatrial.control.scheduler.scores import Scores
from seatrial.control.scheduler.volumes import UnplaceableError
from seatrial.kube.objects import Namespace, Node, Object, Pod, parse
from tests.conformance.upstream import NEWEST, build

Json = dict[str, Any]
START = datetime(2030, 1, 1, tzinfo=UTC)
ZONE, REGION, HOST = "topology.kubernetes.io/zone", "topology.kubernetes.io/region", "kubernetes.io/hostname"
SELECTED_NODE = "volume.kubernetes.io/selected-node"
IMAGES = [("nginx:1.27", 180), ("redis:7", 45), ("registry.example/app", 700), ("postgres:16", 430), ("big:1", 2100)]
CLASSES = ("fast", "late", "local", "pooled", "zonal")

PROFILES = [
    {"plugins": {"score": {"disabled": [{"name": "NodeResourcesBalancedAllocation"}]}}},
    {"plugins": {"multiPoint": {"disabled": [{"name": "DefaultPreemption"}, {"name": "ImageLocality"}]}}},
    {"plugins": {"multiPoint": {"enabled": [{"name": "NodeResourcesFit", "weight": 5}]}}},
    {
        "plugins": {
            "score": {"enabled": [{"name": "TaintToleration", "weight": 7}, {"name": "NodeAffinity", "weight": 1}]},
            "filter": {"disabled": [{"name": "NodePorts"}]},
        }
    },
    {
        "pluginConfig": [
            {
                "name": "NodeResourcesFit",
                "args": {
                    "scoringStrategy": {
                        "type": "MostAllocated",
                        "resources": [{"name": "cpu", "weight": 3}, {"name": "example.com/gpu", "weight": 2}],
                    },
                    "ignoredResources": ["example.com/ignored"],
                },
            },
            {
                "name": "NodeResourcesBalancedAllocation",
                "args": {
                    "resources": [
                        {"name": "cpu", "weight": 1},
                        {"name": "memory", "weight": 1},
                        {"name": "example.com/gpu", "weight": 1},
                    ]
                },
            },
        ]
    },
    {
        "pluginConfig": [
            {
                "name": "NodeResourcesFit",
                "args": {
                    "scoringStrategy": {
                        "type": "RequestedToCapacityRatio",
                        "requestedToCapacityRatio": {
                            "shape": [
                                {"utilization": 0, "score": 0},
                                {"utilization": 40, "score": 9},
                                {"utilization": 100, "score": 3},
                            ]
                        },
                        "resources": [{"name": "cpu", "weight": 1}, {"name": "memory", "weight": 2}],
                    }
                },
            }
        ]
    },
    {
        "pluginConfig": [
            {
                "name": "PodTopologySpread",
                "args": {
                    "defaultingType": "List",
                    "defaultConstraints": [
                        {"maxSkew": 1, "topologyKey": ZONE, "whenUnsatisfiable": "ScheduleAnyway"},
                        {"maxSkew": 2, "topologyKey": HOST, "whenUnsatisfiable": "DoNotSchedule"},
                    ],
                },
            },
            {
                "name": "InterPodAffinity",
                "args": {"hardPodAffinityWeight": 20, "ignorePreferredTermsOfExistingPods": True},
            },
        ]
    },
    {
        "pluginConfig": [
            {
                "name": "NodeAffinity",
                "args": {
                    "addedAffinity": {
                        "requiredDuringSchedulingIgnoredDuringExecution": {
                            "nodeSelectorTerms": [
                                {"matchExpressions": [{"key": "disk", "operator": "In", "values": ["ssd", "hdd"]}]}
                            ]
                        },
                        "preferredDuringSchedulingIgnoredDuringExecution": [
                            {
                                "weight": 30,
                                "preference": {"matchExpressions": [{"key": "gen", "operator": "Gt", "values": ["2"]}]},
                            }
                        ],
                    }
                },
            },
            {"name": "InterPodAffinity", "args": {"hardPodAffinityWeight": 0}},
        ]
    },
]


class Cluster:
    """A random cluster with one pod to place, as the objects that the API would hold."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.id = str(seed)
        self.objects: list[Json] = []
        self.serial = 0
        self.config = ""
        rng = self.random
        self.namespaces = ["default", "shop", "infra"][: rng.choice([1, 2, 3])]
        # Each theme that is on makes its features likely; most clusters are about a few of them.
        self.themes = {
            theme
            for theme in ("spread", "affinity", "node-affinity", "taints", "volumes", "preemption", "ports", "images")
            if rng.random() < 0.3
        }
        self.light = rng.random() < 0.75  # pods that ask for little, so that more of them fit
        if rng.random() < 0.15:
            raw = {"apiVersion": "kubescheduler.config.k8s.io/v1", "kind": "KubeSchedulerConfiguration"}
            self.config = yaml.safe_dump({**raw, "profiles": [rng.choice(PROFILES)]})
        self._make()

    def _make(self) -> None:
        rng = self.random
        for name in self.namespaces:
            labels = {"kubernetes.io/metadata.name": name}
            if rng.random() < 0.5:
                labels["team"] = rng.choice(["a", "b"])
            self.add("v1", "Namespace", {"name": name, "labels": labels})
        self.nodes = [f"n{index}" for index in range(rng.choice([1, 2, 4, 6, 9, 14, 20]))]
        self.zones = [f"z{index}" for index in range(rng.randint(1, 4))]
        for name in self.nodes:
            self._node(name)
        self._workloads()
        if self.on("volumes"):
            self._storage()
        for _ in range(rng.choice([0, 2, 5, 10, 25])):
            self._pod(placed=True)
        if self.on("preemption"):
            for index in range(rng.randint(0, 3)):
                spec = {"selector": self._selector(), "minAvailable": 1}
                status: Json = {"disruptionsAllowed": rng.choice([0, 0, 1, 2])}
                if rng.random() < 0.1:
                    status["disruptedPods"] = {rng.choice([f"p{n}" for n in range(10)]): "2030-01-01T00:00:00Z"}
                self.add("policy/v1", "PodDisruptionBudget", self._meta(f"b{index}"), spec=spec, status=status)
            if rng.random() < 0.3:
                for _ in range(rng.randint(1, 2)):
                    self._pod(placed=False, nominated=True)
        wanted = self._pod(placed=False)
        self.pod = f"{wanted['metadata']['namespace']}/{wanted['metadata']['name']}"

    def on(self, theme: str, rate: float = 0.8, otherwise: float = 0.03) -> bool:
        return self.random.random() < (rate if theme in self.themes else otherwise)

    def add(self, api: str, kind: str, metadata: Json, **parts: Any) -> Json:
        made = {"apiVersion": api, "kind": kind, "metadata": metadata, **parts}
        self.objects.append(made)
        return made

    def _meta(self, name: str, **more: Any) -> Json:
        self.serial += 1
        return {"name": name, "namespace": self.random.choice(self.namespaces), "uid": f"uid-{self.serial}", **more}

    def _node(self, name: str) -> None:
        rng = self.random
        labels: Json = {}
        if rng.random() < 0.93:
            labels[HOST] = name
        if rng.random() < 0.9:
            labels[ZONE] = rng.choice(self.zones)
        if rng.random() < 0.4:
            labels[REGION] = rng.choice(["r0", "r1"])
        if rng.random() < 0.5:
            labels["disk"] = rng.choice(["ssd", "hdd", "nvme"])
        if rng.random() < 0.5:
            labels["gen"] = rng.choice(["1", "2", "3", "7", "x"])
        spec: Json = {}
        if rng.random() < 0.06:
            spec["unschedulable"] = True
        taints = []
        for _ in range(rng.choice([0, 1, 2]) if self.on("taints") else 0):
            taints.append(
                {
                    "key": rng.choice(["dedicated", "gpu", "spot"]),
                    **({"value": rng.choice(["x", "y"])} if rng.random() < 0.7 else {}),
                    "effect": rng.choice(["NoSchedule", "NoExecute", "PreferNoSchedule", "PreferNoSchedule"]),
                }
            )
        if taints:
            spec["taints"] = taints
        allocatable = {
            "cpu": rng.choice(["1", "2", "4", "3900m", "8"]),
            "memory": rng.choice(["2Gi", "4Gi", "8Gi", "7900Mi", "16Gi"]),
            "pods": rng.choice(["110"] * 8 + ["4", "2"]),
        }
        if rng.random() < 0.5:
            allocatable["ephemeral-storage"] = rng.choice(["10Gi", "100Gi"])
        if rng.random() < 0.3:
            allocatable["example.com/gpu"] = rng.choice(["1", "2", "4"])
        if rng.random() < 0.15:
            allocatable["hugepages-2Mi"] = rng.choice(["128Mi", "0"])
        status: Json = {"allocatable": allocatable, "capacity": allocatable}
        if self.on("images"):
            chosen = rng.sample(IMAGES, rng.randint(0, len(IMAGES)))
            status["images"] = [
                {"names": [image if ":" in image else image + ":latest", f"{image}@sha256:0"], "sizeBytes": size << 20}
                for image, size in chosen
            ]
        if rng.random() < 0.1:
            status["declaredFeatures"] = ["RestartAllContainersOnContainerExits"]
        self.add("v1", "Node", {"name": name, "labels": labels}, spec=spec, status=status)

    def _workloads(self) -> None:
        rng = self.random
        self.owners: list[Json] = []
        for index in range(rng.randint(0, 3)):
            kind = rng.choice(["ReplicaSet", "StatefulSet", "ReplicationController"])
            api = "v1" if kind == "ReplicationController" else "apps/v1"
            labels = {"app": rng.choice(["web", "db", "job"])}
            selector = labels if kind == "ReplicationController" else {"matchLabels": labels}
            metadata = self._meta(f"w{index}")
            if rng.random() < 0.9:
                self.add(api, kind, metadata, spec={"selector": selector})
            self.owners.append({"apiVersion": api, "kind": kind, **metadata, "labels": labels})
        for index in range(rng.choice([0, 0, 1, 2])):
            spec: Json = {"ports": [{"port": 80}]}
            if rng.random() < 0.8:
                spec["selector"] = {"app": rng.choice(["web", "db", "job"])}
            self.add("v1", "Service", self._meta(f"s{index}"), spec=spec)

    # -- storage

    def _storage(self) -> None:
        rng = self.random
        self._classes()
        for name in self.nodes:
            if rng.random() < 0.8:
                drivers = [
                    {
                        "name": driver,
                        "nodeID": name,
                        **({"allocatable": {"count": rng.choice([1, 2, 3])}} if rng.random() < 0.6 else {}),
                    }
                    for driver in ("csi.example", "csi.pooled")
                    if rng.random() < 0.8
                ]
                self.add("storage.k8s.io/v1", "CSINode", {"name": name}, spec={"drivers": drivers})
        for driver in ("csi.example", "csi.pooled"):
            if rng.random() < 0.7:
                spec: Json = {"storageCapacity": driver == "csi.pooled"}
                if rng.random() < 0.3 and driver == "csi.example":  # of two missing ones upstream names any
                    spec["preventPodSchedulingIfMissing"] = True
                self.add("storage.k8s.io/v1", "CSIDriver", {"name": driver}, spec=spec)
        if rng.random() < 0.7:
            # One pool a zone, so that which one is found first cannot matter.
            for zone in self.zones:
                self.add(
                    "storage.k8s.io/v1",
                    "CSIStorageCapacity",
                    {"name": f"pool-{zone}", "namespace": "default"},
                    storageClassName="pooled",
                    nodeTopology={"matchLabels": {ZONE: zone}},
                    capacity=rng.choice(["5Gi", "50Gi", "100Gi"]),
                    **({"maximumVolumeSize": "20Gi"} if rng.random() < 0.3 else {}),
                )
        self.claims: list[tuple[str, str]] = []
        for index in range(rng.randint(1, 6)):
            self._claim(f"c{index}")
        # Sizes are all different, so that the smallest volume is one.
        for index in range(rng.randint(0, 5)):
            self._volume(f"free{index}", size=f"{6 + index}Gi")

    def _classes(self) -> None:
        rng = self.random
        late = "WaitForFirstConsumer"
        for name, provisioner, mode in (
            ("fast", "csi.example", "Immediate"),
            ("late", "csi.example", late),
            ("local", "kubernetes.io/no-provisioner", late),
            ("pooled", "csi.pooled", late),
            ("zonal", "csi.example", late),
        ):
            more: Json = {}
            if name == "zonal":
                values = rng.sample(self.zones, rng.randint(1, len(self.zones)))
                more["allowedTopologies"] = [{"matchLabelExpressions": [{"key": ZONE, "values": values}]}]
            if rng.random() < 0.95:
                self.add(
                    "storage.k8s.io/v1",
                    "StorageClass",
                    {"name": name},
                    provisioner=provisioner,
                    volumeBindingMode=mode,
                    **more,
                )

    def _claim(self, name: str) -> None:
        rng = self.random
        metadata = self._meta(name, annotations={})
        modes = rng.choice([["ReadWriteOnce"], ["ReadWriteOnce"], ["ReadWriteMany"], ["ReadWriteOncePod"]])
        spec: Json = {
            "accessModes": modes,
            "resources": {"requests": {"storage": rng.choice(["1Gi", "5Gi", "8Gi", "30Gi"])}},
            "volumeMode": "Filesystem",
        }
        if rng.random() < 0.96:
            spec["storageClassName"] = rng.choice(CLASSES)
        status = {"phase": "Pending"}
        kind = rng.random()
        if kind < 0.5:
            volume = f"pv-{name}"
            spec["volumeName"] = volume
            if kind < 0.45:
                metadata["annotations"]["pv.kubernetes.io/bind-completed"] = "yes"
                status = {"phase": "Bound"}
            if rng.random() < 0.95:
                self._volume(volume, bound_to=metadata, modes=modes, storage_class=spec.get("storageClassName", ""))
        elif kind < 0.54:
            status = {"phase": "Lost"}
        elif rng.random() < 0.15:
            metadata["annotations"][SELECTED_NODE] = rng.choice(self.nodes)
        if rng.random() < 0.03:
            metadata["deletionTimestamp"] = "2030-01-01T00:00:00Z"
        self.add("v1", "PersistentVolumeClaim", metadata, spec=spec, status=status)
        self.claims.append((metadata["namespace"], name))

    def _volume(
        self,
        name: str,
        bound_to: Json | None = None,
        size: str = "40Gi",
        modes: Sequence[str] = ("ReadWriteOnce",),
        storage_class: str | None = None,
    ) -> None:
        rng = self.random
        spec: Json = {
            "capacity": {"storage": size},
            "accessModes": list(modes),
            "storageClassName": storage_class if storage_class is not None else rng.choice(["late", "local", "local"]),
            "volumeMode": "Filesystem",
        }
        if rng.random() < 0.6:
            spec["csi"] = {"driver": rng.choice(["csi.example", "csi.pooled"]), "volumeHandle": f"h-{name}"}
        else:
            spec["local"] = {"path": "/mnt"}
        if bound_to is not None:
            spec["claimRef"] = {key: bound_to[key] for key in ("name", "namespace", "uid")}
        if rng.random() < 0.5:
            key, values = rng.choice([(HOST, self.nodes), (ZONE, self.zones)])
            chosen = rng.sample(values, rng.randint(1, len(values)))
            spec["nodeAffinity"] = {
                "required": {
                    "nodeSelectorTerms": [
                        {
                            "matchExpressions": [
                                {"key": key, "operator": rng.choice(["In", "In", "NotIn"]), "values": chosen}
                            ]
                        }
                    ]
                }
            }
        labels = {}
        if rng.random() < 0.3:
            labels[ZONE] = "__".join(rng.sample(self.zones, rng.randint(1, len(self.zones))))
        if rng.random() < 0.1:
            labels["failure-domain.beta.kubernetes.io/region"] = "r0"
        status = {"phase": "Bound" if bound_to else rng.choice(["Available"] * 4 + ["Released"])}
        self.add("v1", "PersistentVolume", {"name": name, "labels": labels}, spec=spec, status=status)

    def _volumes(self, pod: str, namespace: str) -> list[Json]:
        rng = self.random
        volumes: list[Json] = []
        if getattr(self, "claims", None) and rng.random() < 0.7:
            names = [name for space, name in self.claims if space == namespace]
            for name in rng.sample(names, min(len(names), rng.choice([1, 1, 2]))):
                volumes.append({"name": f"v{len(volumes)}", "persistentVolumeClaim": {"claimName": name}})
            if rng.random() < 0.03:
                volumes.append({"name": "missing", "persistentVolumeClaim": {"claimName": "nowhere"}})
            if rng.random() < 0.05:
                volumes.append({"name": "scratch", "ephemeral": {"volumeClaimTemplate": {"spec": {}}}})
        if rng.random() < 0.15:
            read_only = rng.random() < 0.5
            volumes.append(
                rng.choice(
                    [
                        {"name": "disk", "gcePersistentDisk": {"pdName": "d1", "readOnly": read_only}},
                        {"name": "disk", "awsElasticBlockStore": {"volumeID": "e1"}},
                        {"name": "disk", "iscsi": {"iqn": "q1", "targetPortal": "t", "lun": 0, "readOnly": read_only}},
                        {
                            "name": "disk",
                            "rbd": {
                                "monitors": rng.sample(["m1", "m2", "m3"], 2),
                                "image": "i",
                                "pool": "rbd",
                                "readOnly": read_only,
                            },
                        },
                    ]
                )
            )
        return volumes

    # -- pods

    def _pod(self, *, placed: bool, nominated: bool = False) -> Json:
        rng = self.random
        self.serial += 1
        name = f"p{self.serial}"
        namespace = rng.choice(self.namespaces)
        labels = {"app": rng.choice(["web", "db", "job"])}
        if rng.random() < 0.3:
            labels["tier"] = rng.choice(["front", "back"])
        if rng.random() < 0.3:
            labels["pod-template-hash"] = rng.choice(["h1", "h2"])
        if rng.random() < 0.05:
            labels = {}
        metadata: Json = {"name": name, "namespace": namespace, "uid": f"uid-{name}", "labels": labels}
        owners = [owner for owner in self.owners if owner["namespace"] == namespace]
        if owners and rng.random() < 0.5:
            owner = rng.choice(owners)
            labels.update(owner["labels"])
            metadata["ownerReferences"] = [
                {"controller": True, **{key: owner[key] for key in ("apiVersion", "kind", "name", "uid")}}
            ]
        spec: Json = {"schedulerName": "default-scheduler", "containers": self._containers()}
        if rng.random() < 0.2:
            spec["initContainers"] = self._containers(init=True)
        if rng.random() < 0.1:
            spec["resources"] = {"requests": self._requests()}
        if rng.random() < 0.1:
            spec["overhead"] = {"cpu": "50m", "memory": "32Mi"}
        spec["priority"] = rng.choice([-5, 0, 0, 10, 100, 1000]) if self.on("preemption") else 0
        if not placed and not nominated and self.on("preemption"):
            spec["priority"] = rng.choice([100, 1000, 5000])
        if rng.random() < 0.1:
            spec["preemptionPolicy"] = rng.choice(["Never", "PreemptLowerPriority"])
        affinity = self._affinity()
        if affinity:
            spec["affinity"] = affinity
        if self.on("node-affinity", 0.3, 0.02):
            spec["nodeSelector"] = {"disk": rng.choice(["ssd", "hdd"])}
        tolerations = self._tolerations()
        if tolerations:
            spec["tolerations"] = tolerations
        if self.on("spread"):
            spec["topologySpreadConstraints"] = self._spread()
        volumes = self._volumes(name, namespace) if self.on("volumes") else []
        if rng.random() < 0.03:
            volumes.append({"name": "image", "image": {"reference": rng.choice(IMAGES)[0]}})
        if volumes:
            spec["volumes"] = volumes
        status: Json = {"phase": "Pending"}
        if placed:
            spec["nodeName"] = rng.choice(self.nodes) if rng.random() < 0.97 else "gone"
            started = START + timedelta(seconds=self.serial)
            status = {"phase": "Running", "startTime": started.strftime("%Y-%m-%dT%H:%M:%SZ")}
            if rng.random() < 0.04:
                status["phase"] = rng.choice(["Succeeded", "Failed"])
            if rng.random() < 0.08:
                metadata["deletionTimestamp"] = "2030-01-02T00:00:00Z"
                if rng.random() < 0.5:
                    status["conditions"] = [
                        {"type": "DisruptionTarget", "status": "True", "reason": "PreemptionByScheduler"}
                    ]
            if rng.random() < 0.04:
                self._resize(spec, status)
        elif nominated or (self.on("preemption") and rng.random() < 0.15):
            status["nominatedNodeName"] = rng.choice(self.nodes)
        for volume in volumes:
            if "ephemeral" in volume and rng.random() < 0.8:
                self._ephemeral_claim(metadata, volume["name"])
        return self.add("v1", "Pod", metadata, spec=spec, status=status)

    def _ephemeral_claim(self, pod: Json, volume: str) -> None:
        owner = {"apiVersion": "v1", "kind": "Pod", "name": pod["name"], "uid": pod["uid"], "controller": True}
        self.add(
            "v1",
            "PersistentVolumeClaim",
            {
                "name": f"{pod['name']}-{volume}",
                "namespace": pod["namespace"],
                "uid": f"claim-{pod['uid']}",
                "ownerReferences": [owner],
            },
            spec={
                "accessModes": ["ReadWriteOnce"],
                "storageClassName": self.random.choice(["late", "pooled", "fast"]),
                "resources": {"requests": {"storage": "5Gi"}},
                "volumeMode": "Filesystem",
            },
            status={"phase": "Pending"},
        )

    def _resize(self, spec: Json, status: Json) -> None:
        rng = self.random
        status["containerStatuses"] = [
            {
                "name": container["name"],
                "image": "",
                "imageID": "",
                "ready": True,
                "restartCount": 0,
                "allocatedResources": {"cpu": rng.choice(["100m", "2"]), "memory": "256Mi"},
                "resources": {"requests": {"cpu": rng.choice(["100m", "1500m"]), "memory": "128Mi"}},
            }
            for container in spec["containers"]
        ]
        if rng.random() < 0.5:
            reason = rng.choice(["Infeasible", "Deferred"])
            status["conditions"] = [{"type": "PodResizePending", "status": "True", "reason": reason}]

    def _requests(self) -> Json:
        rng = self.random
        requests: Json = {}
        if rng.random() < 0.75:
            requests["cpu"] = rng.choice(
                ["0", "1m", "100m", "250m", "500m", "1", "1500m", "3", "9"][: 5 if self.light else 9]
            )
        if rng.random() < 0.75:
            sizes = ["0", "64Mi", "200Mi", "500M", "1Gi", "1500Mi", "3Gi", "20Gi"]
            requests["memory"] = rng.choice(sizes[: 4 if self.light else 8])
        return requests

    def _containers(self, *, init: bool = False) -> list[Json]:
        rng = self.random
        containers = []
        for index in range(rng.choice([1, 1, 1, 2])):
            container: Json = {"name": f"{'i' if init else 'c'}{index}", "image": rng.choice(IMAGES)[0]}
            requests = self._requests()
            if rng.random() < (0.03 if self.light else 0.15):
                requests["example.com/gpu"] = rng.choice(["1", "2"])
            if rng.random() < (0.03 if self.light else 0.1):
                requests["ephemeral-storage"] = rng.choice(["1Gi", "20Gi"])
            if rng.random() < 0.02:
                requests["hugepages-2Mi"] = "64Mi"
            if rng.random() < 0.02:
                requests["example.com/ignored"] = "1"
            if requests:
                container["resources"] = {"requests": requests}
            if self.on("ports", 0.6, 0.02):
                port = rng.choice([80, 443, 8080])
                container["ports"] = [
                    {
                        "containerPort": port,
                        "protocol": rng.choice(["TCP", "TCP", "UDP"]),
                        **({"hostPort": port} if rng.random() < 0.8 else {}),
                        **({"hostIP": rng.choice(["0.0.0.0", "10.0.0.1", "127.0.0.1"])} if rng.random() < 0.4 else {}),
                    }
                ]
            if init and rng.random() < 0.4:
                container["restartPolicy"] = "Always"
            if rng.random() < 0.01:
                container["restartPolicyRules"] = [{"action": "RestartAllContainers"}]
            containers.append(container)
        return containers

    def _selector(self) -> Json:
        rng = self.random
        kind = rng.random()
        if kind < 0.06:
            return {}
        if kind < 0.65:
            return {"matchLabels": {"app": rng.choice(["web", "db", "job"])}}
        operator = rng.choice(["In", "NotIn", "Exists", "DoesNotExist"])
        expression: Json = {"key": rng.choice(["app", "tier"]), "operator": operator}
        if operator in ("In", "NotIn"):
            expression["values"] = rng.sample(["web", "db", "front", "back"], rng.choice([1, 2]))
        selector: Json = {"matchExpressions": [expression]}
        if rng.random() < 0.3:
            selector["matchLabels"] = {"app": rng.choice(["web", "db"])}
        return selector

    def _node_term(self) -> Json:
        rng = self.random
        term: Json = {}
        expressions = []
        for _ in range(rng.choice([0, 1, 1, 2])):
            operator = rng.choice(["In", "In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt"])
            key = "gen" if operator in ("Gt", "Lt") else rng.choice(["disk", "gen", ZONE])
            expression: Json = {"key": key, "operator": operator}
            if operator in ("Gt", "Lt"):
                expression["values"] = [rng.choice(["1", "2", "5"])]
            elif operator in ("In", "NotIn"):
                expression["values"] = rng.sample(["ssd", "hdd", "1", "3", *self.zones], rng.choice([1, 2, 3]))
            expressions.append(expression)
        if expressions:
            term["matchExpressions"] = expressions
        if rng.random() < 0.15:
            names = rng.sample(self.nodes, min(len(self.nodes), rng.choice([1, 2])))
            # The API admits one value only.
            operator = rng.choice(["In", "In", "NotIn"])
            term["matchFields"] = [{"key": "metadata.name", "operator": operator, "values": names[:1]}]
        return term

    def _affinity(self) -> Json:
        rng = self.random
        affinity: Json = {}
        if self.on("node-affinity", 0.6):
            made: Json = {}
            if rng.random() < 0.6:
                terms = [self._node_term() for _ in range(rng.choice([1, 1, 2]))]
                made["requiredDuringSchedulingIgnoredDuringExecution"] = {"nodeSelectorTerms": terms}
            if rng.random() < 0.6:
                made["preferredDuringSchedulingIgnoredDuringExecution"] = [
                    {"weight": rng.choice([1, 10, 50, 100]), "preference": self._node_term()}
                    for _ in range(rng.choice([1, 2, 3]))
                ]
            if made:
                affinity["nodeAffinity"] = made
        for section in ("podAffinity", "podAntiAffinity"):
            if not self.on("affinity", 0.45, 0.015):
                continue
            made = {}
            if rng.random() < 0.6:
                made["requiredDuringSchedulingIgnoredDuringExecution"] = [
                    self._pod_term() for _ in range(rng.choice([1, 1, 2]))
                ]
            if rng.random() < 0.6:
                made["preferredDuringSchedulingIgnoredDuringExecution"] = [
                    {"weight": rng.choice([1, 7, 50, 100]), "podAffinityTerm": self._pod_term()}
                    for _ in range(rng.choice([1, 2]))
                ]
            if made:
                affinity[section] = made
        return affinity

    def _pod_term(self) -> Json:
        """As the API stores it: the label keys are merged into the selector when the pod is created."""
        rng = self.random
        term: Json = {"topologyKey": rng.choice([HOST, HOST, ZONE, ZONE, REGION, "disk"])}
        if rng.random() < 0.95:
            term["labelSelector"] = self._selector()
        if rng.random() < 0.2:
            term["namespaces"] = rng.sample(["default", "shop", "infra"], rng.choice([1, 2]))
        if rng.random() < 0.2:
            term["namespaceSelector"] = rng.choice([{}, {"matchLabels": {"team": "a"}}])
        return term

    def _tolerations(self) -> list[Json]:
        rng = self.random
        tolerations = []
        for _ in range(rng.choice([0, 1, 2]) if self.on("taints") else 0):
            toleration: Json = {}
            if rng.random() < 0.9:
                toleration["key"] = rng.choice(["dedicated", "gpu", "spot", "node.kubernetes.io/unschedulable"])
            if "key" not in toleration or rng.random() < 0.5:
                toleration["operator"] = "Exists"
            else:
                if rng.random() < 0.5:
                    toleration["operator"] = "Equal"
                toleration["value"] = rng.choice(["x", "y"])
            if rng.random() < 0.6:
                toleration["effect"] = rng.choice(["NoSchedule", "NoExecute", "PreferNoSchedule"])
            tolerations.append(toleration)
        return tolerations

    def _spread(self) -> list[Json]:
        rng = self.random
        constraints = []
        for key in rng.sample([HOST, ZONE, REGION, "disk"], rng.choice([1, 1, 2])):
            constraint: Json = {
                "maxSkew": rng.choice([1, 1, 2, 3]),
                "topologyKey": key,
                "whenUnsatisfiable": rng.choice(["DoNotSchedule", "ScheduleAnyway"]),
            }
            if rng.random() < 0.95:
                constraint["labelSelector"] = self._selector()
            if constraint["whenUnsatisfiable"] == "DoNotSchedule" and rng.random() < 0.25:
                constraint["minDomains"] = rng.choice([1, 2, 4])
            if rng.random() < 0.3:
                constraint["nodeAffinityPolicy"] = rng.choice(["Honor", "Ignore"])
            if rng.random() < 0.3:
                constraint["nodeTaintsPolicy"] = rng.choice(["Honor", "Ignore"])
            if "labelSelector" in constraint and rng.random() < 0.25:
                constraint["matchLabelKeys"] = rng.sample(["pod-template-hash", "missing"], rng.choice([1, 2]))
            constraints.append(constraint)
        return constraints

    def case(self) -> Json:
        return {"id": self.id, "config": self.config, "pod": self.pod, "objects": self.objects}


def ours(case: Json, minor: int = NEWEST) -> Json:
    """Our answer, in the shape of upstream/schedule's."""
    objects = [found for raw in case["objects"] if (found := parse(raw)) is not None]
    pods = [item for item in objects if isinstance(item, Pod)]
    wanted = next(pod for pod in pods if f"{pod.metadata.namespace}/{pod.metadata.name}" == case["pod"])
    nodes = [item for item in objects if isinstance(item, Node)]
    namespaces = [item for item in objects if isinstance(item, Namespace)]
    others: list[Object] = [item for item in objects if not isinstance(item, Pod | Node | Namespace)]
    profiles = read(yaml.safe_load(case["config"])) if case["config"] else (DEFAULT,)
    profile = next(each for each in profiles if each.name == wanted.spec.scheduler_name)
    placement = schedule(wanted, nodes, pods, namespaces, others, profile=profile, minor=minor)
    answer: Json = {"feasible": list(placement.feasible), "best": list(placement.best)}
    if placement.error:
        answer["error"] = True
    if placement.scores:
        answer["totals"] = dict(placement.scores)
    if not placement.feasible and not placement.error:
        answer["message"] = placement.message
        answer["nominated"] = list(placement.nominated)
        answer["candidates"] = {
            candidate.node: {
                "victims": [f"{pod.metadata.namespace}/{pod.metadata.name}" for pod in candidate.victims],
                "violations": candidate.violations,
            }
            for candidate in placement.candidates
        }
    reasons: dict[str, list[str]] = {}
    for obstacle in placement.obstacles:
        reasons.setdefault(obstacle.node, []).append(obstacle.text)
    board = Board.of(nodes, pods, namespaces, but=wanted, others=others, minor=minor)
    try:
        evaluation = Evaluation(wanted, board, profile)
        refused = {site.name: evaluation.filters.with_nominated(site) for site in board.sites}
        if minor < LEFT_OUT_SAID_SINCE:
            refused = {name: why for name, why in refused.items() if why and why[0].reason is not Reason.NODE_NAMES}
        answer["reasons"] = {name: [each.text for each in why] for name, why in refused.items() if why}
        if len(placement.feasible) > 1:
            indexes = [site.index for site in board.sites if site.name in placement.feasible]
            scores = Scores(wanted, board, profile, evaluation.filters.volumes).by_plugin(indexes)
            answer["scores"] = {
                name: {plugin: profile.scores[plugin] * values[place] for plugin, values in scores.items()}
                for place, name in enumerate(placement.feasible)
            }
    except UnplaceableError as unplaceable:
        answer["reasons"] = {site.name: [str(unplaceable)] for site in board.sites}
    except Exception:  # a failing plug-in has no reasons
        if not placement.error:
            raise
    return answer


def normal(theirs: Json) -> Json:
    """Upstream's answer, without what ours does not say."""
    answer: Json = {"feasible": theirs["feasible"], "best": theirs.get("best") or []}
    if theirs.get("error"):
        return {"feasible": [], "best": [], "error": True}
    if theirs.get("totals"):
        answer["totals"] = theirs["totals"]
    if not theirs["feasible"]:
        text = theirs["message"]
        if theirs.get("preemption"):
            text += " " + theirs["preemption"]
        answer["message"] = text
        answer["nominated"] = theirs.get("nominated") or []
        answer["candidates"] = theirs.get("candidates") or {}
    if theirs.get("reasons") is not None:
        answer["reasons"] = {
            name: reasons for name, reasons in (theirs.get("reasons") or {}).items() if name not in theirs["feasible"]
        }
    if theirs.get("scores"):
        answer["scores"] = theirs["scores"]
    return answer


def differences(expected: Json, found: Json) -> list[str]:
    wrong = []
    for key in ("error", "feasible", "message", "reasons", "scores", "totals", "best", "candidates", "nominated"):
        one, other = expected.get(key), found.get(key)
        if key == "scores" and one is not None and other is not None:
            # The real one leaves out plug-ins that have nothing to score.
            one = {n: {p: s for p, s in plugins.items() if s} for n, plugins in one.items()}
            other = {n: {p: s for p, s in plugins.items() if s} for n, plugins in other.items()}
        if key == "reasons":
            if one is None or other is None:
                continue
            one = {name: sorted(texts) for name, texts in one.items()}
            other = {name: sorted(texts) for name, texts in other.items()}
        if isinstance(one, dict) and isinstance(other, dict):
            unequal = [name for name in {**one, **other} if one.get(name) != other.get(name)]
            one, other = ({name: side.get(name) for name in unequal} for side in (one, other))
        if (one or None) != (other or None):
            wrong.append(f"{key}: upstream {one}, ours {other}")
            break
    return wrong


def summary(answer: Json) -> str:
    """What a recording keeps of an answer."""
    kept = {key: answer.get(key) or None for key in ("error", "feasible", "message", "totals", "best", "nominated")}
    kept["candidates"] = answer.get("candidates") or None
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()[:16]


def upstream(minor: int, asked: Iterable[Json]) -> Iterator[tuple[Json, Json]]:
    program = str(build("schedule", minor))
    with subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for case in asked:
            process.stdin.write(json.dumps(case) + "\n")
            process.stdin.flush()
            yield case, json.loads(process.stdout.readline())
        process.stdin.close()


def cases(minor: int, start: int, count: int, make: type[Cluster] = Cluster) -> Iterator[Json]:
    """Before 1.37 without pods that need claims: upstream keeps these in caches that only running informers fill."""
    seed = start
    while count:
        case = make(seed).case()
        seed += 1
        if minor == NEWEST or not _claims(case):
            count -= 1
            yield case


def _claims(case: Json) -> bool:
    pod = next(
        each
        for each in case["objects"]
        if each["kind"] == "Pod" and f"{each['metadata']['namespace']}/{each['metadata']['name']}" == case["pod"]
    )
    return any("persistentVolumeClaim" in each or "ephemeral" in each for each in pod["spec"].get("volumes", ()))


def live(minor: int, count: int = 1000, start: int = 1, *, make: type[Cluster] = Cluster) -> int:
    failures = 0
    kinds: dict[str, int] = {}
    for case, raw in upstream(minor, cases(minor, start, count, make)):
        expected = normal(raw)
        kind = (
            "error"
            if raw.get("error")
            else "placed"
            if len(raw["feasible"]) > 1
            else "one node"
            if raw["feasible"]
            else "preempts"
            if raw.get("candidates")
            else "refused"
        )
        kinds[kind] = kinds.get(kind, 0) + 1
        try:
            wrong = differences(expected, ours(case, minor))
        except Exception as error:
            wrong = [f"raised {type(error).__name__}: {error}"]
        if wrong:
            failures += 1
            if failures <= 25:
                print(f"case {case['id']}: {wrong[0]}  {raw.get('error', '')}")
    print(f"{count} cases, {failures} differ; {kinds}")
    return failures


def record(minor: int, path: Path, count: int = 10_000, start: int = 1, *, make: type[Cluster] = Cluster) -> int:
    """Writes one line a case: the seed, a digest of the case and of upstream's answer."""
    lines = []
    failures = 0
    for case, raw in upstream(minor, cases(minor, start, count, make)):
        expected = normal(raw)
        failures += bool(differences(expected, ours(case, minor)))
        lines.append(f"{case['id']} {digest(case)} {summary(expected)}\n")
    path.write_bytes(gzip.compress("".join(lines).encode(), mtime=0))
    print(f"{count} cases recorded, {failures} differ")
    return failures


def digest(case: Json) -> str:
    return hashlib.sha256(json.dumps(case, sort_keys=True).encode()).hexdigest()[:8]


def replay(path: Path, minor: int = NEWEST, every: int = 1, *, make: type[Cluster] = Cluster) -> list[str]:
    """The cases whose recorded answer is not ours."""
    wrong = []
    for index, line in enumerate(gzip.decompress(path.read_bytes()).decode().splitlines()):
        if index % every:
            continue
        seed, made, answered = line.split()
        case = make(int(seed)).case()
        if digest(case) != made:
            raise ValueError(f"case {seed} is not the one that was recorded: record anew")
        if summary(ours(case, minor)) != answered:
            wrong.append(seed)
    return wrong


def main() -> int:
    match sys.argv[1:]:
        case ["live", minor, *numbers]:
            return live(int(minor), *map(int, numbers))
        case ["record", minor, path, *numbers]:
            return record(int(minor), Path(path), *map(int, numbers))
        case ["replay", minor, path]:
            wrong = replay(Path(path), int(minor))
            print(f"{len(wrong)} differ: {' '.join(wrong[:20])}")
            return len(wrong)
    print(__doc__)
    return 2


if __name__ == "__main__":
    sys.exit(1 if main() else 0)
