"""`seatrial replay`: make a counterexample again, move by move, on the embedded cluster."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from seatrial.check.verdicts import Verdict

SUMMARY = "make the counterexamples of a check again, move by move, on the embedded cluster"
EXAMPLES = """\
  seatrial replay .                                       every counterexample that is a run
  seatrial replay . --only rollout/converges              those of one property
  seatrial check . --output json > report.json
  seatrial replay . --trace report.json                   those of a report, if they are still the same

The API, the controllers and the scheduler are the cluster's; the order of moves is the checker's.
exit codes: 0 every move was made and led where the check says, 1 something differs, 3 the input cannot be read"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("paths", nargs="+", metavar="PATH", help="a directory, a file, or - for standard input")
    parser.add_argument("--kubernetes", metavar="VERSION", help="the version to check for (1.37)")
    parser.add_argument("--only", metavar="PATTERNS", help="properties, comma-separated: 'rollout/*'")
    parser.add_argument("--trace", type=Path, metavar="FILE", help="a report of `seatrial check --output json`")


def run(args: argparse.Namespace) -> int:
    from seatrial.cli import check
    from seatrial.project.toml import SettingsError

    parser = argparse.ArgumentParser()
    check.add_arguments(parser)
    chosen = {"--kubernetes": args.kubernetes, "--only": args.only}
    words = [word for name, value in chosen.items() if value for word in (name, value)]
    asked = parser.parse_args([*words, "--", *args.paths])
    try:
        options = check.options_of(asked)
        judgement = check.judging(asked, options, repairing=False)({})
        known = None if args.trace is None else _fingerprints(args.trace)
    except (SettingsError, check.UsageError) as error:
        print(f"seatrial: {error}", file=sys.stderr)
        return 3
    told = [v for v in judgement.report.verdicts if v.trace and (known is None or v.identity() in known)]
    if not told:
        print("seatrial: nothing to replay: no counterexample is a run", file=sys.stderr)
        return 1 if known else 0
    runs = judgement.runs
    outcomes = [_replay(verdict, runs.get((verdict.property, verdict.subject)), options.kubernetes) for verdict in told]
    return 0 if all(outcomes) else 1


def _fingerprints(path: Path) -> frozenset[str]:
    from seatrial.cli.check import UsageError

    try:
        report: Any = json.loads(path.read_bytes())
        return frozenset(verdict["fingerprint"] for verdict in report["verdicts"] if verdict["trace"])
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{path}: is no report of `seatrial check --output json`") from error


def _replay(verdict: Verdict, run: Any, version: str | None) -> bool:
    from seatrial.cli.reenactment import DiffersError, NoReplayError, reenact

    head = f"{verdict.property}  {verdict.subject}"
    if run is None:
        print(f"- {head}: a witness, not a run of moves; there is nothing to make again")
        return True
    made = 0

    def count(number: int) -> None:
        nonlocal made
        made = number + 1

    try:
        reenact(run, version or "1.37", count)
    except NoReplayError as error:
        print(f"? {head}: {error}")
        return False
    except DiffersError as error:
        print(f"✗ {head}: move {made + 1} of {len(run.moves)} differs: {error}")
        return False
    print(f"✓ {head}: all {len(run.moves)} moves were made on the cluster")
    for number, step in enumerate(verdict.trace, 1):
        print(f"  {number:>3}. {step.actor}  {step.action}")
    if run.stuck:
        print("       asked once more, no controller and no scheduler moves")
    elif run.loop is not None:
        print(f"       the pods are again those before step {(verdict.loop or 0) + 1}")
    return True
