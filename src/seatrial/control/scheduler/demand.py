"""What a pod takes from a node: resources, host ports, a place in the pod count.

The sums are those of upstream's `component-helpers/resource.PodRequests`: containers run together; an ordinary init
container runs alone beside the sidecars (init containers with restartPolicy Always) started before it; pod-level
requests replace the sum; overhead comes on top. A pod's demand is remembered by the identity of its spec (specs are
frozen), so that a thousand pods are summed once and not once per decision.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from seatrial.kube.objects import Container, Pod, PodSpec
from seatrial.kube.quantities import Quantity

T = TypeVar("T")
Amounts = dict[str, int]
"""Resource name to amount: cpu in thousandths, everything else in units (bytes, devices), rounded up."""

# A container without a request counts as this much when nodes are scored (upstream: DefaultMilliCPURequest and
# DefaultMemoryRequest), so that many pods without requests do not all go to one node.
NONZERO: Amounts = {"cpu": 100, "memory": 200 * 1024 * 1024}

_POD_LEVEL = ("cpu", "memory")
_POD_LEVEL_PREFIX = "hugepages-"
_REMEMBERED_MAX = 16384


@dataclass(frozen=True, slots=True)
class HostPort:
    ip: str
    protocol: str
    port: int

    def conflicts(self, other: HostPort) -> bool:
        """0.0.0.0 is every address of the node."""
        return (
            self.port == other.port
            and self.protocol == other.protocol
            and (self.ip == other.ip or "0.0.0.0" in (self.ip, other.ip))
        )


@dataclass(frozen=True, slots=True)
class Demand:
    """`requests` without zeros; `nonzero` is cpu and memory as scoring counts them."""

    requests: Mapping[str, int]
    nonzero: Mapping[str, int]
    ports: tuple[HostPort, ...]


class Memory:
    """Remembers a pure function's results by the identity of its (frozen) arguments, which are kept alive with them."""

    def __init__(self) -> None:
        self._results: dict[tuple[int, ...], tuple[tuple[object, ...], object]] = {}

    def recall(self, arguments: tuple[object, ...], compute: Callable[[], T]) -> T:
        key = tuple(map(id, arguments))
        found = self._results.get(key)
        if found is None:
            if len(self._results) >= _REMEMBERED_MAX:
                self._results.clear()
            found = self._results[key] = (arguments, compute())
        return found[1]  # type: ignore[return-value]  # stored under this key by this caller's compute


_DEMANDS = Memory()


def demand(pod: Pod) -> Demand:
    """What `pod` takes from the node it is on."""
    spec = pod.spec
    return _DEMANDS.recall((spec,), lambda: _demand(spec))


def amounts(quantities: Mapping[str, Quantity]) -> Amounts:
    return {name: amount(name, quantity) for name, quantity in quantities.items()}


def amount(name: str, quantity: Quantity) -> int:
    return quantity.milli if name == "cpu" else quantity.value


def request_fields(spec: PodSpec, resource: str) -> tuple[str, ...]:
    """The paths of the fields of a pod that ask for `resource`."""
    if resource in spec.resources.requests and _is_pod_level(resource):
        return (f"spec.resources.requests.{resource}",)
    fields = [
        f"spec.{section}[{index}].resources.requests.{resource}"
        for section, containers in (("containers", spec.containers), ("initContainers", spec.init_containers))
        for index, container in enumerate(containers)
        if amount(resource, container.resources.requests.get(resource, Quantity.parse(0)))
    ]
    if resource in spec.overhead:
        fields.append(f"spec.overhead.{resource}")
    return tuple(fields)


def is_sidecar(container: Container) -> bool:
    return container.restart_policy == "Always"


def _demand(spec: PodSpec) -> Demand:
    requests = _requests(spec, {})
    nonzero = _requests(spec, NONZERO)
    return Demand(
        requests={name: value for name, value in requests.items() if value},
        nonzero={name: nonzero.get(name, 0) for name in NONZERO},
        ports=tuple(
            HostPort(port.host_ip or "0.0.0.0", port.protocol or "TCP", port.host_port)
            for container in (*filter(is_sidecar, spec.init_containers), *spec.containers)
            for port in container.ports
            if port.host_port > 0
        ),
    )


def _requests(spec: PodSpec, missing: Mapping[str, int]) -> Amounts:
    together: Amounts = {}
    for container in spec.containers:
        _add(together, {**missing, **amounts(container.resources.requests)})
    sidecars: Amounts = {}
    starting: Amounts = {}
    for container in spec.init_containers:
        alone = {**missing, **amounts(container.resources.requests)}
        if is_sidecar(container):
            _add(together, alone)
            _add(sidecars, alone)
            alone = dict(sidecars)
        else:
            _add(alone, sidecars)
        _raise_to(starting, alone)
    _raise_to(together, starting)
    together.update({name: value for name, value in amounts(spec.resources.requests).items() if _is_pod_level(name)})
    _add(together, amounts(spec.overhead))
    return together


def _is_pod_level(resource: str) -> bool:
    return resource in _POD_LEVEL or resource.startswith(_POD_LEVEL_PREFIX)


def _add(total: Amounts, more: Mapping[str, int]) -> None:
    for name, value in more.items():
        total[name] = total.get(name, 0) + value


def _raise_to(total: Amounts, least: Mapping[str, int]) -> None:
    for name, value in least.items():
        total[name] = max(total.get(name, 0), value)
