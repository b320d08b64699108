"""mount(2) and umount2(2): no process for each mount, because a pod start makes several."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Sequence
from pathlib import Path

from seatrial.image import ImageError
from seatrial.image import overlay as image_overlay

MS_BIND = 0x1000
MNT_DETACH = 2

_libc = ctypes.CDLL(None, use_errno=True)


def mount(source: str, target: Path, kind: str, flags: int = 0, options: str = "") -> None:
    """Raises `OSError` that names the target."""
    target.mkdir(parents=True, exist_ok=True)
    if _libc.mount(source.encode(), os.fsencode(target), kind.encode(), ctypes.c_ulong(flags), options.encode()):
        number = ctypes.get_errno()
        raise OSError(number, f"mount {kind} ({options}): {os.strerror(number)}", str(target))


def overlay(layers: Sequence[Path], upper: Path, work: Path, target: Path) -> None:
    """Mount `layers` (lowest first) with a writable `upper` at `target`."""
    for directory in (upper, work):
        directory.mkdir(parents=True, exist_ok=True)
    try:
        options = image_overlay.options(layers, upper, work)
    except ImageError as error:
        raise OSError(str(error)) from error
    mount("overlay", target, "overlay", 0, options)


def unmount(target: Path) -> bool:
    """Take a mount down, even if it is busy; False if nothing was mounted there."""
    return bool(_libc.umount2(os.fsencode(target), MNT_DETACH) == 0)


def below(directory: Path) -> list[Path]:
    """Mount points at or below `directory`, innermost and latest first."""
    prefix = str(directory.resolve())
    found = []
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        path = line.split(" ")[4].encode().decode("unicode_escape")
        if path == prefix or path.startswith(prefix + "/"):
            found.append(Path(path))
    return found[::-1]
