"""Where a namespace takes only some pods, our controllers make and are refused as many in each sync as those of 1.37.

How the recording is made, and how all of it is replayed: `tests.conformance.slowstart`.
"""

from __future__ import annotations

from tests.conformance.slowstart.cases import CONTROLLERS, RECORDING, play

STEP = 4


def test_recorded_cases() -> None:
    refused = dict.fromkeys(CONTROLLERS, 0)
    for seed, case, upstream in RECORDING.load(step=STEP):
        assert play(case) == upstream, f"case {seed}: {case}"
        refused[case["kind"]] += sum(each["refused"] for each in upstream)
    assert min(refused.values()) > 10
