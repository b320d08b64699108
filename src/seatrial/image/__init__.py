"""OCI images: where they are kept, how they are built, and how their layers become a root file system."""

from typing import TYPE_CHECKING, Any

from seatrial.image.errors import BuildError, HostileArchive, ImageError
from seatrial.image.store import Image, ImageConfig, Layer, Store

if TYPE_CHECKING:
    from seatrial.image.builder import build

__all__ = ["BuildError", "HostileArchive", "Image", "ImageConfig", "ImageError", "Layer", "Store", "build"]


def __getattr__(name: str) -> Any:
    """`build` is imported when it is first used: who only reads images starts faster."""
    if name == "build":
        from seatrial.image import builder

        return builder.build
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
