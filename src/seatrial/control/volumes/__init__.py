"""PersistentVolumes and the claims on them: binding, provisioning, attaching, protection, generic ephemeral volumes."""

from __future__ import annotations

from typing import Final

from seatrial.control.volumes import attachment, binder, ephemeral, protection, provisioner

CONTROLLERS: Final = (
    *binder.CONTROLLERS,
    *provisioner.CONTROLLERS,
    *protection.CONTROLLERS,
    ephemeral.CONTROLLER,
    attachment.CONTROLLER,
)

__all__ = ["CONTROLLERS"]
