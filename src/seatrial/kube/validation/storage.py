"""PersistentVolumes and their claims, classes, CSI drivers and nodes, attachments, capacities.

Upstream ends the message about a changed spec with a diff of Go structs; ours does not.
"""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from typing import Any, Final

from seatrial.kube.faults import Fault
from seatrial.kube.objects import JsonObject
from seatrial.kube.quantities import ZERO
from seatrial.kube.validation.affinity import node_selector
from seatrial.kube.validation.claims import VOLUME_MODES, access_modes, claim_spec, positive_size
from seatrial.kube.validation.fields import (
    IMMUTABLE,
    NO_NEGATIVE,
    Faults,
    byte_length,
    duplicate,
    forbidden,
    invalid,
    items,
    label_name,
    label_selector,
    negative,
    one_of,
    part,
    qualified_name,
    quantity,
    required,
    same,
    subdomain,
    too_long,
    unchanged,
    unsupported,
)
from seatrial.kube.validation.kinds import Rules
from seatrial.kube.validation.volumes import ISCSI_TOO_LONG, MORE_THAN_ONE, driver_name, source

_BETA_CLASS: Final = "volume.beta.kubernetes.io/storage-class"
_POLICIES: Final = ("Delete", "Recycle", "Retain")
_SOURCES: Final = (
    "hostPath",
    "gcePersistentDisk",
    "awsElasticBlockStore",
    "glusterfs",
    "flocker",
    "nfs",
    "rbd",
    "quobyte",
    "cephfs",
    "iscsi",
    "cinder",
    "fc",
    "flexVolume",
    "azureFile",
    "vsphereVolume",
    "photonPersistentDisk",
    "portworxVolume",
    "azureDisk",
    "scaleIO",
    "local",
    "storageos",
    "csi",
)
"""In the order in which upstream looks."""
_SECRETS: Final = (
    "controllerPublishSecretRef",
    "controllerExpandSecretRef",
    "nodePublishSecretRef",
    "nodeExpandSecretRef",
)


# --- volumes ---


def _volume(raw: JsonObject, minor: int) -> Faults:
    name = part(raw, "metadata").get("name") or ""
    yield from volume_spec("spec", part(raw, "spec"), name)


def volume_spec(path: str, spec: JsonObject, name: str, *, inline: bool = False) -> Faults:
    """`inline`: of a VolumeAttachment, which has no volume."""
    outside = "may not be specified in the context of inline volumes"
    if inline:
        for field in ("claimRef", "capacity"):
            if spec.get(field):
                yield forbidden(f"{path}.{field}", outside)
        if spec.get("csi") is None:
            yield required(f"{path}.csi", "has to be specified in the context of inline volumes")
    if not spec.get("accessModes"):
        yield required(f"{path}.accessModes")
    yield from access_modes(f"{path}.accessModes", spec.get("accessModes") or ())
    if not inline:
        yield from _capacity(f"{path}.capacity", part(spec, "capacity"))
    policy = spec.get("persistentVolumeReclaimPolicy")
    if policy and inline:
        if policy != "Retain":
            yield forbidden(
                f"{path}.persistentVolumeReclaimPolicy", "may only be Retain in the context of inline volumes"
            )
    elif policy:
        yield from one_of(f"{path}.persistentVolumeReclaimPolicy", policy, _POLICIES)
    affinity = spec.get("nodeAffinity")
    if affinity is not None and inline:
        yield forbidden(f"{path}.nodeAffinity", outside)
    elif affinity is not None:
        if affinity.get("required") is None:
            yield required(f"{path}.nodeAffinity.required", "must specify required node constraints")
        else:
            yield from node_selector(f"{path}.nodeAffinity.required", affinity["required"])
    yield from _volume_sources(path, spec, name, bound_to_node=affinity is not None and not inline)
    if spec.get("storageClassName"):
        if inline:
            yield forbidden(f"{path}.storageClassName", outside)
        else:
            yield from subdomain(f"{path}.storageClassName", spec["storageClassName"])
    mode = spec.get("volumeMode")
    if mode is not None and inline:
        if mode != "Filesystem":
            why = "may not specify volumeMode other than Filesystem in the context of inline volumes"
            yield forbidden(f"{path}.volumeMode", why)
    elif mode is not None:
        yield from one_of(f"{path}.volumeMode", mode, VOLUME_MODES)
    attributes = spec.get("volumeAttributesClassName")
    if attributes is not None and not inline:
        if not attributes:
            yield required(f"{path}.volumeAttributesClassName", "an empty string is disallowed")
        else:
            yield from subdomain(f"{path}.volumeAttributesClassName", attributes)
        if spec.get("csi") is None:
            yield required(f"{path}.csi", "has to be specified when using volumeAttributesClassName")


