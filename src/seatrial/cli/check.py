"""`seatrial check`: prove that a system will roll out and stay up, or show how it will not."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

from seatrial.cli import reports

if TYPE_CHECKING:
    from seatrial.check.system import System
    from seatrial.check.verdicts import Report
    from seatrial.project.options import Options

SUMMARY = "prove that a system will roll out and stay up, or show the shortest way in which it will not"
EXAMPLES = """\
  seatrial check .                              everything below this directory
  seatrial check web.yaml --only 'rollout/*'    some properties
  kustomize build prod | seatrial check -       what another tool renders
  seatrial check . --output sarif               for code scanning; json, junit, github, markdown
  seatrial check . --write-baseline known.json  what is refuted now is known; --baseline known.json passes it over

exit codes: 0 all proved or waived, 1 something refuted, 2 something unknown, 3 the input cannot be read"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("paths", nargs="+", metavar="PATH", help="a directory, a file, or - for standard input")
    parser.add_argument("--kubernetes", metavar="VERSION", help="the version to check for (1.37)")
    parser.add_argument("--only", metavar="PATTERNS", help="properties, comma-separated: 'rollout/*,schema/*'")
    parser.add_argument("--skip", metavar="PATTERNS", help="properties that are not asked")
    parser.add_argument("--output", choices=reports.FORMATS, default="text", help="for people or for machines (text)")
    parser.add_argument(
        "--baseline", type=Path, metavar="FILE", help="passes over what was refuted when it was written"
    )
    parser.add_argument("--write-baseline", type=Path, metavar="FILE", help="writes down what is refuted now")


class UsageError(Exception):
    """The check cannot be made as it was asked for."""


def run(args: argparse.Namespace) -> int:
    from seatrial.project.toml import SettingsError

    try:
        options = _options(args)
        system = _system(args.paths, options)
        report = report_on(system, options)
        if args.write_baseline:
            return _write_baseline(args.write_baseline, report)
    except (SettingsError, UsageError) as error:
        print(f"seatrial: {error}", file=sys.stderr)
        return 3
    show(report, args.output)
    return report.exit_code


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


def _options(args: argparse.Namespace) -> Options:
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
    )


def _patterns(text: str) -> tuple[str, ...]:
    from seatrial.check import judge

    patterns = tuple(part.strip() for part in text.split(",") if part.strip())
    if unknown := [pattern for pattern in patterns if not judge.matching(pattern)]:
        raise UsageError(f"no property matches {', '.join(unknown)}; there is {', '.join(judge.NAMES)}")
    return patterns


def _system(paths: Sequence[str], options: Options) -> System:
    from seatrial import project

    system = project.load(paths, version=options.kubernetes or "1.37")
    if system.unreadable:
        raise UsageError("\nseatrial: ".join(f"{each.place}: {each.message}" for each in system.unreadable))
    if not system.entries:
        raise UsageError(f"no Kubernetes objects in {', '.join(paths)}")
    return system


def report_on(system: System, options: Options) -> Report:
    """The verdicts, with what is waived marked; notes on waivers go to standard error."""
    from seatrial.check import judge, waivers

    skipped = {name for pattern in options.skip for name in judge.matching(pattern)}
    only = [name for pattern in options.only for name in judge.matching(pattern) if name not in skipped]
    report = judge.judgement(system, only, given=options.given).report
    baseline = _baseline(options.baseline) if options.baseline else frozenset()
    report, notes = waivers.apply(report, (*system.waivers, *options.waivers), date.today(), baseline)
    for note in notes:
        print(f"seatrial: note: {note}", file=sys.stderr)
    return report


def _baseline(path: Path) -> frozenset[str]:
    try:
        known = json.loads(path.read_bytes())
        return frozenset(each["fingerprint"] for each in known["refuted"])
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}; --write-baseline {path} makes it") from error
    except (ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{path}: is no baseline; --write-baseline {path} makes one") from error


def _write_baseline(path: Path, report: Report) -> int:
    from seatrial.check.verdicts import Answer
    from seatrial.check.waivers import fingerprint

    refuted = [verdict for verdict in report.verdicts if verdict.verdict is Answer.REFUTED]
    known = [{"fingerprint": fingerprint(v), "property": v.property, "subject": v.subject} for v in refuted]
    known.sort(key=lambda each: (each["property"], each["subject"], each["fingerprint"]))
    try:
        path.write_text(json.dumps({"refuted": known}, indent=2) + "\n")
    except OSError as error:
        raise UsageError(f"{path}: cannot be written: {error.strerror}") from error
    print(f"{path}: {len(known)} refuted verdicts written down")
    return 0
