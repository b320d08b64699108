"""What a pod's volumes ask of a node: claims and their binding, zones, attach limits, disks for one pod alone.

Semantics: upstream's VolumeRestrictions, NodeVolumeLimits, VolumeBinding and VolumeZone. In-tree volumes are not
translated to CSI (upstream does so on nodes that say they migrated). `UnplaceableError` is what upstream's PreFilter
says about the pod as a whole.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from seatrial.control.scheduler import machines
from seatrial.control.scheduler.board import Board, Site
from seatrial.control.scheduler.placement import Reason, SchedulingError
from seatrial.control.scheduler.profiles import Profile
from seatrial.kube import selectors
from seatrial.kube.objects import (
    CSIDriver,
    CSINode,
    CSIStorageCapacity,
    PersistentVolume,
    PersistentVolumeClaim,
    Pod,
    StorageClass,
)
from seatrial.kube.objects.storage import TopologySelectorTerm
from seatrial.kube.objects.volumes import Volume
from seatrial.kube.quantities import Quantity

BIND_COMPLETED = "pv.kubernetes.io/bind-completed"
SELECTED_NODE = "volume.kubernetes.io/selected-node"
BETA_CLASS = "volume.beta.kubernetes.io/storage-class"
NO_PROVISIONER = "kubernetes.io/no-provisioner"
ZONES = {
    "failure-domain.beta.kubernetes.io/zone": "topology.kubernetes.io/zone",
    "failure-domain.beta.kubernetes.io/region": "topology.kubernetes.io/region",
    "topology.kubernetes.io/zone": "topology.kubernetes.io/zone",
    "topology.kubernetes.io/region": "topology.kubernetes.io/region",
}
SCORED_SINCE = DRIVERS_SINCE = 37  # minor versions: StorageCapacityScoring, VolumeLimitScaling


class UnplaceableError(Exception):
    """No node can take the pod, for the reason given."""


@dataclass(frozen=True, slots=True)
class Binding:
    """What placing the pod on one node does to its unbound claims: volumes to bind, claims to have provisioned."""

    volumes: tuple[tuple[PersistentVolumeClaim, PersistentVolume], ...] = ()
    provisions: tuple[tuple[PersistentVolumeClaim, CSIStorageCapacity | None], ...] = ()


@dataclass(slots=True)
class Volumes:
    """The volumes of one pod, looked up once per decision. Build it with `of`; the methods are the filters."""

    pod: Pod
    board: Board
    disks: tuple[Volume, ...] = ()
    exclusive: frozenset[str] = frozenset()  # claims with ReadWriteOncePod
    users: int = 0  # of the exclusive claims, among the pods that are placed
    limited: bool = False
    claimed: bool = False
    bound: list[PersistentVolumeClaim] = field(default_factory=list)
    delayed: list[PersistentVolumeClaim] = field(default_factory=list)
    zones: list[tuple[str, frozenset[str]]] = field(default_factory=list)
    bindings: dict[str, Binding] = field(default_factory=dict)
    restricted: bool = False

    @classmethod
    def of(cls, pod: Pod, board: Board, plugins: Sequence[str]) -> Volumes:
        """Raises `UnplaceableError` in the order of the plug-ins."""
        made = cls(pod, board)
        for name in plugins:
            match name:
                case "VolumeRestrictions":
                    made._restrictions()
                case "NodeVolumeLimits":
                    made.limited = any(_claim_name(pod, volume) for volume in pod.spec.volumes)
                case "VolumeBinding":
                    made._claims()
                case "VolumeZone":
                    made._zones()
        return made

    def copy(self) -> Volumes:
        made = Volumes(self.pod, self.board, self.disks, self.exclusive, self.users, self.limited, self.claimed)
        made.bound, made.delayed, made.zones, made.bindings = self.bound, self.delayed, self.zones, self.bindings
        made.restricted = self.restricted
        return made

    def shift(self, sign: int, other: Pod) -> None:
        """`other` is supposed to have come or left: it may use the same exclusive claims."""
        if self.restricted and self.exclusive:
            self.users += sign * sum(
                1
                for volume in other.spec.volumes
                if volume.persistent_volume_claim is not None
                and volume.persistent_volume_claim.claim_name in self.exclusive
            )

    def restrictions(self, site: Site) -> Reason | None:
        if not self.restricted:
            return None
        if self.disks and any(
            _disks_conflict(mine, theirs) for other in site.pods for theirs in other.spec.volumes for mine in self.disks
        ):
            return Reason.DISK_CONFLICT
        return Reason.CLAIM_IN_USE if self.users > 0 else None

    def limits(self, site: Site) -> tuple[Reason, str] | None:
        """The limit that the pod's volumes would exceed, or the driver that is missing."""
        csi_node = self.board.get(CSINode, "", site.name)
        wanted = self._attachable(self.pod, new=True)
        if not wanted:
            return None
        if self.board.minor >= DRIVERS_SINCE:
            for driver in sorted(set(wanted.values())):
                known = self.board.get(CSIDriver, "", driver)
                needed = known is not None and known.spec.prevent_pod_scheduling_if_missing
                if needed and not (csi_node and any(each.name == driver for each in csi_node.spec.drivers)):
                    return Reason.NO_DRIVER, driver
        limits = {
            driver.name: driver.allocatable.count
            for driver in (csi_node.spec.drivers if csi_node else ())
            if driver.allocatable is not None and driver.allocatable.count is not None
        }
        if not limits:
            return None
        attached: dict[str, str] = {}
        for other in site.pods:
            attached.update(self._attachable(other, new=False))
        wanted = {name: driver for name, driver in wanted.items() if name not in attached}
        for attachment in self.board.attachments.get(site.name, {}).values():
            volume = self.board.get(PersistentVolume, "", attachment.spec.source.persistent_volume_name or "")
            if volume is not None and volume.spec.csi is not None and attachment.spec.attacher:
                attached.setdefault(
                    f"{attachment.spec.attacher}/{volume.spec.csi.volume_handle}", attachment.spec.attacher
                )
        there, more = list(attached.values()), list(wanted.values())
        for driver in set(more):
            if driver in limits and there.count(driver) + more.count(driver) > limits[driver]:
                return Reason.VOLUME_LIMIT, ""
        return None

    def binding(self, site: Site) -> tuple[Reason, ...]:
        """Why the node cannot have the claims' volumes; what can be bound there goes into `bindings`."""
        reasons: list[Reason] = []
        for claim in self.bound:
            volume = self.board.get(PersistentVolume, "", claim.spec.volume_name)
            if volume is None:
                reasons.append(Reason.VOLUME_MISSING)
                break
            if not _reaches(volume, site):
                reasons.append(Reason.VOLUME_AFFINITY)
                break
        if self.delayed:
            found = self._bind(site)
            if isinstance(found, Reason):
                reasons.append(found)
            elif not reasons:
                self.bindings[site.name] = found
        elif not reasons:
            self.bindings[site.name] = Binding()
        order = (Reason.VOLUME_AFFINITY, Reason.NO_VOLUME, Reason.NO_STORAGE, Reason.VOLUME_MISSING)
        return tuple(sorted(reasons, key=order.index))

    def zone(self, site: Site) -> Reason | None:
        if not self.zones or not any(label in site.labels for label in ZONES):
            return None
        for key, values in self.zones:
            if site.labels.get(key, site.labels.get(ZONES[key])) not in values:
                return Reason.VOLUME_ZONE
        return None

    def score(self, site: Site, profile: Profile) -> int:
        """How full the volumes, or the pools they would come from, get: the emptier the better."""
        binding = self.bindings.get(site.name)
        if binding is None:
            return 0
        classes: dict[str, tuple[int, int]] = {}
        for claim, volume in binding.volumes:
            requested, capacity = classes.get(volume.spec.storage_class_name, (0, 0))
            classes[volume.spec.storage_class_name] = (
                requested + _storage(claim),
                capacity + _value(volume.spec.capacity.get("storage")),
            )
        if not binding.volumes:
            for claim, pool in binding.provisions:
                if pool is not None:
                    name = claim.spec.storage_class_name or ""
                    classes[name] = (classes.get(name, (0, 0))[0] + _storage(claim), _value(pool.capacity))
        if not classes:
            return 0
        total = sum(
            broken_linear(profile.volume_shape, 100 if not most or wanted > most else wanted * 100 // most)
            for wanted, most in classes.values()
        )
        return math.floor(total / len(classes) + 0.5)

    def _restrictions(self) -> None:
        pod = self.pod
        self.disks = tuple(
            volume
            for volume in pod.spec.volumes
            if volume.gce_persistent_disk or volume.aws_elastic_block_store or volume.rbd or volume.iscsi
        )
        exclusive = set()
        for volume in pod.spec.volumes:
            if volume.persistent_volume_claim is not None:
                claim = self._claim(volume.persistent_volume_claim.claim_name)
                if "ReadWriteOncePod" in claim.spec.access_modes:
                    exclusive.add(claim.metadata.name)
        self.exclusive = frozenset(exclusive)
        self.users = sum(1 for name in exclusive if self.board.claims_in_use[pod.metadata.namespace, name] > 0)
        self.restricted = bool(self.disks) or self.users > 0

    def _claims(self) -> None:
        found: list[PersistentVolumeClaim] = []
        for volume in self.pod.spec.volumes:
            name = _claim_name(self.pod, volume)
            if not name:
                continue
            claim = self.board.get(PersistentVolumeClaim, self.pod.metadata.namespace, name)
            if claim is None and volume.ephemeral is not None:
                raise UnplaceableError(
                    f'waiting for ephemeral volume controller to create the persistentvolumeclaim "{name}"'
                )
            claim = self._claim(name)
            if claim.status.phase == "Lost":
                raise UnplaceableError(
                    f'persistentvolumeclaim "{name}" bound to non-existent persistentvolume "{claim.spec.volume_name}"'
                )
            if claim.metadata.deletion_timestamp is not None:
                raise UnplaceableError(f'persistentvolumeclaim "{name}" is being deleted')
            if volume.ephemeral is not None:
                self._check_ownership(claim, UnplaceableError)
            found.append(claim)
        self.claimed = bool(found)
        immediate = False
        for claim in found:
            if claim.spec.volume_name and BIND_COMPLETED in claim.metadata.annotations:
                self.bound.append(claim)
                continue
            storage_class = self.board.get(StorageClass, "", _class_of(claim))
            delayed = storage_class is not None and storage_class.volume_binding_mode == "WaitForFirstConsumer"
            if delayed and not claim.spec.volume_name:
                self.delayed.append(claim)
            else:
                immediate = True
        if immediate:
            raise UnplaceableError("pod has unbound immediate PersistentVolumeClaims")

    def _zones(self) -> None:
        for volume in self.pod.spec.volumes:
            if volume.persistent_volume_claim is None:
                continue
            claim = self._claim(volume.persistent_volume_claim.claim_name)
            if not claim.spec.volume_name:
                name = _class_of(claim)
                if not name:
                    raise UnplaceableError("PersistentVolumeClaim had no pv name and storageClass name")
                storage_class = self.board.get(StorageClass, "", name)
                if storage_class is None:
                    raise UnplaceableError(f'storageclass.storage.k8s.io "{name}" not found')
                if storage_class.volume_binding_mode is None:
                    raise UnplaceableError(f'VolumeBindingMode not set for StorageClass "{name}"')
                if storage_class.volume_binding_mode == "WaitForFirstConsumer":
                    continue
                raise UnplaceableError("PersistentVolume had no name")
            found = self.board.get(PersistentVolume, "", claim.spec.volume_name)
            if found is None:
                raise UnplaceableError(f'persistentvolume "{claim.spec.volume_name}" not found')
            for key in ZONES:
                if key in found.metadata.labels:
                    values = _zone_values(found.metadata.labels[key])
                    if values is not None:
                        self.zones.append((key, values))

    def _claim(self, name: str) -> PersistentVolumeClaim:
        claim = self.board.get(PersistentVolumeClaim, self.pod.metadata.namespace, name)
        if claim is None:
            raise UnplaceableError(f'persistentvolumeclaim "{name}" not found')
        return claim

    def _check_ownership(self, claim: PersistentVolumeClaim, error: type[Exception], pod: Pod | None = None) -> None:
        pod = pod or self.pod
        owner = claim.metadata.controller
        if owner is None or owner.uid != pod.metadata.uid:
            raise error(
                f"PVC {claim.metadata.namespace}/{claim.metadata.name} was not created for pod"
                f" {pod.metadata.namespace}/{pod.metadata.name} (pod is not owner)"
            )

    def _attachable(self, pod: Pod, *, new: bool) -> dict[str, str]:
        """The CSI volumes of a pod: a unique name for each, and its driver."""
        found: dict[str, str] = {}
        for volume in pod.spec.volumes:
            name = _claim_name(pod, volume)
            if not name:
                continue
            claim = self.board.get(PersistentVolumeClaim, pod.metadata.namespace, name)
            if claim is None:
                if new:
                    raise SchedulingError(f'looking up PVC {pod.metadata.namespace}/{name}: "{name}" not found')
                continue
            if volume.ephemeral is not None:
                self._check_ownership(claim, SchedulingError, pod)
            bound = self.board.get(PersistentVolume, "", claim.spec.volume_name) if claim.spec.volume_name else None
            if bound is not None:
                if bound.spec.csi is not None and bound.spec.csi.driver and bound.spec.csi.volume_handle:
                    found[f"{bound.spec.csi.driver}/{bound.spec.csi.volume_handle}"] = bound.spec.csi.driver
                continue
            storage_class = self.board.get(StorageClass, "", _class_of(claim))
            if storage_class is not None and storage_class.provisioner:
                found[f"unbound {pod.metadata.namespace}/{name}"] = storage_class.provisioner
        return found

    def _bind(self, site: Site) -> Binding | Reason:
        """Volumes for the claims that wait for a node: available ones first, then provisioned ones."""
        waiting = [claim for claim in self.delayed if SELECTED_NODE not in claim.metadata.annotations]
        to_provision = [claim for claim in self.delayed if SELECTED_NODE in claim.metadata.annotations]
        if any(claim.metadata.annotations[SELECTED_NODE] != site.name for claim in to_provision):
            return Reason.NO_VOLUME
        chosen: list[tuple[PersistentVolumeClaim, PersistentVolume]] = []
        taken: set[str] = set()
        for claim in sorted(waiting, key=_storage_exactly):
            volume = find_volume(claim, self.board.all(PersistentVolume), site, taken)
            if volume is None:
                to_provision.append(claim)
            else:
                taken.add(volume.metadata.name)
                chosen.append((claim, volume))
        provisions: list[tuple[PersistentVolumeClaim, CSIStorageCapacity | None]] = []
        for claim in to_provision:
            name = _class_of(claim)
            if not name:
                raise SchedulingError(f'no class for claim "{claim.metadata.namespace}/{claim.metadata.name}"')
            storage_class = self.board.get(StorageClass, "", name)
            if storage_class is None:
                raise SchedulingError(f'failed to find storage class "{name}"')
            if storage_class.provisioner in ("", NO_PROVISIONER):
                return Reason.NO_VOLUME
            if not _topology_allows(storage_class.allowed_topologies, site):
                return Reason.NO_VOLUME
            enough, pool = self._pool(storage_class, claim, site)
            if not enough:
                return Reason.NO_STORAGE
            provisions.append((claim, pool))
        return Binding(tuple(chosen), tuple(provisions))

    def _pool(
        self, storage_class: StorageClass, claim: PersistentVolumeClaim, site: Site
    ) -> tuple[bool, CSIStorageCapacity | None]:
        """Whether the driver has room for the claim near the node, and where; drivers need not say (then: yes)."""
        driver = self.board.get(CSIDriver, "", storage_class.provisioner)
        if "storage" not in claim.spec.resources.requests or driver is None or not driver.spec.storage_capacity:
            return True, None
        for pool in self.board.all(CSIStorageCapacity):
            limit = pool.maximum_volume_size if pool.maximum_volume_size is not None else pool.capacity
            if (
                pool.storage_class_name == storage_class.metadata.name
                and limit is not None
                and limit.value >= _storage(claim)
                and selectors.matches(pool.node_topology, site.labels)
            ):
                return True, pool
        return False, None


def find_volume(
    claim: PersistentVolumeClaim, volumes: Iterable[PersistentVolume], site: Site, taken: set[str]
) -> PersistentVolume | None:
    """The volume to bind to `claim` for a pod on the node: the one reserved for it, or the smallest that is enough."""
    smallest: PersistentVolume | None = None
    name = _class_of(claim)
    wanted = _storage_exactly(claim)
    for volume in volumes:
        spec = volume.spec
        if _class_of(volume) != name or volume.metadata.name in taken:
            continue
        reserved = _is_reserved(volume, claim)
        if spec.claim_ref is not None and not reserved:
            continue
        if _exactly(spec.capacity.get("storage")) < wanted or volume.metadata.deletion_timestamp is not None:
            continue
        if (spec.volume_mode or "Filesystem") != (claim.spec.volume_mode or "Filesystem"):
            continue
        if (spec.volume_attributes_class_name or "") != claim.spec.volume_attributes_class_name:
            continue
        if reserved:
            return volume if _reaches(volume, site) else None
        if (
            volume.status.phase == "Available"
            and (claim.spec.selector is None or selectors.matches(claim.spec.selector, volume.metadata.labels))
            and set(claim.spec.access_modes) <= set(spec.access_modes)
            and _reaches(volume, site)
            and (
                smallest is None
                or _exactly(spec.capacity.get("storage")) < _exactly(smallest.spec.capacity.get("storage"))
            )
        ):
            smallest = volume
    return smallest


def broken_linear(shape: Sequence[tuple[int, int]], at: int) -> int:
    """The value (0..100) at a utilisation of the line through `shape`, whose scores run from 0 to 10."""
    points = [(utilization, score * 10) for utilization, score in shape]
    for index, (utilization, score) in enumerate(points):
        if at <= utilization:
            if index == 0:
                return score
            left, low = points[index - 1]
            rise = (score - low) * (at - left)
            span = utilization - left
            return low + (rise // span if rise >= 0 else -(-rise // span))
    return points[-1][1]


def _claim_name(pod: Pod, volume: Volume) -> str:
    if volume.persistent_volume_claim is not None:
        return volume.persistent_volume_claim.claim_name
    return f"{pod.metadata.name}-{volume.name}" if volume.ephemeral is not None else ""


def _class_of(item: PersistentVolumeClaim | PersistentVolume) -> str:
    annotated = item.metadata.annotations.get(BETA_CLASS)
    return annotated if annotated is not None else item.spec.storage_class_name or ""


def _is_reserved(volume: PersistentVolume, claim: PersistentVolumeClaim) -> bool:
    reference = volume.spec.claim_ref
    if reference is None:
        return False
    if (reference.namespace, reference.name) != (claim.metadata.namespace, claim.metadata.name):
        return False
    return not reference.uid or reference.uid == claim.metadata.uid


def _reaches(volume: PersistentVolume, site: Site) -> bool:
    affinity = volume.spec.node_affinity
    if affinity is None or affinity.required is None:
        return True
    return any(machines.matches_labels_of(term, site.labels) for term in affinity.required.node_selector_terms)


def _topology_allows(terms: Sequence[TopologySelectorTerm], site: Site) -> bool:
    if not terms:
        return True
    return any(
        term.match_label_expressions
        and all(site.labels.get(each.key) in each.values for each in term.match_label_expressions)
        for term in terms
    )


def _zone_values(label: str) -> frozenset[str] | None:
    """The zones of a volume's label (`a__b` means both); None if the label means nothing."""
    values = [value.strip() for value in label.split("__")]
    return None if "" in values else frozenset(values)


def _disks_conflict(mine: Volume, theirs: Volume) -> bool:
    if mine.gce_persistent_disk and theirs.gce_persistent_disk:
        one, other = mine.gce_persistent_disk, theirs.gce_persistent_disk
        if one.pd_name == other.pd_name and not (one.read_only and other.read_only):
            return True
    if (
        mine.aws_elastic_block_store
        and theirs.aws_elastic_block_store
        and mine.aws_elastic_block_store.volume_id == theirs.aws_elastic_block_store.volume_id
    ):
        return True
    if (
        mine.iscsi
        and theirs.iscsi
        and mine.iscsi.iqn == theirs.iscsi.iqn
        and not (mine.iscsi.read_only and theirs.iscsi.read_only)
    ):
        return True
    if mine.rbd and theirs.rbd:
        same = mine.rbd.pool == theirs.rbd.pool and mine.rbd.image == theirs.rbd.image
        shared = not set(mine.rbd.monitors).isdisjoint(theirs.rbd.monitors)
        if same and shared and not (mine.rbd.read_only and theirs.rbd.read_only):
            return True
    return False


def _storage(claim: PersistentVolumeClaim) -> int:
    return _value(claim.spec.resources.requests.get("storage"))


def _storage_exactly(claim: PersistentVolumeClaim) -> int:
    return _exactly(claim.spec.resources.requests.get("storage"))


def _exactly(quantity: Quantity | None) -> int:
    return 0 if quantity is None else quantity.nanos


def _value(quantity: Quantity | None) -> int:
    return 0 if quantity is None else quantity.value


def needs(pod: Pod) -> bool:
    """Whether anything here concerns the pod."""
    return any(
        volume.persistent_volume_claim is not None
        or volume.ephemeral is not None
        or volume.gce_persistent_disk is not None
        or volume.aws_elastic_block_store is not None
        or volume.iscsi is not None
        or volume.rbd is not None
        for volume in pod.spec.volumes
    )