def _capacity(path: str, capacity: Mapping[str, Any]) -> Faults:
    if not capacity:
        yield required(path)
    if "storage" not in capacity or len(capacity) > 1:
        shown = ",".join(f'"{name}":"{amount}"' for name, amount in sorted(capacity.items()))
        text = f'Unsupported value: {{{shown}}}: supported values: "storage"'
        yield Fault("FieldValueNotSupported", path, text)
    for name, amount in sorted(capacity.items()):
        size = quantity(amount)
        if size.value < 0:
            yield invalid(f"{path}[{name}]", size.value, "must be a valid resource quantity")
        yield from positive_size(f"{path}[{name}]", amount)


def _volume_sources(path: str, spec: JsonObject, name: str, *, bound_to_node: bool) -> Faults:
    present = [each for each in _SOURCES if spec.get(each) is not None]
    for number, each in enumerate(present):
        if number and each != "flexVolume":
            yield forbidden(f"{path}.{'cephFS' if each == 'cephfs' else each}", MORE_THAN_ONE)
            continue
        at = f"{path}.{'persistentDisk' if each == 'gcePersistentDisk' else each}"
        yield from _own_source(at, each, spec[each], name)
        if each == "local" and not bound_to_node:
            yield required(f"{path}.nodeAffinity", "Local volume requires node affinity")
    if not present:
        yield required(path, "must specify a volume type")
    if "hostPath" in present and spec.get("persistentVolumeReclaimPolicy") == "Recycle":
        where = spec["hostPath"].get("path") or ""
        if where and posixpath.normpath(where).lstrip("/") == "":
            yield forbidden(f"{path}.persistentVolumeReclaimPolicy", "may not be 'recycle' for a hostPath mount of '/'")


def _own_source(path: str, kind: str, held: JsonObject, name: str) -> Faults:
    """A source as a volume has it, which differs from a pod's by the namespaces of secrets."""
    if kind == "csi":
        yield from driver_name(f"{path}.driver", held.get("driver") or "")
        if not held.get("volumeHandle"):
            yield required(f"{path}.volumeHandle")
        for field in _SECRETS:
            if held.get(field) is not None:
                yield from _secret(f"{path}.{field}", held[field])
        return
    if kind == "iscsi":
        portal = held.get("targetPortal") or ""
        if held.get("initiatorName") is not None and len(f"{name}:{portal}") > 64:
            yield invalid(f"{path}.targetportal", portal, ISCSI_TOO_LONG)
    yield from source(path, kind, held, of_volume=True)
    if kind == "iscsi" and held.get("secretRef") is not None and not held["secretRef"].get("name"):
        yield required(f"{path}.secretRef.name")
    if kind == "azureFile" and held.get("secretNamespace") == "":
        yield required(f"{path}.secretNamespace")
    if kind == "glusterfs" and (space := held.get("endpointsNamespace")) is not None:
        at = f"{path}.endpointsNamespace"
        if not space:
            yield invalid(at, space, "if the endpointnamespace is set, it must be a valid namespace name")
        else:
            yield from label_name(at, space)


def _secret(path: str, held: JsonObject) -> Faults:
    for field, rule in (("name", subdomain), ("namespace", label_name)):
        if not held.get(field):
            yield required(f"{path}.{field}")
        else:
            yield from rule(f"{path}.{field}", held[field])


