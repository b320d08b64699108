"""How soon the cluster of the pytest fixture is ready: made, its API answering over TLS (the bar is 0.3 s)."""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path

from seatrial.server.pki import Pki
from seatrial.testing import Cluster

RUNS, BAR_S = 10, 0.3


def main() -> None:
    with tempfile.TemporaryDirectory() as directory:
        started = time.perf_counter()
        pki = Pki.ensure(Path(directory) / "pki")
        print(f"{'certificates, once a session':32} {time.perf_counter() - started:8.3f} s")
        times = []
        for _ in range(RUNS):
            started = time.perf_counter()
            with Cluster(nodes=3, pki=pki):
                times.append(time.perf_counter() - started)
        ready_s = statistics.median(times)
        print(f"{'fixture ready (median)':32} {ready_s:8.3f} s  (bar {BAR_S} s, ratio {ready_s / BAR_S:.2f})")
        print(f"{'fixture ready (first, worst)':32} {times[0]:8.3f} s  {max(times):8.3f} s")


if __name__ == "__main__":
    main()
