"""What a pod requests and is limited to in all, as quotas count it and LimitRanges judge it.

Containers run together; an ordinary init container runs alone beside the sidecars started before it; what the pod says
for itself takes the place of the sum. Quantities keep the way they are written (the first one's), because people read
them in `used` and in refusals; the scheduler's sums (`scheduler.demand`) are plain numbers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from seatrial.kube.objects import Container, PodSpec
from seatrial.kube.quantities import Quantity

Sizes = dict[str, Quantity]
Side = Literal["requests", "limits"]


def total(spec: PodSpec, side: Side, *, overhead: bool = True, hugepages: bool = True) -> Sizes:
    """The sum over the pod; `hugepages`: whether what the pod says of huge pages replaces the sum, too."""
    summed: Sizes = {}
    for container in spec.containers:
        _add(summed, _of(container, side))
    sidecars: Sizes = {}
    at_start: Sizes = {}
    for container in spec.init_containers:
        own = _of(container, side)
        if container.restart_policy == "Always":
            _add(summed, own)
            _add(sidecars, own)
            _raise(at_start, sidecars)
        else:
            alone = dict(own)
            _add(alone, sidecars)
            _raise(at_start, alone)
    _raise(summed, at_start)
    for name, size in getattr(spec.resources, side).items():
        if name in ("cpu", "memory") or (hugepages and name.startswith("hugepages-")):
            summed[name] = size
    for name, size in spec.overhead.items() if overhead else ():
        if side == "requests" or summed.get(name):
            summed[name] = summed[name] + size if name in summed else size
    return summed


def _of(container: Container, side: Side) -> Mapping[str, Quantity]:
    sizes: Mapping[str, Quantity] = getattr(container.resources, side)
    return sizes


def _add(sizes: Sizes, more: Mapping[str, Quantity]) -> None:
    for name, size in more.items():
        sizes[name] = sizes[name] + size if name in sizes else size


def _raise(sizes: Sizes, least: Mapping[str, Quantity]) -> None:
    for name, size in least.items():
        if name not in sizes or size > sizes[name]:
            sizes[name] = size
