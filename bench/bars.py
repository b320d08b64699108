"""Start-up, check and memory of whole processes, as ratios to their bars (below 1 is within the bar).

Prints one line for each figure. The bars are seconds and MiB; every figure is the median of `RUNS` runs.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
RUNS = 5
REAL = os.geteuid() == 0
DEMO = ROOT / ".seatrial"


def seatrial(*words: str, state: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "seatrial", *words],
        cwd=ROOT,
        env={**os.environ, "SEATRIAL_STATE": str(state)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=False,
    )


def timed(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def control_process(state: Path) -> tuple[float, float]:
    """Seconds until the API of a new cluster is ready, and MiB resident a moment later."""
    command = [sys.executable, "-m", "seatrial.cluster", "--state", str(state), "--nodes", "3"]
    command += [] if REAL else ["--simulate"]
    started = time.perf_counter()
    with subprocess.Popen(command) as process:
        while not (state / "run" / "ready").exists():
            time.sleep(0.002)
        ready_s = time.perf_counter() - started
        time.sleep(1)
        status = Path(f"/proc/{process.pid}/status").read_text()
        process.terminate()
        process.wait()
    seatrial("down", state=state)
    kib = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS"))
    return ready_s, kib / 1024


def first_answer(state: Path) -> float:
    """Seconds from `up examples/shop`, its images built before, to the first 200 of its Service."""
    started = time.perf_counter()
    seatrial("up", "examples/shop", state=state)
    kubectl = [str(Path(sys.executable).with_name("kubectl")), f"--kubeconfig={state}/cluster/kubeconfig"]
    words = ["get", "service", "web", "-o", "jsonpath={.spec.clusterIP}"]
    address = subprocess.run([*kubectl, *words], capture_output=True, text=True, check=True).stdout
    with urllib.request.urlopen(f"http://{address}/", timeout=5) as answer:
        assert answer.status == 200
    elapsed_s = time.perf_counter() - started
    seatrial("down", state=state)
    return elapsed_s


def show(name: str, figure: float, bar: float, unit: str) -> None:
    print(f"{name:<58} {figure:8.2f} {unit:<4} bar {bar:g} {unit:<4} ratio {figure / bar:.2f}", flush=True)


def main() -> None:
    with tempfile.TemporaryDirectory() as directory:
        runs = [control_process(Path(directory) / str(number)) for number in range(RUNS)]
        show("API ready after process start, new state directory", statistics.median(r[0] for r in runs), 1.0, "s")
        show("resident memory of the idle control process", statistics.median(r[1] for r in runs), 110, "MiB")
        for example, bar_s in (("examples/shop", 3.0), ("examples/broken/anti-affinity", 1.0)):
            state = Path(directory) / "check"
            times = [timed(lambda: seatrial("check", example, state=state)) for _ in range(RUNS)]  # noqa: B023
            show(f"seatrial check {example}", statistics.median(times), bar_s, "s")
    if REAL and (DEMO / "images").exists():
        first_answer(DEMO)  # builds what is not built
        show(
            "up of examples/shop to the first 200", statistics.median(first_answer(DEMO) for _ in range(RUNS)), 4.0, "s"
        )
    else:
        print("up of examples/shop: not measured; it needs root and the images that ./dev demo leaves", flush=True)


if __name__ == "__main__":
    main()
