"""Static pods: what a node runs because a manifest says so, and the mirror pods by which the API shows it.

The node's manifests are the truth. A static pod's uid is a hash of its manifest, so that a changed manifest is another
pod; its name ends in the node's. Rules: of one name one pod runs at a time, the next begins when the one before has
ended; a mirror is only ever a picture: deleted by somebody it is made again, changed in its content it is replaced,
without a static pod it goes. Semantics: https://kubernetes.io/docs/tasks/configure-pod-container/static-pod/ and
`pkg/kubelet/config`, `pkg/kubelet/pod/mirror_client.go` of 1.37. The hash is our own: upstream's is of Go's memory.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import msgspec
from msgspec.structs import replace

from seatrial.control import admission
from seatrial.control.lifecycle.origins import CONFIG_HASH, CONFIG_MIRROR, CONFIG_SEEN, CONFIG_SOURCE
from seatrial.control.lifecycle.pods import grace_s
from seatrial.control.writes import Create, Delete, UpdateStatus, Write
from seatrial.kube import schemas
from seatrial.kube.objects import Container, JsonObject, Node, OwnerReference, Pod, parse
from seatrial.kube.objects.pods import Toleration
from seatrial.kube.objects.volumes import Volume

_Name = tuple[str, str]


class ManifestError(Exception):
    """The manifest is no static pod; the message says why."""


def read(raw: object, *, source: str, node: str, version: str = schemas.NEWEST) -> Pod:
    """The static pod of a manifest, as `node` runs it; `source` names the manifest. Raises `ManifestError`."""
    if not isinstance(raw, dict) or (raw.get("apiVersion"), raw.get("kind")) != ("v1", "Pod"):
        what = f"{raw.get('apiVersion')} {raw.get('kind')}" if isinstance(raw, dict) else type(raw).__name__
        raise ManifestError(f"couldn't parse as pod: it is {what}, and a static pod's manifest holds one v1 Pod")
    problems = [each for each in schemas.validate(raw, schemas.load(version)) if each.kind != "unknown"]
    if problems:
        raise ManifestError(f"invalid pod: {'; '.join(each.message for each in problems)}")
    metadata: JsonObject = raw.get("metadata") or {}
    if not metadata.get("name"):
        raise ManifestError("invalid pod: name is needed for the pod")
    if not (raw.get("spec") or {}).get("containers"):
        raise ManifestError("invalid pod: spec.containers: Required value")
    try:
        pod = parse(admission.admit(_marked(raw), version=version))
    except msgspec.ValidationError as error:
        raise ManifestError(f"invalid pod: {error}") from error
    assert isinstance(pod, Pod)
    resource = next(_api_objects(pod), "")
    if resource:
        raise ManifestError(f"static pods may not reference {resource}")
    uid = metadata.get("uid") or _hash(raw, node, source)
    spec = raw["spec"]
    tolerations = (*_own_tolerations(spec), Toleration(operator="Exists", effect="NoExecute"))
    annotations = {**(metadata.get("annotations") or {}), CONFIG_HASH: uid, CONFIG_SOURCE: "file"}
    return replace(
        pod,
        metadata=replace(
            pod.metadata,
            name=f"{pod.metadata.name}-{node.lower()}",
            namespace=pod.metadata.namespace or "default",
            uid=uid,
            annotations=annotations,
            generation=0,
            resource_version="",
            owner_references=(),
            creation_timestamp=None,
        ),
        spec=replace(
            pod.spec,
            node_name=node,
            tolerations=tuple(dict.fromkeys(tolerations)),
            priority=spec.get("priority"),  # admission's is the mirror's: the node knows what the manifest says
            preemption_policy=spec.get("preemptionPolicy") or "",
        ),
        status=replace(pod.status, phase="Pending"),
    )


@dataclass(frozen=True, slots=True)
class Held:
    """A static pod that the node has begun: with the status reported last, and its deletion once it is to end."""

    pod: Pod
    reported: Pod | None = None
    """Its mirror as it was after the last report, so that nothing is reported twice."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What the node's static pods need next."""

    begin: tuple[Pod, ...] = ()
    end: tuple[Pod, ...] = ()
    """As they are to be followed from now on: with the time of their end."""
    writes: tuple[Write, ...] = ()
    duplicates: tuple[tuple[Pod, str], ...] = ()
    """Pods that are ignored, for another has their name, and the event that says so."""


