"""What one container may see, use and do: its environment, user, capabilities, mounts, namespaces and limits.

Pure: the node turns a `Sandbox` into an OCI `config.json`, the checker asks what is shared with whom. Rules:
* security settings of the container win over those of the pod, those over the image's;
* environment: image, then Service links, then `envFrom`, then `env` in order; later wins; `$(NAME)` is expanded;
* a reference that cannot be resolved raises `ConfigError`, which becomes the reason `CreateContainerConfigError`;
* what a container gets by default is containerd's choice (capabilities, masked paths), because that is what most
  clusters run.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from seatrial.control import qos
from seatrial.kube.objects import ConfigMap, Container, Pod, Secret, Service
from seatrial.kube.objects.pods import EnvVarSource, PodSecurityContext, SecurityContext
from seatrial.kube.objects.volumes import (
    DownwardAPIVolumeFile,
    KeyToPath,
    ObjectFieldSelector,
    ResourceFieldSelector,
    Volume,
)
from seatrial.kube.quantities import Quantity

DEFAULT_CAPABILITIES = (
    "CAP_AUDIT_WRITE",
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_MKNOD",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_RAW",
    "CAP_SETFCAP",
    "CAP_SETGID",
    "CAP_SETPCAP",
    "CAP_SETUID",
    "CAP_SYS_CHROOT",
)
_FURTHER_CAPABILITIES = """
AUDIT_CONTROL AUDIT_READ BLOCK_SUSPEND BPF CHECKPOINT_RESTORE DAC_READ_SEARCH IPC_LOCK IPC_OWNER LEASE LINUX_IMMUTABLE
MAC_ADMIN MAC_OVERRIDE NET_ADMIN NET_BROADCAST PERFMON SYS_ADMIN SYS_BOOT SYS_MODULE SYS_NICE SYS_PACCT SYS_PTRACE
SYS_RAWIO SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG SYSLOG WAKE_ALARM
"""
ALL_CAPABILITIES = tuple(sorted((*DEFAULT_CAPABILITIES, *(f"CAP_{name}" for name in str.split(_FURTHER_CAPABILITIES)))))
MASKED_PATHS = (
    "/proc/acpi",
    "/proc/asound",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
)
READONLY_PATHS = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")
DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
CPU_PERIOD_US = 100_000


class ConfigError(Exception):
    """The container cannot be configured as its pod says; the message is upstream's where upstream has one."""


class Lookup(Protocol):
    """The objects of the pod's namespace that its configuration refers to."""

    def config_map(self, name: str) -> ConfigMap | None: ...

    def secret(self, name: str) -> Secret | None: ...

    def services(self) -> Iterable[Service]: ...


@dataclass(frozen=True, slots=True)
class ImageConfig:
    """What an image says about how it is run (OCI image configuration)."""

    env: tuple[str, ...] = ()
    entrypoint: tuple[str, ...] = ()
    cmd: tuple[str, ...] = ()
    user: str = ""
    working_dir: str = ""
    stop_signal: str = ""


@dataclass(frozen=True, slots=True)
class NodeView:
    """What a container may learn about its node and its pod's address, and what its limits default to."""

    pod_ip: str = ""
    host_ip: str = ""
    allocatable: Mapping[str, Quantity] | None = None


@dataclass(frozen=True, slots=True)
class User:
    uid: int
    gid: int
    groups: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Mount:
    """One mount inside the container; `source` is a path on the node or the name of a file system."""

    destination: str
    source: str
    type: str = "bind"
    options: tuple[str, ...] = ("rbind", "rprivate", "rw")


@dataclass(frozen=True, slots=True)
class Limits:
    """cgroup settings; 0 means no limit. `memory_bytes` includes swap."""

    cpu_shares: int = 2
    cpu_quota_us: int = 0
    memory_bytes: int = 0
    oom_score_adj: int = 1000


