"""Pod, complete, and its template."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import ClassVar

from msgspec import field

from seatrial.kube.objects.base import Object, ObjectMeta, Value
from seatrial.kube.objects.meta import LabelSelector
from seatrial.kube.objects.volumes import (
    LocalObjectReference,
    ObjectFieldSelector,
    ResourceFieldSelector,
    Volume,
    VolumeDevice,
    VolumeMount,
)
from seatrial.kube.quantities import Quantity


class NodeSelectorRequirement(Value, frozen=True):
    key: str = ""
    operator: str = ""
    values: tuple[str, ...] = ()


class NodeSelectorTerm(Value, frozen=True):
    match_expressions: tuple[NodeSelectorRequirement, ...] = ()
    match_fields: tuple[NodeSelectorRequirement, ...] = ()


class PreferredSchedulingTerm(Value, frozen=True):
    preference: NodeSelectorTerm | None = None
    weight: int = 0


class NodeSelector(Value, frozen=True):
    node_selector_terms: tuple[NodeSelectorTerm, ...] = ()


class NodeAffinity(Value, frozen=True):
    preferred_during_scheduling_ignored_during_execution: tuple[PreferredSchedulingTerm, ...] = ()
    required_during_scheduling_ignored_during_execution: NodeSelector | None = None


class PodAffinityTerm(Value, frozen=True):
    label_selector: LabelSelector | None = None
    match_label_keys: tuple[str, ...] = ()
    mismatch_label_keys: tuple[str, ...] = ()
    namespace_selector: LabelSelector | None = None
    namespaces: tuple[str, ...] = ()
    topology_key: str = ""


class WeightedPodAffinityTerm(Value, frozen=True):
    pod_affinity_term: PodAffinityTerm | None = None
    weight: int = 0


class PodAffinity(Value, frozen=True):
    preferred_during_scheduling_ignored_during_execution: tuple[WeightedPodAffinityTerm, ...] = ()
    required_during_scheduling_ignored_during_execution: tuple[PodAffinityTerm, ...] = ()


class PodAntiAffinity(Value, frozen=True):
    preferred_during_scheduling_ignored_during_execution: tuple[WeightedPodAffinityTerm, ...] = ()
    required_during_scheduling_ignored_during_execution: tuple[PodAffinityTerm, ...] = ()


class Affinity(Value, frozen=True):
    node_affinity: NodeAffinity | None = None
    pod_affinity: PodAffinity | None = None
    pod_anti_affinity: PodAntiAffinity | None = None


class ConfigMapKeySelector(Value, frozen=True):
    key: str = ""
    name: str = ""
    optional: bool | None = None


class FileKeySelector(Value, frozen=True):
    key: str = ""
    optional: bool | None = None
    path: str = ""
    volume_name: str = ""


class SecretKeySelector(Value, frozen=True):
    key: str = ""
    name: str = ""
    optional: bool | None = None


class EnvVarSource(Value, frozen=True):
    config_map_key_ref: ConfigMapKeySelector | None = None
    field_ref: ObjectFieldSelector | None = None
    file_key_ref: FileKeySelector | None = None
    resource_field_ref: ResourceFieldSelector | None = None
    secret_key_ref: SecretKeySelector | None = None


class EnvVar(Value, frozen=True):
    name: str = ""
    value: str = ""
    value_from: EnvVarSource | None = None


class ConfigMapEnvSource(Value, frozen=True):
    name: str = ""
    optional: bool | None = None


class SecretEnvSource(Value, frozen=True):
    name: str = ""
    optional: bool | None = None


class EnvFromSource(Value, frozen=True):
    config_map_ref: ConfigMapEnvSource | None = None
    prefix: str = ""
    secret_ref: SecretEnvSource | None = None


class ExecAction(Value, frozen=True):
    command: tuple[str, ...] = ()


class HTTPHeader(Value, frozen=True):
    name: str = ""
    value: str = ""


class HTTPGetAction(Value, frozen=True):
    host: str = ""
    http_headers: tuple[HTTPHeader, ...] = ()
    path: str = ""
    port: int | str | None = None
    protocol: str = ""
    scheme: str = ""


class SleepAction(Value, frozen=True):
    seconds: int = 0


class TCPSocketAction(Value, frozen=True):
    host: str = ""
    port: int | str | None = None


class LifecycleHandler(Value, frozen=True):
    exec: ExecAction | None = None
    http_get: HTTPGetAction | None = None
    sleep: SleepAction | None = None
    tcp_socket: TCPSocketAction | None = None


class Lifecycle(Value, frozen=True):
    post_start: LifecycleHandler | None = None
    pre_stop: LifecycleHandler | None = None
    stop_signal: str = ""


class GRPCAction(Value, frozen=True):
    mode: str = ""
    port: int = 0
    service: str = ""


class Probe(Value, frozen=True):
    exec: ExecAction | None = None
    failure_threshold: int = 0
    grpc: GRPCAction | None = None
    http_get: HTTPGetAction | None = None
    initial_delay_seconds: int = 0
    period_seconds: int = 0
    success_threshold: int = 0
    tcp_socket: TCPSocketAction | None = None
    termination_grace_period_seconds: int | None = None
    timeout_seconds: int = 0


class ContainerPort(Value, frozen=True):
    container_port: int = 0
    host_ip: str = field(default="", name="hostIP")
    host_port: int = 0
    name: str = ""
    protocol: str = ""


class ContainerResizePolicy(Value, frozen=True):
    resource_name: str = ""
    restart_policy: str = ""


class ResourceClaim(Value, frozen=True):
    name: str = ""
    request: str = ""


class ResourceRequirements(Value, frozen=True):
    claims: tuple[ResourceClaim, ...] = ()
    limits: Mapping[str, Quantity] = {}
    requests: Mapping[str, Quantity] = {}


class ContainerRestartRuleOnExitCodes(Value, frozen=True):
    operator: str = ""
    values: tuple[int, ...] = ()


class ContainerRestartRule(Value, frozen=True):
    action: str = ""
    exit_codes: ContainerRestartRuleOnExitCodes | None = None


class AppArmorProfile(Value, frozen=True):
    localhost_profile: str = ""
    type: str = ""


class Capabilities(Value, frozen=True):
    add: tuple[str, ...] = ()
    drop: tuple[str, ...] = ()


class SELinuxOptions(Value, frozen=True):
    level: str = ""
    role: str = ""
    type: str = ""
    user: str = ""


class SeccompProfile(Value, frozen=True):
    localhost_profile: str = ""
    type: str = ""


class WindowsSecurityContextOptions(Value, frozen=True):
    gmsa_credential_spec: str = ""
    gmsa_credential_spec_name: str = ""
    host_process: bool | None = None
    run_as_user_name: str = ""


class SecurityContext(Value, frozen=True):
    allow_privilege_escalation: bool | None = None
    app_armor_profile: AppArmorProfile | None = None
    capabilities: Capabilities | None = None
    privileged: bool | None = None
    proc_mount: str | None = None
    read_only_root_filesystem: bool | None = None
    run_as_group: int | None = None
    run_as_non_root: bool | None = None
    run_as_user: int | None = None
    se_linux_options: SELinuxOptions | None = None
    seccomp_profile: SeccompProfile | None = None
    windows_options: WindowsSecurityContextOptions | None = None


class Container(Value, frozen=True):
    args: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    env: tuple[EnvVar, ...] = ()
    env_from: tuple[EnvFromSource, ...] = ()
    image: str = ""
    image_pull_policy: str = ""
    lifecycle: Lifecycle | None = None
    liveness_probe: Probe | None = None
    name: str = ""
    ports: tuple[ContainerPort, ...] = ()
    readiness_probe: Probe | None = None
    resize_policy: tuple[ContainerResizePolicy, ...] = ()
    resources: ResourceRequirements = ResourceRequirements()
    restart_policy: str = ""
    restart_policy_rules: tuple[ContainerRestartRule, ...] = ()
    security_context: SecurityContext | None = None
    startup_probe: Probe | None = None
    stdin: bool = False
    stdin_once: bool = False
    termination_message_path: str = ""
    termination_message_policy: str = ""
    tty: bool = False
    volume_devices: tuple[VolumeDevice, ...] = ()
    volume_mounts: tuple[VolumeMount, ...] = ()
    working_dir: str = ""


class PodDNSConfigOption(Value, frozen=True):
    name: str = ""
    value: str = ""


class PodDNSConfig(Value, frozen=True):
    nameservers: tuple[str, ...] = ()
    options: tuple[PodDNSConfigOption, ...] = ()
    searches: tuple[str, ...] = ()


class EphemeralContainer(Value, frozen=True):
    args: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    env: tuple[EnvVar, ...] = ()
    env_from: tuple[EnvFromSource, ...] = ()
    image: str = ""
    image_pull_policy: str = ""
    lifecycle: Lifecycle | None = None
    liveness_probe: Probe | None = None
    name: str = ""
    ports: tuple[ContainerPort, ...] = ()
    readiness_probe: Probe | None = None
    resize_policy: tuple[ContainerResizePolicy, ...] = ()
    resources: ResourceRequirements = ResourceRequirements()
    restart_policy: str = ""
    restart_policy_rules: tuple[ContainerRestartRule, ...] = ()
    security_context: SecurityContext | None = None
    startup_probe: Probe | None = None
    stdin: bool = False
    stdin_once: bool = False
    target_container_name: str = ""
    termination_message_path: str = ""
    termination_message_policy: str = ""
    tty: bool = False
    volume_devices: tuple[VolumeDevice, ...] = ()
    volume_mounts: tuple[VolumeMount, ...] = ()
    working_dir: str = ""

    def as_container(self) -> Container:
        """The same as any other container; its target aside."""
        return Container(**{name: getattr(self, name) for name in Container.__struct_fields__})


class EvictionResponder(Value, frozen=True):
    name: str = ""
    priority: int | None = None


class HostAlias(Value, frozen=True):
    hostnames: tuple[str, ...] = ()
    ip: str = ""


class PodOS(Value, frozen=True):
    name: str = ""


class PodReadinessGate(Value, frozen=True):
    condition_type: str = ""


class PodResourceClaim(Value, frozen=True):
    name: str = ""
    resource_claim_name: str = ""
    resource_claim_template_name: str = ""


class PodSchedulingGate(Value, frozen=True):
    name: str = ""


class PodSchedulingGroup(Value, frozen=True):
    pod_group_name: str = ""


class Sysctl(Value, frozen=True):
    name: str = ""
    value: str = ""


class PodSecurityContext(Value, frozen=True):
    app_armor_profile: AppArmorProfile | None = None
    fs_group: int | None = None
    fs_group_change_policy: str | None = None
    run_as_group: int | None = None
    run_as_non_root: bool | None = None
    run_as_user: int | None = None
    se_linux_change_policy: str | None = None
    se_linux_options: SELinuxOptions | None = None
    seccomp_profile: SeccompProfile | None = None
    supplemental_groups: tuple[int, ...] = ()
    supplemental_groups_policy: str | None = None
    sysctls: tuple[Sysctl, ...] = ()
    windows_options: WindowsSecurityContextOptions | None = None


class Toleration(Value, frozen=True):
    effect: str = ""
    key: str = ""
    operator: str = ""
    toleration_seconds: int | None = None
    value: str = ""


class TopologySpreadConstraint(Value, frozen=True):
    label_selector: LabelSelector | None = None
    match_label_keys: tuple[str, ...] = ()
    max_skew: int = 0
    min_domains: int | None = None
    node_affinity_policy: str = ""
    node_taints_policy: str = ""
    topology_key: str = ""
    when_unsatisfiable: str = ""


class PodSpec(Value, frozen=True):
    active_deadline_seconds: int | None = None
    affinity: Affinity | None = None
    automount_service_account_token: bool | None = None
    containers: tuple[Container, ...] = ()
    dns_config: PodDNSConfig | None = None
    dns_policy: str = ""
    enable_service_links: bool | None = None
    ephemeral_containers: tuple[EphemeralContainer, ...] = ()
    eviction_responders: tuple[EvictionResponder, ...] = ()
    host_aliases: tuple[HostAlias, ...] = ()
    host_ipc: bool = field(default=False, name="hostIPC")
    host_network: bool = False
    host_pid: bool = field(default=False, name="hostPID")
    host_users: bool | None = None
    hostname: str = ""
    hostname_override: str = ""
    image_pull_secrets: tuple[LocalObjectReference, ...] = ()
    init_containers: tuple[Container, ...] = ()
    node_name: str = ""
    node_selector: Mapping[str, str] = {}
    os: PodOS | None = None
    overhead: Mapping[str, Quantity] = {}
    preemption_policy: str = ""
    priority: int | None = None
    priority_class_name: str = ""
    readiness_gates: tuple[PodReadinessGate, ...] = ()
    resource_claims: tuple[PodResourceClaim, ...] = ()
    resources: ResourceRequirements = ResourceRequirements()
    restart_policy: str = ""
    runtime_class_name: str = ""
    scheduler_name: str = ""
    scheduling_gates: tuple[PodSchedulingGate, ...] = ()
    scheduling_group: PodSchedulingGroup | None = None
    security_context: PodSecurityContext | None = None
    service_account: str = ""
    service_account_name: str = ""
    set_hostname_as_fqdn: bool | None = field(default=None, name="setHostnameAsFQDN")
    share_process_namespace: bool | None = None
    subdomain: str = ""
    termination_grace_period_seconds: int | None = None
    tolerations: tuple[Toleration, ...] = ()
    topology_spread_constraints: tuple[TopologySpreadConstraint, ...] = ()
    volumes: tuple[Volume, ...] = ()


class PodCondition(Value, frozen=True):
    last_probe_time: datetime | None = None
    last_transition_time: datetime | None = None
    message: str = ""
    observed_generation: int = 0
    reason: str = ""
    status: str = ""
    type: str = ""


class ResourceHealth(Value, frozen=True):
    health: str = ""
    message: str = ""
    resource_id: str = field(default="", name="resourceID")


class ResourceStatus(Value, frozen=True):
    name: str = ""
    resources: tuple[ResourceHealth, ...] = ()


class ContainerStateRunning(Value, frozen=True):
    started_at: datetime | None = None


class ContainerStateTerminated(Value, frozen=True):
    container_id: str = field(default="", name="containerID")
    exit_code: int = 0
    finished_at: datetime | None = None
    message: str = ""
    reason: str = ""
    signal: int = 0
    started_at: datetime | None = None


class ContainerStateWaiting(Value, frozen=True):
    message: str = ""
    reason: str = ""


class ContainerState(Value, frozen=True):
    running: ContainerStateRunning | None = None
    terminated: ContainerStateTerminated | None = None
    waiting: ContainerStateWaiting | None = None


class LinuxContainerUser(Value, frozen=True):
    gid: int = 0
    supplemental_groups: tuple[int, ...] = ()
    uid: int = 0


class ContainerUser(Value, frozen=True):
    linux: LinuxContainerUser | None = None


class ImageVolumeStatus(Value, frozen=True):
    image_ref: str = ""


class VolumeStatus(Value, frozen=True):
    image: ImageVolumeStatus | None = None


class VolumeMountStatus(Value, frozen=True):
    mount_path: str = ""
    name: str = ""
    read_only: bool = False
    recursive_read_only: str = ""
    volume_status: VolumeStatus | None = None


class ContainerStatus(Value, frozen=True):
    allocated_resources: Mapping[str, Quantity] = {}
    allocated_resources_status: tuple[ResourceStatus, ...] = ()
    container_id: str = field(default="", name="containerID")
    image: str = ""
    image_id: str = field(default="", name="imageID")
    last_state: ContainerState | None = None
    name: str = ""
    ready: bool = False
    resources: ResourceRequirements = ResourceRequirements()
    restart_count: int = 0
    started: bool | None = None
    state: ContainerState | None = None
    stop_signal: str = ""
    user: ContainerUser | None = None
    volume_mounts: tuple[VolumeMountStatus, ...] = ()


class ContainerExtendedResourceRequest(Value, frozen=True):
    container_name: str = ""
    request_name: str = ""
    resource_name: str = ""


class PodExtendedResourceClaimStatus(Value, frozen=True):
    request_mappings: tuple[ContainerExtendedResourceRequest, ...] = ()
    resource_claim_name: str = ""


class HostIP(Value, frozen=True):
    ip: str = ""


class NodeAllocatableMappedResources(Value, frozen=True):
    name: str = ""
    quantity: Quantity | None = None


class NodeAllocatableOverheadResources(Value, frozen=True):
    name: str = ""
    per_container: Quantity | None = None
    per_pod: Quantity | None = None


class NodeAllocatableResourceClaimStatus(Value, frozen=True):
    containers: tuple[str, ...] = ()
    mapping: tuple[NodeAllocatableMappedResources, ...] = ()
    overhead: tuple[NodeAllocatableOverheadResources, ...] = ()
    resource_claim_name: str = ""


class PodIP(Value, frozen=True):
    ip: str = ""


class PodResourceClaimStatus(Value, frozen=True):
    name: str = ""
    resource_claim_name: str = ""


class VolumeHealthCondition(Value, frozen=True):
    message: str = ""
    reason: str = ""
    status: str = ""


class PodVolumeHealth(Value, frozen=True):
    health_conditions: tuple[VolumeHealthCondition, ...] = ()
    last_transition_time: datetime | None = None
    name: str = ""


class PodStatus(Value, frozen=True):
    allocated_resources: Mapping[str, Quantity] = {}
    conditions: tuple[PodCondition, ...] = ()
    container_statuses: tuple[ContainerStatus, ...] = ()
    ephemeral_container_statuses: tuple[ContainerStatus, ...] = ()
    extended_resource_claim_status: PodExtendedResourceClaimStatus | None = None
    host_ip: str = field(default="", name="hostIP")
    host_ips: tuple[HostIP, ...] = field(default=(), name="hostIPs")
    init_container_statuses: tuple[ContainerStatus, ...] = ()
    message: str = ""
    node_allocatable_resource_claim_statuses: tuple[NodeAllocatableResourceClaimStatus, ...] = ()
    nominated_node_name: str = ""
    observed_generation: int = 0
    phase: str = ""
    pod_ip: str = field(default="", name="podIP")
    pod_ips: tuple[PodIP, ...] = field(default=(), name="podIPs")
    qos_class: str = ""
    reason: str = ""
    resize: str = ""
    resource_claim_statuses: tuple[PodResourceClaimStatus, ...] = ()
    resources: ResourceRequirements = ResourceRequirements()
    start_time: datetime | None = None
    volume_health: tuple[PodVolumeHealth, ...] = ()


class Pod(Object, frozen=True):
    api_version: ClassVar[str] = "v1"
    kind: ClassVar[str] = "Pod"

    spec: PodSpec = PodSpec()
    status: PodStatus = PodStatus()


class PodTemplateSpec(Value, frozen=True):
    metadata: ObjectMeta = ObjectMeta()
    spec: PodSpec = PodSpec()