def plan(
    wanted: Sequence[Pod], held: Mapping[str, Held], mirrors: Iterable[Pod], node: Node | None, now: datetime
) -> Plan:
    """Which static pods begin and end, and what is to be written about their mirrors.

    `wanted` are the manifests' pods in order, `held` those begun by uid, `mirrors` the mirror pods bound to the node.
    """
    named: dict[_Name, Pod] = {}
    duplicates = []
    for pod in wanted:
        if named.setdefault(_name(pod), pod) is not pod:
            duplicates.append((pod, _duplicate(pod)))
    uids = {pod.metadata.uid for pod in named.values()}
    end = tuple(
        _ended(each.pod, now)
        for uid, each in held.items()
        if uid not in uids and each.pod.metadata.deletion_timestamp is None
    )
    present = {_name(each.pod): each for each in held.values()}
    shown = {_name(mirror): mirror for mirror in mirrors}
    begin = tuple(_begun(pod, shown.get(name), now) for name, pod in named.items() if name not in present)
    writes = tuple(_mirror_writes(present, {_name(pod) for pod in begin}, shown, node))
    return Plan(begin, end, writes, tuple(duplicates))


def _mirror_writes(
    held: Mapping[_Name, Held], beginning: set[_Name], shown: Mapping[_Name, Pod], node: Node | None
) -> Iterator[Write]:
    for name, mirror in shown.items():
        own = held.get(name)
        if own is None:
            if name not in beginning:
                yield Delete(mirror, grace_period_s=0)
            continue
        ending = own.pod.metadata.deletion_timestamp is not None
        if not ending and (mirror.metadata.deletion_timestamp is not None or not _is_mirror_of(mirror, own.pod)):
            yield Delete(mirror, grace_period_s=0)
        elif _is_mirror_of(mirror, own.pod) and own.pod.status != mirror.status and own.reported != mirror:
            yield UpdateStatus(mirror, replace(mirror, status=own.pod.status))
    if node is None or node.metadata.deletion_timestamp is not None or not node.metadata.uid:
        return
    for name, own in held.items():
        if name not in shown and own.pod.metadata.deletion_timestamp is None:
            yield Create(_mirror(own.pod, node))


def _mirror(pod: Pod, node: Node) -> Pod:
    annotations = {**pod.metadata.annotations, CONFIG_MIRROR: pod.metadata.annotations[CONFIG_HASH]}
    owner = OwnerReference(
        api_version="v1", kind="Node", name=node.metadata.name, uid=node.metadata.uid, controller=True
    )
    meta = replace(pod.metadata, uid="", annotations=annotations, owner_references=(owner,))
    return replace(pod, metadata=meta, status=replace(Pod().status, phase="Pending"))


def _is_mirror_of(mirror: Pod, pod: Pod) -> bool:
    return mirror.metadata.annotations.get(CONFIG_MIRROR) == pod.metadata.annotations[CONFIG_HASH]


def _begun(pod: Pod, mirror: Pod | None, now: datetime) -> Pod:
    """The pod as it is followed from now on; what an earlier process of the node reported of it still holds."""
    known = mirror if mirror is not None and _is_mirror_of(mirror, pod) else None
    if known is not None and known.status.phase in ("Succeeded", "Failed"):
        known = None  # the containers that are still there say whether it has ended; a node that was off begins it anew
    seen = known.metadata.annotations.get(CONFIG_SEEN) if known is not None else None
    annotations = {**pod.metadata.annotations, CONFIG_SEEN: seen or now.isoformat().replace("+00:00", "Z")}
    status = known.status if known is not None else pod.status
    return replace(pod, metadata=replace(pod.metadata, annotations=annotations), status=status)


