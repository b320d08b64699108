"""A baseline file: the fingerprints of what was refuted when it was written, so that only what is new counts."""

from __future__ import annotations

import json
from pathlib import Path

from seatrial.check.verdicts import Answer, Report


class BaselineError(Exception):
    """The file is no baseline; the message says how to make one."""


def read(path: Path) -> frozenset[str]:
    try:
        known = json.loads(path.read_bytes())
        return frozenset(each["fingerprint"] for each in known["refuted"])
    except OSError as error:
        raise BaselineError(f"{path}: cannot be read: {error.strerror}; --write-baseline {path} makes it") from error
    except (ValueError, KeyError, TypeError) as error:
        raise BaselineError(f"{path}: is no baseline; --write-baseline {path} makes one") from error


def write(path: Path, report: Report) -> int:
    """How many verdicts were written down. Raises OSError."""
    refuted = [verdict for verdict in report.verdicts if verdict.verdict is Answer.REFUTED]
    known = [{"fingerprint": v.identity(), "property": v.property, "subject": v.subject} for v in refuted]
    known.sort(key=lambda each: (each["property"], each["subject"], each["fingerprint"]))
    path.write_text(json.dumps({"refuted": known}, indent=2) + "\n")
    return len(known)
