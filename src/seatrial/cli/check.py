"""`seatrial check`: prove that a system will roll out and stay up, or show how it will not."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

from seatrial.cli import progress, reports

if TYPE_CHECKING:
    from seatrial.check.judge import Judgement
    from seatrial.check.system import Finding, System
    from seatrial.check.verdicts import Report
    from seatrial.project.options import Options

SECONDS = 300
SUMMARY = "prove that a system will roll out and stay up, or show the shortest way in which it will not"
EXAMPLES = """\
  seatrial check .                              everything below this directory
  seatrial check web.yaml --only 'rollout/*'    some properties
  kustomize build prod | seatrial check -       what another tool renders
  seatrial check . --diff                       repairs as a patch; --fix writes them into the files
  seatrial check . --since main                 what has been broken, and mended, since that commit
  seatrial check deploy --context prod          these files, applied to the cluster of that context
  seatrial check . --output sarif               for code scanning; json, junit, github, markdown
  seatrial check . --write-baseline known.json  what is refuted now is known; --baseline known.json passes it over

exit codes: 0 all proved or waived, 1 something refuted, 2 something unknown, 3 the input cannot be read"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("paths", nargs="*", metavar="PATH", help="a directory, a file, or - for standard input")
    parser.add_argument("--kubernetes", metavar="VERSION", help="the version to check for (1.37)")
    parser.add_argument("--only", metavar="PATTERNS", help="properties, comma-separated: 'rollout/*,schema/*'")
    parser.add_argument("--skip", metavar="PATTERNS", help="properties that are not asked")
    parser.add_argument("--output", choices=reports.FORMATS, default="text", help="for people or for machines (text)")
    parser.add_argument("--closed", action="store_true", help="refute what is expected from outside the input, too")
    parser.add_argument("--context", metavar="NAME", help="add what is in the cluster of this kubeconfig context")
    parser.add_argument("--baseline", type=Path, metavar="FILE", help="pass over what was refuted when it was written")
    parser.add_argument(
        "--seconds", type=float, default=SECONDS, metavar="N", help=f"leave open what takes longer ({SECONDS})"
    )
    other = parser.add_mutually_exclusive_group()
    other.add_argument("--fix", action="store_true", help="write repairs into the files, each proved first")
    other.add_argument("--diff", action="store_true", help="print these repairs as a patch instead")
    other.add_argument("--since", metavar="REV", help="tell only what differs from a Git commit")
    other.add_argument("--write-baseline", type=Path, metavar="FILE", help="write down what is refuted now")


class UsageError(Exception):
    """The check cannot be made as it was asked for."""


def run(args: argparse.Namespace) -> int:
    from seatrial.project.toml import SettingsError

    try:
        return _run(args)
    except (SettingsError, UsageError) as error:
        print(f"seatrial: {error}", file=sys.stderr)
        return 3


def _run(args: argparse.Namespace) -> int:
    if not args.paths and not args.context:
        raise UsageError("say what to check: `seatrial check .` takes everything below this directory")
    options = options_of(args)
    if args.fix or args.diff:
        return _repair(args, judging(args, options))
    unread: list[Finding] = []
    strict = args.write_baseline or args.since
    report = judging(args, options, None if strict else unread, repairing=not args.write_baseline)({}).report
    if args.write_baseline:
        from seatrial.project import baseline

        try:
            count = baseline.write(args.write_baseline, report)
        except OSError as error:
            raise UsageError(f"{args.write_baseline}: cannot be written: {error.strerror}") from error
        print(f"{args.write_baseline}: {count} refuted verdicts written down")
        return 0
    if args.since:
        from seatrial.cli import since

        try:
            report, told = since.compare(report, args.since, _again(args))
        except since.RevisionError as error:
            raise UsageError(str(error)) from error
        print(told, file=sys.stderr)
    show(report, args.output)
    return 3 if unread else report.exit_code


def show(report: Report, form: str = "text") -> None:
    if form != "text":
        print(reports.render(form, report))
        return
    from seatrial.cli.reports import text

    colour = sys.stdout.isatty() and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() or "COLUMNS" in os.environ else 0
    print(text.render(report, width=width, colour=colour))


def settings_for(paths: Sequence[str]) -> Options:
    """What the `seatrial.toml` beside the manifests says. Raises `SettingsError`."""
    from seatrial.project import options, toml

    found = toml.find([path for path in paths if path != "-"])
    return options.read(found) if found is not None else options.Options()


