"""PersistentVolumes and claims: binding, reserving, provisioning by hand, reclaim, protection, edits of everything.

The script is provisioner, scheduler and CSI driver. Volumes and classes have no namespace: they are named after the
history and labelled with it. Claims without a class select by that label, so that histories do not meet. There is no
default class, which would be everybody's.

Upstream looks at every claim and volume each 15 s; a step is longer than that. Of equally suitable volumes it takes
any, so no two are of one size, and the sets of access modes are nested.
"""

from __future__ import annotations

from random import Random
from typing import Final

from seatrial.kube.objects import JsonObject
from tests.conformance.histories.script import AnyCommand, Choices, Create, Delete, Patch, Pods, drawn

WATCHED = ("PersistentVolume", "PersistentVolumeClaim", "StorageClass", "Pod", "Event")
STEP_S = 16.5
AT_ONCE = 200
CLAIMS: Final = ("c1", "c2", "c3")
VOLUMES: Final = ("v1", "v2", "v3", "v4")
_MODES: Final = (
    ["ReadWriteOnce"],
    ["ReadWriteOnce"],
    ["ReadWriteOnce", "ReadOnlyMany"],
    ["ReadWriteOnce", "ReadOnlyMany", "ReadWriteMany"],
    ["ReadWriteOncePod"],
)
_PREFIX: Final = "pv.kubernetes.io/"


def script(random: Random) -> list[AnyCommand]:
    """First a binding that should work, by whichever of the two comes first, so that more can go wrong later."""
    commands: list[AnyCommand] = [Create(_class(random, "a", "Immediate"))]
    if random.random() < 0.5:
        commands.append(Create(_class(random, "b", "WaitForFirstConsumer")))
    pair = [Create(_volume(random, "v3", plain=True)), Create(_claim(random, "c1", plain=True))]
    if random.random() < 0.3:
        pair[0] = Create(_provisioned(random, "c1"))
    random.shuffle(pair)
    commands += pair
    if random.random() < 0.3:
        commands.append(Create(_pod(random)))
    for _ in range(random.randint(6, 10)):
        commands.append(_command(random))
    return commands


def _command(random: Random) -> AnyCommand:
    def claim() -> str:
        return f"PersistentVolumeClaim/#{random.randrange(6)}"

    def volume() -> str:
        return f"PersistentVolume/#{random.randrange(12)}"

    choices: Choices = [
        (12, lambda: Create(_volume(random, random.choice(VOLUMES)))),
        (12, lambda: Create(_claim(random, random.choice(CLAIMS)))),
        (5, lambda: Create(_provisioned(random, random.choice(CLAIMS)))),
        (7, lambda: Create(_pod(random))),
        (2, lambda: Create(_class(random, random.choice("ab"), random.choice(("Immediate", "WaitForFirstConsumer"))))),
        (12, lambda: Delete(claim())),
        (9, lambda: Delete(volume())),
        (1, lambda: Delete("StorageClass/$NS-" + random.choice("ab"))),
        (4, lambda: Pods("running")),
        (2, lambda: Pods("succeeded")),
        (2, lambda: Pods("deleted")),
        (4, lambda: Pods("gone")),
        (8, lambda: Patch(claim(), _claim_change(random))),
        (8, lambda: Patch(volume(), _volume_change(random))),
        (2, lambda: Patch("StorageClass/$NS-a", {"allowVolumeExpansion": random.random() < 0.7})),
        (1, lambda: Patch("StorageClass/$NS-a", {"reclaimPolicy": random.choice(("Delete", "Retain"))})),
        (2, lambda: Patch(claim(), {"status": {"phase": random.choice(("Lost", "Pending"))}}, "status")),
        (2, lambda: Patch(volume(), {"status": {"phase": random.choice(("Failed", "Released"))}}, "status")),
    ]
    return drawn(random, choices)


