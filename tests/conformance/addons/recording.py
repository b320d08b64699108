"""What upstream answered, recorded."""

from __future__ import annotations

from random import Random

from tests.conformance.addons.vertical import Json, case
from tests.conformance.recording import Recording


def invent(seed: int) -> Json:
    return case(Random(seed))


RECORDING = Recording("verticalpodautoscaler", invent)
