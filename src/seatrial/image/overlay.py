"""Layers seen as one root file system: the kernel's overlayfs.

There is no fallback that copies: a machine whose state directory cannot carry an overlay (one that is itself an
overlay, as in some CI containers) is told so.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from seatrial.image import process
from seatrial.image.errors import ImageError

# mount(2) takes one page of options.
_OPTIONS_BYTES = 4095


def options(layers: Sequence[Path], upper: Path, work: Path) -> str:
    """The options of the mount; `layers` has the lowest first."""
    if not layers:
        raise ImageError("an overlay needs at least one layer", hint="use an empty directory for an image FROM scratch")
    for path in (*layers, upper, work):
        if any(mark in str(path) for mark in ':,\\"'):
            raise ImageError(
                f"overlayfs cannot use the path {path}",
                hint="choose a state directory (--state) without colon, comma, quote and backslash in its name",
            )
    lower = ":".join(str(path) for path in reversed(layers))
    text = f"lowerdir={lower},upperdir={upper},workdir={work},redirect_dir=off,metacopy=off"
    if len(text) > _OPTIONS_BYTES:
        raise ImageError(
            f"{len(layers)} layers are too many to mount at once ({len(text)} of {_OPTIONS_BYTES} bytes of options)",
            hint="join RUN and COPY instructions, or choose a shorter state directory (--state)",
        )
    return text


def mount(layers: Sequence[Path], upper: Path, work: Path, target: Path) -> None:
    """Show `layers`, lowest first, with `upper` on top at `target`. All three directories exist; needs root."""
    argv = ["mount", "-t", "overlay", "overlay", "-o", options(layers, upper, work), str(target)]
    try:
        process.run(argv)
    except process.CommandFailed as error:
        raise ImageError(
            f"the layers cannot be mounted at {target}:\n{error}",
            hint="this needs root, and a state directory (--state) on ext4, xfs or tmpfs rather than on an overlay",
        ) from error


def unmount(target: Path) -> None:
    process.run(["umount", str(target)])
