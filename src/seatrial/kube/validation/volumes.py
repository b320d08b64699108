"""Where the data of volumes comes from: the sources of pods' volumes and of PersistentVolumes.

What a source must have is a table; the sources with rules of their own have a function each. Paths are upstream's, also
where they name no field that there is (`persistentDisk`, `downwarAPI`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from seatrial.kube.objects import JsonObject
from seatrial.kube.quantities import ZERO
from seatrial.kube.validation.fields import (
    Faults,
    annotation_keys,
    between,
    byte_length,
    duplicate,
    forbidden,
    in_range,
    invalid,
    items,
    label_name,
    label_selector,
    labels,
    no_subdomain,
    one_of,
    part,
    qualified_name,
    quantity,
    required,
    subdomain,
    too_long,
    unsupported,
)
from seatrial.kube.validation.signers import is_own, no_bundle, signer_name

MORE_THAN_ONE: Final = "may not specify more than 1 volume type"
NO_FILE_MODE: Final = "must be a number between 0 and 0777 (octal), both inclusive"
_HOST_PATHS: Final = (
    "",
    "BlockDevice",
    "CharDevice",
    "Directory",
    "DirectoryOrCreate",
    "File",
    "FileOrCreate",
    "Socket",
)
_NEEDED: Final[Mapping[str, tuple[str, ...]]] = {
    "awsElasticBlockStore": ("volumeID",),
    "azureFile": ("secretName", "shareName"),
    "cephfs": ("monitors",),
    "cinder": ("volumeID",),
    "gcePersistentDisk": ("pdName",),
    "glusterfs": ("endpoints", "path"),
    "persistentVolumeClaim": ("claimName",),
    "photonPersistentDisk": ("pdID",),
    "portworxVolume": ("volumeID",),
    "rbd": ("monitors", "image"),
    "scaleIO": ("gateway", "system", "volumeName"),
    "vsphereVolume": ("volumePath",),
}
"""What has to be said of sources."""
POD_SOURCES: Final = (
    "emptyDir", "hostPath", "gitRepo", "gcePersistentDisk", "awsElasticBlockStore", "secret", "nfs", "iscsi",
    "glusterfs", "flocker", "persistentVolumeClaim", "rbd", "cinder", "cephfs", "quobyte", "downwardAPI", "fc",
    "flexVolume", "configMap", "azureFile", "vsphereVolume", "photonPersistentDisk", "portworxVolume", "azureDisk",
    "storageos", "projected", "scaleIO", "csi", "ephemeral", "image",
)  # fmt: skip
"""In the order in which upstream looks: the first is the one that counts."""
_ELSEWHERE: Final = {"gcePersistentDisk": "persistentDisk"}
_REFUSED_ELSEWHERE: Final = {"cephfs": "cephFS", "downwardAPI": "downwarAPI"}
DOWNWARD_OF_FILES: Final = (
    "metadata.annotations",
    "metadata.labels",
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
)
DOWNWARD_OF_VARIABLES: Final = (
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
)


def pod_volumes(path: str, spec: JsonObject, pod_name: str) -> tuple[dict[str, JsonObject], list[Any]]:
    """The volumes that are well-formed by name, and what is wrong with the others. A template has no name."""
    known: dict[str, JsonObject] = {}
    faults: list[Any] = []
    made = {f"{pod_name}-{each.get('name', '')}" for _, each in items("", spec, "volumes") if "ephemeral" in each}
    for at, volume in items(f"{path}.volumes", spec, "volumes"):
        name = volume.get("name") or ""
        found = list(_pod_volume(at, volume, pod_name))
        if not name:
            found.append(required(f"{at}.name"))
        else:
            found += label_name(f"{at}.name", name)
        if name in known:
            found.append(duplicate(f"{at}.name", name))
        if not found:
            known[name] = volume
        faults += found
        claim = part(volume, "persistentVolumeClaim").get("claimName")
        if pod_name and claim in made:
            why = "must not reference a PVC that gets created for an ephemeral volume"
            faults.append(invalid(f"{at}.persistentVolumeClaim.claimName", claim, why))
    return known, faults


def _pod_volume(path: str, volume: JsonObject, pod_name: str) -> Faults:
    present = [name for name in POD_SOURCES if volume.get(name) is not None]
    if not present:
        yield required(path, "must specify a volume type")
    for number, name in enumerate(present):
        if number:
            yield forbidden(f"{path}.{_REFUSED_ELSEWHERE.get(name, name)}", MORE_THAN_ONE)
        else:
            yield from source(f"{path}.{_ELSEWHERE.get(name, name)}", name, volume[name])
        if name == "iscsi":
            portal = volume[name].get("targetPortal") or ""
            if volume[name].get("initiatorName") is not None and len(f"{volume.get('name', '')}:{portal}") > 64:
                yield invalid(f"{path}.name", volume.get("name", ""), ISCSI_TOO_LONG)
        elif name == "ephemeral" and not number and pod_name and volume.get("name"):
            claim = f"{pod_name}-{volume['name']}"
            for why in no_subdomain(claim):
                yield invalid(f"{path}.name", volume["name"], f'PVC name "{claim}": {why}')


def source(path: str, name: str, held: JsonObject, *, of_volume: bool = False) -> Faults:
    """What is wrong with one source; `of_volume` if it is a PersistentVolume's, whose secrets have namespaces."""
    for field in _NEEDED.get(name, ()):
        if not held.get(field):
            yield required(f"{path}.{field}")
    special = _SPECIAL.get(name)
    if special is not None:
        yield from special(path, held)
    if name in _WITH_SECRET and (secret := held.get("secretRef")) is not None:
        yield from _reference(f"{path}.secretRef", secret, namespaced=of_volume and name != "iscsi")


