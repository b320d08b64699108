"""Reading a container's log in CRI format: cut, followed, across rotation."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path

import pytest

from seatrial.node import logs
from seatrial.node.logs import LogOptions

FIRST, SECOND, THIRD = (f"2026-01-01T00:00:0{second}.000000001Z" for second in (1, 2, 3))
LOG = f"{FIRST} stdout F one\n{SECOND} stderr F two\n{THIRD} stdout P thr\n{THIRD} stdout F ee\n"


def read(path: Path, options: LogOptions) -> bytes:
    async def all_of_it() -> bytes:
        return b"".join([chunk async for chunk in logs.read(path, options)])

    return asyncio.run(all_of_it())


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "0.log"
    path.write_text(LOG)
    return path


@pytest.mark.parametrize(
    ("options", "shown"),
    [
        (LogOptions(), "one\ntwo\nthree\n"),
        (LogOptions(tail_lines=1), "three\n"),
        (LogOptions(tail_lines=0), ""),
        (LogOptions(limit_bytes=5), "one\nt"),
        (LogOptions(since=datetime(2026, 1, 1, 0, 0, 2, tzinfo=UTC)), "two\nthree\n"),
        (LogOptions(timestamps=True, tail_lines=1), f"{THIRD} three\n"),
    ],
)
def test_a_log_is_cut_as_asked_and_partial_lines_are_joined(log: Path, options: LogOptions, shown: str) -> None:
    assert read(log, options) == shown.encode()


def test_what_was_rotated_away_is_read_first(log: Path) -> None:
    log.with_name("0.log.1").write_text(f"{FIRST} stdout F zero\n")
    assert read(log, LogOptions()) == b"zero\none\ntwo\nthree\n"


def test_following_misses_nothing_written_meanwhile_and_goes_on_after_rotation(log: Path) -> None:
    async def story() -> None:
        alive = True
        following = logs.read(log, LogOptions(follow=True), lambda: alive)
        assert await anext(following) == b"one\n"
        with log.open("a") as writer:
            writer.write(f"{THIRD} stdout F four\n")
        assert [await anext(following) for _ in range(3)] == [b"two\n", b"three\n", b"four\n"]
        log.replace(log.with_name("0.log.1"))
        log.write_text(f"{THIRD} stdout F five\n")
        assert await anext(following) == b"five\n"
        alive = False
        assert await anext(following, None) is None

    asyncio.run(story())


def test_a_full_log_is_moved_aside_and_the_oldest_is_dropped(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "ROTATE_AT_BYTES", 10)
    for number in range(logs.ROTATED_FILES + 2):
        log.write_text(f"{FIRST} stdout F round {number}\n")
        assert logs.rotate(log)
    kept = [int(line.split()[-1]) for file in logs.rotated(log) for line in file.read_text().splitlines()]
    assert kept == list(range(2, logs.ROTATED_FILES + 2))
    log.write_text("short")
    assert not logs.rotate(log)
