"""`seatrial check --since REV`: what a change newly breaks and newly proves.

The files of the other revision are taken from Git into a directory of their own and checked there by the same command,
so that its own `seatrial.toml` and paths hold. Verdicts are compared by their fingerprints.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from seatrial.check.verdicts import Answer

if TYPE_CHECKING:
    from seatrial.check.verdicts import Report, Verdict


class RevisionError(Exception):
    """The other revision cannot be had or cannot be checked."""


def compare(report: Report, revision: str, words: Sequence[str]) -> tuple[Report, str]:
    """The part of the report that is new, and a line that sums it up. `words` ask the same of the other revision."""
    before = _report(revision, words)
    broken = {v.identity() for v in before.verdicts if v.verdict is Answer.REFUTED}
    undecided = {_asked(v) for v in before.verdicts if v.verdict is not Answer.PROVED}
    proved = {_asked(v) for v in before.verdicts if v.verdict is Answer.PROVED}
    new = []
    for verdict in report.verdicts:
        if verdict.verdict is Answer.REFUTED:
            fresh = verdict.identity() not in broken
        elif verdict.verdict is Answer.UNKNOWN:
            fresh = _asked(verdict) in proved
        else:
            fresh = _asked(verdict) in undecided
        if fresh:
            new.append(verdict)
    counts = {answer: sum(v.verdict is answer for v in new) for answer in Answer}
    gone = len(broken - {v.identity() for v in report.verdicts if v.verdict is Answer.REFUTED})
    told = (
        f"since {revision}: {counts[Answer.REFUTED]} newly refuted, {counts[Answer.PROVED]} newly proved, "
        f"{counts[Answer.UNKNOWN]} newly unknown; {gone} of {len(broken)} that were refuted are no more"
    )
    used = {name for verdict in new for name in verdict.assumptions}
    assumptions = tuple(each for each in report.assumptions if each.name in used)
    return msgspec.structs.replace(report, verdicts=tuple(new), assumptions=assumptions), told


def _asked(verdict: Verdict) -> tuple[str, str]:
    return verdict.property, verdict.subject


def _report(revision: str, words: Sequence[str]) -> Report:
    from seatrial.check.verdicts import Report

    if revision.startswith("-"):
        raise RevisionError(f"{revision!r} is no revision")
    prefix = _git("rev-parse", "--show-prefix").decode().strip()
    top = _git("rev-parse", "--show-toplevel").decode().strip()
    archive = _git("-C", top, "archive", "--format=tar", revision)
    with tempfile.TemporaryDirectory(prefix="seatrial-") as directory:
        # GNU tar keeps to the directory; `tarfile` does only since Python 3.11.4, and Debian 12 has 3.11.2.
        subprocess.run(["tar", "-x", "-C", directory], input=archive, check=True)
        there = Path(directory, prefix)
        missing = [
            word for word in words if not word.startswith("-") and (Path(word).exists() and not (there / word).exists())
        ]
        if not there.is_dir() or missing:
            return Report(kubernetes="", verdicts=(), assumptions=())
        command = [sys.executable, "-m", "seatrial", "check", *words, "--output", "json"]
        done = subprocess.run(command, cwd=there, stdin=subprocess.DEVNULL, capture_output=True, check=False)
        if done.returncode not in (0, 1, 2):
            raise RevisionError(f"the files of {revision} cannot be checked: {done.stderr.decode().strip()}")
        return msgspec.json.decode(done.stdout, type=Report)


def _git(*words: str) -> bytes:
    try:
        done = subprocess.run(["git", *words], capture_output=True, check=False)
    except FileNotFoundError as error:
        raise RevisionError("--since needs git, which is not here") from error
    if done.returncode:
        raise RevisionError(f"git {words[-1]}: {done.stderr.decode(errors='replace').strip()}")
    return done.stdout
