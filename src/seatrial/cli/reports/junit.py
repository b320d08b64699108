"""JUnit's XML, as CI services read it: a suite for each property, a case for each subject.

Refuted is a failure, unknown an error, waived is skipped with the reason.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from xml.etree import ElementTree

from seatrial.cli.reports import text

if TYPE_CHECKING:
    from seatrial.check.verdicts import Report, Verdict


def render(report: Report) -> str:
    root = ElementTree.Element("testsuites", name="seatrial check")
    by_property: dict[str, list[Verdict]] = {}
    for verdict in report.verdicts:
        by_property.setdefault(verdict.property, []).append(verdict)
    for name, verdicts in by_property.items():
        counts = {
            "tests": len(verdicts),
            "failures": sum(_outcome(verdict) == "failure" for verdict in verdicts),
            "errors": sum(_outcome(verdict) == "error" for verdict in verdicts),
            "skipped": sum(_outcome(verdict) == "skipped" for verdict in verdicts),
        }
        suite = ElementTree.SubElement(root, "testsuite", {"name": name, **{key: str(n) for key, n in counts.items()}})
        for verdict in verdicts:
            _case(suite, verdict)
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=True)


def _outcome(verdict: Verdict) -> str:
    if verdict.waived is not None:
        return "skipped"
    return {"refuted": "failure", "unknown": "error", "proved": ""}[verdict.verdict.value]


def _case(suite: ElementTree.Element, verdict: Verdict) -> None:
    case = ElementTree.SubElement(suite, "testcase", classname=verdict.property, name=verdict.subject)
    if verdict.places:
        case.set("file", verdict.places[0].file)
        case.set("line", str(verdict.places[0].line))
    outcome = _outcome(verdict)
    if not outcome:
        return
    found = ElementTree.SubElement(case, outcome, message=_printable(verdict.waived or verdict.message))
    if outcome != "skipped":
        found.set("type", verdict.verdict.value)
        found.text = _printable("\n".join(text.lines_of(verdict)))


def _printable(words: str) -> str:
    """Without the characters that XML 1.0 has no way to write."""
    return "".join(c if c in "\t\n" or (c >= " " and not "\ufffe" <= c <= "\uffff") else "\ufffd" for c in words)
