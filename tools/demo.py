"""The main job on an example: check, build, run, watch it serve. What `./dev demo` runs.

As root it runs examples/shop in real containers; otherwise the same manifests on simulated nodes. Everything lies in
.seatrial/ inside the checkout and is taken down at the end, but for the images, which the next run finds built.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BIN = Path(sys.executable).parent
STATE = ROOT / ".seatrial"
SHOP = "examples/shop"
BASE = "debian:bookworm-slim"


def step(*words: str, allow: tuple[int, ...] = (0,)) -> None:
    print(f"\n$ {' '.join(words)}", flush=True)
    environment = {**os.environ, "SEATRIAL_STATE": str(STATE)}
    environment["KUBECONFIG"] = str(STATE / "cluster" / "kubeconfig")
    environment["PATH"] = f"{BIN}{os.pathsep}{environment['PATH']}"
    code = subprocess.call(words, cwd=ROOT, env=environment)
    if code not in allow:
        sys.exit(f"{words[0]} ended with {code}")


def base_image() -> None:
    """The image that the store's Dockerfile starts from, made of Debian's own packages: no registry is needed."""
    listed = subprocess.run(
        [BIN / "seatrial", "image", "list", "--state", STATE], capture_output=True, text=True, check=False
    )
    if BASE not in listed.stdout:
        made = f"mmdebstrap --quiet --variant=minbase bookworm - | seatrial image import --rootfs - --tag {BASE}"
        step("sh", "-c", made)


def serve() -> None:
    """Ask the web service through its Service, as any client on this machine can."""
    kubeconfig = STATE / "cluster" / "kubeconfig"
    found = subprocess.run(
        [BIN / "kubectl", "--kubeconfig", kubeconfig, "get", "service", "web", "-o", "json"],
        capture_output=True,
        text=True,
        check=True,
    )
    address = json.loads(found.stdout)["spec"]["clusterIP"]
    for _ in range(3):
        print(f"\n$ curl http://{address}/", flush=True)
        with urllib.request.urlopen(f"http://{address}/", timeout=10) as answer:
            print(answer.status, answer.read().decode().strip(), flush=True)
        time.sleep(0.3)


def main() -> None:
    real = os.geteuid() == 0
    step("seatrial", "check", "examples/broken/anti-affinity", allow=(1,))
    step("seatrial", "check", SHOP)
    try:
        if real:
            base_image()
            step("seatrial", "up", SHOP)
        else:
            print("\nnot root: simulated nodes stand in for containers (sudo ./dev demo runs the real ones)")
            step("seatrial", "up", SHOP, "--simulate", "--nodes", "3")
        step("kubectl", "get", "deployments,pods,services", "-o", "wide")
        if real:
            serve()
        step("seatrial", "status")
    finally:
        step("seatrial", "down")


if __name__ == "__main__":
    main()
