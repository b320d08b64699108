"""Waivers that stand in manifests: `# seatrial: waive PROPERTY until DAY: REASON`, or the annotation of that meaning.

A comment belongs to the object in whose text it stands; one before the first key of a document to that document's
first object. Comments are no part of what a YAML parser gives, so they are looked for in the text, line by line.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from seatrial.check.system import Entry, Finding, Place, Waiver
from seatrial.check.waivers import ANNOTATION, WaiverError, parse

_COMMENT = re.compile(r"\s*#\s*seatrial:\s*waive\s+(.*)")


def waivers(text: str, file: str, entries: Sequence[Entry]) -> Iterator[Waiver | Finding]:
    """The waivers in a file whose objects are `entries`; a finding for each that cannot be read."""
    if "seatrial" not in text:
        return
    starts = [(entry.positions.get((), (1, 1))[0], entry) for entry in entries]
    document = 1
    for number, line in enumerate(text.splitlines(), 1):
        if line.startswith("---"):
            document = number
        if found := _COMMENT.fullmatch(line):
            above = [entry for start, entry in starts if document <= start <= number]
            below = [entry for start, entry in starts if start > number]
            owner = above[-1] if above else below[0] if below else None
            yield _read(found[1], owner, Place(file, number, line.index("#") + 1, ""))
    for entry in entries:
        metadata = entry.written.get("metadata")
        annotations = metadata.get("annotations") if isinstance(metadata, dict) else None
        value = annotations.get(ANNOTATION) if isinstance(annotations, dict) else None
        for line in value.splitlines() if isinstance(value, str) else ():
            yield _read(line, entry, entry.place("metadata", "annotations", ANNOTATION))


def _read(text: str, owner: Entry | None, place: Place) -> Waiver | Finding:
    try:
        return parse(text, str(owner.key) if owner else "*", place)
    except WaiverError as error:
        return Finding(place, str(error))
