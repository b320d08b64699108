"""A recording: what upstream answered to cases that are invented from their seeds, as JSON lines, compressed.

A line is [seed, digest of the case, answer]. The cases themselves are invented anew; the digest shows that they are
still those that upstream was asked.
"""

from __future__ import annotations

import hashlib
import json
import lzma
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from seatrial.kube.objects import JsonObject

_DIRECTORY = Path(__file__).parent / "recordings"


@dataclass(frozen=True, slots=True)
class Recording:
    """`invent` makes a case from its seed."""

    name: str
    invent: Callable[[int], JsonObject]

    @property
    def path(self) -> Path:
        return _DIRECTORY / f"{self.name}.jsonl.xz"

    def save(self, answers: Mapping[int, Any]) -> None:
        with lzma.open(self.path, "wt", preset=9 | lzma.PRESET_EXTREME) as out:
            for seed, answer in answers.items():
                line = [seed, _digest(self.invent(seed)), answer]
                out.write(json.dumps(line, separators=(",", ":"), sort_keys=True) + "\n")
        print(f"{self.path}: {self.path.stat().st_size} bytes")

    def load(self, first: int = 0, step: int = 1) -> Iterator[tuple[int, JsonObject, Any]]:
        """Recorded cases, each with its seed and upstream's answer."""
        with lzma.open(self.path, "rt") as lines:
            for line in islice(lines, first, None, step):
                seed, recorded, answer = json.loads(line)
                case = self.invent(seed)
                assert _digest(case) == recorded, f"cases are invented otherwise than when {self.path} was recorded"
                yield seed, case, answer


def _digest(case: JsonObject) -> str:
    return hashlib.sha256(json.dumps(case, sort_keys=True).encode()).hexdigest()[:8]