@dataclass(frozen=True, slots=True)
class Sandbox:
    """Everything that one container sees and may do, ready to be executed."""

    args: tuple[str, ...]
    cwd: str
    env: tuple[str, ...]
    user: User
    capabilities: tuple[str, ...]
    privileged: bool
    no_new_privileges: bool
    read_only_root: bool
    masked_paths: tuple[str, ...]
    readonly_paths: tuple[str, ...]
    mounts: tuple[Mount, ...]
    host_network: bool
    host_pid: bool
    host_ipc: bool
    limits: Limits
    sysctls: tuple[tuple[str, str], ...]
    terminal: bool
    stop_signal: str


def hostname(pod: Pod) -> str:
    """`spec.hostname` or the pod's name, cut to the 63 characters that Linux allows."""
    return (pod.spec.hostname_override or pod.spec.hostname or pod.metadata.name)[:63].rstrip("-.")


def container_sandbox(
    pod: Pod,
    container: Container,
    image: ImageConfig,
    *,
    lookup: Lookup,
    node: NodeView,
    volumes: Mapping[str, str],
    files: Mapping[str, str],
    passwd: str = "",
    group: str = "",
) -> Sandbox:
    """The sandbox of `container` in `pod`.

    `volumes` maps volume names to directories on the node; `files` maps the paths that the node itself provides
    (`/etc/hosts`, `/etc/resolv.conf`, the termination log) to files on the node; `passwd` and `group` are the texts of
    the image's account files. Raises `ConfigError`.
    """
    security = container.security_context or SecurityContext()
    pod_security = pod.spec.security_context or PodSecurityContext()
    privileged = bool(security.privileged)
    user = resolve_user(security, pod_security, image.user, passwd, group)
    _refuse_root(pod, container, security, pod_security, image.user, user)
    env = environment(pod, container, image, lookup=lookup, node=node)
    known = dict(item.split("=", 1) for item in env)
    args = _command(container, image, known)
    capabilities = capabilities_of(security)
    unmasked = privileged or security.proc_mount == "Unmasked"
    return Sandbox(
        args=args,
        cwd=container.working_dir or image.working_dir or "/",
        env=env,
        user=user,
        capabilities=capabilities,
        privileged=privileged,
        no_new_privileges=security.allow_privilege_escalation is False and not privileged,
        read_only_root=bool(security.read_only_root_filesystem),
        masked_paths=() if unmasked else MASKED_PATHS,
        readonly_paths=() if unmasked else READONLY_PATHS,
        mounts=_mounts(pod, container, privileged, volumes, files, known),
        host_network=pod.spec.host_network,
        host_pid=pod.spec.host_pid,
        host_ipc=pod.spec.host_ipc,
        limits=limits(pod, container, node),
        sysctls=tuple((item.name, item.value) for item in pod_security.sysctls),
        terminal=container.tty,
        stop_signal=(container.lifecycle.stop_signal if container.lifecycle else "") or image.stop_signal or "SIGTERM",
    )


def _command(container: Container, image: ImageConfig, known: Mapping[str, str]) -> tuple[str, ...]:
    """`command` replaces the image's entrypoint and its cmd; `args` alone replaces the cmd."""
    if container.command:
        args = (*container.command, *container.args)
    elif container.args:
        args = (*image.entrypoint, *container.args)
        return (*image.entrypoint, *(expand(part, known) for part in args[len(image.entrypoint) :]))
    else:
        if not (image.entrypoint or image.cmd):
            raise ConfigError(
                f'no command specified: container "{container.name}" has no command and image "{container.image}" '
                "has neither an entrypoint nor a cmd"
            )
        return (*image.entrypoint, *image.cmd)
    return tuple(expand(part, known) for part in args)


# --- environment -----------------------------------------------------------------------------------------------------

_REFERENCE = re.compile(r"\$(\$|\(([^)]*)\))")


def expand(text: str, known: Mapping[str, str]) -> str:
    """`$(NAME)` becomes its value if known and stays otherwise; `$$` becomes `$` (upstream's `expansion.Expand`)."""

    def value(found: re.Match[str]) -> str:
        return "$" if found[1] == "$" else known.get(found[2], found[0])

    return _REFERENCE.sub(value, text)


