"""The VerticalPodAutoscaler (v1.8): requests that follow what containers use.

Three programs upstream, driven by VerticalPodAutoscaler objects whose definition users apply themselves: the
recommender writes what containers should request into the object's status, the updater evicts (or resizes) pods that
differ from it, the admission gives it to the pods that are made.
"""

from __future__ import annotations

from typing import Final

from seatrial.control.addons.vpa import admission, recommender, targets, updater
from seatrial.control.controller import Controller

CONTROLLERS: Final[tuple[Controller, ...]] = (recommender.CONTROLLER, updater.CONTROLLER)

__all__ = ["CONTROLLERS", "admission", "recommender", "targets", "updater"]
