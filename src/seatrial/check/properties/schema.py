"""`schema/valid`: the API server of the version asked for would take every object as it is written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import TYPE_CHECKING

from seatrial.check.properties import Property, Question
from seatrial.check.references import definitions
from seatrial.check.system import Entry, Path, Place, undotted
from seatrial.check.verdicts import Answer, Verdict
from seatrial.control import admission, autoscaling_v1
from seatrial.kube import faults, retired, schemas, validation
from seatrial.kube.faults import Fault

if TYPE_CHECKING:
    from seatrial.kube.customresources.definitions import Version

NAME = "schema/valid"
PROPERTIES = (
    Property(
        name=NAME,
        asks="would the API server take every object as it is written?",
        formally="for every object o of the input: validate(admit(o), version) gives no error",
        premise="always",
        sometimes="the input has an object",
    ),
)
ASSUMPTIONS: Mapping[str, str] = {}


def check(question: Question, _wanted: frozenset[str]) -> list[Verdict]:
    system = question.system
    known = schemas.load(system.version)
    verdicts = [_refuted(finding.place.path or "input", finding.message, finding.place) for finding in system.findings]
    plain = {id(entry): schemas.validate(entry.written, known) for entry in system.entries}
    crds = system.of("CustomResourceDefinition")
    custom: Mapping[tuple[str, str], Version] = {}
    if crds:
        from seatrial.kube.customresources import files

        custom = files.known(entry.written for entry in system.entries if not plain[id(entry)])
    minor = int(system.version.split(".")[1])
    defined = {(entry.admitted.get("spec") or {}).get("group") for entry in crds}
    for entry in system.entries:
        problems: list[tuple[str, Sequence[str | int]]] = []
        version = custom.get((entry.written.get("apiVersion", ""), entry.written.get("kind", "")))
        if version is not None:
            found = files.of_object(entry.written, version, minor)
            problems = [(str(each), _path(each.field)) for each in found]
        elif definitions.is_custom(entry.api_version, entry.key.kind) and (
            entry.api_version.rpartition("/")[0] not in defined
        ):
            continue  # whose definition others bring: `references/exist` says so
        elif validation.rules(entry.key.kind) is not None and not _is_misshapen(plain[id(entry)]):
            unknown = [each for each in plain[id(entry)] if each.kind == "unknown"]
            problems = [(each.message, each.path) for each in unknown]
            problems += [(str(each), _path(each.field)) for each in _faults(entry, minor)]
        else:
            gone = retired.removal(entry.api_version, entry.key.kind)
            problems = [(_with(each, gone), each.path) for each in plain[id(entry)]]
        if not problems and crds and files.is_definition(entry.written):
            problems = [(str(each), _path(each.field)) for each in files.of_definition(entry.written)]
        for message, path in problems:
            verdicts.append(_refuted(str(entry.key), message, entry.place(*path)))
    if verdicts:
        return verdicts
    message = f"the {len(system.entries)} objects follow the schemas of Kubernetes {system.version}"
    old = dict.fromkeys(retired.deprecation(entry.api_version, entry.key.kind, minor) for entry in system.entries)
    message = "; ".join((message, *filter(None, old)))
    return [
        Verdict(property=NAME, subject="system", verdict=Answer.PROVED, message=message, method="schema validation")
    ]


def _with(problem: schemas.Problem, gone: str) -> str:
    return f"{problem.message} ({gone})" if gone and problem.kind == "kind" else problem.message


def _is_misshapen(problems: Sequence[schemas.Problem]) -> bool:
    """Whether it cannot even be decoded: then nothing more is said of it."""
    return any(each.kind in ("kind", "type") for each in problems)


def _faults(entry: Entry, minor: int) -> list[Fault]:
    """What the server says of an object once its shape is right, after what it fills in."""
    raw, kind = entry.admitted, entry.key.kind
    metadata = {"uid": "0", **(raw.get("metadata") or {})}
    if metadata.get("generateName") and not metadata.get("name"):
        metadata["name"] = f"{metadata['generateName']}00000"
    raw = {**raw, "metadata": metadata}
    if entry.api_version == autoscaling_v1.V1 and kind == "HorizontalPodAutoscaler":
        raw = admission.admit(autoscaling_v1.stored(raw, None))
    if kind in ("Job", "PersistentVolumeClaim"):
        raw = deepcopy(raw)
        (admission.select_own_pods if kind == "Job" else admission.agree_on_source)(raw)
    found = validation.faults(kind, raw, namespaced="namespace" in metadata, minor=minor)
    if kind == "Namespace" and any("pod-security" in label for label in metadata.get("labels") or {}):
        from seatrial.control import podsecurity

        found += podsecurity.label_faults(metadata["labels"])
    return found


def _path(text: str) -> Path:
    """The parts of a field's path as messages write it; where upstream moves things about, as far as it goes."""
    return () if text == faults.NOWHERE else undotted(text)


def _refuted(subject: str, message: str, place: Place) -> Verdict:
    return Verdict(
        property=NAME,
        subject=subject,
        verdict=Answer.REFUTED,
        message=message,
        places=(place,),
        method="schema validation",
    )
