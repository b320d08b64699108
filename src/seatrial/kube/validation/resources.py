"""Names and sizes of resources: what containers, pods, quotas and limit ranges may say of them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any, Final

from seatrial.kube.objects import JsonObject
from seatrial.kube.quantities import ZERO, Quantity
from seatrial.kube.validation.fields import (
    NO_NEGATIVE,
    Faults,
    duplicate,
    forbidden,
    invalid,
    is_qualified,
    items,
    label_name,
    missing,
    part,
    qualified_name,
    quantity,
    required,
    unsupported,
)

HUGE_PAGES: Final = "hugepages-"
_NATIVE: Final = "kubernetes.io/"
_OF_CONTAINERS: Final = frozenset(("cpu", "memory", "ephemeral-storage"))
_OBJECT_COUNTS: Final = frozenset(
    {"pods", "services", "replicationcontrollers", "resourcequotas", "secrets", "configmaps"}
    | {"persistentvolumeclaims", "services.nodeports", "services.loadbalancers"}
)
_COMPUTED: Final = frozenset(
    {"cpu", "memory", "ephemeral-storage", "requests.storage"}
    | {f"{side}.{name}" for side in ("requests", "limits") for name in ("cpu", "memory", "ephemeral-storage")}
)
_OF_QUOTAS: Final = _COMPUTED | _OBJECT_COUNTS
_STANDARD: Final = _OF_QUOTAS | {"storage"}
_NO_STANDARD: Final = "must be a standard resource type or fully qualified"

Naming = Callable[[str, str], Faults]


def is_native(name: str) -> bool:
    return "/" not in name or _NATIVE in name


def is_extended(name: str) -> bool:
    return not is_native(name) and not name.startswith("requests.") and is_qualified(f"requests.{name}")


def may_overcommit(name: str) -> bool:
    return is_native(name) and not name.startswith(HUGE_PAGES)


def any_name(path: str, name: str) -> Faults:
    faults = list(qualified_name(path, name))
    yield from faults
    huge = name.startswith((HUGE_PAGES, f"requests.{HUGE_PAGES}"))
    if not faults and "/" not in name and name not in _STANDARD and not huge:
        yield invalid(path, name, _NO_STANDARD)


def container_name(path: str, name: str) -> Faults:
    yield from any_name(path, name)
    if "/" not in name:
        if name not in _OF_CONTAINERS and not name.startswith(HUGE_PAGES):
            yield invalid(path, name, "must be a standard resource for containers")
    elif not is_native(name) and not is_extended(name):
        yield invalid(path, name, "doesn't follow extended resource name standard")


def _pod_name(path: str, name: str) -> Faults:
    faults = list(any_name(path, name))
    yield from faults
    if not faults and name not in ("cpu", "memory") and not name.startswith(HUGE_PAGES):
        yield unsupported(path, name, ("cpu", HUGE_PAGES, "memory"))


def is_standard_of_quotas(name: str) -> bool:
    return name in _OF_QUOTAS or name.startswith((HUGE_PAGES, f"requests.{HUGE_PAGES}"))


def quota_name(path: str, name: str) -> Faults:
    yield from any_name(path, name)
    if "/" not in name and not is_standard_of_quotas(name):
        yield invalid(path, name, "must be a standard resource for quota")


def size(path: str, name: str, amount: object) -> Faults:
    """A size is not negative, and whole where things are counted."""
    value = quantity(amount)
    if value < ZERO:
        yield invalid(path, str(value), NO_NEGATIVE)
    if (name in _OBJECT_COUNTS or is_extended(name)) and value.milli % 1000:
        yield invalid(path, str(value), "must be an integer")


def _pages(path: str, name: str, amount: object) -> Faults:
    value, page = quantity(amount), quantity(name.removeprefix(HUGE_PAGES))
    if page <= ZERO or page.milli % 1000 or value.value % page.value:
        yield invalid(path, str(value), f"{value} is not positive integer multiple of {name}")


def requirements(
    path: str, held: Mapping[str, Any], claims: Collection[str], *, name_rule: Naming = container_name
) -> Faults:
    """What a container, or a pod, requests and is limited to; `claims` are the names of the pod's claims."""
    limits, requests = part(held, "limits"), part(held, "requests")
    for name, amount in limits.items():
        at = f"{path}.limits[{name}]"
        yield from name_rule(at, name)
        yield from size(at, name, amount)
        if name.startswith(HUGE_PAGES):
            yield from _pages(at, name, amount)
    for name in sorted(requests):
        at, amount = f"{path}.requests[{name}]", requests[name]
        yield from name_rule(at, name)
        yield from size(at, name, amount)
        yield from _within(path, name, quantity(amount), quantity(limits[name]) if name in limits else None)
        if name.startswith(HUGE_PAGES):
            yield from _pages(at, name, amount)
    named = limits.keys() | requests.keys()
    if any(name.startswith(HUGE_PAGES) for name in named) and not named & {"cpu", "memory"}:
        yield forbidden(path, "HugePages require cpu or memory")
    yield from _claims(f"{path}.claims", held, claims)


