"""Workflow commands of GitHub Actions, which become annotations at the lines of a pull request."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from seatrial.check.verdicts import Report, Verdict


def render(report: Report) -> str:
    return "\n".join(_command(verdict) for verdict in report.verdicts if verdict.verdict.value != "proved")


def _command(verdict: Verdict) -> str:
    level = {"refuted": "error", "unknown": "warning"}[verdict.verdict.value]
    properties = {"title": f"{verdict.property} {verdict.subject}"}
    message = verdict.message
    if verdict.waived is not None:
        level, message = "notice", f"waived: {verdict.waived}; {message}"
    for place in verdict.places[:1]:
        if place.line:
            properties |= {"file": place.file, "line": str(place.line), "col": str(place.column)}
    for repair in verdict.repairs[:1]:
        message += "\nrepair: " + " and ".join(f"{edit.path}: {edit.to} ({edit.file})" for edit in repair.edits)
    told = ",".join(f"{name}={_escaped(value, ',:')}" for name, value in properties.items())
    return f"::{level} {told}::{_escaped(message)}"


def _escaped(text: str, further: str = "") -> str:
    """As the runner reads it: `%` and line ends, and in a property's value `,` and `:` too."""
    for character in f"%\r\n{further}":
        text = text.replace(character, f"%{ord(character):02X}")
    return text
