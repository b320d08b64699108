"""The one door to other programs: run one, see its lines as they come, fail with a command that can be pasted."""

from __future__ import annotations

import shlex
import subprocess
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from seatrial.image.errors import ImageError

# Enough to see what a compiler or a package manager complained about, little enough to stay on a screen.
LAST_LINES = 20


class CommandFailed(ImageError):  # noqa: N818 - reads as what happened
    """A program ended with a non-zero code."""

    def __init__(self, argv: Sequence[str], code: int, last_lines: Sequence[str], cwd: Path | None = None) -> None:
        command = shlex.join(argv) if cwd is None else f"cd {shlex.quote(str(cwd))} && {shlex.join(argv)}"
        how = f"ended with code {code}" if code >= 0 else f"was killed by signal {-code}"
        super().__init__("\n".join([f"a command {how}; to try it by hand:", f"  {command}", *last_lines]))
        self.code = code
        self.last_lines = tuple(last_lines)


class CommandMissing(ImageError):  # noqa: N818 - reads as what happened
    """A program is not installed."""


def run(
    argv: Sequence[str],
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    on_line: Callable[[str], None] | None = None,
    separate_errors: bool = False,
    stop: Callable[[], None] | None = None,
) -> str:
    """What the program printed. With `separate_errors` its error output is only kept for the message of a failure.

    Raises `CommandMissing` and `CommandFailed`. The program is ended if we are interrupted while it runs: by `stop`,
    if it takes more than SIGTERM.
    """
    try:
        process = subprocess.Popen(
            list(argv),
            cwd=cwd,
            env=None if env is None else dict(env),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=None if separate_errors else subprocess.STDOUT,
            text=True,
            errors="replace",
        )
    except FileNotFoundError as error:
        if cwd is not None and not cwd.is_dir():
            raise ImageError(f"the directory {cwd} does not exist") from error
        raise CommandMissing(
            f"the program {argv[0]!r} is not installed", hint=f"install it: {_how(argv[0])}"
        ) from error
    assert process.stdout is not None
    lines: list[str] = []
    tail: deque[str] = deque(maxlen=LAST_LINES)
    try:
        for line in process.stdout:
            lines.append(line)
            tail.append(line.rstrip("\n"))
            if on_line is not None:
                on_line(line.rstrip("\n"))
        code = process.wait()
    except BaseException:
        (stop or process.terminate)()
        process.wait()
        raise
    finally:
        process.stdout.close()
    if code != 0:
        raise CommandFailed(argv, code, tuple(tail), cwd)
    return "".join(lines)


def _how(program: str) -> str:
    packages = {"cargo": "cargo-web rustc-web", "runc": "runc", "mount": "mount", "umount": "mount"}
    return f"apt-get install {packages.get(program, program)}"
