"""What the real controller did, recorded."""

from __future__ import annotations

from tests.conformance.cronjob.histories import invent
from tests.conformance.recording import Recording

RECORDING = Recording("cronjob", invent)
