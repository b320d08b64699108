"""`references/exist`: every name that an object mentions is the name of something in the system.

Rules: only what the cluster does not make by itself (the `default` ServiceAccount, the `kube-root-ca.crt` ConfigMap);
what is marked optional may be missing. Every missing thing is one verdict with its place; none missing is one proof.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from seatrial.check.properties import Property, Question
from seatrial.check.system import Entry, Path, System
from seatrial.check.verdicts import Answer, Verdict
from seatrial.kube import selectors
from seatrial.kube.objects import JsonObject

NAME = "references/exist"
PROPERTIES = (
    Property(
        name=NAME,
        asks="does every name that an object mentions lead to something?",
        formally="for every reference (from, field, to) that is required: `to` is in the input or made by the cluster",
        premise="always",
        sometimes="the input has an object",
    ),
)
ASSUMPTIONS: Mapping[str, str] = {}
TEMPLATES: dict[str, Path] = {
    "Pod": (),
    "Deployment": ("spec", "template"),
    "ReplicaSet": ("spec", "template"),
    "StatefulSet": ("spec", "template"),
    "DaemonSet": ("spec", "template"),
    "Job": ("spec", "template"),
    "CronJob": ("spec", "jobTemplate", "spec", "template"),
}
SCALED = frozenset(("Deployment", "ReplicaSet", "StatefulSet", "ReplicationController"))
MADE_BY_THE_CLUSTER = frozenset((("ServiceAccount", "default"), ("ConfigMap", "kube-root-ca.crt")))

Missing = tuple[Path, str]


def check(question: Question, _wanted: frozenset[str]) -> list[Verdict]:
    system = question.system
    verdicts = [
        Verdict(
            property=NAME,
            subject=str(entry.key),
            verdict=Answer.REFUTED,
            message=message,
            places=(entry.place(*path),),
            method="lookup",
        )
        for entry in system.entries
        for path, message in _missing(system, entry)
    ]
    if verdicts:
        return verdicts
    return [
        Verdict(
            property=NAME,
            subject="system",
            verdict=Answer.PROVED,
            message=f"every reference of the {len(system.entries)} objects leads to something",
            method="lookup",
        )
    ]


def _missing(system: System, entry: Entry) -> Iterator[Missing]:
    kind = entry.key.kind
    if kind in TEMPLATES:
        yield from _pod(system, entry, TEMPLATES[kind])
    elif kind == "Service":
        yield from _service(system, entry)
    elif kind == "HorizontalPodAutoscaler":
        target = at(entry.admitted, ("spec", "scaleTargetRef"))
        if isinstance(target, dict) and target.get("kind") in SCALED:
            name = str(target.get("name", ""))
            if system.get(target["kind"], entry.key.namespace, name) is None:
                yield ("spec", "scaleTargetRef", "name"), f"there is no {target['kind']} {name!r} to scale"
    elif kind == "PodDisruptionBudget":
        selector = at(entry.admitted, ("spec", "selector"))
        if isinstance(selector, dict) and not any(
            _matches(selector, labels) for labels, _ in _templates(system, entry.key.namespace)
        ):
            yield ("spec", "selector"), "the selector matches no pod of the system, so the budget protects nothing"


def _pod(system: System, entry: Entry, prefix: Path) -> Iterator[Missing]:
    spec = at(entry.admitted, (*prefix, "spec"))
    if not isinstance(spec, dict):
        return
    base = (*prefix, "spec")
    account = spec.get("serviceAccountName")
    if account and not _exists(system, entry, "ServiceAccount", account):
        yield (*base, "serviceAccountName"), f"there is no ServiceAccount {account!r}; the pods cannot be created"
    volumes = {volume.get("name") for volume in _items(spec, "volumes")}
    claims = {
        claim.get("metadata", {}).get("name")
        for claim in _items(at(entry.admitted, ("spec",)) or {}, "volumeClaimTemplates")
    }
    for index, volume in enumerate(_items(spec, "volumes")):
        yield from _volume(system, entry, (*base, "volumes", index), volume)
    for group in ("initContainers", "containers"):
        for index, container in enumerate(_items(spec, group)):
            here = (*base, group, index)
            for position, mount in enumerate(_items(container, "volumeMounts")):
                if mount.get("name") not in volumes | claims:
                    yield (
                        (*here, "volumeMounts", position, "name"),
                        f"container {container.get('name')!r} mounts {mount.get('name')!r}, no volume of the pod",
                    )
            for position, variable in enumerate(_items(container, "env")):
                source = variable.get("valueFrom") or {}
                for field, of in (("configMapKeyRef", "ConfigMap"), ("secretKeyRef", "Secret")):
                    reference = source.get(field)
                    if isinstance(reference, dict):
                        where = (*here, "env", position, "valueFrom", field)
                        keys = [(str(reference.get("key", "")), (*where, "key"))]
                        yield from _data(system, entry, of, reference, where, keys)
            for position, whole in enumerate(_items(container, "envFrom")):
                for field, of in (("configMapRef", "ConfigMap"), ("secretRef", "Secret")):
                    reference = whole.get(field)
                    if isinstance(reference, dict):
                        yield from _data(system, entry, of, reference, (*here, "envFrom", position, field), [])


def _volume(system: System, entry: Entry, where: Path, volume: JsonObject) -> Iterator[Missing]:
    claim = volume.get("persistentVolumeClaim")
    if isinstance(claim, dict) and not _exists(system, entry, "PersistentVolumeClaim", claim.get("claimName")):
        yield (
            (*where, "persistentVolumeClaim", "claimName"),
            f"there is no PersistentVolumeClaim {claim.get('claimName')!r}; the pod will stay Pending",
        )
    sources: list[tuple[Path, JsonObject]] = [((), volume)]
    for index, source in enumerate(_items(volume.get("projected") or {}, "sources")):
        sources.append((("projected", "sources", index), source))
    for inner, source in sources:
        for field, of, name in (
            ("configMap", "ConfigMap", "name"),
            ("secret", "Secret", "secretName" if not inner else "name"),
        ):
            reference = source.get(field)
            if isinstance(reference, dict):
                there = (*where, *inner, field)
                keys = [
                    (str(item.get("key", "")), (*there, "items", index, "key"))
                    for index, item in enumerate(_items(reference, "items"))
                ]
                yield from _data(system, entry, of, reference, there, keys, name)


def _data(
    system: System,
    entry: Entry,
    kind: str,
    reference: JsonObject,
    where: Path,
    keys: list[tuple[str, Path]],
    name_field: str = "name",
) -> Iterator[Missing]:
    """A ConfigMap or Secret, and keys in it."""
    if reference.get("optional"):
        return
    name = str(reference.get(name_field, ""))
    if (kind, name) in MADE_BY_THE_CLUSTER:
        return
    target = system.get(kind, entry.key.namespace, name)
    if target is None:
        others = [other.key.name for other in system.of(kind) if other.key.namespace == entry.key.namespace]
        hint = f" (there is {', '.join(others)})" if others else ""
        yield (
            (*where, name_field),
            f"there is no {kind} {name!r} in namespace {entry.key.namespace}{hint}; the containers cannot start",
        )
        return
    present = {key for field in ("data", "binaryData", "stringData") for key in (target.admitted.get(field) or {})}
    known = ", ".join(sorted(present)) or "none"
    for key, place in keys:
        if key not in present:
            yield (
                place,
                f"{kind} {name!r} has no key {key!r} (it has {known}); the containers cannot start",
            )


def _service(system: System, entry: Entry) -> Iterator[Missing]:
    spec = at(entry.admitted, ("spec",)) or {}
    selector = spec.get("selector")
    if not isinstance(selector, dict) or not selector:
        return
    pods = [
        pod for labels, pod in _templates(system, entry.key.namespace) if selectors.matches_labels(selector, labels)
    ]
    if not pods:
        yield ("spec", "selector"), "the selector matches no pod of the system; connections will be refused"
        return
    for index, port in enumerate(_items(spec, "ports")):
        target = port.get("targetPort")
        if not isinstance(target, str) or target.isdigit():
            continue
        for pod in pods:
            names = {p.get("name") for container in _items(pod, "containers") for p in _items(container, "ports")}
            if target not in names:
                known = ", ".join(sorted(str(name) for name in names if name)) or "none"
                yield (
                    ("spec", "ports", index, "targetPort"),
                    f"no container port is named {target!r} (named ports: {known}); the port will have no endpoints",
                )
                break


def _templates(system: System, namespace: str) -> Iterator[tuple[dict[str, str], JsonObject]]:
    """Labels and spec of every pod that the system will have in the namespace."""
    for entry in system.entries:
        prefix = TEMPLATES.get(entry.key.kind)
        if prefix is not None and entry.key.namespace == namespace:
            template = at(entry.admitted, prefix)
            if isinstance(template, dict):
                metadata = template.get("metadata") or {}
                yield dict(metadata.get("labels") or {}), template.get("spec") or {}


def _matches(selector: JsonObject, labels: dict[str, str]) -> bool:
    from seatrial.kube.objects import LabelSelector, parse_as

    return selectors.matches(parse_as(LabelSelector, selector), labels)


def _exists(system: System, entry: Entry, kind: str, name: Any) -> bool:
    return (kind, name) in MADE_BY_THE_CLUSTER or system.get(kind, entry.key.namespace, str(name)) is not None


def _items(parent: JsonObject, field: str) -> list[JsonObject]:
    items = parent.get(field)
    return [item for item in items if isinstance(item, dict)] if isinstance(items, list) else []


def at(value: Any, path: Path) -> Any:
    """The value at a path, None where there is none."""
    for step in path:
        value = value.get(step) if isinstance(value, dict) else None
    return value