def _within(path: str, name: str, request: Quantity, limit: Quantity | None) -> Faults:
    if limit is None:
        if not may_overcommit(name):
            yield required(f"{path}.limits", "Limit must be set for non overcommitable resources")
    elif request != limit and not may_overcommit(name):
        yield invalid(f"{path}.requests", str(request), f"must be equal to {name} limit of {limit}")
    elif request > limit:
        yield invalid(f"{path}.requests", str(request), f"must be less than or equal to {name} limit of {limit}")


def _claims(path: str, held: Mapping[str, Any], known: Collection[str]) -> Faults:
    seen: set[str] = set()
    for at, claim in items(path, held, "claims"):
        name, request = claim.get("name") or "", claim.get("request") or ""
        if not name:
            yield required(at)
            continue
        if name in seen:
            yield duplicate(at, name)
        else:
            key = f"{name}/{request}" if request else name
            if request:
                yield from label_name(f"{at}.request", request)
            if key in seen:
                yield duplicate(at, key)
            elif not request:
                yield from (duplicate(at, name) for each in seen if each.startswith(f"{name}/"))
            seen.add(key)
        if name not in known:
            listed = f": {', '.join(sorted(known))}" if known else " which is empty"
            yield missing(at, name, f"must be one of the names in pod.spec.resourceClaims{listed}")


def pod_level(path: str, spec: JsonObject) -> Faults:
    """What a pod requests as a whole: at least what its containers do together, and no container more."""
    held, at = spec.get("resources"), f"{path}.resources"
    if held is None:
        return
    if part(spec, "os").get("name") == "windows":
        yield forbidden(at, "may not be set for a windows pod")
        return
    if held.get("claims") is not None:
        yield forbidden(f"{at}.claims", "claims may not be set for Resources at pod-level")
    names = {each.get("name") for _, each in items("", spec, "resourceClaims") if each.get("name")}
    yield from requirements(at, held, names, name_rule=_pod_name)
    requests, limits = part(held, "requests"), part(held, "limits")
    for name, total in _together(spec, "requests").items():
        if name in requests and total > quantity(requests[name]):
            why = f"must be greater than or equal to aggregate container requests of {total}"
            yield invalid(f"{at}.requests[{name}]", str(quantity(requests[name])), why)
    for name, total in _together(spec, "limits").items():
        if name.startswith(HUGE_PAGES) and name in limits and total > quantity(limits[name]):
            why = f"must be greater than or equal to aggregate container limits of {total}"
            yield invalid(f"{at}.limits[{name}]", str(quantity(limits[name])), why)
    for place, container in items(f"{at}.containers", spec, "containers"):
        for name, amount in part(part(container, "resources"), "limits").items():
            if name in limits and quantity(amount) > quantity(limits[name]):
                why = f"must be less than or equal to pod limits of {quantity(limits[name])}"
                yield invalid(f"{place}[{name}].limits", str(quantity(amount)), why)


def _together(spec: JsonObject, side: str) -> dict[str, Quantity]:
    """What the containers of a pod have at once: those that run, or an init container beside the sidecars before it."""
    running: dict[str, Quantity] = {}
    for _, container in items("", spec, "containers"):
        _add(running, _sizes(container, side))
    beside: dict[str, Quantity] = {}
    first: dict[str, Quantity] = {}
    for _, container in items("", spec, "initContainers"):
        mine = _sizes(container, side)
        if container.get("restartPolicy") == "Always":
            _add(running, mine)
            _add(beside, mine)
            mine = beside
        else:
            mine = {name: mine.get(name, ZERO) + beside.get(name, ZERO) for name in mine.keys() | beside.keys()}
        for name, amount in mine.items():
            first[name] = max(first.get(name, ZERO), amount)
    return {name: max(running.get(name, ZERO), first.get(name, ZERO)) for name in running.keys() | first.keys()}


def _sizes(container: Mapping[str, Any], side: str) -> dict[str, Quantity]:
    return {name: quantity(amount) for name, amount in part(part(container, "resources"), side).items()}


def _add(total: dict[str, Quantity], more: Mapping[str, Quantity]) -> None:
    for name, amount in more.items():
        total[name] = total.get(name, ZERO) + amount
