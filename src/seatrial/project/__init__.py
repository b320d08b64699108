"""Reading a directory into a `System`, every object with its file and line."""

from seatrial.project.loading import load

__all__ = ["load"]
