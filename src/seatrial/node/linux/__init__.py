"""Pods as real Linux containers: runc under conmon, overlayfs, cgroups, a bridge and nftables."""

from __future__ import annotations

from seatrial.node.linux.machine import (
    Addresses,
    Machine,
    RequirementError,
    addresses,
    cleanup,
    require,
    requirements,
)
from seatrial.node.linux.network import Network
from seatrial.node.linux.runtime import Image, Images, LinuxRuntime

__all__ = [
    "Addresses",
    "Image",
    "Images",
    "LinuxRuntime",
    "Machine",
    "Network",
    "RequirementError",
    "addresses",
    "cleanup",
    "require",
    "requirements",
]
