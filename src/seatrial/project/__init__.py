"""Reading a directory into a `System`, every object with its file and line."""

from seatrial.project.loading import SIZE_LIMIT_BYTES, load

__all__ = ["SIZE_LIMIT_BYTES", "load"]
