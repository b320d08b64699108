"""Container logs as the CRI writes them: `TIME STREAM F|P TEXT`, one line each, in files that rotate.

`NAME.log` is current; `NAME.log.1` is the one before it, and so on. Reading gives the lines in order across the files;
`P` marks a part of a longer line, which is joined again. What was rejected: tailing by a thread per reader.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

FOLLOW_INTERVAL_S = 0.1
ROTATED_FILES = 4
"""Kept beside the current file: five in all, as the kubelet's containerLogMaxFiles."""
ROTATE_AT_BYTES = 10 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class LogOptions:
    """What `kubectl logs` can ask for."""

    follow: bool = False
    timestamps: bool = False
    tail_lines: int | None = None
    limit_bytes: int | None = None
    since: datetime | None = None


@dataclass(frozen=True, slots=True)
class LogLine:
    time: str
    stream: str
    text: bytes


def parse(raw: bytes) -> tuple[LogLine, bool] | None:
    """One line of the file and whether it is complete; None if it is not CRI format."""
    parts = raw.rstrip(b"\n").split(b" ", 3)
    if len(parts) < 3 or parts[2] not in (b"F", b"P"):
        return None
    text = parts[3] if len(parts) > 3 else b""
    return LogLine(parts[0].decode(), parts[1].decode(), text), parts[2] == b"F"


class _Joiner:
    """Parts of a line, per stream, until it is complete."""

    def __init__(self) -> None:
        self._open: dict[str, LogLine] = {}

    def feed(self, raw: bytes) -> LogLine | None:
        found = parse(raw)
        if found is None:
            return None
        line, complete = found
        before = self._open.pop(line.stream, None)
        if before is not None:
            line = LogLine(before.time, line.stream, before.text + line.text)
        if complete:
            return line
        self._open[line.stream] = line
        return None


def rotated(path: Path) -> tuple[Path, ...]:
    """The files of one log, oldest first."""
    older = [path.with_name(f"{path.name}.{number}") for number in range(ROTATED_FILES, 0, -1)]
    return tuple(file for file in (*older, path) if file.exists())


def rotate(path: Path) -> bool:
    """Move the log aside if it is full; the writer must then be told to reopen it."""
    try:
        if path.stat().st_size < ROTATE_AT_BYTES:
            return False
    except FileNotFoundError:
        return False
    for number in range(ROTATED_FILES, 0, -1):
        source = path.with_name(f"{path.name}.{number - 1}") if number > 1 else path
        if source.exists():
            source.replace(path.with_name(f"{path.name}.{number}"))
    return True


def _lines(older: Iterable[Path], newest: BinaryIO | None, joiner: _Joiner) -> Iterator[LogLine]:
    """Every line so far; `newest` is left where reading goes on."""
    for file in older:
        with file.open("rb") as stream:
            yield from _joined(stream, joiner)
    if newest is not None:
        yield from _joined(newest, joiner)


def _joined(stream: BinaryIO, joiner: _Joiner) -> Iterator[LogLine]:
    return (line for raw in stream if (line := joiner.feed(raw)) is not None)


def instant(text: str) -> datetime:
    """A CRI time (nanoseconds, `Z` or an offset) as a datetime (microseconds)."""
    main, _, rest = text.partition(".")
    digits = ""
    while rest and rest[0].isdigit():
        digits, rest = digits + rest[0], rest[1:]
    return datetime.fromisoformat(f"{main}.{(digits or '0')[:6].ljust(6, '0')}{rest.replace('Z', '+00:00')}")


async def read(path: Path, options: LogOptions, running: Callable[[], bool] = lambda: False) -> AsyncIterator[bytes]:
    """Chunks of the log at `path`. With `follow` it ends when `running()` is false and everything has been read."""
    left = options.limit_bytes
    joiner = _Joiner()
    stream = _opened(path)
    older = tuple(file for file in rotated(path) if file != path)
    chosen: Iterable[LogLine] = (line for line in _lines(older, stream, joiner) if _recent(line, options))
    if options.tail_lines is not None:
        chosen = deque(chosen, maxlen=max(0, options.tail_lines))
    try:
        for line in chosen:
            chunk = _shown(line, options)
            if left is not None:
                chunk = chunk[:left]
                left -= len(chunk)
            yield chunk
            if left == 0:
                return
        if not options.follow:
            return
        held = b""
        while True:
            alive = running()
            if stream is None:
                stream = _opened(path)
            data = stream.read() if stream is not None else b""
            *complete, held = (held + data).split(b"\n")
            for raw in complete:
                found = joiner.feed(raw)
                if found is None or not _recent(found, options):
                    continue
                chunk = _shown(found, options)
                if left is not None:
                    chunk = chunk[:left]
                    left -= len(chunk)
                yield chunk
                if left == 0:
                    return
            if data:
                continue
            if stream is not None and _moved(path, stream.fileno()):
                stream.close()
                stream = None
                continue
            if not alive:
                return
            await asyncio.sleep(FOLLOW_INTERVAL_S)
    finally:
        if stream is not None:
            stream.close()


def _opened(path: Path) -> BinaryIO | None:
    try:
        return path.open("rb")
    except FileNotFoundError:
        return None


def _moved(path: Path, descriptor: int) -> bool:
    """The open file is no longer the one at `path`, and there is another."""
    import os

    try:
        return path.stat().st_ino != os.fstat(descriptor).st_ino
    except FileNotFoundError:
        return False


def _recent(line: LogLine, options: LogOptions) -> bool:
    return options.since is None or instant(line.time) >= options.since


def _shown(line: LogLine, options: LogOptions) -> bytes:
    return (line.time.encode() + b" " if options.timestamps else b"") + line.text + b"\n"
