"""`config/reaches`: when a change of a ConfigMap or Secret arrives in the containers that use it.

What the kubelet does (kubernetes.io: "Mounted ConfigMaps are updated automatically"): a volume follows within about a
minute; a variable, and a file mounted by `subPath`, keep what they had until the pod is made anew; an immutable object
cannot be changed at all. That is a fact and no fault, so a proof tells it. It is refuted only where the files expect
something else: a sidecar that reloads what its `subPath` never shows, a rollout on change (a reloader's
annotation, a checksum in the template) of an object that refuses changes, or an annotation that names no object.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from seatrial.check.properties import Property, Question
from seatrial.check.properties.references import look
from seatrial.check.references import near
from seatrial.check.references.inventory import Inventory, Template, items, value_at
from seatrial.check.system import Entry, Path
from seatrial.check.verdicts import Answer, Verdict

NAME = "config/reaches"
PROPERTIES = (
    Property(
        name=NAME,
        asks="does a change of a ConfigMap or Secret arrive where the files expect it to?",
        formally=(
            "for every object c that pods use: if something reloads or restarts its users when c changes, then c is not"
            " immutable, the reloaded file is not a subPath, and the users really use c"
        ),
        premise="pods of the system use a ConfigMap or Secret of the input",
        sometimes="such an object is used",
    ),
)
ASSUMPTIONS: Mapping[str, str] = {}

_KINDS: Final = ("ConfigMap", "Secret")
_RELOADER: Final = "reloader.stakater.com/"
_CHECKSUM: Final = "checksum/"
_HOW: Final = {
    "volume": "live, within about a minute",
    "env": "with the next pod (a variable)",
    "subPath": "with the next pod (a subPath)",
}


@dataclass(frozen=True, slots=True)
class Use:
    """How a container uses an object: `how` is env, volume or subPath."""

    template: Template
    container: str
    image: str
    how: str
    at: Path


def check(question: Question, _wanted: frozenset[str]) -> list[Verdict]:
    inventory = look(question).inventory
    used: dict[tuple[str, str, str], list[Use]] = {}
    templates = [template for each in inventory.templates.values() for template in each]
    for template in templates:
        for kind, name, use in uses(template):
            used.setdefault((kind, template.namespace, name), []).append(use)
    verdicts = [verdict for template in templates for verdict in _annotations(inventory, template, used)]
    for (kind, namespace, name), several in sorted(used.items()):
        target = inventory.find(kind, namespace, name)
        if target is not None and target.entry is not None:
            verdicts += _object(target.entry, several)
    return verdicts


def uses(template: Template) -> Iterator[tuple[str, str, Use]]:
    """Kind and name of every object that the pods use, and how."""
    volumes: dict[str, list[tuple[str, str]]] = {}
    for volume in items(template.spec, "volumes"):
        sources = [(volume, "secretName"), *((each, "name") for each in items(volume.get("projected"), "sources"))]
        for source, secret_name in sources:
            for kind, field, name_field in (("ConfigMap", "configMap", "name"), ("Secret", "secret", secret_name)):
                name = value_at(source, (field, name_field))
                if isinstance(name, str):
                    volumes.setdefault(str(volume.get("name")), []).append((kind, name))
    for at, container in template.containers():
        title, image = str(container.get("name")), str(container.get("image"))
        for field, suffix in (("env", "KeyRef"), ("envFrom", "Ref")):
            for index, item in enumerate(items(container, field)):
                source = item.get("valueFrom") or {} if field == "env" else item
                for kind, prefix in (("ConfigMap", "configMap"), ("Secret", "secret")):
                    name = value_at(source, (prefix + suffix, "name"))
                    if isinstance(name, str):
                        yield kind, name, Use(template, title, image, "env", (*at, field, index))
        for index, mount in enumerate(items(container, "volumeMounts")):
            how = "subPath" if mount.get("subPath") or mount.get("subPathExpr") else "volume"
            for kind, name in volumes.get(str(mount.get("name")), ()):
                yield kind, name, Use(template, title, image, how, (*at, "volumeMounts", index))


def _object(entry: Entry, several: list[Use]) -> list[Verdict]:
    if entry.admitted.get("immutable") is True:
        for use in several:
            restarts = _restarted_by(use.template, entry)
            if restarts is not None:
                mark, place = restarts
                message = (
                    f"no change arrives in {use.template.entry.key}: its {mark} expects changes, and {entry.key} is"
                    " immutable, so the API server refuses them; each version needs a name of its own"
                )
                places = (entry.place("immutable"), use.template.entry.place(*place))
                return [_verdict(entry, Answer.REFUTED, message, places)]
    for use in several:
        if use.how == "subPath" and "reload" in use.image.rpartition("/")[2]:
            message = (
                f"container {use.container!r} of {use.template.entry.key} reloads nothing: it sees {entry.key} through"
                " a subPath, which never changes while the pod lives"
            )
            return [_verdict(entry, Answer.REFUTED, message, (use.template.entry.place(*use.at, "subPath"),))]
    if entry.admitted.get("immutable") is True:
        return [_verdict(entry, Answer.PROVED, "it is immutable, and nothing expects it to change")]
    ways = dict.fromkeys((str(use.template.entry.key), use.how) for use in several)
    told = "; ".join(f"in {owner} {_HOW[how]}" for owner, how in ways)
    return [_verdict(entry, Answer.PROVED, f"a change arrives {told}")]


def _restarted_by(template: Template, entry: Entry) -> tuple[str, Path] | None:
    """What restarts the pods when the object changes, in words and where it stands."""
    for place, key, value in _marks(template):
        if key.startswith(_CHECKSUM):
            return f"annotation {key}", place
        if not key.rpartition("/")[0].endswith(_RELOADER.rstrip("/")):
            continue
        if key.endswith("/auto") and value == "true":
            return f"annotation {key}", place
        if key.startswith(entry.key.kind.lower()) and entry.key.name in _listed(value):
            return f"annotation {key}", place
    return None


def _marks(template: Template) -> Iterator[tuple[Path, str, str]]:
    """The annotations of the workload and of its template."""
    for prefix in dict.fromkeys(((), template.at)):
        path: Path = (*prefix, "metadata", "annotations")
        annotations = value_at(template.entry.admitted, path)
        for key, value in annotations.items() if isinstance(annotations, dict) else ():
            yield (*path, key), str(key), str(value)


def _listed(value: str) -> list[str]:
    return [part.strip() for part in value.split(",") if part.strip()]


def _annotations(
    inventory: Inventory, template: Template, used: Mapping[tuple[str, str, str], list[Use]]
) -> Iterator[Verdict]:
    """Objects that a reloader is told to watch, and that the pods do not use."""
    for place, key, value in _marks(template):
        for kind in _KINDS:
            if key != f"{kind.lower()}.{_RELOADER}reload":
                continue
            own = {
                name
                for (each, namespace, name), several in used.items()
                if (each, namespace) == (kind, template.namespace)
                and any(use.template.entry is template.entry for use in several)
            }
            for name in _listed(value):
                if name in own or inventory.find(kind, template.namespace, name) is not None:
                    continue
                entry = template.entry
                hint = near.told(name, own, own)
                message = f"nothing restarts its pods: there is no {kind} {name}, which annotation {key} names{hint}"
                yield _verdict(entry, Answer.REFUTED, message, (entry.place(*place),))


def _verdict(entry: Entry, answer: Answer, message: str, places: Iterable[Any] = ()) -> Verdict:
    return Verdict(
        property=NAME,
        subject=str(entry.key),
        verdict=answer,
        message=message,
        places=tuple(places),
        method="lookup",
    )
