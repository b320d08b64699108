"""Pod Security Standards: whether a namespace's level allows a pod, as the PodSecurity admission plugin decides it.

Rules (https://kubernetes.io/docs/concepts/security/pod-security-standards/): a namespace's label
`pod-security.kubernetes.io/enforce` names the level, `enforce-version` as of which Kubernetes its checks are meant;
`warn` and `audit` do so for what is only told. A check that restricted makes stricter takes the place of the one of
baseline. Only pods are refused, never the workloads that make them, and pods that are there already stay: a changed pod
is looked at again if its images are others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from seatrial.control.controller import NEWEST_MINOR
from seatrial.kube.faults import Fault, invalid
from seatrial.kube.objects import Container, PodSpec
from seatrial.kube.objects.pods import LifecycleHandler, Probe, SecurityContext

ENFORCE: Final = "pod-security.kubernetes.io/enforce"
ENFORCE_VERSION: Final = "pod-security.kubernetes.io/enforce-version"
_AUDIT: Final = "pod-security.kubernetes.io/audit"
_WARN: Final = "pod-security.kubernetes.io/warn"
LEVELS: Final = ("privileged", "baseline", "restricted")

_APP_ARMOR: Final = "container.apparmor.security.beta.kubernetes.io/"
_ADDED: Final = frozenset(
    ("AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD", "NET_BIND_SERVICE", "SETFCAP",
     "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT")
)  # fmt: skip
_SYSCTLS: Final[Mapping[str, int]] = {
    "kernel.shm_rmid_forced": 0, "net.ipv4.ip_local_port_range": 0, "net.ipv4.tcp_syncookies": 0,
    "net.ipv4.ping_group_range": 0, "net.ipv4.ip_unprivileged_port_start": 0, "net.ipv4.ip_local_reserved_ports": 27,
    "net.ipv4.tcp_keepalive_time": 29, "net.ipv4.tcp_fin_timeout": 29, "net.ipv4.tcp_keepalive_intvl": 29,
    "net.ipv4.tcp_keepalive_probes": 29, "net.ipv4.tcp_rmem": 32, "net.ipv4.tcp_wmem": 32,
    "net.ipv4.tcp_slow_start_after_idle": 37, "net.ipv4.tcp_notsent_lowat": 37,
}  # fmt: skip
"""Harmless ones, and since which version of the standards."""
_VOLUMES: Final = frozenset(
    ("config_map", "csi", "downward_api", "empty_dir", "ephemeral", "image", "persistent_volume_claim", "projected",
     "secret")
)  # fmt: skip
_WIRE_NAMES: Final = {
    "aws_elastic_block_store": "awsElasticBlockStore", "gce_persistent_disk": "gcePersistentDisk",
    "fc": "fc", "scale_io": "scaleIO",
}  # fmt: skip
_SELINUX: Final = frozenset(("", "container_t", "container_init_t", "container_kvm_t"))
_SECCOMP_NOTE: Final = "seccomp.security.alpha.kubernetes.io/pod"
_SECCOMP: Final = ("RuntimeDefault", "Localhost")

Fragment = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Violation:
    """`where` are the fields of the pod's spec that are, or have to be, set."""

    reason: str
    detail: str
    where: tuple[Fragment, ...]

    def __str__(self) -> str:
        return f"{self.reason} ({self.detail})"


@dataclass(frozen=True, slots=True)
class Enforced:
    level: str
    minor: int
    version: str

    def __str__(self) -> str:
        return f"{self.level}:{self.version}"


def enforced(labels: Mapping[str, str], newest: int = NEWEST_MINOR) -> Enforced:
    """What a namespace's labels ask for; a level that there is not counts as restricted, as upstream has it."""
    level = labels.get(ENFORCE, "privileged")
    version = labels.get(ENFORCE_VERSION, "latest")
    digits = version.removeprefix("v1.")
    known = version.startswith("v1.") and digits.isdecimal()
    minor = min(int(digits), newest) if known else newest
    return Enforced(level if level in LEVELS else "restricted", minor, version if known else "latest")


