"""What a cluster has once: Nodes, RuntimeClasses, PriorityClasses, Leases, APIServices."""

from __future__ import annotations

from typing import Final

from seatrial.kube.objects import JsonObject
from seatrial.kube.validation.affinity import taint_effect, tolerations
from seatrial.kube.validation.fields import (
    Faults,
    chosen,
    duplicate,
    forbidden,
    invalid,
    items,
    label_1035,
    label_name,
    labels,
    negative,
    network,
    no_label_value,
    parsed_network,
    part,
    path_segment,
    qualified_name,
    required,
    subdomain,
    unchanged,
)
from seatrial.kube.validation.kinds import Rules
from seatrial.kube.validation.resources import requirements, size

# --- nodes ---


def _node(raw: JsonObject, minor: int) -> Faults:
    spec = part(raw, "spec")
    yield from _taints(spec)
    for side in ("capacity", "allocatable"):
        for name, amount in part(part(raw, "status"), side).items():
            yield from size(f"status.{side}.{name}", name, amount)


def _taints(spec: JsonObject) -> Faults:
    """Upstream's path: taints were an annotation once."""
    seen: set[tuple[str, str]] = set()
    for at, taint in items("metadata.taints", spec, "taints"):
        key, value, effect = taint.get("key") or "", taint.get("value") or "", taint.get("effect") or ""
        yield from qualified_name(f"{at}.key", key)
        if wrong := ";".join(no_label_value(value)):
            yield invalid(f"{at}.value", value, wrong)
        yield from taint_effect(f"{at}.effect", effect)
        if (key, effect) in seen:
            shown = {"Key": key, "Value": value, "Effect": effect, "TimeAdded": taint.get("timeAdded")}
            yield duplicate(at, shown, "taints must be unique by key and effect pair")
        seen.add((key, effect))


def _ranges(spec: JsonObject) -> list[str]:
    """As upstream makes the older field and the newer one agree."""
    first, listed = spec.get("podCIDR"), spec.get("podCIDRs") or []
    return [first] if first and (not listed or listed[0] != first) else list(listed)


def _new_node(raw: JsonObject, minor: int) -> Faults:
    ranges = _ranges(part(raw, "spec"))
    for number, text in enumerate(ranges):
        yield from network(f"spec.podCIDRs[{number}]", text or "", minor)
    families = [found.version for text in ranges if (found := parsed_network(text or "")) is not None]
    if len(ranges) > 2 or (len(ranges) > 1 and len({*families}) < 2):
        yield invalid("spec.podCIDRs", ranges, "may specify no more than one CIDR for each IP family")


def _fixed_node(raw: JsonObject, before: JsonObject, minor: int) -> Faults:
    new, old = part(raw, "spec"), part(before, "spec")
    yield from _new_node(raw, minor)
    had, why = _ranges(old), 'node updates may not change podCIDR except from "" to valid'
    if had and len(had) != len(_ranges(new)):
        yield forbidden("spec.podCIDRs", why)
    elif had:
        yield from (forbidden("spec.podCIDRs", why) for one, two in zip(had, _ranges(new), strict=True) if one != two)
    if old.get("providerID") and new.get("providerID") != old["providerID"]:
        what = "modified" if new.get("providerID") else "cleared"
        yield invalid("spec.providerID", None, f"field cannot be {what} once set")
    if (new.get("externalID") or "") != (old.get("externalID") or ""):
        yield forbidden("spec.externalID", "may not be updated")


# --- classes of pods ---


def _runtime_class(raw: JsonObject, minor: int) -> Faults:
    if not raw.get("handler"):
        yield required("handler")
    else:
        yield from label_name("handler", raw["handler"])
    if raw.get("overhead") is not None:
        yield from requirements("overhead", {"limits": part(raw["overhead"], "podFixed")}, ())
    scheduling = part(raw, "scheduling")
    yield from labels("scheduling.nodeSelector", part(scheduling, "nodeSelector"))
    yield from tolerations("scheduling", scheduling)
    seen: set[tuple[object, ...]] = set()
    for at, each in items("scheduling.tolerations", scheduling, "tolerations"):
        key = tuple(each.get(name) or "" for name in ("key", "operator", "value", "effect"))
        if key in seen:
            yield duplicate(at, None)
        seen.add(key)


def _fixed_runtime_class(raw: JsonObject, before: JsonObject, minor: int) -> Faults:
    return unchanged("handler", raw.get("handler"), before.get("handler"))


_HIGHEST: Final = 1_000_000_000
SYSTEM_VALUES: Final = {"system-node-critical": 2_000_001_000, "system-cluster-critical": 2_000_000_000}


