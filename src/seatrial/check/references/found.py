"""What looking at references gives: what dangles, what somebody else must bring, and what leads somewhere."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from seatrial.check.references.inventory import Inventory
from seatrial.check.system import Entry, Path, Place


@dataclass(frozen=True, slots=True)
class Defect:
    """A reference that leads nowhere; `places` begin with its own."""

    entry: Entry
    message: str
    places: tuple[Place, ...]
    missing: str = ""
    """What is not there, if it is an object or pods."""


@dataclass(frozen=True, slots=True)
class Outside:
    """Something that is not in the input and that somebody usually brings; `then`: what happens if nobody does."""

    what: str
    by: str
    then: str
    entry: Entry
    place: Place


@dataclass(frozen=True, slots=True)
class Link:
    """A reference that leads to an object of the input."""

    entry: Entry
    place: Place
    target: Entry


@dataclass(slots=True)
class Found:
    """All of it, of one system."""

    inventory: Inventory
    count: int = 0
    """How many references were looked at."""
    defects: list[Defect] = field(default_factory=list)
    outside: list[Outside] = field(default_factory=list)
    links: list[Link] = field(default_factory=list)

    def defect(self, entry: Entry, message: str, at: Path, others: Iterable[Place] = (), missing: str = "") -> None:
        self.defects.append(Defect(entry, message, (entry.place(*at), *others), missing))

    def expect(self, entry: Entry, what: str, by: str, then: str, at: Path) -> None:
        self.outside.append(Outside(what, by, then, entry, entry.place(*at)))

    def link(self, entry: Entry, at: Path, target: Entry) -> None:
        self.links.append(Link(entry, entry.place(*at), target))
