"""The control process from outside: start it detached, find it, stop it. Its files are those that `serve` writes."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

POLL_S = 0.02
SHUT_DOWN = signal.SIGUSR1
"""What tells the control process that its nodes are to shut down."""


class ControlProcessError(Exception):
    """The control process could not be started; the message ends with what it said."""


def default_state() -> Path:
    """`SEATRIAL_STATE`, or /var/lib/seatrial for root, or the user's own state directory."""
    if given := os.environ.get("SEATRIAL_STATE"):
        return Path(given)
    if os.geteuid() == 0:
        return Path("/var/lib/seatrial")
    return Path(os.environ.get("XDG_STATE_HOME", Path.home() / ".local" / "state")) / "seatrial"


def kubeconfig(state: Path) -> Path:
    return state / "cluster" / "kubeconfig"


def pid(state: Path) -> int | None:
    """The control process of a state directory, if it lives."""
    try:
        number = int((state / "run" / "pid").read_text())
        command = Path(f"/proc/{number}/cmdline").read_bytes()
    except (OSError, ValueError):
        return None
    return number if b"seatrial.cluster" in command else None


def ready(state: Path) -> bool:
    return pid(state) is not None and (state / "run" / "ready").exists()


def start(
    state: Path,
    *,
    nodes: int,
    simulate: bool,
    port: int = 0,
    options: Sequence[str] = (),
    timeout_s: float = 20.0,
) -> None:
    """Start it and wait until the API answers. Harmless if it runs. Raises `ControlProcessError`.

    `options` are further ones of `python -m seatrial.cluster`.
    """
    if ready(state):
        return
    log = state / "cluster" / "log"
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
        output = log.open("ab")
    except OSError as error:
        raise ControlProcessError(f"cannot write to {state}: {error.strerror}. Choose another with --state.") from error
    with output:
        began = output.tell()
        command = [sys.executable, "-m", "seatrial.cluster", "--state", str(state), "--nodes", str(nodes)]
        command += ["--port", str(port)] + (["--simulate"] if simulate else [])
        command += options
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True, cwd="/"
        )
    deadline = time.monotonic() + timeout_s
    while not ready(state):
        if process.poll() is not None or time.monotonic() > deadline:
            process.kill()
            said = log.read_bytes()[began:].decode(errors="replace").strip() or "it said nothing"
            raise ControlProcessError(f"the cluster did not start (its log is {log}):\n{said}")
        time.sleep(POLL_S)


def shut_down(state: Path, *, margin_s: float = 5.0) -> None:
    """Let the nodes end their pods as they are configured to, if they are; returns when they have, or should have."""
    try:
        number, grace_s = pid(state), int((state / "run" / "grace").read_text())
    except (OSError, ValueError):
        return
    if number is None or not grace_s or not ready(state):
        return
    deadline = time.monotonic() + grace_s + margin_s
    with contextlib.suppress(ProcessLookupError):
        os.kill(number, SHUT_DOWN)
    while pid(state) is not None and time.monotonic() < deadline:
        time.sleep(POLL_S)


def stop(state: Path, *, timeout_s: float = 10.0) -> bool:
    """End it, by force after `timeout_s`; containers stay. False if none ran."""
    number = pid(state)
    if number is None:
        return False
    deadline = time.monotonic() + timeout_s
    try:
        os.kill(number, signal.SIGTERM)
        while pid(state) is not None:
            if time.monotonic() > deadline:
                os.kill(number, signal.SIGKILL)
            time.sleep(POLL_S)
    except ProcessLookupError:
        pass
    return True
