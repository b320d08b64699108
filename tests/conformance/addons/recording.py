"""What upstream answered, recorded."""

from __future__ import annotations

from random import Random

from tests.conformance.addons.vertical import Json, case
from tests.conformance.recording import Recording


def invent(seed: int) -> Json:
    return case(Random(seed))


RECORDING = Recording("verticalpodautoscaler", invent)

ONCE_DIFFERENT = (7_000_308, 11_002_700)
"""Cases that hang on the last digit of a power; recorded with the others."""
