"""The pytest plugin: a cluster for a test, made in a few milliseconds and forgotten after it.

def test_a_release(seatrial_cluster):
    seatrial_cluster.apply("deploy/")
    assert seatrial_cluster.settle()

@pytest.mark.seatrial(nodes=3, seed=7, version="1.33")
def test_three_nodes(seatrial_cluster): ...
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from seatrial.server.pki import Pki
    from seatrial.testing.cluster import Cluster


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", "seatrial(nodes=1, seed=0, version=...): what the cluster of `seatrial_cluster` is like"
    )


@pytest.fixture(scope="session")
def seatrial_pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    """The certificates that all clusters of a test run share."""
    from seatrial.server.pki import Pki

    return Pki.ensure(tmp_path_factory.mktemp("seatrial") / "pki")


@pytest.fixture
def seatrial_cluster(request: pytest.FixtureRequest, seatrial_pki: Pki) -> Iterator[Cluster]:
    """A simulated cluster of the test's own: a `seatrial.testing.Cluster`."""
    from seatrial.testing.cluster import Cluster

    marker = request.node.get_closest_marker("seatrial")
    with Cluster(pki=seatrial_pki, **(marker.kwargs if marker is not None else {})) as cluster:
        yield cluster