def _class(random: Random, name: str, mode: str) -> JsonObject:
    provisioner = random.choice(
        ("disk.example.com", "disk.example.com", "kubernetes.io/no-provisioner", "kubernetes.io/aws-ebs")
    )
    made: JsonObject = {
        "kind": "StorageClass",
        "metadata": {"name": f"$NS-{name}", "labels": {"history": "$NS"}},
        "provisioner": provisioner,
        "volumeBindingMode": mode,
    }
    if random.random() < 0.5:
        made["allowVolumeExpansion"] = True
    return made


def _class_name(random: Random) -> str:
    return random.choice(("$NS-a",) * 8 + ("$NS-b", "$NS-b", "", "$NS-none"))


def _size(random: Random) -> JsonObject:
    return {"storage": random.choice(("1Gi", "1Gi", "2Gi", "3Gi", "5Gi"))}


def _claim(random: Random, name: str, *, plain: bool = False) -> JsonObject:
    chosen = "$NS-a" if plain else _class_name(random)
    spec: JsonObject = {
        "accessModes": _MODES[0] if plain else random.choice(_MODES),
        "resources": {"requests": _size(random)},
        "storageClassName": chosen,
    }
    if plain:
        return {"kind": "PersistentVolumeClaim", "metadata": {"name": name}, "spec": spec}
    if random.random() < 0.15:
        spec["volumeMode"] = "Block"
    if chosen == "" or random.random() < 0.1:
        spec["selector"] = {"matchLabels": {"history": "$NS"}}
    if random.random() < 0.2:
        spec["volumeName"] = "$NS-" + random.choice(VOLUMES)
    if random.random() < 0.04:
        spec["resources"] = {"requests": {"storage": random.choice(("0", "-1Gi", "1500m"))}}
    if random.random() < 0.03:
        spec["accessModes"] = random.choice(([], ["ReadWriteOncePod", "ReadWriteOnce"], ["ReadWriteSometimes"]))
    metadata: JsonObject = {"name": name}
    if random.random() < 0.1:
        metadata["annotations"] = {"volume.kubernetes.io/selected-node": "n1"}
    return {"kind": "PersistentVolumeClaim", "metadata": metadata, "spec": spec}


def _volume(random: Random, name: str, *, plain: bool = False) -> JsonObject:
    """The bigger its number, the bigger the volume; a plain one suits most claims."""
    policy = random.choice(("Retain", "Retain", "Delete", "Delete", "Recycle"))
    spec: JsonObject = {
        "accessModes": random.choice(_MODES),
        "capacity": {"storage": f"{name[1:]}Gi"},
        "storageClassName": _class_name(random),
        "persistentVolumeReclaimPolicy": policy,
        **_source(random),
    }
    if policy == "Recycle":  # upstream recycles with pods where it can
        spec.pop("hostPath", None)
        spec.pop("nfs", None)
        spec.setdefault("csi", {"driver": "disk.example.com", "volumeHandle": "$NS-" + name})
    if plain:
        spec |= {"accessModes": _MODES[random.choice((0, 2, 3))], "storageClassName": "$NS-a"}
        metadata = {"name": f"$NS-{name}", "labels": {"history": "$NS"}}
        return {"kind": "PersistentVolume", "metadata": metadata, "spec": spec}
    if random.random() < 0.15:
        spec["volumeMode"] = "Block"
    if random.random() < 0.25:
        spec["claimRef"] = {"namespace": "$NS", "name": random.choice(CLAIMS)}
        if random.random() < 0.3:
            spec["claimRef"]["uid"] = random.choice((f"$UID:PersistentVolumeClaim/{random.choice(CLAIMS)}", "unknown"))
    if random.random() < 0.02:
        spec["capacity"] = random.choice(({}, {"storage": "0"}, {"storage": "-1"}))
    metadata = {"name": f"$NS-{name}", "labels": {"history": "$NS"}}
    return {"kind": "PersistentVolume", "metadata": metadata, "spec": spec}