def _fixed_volume(raw: JsonObject, before: JsonObject, minor: int) -> Faults:
    new, old = part(raw, "spec"), part(before, "spec")
    sides = [{name: each.get(name) for name in _SOURCES} for each in (new, old)]
    if sides[0]["csi"] and sides[1]["csi"] and sides[1]["csi"].get("controllerExpandSecretRef") is None:
        sides[0]["csi"] = {k: v for k, v in sides[0]["csi"].items() if k != "controllerExpandSecretRef"}
    if not same(*sides):
        yield forbidden("spec.persistentvolumesource", "spec.persistentvolumesource is immutable after creation")
    if not same(new.get("volumeMode"), old.get("volumeMode")):
        yield invalid("volumeMode", new.get("volumeMode"), IMMUTABLE)
    if old.get("nodeAffinity") is not None and not same(new.get("nodeAffinity"), old["nodeAffinity"]):
        why = f"{IMMUTABLE}, except for updating from beta label to GA"
        yield invalid("nodeAffinity", new.get("nodeAffinity"), why)
    if old.get("volumeAttributesClassName") is not None and new.get("volumeAttributesClassName") is None:
        yield forbidden("spec.volumeAttributesClassName", "update from non-nil value to nil is forbidden")


# --- claims ---


def _claim(raw: JsonObject, minor: int) -> Faults:
    return claim_spec("spec", part(raw, "spec"))


def _fixed_claim(raw: JsonObject, before: JsonObject, minor: int) -> Faults:
    """A volume's name may come once, a class where there was none; a bound claim may ask for another size."""
    old, new = dict(part(before, "spec")), dict(part(raw, "spec"))
    bound = part(raw, "status").get("phase") == "Bound"
    old_size, new_size = _storage(old), _storage(new)
    annotated = part(part(before, "metadata"), "annotations").get(_BETA_CLASS)
    if not same(part(part(raw, "metadata"), "annotations").get(_BETA_CLASS), annotated):
        yield invalid(f"metadata.annotations.{_BETA_CLASS}", None, IMMUTABLE)
    if not old.get("volumeName"):
        old["volumeName"] = new.get("volumeName", "")
    named = new.get("storageClassName")
    if old.get("storageClassName") is None and named is not None and annotated in (None, named):
        old["storageClassName"] = named
    if bound:
        new["resources"] = {**part(new, "resources"), "requests": part(old, "resources").get("requests")}
        new["volumeAttributesClassName"] = old.get("volumeAttributesClassName")
    if not same(old, new):
        why = (
            "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims"
        )
        yield forbidden("spec", why)
    if new_size < old_size and new_size <= quantity(part(part(before, "status"), "capacity").get("storage")):
        yield forbidden("spec.resources.requests.storage", "field can not be less than status.capacity")
    old, new = part(before, "spec"), part(raw, "spec")
    if not same(old.get("volumeMode"), new.get("volumeMode")):
        yield invalid("volumeMode", new.get("volumeMode"), IMMUTABLE)
    wanted = new.get("volumeAttributesClassName")
    current = part(before, "status").get("currentVolumeAttributesClassName")
    if current is not None and not wanted and wanted != old.get("volumeAttributesClassName"):
        what = "nil" if wanted is None else "empty string"
        why = f"update to {what} is forbidden when status.currentVolumeAttributesClassName is not nil"
        yield forbidden("spec.volumeAttributesClassName", why)


def _storage(spec: JsonObject) -> Any:
    return quantity(part(part(spec, "resources"), "requests").get("storage"))


# --- classes ---

_MOST_PARAMETERS: Final = 512
_LARGEST_PARAMETERS: Final = 256 * 1024


def _storage_class(raw: JsonObject, minor: int) -> Faults:
    yield from _provisioner("provisioner", raw.get("provisioner") or "")
    yield from _parameters(part(raw, "parameters"), may_lack=True)
    if raw.get("reclaimPolicy"):
        yield from one_of("reclaimPolicy", raw["reclaimPolicy"], ("Delete", "Retain"))
    yield from one_of("volumeBindingMode", raw.get("volumeBindingMode"), ("Immediate", "WaitForFirstConsumer"))
    seen: list[dict[str, set[str]]] = [{}]  # as upstream begins: a term without requirements is one too many
    for at, term in items("allowedTopologies", raw, "allowedTopologies"):
        named: dict[str, set[str]] = {}
        for place, each in items(f"{at}.matchLabelExpressions", term, "matchLabelExpressions"):
            key, values = each.get("key") or "", each.get("values") or ()
            if not values:
                yield required(f"{place}.values")
            for number, value in enumerate(values):
                if value in values[:number]:
                    yield duplicate(f"{place}.values[{number}]", value)
            yield from qualified_name(f"{place}.key", key)
            if key in named:
                yield duplicate(f"{place}.key", key)
            named[key] = set(values)
        yield from (duplicate(f"{at}.matchLabelExpressions", "") for other in seen if other == named)
        seen.append(named)


