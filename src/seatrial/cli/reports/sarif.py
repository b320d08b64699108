"""SARIF 2.1.0, as code scanning services read it: https://docs.oasis-open.org/sarif/sarif/v2.1.0/sarif-v2.1.0.html.

A refuted verdict is a result of kind `fail`, one that is unknown of kind `open`; proofs are left out. The story of a
counterexample is a code flow, a repair is a part of the message, a waiver a suppression, and the fingerprint is the one
of the baseline.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from seatrial.check.properties import FAMILIES, family

if TYPE_CHECKING:
    from seatrial.check.system import Place
    from seatrial.check.verdicts import Report, Verdict


def render(report: Report) -> str:
    found = [verdict for verdict in report.verdicts if verdict.verdict.value != "proved"]
    rules = [_rule(name) for name in dict.fromkeys(verdict.property for verdict in found)]
    index = {rule["id"]: number for number, rule in enumerate(rules)}
    driver = {"name": "seatrial", "rules": rules}
    run = {
        "tool": {"driver": driver},
        "columnKind": "unicodeCodePoints",
        "results": [_result(verdict, index[verdict.property]) for verdict in found],
    }
    log = {"$schema": "https://json.schemastore.org/sarif-2.1.0.json", "version": "2.1.0", "runs": [run]}
    return json.dumps(log, indent=2, ensure_ascii=False)


def _rule(name: str) -> dict[str, Any]:
    module = next(module for module, names in FAMILIES.items() if name in names)
    known = next(each for each in family(module).PROPERTIES if each.name == name)
    return {
        "id": name,
        "shortDescription": {"text": known.asks},
        "fullDescription": {"text": f"{known.formally}. Asked: {known.premise}."},
        "defaultConfiguration": {"level": "error"},
    }


def _result(verdict: Verdict, rule: int) -> dict[str, Any]:
    refuted = verdict.verdict.value == "refuted"
    result: dict[str, Any] = {
        "ruleId": verdict.property,
        "ruleIndex": rule,
        "kind": "fail" if refuted else "open",
        "level": "error" if refuted else "none",
        "message": {"text": _message(verdict)},
        "locations": [_location(place, verdict.subject) for place in verdict.places[:1]],
        "partialFingerprints": {"seatrial/v1": verdict.identity()},
    }
    if len(verdict.places) > 1:
        result["relatedLocations"] = [_location(place, verdict.subject) for place in verdict.places[1:]]
    if verdict.trace:
        steps = [{"location": {"message": {"text": f"{step.actor}: {step.action}"}}} for step in verdict.trace]
        result["codeFlows"] = [{"threadFlows": [{"locations": steps}]}]
    if verdict.waived is not None:
        kind = "external" if verdict.waived == "in the baseline" else "inSource"
        result["suppressions"] = [{"kind": kind, "justification": verdict.waived}]
    return result


def _message(verdict: Verdict) -> str:
    text = f"{verdict.subject}: {verdict.message}"
    for repair in verdict.repairs[:1]:
        edits = " and ".join(f"{edit.path}: {json.dumps(edit.to)} in {edit.file}" for edit in repair.edits)
        text += f"\nRepair: {edits}"
    return text


def _location(place: Place, subject: str) -> dict[str, Any]:
    location: dict[str, Any] = {
        "logicalLocations": [{"fullyQualifiedName": f"{subject} {place.path}".strip(), "kind": "member"}]
    }
    if place.file and place.file != "-":
        physical: dict[str, Any] = {"artifactLocation": {"uri": place.file}}
        if place.line:
            physical["region"] = {"startLine": place.line, "startColumn": max(1, place.column)}
        location["physicalLocation"] = physical
    return location
