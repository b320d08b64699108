"""Markdown for the description of a pull request: a line for each problem, its story folded away."""

from __future__ import annotations

from typing import TYPE_CHECKING

from seatrial.cli.reports import text

if TYPE_CHECKING:
    from seatrial.check.verdicts import Report, Verdict


def render(report: Report) -> str:
    open_ones = [v for v in report.verdicts if v.verdict.value != "proved" and v.waived is None]
    waived = [v for v in report.verdicts if v.waived is not None]
    proved = [v for v in report.verdicts if v.verdict.value == "proved"]
    counts = [f"{len(proved)} proved"]
    for answer in ("refuted", "unknown"):
        if count := sum(v.verdict.value == answer for v in open_ones):
            counts.insert(0, f"**{count} {answer}**")
    if waived:
        counts.append(f"{len(waived)} waived")
    lines = [f"### seatrial check: {', '.join(counts)}", ""]
    for verdict in open_ones:
        lines += _problem(verdict)
    if waived:
        lines += ["| waived | subject | why |", "|---|---|---|"]
        lines += [f"| `{v.property}` | {_cell(v.subject)} | {_cell(v.waived or '')} |" for v in waived]
        lines.append("")
    lines += ["<details><summary>assumptions</summary>", ""]
    lines += [f"- `{each.name}`: {_cell(each.text)}" for each in report.assumptions]
    return "\n".join([*lines, "", "</details>"])


def _problem(verdict: Verdict) -> list[str]:
    mark = "❌" if verdict.verdict.value == "refuted" else "❔"
    where = ", ".join(f"`{place}`" for place in verdict.places[:3])
    lines = [f"{mark} **{verdict.property}** {_cell(verdict.subject)}: {_cell(verdict.message)} {where}", ""]
    details = text.lines_of(verdict)[1:]
    if details:
        fence = "```"
        while any(fence in line for line in details):
            fence += "`"
        lines += ["<details><summary>how</summary>", "", f"{fence}text", *details, fence, "", "</details>", ""]
    return lines


def _cell(words: str) -> str:
    """On one line, with what Markdown and HTML would read as marks shown as it is."""
    for mark in "\\`*_[]<>|":
        words = words.replace(mark, f"\\{mark}")
    return " ".join(words.split())
