"""What people run beside Kubernetes, driven by its own configuration objects, and what they do by hand.

On simulated nodes, where no program of theirs runs, these controllers take their place; on real nodes the programs do
their own work.
"""

from __future__ import annotations

from typing import Final

from seatrial.control.addons import csi, descheduler, proportional, vpa
from seatrial.control.controller import Controller

ADDONS: Final[tuple[Controller, ...]] = (
    descheduler.CONTROLLER,
    proportional.CONTROLLER,
    *csi.CONTROLLERS,
    *vpa.CONTROLLERS,
)
