"""Where pods come from: every pod template of a system, typed, with the path of its spec in its object."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from seatrial.check.system import Entry, Path, System
from seatrial.kube import selectors
from seatrial.kube.objects import Container, CronJob, Key, Pod, PodSpec, PodTemplateSpec

PATHS: Final[Mapping[str, Path]] = {
    "Pod": (),
    "Deployment": ("spec", "template"),
    "ReplicaSet": ("spec", "template"),
    "ReplicationController": ("spec", "template"),
    "StatefulSet": ("spec", "template"),
    "DaemonSet": ("spec", "template"),
    "Job": ("spec", "template"),
    "CronJob": ("spec", "jobTemplate", "spec", "template"),
}


@dataclass(frozen=True, slots=True, eq=False)
class Template:
    """The pods of one object: what they are labelled and what they run."""

    entry: Entry
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    spec: PodSpec

    @property
    def path(self) -> Path:
        """Of the pod's spec."""
        return (*PATHS[self.entry.key.kind], "spec")

    @property
    def key(self) -> Key:
        return self.entry.key

    @property
    def namespace(self) -> str:
        return self.entry.key.namespace

    def containers(self) -> Iterator[tuple[Path, Container, bool]]:
        """Each container with its path, and whether it has to end before the next one begins."""
        for index, container in enumerate(self.spec.init_containers):
            yield (*self.path, "initContainers", index), container, container.restart_policy != "Always"
        for index, container in enumerate(self.spec.containers):
            yield (*self.path, "containers", index), container, False


def templates(system: System) -> tuple[Template, ...]:
    found = []
    for entry in system.entries:
        typed = entry.typed
        if entry.key.kind not in PATHS or typed is None:
            continue
        template: PodTemplateSpec | Pod | None
        if isinstance(typed, Pod):
            template = typed
        elif isinstance(typed, CronJob):
            job = typed.spec.job_template.spec
            template = job.template if job is not None else None
        else:
            template = getattr(getattr(typed, "spec", None), "template", None)
        if template is not None:
            meta = template.metadata
            found.append(Template(entry, meta.labels, meta.annotations, template.spec))
    return tuple(found)


def behind(service: Entry, pods: tuple[Template, ...]) -> tuple[Template, ...]:
    """The templates whose pods a Service's selector matches; none for a Service without a selector."""
    selector = (service.admitted.get("spec") or {}).get("selector")
    if not isinstance(selector, dict) or not selector:
        return ()
    own = (each for each in pods if each.namespace == service.key.namespace)
    return tuple(each for each in own if selectors.matches_labels(selector, each.labels))