_WITH_SECRET: Final = ("cinder", "storageos")


def _reference(path: str, secret: JsonObject, *, namespaced: bool) -> Faults:
    for field in ("name", "namespace") if namespaced else ("name",):
        if not secret.get(field):
            yield required(f"{path}.{field}")


def file_mode(path: str, mode: int | None) -> Faults:
    if mode is not None and not 0 <= mode <= 0o777:
        yield invalid(path, mode, NO_FILE_MODE)


def no_way_up(path: str, text: str) -> Faults:
    if ".." in text.split("/"):
        yield invalid(path, text, "must not contain '..'")


def way_down(path: str, text: str) -> Faults:
    """A path below something: relative, and never up."""
    if text.startswith("/"):
        yield invalid(path, text, "must be a relative path")
    yield from no_way_up(path, text)


def file_path(path: str, text: str) -> Faults:
    yield from way_down(path, text)
    if text.startswith("..") and not text.startswith("../"):
        yield invalid(path, text, "must not start with '..'")


def _empty_dir(path: str, held: JsonObject) -> Faults:
    if quantity(held.get("sizeLimit")) < ZERO:
        yield forbidden(f"{path}.sizeLimit", "SizeLimit field must be a valid resource quantity")


def _host_path(path: str, held: JsonObject) -> Faults:
    if not held.get("path"):
        yield required(f"{path}.path")
        return
    yield from no_way_up(f"{path}.path", held["path"])
    if held.get("type") is not None:
        yield from one_of(f"{path}.type", held["type"], _HOST_PATHS)


def local(path: str, held: JsonObject) -> Faults:
    if not held.get("path"):
        yield required(f"{path}.path")
    else:
        yield from no_way_up(f"{path}.path", held["path"])


def _git_repo(path: str, held: JsonObject) -> Faults:
    if not held.get("repository"):
        yield required(f"{path}.repository")
    yield from way_down(f"{path}.directory", held.get("directory") or "")


def _partitioned(path: str, held: JsonObject) -> Faults:
    partition = held.get("partition") or 0
    if not 0 <= partition <= 255:
        yield invalid(f"{path}.partition", partition, between(1, 255))


def _from_object(name: str) -> Callable[[str, JsonObject], Faults]:
    def check(path: str, held: JsonObject) -> Faults:
        if not held.get(name):
            yield required(f"{path}.{name}")
        yield from file_mode(f"{path}.defaultMode", held.get("defaultMode"))
        yield from _keys(path, held)

    return check


def _keys(path: str, held: JsonObject) -> Faults:
    for at, item in items(f"{path}.items", held, "items"):
        yield from _key_to_path(at, item)


def _key_to_path(path: str, item: JsonObject) -> Faults:
    for name in ("key", "path"):
        if not item.get(name):
            yield required(f"{path}.{name}")
    yield from file_path(f"{path}.path", item.get("path") or "")
    yield from file_mode(f"{path}.mode", item.get("mode"))


def _nfs(path: str, held: JsonObject) -> Faults:
    for name in ("server", "path"):
        if not held.get(name):
            yield required(f"{path}.{name}")
    if not (held.get("path") or "").startswith("/"):
        yield invalid(f"{path}.path", held.get("path") or "", "must be an absolute path")