def environment(
    pod: Pod, container: Container, image: ImageConfig, *, lookup: Lookup, node: NodeView
) -> tuple[str, ...]:
    """`NAME=value` of every variable the process starts with. Raises `ConfigError`."""
    own: dict[str, str] = {}
    links = service_links(
        lookup.services(), pod.metadata.namespace, all_services=pod.spec.enable_service_links is not False
    )
    for source in container.env_from:
        own.update(_all_keys(source.prefix, source.config_map_ref, source.secret_ref, lookup))
    for variable in container.env:
        if variable.value_from is None:
            own[variable.name] = expand(variable.value, {**links, **own})
            continue
        found = _value_from(pod, container, variable.value_from, lookup, node)
        if found is not None:
            own[variable.name] = found
    base = {"PATH": DEFAULT_PATH, "HOSTNAME": hostname(pod)}
    for item in image.env:
        name, _, value = item.partition("=")
        base[name] = value
    base.update(links)
    base.update(own)
    return tuple(f"{name}={value}" for name, value in base.items())


def _all_keys(prefix: str, config_map_ref: object, secret_ref: object, lookup: Lookup) -> dict[str, str]:
    found: dict[str, str] = {}
    name = getattr(config_map_ref, "name", "")
    if name:
        config_map = lookup.config_map(name)
        if config_map is None and not getattr(config_map_ref, "optional", None):
            raise ConfigError(f'configmap "{name}" not found')
        if config_map is not None:
            found.update({prefix + key: value for key, value in config_map.data.items()})
    name = getattr(secret_ref, "name", "")
    if name:
        secret = lookup.secret(name)
        if secret is None and not getattr(secret_ref, "optional", None):
            raise ConfigError(f'secret "{name}" not found')
        if secret is not None:
            for key, value in secret_bytes(secret).items():
                found[prefix + key] = value.decode(errors="replace")
    return found


def _value_from(pod: Pod, container: Container, source: EnvVarSource, lookup: Lookup, node: NodeView) -> str | None:
    """The value that `source` names; None if it is optional and absent."""
    if source.field_ref is not None:
        return field_value(pod, source.field_ref, node)
    if source.resource_field_ref is not None:
        return resource_value(pod, container, source.resource_field_ref, node)
    if source.config_map_key_ref is not None:
        ref = source.config_map_key_ref
        config_map = lookup.config_map(ref.name)
        if config_map is None:
            if ref.optional:
                return None
            raise ConfigError(f'configmap "{ref.name}" not found')
        if ref.key in config_map.data:
            return config_map.data[ref.key]
        if ref.optional:
            return None
        raise ConfigError(f"couldn't find key {ref.key} in ConfigMap {pod.metadata.namespace}/{ref.name}")
    if source.secret_key_ref is not None:
        chosen = source.secret_key_ref
        secret = lookup.secret(chosen.name)
        if secret is None:
            if chosen.optional:
                return None
            raise ConfigError(f'secret "{chosen.name}" not found')
        held = secret_bytes(secret)
        if chosen.key in held:
            return held[chosen.key].decode(errors="replace")
        if chosen.optional:
            return None
        raise ConfigError(f"couldn't find key {chosen.key} in Secret {pod.metadata.namespace}/{chosen.name}")
    raise ConfigError("env.valueFrom names a source that is not supported (fileKeyRef)")


def secret_bytes(secret: Secret) -> dict[str, bytes]:
    """The decoded values of a Secret."""
    return {key: base64.b64decode(value) for key, value in secret.data.items()}


