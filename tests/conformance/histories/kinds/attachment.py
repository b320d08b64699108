"""VolumeAttachments: CSI volumes of pods that come and go on two nodes; drivers that succeed, fail or say nothing.

The script is the driver, the kubelets and the scheduler. Volumes and nodes have no namespace: they are named after the
history. Each pod has a claim that is bound from the start; nobody edits what is bound (that is the kind `volume`).

Upstream looks at an attachment at growing intervals, up to seven seconds; a step is longer than that. What it does once
a minute (to see whether attachments are still there) is left alone: what was attached once stays so. Nobody waits for
the six minutes of an unready node.
"""

from __future__ import annotations

from random import Random
from typing import Final

from seatrial.kube.objects import JsonObject
from tests.conformance.histories.script import AnyCommand, Choices, Create, Delete, Patch, Pods, drawn

WATCHED = ("VolumeAttachment", "Node", "Pod", "Event")
STEP_S = 16.5
AT_ONCE = 200
NODES: Final = ("$NS-n1", "$NS-n2")
_DRIVER: Final = "disk.example.com"
_FINALIZER: Final = "external-attacher/disk-example-com"
_UNIQUE: Final = f"kubernetes.io/csi/{_DRIVER}^$NS-"


def script(random: Random) -> list[AnyCommand]:
    names = ("v1",) if random.random() < 0.5 else ("v1", "v2")
    commands: list[AnyCommand] = [Create(_node(random, name)) for name in NODES]
    for name in names:
        mode = random.choice(("ReadWriteOnce", "ReadWriteOnce", "ReadWriteMany"))
        commands += [Create(_volume(name, mode)), Create(_claim(name, mode))]
    commands.append(Create(_pod("p0", names[0])))
    commands.append(Pods("running", node=NODES[0]))
    for _ in range(random.randint(7, 12)):
        commands.append(_command(random, names))
    return commands


def _command(random: Random, names: tuple[str, ...]) -> AnyCommand:
    def attachment() -> str:
        return f"VolumeAttachment/#{random.randrange(12)}"

    def node() -> str:
        return "Node/" + random.choice(NODES)

    attached = {"attached": True, "attachError": None}
    failed = {"attachError": {"message": "no more slots"}}
    undetached = {"attached": True, "detachError": {"message": "still busy"}}
    choices: Choices = [
        (8, lambda: Create(_pod(f"p{random.randint(1, 3)}", random.choice(names)))),
        (8, lambda: Pods("running", node=random.choice(NODES))),
        (2, lambda: Pods("succeeded", (random.randrange(9),))),
        (3, lambda: Pods("deleted", (random.randrange(9),))),
        (7, lambda: Pods("gone")),
        (14, lambda: Patch(attachment(), {"status": attached}, "status")),
        (4, lambda: Patch(attachment(), {"status": failed}, "status")),
        (2, lambda: Patch(attachment(), {"status": undetached}, "status")),
        (5, lambda: Patch(attachment(), {"metadata": {"finalizers": [_FINALIZER]}})),
        (6, lambda: Patch(attachment(), {"metadata": {"finalizers": None}})),
        (9, lambda: Patch(node(), {"status": {"volumesInUse": _in_use(random, names)}}, "status")),
        (5, lambda: Patch(node(), {"status": {"conditions": [_ready(random.random() < 0.5)]}}, "status")),
        (2, lambda: Patch(node(), {"spec": {"taints": _taints(random)}})),
        (1, lambda: Delete(node())),
    ]
    return drawn(random, choices)


def _ready(well: bool) -> JsonObject:
    return {"type": "Ready", "status": "True" if well else "Unknown", "reason": "Script"}


def _in_use(random: Random, names: tuple[str, ...]) -> list[str]:
    return [_UNIQUE + name for name in names if random.random() < 0.5]


def _taints(random: Random) -> list[JsonObject] | None:
    taint = {"key": "node.kubernetes.io/out-of-service", "value": "nodeshutdown", "effect": "NoExecute"}
    return [taint] if random.random() < 0.6 else None


def _node(random: Random, name: str) -> JsonObject:
    marked = {"volumes.kubernetes.io/controller-managed-attach-detach": "true"} if random.random() < 0.95 else {}
    return {
        "kind": "Node",
        "metadata": {"name": name, "labels": {"history": "$NS"}, "annotations": marked},
        "status": {"conditions": [_ready(True)]},
    }


def _volume(name: str, mode: str) -> JsonObject:
    return {
        "kind": "PersistentVolume",
        "metadata": {"name": f"$NS-{name}", "labels": {"history": "$NS"}},
        "spec": {
            "accessModes": [mode],
            "capacity": {"storage": "1Gi"},
            "persistentVolumeReclaimPolicy": "Retain",
            "csi": {"driver": _DRIVER, "volumeHandle": f"$NS-{name}"},
            "claimRef": {"namespace": "$NS", "name": name},
        },
    }


def _claim(name: str, mode: str) -> JsonObject:
    return {
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": name},
        "spec": {
            "accessModes": [mode],
            "resources": {"requests": {"storage": "1Gi"}},
            "storageClassName": "",
            "volumeName": f"$NS-{name}",
        },
    }


def _pod(name: str, claim: str) -> JsonObject:
    container = {"name": "app", "image": "app:1", "volumeMounts": [{"name": "d", "mountPath": "/d"}]}
    volume = {"name": "d", "persistentVolumeClaim": {"claimName": claim}}
    return {"kind": "Pod", "metadata": {"name": name}, "spec": {"containers": [container], "volumes": [volume]}}
