"""PersistentVolumes and claims: binding, provisioning, attaching, expansion, protection, ephemeral volumes."""

from __future__ import annotations

from typing import Final

from seatrial.control.volumes import attachment, binder, ephemeral, expansion, protection, provisioner

CONTROLLERS: Final = (
    *binder.CONTROLLERS,
    *provisioner.CONTROLLERS,
    *protection.CONTROLLERS,
    ephemeral.CONTROLLER,
    attachment.CONTROLLER,
    expansion.CONTROLLER,
)

__all__ = ["CONTROLLERS"]