def warned(labels: Mapping[str, str], newest: int = NEWEST_MINOR) -> Enforced:
    """What is told to whoever writes a pod or a template: what the labels say, or what is enforced if that is more."""
    level = labels.get(_WARN, "privileged")
    told = level if level in LEVELS else "privileged"
    kept = {ENFORCE: told, ENFORCE_VERSION: labels.get(f"{_WARN}-version", "latest")}
    by_default = labels.get(ENFORCE, "privileged")
    if _WARN not in labels and by_default in LEVELS[1:]:
        version = labels.get(f"{_WARN}-version", labels.get(ENFORCE_VERSION, "latest"))
        kept = {ENFORCE: by_default, ENFORCE_VERSION: version}
    return enforced(kept, newest)


def label_faults(labels: Mapping[str, str]) -> Iterator[Fault]:
    """What is misspelt in the labels of a namespace."""
    for mode in (ENFORCE, _AUDIT, _WARN):
        for label, is_right, rule in (
            (mode, labels.get(mode) in LEVELS, f"must be one of {', '.join(LEVELS)}"),
            (f"{mode}-version", _is_version(labels.get(f"{mode}-version", "")), 'must be "latest" or "v1.x"'),
        ):
            if label in labels and not is_right:
                yield invalid(f"metadata.labels[{label}]", labels[label], rule)


def _is_version(text: str) -> bool:
    digits = text.removeprefix("v1.")
    return text == "latest" or (digits != text and digits.isdecimal() and digits == str(int(digits)))


def is_looked_at_again(new: PodSpec, old: PodSpec) -> bool:
    """Whether an update of a pod changes what the standards are about: its containers and their images."""
    for mine, had in ((new.containers, old.containers), (new.init_containers, old.init_containers)):
        if [each.image for each in mine] != [each.image for each in had]:
            return True
    known = {each.name: each.image for each in old.ephemeral_containers}
    return any(known.get(each.name) != each.image for each in new.ephemeral_containers)


def refusal(asked: Enforced, spec: PodSpec, annotations: Mapping[str, str]) -> str:
    """Why a pod is not let in, in upstream's words; empty if it is."""
    found = violations(asked, spec, annotations)
    return f'violates PodSecurity "{asked}": {", ".join(map(str, found))}' if found else ""


def violations(asked: Enforced, spec: PodSpec, annotations: Mapping[str, str]) -> tuple[Violation, ...]:
    if asked.level == "privileged":
        return ()
    restricted = asked.level == "restricted"
    seen = _Pod(spec, annotations, asked.minor, restricted)
    stricter: dict[_Check, bool] = {
        _capabilities: asked.minor >= 22,
        _host_paths: True,
        _seccomp: asked.minor >= 19,
    }
    checks = [check for check in _BASELINE if not (restricted and stricter.get(check, False))]
    if restricted:
        checks += [check for since, check in _RESTRICTED if asked.minor >= since]
    return tuple(found for check in checks for found in check(seen))


@dataclass(frozen=True, slots=True)
class _Pod:
    spec: PodSpec
    annotations: Mapping[str, str]
    minor: int
    restricted: bool

    @property
    def containers(self) -> Iterator[tuple[Fragment, Container]]:
        """In the order in which upstream visits them."""
        for field, group in (
            ("initContainers", self.spec.init_containers),
            ("containers", self.spec.containers),
            ("ephemeralContainers", tuple(each.as_container() for each in self.spec.ephemeral_containers)),
        ):
            for index, container in enumerate(group):
                yield (field, index), container

    @property
    def windows(self) -> bool:
        return self.minor >= 25 and self.spec.os is not None and self.spec.os.name == "windows"

    @property
    def own_users(self) -> bool:
        """A user namespace of its own loosens what is said of users."""
        return self.minor >= 35 and self.spec.host_users is False


