"""What the controllers of 1.37 that act by the clock did in recorded histories, ours do, and at the same seconds.

How the recording is made, and how all of it is replayed: `tests.conformance.clocked`.
"""

from __future__ import annotations

from tests.conformance.clocked.histories import RECORDING
from tests.conformance.clocked.replay import differences

STEP = 10


def test_recorded_histories() -> None:
    replayed = {"podgc": 0, "ttl": 0}
    for seed, history, lines in RECORDING.load(step=STEP):
        found = list(differences(history, lines))
        assert not found, f"history {seed}: {found[0]}"
        replayed[history["run"][0]] += len(lines)
    assert min(replayed.values()) > 100


def test_a_difference_is_found() -> None:
    """The comparison can fail: a pod that goes twenty seconds later is told."""
    _, history, lines = next(each for each in RECORDING.load() if each[1]["run"] == ["podgc"] and each[2])
    assert not list(differences(history, lines))
    later = [*lines[:-1], {**lines[-1], "at": lines[-1]["at"] + 20}]
    assert list(differences(history, later))
