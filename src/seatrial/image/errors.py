"""What can go wrong with images: every message says what happened, the likely cause and the next step."""

from __future__ import annotations


class ImageError(Exception):
    """An image cannot be read, built, kept or handed out. `hint` is the next step, if one is known."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n  hint: {self.hint}" if self.hint else self.message


class HostileArchive(ImageError):  # noqa: N818 - named for what it is
    """An archive that tries to leave the directory it is unpacked into, or is not what its digest says."""


class BuildError(ImageError):
    """A Dockerfile is wrong or asks for too much, or a step of it failed; the message has its place."""