def service_links(services: Iterable[Service], namespace: str, *, all_services: bool) -> dict[str, str]:
    """The variables that tell a container where the Services of its namespace are, and always where the API is."""
    found: dict[str, str] = {}
    for service in sorted(services, key=lambda item: (item.metadata.namespace, item.metadata.name)):
        api = service.metadata.namespace == "default" and service.metadata.name == "kubernetes"
        if not api and not (all_services and service.metadata.namespace == namespace):
            continue
        ip = service.spec.cluster_ip
        if ip in ("", "None") or not service.spec.ports:
            continue
        name = service.metadata.name.upper().replace("-", "_")
        first = service.spec.ports[0]
        found[f"{name}_SERVICE_HOST"] = ip
        found[f"{name}_SERVICE_PORT"] = str(first.port)
        for port in service.spec.ports:
            if port.name:
                found[f"{name}_SERVICE_PORT_{port.name.upper().replace('-', '_')}"] = str(port.port)
        protocol = (first.protocol or "TCP").lower()
        found[f"{name}_PORT"] = f"{protocol}://{ip}:{first.port}"
        for port in service.spec.ports:
            protocol = port.protocol or "TCP"
            stem = f"{name}_PORT_{port.port}_{protocol}"
            found[stem] = f"{protocol.lower()}://{ip}:{port.port}"
            found[f"{stem}_PROTO"] = protocol.lower()
            found[f"{stem}_PORT"] = str(port.port)
            found[f"{stem}_ADDR"] = ip
    return found


_SUBSCRIPT = re.compile(r"^metadata\.(labels|annotations)\['(.+)'\]$")


def field_value(pod: Pod, ref: ObjectFieldSelector, node: NodeView) -> str:
    """The text of a `fieldRef`. Raises `ConfigError` for a field that cannot be referred to."""
    metadata = pod.metadata
    subscript = _SUBSCRIPT.match(ref.field_path)
    if subscript:
        table = metadata.labels if subscript[1] == "labels" else metadata.annotations
        return table.get(subscript[2], "")
    match ref.field_path:
        case "metadata.name":
            return metadata.name
        case "metadata.namespace":
            return metadata.namespace
        case "metadata.uid":
            return metadata.uid
        case "metadata.labels":
            return _table(metadata.labels)
        case "metadata.annotations":
            return _table(metadata.annotations)
        case "spec.nodeName":
            return pod.spec.node_name
        case "spec.serviceAccountName":
            return pod.spec.service_account_name
        case "status.hostIP" | "status.hostIPs":
            return node.host_ip
        case "status.podIP" | "status.podIPs":
            return node.pod_ip
        case other:
            raise ConfigError(f"unsupported fieldPath: {other}")


def _table(entries: Mapping[str, str]) -> str:
    return "\n".join(f"{key}={json.dumps(value)}" for key, value in sorted(entries.items()))


