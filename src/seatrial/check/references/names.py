"""References by name, and by key or port within what the name leads to.

Rules: what is found is a link. What is missing is a defect with the name that was probably meant; unless somebody else
usually brings it (`edges.PROVIDED`), may make it while the system runs (`inventory`), or it lies in a namespace in
which the input has nothing: then it is expected from outside. A near miss is a defect in any case, since whoever brings
`db-password` has no reason to bring `db-pasword` as well.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from seatrial.check.edits import CUSTOM_OF_CLUSTER
from seatrial.check.references import near
from seatrial.check.references.edges import EDGES, POD, PROVIDED, Edge
from seatrial.check.references.found import Found
from seatrial.check.references.inventory import (
    GROUPS,
    Inventory,
    Steps,
    Target,
    is_own,
    items,
    kind_of,
    steps,
    template_of,
    value_at,
    walk,
)
from seatrial.check.system import Entry, Path
from seatrial.kube.objects import JsonObject
from seatrial.kube.schemas.resources import scopes

_DEFAULT_PORTS: Final = frozenset(
    ("MutatingWebhookConfiguration", "ValidatingWebhookConfiguration", "APIService", "CustomResourceDefinition")
)
_PEOPLE: Final = frozenset(("User", "Group"))
_COPIED: Final = ("reflector.v1.k8s.emberstack.com/", "replicator.v1.mittwald.de/", "kubed.appscode.com/sync")
"""Annotations with which an operator copies an object into other namespaces."""
_FILLED: Final = ("config.openshift.io/inject-trusted-cabundle", "service.beta.openshift.io/inject-cabundle")
_TOKEN: Final = frozenset(("token", "ca.crt", "namespace"))


@dataclass(frozen=True, slots=True)
class Reference:
    """One reference as it stands in an object: who refers to what by which name, and where."""

    entry: Entry
    edge: Edge
    at: Path
    raw: Any
    """The value at `at`: the name itself, or an object that has it."""
    kind: str
    namespace: str
    name: str
    elsewhere: bool
    """It names its namespace."""

    @property
    def place_of_name(self) -> Path:
        return (*self.at, *steps(self.edge.name)) if self.edge.name else self.at

    @property
    def optional(self) -> bool:
        return isinstance(self.raw, dict) and self.raw.get(self.edge.optional) is True

    @property
    def shown(self) -> str:
        return show(self.kind, self.namespace, self.name)


def look(found: Found, entries: tuple[Entry, ...]) -> None:
    """Every reference by name of these entries, into `found`."""
    inventory = found.inventory
    references = [reference for entry in entries for reference in _of(inventory, entry)]
    used: dict[tuple[str, str], set[str]] = {}
    for reference in references:
        used.setdefault((reference.kind, reference.namespace), set()).add(reference.name)
    for reference in references:
        found.count += 1
        target = _find(inventory, reference.kind, reference.namespace, reference.name)
        if target is None:
            _missing(found, reference, used.get((reference.kind, reference.namespace), set()))
            continue
        if target.entry is not None:
            found.link(reference.entry, reference.place_of_name, target.entry)
            _keys(found, reference, target.entry)
            _port(found, reference, target.entry)


def show(kind: str, namespace: str, name: str) -> str:
    plain = kind.partition(".")[0]
    return f"{plain} {namespace}/{name}" if namespace else f"{plain} {name}"


def _of(inventory: Inventory, entry: Entry) -> Iterator[Reference]:
    kind = inventory.kind(entry)
    for edge, path in _edges_of(kind):
        yield from _references(entry, edge, entry.admitted, path, ())
    template = template_of(kind, entry)
    if template is not None:
        for edge, path in _edges_of(POD):
            yield from _references(entry, edge, template.spec, path, (*template.at, "spec"))


def _references(entry: Entry, edge: Edge, root: JsonObject, path: Steps, prefix: Path) -> Iterator[Reference]:
    for at, raw in walk(root, path, prefix):
        name = raw
        if edge.name:
            name = raw.get(edge.name) if isinstance(raw, dict) else None
        if not isinstance(name, str) or not name:
            continue  # a name of another type is the schema's matter, and an empty class means none
        kind = edge.to
        if edge.kind:
            kind = _kind(raw, edge)
            if kind in _PEOPLE or not kind:
                continue
        namespace, elsewhere = entry.key.namespace, False
        if edge.namespace and isinstance(raw.get(edge.namespace), str):
            namespace, elsewhere = raw[edge.namespace], raw[edge.namespace] != namespace
        if is_of_cluster(kind):
            namespace = ""
        yield Reference(entry, edge, at, raw, kind, namespace, name, elsewhere)


def _kind(raw: JsonObject, edge: Edge) -> str:
    """The kind that a reference tells, with its group; `edge.to` is the kind, and the group, that need not be told."""
    plain, _, group = edge.to.partition(".")
    kind = raw.get(edge.kind) or plain
    if not isinstance(kind, str):
        return ""
    told = raw.get("apiGroup", raw.get("group"))
    if told is None and isinstance(raw.get("apiVersion"), str):
        told = raw["apiVersion"].rpartition("/")[0]
    if told is None:
        return kind if not group or is_own(kind) else f"{kind}.{group}"
    return kind_of(f"{told}/v1" if told else "v1", kind)


def _find(inventory: Inventory, kind: str, namespace: str, name: str) -> Target | None:
    found = inventory.find(kind, namespace, name)
    return inventory.find(kind, "", name) if found is None and "." in kind and namespace else found


def _missing(found: Found, reference: Reference, used: set[str]) -> None:
    inventory, edge, entry = found.inventory, reference.edge, reference.entry
    kind, namespace, name = reference.kind, reference.namespace, reference.name
    known = inventory.names(kind, namespace)
    unused = {each for each in known if each not in used}
    candidate = near.meant(name, known, unused)
    others = [] if reference.optional else inventory.elsewhere(kind, namespace, name)
    if any(_is_copied(target) for _, target in others):
        found.expect(entry, reference.shown, "an operator that copies it", edge.then, reference.place_of_name)
        return
    if candidate is not None:
        target = known[candidate].entry
        places = (target.place("metadata", "name"),) if target else ()
        then = "it is left out" if reference.optional else edge.then
        message = f"{then}: there is no {reference.shown}; probably {candidate} is meant"
        found.defect(entry, message, reference.place_of_name, places, reference.shown)
    elif reference.optional:
        return
    elif others and edge.at != "metadata.namespace":
        where, target_there = others[0]
        if reference.elsewhere and _is_unplaced(target_there):
            by = f"`kubectl apply --namespace {namespace}`, since the files name none"
            found.expect(entry, reference.shown, by, edge.then, reference.place_of_name)
            return
        places = (target_there.entry.place("metadata", "namespace"),) if target_there.entry else ()
        message = f"{edge.then}: there is no {reference.shown}; the one there is lies in namespace {where}"
        found.defect(entry, message, reference.place_of_name, places, reference.shown)
    elif (other := _other_group(inventory, reference)) is not None:
        message = f"{edge.then}: there is no {kind.partition('.')[0]} {name} of that API; it is {other.api_version}"
        found.defect(entry, message, (*reference.at, edge.kind), (other.place("apiVersion"),))
    elif by := _brought_by(inventory, reference):
        found.expect(entry, reference.shown, by, edge.then, reference.place_of_name)
    else:
        hint = near.told(name, known) if known else ""
        message = f"{edge.then}: there is no {reference.shown}{hint}"
        found.defect(entry, message, reference.place_of_name, (), reference.shown)


def _brought_by(inventory: Inventory, reference: Reference) -> str:
    """Who will bring what is missing; empty: nobody."""
    kind, namespace, name = reference.kind, reference.namespace, reference.name
    if kind in PROVIDED:
        return PROVIDED[kind]
    if reference.elsewhere and namespace not in inventory.namespaces:
        return f"whoever looks after namespace {namespace}"
    if maker := inventory.maker(namespace, name):
        return f"the operator that looks after {maker.key}"
    if inventory.may(kind, namespace, "create"):
        return "a workload of the system, whose role lets it create such objects"
    if "." in kind:
        return f"whoever installs {kind.partition('.')[2]}"
    return ""


def _other_group(inventory: Inventory, reference: Reference) -> Entry | None:
    """The object that has this name and kind in another API group."""
    if not reference.edge.kind:
        return None
    plain = reference.kind.partition(".")[0]
    for (kind, namespace), names in inventory.objects.items():
        if kind != reference.kind and kind.partition(".")[0] == plain and namespace == reference.namespace:
            target = names.get(reference.name)
            if target is not None and target.entry is not None:
                return target.entry
    return None


def _keys(found: Found, reference: Reference, target: Entry) -> None:
    """The keys that the reference wants of a ConfigMap or Secret."""
    for path in reference.edge.keys:
        for at, key in walk(reference.raw, steps(path), reference.at):
            if not isinstance(key, str):
                continue
            found.count += 1
            present = keys_of(target)
            if key in present:
                continue
            candidate = near.meant(key, present)
            if reference.optional and candidate is None:
                continue
            if not present and is_filled(found.inventory, target):
                by = "whoever fills the object while the system runs"
                found.expect(reference.entry, f"key {key} of {reference.shown}", by, reference.edge.then, at)
                continue
            then = "it is left out" if reference.optional else reference.edge.then
            message = f"{then}: {reference.shown} has no key {key!r}{near.told(key, present)}"
            found.defect(reference.entry, message, at, (target.place("data"),))


def keys_of(target: Entry) -> frozenset[str]:
    raw = target.admitted
    present = frozenset(
        str(key)
        for field in ("data", "binaryData", "stringData")
        if isinstance(raw.get(field), dict)
        for key in raw[field]
    )
    return present | _TOKEN if raw.get("type") == "kubernetes.io/service-account-token" else present


def is_filled(inventory: Inventory, target: Entry) -> bool:
    """Whether something may put data into an object that has none: a role of the input, or what annotations ask for."""
    metadata = target.admitted.get("metadata") or {}
    marks = {**(metadata.get("labels") or {}), **(metadata.get("annotations") or {})}
    return any(mark in marks for mark in _FILLED) or inventory.may(
        target.key.kind, target.key.namespace, "update", "patch"
    )


def _port(found: Found, reference: Reference, service: Entry) -> None:
    """The port that the reference wants of a Service."""
    edge = reference.edge
    if not edge.port or reference.kind != "Service":
        return
    wanted = reference.raw.get(edge.port)
    at: Path = (*reference.at, edge.port)
    if isinstance(wanted, dict):  # an Ingress has a name or a number
        field = "name" if wanted.get("name") else "number"
        wanted, at = wanted.get(field), (*at, field)
    if wanted is None and reference.entry.key.kind in _DEFAULT_PORTS:
        wanted = 443
    spec = service.admitted.get("spec") or {}
    if wanted is None or spec.get("type") == "ExternalName":
        return
    found.count += 1
    ports = items(spec, "ports")
    if any(wanted in (port.get("port"), port.get("name")) for port in ports):
        return
    has = ", ".join(" ".join(str(port[f]) for f in ("name", "port") if port.get(f)) for port in ports) or "none"
    message = f"{edge.then}: {reference.shown} has no port {wanted} (it has {has})"
    found.defect(reference.entry, message, at, (service.place("spec", "ports"),))


def _is_unplaced(target: Target) -> bool:
    """Whether the file leaves the namespace of an object to whoever applies it."""
    return target.entry is not None and not value_at(target.entry.written, ("metadata", "namespace"))


def _is_copied(target: Target) -> bool:
    annotations = value_at(target.entry.admitted, ("metadata", "annotations")) if target.entry else None
    return any(str(key).startswith(_COPIED) for key in annotations or ())


@cache
def is_of_cluster(kind: str) -> bool:
    """Whether objects of a kind belong to no namespace, as far as that is known."""
    if "." in kind:
        return kind.partition(".")[0] in CUSTOM_OF_CLUSTER
    found = [namespaced for (_, each), namespaced in scopes().items() if each == kind]
    return bool(found) and not any(found)


@cache
def _edges_of(source: str) -> tuple[tuple[Edge, Steps], ...]:
    """The edges of a kind (or of all pods), with their paths; a pod's containers are all its groups."""
    found = []
    for edge in EDGES:
        if edge.source not in (source, "*") or (edge.source == "*" and source == POD):
            continue
        path = steps(edge.at)
        if source == POD and path[0] == "containers":
            found += [(edge, (group, *path[1:])) for group in GROUPS]
        else:
            found.append((edge, path))
    return tuple(found)
