"""Security contexts of containers and pods, and what depends on the operating system that a pod names."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

from seatrial.kube.objects import JsonObject
from seatrial.kube.validation.fields import (
    Faults,
    byte_length,
    duplicate,
    forbidden,
    invalid,
    items,
    one_of,
    part,
    required,
    subdomain,
    too_long,
    unsupported,
    user_id,
)
from seatrial.kube.validation.volumes import way_down

_PROFILES: Final = ("Localhost", "RuntimeDefault", "Unconfined")
_LONGEST_PROFILE: Final = 4095  # PATH_MAX - 1
KINDS: Final = ("initContainers", "containers", "ephemeralContainers")


def every_container(path: str, spec: JsonObject) -> Iterator[tuple[str, JsonObject]]:
    for kind in KINDS:
        yield from items(f"{path}.{kind}", spec, kind)


def security_context(path: str, held: JsonObject, *, host_users: bool) -> Faults:
    """A container's."""
    for name in ("runAsUser", "runAsGroup"):
        yield from user_id(f"{path}.{name}", held.get(name))
    mount = held.get("procMount")
    if mount is not None:
        yield from one_of(f"{path}.procMount", mount, ("Default", "Unmasked"))
        if host_users and mount == "Unmasked":
            yield invalid(f"{path}.procMount", mount, "`hostUsers` must be false to use `Unmasked`")
    yield from _seccomp(f"{path}.seccompProfile", held.get("seccompProfile"))
    if held.get("allowPrivilegeEscalation") is False:
        if held.get("privileged"):
            yield invalid(path, None, "cannot set `allowPrivilegeEscalation` to false and `privileged` to true")
        for name in part(held, "capabilities").get("add") or ():
            if name == "CAP_SYS_ADMIN":
                why = "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN"
                yield invalid(path, None, why)
    yield from _windows_options(f"{path}.windowsOptions", held.get("windowsOptions"))
    yield from _app_armor(f"{path}.appArmorProfile", held.get("appArmorProfile"))


def pod_security_context(path: str, spec: JsonObject) -> Faults:
    held, at = spec.get("securityContext"), f"{path}.securityContext"
    if not held:
        return
    for name in ("fsGroup", "runAsUser", "runAsGroup"):
        yield from user_id(f"{at}.{name}", held.get(name))
    for number, group in enumerate(held.get("supplementalGroups") or ()):
        yield from user_id(f"{at}.supplementalGroups[{number}]", group)
    if held.get("sysctls"):
        yield from _sysctls(f"{at}.sysctls", held, spec)
    for name, choices in (
        ("fsGroupChangePolicy", ("Always", "OnRootMismatch")),
        ("supplementalGroupsPolicy", ("Merge", "Strict")),
        ("seLinuxChangePolicy", ("MountOption", "Recursive")),
    ):
        if held.get(name) is not None:
            yield from one_of(f"{at}.{name}", held[name], choices)
    yield from _seccomp(f"{at}.seccompProfile", held.get("seccompProfile"))
    yield from _windows_options(f"{at}.windowsOptions", held.get("windowsOptions"))
    yield from _app_armor(f"{at}.appArmorProfile", held.get("appArmorProfile"))


def _seccomp(path: str, held: JsonObject | None) -> Faults:
    if held is None:
        return
    kind, profile = held.get("type") or "", held.get("localhostProfile")
    if not kind:
        yield required(f"{path}.type", "type is required when seccompProfile is set")
    else:
        yield from one_of(f"{path}.type", kind, _PROFILES)
    at = f"{path}.localhostProfile"
    if kind != "Localhost":
        if profile is not None:
            yield invalid(at, held, "can only be set when seccomp type is Localhost")
    elif profile is None:
        yield required(at, "must be set when seccomp type is Localhost")
    else:
        yield from way_down(at, profile)


def _app_armor(path: str, held: JsonObject | None) -> Faults:
    if held is None:
        return
    kind, profile = held.get("type") or "", held.get("localhostProfile")
    at, needed = f"{path}.localhostProfile", "must be set when AppArmor type is Localhost"
    if kind == "Localhost":
        if profile is None:
            yield required(at, needed)
            return
        if profile != profile.strip():
            yield invalid(at, profile, "must not be padded with whitespace")
        elif not profile:
            yield required(at, needed)
        if byte_length(profile) > _LONGEST_PROFILE:
            yield too_long(at, _LONGEST_PROFILE)
    elif kind in _PROFILES:
        if profile is not None:
            yield invalid(at, profile, "can only be set when AppArmor type is Localhost")
    elif not kind:
        yield required(f"{path}.type", "type is required when appArmorProfile is set")
    else:
        yield unsupported(f"{path}.type", kind, _PROFILES)


# --- kernel parameters ---

_SEGMENT: Final = "[a-z0-9]([-_a-z0-9]*[a-z0-9])?"
_SYSCTL: Final = re.compile(rf"({_SEGMENT}[\./])*{_SEGMENT}")
_LONGEST_SYSCTL: Final = 253
_IPC: Final = frozenset(("kernel.sem", "kernel.shmall", "kernel.shmmax", "kernel.shmmni", "kernel.shm_rmid_forced"))


