"""Node and the Lease by which it says that it lives."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import ClassVar

from msgspec import field

from seatrial.kube.objects.base import Object, Value
from seatrial.kube.quantities import Quantity


class ConfigMapNodeConfigSource(Value, frozen=True):
    kubelet_config_key: str = ""
    name: str = ""
    namespace: str = ""
    resource_version: str = ""
    uid: str = ""


class NodeConfigSource(Value, frozen=True):
    config_map: ConfigMapNodeConfigSource | None = None


class NodePodPreemptionPolicy(Value, frozen=True):
    disable_resize_preemption: tuple[str, ...] = ()


class Taint(Value, frozen=True):
    effect: str = ""
    key: str = ""
    time_added: datetime | None = None
    value: str = ""


class NodeSpec(Value, frozen=True):
    config_source: NodeConfigSource | None = None
    external_id: str = field(default="", name="externalID")
    pod_cidr: str = field(default="", name="podCIDR")
    pod_cidrs: tuple[str, ...] = field(default=(), name="podCIDRs")
    pod_preemption_policy: NodePodPreemptionPolicy | None = None
    provider_id: str = field(default="", name="providerID")
    taints: tuple[Taint, ...] = ()
    unschedulable: bool = False


class NodeAddress(Value, frozen=True):
    address: str = ""
    type: str = ""


class NodeCondition(Value, frozen=True):
    last_heartbeat_time: datetime | None = None
    last_transition_time: datetime | None = None
    message: str = ""
    reason: str = ""
    status: str = ""
    type: str = ""


class NodeConfigStatus(Value, frozen=True):
    active: NodeConfigSource | None = None
    assigned: NodeConfigSource | None = None
    error: str = ""
    last_known_good: NodeConfigSource | None = None


class DaemonEndpoint(Value, frozen=True):
    port: int = field(default=0, name="Port")


class NodeDaemonEndpoints(Value, frozen=True):
    kubelet_endpoint: DaemonEndpoint | None = None


class NodeFeatures(Value, frozen=True):
    supplemental_groups_policy: bool = False


class ContainerImage(Value, frozen=True):
    names: tuple[str, ...] = ()
    size_bytes: int = 0


class NodeSwapStatus(Value, frozen=True):
    capacity: int = 0


class NodeSystemInfo(Value, frozen=True):
    architecture: str = ""
    boot_id: str = field(default="", name="bootID")
    container_runtime_version: str = ""
    kernel_version: str = ""
    kube_proxy_version: str = ""
    kubelet_version: str = ""
    machine_id: str = field(default="", name="machineID")
    operating_system: str = ""
    os_image: str = ""
    running_in_user_namespace: bool = False
    swap: NodeSwapStatus | None = None
    system_uuid: str = field(default="", name="systemUUID")


class NodeRuntimeHandlerFeatures(Value, frozen=True):
    recursive_read_only_mounts: bool = False
    user_namespaces: bool = False


class NodeRuntimeHandler(Value, frozen=True):
    features: NodeRuntimeHandlerFeatures | None = None
    name: str = ""


class AttachedVolume(Value, frozen=True, omit_defaults=False):
    device_path: str = ""
    name: str = ""


class NodeStatus(Value, frozen=True):
    addresses: tuple[NodeAddress, ...] = ()
    allocatable: Mapping[str, Quantity] = {}
    capacity: Mapping[str, Quantity] = {}
    conditions: tuple[NodeCondition, ...] = ()
    config: NodeConfigStatus | None = None
    daemon_endpoints: NodeDaemonEndpoints | None = None
    declared_features: tuple[str, ...] = ()
    features: NodeFeatures | None = None
    images: tuple[ContainerImage, ...] = ()
    node_info: NodeSystemInfo | None = None
    phase: str = ""
    runtime_handlers: tuple[NodeRuntimeHandler, ...] = ()
    volumes_attached: tuple[AttachedVolume, ...] = ()
    volumes_in_use: tuple[str, ...] = ()


class Node(Object, frozen=True):
    api_version: ClassVar[str] = "v1"
    kind: ClassVar[str] = "Node"

    spec: NodeSpec = NodeSpec()
    status: NodeStatus = NodeStatus()


class LeaseSpec(Value, frozen=True):
    acquire_time: datetime | None = None
    holder_identity: str | None = None
    lease_duration_seconds: int | None = None
    lease_transitions: int | None = None
    preferred_holder: str | None = None
    renew_time: datetime | None = None
    strategy: str | None = None


class Lease(Object, frozen=True):
    api_version: ClassVar[str] = "coordination.k8s.io/v1"
    kind: ClassVar[str] = "Lease"

    spec: LeaseSpec = LeaseSpec()
