"""The recording: upstream's answers, JSON lines, compressed. Cases are invented anew from their seeds.

A line is [seed, digest of the case, answer].
"""

from __future__ import annotations

import hashlib
import json
import lzma
from collections.abc import Iterator, Mapping
from pathlib import Path
from random import Random

from tests.conformance.addons.vertical import Json, case

RECORDING = Path(__file__).parents[1] / "recordings" / "verticalpodautoscaler.jsonl.xz"


def invent(seed: int) -> Json:
    return case(Random(seed))


def save(answers: Mapping[int, Json]) -> None:
    with lzma.open(RECORDING, "wt", preset=9 | lzma.PRESET_EXTREME) as out:
        for seed, answer in answers.items():
            line = [seed, digest(invent(seed)), answer]
            out.write(json.dumps(line, separators=(",", ":"), sort_keys=True) + "\n")


def load() -> Iterator[tuple[int, Json, Json]]:
    """Recorded cases, each with its seed and upstream's answer."""
    with lzma.open(RECORDING, "rt") as lines:
        for line in lines:
            seed, recorded, answer = json.loads(line)
            invented = invent(seed)
            assert digest(invented) == recorded, f"cases are invented otherwise than when {RECORDING} was recorded"
            yield seed, invented, answer


def digest(invented: Json) -> str:
    return hashlib.sha256(json.dumps(invented, sort_keys=True).encode()).hexdigest()[:8]