def _sysctls(path: str, held: JsonObject, spec: JsonObject) -> Faults:
    seen: set[str] = set()
    for at, each in items(path, held, "sysctls"):
        name = each.get("name") or ""
        if not name:
            yield required(f"{at}.name")
        elif len(name) > _LONGEST_SYSCTL or not _SYSCTL.fullmatch(name):
            why = f"must have at most {_LONGEST_SYSCTL} characters and match regex ^{_SYSCTL.pattern}$"
            yield invalid(f"{at}.name", name, why)
        elif name in seen:
            yield duplicate(f"{at}.name", name)
        seen.add(name)
        plain = _plain(name)
        if spec.get("hostNetwork") and plain.startswith("net."):
            yield invalid(f"{at}.name", name, "may not be specified when 'hostNetwork' is true")
        elif spec.get("hostIPC") and (plain in _IPC or plain.startswith(("kernel.msg", "fs.mqueue."))):
            yield invalid(f"{at}.name", name, "may not be specified when 'hostIPC' is true")


def _plain(name: str) -> str:
    """With dots between the parts: where a slash comes first, slashes are what separates."""
    first = re.search("[./]", name)
    return name if first is None or first[0] == "." else name.translate({ord("/"): ".", ord("."): "/"})


# --- operating systems ---

_NOT_OF_WINDOWS: Final = (
    "appArmorProfile",
    "seLinuxOptions",
    "seccompProfile",
    "fsGroup",
    "fsGroupChangePolicy",
    "sysctls",
    "runAsUser",
    "runAsGroup",
    "supplementalGroups",
    "supplementalGroupsPolicy",
    "seLinuxChangePolicy",
)
_NOT_OF_WINDOWS_CONTAINERS: Final = (
    "appArmorProfile",
    "seLinuxOptions",
    "seccompProfile",
    "capabilities",
    "readOnlyRootFilesystem",
    "privileged",
    "allowPrivilegeEscalation",
    "procMount",
    "runAsUser",
    "runAsGroup",
)
_NO_WINDOWS: Final = "cannot be set for a windows pod"
_NO_LINUX: Final = "windows options cannot be set for a linux pod"


def operating_system(path: str, spec: JsonObject) -> Faults:
    system = spec.get("os")
    if system is None:
        return
    name = system.get("name") or ""
    if not name:
        yield required(f"{path}.os.name")
    elif name not in ("linux", "windows"):
        yield unsupported(f"{path}.os", name, ("linux", "windows"))
    elif name == "linux":
        places = [(path, spec), *every_container(path, spec)]
        for at, each in places:
            if part(each, "securityContext").get("windowsOptions") is not None:
                yield forbidden(f"{at}.securityContext.windowsOptions", _NO_LINUX)
    else:
        yield from _windows(path, spec)


def _windows(path: str, spec: JsonObject) -> Faults:
    held = part(spec, "securityContext")
    for name in _NOT_OF_WINDOWS:
        if held.get(name) is not None and (name != "sysctls" or held[name]):
            yield forbidden(f"{path}.securityContext.{name}", _NO_WINDOWS)
    for name in ("hostUsers", "hostPID", "hostIPC", "shareProcessNamespace"):
        if spec.get(name) if name in ("hostPID", "hostIPC") else spec.get(name) is not None:
            yield forbidden(f"{path}.{name}", _NO_WINDOWS)
    for at, container in every_container(path, spec):
        context = part(container, "securityContext")
        for name in _NOT_OF_WINDOWS_CONTAINERS:
            if context.get(name) is not None:
                yield forbidden(f"{at}.securityContext.{name}", _NO_WINDOWS)


_LARGEST_SPEC_KIB: Final = 64
_LONGEST_DOMAIN: Final = 256
_LONGEST_USER: Final = 104
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")
_NET_BIOS: Final = re.compile(r'[^\\/:*?"<>|.][^\\/:*?"<>|]{0,14}')
_DNS: Final = re.compile(
    r"[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?(?:\.[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?)*"
)
_NO_USER: Final = re.compile(r'["/\\:;|=,+*?<>@\[\]]')


def _windows_options(path: str, held: JsonObject | None) -> Faults:
    if held is None:
        return
    if held.get("gmsaCredentialSpecName") is not None:
        yield from subdomain(f"{path}.gmsaCredentialSpecName", held["gmsaCredentialSpecName"])
    text, at = held.get("gmsaCredentialSpec"), f"{path}.gmsaCredentialSpec"
    if text == "":
        yield invalid(at, text, "gmsaCredentialSpec cannot be an empty string")
    elif text is not None and byte_length(text) > _LARGEST_SPEC_KIB * 1024:
        yield invalid(at, text, f"gmsaCredentialSpec size must be under {_LARGEST_SPEC_KIB} KiB")
    if (name := held.get("runAsUserName")) is not None:
        yield from (invalid(f"{path}.runAsUserName", name, f"runAsUserName{why}") for why in _wrong_user(name))


