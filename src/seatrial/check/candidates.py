"""The edits that a person would try for a refuted verdict, the smallest first.

Verdicts name the fields in conflict; what one does about a field follows from the field, whichever property found it.
So this is a table of fields, not of properties: a new property needs no rule here as long as it names its fields.
Nothing here claims that an edit helps: `repairs` checks each of them again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from difflib import get_close_matches
from typing import Any, Final

from seatrial.check.edits import REMOVED, Change, Changes
from seatrial.check.system import Entry, Path, Place, System, dotted, undotted
from seatrial.check.verdicts import Verdict
from seatrial.kube.objects import JsonObject

ROLLING: Final[Path] = ("spec", "strategy", "rollingUpdate")
AFFINITY: Final[Path] = ("spec", "template", "spec", "affinity")
_HARD, _SOFT = "requiredDuringSchedulingIgnoredDuringExecution", "preferredDuringSchedulingIgnoredDuringExecution"

Rule = Callable[[Entry, Path], Iterator[Changes]]


def of(system: System, verdict: Verdict) -> Iterator[Changes]:
    """Edits of the fields that the verdict names, then of its subject, then one machine more."""
    seen: list[tuple[int, Changes]] = []
    named = list(_named(system, verdict))
    autoscaled = any(entry.key.kind == "HorizontalPodAutoscaler" for entry, _ in named)
    for entry, path in named:
        if autoscaled and path == ("spec", "replicas") and entry.key.kind != "HorizontalPodAutoscaler":
            yield (Change(entry, path, REMOVED),)  # the autoscaler says how many there are
        for position in range(len(path), 0, -1):
            rule = RULES.get(str(path[position - 1]))
            if rule is not None:
                for changes in rule(entry, path[:position]):
                    known = (id(entry), changes)
                    if known not in seen:
                        seen.append(known)
                        yield changes
        yield from _near_miss(system, entry, path)
    if nodes := system.of("Node"):
        yield (Change(nodes[-1], (), _one_more(nodes[-1])),)


def _named(system: System, verdict: Verdict) -> Iterator[tuple[Entry, Path]]:
    """The fields that the verdict names, each with its object; of the subject its `spec` at last."""
    for place in verdict.places:
        for entry in system.entries:
            path = _path(entry, place)
            if path is not None:
                yield entry, path
                break
    for entry in system.entries:
        if str(entry.key) == verdict.subject:
            yield entry, ("spec",)


def _path(entry: Entry, place: Place) -> Path | None:
    """The path that a place of the object tells; None for a place of another object."""
    if entry.file != place.file:
        return None
    path = next((each for each in entry.positions if dotted(each) == place.path), None) or undotted(place.path)
    return path if entry.place(*path) == place else None


def at(value: Any, path: Path) -> Any:
    """What stands at the path, None if nothing does."""
    for step in path:
        if isinstance(value, dict):
            value = value.get(step)
        elif isinstance(value, list) and isinstance(step, int) and step < len(value):
            value = value[step]
        else:
            return None
    return value


def _values(*values: Any) -> Rule:
    """The field set to each of some values."""

    def rule(entry: Entry, path: Path) -> Iterator[Changes]:
        for value in values:
            if at(entry.admitted, path) != value:
                yield (Change(entry, path, value),)

    return rule


def _number(*steps: int, least: int = 1) -> Rule:
    """A number made smaller or larger by steps."""

    def rule(entry: Entry, path: Path) -> Iterator[Changes]:
        value = at(entry.admitted, path)
        for step in steps:
            if isinstance(value, int) and value + step >= least:
                yield (Change(entry, path, value + step),)

    return rule


def _removed(entry: Entry, path: Path) -> Iterator[Changes]:
    if at(entry.written, path) is not None:
        yield (Change(entry, path, REMOVED),)


def _replicas(entry: Entry, path: Path) -> Iterator[Changes]:
    count = at(entry.admitted, path)
    if isinstance(count, int):
        for other in dict.fromkeys((count - 1, count + 1, 2, 3)):
            if other > 0 and other != count:
                yield (Change(entry, path, other),)


def _strategy(entry: Entry, _: Path) -> Iterator[Changes]:
    if entry.key.kind == "DaemonSet":
        for count in (1, 2, 3):
            yield (Change(entry, ("spec", "updateStrategy", "rollingUpdate", "maxUnavailable"), count),)
    if entry.key.kind != "Deployment" or at(entry.admitted, ROLLING) is None:
        return
    missing = Change(entry, (*ROLLING, "maxUnavailable"), 1)
    for changes in ((missing,), (Change(entry, (*ROLLING, "maxSurge"), 0), missing)):
        if any(at(entry.admitted, change.path) != change.value for change in changes):
            yield changes
    if at(entry.admitted, (*ROLLING, "maxUnavailable")) not in (0, "0%"):
        yield (Change(entry, (*ROLLING, "maxUnavailable"), "25%"), Change(entry, (*ROLLING, "maxSurge"), "25%"))
        yield (Change(entry, (*ROLLING, "maxUnavailable"), 0), Change(entry, (*ROLLING, "maxSurge"), 1))


def _apart(entry: Entry, _: Path) -> Iterator[Changes]:
    """Keeping pods apart where that is possible, instead of always."""
    where: Path = (*AFFINITY, "podAntiAffinity")
    terms = at(entry.written, (*where, _HARD))
    if isinstance(terms, list) and terms:
        preferred = [{"weight": 100, "podAffinityTerm": term} for term in terms]
        kept = at(entry.written, (*where, _SOFT)) or []
        yield (Change(entry, (*where, _HARD), REMOVED), Change(entry, (*where, _SOFT), [*kept, *preferred]))


def _spread(entry: Entry, path: Path) -> Iterator[Changes]:
    rules = at(entry.written, path)
    count = len(rules) if isinstance(rules, list) else 0
    label = "pod-template-hash" if entry.key.kind == "Deployment" else "controller-revision-hash"
    keys = [at(entry.written, (*path, index, "matchLabelKeys")) or [] for index in range(count)]
    if count:
        yield tuple(Change(entry, (*path, n, "matchLabelKeys"), [*known, label]) for n, known in enumerate(keys))
    for index in range(count):
        rule: Path = (*path, index)
        yield (Change(entry, (*rule, "nodeTaintsPolicy"), "Honor"),)
        if at(entry.admitted, (*rule, "whenUnsatisfiable")) == "DoNotSchedule":
            yield (Change(entry, (*rule, "whenUnsatisfiable"), "ScheduleAnyway"),)
    if rules is None and path[:2] == ("spec", "template") and entry.key.kind == "Deployment":
        selector = at(entry.written, ("spec", "selector"))
        spread = {"maxSkew": 1, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "DoNotSchedule"}
        yield (Change(entry, path, [{**spread, "labelSelector": selector, "matchLabelKeys": ["pod-template-hash"]}]),)


def _budget(entry: Entry, path: Path) -> Iterator[Changes]:
    """A budget by what may be missing, which also holds when replicas change."""
    if at(entry.written, path) is not None and entry.key.kind == "PodDisruptionBudget":
        yield (Change(entry, path, REMOVED), Change(entry, (*path[:-1], "maxUnavailable"), 1))
    yield from _number(-1, least=0)(entry, path)


def _most(entry: Entry, path: Path) -> Iterator[Changes]:
    """The largest number of replicas that is smaller."""
    most, least = at(entry.admitted, path), at(entry.admitted, (*path[:-1], "minReplicas")) or 1
    if isinstance(most, int):
        for count in range(most - 1, max(least - 1, most - 6), -1):
            yield (Change(entry, path, count),)


def _slow_start(entry: Entry, path: Path) -> Iterator[Changes]:
    """A liveness probe that begins once the container has started."""
    liveness = at(entry.written, path)
    container = path[:-1]
    if isinstance(liveness, dict) and path[-1] == "livenessProbe":
        if at(entry.written, (*container, "startupProbe")) is None:
            kept = {key: value for key, value in liveness.items() if key in ("httpGet", "tcpSocket", "exec", "grpc")}
            if kept:
                patient = {**kept, "periodSeconds": 5, "failureThreshold": 60}
                yield (Change(entry, (*container, "startupProbe"), patient),)
        for seconds in (30, 60, 120, 300):
            if seconds > (liveness.get("initialDelaySeconds") or 0):
                yield (Change(entry, (*path, "initialDelaySeconds"), seconds),)
        yield (Change(entry, path, REMOVED),)


def _grace(entry: Entry, path: Path) -> Iterator[Changes]:
    for seconds in (60, 90, 120, 300, 600):
        if seconds > (at(entry.admitted, path) or 0):
            yield (Change(entry, path, seconds),)


def _quota(entry: Entry, path: Path) -> Iterator[Changes]:
    """Room for one or two more, or for as many again."""
    for key, value in (at(entry.written, path) or {}).items():
        if str(value).isdigit():
            for more in dict.fromkeys((1, 2, int(value))):
                yield (Change(entry, (*path, key), _like(value, int(value) + more)),)


def _like(value: Any, number: int) -> int | str:
    return str(number) if isinstance(value, str) else number


def _of_workload(entry: Entry, path: Path) -> Iterator[Changes]:
    """What one changes about a workload when no field is named."""
    if entry.key.kind not in ("Deployment", "StatefulSet", "DaemonSet", "ReplicaSet"):
        return
    if at(entry.admitted, ("spec", "paused")):
        yield (Change(entry, ("spec", "paused"), False),)
        return
    yield from _strategy(entry, path)
    rules: Path = ("spec", "template", "spec", "topologySpreadConstraints")
    if at(entry.written, rules):
        yield from _spread(entry, rules)
    if entry.key.kind == "StatefulSet":
        yield from _values("Parallel")(entry, ("spec", "podManagementPolicy"))
    yield from _apart(entry, path)
    count = at(entry.admitted, ("spec", "replicas"))
    if isinstance(count, int) and count > 1:
        yield (Change(entry, ("spec", "replicas"), count - 1),)


def _near_miss(system: System, entry: Entry, path: Path) -> Iterator[Changes]:
    """Another name for one that leads nowhere: of an object, a key or a port that is called nearly so."""
    value = at(entry.written, path)
    if not isinstance(value, str) or path[:1] == ("metadata",):
        return
    known = dict.fromkeys(name for each in system.entries for name in _names(each))
    for name in get_close_matches(value, [name for name in known if name != value], n=3, cutoff=0.6):
        yield (Change(entry, path, name),)


def _names(entry: Entry) -> Iterator[str]:
    yield entry.key.name
    for key in ("data", "stringData", "binaryData"):
        data = entry.admitted.get(key)
        if isinstance(data, dict):
            yield from data
    template = at(entry.admitted, ("spec", "template", "spec")) or at(entry.admitted, ("spec",)) or {}
    for container in template.get("containers") or () if isinstance(template, dict) else ():
        for port in container.get("ports") or () if isinstance(container, dict) else ():
            if isinstance(port, dict) and isinstance(port.get("name"), str):
                yield port["name"]


def _one_more(node: Entry) -> JsonObject:
    metadata = node.written["metadata"]
    name = f"{metadata['name']}-more"
    labels = {**(metadata.get("labels") or {}), "kubernetes.io/hostname": name}
    return {**node.written, "metadata": {**metadata, "name": name, "labels": labels}}


RULES: Final[dict[str, Rule]] = {
    "spec": _of_workload,
    "replicas": _replicas,
    "maxUnavailable": _strategy,
    "maxSurge": _strategy,
    "strategy": _strategy,
    "podAntiAffinity": _apart,
    _HARD: _apart,
    "topologySpreadConstraints": _spread,
    "minAvailable": _budget,
    "unhealthyPodEvictionPolicy": _values("AlwaysAllow"),
    "podManagementPolicy": _values("Parallel"),
    "maxReplicas": _most,
    "minReplicas": _number(-1, 1),
    "nodeName": _removed,
    "nodeSelector": _removed,
    "volumeBindingMode": _values("Immediate"),
    "globalDefault": _removed,
    "stabilizationWindowSeconds": _values(60, 300),
    "publishNotReadyAddresses": _values(True),
    "livenessProbe": _slow_start,
    "terminationGracePeriodSeconds": _grace,
    "failurePolicy": _values("Ignore"),
    "backoffLimit": _values(6),
    "internalTrafficPolicy": _values("Cluster"),
    "hard": _quota,
    "paused": _values(False),
}
