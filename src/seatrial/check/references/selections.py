"""References by label selector: who is selected, and whether that is whom the selector's author meant.

Rules: pods are those of the input's templates, with the labels that controllers add. A selector that selects nothing is
a defect, unless an operator or a workload of the input may make such pods, or give them such labels, while it runs;
the label that nearly fits is told. A Service must find its named target ports. A number that no container declares is
legal: it is expected of the image, unless the Service plainly means the only port that is declared and unserved.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from seatrial.check.references import near
from seatrial.check.references.edges import PODS, SELECTIONS, Selection
from seatrial.check.references.found import Found
from seatrial.check.references.inventory import Inventory, Template, items, steps, value_at, walk
from seatrial.check.system import Entry, Path
from seatrial.kube import selectors
from seatrial.kube.objects import LabelSelector, parse_as
from seatrial.kube.selectors import Requirement

_MONITORING: Final = "monitoring.coreos.com"
_LOADERS: Final = frozenset(f"{kind}.{_MONITORING}" for kind in ("Prometheus", "PrometheusAgent", "ThanosRuler"))
_WORKLOADS: Final = frozenset(("Deployment", "ReplicaSet", "StatefulSet", "DaemonSet", "ReplicationController"))


@dataclass(frozen=True, slots=True)
class Candidate:
    """Something with labels that a selector may select."""

    entry: Entry
    labels: Mapping[str, str]
    template: Template | None = None

    def meets(self, requirement: Requirement) -> bool:
        if self.template is not None and requirement.operator in ("In", "Exists"):
            told = self.template.has(requirement.key, requirement.values)
            if told is not None:
                return told
        return requirement.matches(self.labels)


def look(found: Found, entries: tuple[Entry, ...]) -> None:
    """Every selector of these entries, and what depends on whom it selects, into `found`."""
    by_kind: dict[str, list[Selection]] = {}
    for selection in SELECTIONS:
        by_kind.setdefault(selection.source, []).append(selection)
    for entry in entries:
        kind = found.inventory.kind(entry)
        for selection in by_kind.get(kind, ()):
            for at, raw in walk(entry.admitted, steps(selection.at)):
                _selection(found, entry, selection, at, raw)
        if kind == "Service":
            _nobody_behind(found, entry)
        elif kind in _WORKLOADS:
            _catches(found, entry)
        elif kind in (f"ServiceMonitor.{_MONITORING}", f"PodMonitor.{_MONITORING}", f"PrometheusRule.{_MONITORING}"):
            _loaded(found, entry, kind)


def requirements(raw: Any, *, plain: bool) -> tuple[Requirement, ...] | None:
    """What a selector asks for; None if it cannot be read (which is the schema's matter)."""
    if not isinstance(raw, dict):
        return None
    if plain:
        return tuple(Requirement(str(key), "In", (str(value),)) for key, value in raw.items())
    try:
        selector = parse_as(LabelSelector, raw)
    except ValueError:
        return None
    return (
        *(Requirement(key, "In", (value,)) for key, value in selector.match_labels.items()),
        *(Requirement(each.key, each.operator, tuple(each.values)) for each in selector.match_expressions),
    )


def selected(candidates: list[Candidate], wanted: tuple[Requirement, ...]) -> list[Candidate]:
    return [each for each in candidates if all(each.meets(requirement) for requirement in wanted)]


def pods_in(inventory: Inventory, namespaces: Iterator[str] | list[str]) -> list[Candidate]:
    return [
        Candidate(template.entry, template.steady, template)
        for namespace in namespaces
        for template in inventory.templates.get(namespace, ())
    ]


def _selection(found: Found, entry: Entry, selection: Selection, at: Path, raw: Any) -> None:
    wanted = requirements(raw, plain=selection.plain)
    if not wanted:  # an empty selector is everything there is
        return
    found.count += 1
    inventory = found.inventory
    namespaces = _namespaces(found, entry, selection, at)
    if namespaces is None:
        return
    try:
        candidates = _candidates(inventory, selection.to, namespaces)
        hits = selected(candidates, wanted)
    except selectors.SelectorError:
        return
    for hit in hits:
        found.link(entry, at, hit.entry)
    if hits:
        if selection.source == "Service":
            _target_ports(found, entry, [hit.template for hit in hits if hit.template])
            _too_broad(found, entry, at, [hit.template for hit in hits if hit.template])
        elif selection.source == f"ServiceMonitor.{_MONITORING}":
            _scraped_services(found, entry, [hit.entry for hit in hits])
        elif selection.source == f"PodMonitor.{_MONITORING}":
            _scraped_pods(found, entry, [hit.template for hit in hits if hit.template])
        elif selection.source == "NetworkPolicy":
            _policy_ports(found, entry, at, [hit.template for hit in hits if hit.template])
        return
    what = "pods" if selection.to == PODS else f"{selection.to.partition('.')[0]}s"
    text = ", ".join(_shown(each) for each in wanted)
    guess = _nearly(inventory, selection, candidates, wanted, entry)
    if guess is not None:
        hint, place_of = guess
        message = f"{selection.then}: no {what} have {text}; {hint}"
        found.defect(entry, message, at, (place_of,), f"{what} with {text}")
    elif selection.to == "Service" and not candidates:
        found.expect(entry, f"{what} with {text}", "whoever deploys what is scraped", selection.then, at)
    elif by := _brought_by(inventory, selection, entry.key.namespace, namespaces, wanted):
        found.expect(entry, f"{what} with {text}", by, selection.then, at)
    else:
        found.defect(entry, f"{selection.then}: no {what} have {text}", at, (), f"{what} with {text}")


def _candidates(inventory: Inventory, to: str, namespaces: list[str]) -> list[Candidate]:
    if to == PODS:
        return pods_in(inventory, namespaces)
    return [
        Candidate(target.entry, value_at(target.entry.admitted, ("metadata", "labels")) or {})
        for namespace in namespaces
        for target in inventory.names(to, namespace).values()
        if target.entry is not None
    ]


def _namespaces(found: Found, entry: Entry, selection: Selection, at: Path) -> list[str] | None:
    """The namespaces that the selector looks into; None if nobody can tell."""
    inventory = found.inventory
    own = entry.key.namespace
    everywhere = sorted({*inventory.namespaces, own})
    if selection.source == "NetworkPolicy" and len(at) > 2:
        peer = value_at(entry.admitted, at[:-1])
        if "namespaceSelector" not in peer:
            return [own]
        return _labelled(inventory, peer["namespaceSelector"], everywhere)
    if not selection.namespaces:
        return [own]
    raw = value_at(entry.admitted, steps(selection.namespaces))
    if selection.source == f"Prometheus.{_MONITORING}":
        return [own] if raw is None else _labelled(inventory, raw, everywhere)
    if not isinstance(raw, dict):
        return [own]
    if raw.get("any") is True:
        return [*everywhere, ""]
    names = [str(name) for name in raw.get("matchNames") or ()]
    unknown = [name for name in names if name not in inventory.namespaces]
    for name in unknown:
        index = names.index(name)
        place: Path = (*steps(selection.namespaces), "matchNames", index)
        candidate = near.meant(name, inventory.namespaces)
        if candidate:
            found.defect(
                entry, f"{selection.then}: there is nothing in namespace {name}; probably {candidate} is meant", place
            )
        else:
            by = f"whoever looks after namespace {name}"
            found.expect(entry, f"what is selected in namespace {name}", by, selection.then, place)
    return None if unknown else names or [own]


def _labelled(inventory: Inventory, raw: Any, everywhere: list[str]) -> list[str] | None:
    """The namespaces with such labels; None if one is asked for that no file tells."""
    wanted = requirements(raw, plain=False)
    if wanted is None:
        return everywhere
    hits = []
    for namespace in everywhere:
        target = inventory.find("Namespace", "", namespace)
        labels = {"kubernetes.io/metadata.name": namespace}
        if target is not None and target.entry is not None:
            labels |= value_at(target.entry.admitted, ("metadata", "labels")) or {}
        elif any(each.key not in labels for each in wanted):
            return None
        if all(each.matches(labels) for each in wanted):
            hits.append(namespace)
    return hits or None


def _brought_by(
    inventory: Inventory, selection: Selection, own: str, namespaces: list[str], wanted: tuple[Requirement, ...]
) -> str:
    if selection.provided:
        return selection.provided
    if len(namespaces) > 1 or namespaces != [own]:
        return "whoever deploys what is meant in other namespaces"
    if selection.to != PODS:
        return ""
    for namespace in namespaces:
        if inventory.operators.get(namespace):
            return f"the operator that looks after {inventory.operators[namespace][0].key}"
        if inventory.may("Pod", namespace, "create"):
            return "a workload of the system, whose role lets it create pods"
        known = {key for each in inventory.templates.get(namespace, ()) for key in each.labels}
        lacking = [each.key for each in wanted if each.key not in known]
        if lacking and inventory.may("Pod", namespace, "patch", "update"):
            return "a workload of the system, whose role lets it label pods"
        if lacking and inventory.injected:
            return "a webhook of the system, which changes pods as they are created"
    return ""


def _nearly(
    inventory: Inventory,
    selection: Selection,
    candidates: list[Candidate],
    wanted: tuple[Requirement, ...],
    entry: Entry,
) -> tuple[str, Any] | None:
    """What was probably meant: a label that differs by a letter, or the same labels in another namespace."""
    for each in candidates:
        failing = [requirement for requirement in wanted if not each.meets(requirement)]
        if len(failing) != 1 or failing[0].operator != "In":
            continue
        (requirement,) = failing
        value = each.labels.get(requirement.key)
        place = _label_place(each, requirement.key)
        others = len(wanted) > 1
        for asked in requirement.values:
            if value is not None and near.meant(asked, [value], [value] if others else ()):
                return f"probably {requirement.key}={value} of {each.entry.key} is meant", place
        key = near.meant(requirement.key, each.labels)
        if key is not None and each.labels[key] in requirement.values:
            return f"{each.entry.key} has {key}={each.labels[key]}", _label_place(each, key)
    if selection.to != PODS or selection.namespaces:
        return None
    for namespace in inventory.templates:
        if namespace == entry.key.namespace or selection.provided:
            continue
        hits = selected(pods_in(inventory, [namespace]), wanted)
        if hits:
            return f"{hits[0].entry.key} has them, in another namespace", hits[0].entry.place("metadata", "namespace")
    return None


def _label_place(each: Candidate, key: str) -> Any:
    prefix = each.template.at if each.template else ()
    return each.entry.place(*prefix, "metadata", "labels", key)


def _shown(requirement: Requirement) -> str:
    values = ", ".join(requirement.values)
    match requirement.operator:
        case "In":
            return f"{requirement.key}={values}" if len(requirement.values) == 1 else f"{requirement.key} in ({values})"
        case "NotIn":
            return f"{requirement.key} not in ({values})"
        case "Exists":
            return f"a label {requirement.key}"
        case _:
            return f"no label {requirement.key}"


def declared(template: Template) -> list[tuple[str, int, str, Path]]:
    """Name, number, protocol and place of every port that a pod's containers declare, sidecars among them."""
    ports = []
    for at, container in template.containers("containers", "initContainers"):
        if at[-2] == "initContainers" and container.get("restartPolicy") != "Always":
            continue
        for index, port in enumerate(items(container, "ports")):
            number = port.get("containerPort")
            if isinstance(number, int):
                protocol = str(port.get("protocol") or "TCP")
                ports.append((str(port.get("name") or ""), number, protocol, (*at, "ports", index)))
    return ports


def _target_ports(found: Found, service: Entry, templates: list[Template]) -> None:
    ports = items(service.admitted.get("spec") or {}, "ports")
    for index, port in enumerate(ports):
        target = port.get("targetPort", port.get("port"))
        protocol = str(port.get("protocol") or "TCP")
        at: Path = ("spec", "ports", index, "targetPort")
        found.count += 1
        if isinstance(target, str) and not target.isdigit():
            known: set[str] = set()
            lacking = None
            for template in templates:
                names = {name for name, _, each, _ in declared(template) if name and each == protocol}
                known |= names
                if target not in names and not template.ends:
                    lacking = lacking or template
            if lacking is not None:
                _no_named_port(found, service, at, target, known, lacking)
        elif isinstance(target, (int, str)):
            _number(found, service, at, int(target), protocol, templates, len(ports))


def _no_named_port(found: Found, service: Entry, at: Path, target: str, known: set[str], template: Template) -> None:
    owner = template.entry.key
    if target in known:
        message = f"pods of {owner} are no endpoints of this port: they have no port named {target!r}"
    else:
        message = (
            f"the port has no endpoints: no container of {owner} has a port named {target!r}{near.told(target, known)}"
        )
    place = template.entry.place(*template.at, "spec", "containers")
    found.defect(service, message, at, (place,))


def _number(
    found: Found, service: Entry, at: Path, number: int, protocol: str, templates: list[Template], ports: int
) -> None:
    lasting = [template for template in templates if not template.ends]
    by_template = [[port for port in declared(template) if port[2] == protocol] for template in lasting]
    if not by_template or any(port[1] == number for ports_of in by_template for port in ports_of):
        return
    (first, *_), template = by_template, lasting[0]
    unserved = [port for port in first if not _is_served(found.inventory, template, port)]
    if len(first) == len(unserved) == ports == 1:
        _, meant, _, place = unserved[0]
        message = (
            f"connections are refused: the pods of {template.entry.key} declare port {meant}, which no Service leads"
            f" to, and nothing on {number}"
        )
        found.defect(service, message, at, (template.entry.place(*place, "containerPort"),))
        return
    image = str(next((c.get("image") for _, c in template.containers("containers")), ""))
    then = "connections to the Service are refused"
    found.expect(service, f"port {number} of {template.entry.key}", f"the image ({image}) listens on it", then, at)


def _is_served(inventory: Inventory, template: Template, port: tuple[str, int, str, Path]) -> bool:
    """Whether some Service leads to a declared port."""
    name, number, protocol, _ = port
    for target in inventory.names("Service", template.namespace).values():
        spec = (target.entry.admitted.get("spec") or {}) if target.entry else {}
        wanted = requirements(spec.get("selector"), plain=True)
        if not wanted or not all(Candidate(template.entry, template.steady, template).meets(each) for each in wanted):
            continue
        for each in items(spec, "ports"):
            aim = each.get("targetPort", each.get("port"))
            if aim in (number, name) and str(each.get("protocol") or "TCP") == protocol:
                return True
    return False


def _too_broad(found: Found, service: Entry, at: Path, templates: list[Template]) -> None:
    """Pods that are caught besides those that are meant: they declare ports, or end, and not the one asked for."""
    if len(templates) < 2:
        return
    for index, port in enumerate(items(service.admitted.get("spec") or {}, "ports")):
        target = port.get("targetPort", port.get("port"))
        if isinstance(target, str) and not target.isdigit():
            continue  # pods without a port of that name are no endpoints of it
        number, protocol = int(target or 0), str(port.get("protocol") or "TCP")
        right = [each for each in templates if any(number == p[1] and protocol == p[2] for p in declared(each))]
        owners = {each.entry.key for each in right}
        wrong = [each for each in templates if each.entry.key not in owners and (declared(each) or each.ends)]
        if right and wrong:
            owner = wrong[0].entry.key
            message = (
                f"some connections are refused: the selector also catches the pods of {owner}, which declare no port"
                f" {number}; {right[0].entry.key} does"
            )
            places = (
                service.place("spec", "ports", index),
                wrong[0].entry.place(*wrong[0].at, "metadata", "labels"),
            )
            found.defect(service, message, at, places)
            return


def _nobody_behind(found: Found, service: Entry) -> None:
    """A Service without a selector needs slices that somebody writes."""
    spec = service.admitted.get("spec") or {}
    if spec.get("selector") or spec.get("type") == "ExternalName":
        return
    inventory, key = found.inventory, service.key
    slices = inventory.names("EndpointSlice", key.namespace).values()
    served = {
        (value_at(each.entry.admitted, ("metadata", "labels")) or {}).get("kubernetes.io/service-name")
        for each in slices
        if each.entry
    }
    if key.name in served or inventory.find("Endpoints", key.namespace, key.name):
        return
    found.count += 1
    then = "connections to it are refused"
    what = f"endpoints of {key}"
    if inventory.may("Endpoints", key.namespace, "create", "update", "patch") or inventory.may(
        "EndpointSlice", key.namespace, "create", "update", "patch"
    ):
        found.expect(service, what, "a workload of the system, whose role lets it write them", then, ("spec",))
    elif maker := inventory.operators.get(key.namespace):
        found.expect(service, what, f"the operator that looks after {maker[0].key}", then, ("spec",))
    else:
        message = f"{then}: the Service has no selector, and no EndpointSlice or Endpoints of the input is its own"
        found.defect(service, message, ("spec", "selector"))


def _catches(found: Found, entry: Entry) -> None:
    """A workload's selector must not select another workload's pods."""
    raw = value_at(entry.admitted, ("spec", "selector"))
    wanted = requirements(raw, plain=entry.key.kind == "ReplicationController")
    if not wanted:
        return
    found.count += 1
    for each in found.inventory.templates.get(entry.key.namespace, ()):
        other = each.entry
        if other.key == entry.key or other.key.kind == "PodTemplate":  # the same one may be written in several files
            continue
        try:
            caught = all(Candidate(other, each.steady, each).meets(requirement) for requirement in wanted)
        except selectors.SelectorError:
            return
        # Of two that catch each other one finding is enough.
        mutual = caught and other.key.kind in _WORKLOADS and _selects_back(other, entry)
        if caught and not (mutual and str(other.key) < str(entry.key)):
            message = (
                f"autoscalers, budgets and whoever else goes by this selector count the pods of {other.key} as well:"
                f" its labels {', '.join(_shown(r) for r in wanted)} are not this workload's alone"
            )
            found.defect(entry, message, ("spec", "selector"), (other.place(*each.at, "metadata", "labels"),))
            return


def _selects_back(other: Entry, entry: Entry) -> bool:
    wanted = requirements(
        value_at(other.admitted, ("spec", "selector")), plain=other.key.kind == "ReplicationController"
    )
    labels = value_at(entry.admitted, ("spec", "template", "metadata", "labels")) or {}
    return bool(wanted) and all(each.matches(labels) for each in wanted or ())


def _scraped_services(found: Found, monitor: Entry, services: list[Entry]) -> None:
    """An endpoint's port is the name of a Service's port, or a port of the pods behind it."""
    for index, endpoint in enumerate(items(monitor.admitted.get("spec") or {}, "endpoints")):
        name = endpoint.get("port")
        if not isinstance(name, str):
            continue
        found.count += 1
        known = {
            str(port.get("name"))
            for service in services
            for port in items(service.admitted.get("spec") or {}, "ports")
            if port.get("name")
        }
        if name not in known:
            service = services[0].key
            message = f"Prometheus scrapes nothing here: no port of {service} is named {name!r}{near.told(name, known)}"
            at: Path = ("spec", "endpoints", index, "port")
            found.defect(monitor, message, at, (services[0].place("spec", "ports"),))


def _scraped_pods(found: Found, monitor: Entry, templates: list[Template]) -> None:
    for index, endpoint in enumerate(items(monitor.admitted.get("spec") or {}, "podMetricsEndpoints")):
        name = endpoint.get("port")
        if not isinstance(name, str):
            continue
        found.count += 1
        known = {port[0] for template in templates for port in declared(template) if port[0]}
        if name not in known:
            owner = templates[0].entry.key
            message = f"Prometheus scrapes nothing here: no port of {owner} is named {name!r}{near.told(name, known)}"
            place = templates[0].entry.place(*templates[0].at, "spec", "containers")
            found.defect(monitor, message, ("spec", "podMetricsEndpoints", index, "port"), (place,))


def _policy_ports(found: Found, policy: Entry, at: Path, templates: list[Template]) -> None:
    """A port by name in a rule for incoming connections is one of the pods that the policy holds for."""
    if at != ("spec", "podSelector"):
        return
    for where, name in walk(policy.admitted, steps("spec.ingress[*].ports[*].port")):
        if not isinstance(name, str):
            continue
        found.count += 1
        known = {port[0] for template in templates for port in declared(template) if port[0]}
        if name not in known:
            owner = templates[0].entry.key
            message = f"nobody is let in by this rule: no port of {owner} is named {name!r}{near.told(name, known)}"
            place = templates[0].entry.place(*templates[0].at, "spec", "containers")
            found.defect(policy, message, where, (place,))


def _loaded(found: Found, entry: Entry, kind: str) -> None:
    """What is written for Prometheus must be selected by one, if the input has one."""
    fields = {
        "ServiceMonitor": ("serviceMonitorSelector", "serviceMonitorNamespaceSelector"),
        "PodMonitor": ("podMonitorSelector", "podMonitorNamespaceSelector"),
        "PrometheusRule": ("ruleSelector", "ruleNamespaceSelector"),
    }[kind.partition(".")[0]]
    servers = [
        target.entry
        for (each, _), names in found.inventory.objects.items()
        if each in _LOADERS
        for target in names.values()
        if target.entry is not None
    ]
    if not servers:
        return
    found.count += 1
    labels = value_at(entry.admitted, ("metadata", "labels")) or {}
    namespace = entry.key.namespace
    everywhere = sorted({*found.inventory.namespaces, namespace})
    for server in servers:
        spec = server.admitted.get("spec") or {}
        wanted, where = requirements(spec.get(fields[0]), plain=False), spec.get(fields[1])
        spaces = [server.key.namespace] if where is None else _labelled(found.inventory, where, everywhere)
        if spaces is None:
            return
        if wanted is not None and namespace in spaces and all(each.matches(labels) for each in wanted):
            return
    plain = kind.partition(".")[0]
    message = f"no Prometheus of the input loads it: {fields[0]} and {fields[1]} pass this {plain} over"
    found.defect(entry, message, ("metadata",))