def _wrong_user(name: str) -> Iterator[str]:
    if not name:
        yield " cannot be an empty string"
        return
    if _CONTROL.search(name):
        yield " cannot contain control characters"
        return
    if name.count("\\") > 1:
        yield " cannot contain more than one backslash"
        return
    host, slash, user = name.rpartition("\\")
    if byte_length(host) >= _LONGEST_DOMAIN:
        yield f"'s Domain length must be under {_LONGEST_DOMAIN} characters"
    if slash and not _NET_BIOS.fullmatch(host) and not _DNS.fullmatch(host):
        yield "'s Domain doesn't match the NetBios nor the DNS format"
    if not user:
        yield "'s User cannot be empty"
    elif byte_length(user) > _LONGEST_USER:
        yield f"'s User length must not be longer than {_LONGEST_USER} characters"
    if user and not user.strip(". "):
        yield "'s User cannot contain only periods or spaces"
    if _NO_USER.search(user):
        yield "'s User cannot contain the following characters: \"/\\:;|=,+*?<>@[]"


def host_process(path: str, spec: JsonObject) -> Faults:
    """Either all containers of a pod are processes of a Windows host, or none is."""
    whole = _is_host_process(spec)
    number = count = 0
    for at, container in every_container(path, spec):
        own = _is_host_process(container)
        if whole is not None and own is not None and whole != own:
            why = f"pod hostProcess value must be identical if both are specified, was {str(whole).lower()}"
            yield invalid(f"{at}.securityContext.windowsOptions.hostProcess", own, why)
        number += 1
        count += bool(whole if own is None else own)
    if not count:
        return
    if count != number:
        why = "If pod contains any hostProcess containers then all containers must be HostProcess containers"
        yield invalid(path, "", why)
    if not spec.get("hostNetwork"):
        why = "hostNetwork must be true if pod contains any hostProcess containers"
        yield invalid(f"{path}.hostNetwork", False, why)


def _is_host_process(holder: JsonObject) -> bool | None:
    found: bool | None = part(part(holder, "securityContext"), "windowsOptions").get("hostProcess")
    return found


# --- annotations of old ---

_SECCOMP_POD: Final = "seccomp.security.alpha.kubernetes.io/pod"
_SECCOMP_CONTAINER: Final = "container.seccomp.security.alpha.kubernetes.io/"
APP_ARMOR: Final = "container.apparmor.security.beta.kubernetes.io/"
_OLD_DEFAULT: Final = "docker/default"


def profile_annotations(path: str, annotations: JsonObject, spec: JsonObject) -> Faults:
    """Profiles that pods once had in annotations."""
    names = {container.get("name") for _, container in every_container("", spec)}
    for key, value in annotations.items():
        text: Any = value or ""
        if key == _SECCOMP_POD or key.startswith(_SECCOMP_CONTAINER):
            if text.startswith("localhost/"):
                yield from way_down(f"{path}.{key}", text.removeprefix("localhost/"))
            elif text not in ("runtime/default", _OLD_DEFAULT, "unconfined"):
                yield invalid(f"{path}.{key}", text, "must be a valid seccomp profile")
        elif key.startswith(APP_ARMOR):
            if key.removeprefix(APP_ARMOR) not in names:
                yield invalid(f"{path}[{key}]", key.removeprefix(APP_ARMOR), "container not found")
            if text and text not in ("runtime/default", "unconfined") and not text.startswith("localhost/"):
                yield invalid(f"{path}[{key}]", text, f'invalid AppArmor profile name: "{text}"')


def profiles_match(path: str, annotations: JsonObject, spec: JsonObject) -> Faults:
    """Where a profile is in an annotation and in a field, both say the same."""
    pod = part(spec, "securityContext")
    if _SECCOMP_POD in annotations:
        yield from _match(
            f"{path}.securityContext.seccompProfile", "seccomp", annotations[_SECCOMP_POD], pod.get("seccompProfile")
        )
    windows = part(spec, "os").get("name") == "windows"
    for at, container in every_container(path, spec):
        own, name = part(container, "securityContext"), container.get("name") or ""
        text = annotations.get(f"{_SECCOMP_CONTAINER}{name}")
        if text is not None:
            yield from _match(f"{at}.securityContext.seccompProfile", "seccomp", text, own.get("seccompProfile"))
        text = annotations.get(f"{APP_ARMOR}{name}")
        if text is not None and not windows:
            profile = own.get("appArmorProfile") or pod.get("appArmorProfile")
            yield from _match(f"{at}.securityContext.appArmorProfile", "apparmor", text, profile)


def _match(path: str, what: str, text: str, profile: JsonObject | None) -> Faults:
    kind = (profile or {}).get("type")
    same_kind = {
        "Unconfined": text == "unconfined",
        "RuntimeDefault": text == "runtime/default" or (what == "seccomp" and text == _OLD_DEFAULT),
        "Localhost": text.startswith("localhost/"),
    }
    if not same_kind.get(kind or "", True):
        yield forbidden(f"{path}.type", f"{what} type in annotation and field must match")
    elif profile and kind == "Localhost" and text.removeprefix("localhost/") != profile.get("localhostProfile"):
        yield forbidden(f"{path}.localhostProfile", f"{what} profile in annotation and field must match")