# --- block storage ---

ISCSI_TOO_LONG: Final = (
    "Total length of <volume name>:<iscsi.targetPortal> must be under 64 characters if iscsi.initiatorName is"
    " specified."
)
_IQN: Final = {
    "iqn": re.compile(r"iqn\.\d{4}-\d{2}\.([A-Za-z0-9\-.]+)(:[^,;*&$|\s]+)$", re.ASCII),
    "eui": re.compile(r"^eui.[A-Za-z0-9]{16}$"),
    "naa": re.compile(r"^naa.[A-Za-z0-9]{32}$"),
}


def iscsi(path: str, held: JsonObject) -> Faults:
    if not held.get("targetPortal"):
        yield required(f"{path}.targetPortal")
    if not held.get("iqn"):
        yield required(f"{path}.iqn")
    else:
        yield from _qualified(f"{path}.iqn", held["iqn"])
    yield from in_range(f"{path}.lun", held.get("lun") or 0, 0, 255)
    if (held.get("chapAuthDiscovery") or held.get("chapAuthSession")) and held.get("secretRef") is None:
        yield required(f"{path}.secretRef")
    if held.get("initiatorName") is not None:
        yield from _qualified(f"{path}.initiatorname", held["initiatorName"])


def _qualified(path: str, name: str) -> Faults:
    pattern = _IQN.get(name[:3])
    if pattern is None:
        yield invalid(path, name, "must be valid format starting with iqn, eui, or naa")
    elif not pattern.search(name):
        yield invalid(path, name, "must be valid format")


def _fibre_channel(path: str, held: JsonObject) -> Faults:
    targets, ids, lun = held.get("targetWWNs") or (), held.get("wwids") or (), held.get("lun")
    if not targets and not ids:
        yield required(f"{path}.targetWWNs", "must specify either targetWWNs or wwids, but not both")
    if targets and ids:
        yield invalid(f"{path}.targetWWNs", targets, "targetWWNs and wwids can not be specified simultaneously")
    if targets and lun is None:
        yield required(f"{path}.lun", "lun is required if targetWWNs is specified")
    elif targets:
        yield from in_range(f"{path}.lun", lun, 0, 255)


def _quobyte(path: str, held: JsonObject) -> Faults:
    registry, rule = held.get("registry") or "", "must be a host:port pair or multiple pairs separated by commas"
    if not registry:
        yield required(f"{path}.registry", rule)
    elif byte_length(held.get("tenant") or "") >= 65:
        yield required(f"{path}.tenant", "must be a UUID and may not exceed a length of 64 characters")
    else:
        for pair in registry.split(","):
            if not _is_host_and_port(pair):
                yield invalid(f"{path}.registry", registry, rule)
    if not held.get("volume"):
        yield required(f"{path}.volume")


def _is_host_and_port(text: str) -> bool:
    if text.startswith("["):
        host, closed, rest = text[1:].partition("]")
        return bool(closed) and rest.startswith(":") and not set(rest[1:] + host) & set("[]") and ":" not in rest[1:]
    return text.count(":") == 1 and not set(text) & set("[]")


def _flocker(path: str, held: JsonObject) -> Faults:
    name, uuid = held.get("datasetName"), held.get("datasetUUID")
    if not name and not uuid:
        yield required(path, "one of datasetName and datasetUUID is required")
    if name and uuid:
        yield invalid(path, "resource", "datasetName and datasetUUID can not be specified simultaneously")
    if "/" in (name or ""):
        yield invalid(f"{path}.datasetName", name, "must not contain '/'")


def _flex(path: str, held: JsonObject) -> Faults:
    if not held.get("driver"):
        yield required(f"{path}.driver")
    for key in held.get("options") or {}:
        space = f".{key.partition('/')[0].lower()}"
        if space.endswith((".kubernetes.io", ".k8s.io")):
            yield invalid(f"{path}.options[{key}]", key, "kubernetes.io and k8s.io namespaces are reserved")


_AZURE_MANAGED: Final = (
    "/subscriptions/{sub-id}/resourcegroups/{group-name}/providers/microsoft.compute/disks/{disk-id}"
)
_AZURE_BLOB: Final = "https://{account-name}.blob.core.windows.net/{container-name}/{disk-name}.vhd"


