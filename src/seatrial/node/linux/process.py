"""The one door to other programs: run a command, wait for it, and say exactly what failed.

A failure carries the command as it can be pasted into a shell, and what the program said.
"""

from __future__ import annotations

import asyncio
import shlex
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass


class CommandError(Exception):
    """A program ended with a failure. `retryable` is False: the same command on the same machine fails again."""

    retryable = False

    def __init__(self, command: Sequence[str], code: int, output: str) -> None:
        self.command, self.code, self.output = tuple(command), code, output.strip()
        super().__init__(f"{self.output or 'no output'} (exit code {code} of: {shlex.join(command)})")


@dataclass(frozen=True, slots=True)
class Done:
    code: int
    output: bytes


async def attempt(command: Sequence[str], *, given: str = "", timeout_s: float = 60.0) -> Done:
    """Run `command` with `given` on its standard input; raises `TimeoutError` after killing it."""
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.PIPE if given else asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        async with asyncio.timeout(timeout_s):
            output, _ = await process.communicate(given.encode() if given else None)
    except BaseException:
        if process.returncode is None:
            process.kill()
            await process.wait()
        raise
    assert process.returncode is not None
    return Done(process.returncode, output)


async def run(command: Sequence[str], *, given: str = "", timeout_s: float = 60.0) -> str:
    """The output of `command`; raises `CommandError` if it fails."""
    done = await attempt(command, given=given, timeout_s=timeout_s)
    text = done.output.decode(errors="replace")
    if done.code:
        raise CommandError(command, done.code, text)
    return text


def run_now(command: Sequence[str], *, given: str = "", check: bool = True) -> str:
    """`run` without an event loop, for set-up and cleanup; with `check` False a failure is ignored."""
    done = subprocess.run(command, input=given, capture_output=True, text=True, check=False)
    if check and done.returncode:
        raise CommandError(command, done.returncode, done.stdout + done.stderr)
    return done.stdout
