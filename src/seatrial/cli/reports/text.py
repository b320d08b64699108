"""The report for people: what is refuted first, with its story; what is proved in a line each."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from seatrial.check.verdicts import Assumption, Edit, Expectation, Report, Verdict


LONGEST_STORY: Final = 24
"""A longer one is folded in the middle; `--output json` has all of it."""
LONGEST_VALUE: Final = 60
MOST_PROOFS: Final = 3
"""More proofs of one property share a line."""


def render(report: Report, *, width: int = 0, colour: bool = False) -> str:
    """Long lines are folded to `width` columns (0: not at all), assumptions are cut to one line each."""
    lines: list[str] = []
    for rank in ("refuted", "unknown"):
        for verdict in report.verdicts:
            if verdict.verdict.value == rank and verdict.waived is None:
                lines += lines_of(verdict, width, colour)
    for verdict in report.verdicts:
        if verdict.waived is not None:
            head = f"~ {verdict.property}  {verdict.subject}: "
            lines += _fold(head, f"waived: {verdict.waived}; {verdict.message}", width, indent=4)
    lines += _proofs(report, width, colour)
    if report.expects:
        lines += ["", "expects from outside"]
        longest = max(len(each.what) for each in report.expects)
        lines += [_cut(f"  {each.what:<{longest}}  {each.by}  ({_first(each)})", width) for each in report.expects]
    if report.assumptions:
        lines += ["", *_assumptions(report.assumptions, width)]
    return "\n".join(lines)


def _first(expected: Expectation) -> str:
    """The first place that needs it, and how many others there are."""
    more = len(expected.places) - 1
    return f"{expected.places[0]}{f' and {more} more' if more else ''}"


def _assumptions(assumptions: Sequence[Assumption], width: int) -> list[str]:
    """What was inferred or given in words; the defaults by name, for they are the same every time."""
    own = [each for each in assumptions if each.origin != "default"]
    defaults = [each.name for each in assumptions if each.origin == "default"]
    longest = max((len(each.name) for each in own), default=0)
    lines = [_cut(f"  {each.name:<{longest}}  {each.text}", width) for each in own]
    if defaults:
        lines += _fold("  ", ", ".join(defaults), width or 100, indent=2)
    return ["assuming (`seatrial explain assumptions` tells what each says)", *lines]


def _proofs(report: Report, width: int, colour: bool) -> list[str]:
    proved: dict[str, list[Verdict]] = {}
    for verdict in report.verdicts:
        if verdict.verdict.value == "proved":
            proved.setdefault(verdict.property, []).append(verdict)
    lines: list[str] = []
    for name, verdicts in proved.items():
        if len(verdicts) <= MOST_PROOFS:
            for verdict in verdicts:
                lines += lines_of(verdict, width, colour)
        else:
            subjects = ", ".join(verdict.subject for verdict in verdicts[:MOST_PROOFS])
            lines.append(_cut(f"✓ {name}  {subjects} and {len(verdicts) - MOST_PROOFS} more", width))
    return lines


def lines_of(verdict: Verdict, width: int = 0, colour: bool = False) -> list[str]:
    mark = {"proved": "✓", "refuted": "✗", "unknown": "?"}[verdict.verdict.value]
    covered = f" ({verdict.covered.states} states)" if verdict.covered else ""
    lines = _fold(f"{mark} {verdict.property}  {verdict.subject}: ", verdict.message + covered, width, indent=4)
    if colour:
        shade = {"proved": 32, "refuted": 31, "unknown": 33}[verdict.verdict.value]
        head = f"{mark} {verdict.property}"
        lines[0] = f"\x1b[{shade}m{head}\x1b[0m{lines[0].removeprefix(head)}"
    lines += [f"    {place}  {place.path}" for place in verdict.places]
    lines += _story(verdict, width)
    for repair in verdict.repairs:
        edits = [f"{_edit(edit)} ({edit.file}:{edit.line})" for edit in repair.edits]
        how = "proved" if repair.verdict.value == "proved" else "cures this; what else is refuted stays so"
        lines += _fold(f"    repair ({how}): ", " and ".join(edits), width, indent=8)
    return lines


def _story(verdict: Verdict, width: int) -> list[str]:
    lines: list[str] = []
    longest = max((len(step.actor) for step in verdict.trace), default=0)
    hidden = range(0)
    if len(verdict.trace) > LONGEST_STORY:
        hidden = range(LONGEST_STORY // 2, len(verdict.trace) - LONGEST_STORY // 2)
    for number, step in enumerate(verdict.trace):
        if number in hidden and number != verdict.loop:
            if number == hidden.start:
                lines.append(f"       ... {len(hidden)} steps more ...")
            continue
        back = "↻" if number == verdict.loop else " "
        lines += _fold(f"  {back}{number + 1:>3}. {step.actor:<{longest}}  ", step.action, width)
    return lines


def _edit(edit: Edit) -> str:
    """What to write into the file, or what to take out."""
    if edit.to is None:
        return f"without {edit.path}"
    value = edit.to if isinstance(edit.to, str) else json.dumps(edit.to)
    return f"{edit.path}: {_cut(value, LONGEST_VALUE)}"


def _fold(start: str, rest: str, width: int, indent: int | None = None) -> list[str]:
    """`start` and `rest`, folded between words; further lines stand under `rest` or at `indent`."""
    if not width or len(start) + len(rest) <= width:
        return [start + rest]
    margin = " " * (len(start) if indent is None else indent)
    if len(margin) > width // 2:
        margin = " " * 8
    return textwrap.wrap(
        start + rest,
        width=max(width, len(margin) + 20),
        subsequent_indent=margin,
        drop_whitespace=True,
        replace_whitespace=False,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _cut(line: str, width: int) -> str:
    return line if not width or len(line) <= width else line[: max(1, width - 1)] + "…"
