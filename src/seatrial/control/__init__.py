"""How a cluster behaves: pure decisions, executed by `cluster` and reasoned about by `check`."""

from __future__ import annotations

from typing import Final

from seatrial.control import deployment, endpointslice, garbage, namespace, replicaset
from seatrial.control.controller import Controller

CONTROLLERS: Final[tuple[Controller, ...]] = (
    deployment.CONTROLLER,
    replicaset.CONTROLLER,
    endpointslice.CONTROLLER,
    namespace.CONTROLLER,
    *garbage.CONTROLLERS,
)
"""The controllers of the controller manager; the scheduler has its own (`scheduler.CONTROLLER`)."""

__all__ = ["CONTROLLERS"]
