"""`seatrial check`: prove that a system will roll out and stay up, or show how it will not."""

from __future__ import annotations

import argparse
import sys
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
        print(text(report))
    return report.exit_code


def text(report: Report) -> str:
    """The report for people: what is refuted first, with its story; what is proved in a line each."""
    lines: list[str] = []
    ranks = {"refuted": 0, "unknown": 1, "proved": 2}
    for verdict in sorted(report.verdicts, key=lambda verdict: ranks[verdict.verdict.value]):
        lines += _verdict(verdict)
    lines += ["", "assuming"] + [f"  {a.name}: {a.text}" for a in report.assumptions] if report.assumptions else []
    return "\n".join(lines)


def _verdict(verdict: Verdict) -> list[str]:
    mark = {"proved": "✓", "refuted": "✗", "unknown": "?"}[verdict.verdict.value]
    covered = f" ({verdict.covered.states} states)" if verdict.covered else ""
    lines = [f"{mark} {verdict.property}  {verdict.subject}: {verdict.message}{covered}"]
    lines += [f"    {place}  {place.path}" for place in verdict.places]
    width = max((len(step.actor) for step in verdict.trace), default=0)
    for number, step in enumerate(verdict.trace):
        back = "↻" if number == verdict.loop else " "
        lines.append(f"  {back}{number + 1:>3}. {step.actor:<{width}}  {step.action}")
    for repair in verdict.repairs:
        edits = " and ".join(f"{edit.path}: {edit.to} ({edit.file}:{edit.line})" for edit in repair.edits)
        lines.append(f"    repair ({repair.verdict.value}): {edits}")
    return lines