def _priority_class(raw: JsonObject, minor: int) -> Faults:
    name, value = part(raw, "metadata").get("name") or "", raw.get("value") or 0
    if name.startswith("system-"):
        if why := _no_system_class(name, value, raw.get("globalDefault") is True):
            reserved = "priority class names with 'system-' prefix are reserved for system use only. error: "
            yield forbidden("metadata.name", f"{reserved}{why}")
    elif value > _HIGHEST:
        yield forbidden("value", f"maximum allowed value of a user defined priority is {_HIGHEST}")
    if raw.get("preemptionPolicy") is not None:
        yield from chosen("preemptionPolicy", raw["preemptionPolicy"], ("PreemptLowerPriority", "Never"))


def _no_system_class(name: str, value: int, is_default: bool) -> str:
    known = SYSTEM_VALUES.get(name)
    if known is None:
        return f"{name} is not a known system priority class"
    if value != known:
        return f"value of {name} PriorityClass must be {known}"
    return f"globalDefault of {name} PriorityClass must be false" if is_default else ""


def _fixed_priority_class(raw: JsonObject, before: JsonObject, minor: int) -> Faults:
    if (raw.get("value") or 0) != (before.get("value") or 0):
        yield forbidden("value", "may not be changed in an update.")
    yield from unchanged("preemptionPolicy", raw.get("preemptionPolicy"), before.get("preemptionPolicy"))


# --- the rest ---


def _lease(raw: JsonObject, minor: int) -> Faults:
    spec = part(raw, "spec")
    seconds = spec.get("leaseDurationSeconds")
    if seconds is not None and seconds <= 0:
        yield invalid("spec.leaseDurationSeconds", seconds, "must be greater than 0")
    yield from negative(spec, ("leaseTransitions",), "spec")


def _api_service(raw: JsonObject, minor: int) -> Faults:
    spec, metadata = part(raw, "spec"), part(raw, "metadata")
    group, version, service = spec.get("group") or "", spec.get("version") or "", spec.get("service")
    wanted = f"{version}.{group}"
    for field in ("generateName", "name"):
        name, at = metadata.get(field) or "", f"metadata.{field}"
        if name and not list(path_segment(at, name)) and name != wanted:
            yield invalid(at, name, f'must be `spec.version+"."+spec.group`: "{wanted}"')
    if not group and version != "v1":
        yield required("spec.group", "only v1 may have an empty group and it better be legacy kube")
    if group:
        yield from subdomain("spec.group", group)
    yield from label_1035("spec.version", version)
    for field, most in (("groupPriorityMinimum", 20_000), ("versionPriority", 1000)):
        if not 0 < (spec.get(field) or 0) <= most:
            yield invalid(f"spec.{field}", spec.get(field) or 0, f"must be positive and less than {most}")
    unchecked, bundle = spec.get("insecureSkipTLSVerify") is True, spec.get("caBundle")
    if service is None:
        if bundle:
            yield invalid("spec.caBundle", f"{len(bundle)} bytes", "local APIServices may not have a caBundle")
        if unchecked:
            yield invalid("spec.insecureSkipTLSVerify", True, "local APIServices may not have insecureSkipTLSVerify")
        return
    for field in ("namespace", "name"):
        if not service.get(field):
            yield required(f"spec.service.{field}")
    number = service.get("port", 443)
    if not 1 <= number <= 65535:
        yield invalid("spec.service.port", number, "port is not valid: must be between 1 and 65535, inclusive")
    if unchecked and bundle:
        yield invalid("spec.insecureSkipTLSVerify", True, "may not be true if caBundle is present")


def _migration(raw: JsonObject, minor: int) -> Faults:
    held, at = part(part(raw, "spec"), "resource"), "spec.resource"
    if not held.get("resource"):
        yield required(f"{at}.resource")
    else:
        yield from label_1035(f"{at}.resource", held["resource"])
    if held.get("group"):
        yield from subdomain(f"{at}.group", held["group"])


def _fixed_migration(raw: JsonObject, before: JsonObject, minor: int) -> Faults:
    return unchanged("spec", part(raw, "spec"), part(before, "spec"))


RULES: Final = {
    "Node": Rules(valid=_node, new=_new_node, fixed=_fixed_node),
    "RuntimeClass": Rules(valid=_runtime_class, fixed=_fixed_runtime_class, core=False),
    "PriorityClass": Rules(valid=_priority_class, fixed=_fixed_priority_class),
    "Lease": Rules(valid=_lease, core=False),
    "APIService": Rules(valid=_api_service, named=path_segment, core=False, remeta=True),
    "StorageVersionMigration": Rules(valid=_migration, fixed=_fixed_migration),
}
