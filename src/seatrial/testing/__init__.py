"""A cluster for tests: in memory, in this process, in virtual time, behind a real Kubernetes API.

`Cluster` is the value to work with; the pytest plugin (`seatrial.testing.plugin`, found by pytest itself) gives one to
each test as the fixture `seatrial_cluster`. Names are loaded when they are first used, since pytest imports this
package at each start, whoever needs it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from seatrial.cluster.cluster import NodeShape
    from seatrial.cluster.simulated import Behaviour
    from seatrial.control.addons.csi import Driver
    from seatrial.testing.cluster import Cluster, Refusal

_HOMES = {
    "Behaviour": "seatrial.cluster.simulated",
    "Cluster": "seatrial.testing.cluster",
    "Driver": "seatrial.control.addons.csi",
    "NodeShape": "seatrial.cluster.cluster",
    "Refusal": "seatrial.testing.cluster",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__} has no attribute {name}")
    return getattr(import_module(_HOMES[name]), name)


__all__ = ["Behaviour", "Cluster", "Driver", "NodeShape", "Refusal"]
