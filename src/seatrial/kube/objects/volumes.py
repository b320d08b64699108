"""Volumes of a pod and how containers mount them."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import field

from seatrial.kube.objects.base import ObjectMeta, Value
from seatrial.kube.objects.meta import LabelSelector
from seatrial.kube.quantities import Quantity


class AWSElasticBlockStoreVolumeSource(Value, frozen=True):
    fs_type: str = ""
    partition: int = 0
    read_only: bool = False
    volume_id: str = field(default="", name="volumeID")


class AzureDiskVolumeSource(Value, frozen=True):
    caching_mode: str = ""
    disk_name: str = ""
    disk_uri: str = field(default="", name="diskURI")
    fs_type: str = ""
    kind: str = ""
    read_only: bool = False


class AzureFileVolumeSource(Value, frozen=True):
    read_only: bool = False
    secret_name: str = ""
    share_name: str = ""


class LocalObjectReference(Value, frozen=True):
    name: str = ""


class CephFSVolumeSource(Value, frozen=True):
    monitors: tuple[str, ...] = ()
    path: str = ""
    read_only: bool = False
    secret_file: str = ""
    secret_ref: LocalObjectReference | None = None
    user: str = ""


class CinderVolumeSource(Value, frozen=True):
    fs_type: str = ""
    read_only: bool = False
    secret_ref: LocalObjectReference | None = None
    volume_id: str = field(default="", name="volumeID")


class KeyToPath(Value, frozen=True):
    key: str = ""
    mode: int | None = None
    path: str = ""
    user: int = 0


class ConfigMapVolumeSource(Value, frozen=True):
    default_mode: int | None = None
    default_user: int = 0
    items: tuple[KeyToPath, ...] = ()
    name: str = ""
    optional: bool | None = None


class CSIVolumeSource(Value, frozen=True):
    driver: str = ""
    fs_type: str = ""
    node_publish_secret_ref: LocalObjectReference | None = None
    read_only: bool = False
    volume_attributes: Mapping[str, str] = {}


class ObjectFieldSelector(Value, frozen=True):
    api_version: str = ""
    field_path: str = ""


class ResourceFieldSelector(Value, frozen=True):
    container_name: str = ""
    divisor: Quantity | None = None
    resource: str = ""


class DownwardAPIVolumeFile(Value, frozen=True):
    field_ref: ObjectFieldSelector | None = None
    mode: int | None = None
    path: str = ""
    resource_field_ref: ResourceFieldSelector | None = None
    user: int = 0


class DownwardAPIVolumeSource(Value, frozen=True):
    default_mode: int | None = None
    default_user: int = 0
    items: tuple[DownwardAPIVolumeFile, ...] = ()


class EmptyDirVolumeSource(Value, frozen=True):
    medium: str = ""
    mode: int | None = None
    size_limit: Quantity | None = None


class TypedLocalObjectReference(Value, frozen=True):
    api_group: str = ""
    kind: str = ""
    name: str = ""


class TypedObjectReference(Value, frozen=True):
    api_group: str = ""
    kind: str = ""
    name: str = ""
    namespace: str = ""


class VolumeResourceRequirements(Value, frozen=True):
    limits: Mapping[str, Quantity] = {}
    requests: Mapping[str, Quantity] = {}


class PersistentVolumeClaimSpec(Value, frozen=True):
    access_modes: tuple[str, ...] = ()
    data_source: TypedLocalObjectReference | None = None
    data_source_ref: TypedObjectReference | None = None
    resources: VolumeResourceRequirements = VolumeResourceRequirements()
    selector: LabelSelector | None = None
    storage_class_name: str | None = None
    volume_attributes_class_name: str = ""
    volume_mode: str | None = None
    volume_name: str = ""


class PersistentVolumeClaimTemplate(Value, frozen=True):
    metadata: ObjectMeta = ObjectMeta()
    spec: PersistentVolumeClaimSpec = PersistentVolumeClaimSpec()


class EphemeralVolumeSource(Value, frozen=True):
    volume_claim_template: PersistentVolumeClaimTemplate | None = None


class FCVolumeSource(Value, frozen=True):
    fs_type: str = ""
    lun: int = 0
    read_only: bool = False
    target_wwns: tuple[str, ...] = field(default=(), name="targetWWNs")
    wwids: tuple[str, ...] = ()


class FlexVolumeSource(Value, frozen=True):
    driver: str = ""
    fs_type: str = ""
    options: Mapping[str, str] = {}
    read_only: bool = False
    secret_ref: LocalObjectReference | None = None


class FlockerVolumeSource(Value, frozen=True):
    dataset_name: str = ""
    dataset_uuid: str = field(default="", name="datasetUUID")


class GCEPersistentDiskVolumeSource(Value, frozen=True):
    fs_type: str = ""
    partition: int = 0
    pd_name: str = ""
    read_only: bool = False


class GitRepoVolumeSource(Value, frozen=True):
    directory: str = ""
    repository: str = ""
    revision: str = ""


class GlusterfsVolumeSource(Value, frozen=True):
    endpoints: str = ""
    path: str = ""
    read_only: bool = False


class HostPathVolumeSource(Value, frozen=True):
    path: str = ""
    type: str = ""


class ImageVolumeSource(Value, frozen=True):
    pull_policy: str = ""
    reference: str = ""


class ISCSIVolumeSource(Value, frozen=True):
    chap_auth_discovery: bool = False
    chap_auth_session: bool = False
    fs_type: str = ""
    initiator_name: str = ""
    iqn: str = ""
    iscsi_interface: str = ""
    lun: int = 0
    portals: tuple[str, ...] = ()
    read_only: bool = False
    secret_ref: LocalObjectReference | None = None
    target_portal: str = ""


class NFSVolumeSource(Value, frozen=True):
    path: str = ""
    read_only: bool = False
    server: str = ""


class PersistentVolumeClaimVolumeSource(Value, frozen=True):
    claim_name: str = ""
    read_only: bool = False


class PhotonPersistentDiskVolumeSource(Value, frozen=True):
    fs_type: str = ""
    pd_id: str = field(default="", name="pdID")


class PortworxVolumeSource(Value, frozen=True):
    fs_type: str = ""
    read_only: bool = False
    volume_id: str = field(default="", name="volumeID")


class ClusterTrustBundleProjection(Value, frozen=True):
    label_selector: LabelSelector | None = None
    name: str = ""
    optional: bool | None = None
    path: str = ""
    signer_name: str = ""
    user: int = 0


class ConfigMapProjection(Value, frozen=True):
    items: tuple[KeyToPath, ...] = ()
    name: str = ""
    optional: bool | None = None


class DownwardAPIProjection(Value, frozen=True):
    items: tuple[DownwardAPIVolumeFile, ...] = ()


class PodCertificateProjection(Value, frozen=True):
    certificate_chain_path: str = ""
    credential_bundle_path: str = ""
    key_path: str = ""
    key_type: str = ""
    max_expiration_seconds: int = 0
    signer_name: str = ""
    user: int = 0
    user_annotations: Mapping[str, str] = {}


class SecretProjection(Value, frozen=True):
    items: tuple[KeyToPath, ...] = ()
    name: str = ""
    optional: bool | None = None


class ServiceAccountTokenProjection(Value, frozen=True):
    audience: str = ""
    expiration_seconds: int | None = None
    path: str = ""
    user: int = 0


class VolumeProjection(Value, frozen=True):
    cluster_trust_bundle: ClusterTrustBundleProjection | None = None
    config_map: ConfigMapProjection | None = None
    downward_api: DownwardAPIProjection | None = field(default=None, name="downwardAPI")
    pod_certificate: PodCertificateProjection | None = None
    secret: SecretProjection | None = None
    service_account_token: ServiceAccountTokenProjection | None = None


class ProjectedVolumeSource(Value, frozen=True):
    default_mode: int | None = None
    default_user: int = 0
    sources: tuple[VolumeProjection, ...] = ()


class QuobyteVolumeSource(Value, frozen=True):
    group: str = ""
    read_only: bool = False
    registry: str = ""
    tenant: str = ""
    user: str = ""
    volume: str = ""


class RBDVolumeSource(Value, frozen=True):
    fs_type: str = ""
    image: str = ""
    keyring: str = ""
    monitors: tuple[str, ...] = ()
    pool: str = ""
    read_only: bool = False
    secret_ref: LocalObjectReference | None = None
    user: str = ""


class ScaleIOVolumeSource(Value, frozen=True):
    fs_type: str = ""
    gateway: str = ""
    protection_domain: str = ""
    read_only: bool = False
    secret_ref: LocalObjectReference | None = None
    ssl_enabled: bool = False
    storage_mode: str = ""
    storage_pool: str = ""
    system: str = ""
    volume_name: str = ""


class SecretVolumeSource(Value, frozen=True):
    default_mode: int | None = None
    default_user: int = 0
    items: tuple[KeyToPath, ...] = ()
    optional: bool | None = None
    secret_name: str = ""


class StorageOSVolumeSource(Value, frozen=True):
    fs_type: str = ""
    read_only: bool = False
    secret_ref: LocalObjectReference | None = None
    volume_name: str = ""
    volume_namespace: str = ""


class VsphereVirtualDiskVolumeSource(Value, frozen=True):
    fs_type: str = ""
    storage_policy_id: str = field(default="", name="storagePolicyID")
    storage_policy_name: str = ""
    volume_path: str = ""


class Volume(Value, frozen=True):
    aws_elastic_block_store: AWSElasticBlockStoreVolumeSource | None = None
    azure_disk: AzureDiskVolumeSource | None = None
    azure_file: AzureFileVolumeSource | None = None
    cephfs: CephFSVolumeSource | None = None
    cinder: CinderVolumeSource | None = None
    config_map: ConfigMapVolumeSource | None = None
    csi: CSIVolumeSource | None = None
    downward_api: DownwardAPIVolumeSource | None = field(default=None, name="downwardAPI")
    empty_dir: EmptyDirVolumeSource | None = None
    ephemeral: EphemeralVolumeSource | None = None
    fc: FCVolumeSource | None = None
    flex_volume: FlexVolumeSource | None = None
    flocker: FlockerVolumeSource | None = None
    gce_persistent_disk: GCEPersistentDiskVolumeSource | None = None
    git_repo: GitRepoVolumeSource | None = None
    glusterfs: GlusterfsVolumeSource | None = None
    host_path: HostPathVolumeSource | None = None
    image: ImageVolumeSource | None = None
    iscsi: ISCSIVolumeSource | None = None
    name: str = ""
    nfs: NFSVolumeSource | None = None
    persistent_volume_claim: PersistentVolumeClaimVolumeSource | None = None
    photon_persistent_disk: PhotonPersistentDiskVolumeSource | None = None
    portworx_volume: PortworxVolumeSource | None = None
    projected: ProjectedVolumeSource | None = None
    quobyte: QuobyteVolumeSource | None = None
    rbd: RBDVolumeSource | None = None
    scale_io: ScaleIOVolumeSource | None = field(default=None, name="scaleIO")
    secret: SecretVolumeSource | None = None
    storageos: StorageOSVolumeSource | None = None
    vsphere_volume: VsphereVirtualDiskVolumeSource | None = None


class VolumeMount(Value, frozen=True):
    bind_mount_options: tuple[str, ...] = ()
    mount_path: str = ""
    mount_propagation: str = ""
    name: str = ""
    read_only: bool = False
    recursive_read_only: str = ""
    sub_path: str = ""
    sub_path_expr: str = ""


class VolumeDevice(Value, frozen=True):
    device_path: str = ""
    name: str = ""