_Check = Callable[[_Pod], Iterator[Violation]]


def _many(word: str, count: int) -> str:
    return word if count == 1 else f"{word}s"


def _quoted(names: Iterable[str]) -> str:
    return ", ".join(f'"{name}"' for name in names)


def _named(found: list[tuple[Fragment, Container]]) -> str:
    return f"{_many('container', len(found))} {_quoted(container.name for _, container in found)}"


def _context(container: Container) -> SecurityContext:
    return container.security_context or SecurityContext()


def _fields(found: list[tuple[Fragment, Container]], *path: str) -> tuple[Fragment, ...]:
    return tuple((*where, *path) for where, _ in found)


def _host_namespaces(pod: _Pod) -> Iterator[Violation]:
    set_to = [
        name
        for name, value in (
            ("hostNetwork", pod.spec.host_network),
            ("hostPID", pod.spec.host_pid),
            ("hostIPC", pod.spec.host_ipc),
        )
        if value
    ]
    if set_to:
        yield Violation("host namespaces", ", ".join(f"{n}=true" for n in set_to), tuple((n,) for n in set_to))


def _host_paths(pod: _Pod) -> Iterator[Violation]:
    found = [(n, v.name) for n, v in enumerate(pod.spec.volumes) if v.host_path is not None]
    if found:
        detail = f"{_many('volume', len(found))} {_quoted(name for _, name in found)}"
        yield Violation("hostPath volumes", detail, tuple(("volumes", n, "hostPath") for n, _ in found))


def _host_ports(pod: _Pod) -> Iterator[Violation]:
    found = [(w, c) for w, c in pod.containers if any(port.host_port for port in c.ports)]
    if found:
        ports = sorted({str(port.host_port) for _, c in found for port in c.ports if port.host_port})
        uses = "uses" if len(found) == 1 else "use"
        detail = f"{_named(found)} {uses} {_many('hostPort', len(ports))} {', '.join(ports)}"
        yield Violation("hostPort", detail, _fields(found, "ports"))


def _host_probes(pod: _Pod) -> Iterator[Violation]:
    if pod.minor < 34:
        return
    found: list[tuple[Fragment, Container]] = []
    hosts: set[str] = set()
    for where, container in pod.containers:
        lifecycle = container.lifecycle
        asked: list[Probe | LifecycleHandler | None] = [
            container.liveness_probe,
            container.readiness_probe,
            container.startup_probe,
            *((lifecycle.post_start, lifecycle.pre_stop) if lifecycle else ()),
        ]
        own = {
            action.host
            for each in asked
            if each is not None
            for action in (each.http_get, each.tcp_socket)
            if action is not None and action.host
        }
        if own:
            found.append((where, container))
            hosts |= own
    if found:
        uses = "uses" if len(found) == 1 else "use"
        what = f"{_many('probe or lifecycle host', len(hosts))} {_quoted(sorted(hosts))}"
        yield Violation("probe or lifecycle host", f"{_named(found)} {uses} {what}", _fields(found))


def _privileged(pod: _Pod) -> Iterator[Violation]:
    found = [(w, c) for w, c in pod.containers if _context(c).privileged]
    if found:
        detail = f"{_named(found)} must not set securityContext.privileged=true"
        yield Violation("privileged", detail, _fields(found, "securityContext", "privileged"))


def _capabilities(pod: _Pod) -> Iterator[Violation]:
    found: list[tuple[Fragment, Container]] = []
    added: set[str] = set()
    for where, container in pod.containers:
        capabilities = _context(container).capabilities
        beyond = {name for name in (capabilities.add if capabilities else ()) if name not in _ADDED}
        if beyond:
            found.append((where, container))
            added |= beyond
    if found:
        detail = f"{_named(found)} must not include {_quoted(sorted(added))} in securityContext.capabilities.add"
        yield Violation("non-default capabilities", detail, _fields(found, "securityContext", "capabilities", "add"))