def judge(system: System, options: Options, seconds: float = SECONDS, *, repairing: bool = True) -> Judgement:
    """The verdicts, with what is waived marked; notes on waivers and progress go to standard error."""
    from seatrial.check import judge, waivers
    from seatrial.project import baseline

    skipped = {name for pattern in options.skip for name in judge.matching(pattern)}
    only = [name for pattern in options.only for name in judge.matching(pattern) if name not in skipped]
    with progress.budget(seconds) as budget:
        found = judge.judgement(
            system, only, budget=budget, given=options.given, closed=options.closed, repairing=repairing
        )
    try:
        known = baseline.read(options.baseline) if options.baseline else frozenset()
    except baseline.BaselineError as error:
        raise UsageError(str(error)) from error
    report, notes = waivers.apply(found.report, (*system.waivers, *options.waivers), date.today(), known)
    for note in notes:
        print(f"seatrial: note: {note}", file=sys.stderr)
    return replace(found, report=report)


def options_of(args: argparse.Namespace) -> Options:
    """What the command line says, and `seatrial.toml` where it says nothing."""
    from seatrial.kube import schemas

    given = settings_for(args.paths)
    version = args.kubernetes or given.kubernetes or "1.37"
    if version not in schemas.versions():
        raise UsageError(f"no Kubernetes {version} here; there is {', '.join(schemas.versions())}")
    return replace(
        given,
        kubernetes=version,
        only=_patterns(args.only) if args.only else given.only,
        skip=_patterns(args.skip) if args.skip else given.skip,
        baseline=args.baseline or given.baseline,
        closed=args.closed or given.closed,
    )


def _patterns(text: str) -> tuple[str, ...]:
    from seatrial.check import judge

    patterns = tuple(part.strip() for part in text.split(",") if part.strip())
    if unknown := [pattern for pattern in patterns if not judge.matching(pattern)]:
        raise UsageError(f"no property matches {', '.join(unknown)}; there is {', '.join(judge.NAMES)}")
    return patterns


def judging(
    args: argparse.Namespace, options: Options, unread: list[Finding] | None = None, *, repairing: bool = True
) -> Callable[[Mapping[str, str]], Judgement]:
    """Asks about the system as it is with some files' texts replaced.

    `unread` takes what could not be read, and the rest is asked about; without it that is a `UsageError`.
    """
    from seatrial import project

    version = options.kubernetes or "1.37"
    piped = {"-": sys.stdin.buffer.read(project.SIZE_LIMIT_BYTES + 1)} if "-" in args.paths else {}
    live = None
    if args.context:
        from seatrial.cli import live as clusters

        try:
            live = clusters.read(args.context, version)
        except clusters.ClusterError as error:
            raise UsageError(str(error)) from error

    def judged(texts: Mapping[str, str]) -> Judgement:
        encoded = {file: text.encode() for file, text in texts.items()}
        system = project.load(args.paths, version=version, texts={**piped, **encoded})
        if system.unreadable:
            told = "\nseatrial: ".join(f"{each.place}: {each.message}" for each in system.unreadable)
            if unread is None or not system.entries:
                raise UsageError(told)
            print(f"seatrial: {told}\nseatrial: the rest was checked without these", file=sys.stderr)
            unread.extend(system.unreadable)
        if live is not None:
            system = live.under(system)
        if not system.entries:
            raise UsageError(f"no Kubernetes objects in {', '.join(args.paths)}")
        return judge(system, options, args.seconds, repairing=repairing)

    return judged


def _again(args: argparse.Namespace) -> list[str]:
    """The command line that asks the same of another directory."""
    chosen = {"--kubernetes": args.kubernetes, "--only": args.only, "--skip": args.skip, "--context": args.context}
    closed = ["--closed"] if args.closed else []
    return [*args.paths, *closed, *(word for name, value in chosen.items() if value for word in (name, value))]


def _repair(args: argparse.Namespace, judged: Callable[[Mapping[str, str]], Judgement]) -> int:
    from seatrial.cli import fixing

    if args.fix and "-" in args.paths:
        raise UsageError("standard input cannot be repaired in place; --diff prints a patch")

    def text_of(file: str) -> str:
        return Path(file).read_bytes().decode()

    fixed = fixing.fix(judged, text_of)
    for note in fixed.notes:
        print(f"seatrial: note: {note}", file=sys.stderr)
    if args.diff:
        print(fixing.diff(fixed), end="")
        return fixed.judgement.report.exit_code
    fixing.write(fixed)
    show(fixed.judgement.report, args.output)
    return fixed.judgement.report.exit_code