def _source(random: Random) -> JsonObject:
    return random.choice(
        (
            {"hostPath": {"path": "/tmp/$NS/data"}},
            {"hostPath": {"path": "/srv/data"}},
            {"nfs": {"server": "192.0.2.9", "path": "/exports"}},
            {"csi": {"driver": "disk.example.com", "volumeHandle": "$NS-handle"}},
        )
    )


def _provisioned(random: Random, claim: str) -> JsonObject:
    """What an external provisioner makes for a claim."""
    made = _volume(random, "v5")
    made["metadata"] = {
        "name": f"$NS-for-{claim}",
        "labels": {"history": "$NS"},
        "annotations": {f"{_PREFIX}provisioned-by": random.choice(("disk.example.com", "kubernetes.io/aws-ebs"))},
    }
    made["spec"] |= {
        "claimRef": {
            "kind": "PersistentVolumeClaim",
            "apiVersion": "v1",
            "namespace": "$NS",
            "name": claim,
            "uid": f"$UID:PersistentVolumeClaim/{claim}",
        },
        "persistentVolumeReclaimPolicy": random.choice(("Delete", "Delete", "Retain")),
        "csi": {"driver": "disk.example.com", "volumeHandle": f"$NS-{claim}"},
    }
    for other in ("hostPath", "nfs"):
        made["spec"].pop(other, None)
    return made


def _pod(random: Random) -> JsonObject:
    name = f"p{random.randint(1, 2)}"
    source: JsonObject = {"persistentVolumeClaim": {"claimName": random.choice(CLAIMS)}}
    if random.random() < 0.25:
        spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
        template = {"metadata": {"labels": {"app": "web"}}, "spec": {**spec, "storageClassName": "$NS-a"}}
        source = {"ephemeral": {"volumeClaimTemplate": template}}
    container = {"name": "app", "image": "app:1", "volumeMounts": [{"name": "d", "mountPath": "/d"}]}
    return {
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {"containers": [container], "volumes": [{"name": "d", **source}]},
    }


def _claim_change(random: Random) -> JsonObject:
    return random.choice(
        (
            {"spec": {"resources": {"requests": {"storage": random.choice(("2Gi", "4Gi", "8Gi"))}}}},
            {"spec": {"resources": {"requests": {"storage": random.choice(("2Gi", "4Gi", "8Gi"))}}}},
            {"spec": {"volumeName": "$NS-" + random.choice(VOLUMES)}},
            {"spec": {"accessModes": ["ReadWriteMany"]}},
            {"metadata": {"annotations": {f"{_PREFIX}bind-completed": None}}},
            {"metadata": {"annotations": {f"{_PREFIX}bound-by-controller": None}}},
            {"metadata": {"annotations": {"volume.kubernetes.io/selected-node": random.choice(("n1", "n2", None))}}},
            {"metadata": {"annotations": {"volume.kubernetes.io/selected-node": "n1"}}},
            {"metadata": {"finalizers": random.choice((["example.com/held"], None))}},
            {"metadata": {"labels": {"app": random.choice(("a", "b"))}}},
        )
    )


def _volume_change(random: Random) -> JsonObject:
    return random.choice(
        (
            {"spec": {"claimRef": None}},
            {"spec": {"claimRef": None}},
            {"spec": {"claimRef": {"uid": None}}},
            {"spec": {"claimRef": {"namespace": "$NS", "name": random.choice(CLAIMS), "uid": None}}},
            {"spec": {"persistentVolumeReclaimPolicy": random.choice(("Retain", "Delete"))}},
            {"spec": {"capacity": {"storage": random.choice(("6Gi", "7Gi"))}}},
            {"spec": {"storageClassName": _class_name(random)}},
            {"spec": {"accessModes": ["ReadWriteOnce", "ReadOnlyMany"]}},
            {"metadata": {"finalizers": random.choice((["example.com/held"], None))}},
            {"metadata": {"annotations": {f"{_PREFIX}bound-by-controller": random.choice(("yes", None))}}},
            {"metadata": {"annotations": {f"{_PREFIX}provisioned-by": random.choice(("disk.example.com", None))}}},
        )
    )
