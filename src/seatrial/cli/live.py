"""What is in a live cluster, as input of a check: asked of `kubectl`, which knows how to log in there.

Taken are the objects that somebody wrote: not what a controller owns, nor events, leases and the like, nor status (but
of what stands for machines and volumes). Files given beside a context stand for the objects of the same name in it.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import dataclass, replace

from seatrial.check import edits
from seatrial.check.system import Entry, System
from seatrial.kube.objects import JsonObject

MADE_BY_THE_CLUSTER = frozenset(
    (
        "ComponentStatus",
        "ControllerRevision",
        "Endpoints",
        "Event",
        "Lease",
        "NodeMetrics",
        "PodMetrics",
        "VolumeAttachment",
    )
)
ALWAYS_THERE = frozenset((("ServiceAccount", "default"), ("ConfigMap", "kube-root-ca.crt"), ("Service", "kubernetes")))
KEEPS_STATUS = frozenset(("Node", "PersistentVolume", "PersistentVolumeClaim", "CustomResourceDefinition"))


class ClusterError(Exception):
    """The cluster could not be read; the message is kubectl's."""


@dataclass(frozen=True, slots=True)
class Live:
    entries: tuple[Entry, ...]

    def under(self, system: System) -> System:
        """The system with what is in the cluster and not in the files."""
        known = {entry.key for entry in system.entries}
        return replace(system, entries=(*system.entries, *(e for e in self.entries if e.key not in known)))


def read(context: str, version: str) -> Live:
    """Everything that may be read there. Raises `ClusterError`."""
    if shutil.which("kubectl") is None:
        raise ClusterError("--context needs kubectl, which is not on the PATH")
    names = _kubectl(context, "api-resources", "--verbs=list", "--output=name").split()
    wanted = [name for name in names if name.partition(".")[0] not in ("events", "componentstatuses")]
    text = _kubectl(context, "get", ",".join(wanted), "--all-namespaces", "--output=json", "--ignore-not-found")
    listed = json.loads(text)["items"] if text.strip() else []
    entries = []
    for raw in listed:
        if written(raw):
            entry, problem = edits.entry(_plain(raw), version, f"context {context}", {})
            if not problem:
                entries.append(entry)
    return Live(tuple(entries))


def written(raw: JsonObject) -> bool:
    """Whether somebody wrote the object, not the cluster itself."""
    metadata = raw["metadata"]
    if raw["kind"] in MADE_BY_THE_CLUSTER or any(
        owner.get("controller") for owner in metadata.get("ownerReferences", ())
    ):
        return False
    labels = metadata.get("labels") or {}
    if labels.get("kubernetes.io/bootstrapping") or labels.get("endpointslice.kubernetes.io/managed-by"):
        return False
    return (raw["kind"], metadata["name"]) not in ALWAYS_THERE


def _plain(raw: JsonObject) -> JsonObject:
    dropped = ("managedFields", "resourceVersion", "uid", "creationTimestamp", "generation", "selfLink")
    metadata = {key: value for key, value in raw["metadata"].items() if key not in dropped}
    rest = {key: value for key, value in raw.items() if key != "status" or raw["kind"] in KEEPS_STATUS}
    return {**rest, "metadata": metadata}


def _kubectl(context: str, *words: str) -> str:
    done = subprocess.run(
        ["kubectl", f"--context={context}", *words],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    # Of several kinds some may be forbidden or gone while the others are printed: what cannot be read is no input.
    if done.returncode and not done.stdout.strip():
        raise ClusterError(f"kubectl {words[0]}: {done.stderr.strip() or f'exit code {done.returncode}'}")
    return done.stdout