def resource_value(pod: Pod, container: Container, ref: ResourceFieldSelector, node: NodeView) -> str:
    """The number a `resourceFieldRef` stands for, divided by its divisor and rounded up."""
    if ref.container_name and ref.container_name != container.name:
        named = next((each for each in all_containers(pod) if each.name == ref.container_name), None)
        if named is None:
            raise ConfigError(f"container {ref.container_name} not found")
        container = named
    side, _, resource = ref.resource.partition(".")
    if side not in ("limits", "requests") or not resource:
        raise ConfigError(f"unsupported container resource : {ref.resource}")
    held = container.resources.limits if side == "limits" else container.resources.requests
    amount = held.get(resource)
    if amount is None and side == "limits" and node.allocatable is not None:
        amount = node.allocatable.get(resource)
    if amount is None:
        return "0"
    divisor = ref.divisor if ref.divisor is not None and ref.divisor.milli else Quantity.parse("1")
    if resource == "cpu":
        return str(-(-amount.milli // divisor.milli))
    return str(-(-amount.value // divisor.value))


def all_containers(pod: Pod) -> tuple[Container, ...]:
    return (*pod.spec.init_containers, *pod.spec.containers)


# --- user, capabilities, limits --------------------------------------------------------------------------------------


def resolve_user(
    security: SecurityContext, pod_security: PodSecurityContext, image_user: str, passwd: str, group: str
) -> User:
    """Who the process runs as; names are looked up in the image's account files. Raises `ConfigError`."""
    wanted = security.run_as_user if security.run_as_user is not None else pod_security.run_as_user
    wanted_group = security.run_as_group if security.run_as_group is not None else pod_security.run_as_group
    name, _, group_name = image_user.partition(":")
    accounts = [line.split(":") for line in passwd.splitlines() if line.count(":") >= 3]
    groups = [line.split(":") for line in group.splitlines() if line.count(":") >= 2]
    text = str(wanted) if wanted is not None else (name or "0")
    account = next((each for each in accounts if each[0] == text or each[2] == text), None)
    if account is None and not text.isdigit():
        raise ConfigError(f"unable to find user {text}: the image's /etc/passwd has no such name")
    uid = int(account[2]) if account else int(text)
    gid = int(account[3]) if account else 0
    if wanted is None and group_name:
        found = next((each for each in groups if group_name in (each[0], each[2])), None)
        if found is None and not group_name.isdigit():
            raise ConfigError(f"unable to find group {group_name}: the image's /etc/group has no such name")
        gid = int(found[2]) if found else int(group_name)
    if wanted_group is not None:
        gid = wanted_group
    extra: list[int] = []
    if pod_security.supplemental_groups_policy != "Strict" and account is not None:
        extra += [int(each[2]) for each in groups if len(each) > 3 and account[0] in each[3].split(",")]
    extra += list(pod_security.supplemental_groups)
    if pod_security.fs_group is not None:
        extra.append(pod_security.fs_group)
    return User(uid, gid, tuple(dict.fromkeys(extra)))


def _refuse_root(
    pod: Pod,
    container: Container,
    security: SecurityContext,
    pod_security: PodSecurityContext,
    image_user: str,
    user: User,
) -> None:
    required = security.run_as_non_root if security.run_as_non_root is not None else pod_security.run_as_non_root
    if not required:
        return
    where = f'(pod: "{pod.metadata.name}_{pod.metadata.namespace}({pod.metadata.uid})", container: {container.name})'
    chosen = security.run_as_user if security.run_as_user is not None else pod_security.run_as_user
    if chosen is not None:
        if chosen == 0:
            raise ConfigError(f"container's runAsUser breaks non-root policy {where}")
        return
    name = image_user.partition(":")[0]
    if name and not name.isdigit():
        raise ConfigError(
            f"container has runAsNonRoot and image has non-numeric user ({name}), "
            f"cannot verify user is non-root {where}"
        )
    if user.uid == 0:
        raise ConfigError(f"container has runAsNonRoot and image will run as root {where}")


def capabilities_of(security: SecurityContext) -> tuple[str, ...]:
    """The bounding set: containerd's default, plus `add`, minus `drop`; `ALL` stands for all of them."""
    if security.privileged:
        return ALL_CAPABILITIES
    add = _names(security.capabilities.add) if security.capabilities else ()
    drop = _names(security.capabilities.drop) if security.capabilities else ()
    held = set(ALL_CAPABILITIES) if "CAP_ALL" in add else set(DEFAULT_CAPABILITIES)
    if "CAP_ALL" in drop:
        held = set()
    held |= {name for name in add if name != "CAP_ALL"}
    if "CAP_ALL" not in drop:
        held -= set(drop)
    return tuple(sorted(held))


def _names(raw: Sequence[str]) -> tuple[str, ...]:
    return tuple(name.upper() if name.upper().startswith("CAP_") else f"CAP_{name.upper()}" for name in raw)


def limits(pod: Pod, container: Container, node: NodeView) -> Limits:
    """cgroup settings from requests and limits, in upstream's arithmetic."""
    wanted, most = container.resources.requests, container.resources.limits
    cpu = wanted.get("cpu", most.get("cpu"))
    shares = max(2, cpu.milli * 1024 // 1000) if cpu is not None and cpu.milli else 2
    quota = max(1000, most["cpu"].milli * CPU_PERIOD_US // 1000) if "cpu" in most and most["cpu"].milli else 0
    memory = most["memory"].value if "memory" in most else 0
    return Limits(min(shares, 262144), quota, memory, _oom_score(pod, container, node))


def _oom_score(pod: Pod, container: Container, node: NodeView) -> int:
    match qos.of(pod):
        case qos.GUARANTEED:
            return -997
        case qos.BEST_EFFORT:
            return 1000
    request = container.resources.requests.get("memory", container.resources.limits.get("memory"))
    capacity = (node.allocatable or {}).get("memory")
    if request is None or capacity is None or not capacity.value:
        return 999
    return min(999, max(3, 1000 - 1000 * request.value // capacity.value))


# --- mounts and volumes ----------------------------------------------------------------------------------------------


def _mounts(
    pod: Pod,
    container: Container,
    privileged: bool,
    volumes: Mapping[str, str],
    files: Mapping[str, str],
    known: Mapping[str, str],
) -> tuple[Mount, ...]:
    sys_mode = "rw" if privileged else "ro"
    plain = ("nosuid", "noexec", "nodev")
    found = [
        Mount("/proc", "proc", "proc", plain),
        Mount("/dev", "tmpfs", "tmpfs", ("nosuid", "strictatime", "mode=755", "size=65536k")),
        Mount(
            "/dev/pts", "devpts", "devpts", ("nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5")
        ),
        Mount("/dev/mqueue", "mqueue", "mqueue", plain),
        Mount("/dev/shm", "shm", "tmpfs", (*plain, "mode=1777", "size=65536k")),
        Mount("/sys", "sysfs", "sysfs", (*plain, sys_mode)),
        Mount("/sys/fs/cgroup", "cgroup", "cgroup", (*plain, "relatime", sys_mode)),
    ]
    if pod.spec.host_network:
        found[5] = Mount("/sys", "/sys", "bind", ("rbind", "rprivate", "nosuid", "noexec", "nodev", sys_mode))
    own: dict[str, Mount] = {path: Mount(path, source) for path, source in files.items()}
    for mount in container.volume_mounts:
        directory = volumes.get(mount.name)
        if directory is None:
            raise ConfigError(f'volume "{mount.name}" of container "{container.name}" is not among the pod\'s volumes')
        sub_path = expand(mount.sub_path_expr, known) if mount.sub_path_expr else mount.sub_path
        if ".." in sub_path.split("/") or sub_path.startswith("/"):
            raise ConfigError(f'subPath "{sub_path}" must not be absolute or contain ".."')
        propagation = {"HostToContainer": "rslave", "Bidirectional": "rshared"}.get(mount.mount_propagation, "rprivate")
        source = f"{directory}/{sub_path}" if sub_path else directory
        options = ("rbind", propagation, "ro" if mount.read_only else "rw")
        own[mount.mount_path] = Mount(mount.mount_path, source, "bind", options)
    return (*found, *sorted(own.values(), key=lambda mount: (mount.destination.count("/"), mount.destination)))


@dataclass(frozen=True, slots=True)
class VolumeFile:
    """`owner` is the user who owns the file, if not root."""

    content: bytes
    mode: int
    owner: int | None = None


class MissingObjectError(ConfigError):
    """A volume refers to an object or key that does not exist (yet)."""


def volume_files(
    pod: Pod,
    volume: Volume,
    *,
    lookup: Lookup,
    node: NodeView,
    token: Callable[[str, int], str] | None = None,
) -> dict[str, VolumeFile] | None:
    """The files of a ConfigMap, Secret, downward API or projected volume by relative path; None for other volumes.

    `token(audience, expiration_s)` makes service account tokens; who reads them owns them, or his group may read them,
    and then nobody else may. Raises `MissingObjectError`.
    """
    if volume.config_map is not None:
        config = volume.config_map
        return _config_map_files(config.name, config.items, config.optional, _mode(config.default_mode), lookup)
    if volume.secret is not None:
        secret = volume.secret
        return _secret_files(secret.secret_name, secret.items, secret.optional, _mode(secret.default_mode), lookup)
    if volume.downward_api is not None:
        downward = volume.downward_api
        return _downward_files(pod, downward.items, _mode(downward.default_mode), node)
    if volume.projected is None:
        return None
    mode = _mode(volume.projected.default_mode)
    found: dict[str, VolumeFile] = {}
    for source in volume.projected.sources:
        if source.config_map is not None:
            part = source.config_map
            found.update(_config_map_files(part.name, part.items, part.optional, mode, lookup))
        if source.secret is not None:
            piece = source.secret
            found.update(_secret_files(piece.name, piece.items, piece.optional, mode, lookup))
        if source.downward_api is not None:
            found.update(_downward_files(pod, source.downward_api.items, mode, node))
        if source.service_account_token is not None:
            wanted = source.service_account_token
            if token is None:
                raise MissingObjectError("failed to fetch token: this cluster issues no service account tokens")
            owner = _only_user(pod)
            grouped = pod.spec.security_context is not None and pod.spec.security_context.fs_group is not None
            own_mode = 0o600 if owner is not None or grouped else mode
            content = token(wanted.audience, wanted.expiration_seconds or 3600).encode()
            found[wanted.path] = VolumeFile(content, own_mode, owner)
        if source.cluster_trust_bundle is not None or source.pod_certificate is not None:
            raise MissingObjectError("clusterTrustBundle and podCertificate projections are not supported")
    return found


def _only_user(pod: Pod) -> int | None:
    """The user that all containers run as, if they say so and agree."""
    pod_wide = pod.spec.security_context.run_as_user if pod.spec.security_context is not None else None
    contexts = [each.security_context for each in (*pod.spec.init_containers, *pod.spec.containers)]
    contexts += [each.security_context for each in pod.spec.ephemeral_containers]
    users = {pod_wide if each is None or each.run_as_user is None else each.run_as_user for each in contexts}
    return users.pop() if len(users) == 1 else None


def _mode(chosen: int | None) -> int:
    return 0o644 if chosen is None else chosen


def _chosen(
    content: Mapping[str, bytes], items: Sequence[KeyToPath], optional: bool | None, mode: int
) -> dict[str, VolumeFile]:
    if not items:
        return {key: VolumeFile(value, mode) for key, value in content.items()}
    found = {}
    for item in items:
        if item.key not in content:
            if optional:
                continue
            raise MissingObjectError(f"references non-existent config key: {item.key}")
        found[item.path] = VolumeFile(content[item.key], mode if item.mode is None else item.mode)
    return found


def _config_map_files(
    name: str, items: Sequence[KeyToPath], optional: bool | None, mode: int, lookup: Lookup
) -> dict[str, VolumeFile]:
    config_map = lookup.config_map(name)
    if config_map is None:
        if optional:
            return {}
        raise MissingObjectError(f'configmap "{name}" not found')
    content = {key: value.encode() for key, value in config_map.data.items()}
    content.update({key: base64.b64decode(value) for key, value in config_map.binary_data.items()})
    return _chosen(content, items, optional, mode)


def _secret_files(
    name: str, items: Sequence[KeyToPath], optional: bool | None, mode: int, lookup: Lookup
) -> dict[str, VolumeFile]:
    secret = lookup.secret(name)
    if secret is None:
        if optional:
            return {}
        raise MissingObjectError(f'secret "{name}" not found')
    return _chosen(secret_bytes(secret), items, optional, mode)


def _downward_files(
    pod: Pod, items: Sequence[DownwardAPIVolumeFile], mode: int, node: NodeView
) -> dict[str, VolumeFile]:
    found = {}
    for item in items:
        if item.field_ref is not None:
            text = field_value(pod, item.field_ref, node)
        elif item.resource_field_ref is not None:
            name = item.resource_field_ref.container_name
            container = next((each for each in all_containers(pod) if each.name == name), None)
            if container is None:
                raise MissingObjectError(f"container {name} not found")
            text = resource_value(pod, container, item.resource_field_ref, node)
        else:
            continue
        found[item.path] = VolumeFile(text.encode(), mode if item.mode is None else item.mode)
    return found