def _ended(pod: Pod, now: datetime) -> Pod:
    allowed_s = grace_s(pod)
    at = now + timedelta(seconds=allowed_s)
    meta = replace(pod.metadata, deletion_timestamp=at, deletion_grace_period_seconds=allowed_s)
    return replace(pod, metadata=meta)


def _name(pod: Pod) -> _Name:
    return pod.metadata.namespace, pod.metadata.name


def _duplicate(pod: Pod) -> str:
    meta = pod.metadata
    shown = f"{meta.name}_{meta.namespace}({meta.uid})"
    return f'Error validating pod {shown} from file due to duplicate pod name "{meta.name}", ignoring'


def _marked(raw: JsonObject) -> JsonObject:
    """What the API's admission does to a mirror is what a static pod gets: no account, no token."""
    metadata = raw.get("metadata") or {}
    annotations = {**(metadata.get("annotations") or {}), CONFIG_MIRROR: ""}
    return {**raw, "metadata": {**metadata, "annotations": annotations}}


def _own_tolerations(spec: JsonObject) -> tuple[Toleration, ...]:
    """The manifest's own tolerations, before admission adds any."""
    return msgspec.convert(spec.get("tolerations") or [], tuple[Toleration, ...])


def _hash(raw: JsonObject, node: str, source: str) -> str:
    text = json.dumps(raw, sort_keys=True, default=str)
    return hashlib.sha256(f"{text}host:{node}file:{source}".encode()).hexdigest()[:32]


def _api_objects(pod: Pod) -> Iterator[str]:
    """The kinds of API objects that the pod refers to, in the order in which upstream looks for them."""
    spec = pod.spec
    if spec.service_account_name:
        yield "serviceaccounts"
    containers: tuple[Container, ...] = (*spec.containers, *spec.init_containers)
    ephemeral = tuple(each.as_container() for each in spec.ephemeral_containers)
    references = [each for container in (*containers, *ephemeral) for each in _references(container)]
    sources = [source for volume in spec.volumes if volume.projected for source in volume.projected.sources]
    secret_volumes = any(_holds_secret(volume) for volume in spec.volumes) or any(each.secret for each in sources)
    if spec.image_pull_secrets or "secret" in references or secret_volumes:
        yield "secrets"
    if (
        "configMap" in references
        or any(volume.config_map for volume in spec.volumes)
        or any(each.config_map for each in sources)
    ):
        yield "configmaps"
    if spec.resource_claims:
        yield "resourceclaims"
    for volume in spec.volumes:
        if volume.csi is not None:
            yield "csidrivers (via CSI volumes)"
        elif volume.glusterfs is not None:
            yield "endpoints (via glusterFS volumes)"
        elif volume.persistent_volume_claim is not None:
            yield "persistentvolumeclaims"
        elif volume.ephemeral is not None:
            yield "persistentvolumeclaims (via ephemeral volumes)"
    for source in sources:
        if source.service_account_token is not None:
            yield "serviceaccounts (via projected volumes)"
        elif source.cluster_trust_bundle is not None:
            yield "clustertrustbundles"
        elif source.pod_certificate is not None:
            yield "podcertificates"


def _references(container: Container) -> Iterator[str]:
    for source in container.env_from:
        if source.secret_ref is not None:
            yield "secret"
        if source.config_map_ref is not None:
            yield "configMap"
    for variable in container.env:
        if variable.value_from is not None and variable.value_from.secret_key_ref is not None:
            yield "secret"
        if variable.value_from is not None and variable.value_from.config_map_key_ref is not None:
            yield "configMap"


def _holds_secret(volume: Volume) -> bool:
    holders = (volume.cephfs, volume.cinder, volume.flex_volume, volume.iscsi, volume.rbd, volume.scale_io)
    return (
        volume.secret is not None
        or volume.azure_file is not None
        or any(each is not None and each.secret_ref is not None for each in (*holders, volume.storageos))
    )