def _restricted_capabilities(pod: _Pod) -> Iterator[Violation]:
    if pod.windows:
        return
    keeping: list[tuple[Fragment, Container]] = []
    adding: list[tuple[Fragment, Container]] = []
    added: set[str] = set()
    for where, container in pod.containers:
        capabilities = _context(container).capabilities
        if capabilities is None or "ALL" not in capabilities.drop:
            keeping.append((where, container))
        beyond = set(capabilities.add if capabilities else ()) - {"NET_BIND_SERVICE"}
        if beyond:
            adding.append((where, container))
            added |= beyond
    details = []
    if keeping:
        details.append(f'{_named(keeping)} must set securityContext.capabilities.drop=["ALL"]')
    if adding:
        details.append(
            f"{_named(adding)} must not include {_quoted(sorted(added))} in securityContext.capabilities.add"
        )
    if details:
        where_all = _fields([*keeping, *adding], "securityContext", "capabilities")
        yield Violation("unrestricted capabilities", "; ".join(details), where_all)


def _app_armor(pod: _Pod) -> Iterator[Violation]:
    allowed = ("RuntimeDefault", "Localhost")
    values: set[str] = set()
    setters: list[str] = []
    where: list[Fragment] = []
    context = pod.spec.security_context
    if context is not None and context.app_armor_profile is not None and context.app_armor_profile.type not in allowed:
        setters.append("pod")
        values.add(context.app_armor_profile.type)
        where.append(("securityContext", "appArmorProfile"))
    found = []
    for at, container in pod.containers:
        profile = _context(container).app_armor_profile
        if profile is not None and profile.type not in allowed:
            found.append((at, container))
            values.add(profile.type)
    if found:
        setters.append(_named(found))
        where += _fields(found, "securityContext", "appArmorProfile")
    notes = sorted(
        f'{key}="{value}"'
        for key, value in pod.annotations.items()
        if key.startswith(_APP_ARMOR) and not (value in ("", "runtime/default") or value.startswith("localhost/"))
    )
    if notes:
        setters.append(_many("annotation", len(notes)))
    if setters:
        every = [*sorted(values), *notes]
        reason = f"forbidden AppArmor {_many('profile', len(every))}"
        detail = f"{' and '.join(setters)} must not set AppArmor profile type to {_quoted(every)}"
        yield Violation(reason, detail, tuple(where))


def _proc_mount(pod: _Pod) -> Iterator[Violation]:
    if pod.own_users and not pod.restricted:
        return
    found = [(w, c) for w, c in pod.containers if _context(c).proc_mount not in (None, "Default")]
    if found:
        types = sorted({str(_context(c).proc_mount) for _, c in found})
        detail = f"{_named(found)} must not set securityContext.procMount to {_quoted(types)}"
        yield Violation("procMount", detail, _fields(found, "securityContext", "procMount"))


def _selinux(pod: _Pod) -> Iterator[Violation]:
    allowed = _SELINUX | ({"container_engine_t"} if pod.minor >= 31 else frozenset())
    setters: list[str] = []
    where: list[Fragment] = []
    bad = []
    context = pod.spec.security_context
    if context is not None and (own := context.se_linux_options) is not None and not _is_plain(own, allowed):
        setters.append("pod")
        bad.append(own)
        where.append(("securityContext", "seLinuxOptions"))
    found = []
    for at, container in pod.containers:
        options = _context(container).se_linux_options
        if options is not None and not _is_plain(options, allowed):
            found.append((at, container))
            bad.append(options)
    if found:
        setters.append(_named(found))
        where += _fields(found, "securityContext", "seLinuxOptions")
    if not setters:
        return
    types = sorted({each.type for each in bad if each.type not in allowed})
    data = [f"{_many('type', len(types))} {_quoted(types)}"] if types else []
    data += ["user may not be set"] if any(each.user for each in bad) else []
    data += ["role may not be set"] if any(each.role for each in bad) else []
    detail = f"{' and '.join(setters)} set forbidden securityContext.seLinuxOptions: {'; '.join(data)}"
    yield Violation("seLinuxOptions", detail, tuple(where))


