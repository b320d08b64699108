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

from seatrial.control.controller import NEWEST_MINOR
from seatrial.kube.objects import Container, ContainerStatus, Pod, PodSpec
from seatrial.kube.quantities import Quantity

T = TypeVar("T")
Amounts = dict[str, int]
"""Resource name to amount: cpu in thousandths, everything else in units (bytes, devices), rounded up."""

# A container without a request counts as this much when nodes are scored (upstream: DefaultMilliCPURequest and
# DefaultMemoryRequest), so that many pods without requests do not all go to one node.
NONZERO: Amounts = {"cpu": 100, "memory": 200 * 1024 * 1024}

SIDECAR_PORTS_SINCE = 34
RESIZE_SINCE = 33  # the minor version where a placed pod holds more in the middle of a resize
NONZERO_WHOLE_SINCE = 32  # before it what a placed pod counts as for scoring left sidecars beside the containers out
POD_LEVEL_SINCE = 34  # the minor version where pod-level resources became the default
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
    """`requests` without zeros; `nonzero` is cpu and memory as scoring counts them on a node.

    `scored` is what NodeResourcesFit scores the pod by when it is placed: the same without pod-level requests, which
    upstream leaves out there.
    """

    requests: Mapping[str, int]
    nonzero: Mapping[str, int]
    scored: Mapping[str, int]
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
_HELD = Memory()


def demand(pod: Pod, minor: int = NEWEST_MINOR) -> Demand:
    """What `pod` asks of the node it is to be placed on."""
    spec = pod.spec
    return _DEMANDS.recall((spec, minor), lambda: _demand(spec, minor))


def held(pod: Pod, minor: int = NEWEST_MINOR) -> Demand:
    """What `pod` takes from the node it is on: in the middle of a resize the most of what it asks for, was given and
    uses (KEP 1287); if the resize cannot be done (`Infeasible`) what it asks for does not count.
    """
    status = pod.status
    statuses = (*status.container_statuses, *status.init_container_statuses)
    if minor < RESIZE_SINCE or not any(each.allocated_resources or each.resources.requests for each in statuses):
        return demand(pod, minor)
    return _HELD.recall((pod.spec, status, minor), lambda: _held(pod, statuses, minor))


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


def _demand(spec: PodSpec, minor: int) -> Demand:
    requests = _requests(spec, {}, minor)
    return _as_demand(spec, requests, _requests(spec, _uncounted(spec, requests, minor), minor), minor)


def _held(pod: Pod, statuses: tuple[ContainerStatus, ...], minor: int) -> Demand:
    spec = pod.spec
    pending = next((each for each in pod.status.conditions if each.type == "PodResizePending"), None)
    infeasible = pending is not None and pending.reason == "Infeasible"
    by_name = {each.name: each for each in statuses}
    given: dict[str, Amounts] = {}
    used: dict[str, Amounts] = {}
    for container in (*spec.containers, *spec.init_containers):
        found = by_name.get(container.name)
        wanted = {} if infeasible else amounts(container.resources.requests)
        given[container.name] = amounts(found.allocated_resources) if found and found.allocated_resources else wanted
        used[container.name] = (
            amounts(found.resources.requests) if found and found.resources.requests else given[container.name]
        )

    def most(missing: Mapping[str, int]) -> Amounts:
        total: Amounts = {} if infeasible else _requests(spec, missing, minor)
        for amounts_of in (given, used):
            _raise_to(total, _requests(spec, missing, minor, amounts_of))
        return total

    requests = most({})
    return _as_demand(spec, requests, most(_uncounted(spec, requests, minor)), minor)


def _uncounted(spec: PodSpec, requests: Amounts, minor: int) -> Mapping[str, int]:
    """What a container without request counts as; with pod-level requests only where nobody asks for anything."""
    if minor >= POD_LEVEL_SINCE and any(map(_is_pod_level, spec.resources.requests)):
        return {name: value for name, value in NONZERO.items() if name not in requests}
    return NONZERO


def _as_demand(spec: PodSpec, requests: Amounts, nonzero: Amounts, minor: int) -> Demand:
    sidecars = filter(is_sidecar, spec.init_containers) if minor >= SIDECAR_PORTS_SINCE else ()
    return Demand(
        requests={name: value for name, value in requests.items() if value},
        nonzero={name: nonzero.get(name, 0) for name in NONZERO}
        if minor >= NONZERO_WHOLE_SINCE
        else _nonzero_by_container(spec),
        scored=_requests(spec, NONZERO, 0) if spec.resources.requests else nonzero,
        ports=tuple(
            HostPort(port.host_ip or "0.0.0.0", port.protocol or "TCP", port.host_port)
            for container in (*sidecars, *spec.containers)
            for port in container.ports
            if port.host_port > 0
        ),
    )


def _requests(
    spec: PodSpec, missing: Mapping[str, int], minor: int, by_container: Mapping[str, Amounts] | None = None
) -> Amounts:
    def of(container: Container) -> Amounts:
        if by_container is not None:
            return {**missing, **by_container[container.name]}
        return {**missing, **amounts(container.resources.requests)}

    together: Amounts = {}
    for container in spec.containers:
        _add(together, of(container))
    sidecars: Amounts = {}
    starting: Amounts = {}
    for container in spec.init_containers:
        alone = of(container)
        if is_sidecar(container):
            _add(together, alone)
            _add(sidecars, alone)
            alone = dict(sidecars)
        else:
            _add(alone, sidecars)
        _raise_to(starting, alone)
    _raise_to(together, starting)
    if minor >= POD_LEVEL_SINCE:
        whole = amounts(spec.resources.requests)
        together.update({name: value for name, value in whole.items() if _is_pod_level(name)})
    _add(together, amounts(spec.overhead))
    return together


def _nonzero_by_container(spec: PodSpec) -> Amounts:
    """The larger of the containers' sum and the largest init container; sidecars count beside other init containers."""
    together: Amounts = {}
    for container in spec.containers:
        _add(together, {**NONZERO, **amounts(container.resources.requests)})
    sidecars: Amounts = {}
    for container in spec.init_containers:
        asked = amounts(container.resources.requests)
        if is_sidecar(container):
            _add(sidecars, asked)
            asked = dict(sidecars)
        else:
            _add(asked, sidecars)
        _raise_to(together, {**NONZERO, **asked})
    _add(together, amounts(spec.overhead))
    return {name: together[name] for name in NONZERO}


def _is_pod_level(resource: str) -> bool:
    return resource in _POD_LEVEL or resource.startswith(_POD_LEVEL_PREFIX)


def _add(total: Amounts, more: Mapping[str, int]) -> None:
    for name, value in more.items():
        total[name] = total.get(name, 0) + value


def _raise_to(total: Amounts, least: Mapping[str, int]) -> None:
    for name, value in least.items():
        total[name] = max(total.get(name, 0), value)