def _provisioner(path: str, name: str) -> Faults:
    if not name:
        yield required(path)
    else:
        yield from qualified_name(path, name.lower())


def _parameters(given: Mapping[str, str], *, may_lack: bool) -> Faults:
    if len(given) > _MOST_PARAMETERS:
        yield too_long("parameters", _MOST_PARAMETERS)
        return
    if "" in given:
        yield invalid("parameters", "", "field can not be empty.")
    if sum(byte_length(key) + byte_length(value or "") for key, value in given.items()) > _LARGEST_PARAMETERS:
        yield too_long("parameters", _LARGEST_PARAMETERS)
    if not given and not may_lack:
        yield required("parameters", "must contain at least one key/value pair")


def _fixed_class(raw: JsonObject, before: JsonObject, minor: int) -> Faults:
    for name in ("parameters", "provisioner", "reclaimPolicy", "volumeBindingMode"):
        if not same(raw.get(name), before.get(name)):
            yield invalid(name, None, IMMUTABLE)


def _attributes_class(raw: JsonObject, minor: int) -> Faults:
    yield from _provisioner("driverName", raw.get("driverName") or "")
    yield from _parameters(part(raw, "parameters"), may_lack=False)


def _fixed_attributes(raw: JsonObject, before: JsonObject, minor: int) -> Faults:
    for name in ("driverName", "parameters"):
        if not same(raw.get(name), before.get(name)):
            yield forbidden(name, f"updates to {name} are forbidden.")


# --- drivers ---


def _csi_driver(raw: JsonObject, minor: int) -> Faults:
    spec = part(raw, "spec")
    if spec.get("fsGroupPolicy") is not None:
        yield from one_of("spec.fsGroupPolicy", spec["fsGroupPolicy"], ("File", "None", "ReadWriteOnceWithFSType"))
    seen: set[str] = set()
    for at, each in items("spec.tokenRequests", spec, "tokenRequests"):
        audience, seconds = each.get("audience") or "", each.get("expirationSeconds")
        if audience in seen:
            yield duplicate(f"{at}.audience", audience)
            continue
        seen.add(audience)
        if seconds is not None and seconds < 600:
            yield invalid(f"{at}.expirationSeconds", seconds, "may not specify a duration less than 10 minutes")
        if seconds is not None and seconds > 1 << 32:
            yield invalid(f"{at}.expirationSeconds", seconds, "may not specify a duration larger than 2^32 seconds")
    for mode in spec.get("volumeLifecycleModes") or ():
        if mode not in ("Persistent", "Ephemeral"):
            yield unsupported("spec.volumeLifecycleModes", mode or "", ("Persistent", "Ephemeral"))
    period = spec.get("nodeAllocatableUpdatePeriodSeconds")
    if period is not None and period < 10:
        why = "must be greater than or equal to 10 seconds"
        yield invalid("spec.nodeAllocatableUpdatePeriodSeconds", period, why)
    if spec.get("serviceAccountTokenInSecrets") is not None and not spec.get("tokenRequests"):
        why = "serviceAccountTokenInSecrets is set but no tokenRequests are specified"
        yield invalid("spec.serviceAccountTokenInSecrets", spec["serviceAccountTokenInSecrets"], why)


def _fixed_driver(raw: JsonObject, before: JsonObject, minor: int) -> Faults:
    new, old = part(raw, "spec"), part(before, "spec")
    yield from unchanged("spec.attachedRequired", new.get("attachRequired", True), old.get("attachRequired", True))
    modes = [each.get("volumeLifecycleModes") or ["Persistent"] for each in (new, old)]
    yield from unchanged("spec.volumeLifecycleModes", *modes)