def _is_plain(options: object, allowed: frozenset[str]) -> bool:
    kind, user, role = (getattr(options, name) for name in ("type", "user", "role"))
    return kind in allowed and not user and not role


def _seccomp(pod: _Pod) -> Iterator[Violation]:
    if pod.minor < 19:  # when profiles were annotations
        keys = [_SECCOMP_NOTE, *(f"container.{_SECCOMP_NOTE[: -len('pod')]}{c.name}" for _, c in pod.containers)]
        notes = sorted(
            f'{key}="{pod.annotations[key]}"'
            for key in keys
            if key in pod.annotations
            and pod.annotations[key] not in ("runtime/default", "docker/default")
            and not pod.annotations[key].startswith("localhost/")
        )
        if notes:
            detail = f"forbidden {_many('annotation', len(notes))} {', '.join(notes)}"
            yield Violation("seccompProfile", detail, ())
        return
    setters, where, values = _unconfined(pod)
    if setters:
        detail = f"{' and '.join(setters)} must not set securityContext.seccompProfile.type to {_quoted(values)}"
        yield Violation("seccompProfile", detail, where)


def _unconfined(pod: _Pod) -> tuple[list[str], tuple[Fragment, ...], list[str]]:
    """Who sets a seccomp profile that is none, where, and which."""
    setters: list[str] = []
    where: list[Fragment] = []
    values: set[str] = set()
    context = pod.spec.security_context
    if context is not None and context.seccomp_profile is not None and context.seccomp_profile.type not in _SECCOMP:
        setters.append("pod")
        values.add(context.seccomp_profile.type)
        where.append(("securityContext", "seccompProfile", "type"))
    found = []
    for at, container in pod.containers:
        profile = _context(container).seccomp_profile
        if profile is not None and profile.type not in _SECCOMP:
            found.append((at, container))
            values.add(profile.type)
    if found:
        setters.append(_named(found))
        where += _fields(found, "securityContext", "seccompProfile", "type")
    return setters, tuple(where), sorted(values)


def _restricted_seccomp(pod: _Pod) -> Iterator[Violation]:
    if pod.windows:
        return
    setters, where, values = _unconfined(pod)
    if setters:
        detail = f"{' and '.join(setters)} must not set securityContext.seccompProfile.type to {_quoted(values)}"
        yield Violation("seccompProfile", detail, where)
        return
    context = pod.spec.security_context
    if context is not None and context.seccomp_profile is not None:
        return
    found = [(w, c) for w, c in pod.containers if _context(c).seccomp_profile is None]
    if found:
        detail = (
            f'pod or {_named(found)} must set securityContext.seccompProfile.type to "RuntimeDefault" or "Localhost"'
        )
        yield Violation("seccompProfile", detail, (("securityContext", "seccompProfile"),))


def _sysctls(pod: _Pod) -> Iterator[Violation]:
    context = pod.spec.security_context
    set_to = [each.name for each in context.sysctls] if context is not None else []
    bad = [name for name in set_to if name not in _SYSCTLS or pod.minor < _SYSCTLS[name]]
    if bad:
        yield Violation("forbidden sysctls", ", ".join(bad), (("securityContext", "sysctls"),))


def _host_process(pod: _Pod) -> Iterator[Violation]:
    setters: list[str] = []
    where: list[Fragment] = []
    context = pod.spec.security_context
    if context is not None and context.windows_options is not None and context.windows_options.host_process:
        setters.append("pod")
        where.append(("securityContext", "windowsOptions", "hostProcess"))
    found = [
        (w, c)
        for w, c in pod.containers
        if (options := _context(c).windows_options) is not None and options.host_process
    ]
    if found:
        setters.append(_named(found))
        where += _fields(found, "securityContext", "windowsOptions", "hostProcess")
    if setters:
        detail = f"{' and '.join(setters)} must not set securityContext.windowsOptions.hostProcess=true"
        yield Violation("hostProcess", detail, tuple(where))


