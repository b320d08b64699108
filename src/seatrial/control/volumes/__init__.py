"""PersistentVolumes and claims: binding, provisioning, attaching, expansion, protection, ephemeral volumes."""

from __future__ import annotations

from typing import Final

from seatrial.control.volumes import attachment, binder, ephemeral, expansion, protection, provisioner

CONTROLLERS: Final = (
    *protection.CONTROLLERS,  # before the binder: upstream's needs no answer from the API and is the faster one
    *binder.CONTROLLERS,
    *provisioner.CONTROLLERS,
    ephemeral.CONTROLLER,
    attachment.CONTROLLER,
    expansion.CONTROLLER,
)

__all__ = ["CONTROLLERS"]