def _azure_disk(path: str, held: JsonObject) -> Faults:
    kind, address = held.get("kind"), held.get("diskURI") or ""
    for name in ("diskName", "diskURI"):
        if not held.get(name):
            yield required(f"{path}.{name}")
    if held.get("cachingMode") is not None:
        yield from one_of(f"{path}.cachingMode", held["cachingMode"], ("None", "ReadOnly", "ReadWrite"))
    if kind is not None:
        yield from one_of(f"{path}.kind", kind, ("Dedicated", "Managed", "Shared"))
        if kind == "Managed" and not address.startswith("/subscriptions/"):
            yield unsupported(f"{path}.diskURI", address, (_AZURE_MANAGED,))
        if kind != "Managed" and not address.startswith("https://"):
            yield unsupported(f"{path}.diskURI", address, (_AZURE_BLOB,))


def _storage_os(path: str, held: JsonObject) -> Faults:
    if not held.get("volumeName"):
        yield required(f"{path}.volumeName")
    else:
        yield from label_name(f"{path}.volumeName", held["volumeName"])
    if held.get("volumeNamespace"):
        yield from label_name(f"{path}.volumeNamespace", held["volumeNamespace"])


# --- drivers ---


def driver_name(path: str, name: str) -> Faults:
    if not name:
        yield required(path)
        return
    if byte_length(name) > 63:
        yield too_long(path, 63)
    yield from (invalid(path, name, why) for why in no_subdomain(name.lower()))


def _csi(path: str, held: JsonObject) -> Faults:
    yield from driver_name(f"{path}.driver", held.get("driver") or "")
    secret = held.get("nodePublishSecretRef")
    if secret is not None:
        if not secret.get("name"):
            yield required(f"{path}.nodePublishSecretRef.name")
        else:
            yield from subdomain(f"{path}.name", secret["name"])


def _ephemeral(path: str, held: JsonObject) -> Faults:
    from seatrial.kube.validation.claims import claim_spec

    template = held.get("volumeClaimTemplate")
    at = f"{path}.volumeClaimTemplate"
    if template is None:
        yield required(at)
        return
    metadata = part(template, "metadata")
    yield from annotation_keys(f"{at}.metadata.annotations", part(metadata, "annotations"))
    yield from labels(f"{at}.metadata.labels", part(metadata, "labels"))
    for name in metadata:
        if name not in ("annotations", "labels") and metadata[name]:
            yield forbidden(f"{at}.metadata.{name}", "cannot be set")
    yield from claim_spec(f"{at}.spec", part(template, "spec"))


def _image(path: str, held: JsonObject) -> Faults:
    if not held.get("reference"):
        yield required(f"{path}.reference")
    yield from one_of(f"{path}.pullPolicy", held.get("pullPolicy"), ("Always", "IfNotPresent", "Never"))


# --- what a pod is told of itself, and projections ---