def _escalation(pod: _Pod) -> Iterator[Violation]:
    if pod.windows:
        return
    found = [(w, c) for w, c in pod.containers if _context(c).allow_privilege_escalation is not False]
    if found:
        detail = f"{_named(found)} must set securityContext.allowPrivilegeEscalation=false"
        yield Violation(
            "allowPrivilegeEscalation != false", detail, _fields(found, "securityContext", "allowPrivilegeEscalation")
        )


def _volume_types(pod: _Pod) -> Iterator[Violation]:
    found: list[tuple[int, str]] = []
    types: set[str] = set()
    for number, volume in enumerate(pod.spec.volumes):
        given = [n for n in volume.__struct_fields__ if n != "name" and getattr(volume, n) is not None]
        bad = next((name for name in given if name not in _VOLUMES), None)
        if bad is not None:
            found.append((number, volume.name))
            head, *rest = bad.split("_")
            types.add(_WIRE_NAMES.get(bad, head + "".join(part.title() for part in rest)))
    if found:
        uses = "uses" if len(found) == 1 else "use"
        what = f"{_many('restricted volume type', len(types))} {_quoted(sorted(types))}"
        detail = f"{_many('volume', len(found))} {_quoted(name for _, name in found)} {uses} {what}"
        yield Violation("restricted volume types", detail, tuple(("volumes", number) for number, _ in found))


def _non_root(pod: _Pod) -> Iterator[Violation]:
    if pod.own_users:
        return
    context = pod.spec.security_context
    of_pod = context.run_as_non_root if context is not None else None
    setters = ["pod"] if of_pod is False else []
    where: list[Fragment] = [("securityContext", "runAsNonRoot")] if of_pod is False else []
    explicit = [(w, c) for w, c in pod.containers if _context(c).run_as_non_root is False]
    if explicit:
        setters.append(_named(explicit))
        where += _fields(explicit, "securityContext", "runAsNonRoot")
    if setters:
        detail = f"{' and '.join(setters)} must not set securityContext.runAsNonRoot=false"
        yield Violation("runAsNonRoot != true", detail, tuple(where))
        return
    silent = [(w, c) for w, c in pod.containers if _context(c).run_as_non_root is None and not of_pod]
    if silent:
        detail = f"pod or {_named(silent)} must set securityContext.runAsNonRoot=true"
        yield Violation("runAsNonRoot != true", detail, (("securityContext", "runAsNonRoot"),))


def _root_user(pod: _Pod) -> Iterator[Violation]:
    if pod.own_users:
        return
    context = pod.spec.security_context
    of_pod = context is not None and context.run_as_user == 0
    setters = ["pod"] if of_pod else []
    where: list[Fragment] = [("securityContext", "runAsUser")] if of_pod else []
    found = [(w, c) for w, c in pod.containers if _context(c).run_as_user == 0]
    if found:
        setters.append(_named(found))
        where += _fields(found, "securityContext", "runAsUser")
    if setters:
        yield Violation("runAsUser=0", f"{' and '.join(setters)} must not set runAsUser=0", tuple(where))


_BASELINE: Final[tuple[_Check, ...]] = (
    _app_armor,
    _capabilities,
    _host_namespaces,
    _host_paths,
    _host_ports,
    _host_probes,
    _privileged,
    _proc_mount,
    _selinux,
    _seccomp,
    _sysctls,
    _host_process,
)
_RESTRICTED: Final[tuple[tuple[int, _Check], ...]] = (
    (8, _escalation),
    (22, _restricted_capabilities),
    (0, _volume_types),
    (0, _non_root),
    (23, _root_user),
    (19, _restricted_seccomp),
)
"""Since which version of the standards; in upstream's order, the order of their names."""
