"""`seatrial check`: prove that a system will roll out and stay up, or show how it will not."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import textwrap
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from seatrial.check.verdicts import Report, Verdict

SUMMARY = "prove that a system will roll out and stay up, or show the shortest way in which it will not"
EXAMPLES = """\
  seatrial check .                              everything below this directory
  seatrial check web.yaml --only 'rollout/*'    some properties
  kustomize build prod | seatrial check -       what another tool renders
  seatrial check . --output json                for machines (docs/reference/verdicts.schema.json)"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("paths", nargs="+", metavar="PATH", help="a directory, a file, or - for standard input")
    parser.add_argument("--kubernetes", default="1.37", metavar="VERSION", help="the version to check for (1.37)")
    parser.add_argument(
        "--only", default="*", metavar="PATTERNS", help="properties, comma-separated: 'rollout/*,schema/*'"
    )
    parser.add_argument("--output", choices=("text", "json"), default="text", help="for people or for machines (text)")


def run(args: argparse.Namespace) -> int:
    from seatrial import project
    from seatrial.kube import schemas

    if args.kubernetes not in schemas.versions():
        print(
            f"seatrial: no Kubernetes {args.kubernetes} here; there is {', '.join(schemas.versions())}", file=sys.stderr
        )
        return 3
    patterns = tuple(part.strip() for part in args.only.split(",") if part.strip())
    from seatrial.check import judge

    if unknown := [p for p in patterns if not judge.matching(p)]:
        print(f"seatrial: no property matches {', '.join(unknown)}; there is {', '.join(judge.NAMES)}", file=sys.stderr)
        return 3
    system = project.load(args.paths, version=args.kubernetes)
    for finding in system.unreadable:
        print(f"seatrial: {finding.place}: {finding.message}", file=sys.stderr)
    if system.unreadable:
        return 3
    if not system.entries:
        print(f"seatrial: no Kubernetes objects in {', '.join(args.paths)}", file=sys.stderr)
        return 3
    report = judge.judge(system, patterns)
    if args.output == "json":
        import msgspec

        print(msgspec.json.format(msgspec.json.encode(report), indent=2).decode())
    else:
        colour = sys.stdout.isatty() and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"
        width = shutil.get_terminal_size().columns if sys.stdout.isatty() or "COLUMNS" in os.environ else 0
        print(text(report, width=width, colour=colour))
    return report.exit_code


def text(report: Report, *, width: int = 0, colour: bool = False) -> str:
    """The report for people: what is refuted first, with its story; what is proved in a line each.

    Long lines are folded to `width` columns (0: not at all), assumptions are cut to one line each.
    """
    lines: list[str] = []
    ranks = {"refuted": 0, "unknown": 1, "proved": 2}
    for verdict in sorted(report.verdicts, key=lambda verdict: ranks[verdict.verdict.value]):
        lines += _verdict(verdict, width, colour)
    if report.assumptions:
        lines += ["", "assuming"]
        longest = max(len(a.name) for a in report.assumptions)
        lines += [_cut(f"  {a.name:<{longest}}  {a.text}", width) for a in report.assumptions]
    return "\n".join(lines)


def _verdict(verdict: Verdict, width: int, colour: bool) -> list[str]:
    mark = {"proved": "✓", "refuted": "✗", "unknown": "?"}[verdict.verdict.value]
    covered = f" ({verdict.covered.states} states)" if verdict.covered else ""
    lines = _fold(f"{mark} {verdict.property}  {verdict.subject}: ", verdict.message + covered, width, indent=4)
    if colour:
        shade = {"proved": 32, "refuted": 31, "unknown": 33}[verdict.verdict.value]
        head = f"{mark} {verdict.property}"
        lines[0] = f"\x1b[{shade}m{head}\x1b[0m{lines[0].removeprefix(head)}"
    lines += [f"    {place}  {place.path}" for place in verdict.places]
    longest = max((len(step.actor) for step in verdict.trace), default=0)
    for number, step in enumerate(verdict.trace):
        back = "↻" if number == verdict.loop else " "
        lines += _fold(f"  {back}{number + 1:>3}. {step.actor:<{longest}}  ", step.action, width)
    for repair in verdict.repairs:
        edits = [f"{edit.path}: {_shown(edit.to)} ({edit.file}:{edit.line})" for edit in repair.edits]
        how = "proved" if repair.verdict.value == "proved" else "cures this; what else is refuted stays so"
        lines += _fold(f"    repair ({how}): ", " and ".join(edits), width, indent=8)
    return lines


def _shown(value: object) -> str:
    """A value as it is written into the file."""
    return value if isinstance(value, str) else json.dumps(value)


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
