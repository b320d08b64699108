"""Skips privileged tests where the machine cannot run them, and says why; no property test fails for a slow machine."""

from __future__ import annotations

import os
import shutil
import sys

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")

NODE_COMMANDS = ("runc", "conmon", "nft", "ip", "busybox")


def why_unprivileged() -> str | None:
    """What this machine lacks to run containers; None if nothing."""
    if sys.platform != "linux":
        return "containers need Linux"
    if os.geteuid() != 0:
        return "containers need root"
    missing = [command for command in NODE_COMMANDS if shutil.which(command) is None]
    return f"not installed: {', '.join(missing)}" if missing else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    reason = why_unprivileged()
    if reason is None:
        return
    for item in items:
        if item.get_closest_marker("privileged"):
            item.add_marker(pytest.mark.skip(reason=reason))
