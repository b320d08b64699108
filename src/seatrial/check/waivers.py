"""Waivers: what is refuted and accepted all the same, by whom it is told why, and until when.

A waiver stands in the files: a comment or an annotation of the object that it is about, or a table of `seatrial.toml`.
A baseline is a list of fingerprints of what was refuted when it was written. A verdict that is waived stays in the
report and says why; only the exit code passes it over. An expired waiver waives nothing and says so.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from datetime import date
from typing import Final

import msgspec

from seatrial.check.system import Place, Waiver
from seatrial.check.verdicts import Answer, Report

ANNOTATION: Final = "seatrial.dev/waive"
_FORM: Final = re.compile(r"(?P<property>[a-z*?\[\]-]+/[a-z*?\[\]-]+)(?: +until +(?P<until>\S+))?: *(?P<reason>\S.*)")
FORM: Final = "PROPERTY until YYYY-MM-DD: REASON"


class WaiverError(ValueError):
    """The text is no waiver; the message says what would be one."""


def parse(text: str, subject: str, place: Place) -> Waiver:
    """The waiver that a comment or an annotation of `subject` is."""
    found = _FORM.fullmatch(text.strip())
    if found is None:
        raise WaiverError(f"a waiver is written `{FORM}` (the day may be left out, the reason may not)")
    try:
        until = date.fromisoformat(found["until"]) if found["until"] else None
    except ValueError as error:
        raise WaiverError(f"{found['until']} is no day; write it as 2027-01-31") from error
    return Waiver(found["property"], _literally(subject), found["reason"].strip(), place, until)


def _literally(subject: str) -> str:
    return re.sub(r"([*?\[])", r"[\1]", subject)


def apply(
    report: Report, waivers: Sequence[Waiver], today: date, baseline: Collection[str] = ()
) -> tuple[Report, tuple[str, ...]]:
    """The report with what is waived marked, and notes on waivers that have expired or meet nothing."""
    notes: list[str] = []
    used: set[Waiver] = set()
    verdicts = []
    for verdict in report.verdicts:
        if verdict.verdict is Answer.REFUTED:
            covering = [waiver for waiver in waivers if waiver.covers(verdict.property, verdict.subject)]
            used.update(covering)
            valid = [waiver for waiver in covering if waiver.until is None or waiver.until >= today]
            if valid:
                verdict = msgspec.structs.replace(verdict, waived=f"{valid[0].reason} ({valid[0].place})")
            elif covering:
                notes.append(f"{covering[0].place}: the waiver of {verdict.property} ended on {covering[0].until}")
            elif verdict.identity() in baseline:
                verdict = msgspec.structs.replace(verdict, waived="in the baseline")
        verdicts.append(verdict)
    for waiver in waivers:
        if waiver not in used:
            notes.append(f"{waiver.place}: the waiver of {waiver.property} meets nothing that is refuted; remove it")
    return msgspec.structs.replace(report, verdicts=tuple(verdicts)), tuple(notes)
