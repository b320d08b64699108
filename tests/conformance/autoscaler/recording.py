"""What the real controller did, recorded."""

from __future__ import annotations

from tests.conformance.autoscaler.histories import invent
from tests.conformance.recording import Recording

RECORDING = Recording("autoscaler", invent)
