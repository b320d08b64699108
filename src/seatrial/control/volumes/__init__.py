"""PersistentVolumes and the claims on them: binding, provisioning, protection, generic ephemeral volumes.

Nothing here attaches: directories of a node need no VolumeAttachment, and no other kind of volume is made here.
"""

from __future__ import annotations

from typing import Final

from seatrial.control.volumes import binder, ephemeral, protection, provisioner

CONTROLLERS: Final = (
    *binder.CONTROLLERS,
    *provisioner.CONTROLLERS,
    *protection.CONTROLLERS,
    ephemeral.CONTROLLER,
)

__all__ = ["CONTROLLERS"]
