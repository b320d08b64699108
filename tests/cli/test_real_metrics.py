"""`kubectl top` of real containers: what their cgroups have counted, from the second measurement on."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

import pytest

from tests.machines import Machine

pytestmark = pytest.mark.privileged

BUSY = """\
apiVersion: v1
kind: Pod
metadata: {name: busy}
spec:
  containers:
    - name: loop
      image: web:1
      command: [/bin/busybox, sh, -c, "while :; do :; done"]
      resources: {requests: {cpu: 100m}, limits: {cpu: 200m}}
"""


def test_top(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    machine.web_image()
    machine.manifests.write_text(BUSY)
    try:
        machine.seatrial("up", str(machine.manifests))
        deadline = time.monotonic() + 60
        words: list[str] = []
        while not words and time.monotonic() < deadline:
            time.sleep(1)
            with contextlib.suppress(AssertionError):  # not measured yet
                words = machine.kubectl("top", "pod", "busy", "--no-headers").split()
        assert words, "no measurement within a minute"
        name, cores, memory = words
        assert name == "busy"
        assert 150 <= int(cores.removesuffix("m")) <= 230
        assert 0 <= int(memory.removesuffix("Mi")) <= 32
    finally:
        machine.seatrial("down", "--images")
