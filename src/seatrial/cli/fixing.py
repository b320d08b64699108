"""`seatrial check --fix` and `--diff`: repairs written into the files, one by one, each proved before it counts.

A repair counts if the edited text, read again like any file, has its verdict proved and nothing failing that did not
fail before. Files are replaced in one step each, after all repairs have been worked out.
"""

from __future__ import annotations

import difflib
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from seatrial.check.verdicts import Answer
from seatrial.project.rewriting import CannotEditError, rewritten

if TYPE_CHECKING:
    from seatrial.check.edits import Change, Changes
    from seatrial.check.judge import Judgement
    from seatrial.check.verdicts import Verdict

_BOM = "\ufeff"
Texts = dict[str, str]
Judged = Callable[[Texts], "Judgement"]


@dataclass(slots=True)
class Fixed:
    """The files' texts before and after, and how the system then stands."""

    judgement: Judgement
    before: Texts = field(default_factory=dict)
    after: Texts = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def fix(judged: Judged, read: Callable[[str], str]) -> Fixed:
    """Repairs all that can be. `judged` gives the verdicts with some files' texts replaced, `read` a file's text."""
    found = Fixed(judged({}))
    given_up: set[str] = set()
    while True:
        verdicts = found.judgement.report.verdicts
        pick = next(
            (
                (verdict, cures)
                for verdict, cures in zip(verdicts, found.judgement.cures, strict=True)
                if cures and verdict.waived is None and verdict.identity() not in given_up
            ),
            None,
        )
        if pick is None:
            return found
        verdict, cures = pick
        if not any(_applied(found, verdict, cure.changes, judged, read) for cure in cures):
            given_up.add(verdict.identity())
            found.notes.append(f"{verdict.property} of {verdict.subject}: no repair could be written into the files")


def _applied(found: Fixed, verdict: Verdict, changes: Changes, judged: Judged, read: Callable[[str], str]) -> bool:
    texts = dict(found.after)
    by_file: dict[str, list[Change]] = {}
    for change in changes:
        by_file.setdefault(change.entry.file, []).append(change)
    for file, some in by_file.items():
        if file not in found.before:
            found.before[file] = read(file)
        try:
            text = texts.get(file, found.before[file])
            mark = _BOM if text.startswith(_BOM) else ""
            texts[file] = mark + rewritten(text.removeprefix(mark), some)
        except CannotEditError:
            return False
    judgement = judged(texts)
    if not _failing(judgement) <= _failing(found.judgement) - {verdict.identity()}:
        return False
    found.judgement, found.after = judgement, texts
    return True


def _failing(judgement: Judgement) -> set[str]:
    return {each.identity() for each in judgement.report.verdicts if each.verdict is not Answer.PROVED}


def diff(fixed: Fixed) -> str:
    """The edits as a patch that `patch -p1` and `git apply` take."""
    lines: list[str] = []
    for file, text in sorted(fixed.after.items()):
        before, after = (each.splitlines(keepends=True) for each in (fixed.before[file], text))
        for line in difflib.unified_diff(before, after, f"a/{file}", f"b/{file}"):
            lines.append(line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n")
    return "".join(lines)


def write(fixed: Fixed) -> None:
    """Replaces each edited file in one step; its mode stays."""
    for file, text in sorted(fixed.after.items()):
        path = Path(file).resolve()
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as new:
            new.write(text.encode())
        Path(new.name).chmod(path.stat().st_mode & 0o7777)
        Path(new.name).replace(path)
        print(f"{file}: repaired", file=sys.stderr)
