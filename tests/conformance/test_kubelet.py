"""What the real kubelet's functions answered for random pods and nodes, ours answer: every fifth recorded case."""

from __future__ import annotations

from tests.conformance.kubelet import replay


def test_statuses_phases_restarts_evictions_and_shutdowns_are_those_of_the_real_kubelet() -> None:
    assert replay(every=5) == []
