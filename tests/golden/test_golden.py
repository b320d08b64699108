"""Every golden scenario script, played on the cluster in memory."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from seatrial.testing import Cluster
from tests.golden.run import Script, Simulated, difference, play, scripts
from tests.machines import KUBECTL


@pytest.fixture(scope="module")
def stage() -> Iterator[Simulated]:
    if not KUBECTL.exists():
        pytest.skip(f"{KUBECTL} is not there: ./dev set-up installs it on Linux on x86-64")
    with Cluster(nodes=3) as cluster:
        cluster.settle()
        yield Simulated(cluster)


@pytest.mark.parametrize("script", scripts(), ids=lambda script: script.name)
def test_the_conversation_is_the_scripts(script: Script, stage: Simulated) -> None:
    said = difference(script, play(script, stage))
    assert not said, said