_LONGEST_NODE_ID: Final = 256


def _csi_node(raw: JsonObject, minor: int) -> Faults:
    seen: set[str] = set()
    for at, driver in items("spec.drivers", part(raw, "spec"), "drivers"):
        name, node = driver.get("name") or "", driver.get("nodeID") or ""
        yield from driver_name(f"{at}.name", name)
        if not node:
            yield required(f"{at}.nodeID")
        if byte_length(node) > _LONGEST_NODE_ID:
            yield invalid(f"{at}.nodeID", node, f"must be {_LONGEST_NODE_ID} characters or less")
        yield from negative(part(driver, "allocatable"), ("count",), f"{at}.allocatable")
        if name in seen:
            yield duplicate(f"{at}.name", name)
        seen.add(name)
        keys = driver.get("topologyKeys") or ()
        for number, key in enumerate(keys):
            if not key:
                yield required(at)
            if key in keys[:number]:
                yield duplicate(at, key)
            yield from qualified_name(at, key or "")


def _fixed_csi_node(raw: JsonObject, before: JsonObject, minor: int) -> Faults:
    old = {each.get("name"): each for _, each in items("", part(before, "spec"), "drivers")}
    for _, driver in items("", part(raw, "spec"), "drivers"):
        had = old.get(driver.get("name"))
        if had is not None:
            sides = [{k: v for k, v in each.items() if k != "allocatable"} for each in (driver, had)]
            yield from unchanged("spec.drivers", *sides)


def _capacity_of_class(raw: JsonObject, minor: int) -> Faults:
    yield from label_selector("nodeTopology", raw.get("nodeTopology"))
    yield from subdomain("storageClassName", raw.get("storageClassName") or "")
    if quantity(raw.get("capacity")) < ZERO:
        yield invalid("capacity", str(quantity(raw["capacity"])), NO_NEGATIVE)


def _fixed_capacity(raw: JsonObject, before: JsonObject, minor: int) -> Faults:
    for name in ("nodeTopology", "storageClassName"):
        yield from unchanged(name, raw.get(name), before.get(name))


def _attachment(raw: JsonObject, minor: int) -> Faults:
    spec = part(raw, "spec")
    yield from driver_name("spec.attacher", spec.get("attacher") or "")
    held = part(spec, "source")
    inline, volume = held.get("inlineVolumeSpec"), held.get("persistentVolumeName")
    exactly = "must specify exactly one of inlineVolumeSpec and persistentVolumeName"
    if inline is None and volume is None:
        yield required("spec.source", exactly)
    elif inline is not None and volume is not None:
        yield forbidden("spec.source", exactly)
    elif volume is not None:
        if not volume:
            yield required("spec.source.persistentVolumeName", "must specify non empty persistentVolumeName")
    elif inline is not None:
        yield from volume_spec("spec.source.inlineVolumeSpec", inline, "", inline=True)
    yield from subdomain("spec.nodeName", spec.get("nodeName") or "")
    if volume is not None:
        yield from subdomain("spec.source.persistentVolumeName", volume)


def _fixed_spec(raw: JsonObject, before: JsonObject, minor: int) -> Faults:
    return unchanged("spec", part(raw, "spec"), part(before, "spec"))


RULES: Final = {
    "PersistentVolume": Rules(valid=_volume, fixed=_fixed_volume, remeta=True),
    "PersistentVolumeClaim": Rules(valid=_claim, fixed=_fixed_claim, remeta=True),
    "StorageClass": Rules(valid=_storage_class, fixed=_fixed_class),
    "VolumeAttributesClass": Rules(valid=_attributes_class, fixed=_fixed_attributes, remeta=True),
    "CSIDriver": Rules(valid=_csi_driver, fixed=_fixed_driver),
    "CSINode": Rules(valid=_csi_node, fixed=_fixed_csi_node, remeta=True),
    "CSIStorageCapacity": Rules(valid=_capacity_of_class, fixed=_fixed_capacity),
    "VolumeAttachment": Rules(valid=_attachment, fixed=_fixed_spec, remeta=True),
}
