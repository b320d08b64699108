"""The pods of a Job: how a new one looks, and which of too many go first."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import groupby
from typing import Final

from msgspec.structs import replace

from seatrial.control.job.failures import COMPLETION_INDEX, completion_index
from seatrial.control.job.tracking import TRACKING_FINALIZER
from seatrial.control.ownership import controller_reference, is_ready, ready_since
from seatrial.kube.objects import Container, ContainerStatus, Job, ObjectMeta, Pod, PodSpec, PodStatus
from seatrial.kube.objects.pods import ContainerState, ContainerStateTerminated, EnvVar, EnvVarSource
from seatrial.kube.objects.volumes import ObjectFieldSelector

INDEX_VARIABLE: Final = "JOB_COMPLETION_INDEX"
_LONGEST_PREFIX: Final = 58
"""Characters of a generateName that survive: 63 without the five random ones."""
_PHASES: Final = {"Pending": 0, "Unknown": 1, "Running": 2}


def new_pod(job: Job, index: int | None, annotations: Mapping[str, str], minor: int) -> Pod:
    """A pod of the template; with `index` it carries it as annotation, label, host name and environment variable."""
    template = job.spec.template
    name, spec = job.metadata.name, template.spec
    prefix = f"{name}-"
    labels, notes = dict(template.metadata.labels), {**template.metadata.annotations, **annotations}
    if index is not None:
        prefix = _indexed_prefix(name, index)
        notes[COMPLETION_INDEX] = str(index)
        if minor >= 28:
            labels[COMPLETION_INDEX] = str(index)
        spec = replace(
            spec,
            hostname=f"{name}-{index}",
            containers=_with_index(spec.containers, minor),
            init_containers=_with_index(spec.init_containers, minor),
        )
    finalizers = template.metadata.finalizers
    if TRACKING_FINALIZER not in finalizers:
        finalizers = (*finalizers, TRACKING_FINALIZER)
    meta = ObjectMeta(
        generate_name=prefix,
        namespace=job.metadata.namespace,
        labels=labels,
        annotations=notes,
        finalizers=finalizers,
        owner_references=(controller_reference(job),),
    )
    return Pod(metadata=meta, spec=spec)


def _indexed_prefix(name: str, index: int) -> str:
    ending = f"-{index}-"
    return name[: _LONGEST_PREFIX - len(ending)] + ending


def _with_index(containers: tuple[Container, ...], minor: int) -> tuple[Container, ...]:
    where = "labels" if minor >= 28 else "annotations"
    reference = ObjectFieldSelector(field_path=f"metadata.{where}['{COMPLETION_INDEX}']")
    variable = EnvVar(name=INDEX_VARIABLE, value_from=EnvVarSource(field_ref=reference))
    return tuple(
        container
        if any(item.name == INDEX_VARIABLE for item in container.env)
        else replace(container, env=(*container.env, variable))
        for container in containers
    )


def surplus(job: Job, active: list[Pod], at_least: int) -> list[Pod]:
    """The active pods to delete: those whose index is taken, out of range or missing, then as many as still needed.

    Of several, those go first that got least far.
    """
    wrong: list[Pod] = []
    left = active
    if job.spec.completion_mode == "Indexed":
        left = []
        by_index = sorted(active, key=lambda pod: -1 if (index := completion_index(pod)) is None else index)
        for index, group in groupby(by_index, key=completion_index):
            if index is None or index >= (job.spec.completions or 0):
                wrong.extend(group)
            else:
                *repeated, last = sorted(group, key=_progress)
                wrong.extend(repeated)
                left.append(last)
    return wrong + sorted(left, key=_progress)[: max(0, at_least - len(wrong))]


def _progress(pod: Pod) -> tuple[float, ...]:
    """Upstream's `ActivePods` order."""
    ready, created = ready_since(pod), pod.metadata.creation_timestamp
    return (
        bool(pod.spec.node_name),
        _PHASES.get(pod.status.phase, 0),
        is_ready(pod),
        -float("inf") if ready is None else -ready.timestamp(),
        -restarts(pod.status.container_statuses),
        -restarts(pod.status.init_container_statuses),
        -float("inf") if created is None else -created.timestamp(),
    )


def restarts(statuses: tuple[ContainerStatus, ...]) -> int:
    return max((status.restart_count for status in statuses), default=0)


def view(pod: Pod) -> Pod:
    """What is decided on: who owns the pod, how far it got, how its containers ended."""
    status = pod.status
    return replace(
        pod,
        metadata=replace(pod.metadata, resource_version="", generation=0),
        spec=PodSpec(
            node_name=pod.spec.node_name,
            init_containers=tuple(
                Container(name=item.name, restart_policy=item.restart_policy) for item in pod.spec.init_containers
            ),
        ),
        status=PodStatus(
            phase=status.phase,
            conditions=tuple(replace(c, last_probe_time=None, message="", reason="") for c in status.conditions),
            container_statuses=tuple(map(_outcome, status.container_statuses)),
            init_container_statuses=tuple(map(_outcome, status.init_container_statuses)),
        ),
    )


def _outcome(status: ContainerStatus) -> ContainerStatus:
    ended = None if status.state is None else status.state.terminated
    if ended is not None:
        ended = ContainerStateTerminated(exit_code=ended.exit_code, finished_at=ended.finished_at)
    return ContainerStatus(name=status.name, restart_count=status.restart_count, state=ContainerState(terminated=ended))
