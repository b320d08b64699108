"""What upstream did, kept: one compressed file for each kind of history and version, the same bytes for the same
recordings.
"""

from __future__ import annotations

import lzma
from collections.abc import Sequence
from pathlib import Path

import msgspec

from seatrial.control.controller import NEWEST_MINOR
from tests.conformance.histories.script import Recording

DIRECTORY = Path(__file__).resolve().parents[1] / "recordings"


def save(kind: str, recorded: Sequence[Recording], minor: int = NEWEST_MINOR) -> None:
    """Keep these beside what is kept; a script of the same seed takes the place of the older one."""
    by_seed = {recording.script.seed: recording for recording in (*load(kind, minor), *recorded)}
    recorded = list(by_seed.values())
    path = _path(kind, minor)
    path.parent.mkdir(exist_ok=True)
    lines = b"\n".join(msgspec.json.encode(recording, order="sorted") for recording in recorded)
    path.write_bytes(lzma.compress(lines, preset=9 | lzma.PRESET_EXTREME))


def load(kind: str, minor: int = NEWEST_MINOR) -> list[Recording]:
    path = _path(kind, minor)
    if not path.exists():
        return []
    return [msgspec.json.decode(line, type=Recording) for line in lzma.decompress(path.read_bytes()).splitlines()]


def _path(kind: str, minor: int) -> Path:
    return (DIRECTORY if minor == NEWEST_MINOR else DIRECTORY / f"1.{minor}") / f"{kind}.jsonl.xz"
