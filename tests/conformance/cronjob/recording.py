"""The recording: upstream's answers, JSON lines, compressed. Histories are invented anew from their seeds.

A line is [seed, digest of the history, decisions].
"""

from __future__ import annotations

import hashlib
import json
import lzma
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from tests.conformance.cronjob.histories import Json, invent

RECORDING = Path(__file__).parents[1] / "recordings" / "cronjob.jsonl.xz"


def save(seeds: list[int], answers: list[list[Json]]) -> None:
    RECORDING.parent.mkdir(exist_ok=True)
    with lzma.open(RECORDING, "wt", preset=9 | lzma.PRESET_EXTREME) as out:
        for seed, decisions in zip(seeds, answers, strict=True):
            line = [seed, digest(invent(seed)), decisions]
            out.write(json.dumps(line, separators=(",", ":"), sort_keys=True) + "\n")


def load(first: int = 0, step: int = 1) -> Iterator[tuple[int, Json, list[Json]]]:
    """Recorded histories, each with its seed and upstream's decisions."""
    with lzma.open(RECORDING, "rt") as lines:
        for line in islice(lines, first, None, step):
            seed, recorded, decisions = json.loads(line)
            history = invent(seed)
            assert digest(history) == recorded, f"histories are invented otherwise than when {RECORDING} was recorded"
            yield seed, history, decisions


def digest(history: Json) -> str:
    return hashlib.sha256(json.dumps(history, sort_keys=True).encode()).hexdigest()[:8]
