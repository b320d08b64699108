"""Every golden scenario script, played on the cluster in memory: what it answers is what Kubernetes itself answered.

Most of the time goes into starting kubectl, so the scripts are played side by side, each on a cluster of its own.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from seatrial.server.pki import Pki
from seatrial.testing import Cluster
from tests.golden.script import Script, difference, normalised, scripts
from tests.golden.stages import NODES, Simulated, play
from tests.machines import KUBECTL


@pytest.fixture(scope="module")
def plays(request: pytest.FixtureRequest, seatrial_pki: Pki) -> Iterator[dict[str, Future[Script]]]:
    """What became of each script that is to be tested, by name."""
    if not KUBECTL.exists():
        pytest.skip(f"{KUBECTL} is not there: ./dev set-up installs it on Linux on x86-64")
    calls = (getattr(item, "callspec", None) for item in request.session.items if item.path == request.path)
    chosen = [call.params["script"] for call in calls if call is not None and "script" in call.params]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        yield {script.name: pool.submit(_played, script, seatrial_pki) for script in chosen}
        pool.shutdown(cancel_futures=True)


def _played(script: Script, pki: Pki) -> Script:
    with Cluster(nodes=NODES, pki=pki) as cluster:
        cluster.settle()
        return play(script, Simulated(cluster, f"golden-{script.name}"))


@pytest.mark.parametrize("script", scripts(), ids=lambda script: script.name)
def test_the_conversation_is_the_scripts(script: Script, plays: dict[str, Future[Script]]) -> None:
    said = difference(script, plays[script.name].result())
    assert not said, said


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("web-67bc4996d9-8cgtg  1/1  Running  2 (5s ago)  3m5s", "web-<hash>-<id>  1/1  Running  2 (<age> ago)  <age>"),
        ("Created pod: db-0", "Created pod: db-0"),
        ("Job has reached the specified backoff limit", "Job has reached the specified backoff limit"),
        ("  Normal  Killing  8s (x3 over 71s)  kubelet  Stopping", "  Normal  Killing  <age>  kubelet  Stopping"),
        ("pods on node-1: 10.244.1.7:80 at 2026-01-01T00:00:00Z", "pods on node-1: <ip>:80 at <time>"),
    ],
)
def test_what_differs_from_run_to_run_is_left_out(said: str, shown: str) -> None:
    assert normalised(said, "golden-x") == f"{shown}\n"


def test_rows_of_a_table_are_sorted_and_other_lines_are_not() -> None:
    said = "NAME      READY\nb         1/1\na         1/1\n\nNAME   TYPE\nd      x\nc      x\n"
    assert normalised(said, "golden-x") == "NAME  READY\na  1/1\nb  1/1\nNAME  TYPE\nc  x\nd  x\n"
    assert normalised("deployment created\nanother created\n", "golden-x") == "deployment created\nanother created\n"
