"""Verdicts: what a property answers, in the shape that `--output json` prints (docs/reference/verdicts.schema.json)."""

from __future__ import annotations

import hashlib
from enum import Enum
from typing import Any

import msgspec

from seatrial.check.system import Place


class Answer(Enum):
    PROVED = "proved"
    REFUTED = "refuted"
    UNKNOWN = "unknown"


class Field(msgspec.Struct, frozen=True):
    """One changed field of an object in a trace step; None is absence."""

    object: str
    path: str
    before: Any = msgspec.field(name="from", default=None)
    after: Any = msgspec.field(name="to", default=None)


class Step(msgspec.Struct, frozen=True):
    actor: str
    action: str
    changes: tuple[Field, ...] = ()


class Edit(msgspec.Struct, frozen=True):
    """A field and what it becomes; None: it is taken out."""

    file: str
    line: int
    path: str
    to: Any


class Repair(msgspec.Struct, frozen=True):
    """Edits that a person would make, and the verdict of the edited system."""

    edits: tuple[Edit, ...]
    verdict: Answer


class Assumption(msgspec.Struct, frozen=True):
    """`origin`: default (ours), inferred (from the files), given (by the user)."""

    name: str
    origin: str
    text: str


class Expectation(msgspec.Struct, frozen=True):
    """Something that the input needs and does not have, and that somebody usually brings.

    `by`: who; `otherwise`: what happens if nobody does; `places`: where it is needed.
    """

    what: str
    by: str
    otherwise: str
    places: tuple[Place, ...]


class Covered(msgspec.Struct, frozen=True):
    states: int = 0
    transitions: int = 0


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    property: str
    subject: str
    verdict: Answer
    message: str
    places: tuple[Place, ...] = ()
    trace: tuple[Step, ...] = ()
    loop: int | None = None
    repairs: tuple[Repair, ...] = ()
    method: str
    covered: Covered | None = None
    assumptions: tuple[str, ...] = ()
    waived: str | None = None
    """Why it is accepted although it is refuted."""
    fingerprint: str = ""
    """Set when the verdict is told, before the places of its repairs are added."""

    def identity(self) -> str:
        """What stays the same when lines move: the property, the subject and the paths of the fields at fault."""
        parts = (self.property, self.subject, *sorted(place.path for place in self.places))
        return self.fingerprint or hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """The whole answer of one check."""

    kubernetes: str
    verdicts: tuple[Verdict, ...]
    assumptions: tuple[Assumption, ...]
    expects: tuple[Expectation, ...] = ()

    @property
    def exit_code(self) -> int:
        """0: all proved or waived; 1: something refuted; 2: something unknown; 3 (unreadable) is decided before."""
        answers = {verdict.verdict for verdict in self.verdicts if verdict.waived is None}
        return 1 if Answer.REFUTED in answers else 2 if Answer.UNKNOWN in answers else 0
