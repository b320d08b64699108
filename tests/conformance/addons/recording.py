"""What upstream answered, recorded."""

from __future__ import annotations

from random import Random

from tests.conformance.addons import descheduling, vertical
from tests.conformance.recording import Recording

VERTICAL = Recording("verticalpodautoscaler", lambda seed: vertical.case(Random(seed)))
DESCHEDULER = Recording("descheduler", lambda seed: descheduling.case(Random(seed)))
VERTICAL_ONCE = (7_000_308, 11_002_700)
DESCHEDULER_ONCE = (3_000_212, 3_000_275, 3_000_564, 3_000_709, 3_001_247, 4_001_038, 4_004_151)
"""Cases that once came out differently, recorded with the others: the first two hang on the last digit of a power."""