_SIZES: Final = tuple(
    f"{side}.{name}" for side in ("limits", "requests") for name in ("cpu", "ephemeral-storage", "memory")
)
_HUGE: Final = ("limits.hugepages-", "requests.hugepages-")
_DIVISORS: Final = tuple(f"1{unit}" for unit in ("", "k", "M", "G", "T", "P", "E", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"))
_CONVERTIBLE: Final = frozenset(
    (
        *DOWNWARD_OF_FILES,
        *DOWNWARD_OF_VARIABLES,
        "spec.restartPolicy",
        "spec.schedulerName",
        "status.phase",
        "spec.host",
    )
)
_SUBSCRIPTED: Final = re.compile(r"(.*?)\['(.*)'\]", re.DOTALL)


def field_reference(path: str, held: JsonObject, allowed: tuple[str, ...]) -> Faults:
    """A field of the pod itself (`validateObjectFieldSelector`)."""
    for name in ("apiVersion", "fieldPath"):
        if not held.get(name):
            yield required(f"{path}.{name}")
            return
    text = held["fieldPath"]
    found = _SUBSCRIPTED.fullmatch(text)
    if held["apiVersion"] != "v1":
        why = f"unsupported pod version: {held['apiVersion']}"
        yield invalid(f"{path}.fieldPath", text, f"error converting fieldPath: {why}")
    elif found is not None:
        if found[1] == "metadata.annotations":
            yield from qualified_name(path, found[2].lower())
        elif found[1] == "metadata.labels":
            yield from qualified_name(path, found[2])
        else:
            yield invalid(
                f"{path}.fieldPath", text, f"error converting fieldPath: field label does not support subscript: {text}"
            )
    elif text not in _CONVERTIBLE:
        yield invalid(f"{path}.fieldPath", text, f"error converting fieldPath: field label not supported: {text}")
    elif text not in allowed:
        yield unsupported(f"{path}.fieldPath", text, allowed)


def size_reference(path: str, held: JsonObject, *, of_file: bool) -> Faults:
    """What a container requests or is limited to (`validateContainerResourceFieldSelector`)."""
    name = held.get("resource") or ""
    if of_file and not held.get("containerName"):
        yield required(f"{path}.containerName")
    elif not name:
        yield required(f"{path}.resource")
    elif name not in _SIZES and not name.startswith(_HUGE):
        yield unsupported(f"{path}.resource", name, _SIZES)
    divisor = quantity(held.get("divisor"))
    if not divisor:
        return
    if name in ("limits.cpu", "requests.cpu"):
        if str(divisor) not in ("1m", "1"):
            why = "only divisor's values 1m and 1 are supported with the cpu resource"
            yield invalid(f"{path}.divisor", name, why)
        return
    known = name.removeprefix("limits.").removeprefix("requests.") if name in _SIZES else ""
    what = {"memory": "memory", "ephemeral-storage": "local ephemeral storage"}.get(known, "")
    if name.startswith(_HUGE):
        what = "hugepages"
    if what and str(divisor) not in _DIVISORS:
        why = f"only divisor's values {', '.join(_DIVISORS)} are supported with the {what} resource"
        yield invalid(f"{path}.divisor", name, why)


def _downward_file(path: str, item: JsonObject) -> Faults:
    if not item.get("path"):
        yield required(f"{path}.path")
    yield from file_path(f"{path}.path", item.get("path") or "")
    field, size = item.get("fieldRef"), item.get("resourceFieldRef")
    if field is not None:
        yield from field_reference(f"{path}.fieldRef", field, DOWNWARD_OF_FILES)
        if size is not None:
            yield invalid(path, "resource", "fieldRef and resourceFieldRef can not be specified simultaneously")
    elif size is not None:
        yield from size_reference(f"{path}.resourceFieldRef", size, of_file=True)
    else:
        yield required(path, "one of fieldRef and resourceFieldRef is required")
    yield from file_mode(f"{path}.mode", item.get("mode"))


def _downward(path: str, held: JsonObject) -> Faults:
    yield from file_mode(f"{path}.defaultMode", held.get("defaultMode"))
    for _, item in items(path, held, "items"):
        yield from _downward_file(path, item)


class _Taken:
    """The paths that the sources of one projection have taken so far."""

    def __init__(self, path: str) -> None:
        self._path, self._seen = path, set[str]()

    def __call__(self, path: str, told: object) -> Faults:
        if path in self._seen:
            yield invalid(self._path, told, "conflicting duplicate paths")
        self._seen.add(path)


def _projected(path: str, held: JsonObject) -> Faults:
    yield from file_mode(f"{path}.defaultMode", held.get("defaultMode"))
    taken = _Taken(path)
    for at, each in items(f"{path}.sources", held, "sources"):
        present = [name for name in _PROJECTIONS if each.get(name) is not None]
        for name in present:
            yield from _PROJECTIONS[name](f"{at}.{name}", each[name], path, taken)
        if len(present) > 1:
            yield forbidden(at, "may not specify more than 1 volume type per source")


def _project_object(path: str, held: JsonObject, _: str, taken: _Taken) -> Faults:
    if not held.get("name"):
        yield required(f"{path}.name")
    for at, item in items(f"{path}.items", held, "items"):
        yield from _key_to_path(at, item)
        if item.get("path"):
            yield from taken(item["path"], held.get("name") or "")


def _project_downward(path: str, held: JsonObject, _: str, taken: _Taken) -> Faults:
    for _at, item in items(path, held, "items"):
        yield from _downward_file(path, item)
        if item.get("path"):
            yield from taken(item["path"], item["path"])


def _project_token(path: str, held: JsonObject, volume: str, taken: _Taken) -> Faults:
    seconds = held.get("expirationSeconds")
    if seconds is None:
        yield required(f"{path}.expirationSeconds")
    elif seconds < 600:
        yield invalid(f"{path}.expirationSeconds", seconds, "may not specify a duration less than 10 minutes")
    elif seconds > 1 << 32:
        yield invalid(f"{path}.expirationSeconds", seconds, "may not specify a duration larger than 2^32 seconds")
    if not held.get("path"):
        yield required(f"{volume}.path")
    else:
        yield from file_path(f"{volume}.path", held["path"])


def _project_bundle(path: str, held: JsonObject, _: str, taken: _Taken) -> Faults:
    name, signer, selector = held.get("name"), held.get("signerName"), held.get("labelSelector")
    if name is not None and signer is not None:
        yield invalid(path, None, "only one of name and signerName may be used")
    elif name is not None:
        if not name:
            yield required(f"{path}.name", "must be a valid object name")
        for why in no_bundle(name, name.rpartition(":")[0].replace(":", "/")):
            yield invalid(f"{path}.name", name, f"not a valid clustertrustbundlename: {why}")
        if selector is not None:
            yield invalid(f"{path}.labelSelector", selector, "labelSelector must be unset if name is specified")
    elif signer is not None:
        if not signer:
            yield required(f"{path}.signerName", "must be a valid signer name")
        yield from signer_name(f"{path}.signerName", signer)
        yield from label_selector(f"{path}.labelSelector", selector)
    else:
        yield required(path, "either name or signerName must be specified")
    if not held.get("path"):
        yield required(f"{path}.path")
    yield from file_path(f"{path}.path", held.get("path") or "")
    yield from taken(held.get("path") or "", held.get("path") or "")


_KEY_TYPES: Final = ("RSA3072", "RSA4096", "ECDSAP256", "ECDSAP384", "ECDSAP521", "ED25519")
_LONGEST_CERTIFICATE_S: Final = 91 * 24 * 3600
_LONGEST_OWN_CERTIFICATE_S: Final = 24 * 3600


def _project_certificate(path: str, held: JsonObject, _: str, taken: _Taken) -> Faults:
    signer, seconds = held.get("signerName") or "", held.get("maxExpirationSeconds")
    yield from signer_name(f"{path}.signerName", signer)
    for key in part(held, "userAnnotations"):
        yield from _prefixed(f"{path}.userAnnotations", key.lower())
    if held.get("keyType") not in _KEY_TYPES:
        yield unsupported(f"{path}.keyType", held.get("keyType") or "", _KEY_TYPES)
    if seconds is not None:
        longest = _LONGEST_OWN_CERTIFICATE_S if is_own(signer) else _LONGEST_CERTIFICATE_S
        at = f"{path}.maxExpirationSeconds"
        if seconds < 3600:
            yield invalid(at, seconds, "if provided, maxExpirationSeconds must be >= 3600")
        if seconds > longest:
            yield invalid(at, seconds, f"if provided, maxExpirationSeconds must be <= {longest}")
    paths = [name for name in ("credentialBundlePath", "keyPath", "certificateChainPath") if held.get(name)]
    for name in paths:
        yield from file_path(f"{path}.{name}", held[name])
        yield from taken(held[name], held[name])
    if not paths:
        yield required(path, "specify at least one of credentialBundlePath, keyPath, and certificateChainPath")


def _prefixed(path: str, key: str) -> Faults:
    if not key:
        yield required(path)
        return
    faults = list(qualified_name(path, key))
    yield from faults
    if not faults and "/" not in key:
        yield invalid(path, key, 'must be a domain-prefixed key (such as "acme.io/foo")')


_PROJECTIONS: Final[dict[str, Callable[[str, JsonObject, str, _Taken], Faults]]] = {
    "secret": _project_object,
    "configMap": _project_object,
    "downwardAPI": _project_downward,
    "serviceAccountToken": _project_token,
    "clusterTrustBundle": _project_bundle,
    "podCertificate": _project_certificate,
}

_SPECIAL: Final[dict[str, Callable[[str, JsonObject], Faults]]] = {
    "awsElasticBlockStore": _partitioned,
    "azureDisk": _azure_disk,
    "configMap": _from_object("name"),
    "csi": _csi,
    "downwardAPI": _downward,
    "emptyDir": _empty_dir,
    "ephemeral": _ephemeral,
    "fc": _fibre_channel,
    "flexVolume": _flex,
    "flocker": _flocker,
    "gcePersistentDisk": _partitioned,
    "gitRepo": _git_repo,
    "hostPath": _host_path,
    "image": _image,
    "iscsi": iscsi,
    "local": local,
    "nfs": _nfs,
    "projected": _projected,
    "quobyte": _quobyte,
    "secret": _from_object("secretName"),
    "storageos": _storage_os,
}
