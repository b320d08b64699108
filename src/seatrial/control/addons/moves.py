"""What people do to a cluster with kubectl, as decisions: cordon, drain, restart, roll back, scale.

Each takes the objects as they are and answers with the writes that kubectl would send. `drain` gives one round: kubectl
repeats it for pods whose eviction was refused, until none is left.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final, TypeVar

from msgspec.structs import replace

from seatrial.control.deployment import REVISION
from seatrial.control.relations import POD_TEMPLATE_HASH
from seatrial.control.writes import Evict, Update, Write
from seatrial.kube.objects import (
    DaemonSet,
    Deployment,
    Node,
    Pod,
    PodTemplateSpec,
    ReplicaSet,
    ReplicationController,
    StatefulSet,
)

T = TypeVar("T", Deployment, DaemonSet, StatefulSet)
S = TypeVar("S", Deployment, ReplicaSet, ReplicationController, StatefulSet)

RESTARTED_AT: Final = "kubectl.kubernetes.io/restartedAt"
_MIRROR: Final = "kubernetes.io/config.mirror"


class MoveError(Exception):
    """kubectl would refuse, with this text."""


@dataclass(frozen=True, slots=True)
class DrainOptions:
    """kubectl's flags of the same names."""

    ignore_daemonsets: bool = False
    delete_emptydir_data: bool = False
    force: bool = False


def cordon(node: Node, *, unschedulable: bool = True) -> tuple[Write, ...]:
    """Keep new pods off the node, or, with `unschedulable` False, let them in again."""
    if node.spec.unschedulable == unschedulable:
        return ()
    return (Update(node, replace(node, spec=replace(node.spec, unschedulable=unschedulable))),)


def drain(
    node: Node,
    pods: Iterable[Pod],
    daemon_sets: Iterable[DaemonSet] = (),
    options: DrainOptions = DrainOptions(),
) -> tuple[Write, ...]:
    """Cordon the node and ask for the eviction of what runs on it. Raises `MoveError` before anything is written."""
    known = {each.metadata.uid for each in daemon_sets}
    leaving: list[Pod] = []
    fatal: dict[str, list[str]] = {}
    for pod in pods:
        if pod.spec.node_name != node.metadata.name or _MIRROR in pod.metadata.annotations:
            continue
        why = _objection(pod, known, options)
        if why:
            fatal.setdefault(why, []).append(f"{pod.metadata.namespace}/{pod.metadata.name}")
        elif not _stays(pod, known):
            leaving.append(pod)
    if fatal:
        raise MoveError("; ".join(f"cannot delete {why}: {', '.join(names)}" for why, names in sorted(fatal.items())))
    evictions = (Evict(pod) for pod in leaving if pod.metadata.deletion_timestamp is None)
    return (*cordon(node), *evictions)


def restart(workload: T, now: datetime) -> tuple[Write, ...]:
    """`kubectl rollout restart`: a new template that differs in the time only. Raises `MoveError` when paused."""
    if isinstance(workload, Deployment) and workload.spec.paused:
        raise MoveError("can't restart paused deployment (run rollout resume first)")
    template = workload.spec.template
    stamp = now.strftime("%Y-%m-%dT%H:%M:%SZ")
    annotations = {**template.metadata.annotations, RESTARTED_AT: stamp}
    return _with_template(workload, replace(template, metadata=replace(template.metadata, annotations=annotations)))


def set_image(workload: T, container: str, image: str) -> tuple[Write, ...]:
    """`kubectl set image`. Raises `MoveError` for a container that the template does not have."""
    template = workload.spec.template
    containers = template.spec.containers
    if not any(each.name == container for each in containers):
        raise MoveError(f'unable to find container named "{container}"')
    changed = tuple(replace(each, image=image) if each.name == container else each for each in containers)
    return _with_template(workload, replace(template, spec=replace(template.spec, containers=changed)))


def undo(deployment: Deployment, replica_sets: Iterable[ReplicaSet], to_revision: int = 0) -> tuple[Write, ...]:
    """`kubectl rollout undo`: the template of the revision before, or of `to_revision`. Raises `MoveError`."""
    if deployment.spec.paused:
        name = deployment.metadata.name
        raise MoveError(
            f'you cannot rollback a paused deployment; resume it first with "kubectl rollout resume deployment/{name}" '
            "and try again"
        )
    own = [each for each in replica_sets if each.metadata.controller and _owns(deployment, each)]
    by_revision = sorted(own, key=_revision)
    if to_revision:
        found = next((each for each in by_revision if _revision(each) == to_revision), None)
        if found is None:
            raise MoveError(f"unable to find specified revision {to_revision} in history")
    elif len(by_revision) < 2:
        raise MoveError("no rollout history found for deployment " + f'"{deployment.metadata.name}"')
    else:
        found = by_revision[-2]
    meta = found.spec.template.metadata
    labels = {key: value for key, value in meta.labels.items() if key != POD_TEMPLATE_HASH}
    return _with_template(deployment, replace(found.spec.template, metadata=replace(meta, labels=labels)))


def pause(deployment: Deployment, *, paused: bool = True) -> tuple[Write, ...]:
    """`kubectl rollout pause`, or `resume`. Raises `MoveError` when it is so already."""
    if deployment.spec.paused == paused:
        raise MoveError("is already paused" if paused else "is not paused")
    return (Update(deployment, replace(deployment, spec=replace(deployment.spec, paused=paused))),)


def scale(workload: S, replicas: int) -> tuple[Write, ...]:
    """`kubectl scale`."""
    if workload.spec.replicas == replicas:
        return ()
    spec = replace(workload.spec, replicas=replicas)
    return (Update(workload, replace(workload, spec=spec)),)


def _with_template(workload: T, template: PodTemplateSpec) -> tuple[Write, ...]:
    if template == workload.spec.template:
        return ()
    spec = replace(workload.spec, template=template)
    return (Update(workload, replace(workload, spec=spec)),)


def _objection(pod: Pod, daemon_sets: set[str], options: DrainOptions) -> str:
    if _is_finished(pod):
        return ""
    owner = pod.metadata.controller
    if owner is not None and owner.kind == "DaemonSet":
        if owner.uid not in daemon_sets:
            return "" if options.force else f'daemonsets.apps "{owner.name}" not found'
        return "" if options.ignore_daemonsets else "DaemonSet-managed Pods (use --ignore-daemonsets to ignore)"
    if not options.delete_emptydir_data and any(volume.empty_dir is not None for volume in pod.spec.volumes):
        return "Pods with local storage (use --delete-emptydir-data to override)"
    if owner is None and not options.force:
        return "Pods that declare no controller (use --force to override)"
    return ""


def _stays(pod: Pod, daemon_sets: set[str]) -> bool:
    owner = pod.metadata.controller
    return owner is not None and owner.uid in daemon_sets and not _is_finished(pod)


def _is_finished(pod: Pod) -> bool:
    return pod.status.phase in {"Succeeded", "Failed"}


def _owns(deployment: Deployment, replica_set: ReplicaSet) -> bool:
    owner = replica_set.metadata.controller
    return owner is not None and owner.uid == deployment.metadata.uid


def _revision(replica_set: ReplicaSet) -> int:
    try:
        return int(replica_set.metadata.annotations.get(REVISION, "0"))
    except ValueError:
        return 0
