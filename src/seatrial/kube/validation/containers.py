"""Containers of pods and templates: ports, environment, mounts, probes, hooks, restart rules."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final

from seatrial.kube.objects import JsonObject
from seatrial.kube.validation.fields import (
    Faults,
    chosen,
    data_key,
    duplicate,
    env_name,
    forbidden,
    invalid,
    items,
    label_name,
    matching,
    missing,
    negative,
    one_of,
    part,
    port,
    port_name,
    port_or_name,
    required,
    subdomain,
    too_many,
    unsupported,
)
from seatrial.kube.validation.resources import requirements
from seatrial.kube.validation.security import security_context
from seatrial.kube.validation.volumes import (
    DOWNWARD_OF_VARIABLES,
    field_reference,
    no_way_up,
    size_reference,
    way_down,
)

RESTART_RULES_SINCE: Final = 35
RESTART_ALL_SINCE: Final = 36
ENV_FILES_SINCE: Final = 35
PULL_POLICIES: Final = ("Always", "IfNotPresent", "Never")
KINDS: Final = ("initContainers", "containers", "ephemeralContainers")
_PROBES: Final = ("livenessProbe", "readinessProbe", "startupProbe")
_PROTOCOLS: Final = ("SCTP", "TCP", "UDP")
_HEADER: Final = matching(
    "a valid HTTP header must consist of alphanumeric characters or '-'", "[-A-Za-z0-9]+", "X-Header-Name"
)
_MORE_HANDLERS: Final = "may not specify more than 1 handler type"
_NOT_OF_INIT: Final = "may not be set for init containers without restartPolicy=Always"
_NOT_OF_EPHEMERAL: Final = "cannot be set for an Ephemeral Container"
_REFUSED_OF_EPHEMERAL: Final = (
    "ports",
    "resources",
    "resizePolicy",
    "restartPolicy",
    "restartPolicyRules",
    *_PROBES,
    "lifecycle",
)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the rules of a container need to know of its pod."""

    minor: int
    restart_policy: str
    grace_s: int | None
    host_users: bool
    volumes: Mapping[str, JsonObject]
    claims: Collection[str]


def containers(path: str, spec: JsonObject, pod: Surroundings) -> Faults:
    """The containers that run."""
    at = f"{path}.containers"
    if not spec.get("containers"):
        yield required(at)
        return
    names: set[str] = set()
    for place, container in items(at, spec, "containers"):
        yield from _common(place, container, pod)
        name = container.get("name") or ""
        if name in names:
            yield duplicate(f"{place}.name", name)
        names.add(name)
        yield from _hooks(place, container, pod)
        yield from _probes(place, container, pod)
        if pod.minor >= RESTART_RULES_SINCE:
            yield from _restarts(place, container, pod)
        elif container.get("restartPolicy") is not None:
            yield forbidden(f"{place}.restartPolicy", "may not be set for non-init containers")
    yield from _host_ports(at, spec["containers"])


def init_containers(path: str, spec: JsonObject, pod: Surroundings) -> Faults:
    at = f"{path}.initContainers"
    names = {each.get("name") or "" for _, each in items("", spec, "containers")}
    for place, container in items(at, spec, "initContainers"):
        yield from _common(place, container, pod)
        policy = container.get("restartPolicy")
        if policy is None or pod.minor >= RESTART_RULES_SINCE:
            yield from _restarts(place, container, pod)
        elif policy != "Always":
            yield unsupported(f"{place}.restartPolicy", policy, ("Always",))
        name = container.get("name") or ""
        if name in names:
            yield duplicate(f"{place}.name", name)
        elif name:
            names.add(name)
        yield from _host_ports(at, [container])
        if policy == "Always":
            yield from _hooks(place, container, pod)
            yield from _probes(place, container, pod)
            continue
        for field in ("lifecycle", *_PROBES):
            if container.get(field) is not None:
                yield forbidden(f"{place}.{field}", _NOT_OF_INIT)
        for where, each in items(f"{place}.resizePolicy", container, "resizePolicy"):
            if each.get("restartPolicy") == "RestartContainer":
                why = "must not be set to 'RestartContainer' for non-sidecar initContainers"
                yield invalid(f"{where}.restartPolicy", "RestartContainer", why)


def ephemeral_containers(path: str, spec: JsonObject, pod: Surroundings) -> Faults:
    at = f"{path}.ephemeralContainers"
    others = {each.get("name") or "" for kind in KINDS[:2] for _, each in items("", spec, kind)}
    names = set(others)
    for place, container in items(at, spec, "ephemeralContainers"):
        yield from _common(place, container, pod)
        yield from trimmed_image(place, container)
        name, target = container.get("name") or "", container.get("targetContainerName") or ""
        if name in names:
            yield duplicate(f"{place}.name", name)
        names.add(name)
        if target and target not in others:
            yield missing(f"{place}.targetContainerName", target)
        for field in _REFUSED_OF_EPHEMERAL:
            if container.get(field):
                yield forbidden(f"{place}.{field}", _NOT_OF_EPHEMERAL)
        for where, mount in items(f"{place}.volumeMounts", container, "volumeMounts"):
            for field in ("subPath", "subPathExpr"):
                if mount.get(field):
                    yield forbidden(f"{where}.{field}", _NOT_OF_EPHEMERAL)


def trimmed_image(path: str, container: JsonObject) -> Faults:
    """Of a pod, not of a template: blanks around an image are no part of its name."""
    image = container.get("image") or ""
    if image != image.strip():
        yield invalid(f"{path}.image", image, "must not have leading or trailing whitespace")


def _common(path: str, container: JsonObject, pod: Surroundings) -> Faults:
    name = container.get("name") or ""
    if not name:
        yield required(f"{path}.name")
    else:
        yield from label_name(f"{path}.name", name)
    if not container.get("image"):
        yield required(f"{path}.image")
    at = f"{path}.terminationMessagePolicy"
    yield from chosen(at, container.get("terminationMessagePolicy"), ("File", "FallbackToLogsOnError"))
    if container.get("ports"):
        yield from _ports(f"{path}.ports", container)
    if container.get("env"):
        yield from _environment(f"{path}.env", container, pod.minor)
    if container.get("envFrom"):
        yield from _environment_from(f"{path}.envFrom", container, pod.minor)
    if container.get("volumeMounts"):
        yield from _mounts(f"{path}.volumeMounts", container, pod.volumes)
    if container.get("volumeDevices"):
        yield from _devices(f"{path}.volumeDevices", container, pod.volumes)
    yield from chosen(f"{path}.imagePullPolicy", container.get("imagePullPolicy"), PULL_POLICIES)
    if container.get("resources"):
        yield from requirements(f"{path}.resources", container["resources"], pod.claims)
    if container.get("resizePolicy"):
        yield from _resize_policy(f"{path}.resizePolicy", container, pod.restart_policy)
    if container.get("securityContext"):
        yield from security_context(f"{path}.securityContext", container["securityContext"], host_users=pod.host_users)


# --- ports ---


def _ports(path: str, container: JsonObject) -> Faults:
    names: set[str] = set()
    for at, each in items(path, container, "ports"):
        name, number, on_host = each.get("name") or "", each.get("containerPort") or 0, each.get("hostPort") or 0
        if name:
            faults = list(port_name(f"{at}.name", name))
            yield from faults
            if not faults and name in names:
                yield duplicate(f"{at}.name", name)
            elif not faults:
                names.add(name)
        if not number:
            yield required(f"{at}.containerPort")
        else:
            yield from port(f"{at}.containerPort", number)
        if on_host:
            yield from port(f"{at}.hostPort", on_host)
        yield from chosen(f"{at}.protocol", each.get("protocol"), _PROTOCOLS)


def _host_ports(path: str, some: list[JsonObject]) -> Faults:
    taken: set[str] = set()
    for number, container in enumerate(some):
        if not container:
            continue
        for at, each in items(f"{path}[{number}].ports", container, "ports"):
            if not each.get("hostPort"):
                continue
            key = f"{each.get('protocol') or ''}/{each.get('hostIP') or ''}/{each['hostPort']}"
            if key in taken:
                yield duplicate(f"{at}.hostPort", key)
            taken.add(key)


# --- environment ---

_SOURCES: Final = ("fieldRef", "resourceFieldRef", "configMapKeyRef", "secretKeyRef", "fileKeyRef")


def _environment(path: str, container: JsonObject, minor: int) -> Faults:
    for at, each in items(path, container, "env"):
        if not each.get("name"):
            yield required(f"{at}.name")
        else:
            yield from env_name(f"{at}.name", each["name"], minor)
        source = each.get("valueFrom")
        if source is not None:
            yield from _value_from(f"{at}.valueFrom", source, each.get("value") or "", minor)


def _value_from(path: str, source: JsonObject, value: str, minor: int) -> Faults:
    known = _SOURCES if minor >= ENV_FILES_SINCE else _SOURCES[:-1]
    present = [name for name in known if source.get(name) is not None]
    for name in present:
        at, held = f"{path}.{name}", source[name]
        if name == "fieldRef":
            yield from field_reference(at, held, DOWNWARD_OF_VARIABLES)
        elif name == "resourceFieldRef":
            yield from size_reference(at, held, of_file=False)
        elif name == "fileKeyRef":
            yield from _file_key(at, held, minor)
        else:
            yield from subdomain(f"{at}.name", held.get("name") or "")
            if not held.get("key"):
                yield required(f"{at}.key")
            else:
                yield from data_key(f"{at}.key", held["key"])
    if not present:
        listed = ", ".join(f"`{name}`" for name in known[:-1])
        yield invalid(path, "", f"must specify one of: {listed} or `{known[-1]}`")
    elif value:
        yield invalid(path, "", "may not be specified when `value` is not empty")
    elif len(present) > 1:
        yield invalid(path, "", "may not have more than one field specified at a time")


def _file_key(path: str, held: JsonObject, minor: int) -> Faults:
    if not held.get("key"):
        yield required(f"{path}.key")
    else:
        yield from env_name(f"{path}.key", held["key"], minor)
    if not held.get("volumeName"):
        yield required(f"{path}.volumeName")
    else:
        yield from label_name(f"{path}.volumeName", held["volumeName"])
    if not held.get("path"):
        yield required(f"{path}.path")
    else:
        yield from no_way_up(f"{path}.path", held["path"])


def file_keys(path: str, spec: JsonObject) -> Faults:
    """A variable that is read from a file is read from an emptyDir."""
    volumes = {each.get("name"): each for _, each in items("", spec, "volumes")}
    for kind in KINDS:
        for place, container in items(f"{path}.{kind}", spec, kind):
            for at, each in items(f"{place}.env", container, "env"):
                held = part(each, "valueFrom").get("fileKeyRef")
                if held is None:
                    continue
                name, where = held.get("volumeName") or "", f"{at}.valueFrom.fileKeyRef.volumeName"
                if name not in volumes:
                    yield missing(where, name)
                elif volumes[name].get("emptyDir") is None:
                    yield invalid(where, name, "referenced volume must be of type emptyDir")


def _environment_from(path: str, container: JsonObject, minor: int) -> Faults:
    for at, each in items(path, container, "envFrom"):
        if each.get("prefix"):
            yield from env_name(f"{at}.prefix", each["prefix"], minor)
        present = [name for name in ("configMapRef", "secretRef") if each.get(name) is not None]
        for name in present:
            if not each[name].get("name"):
                yield required(f"{at}.{name}.name")
            else:
                yield from subdomain(f"{at}.{name}.name", _masked(each[name]["name"]))
        if not present:
            yield invalid(path, "", "must specify one of: `configMapRef` or `secretRef`")
        elif len(present) > 1:
            yield invalid(path, "", "may not have more than one field specified at a time")


def _masked(name: str) -> str:
    """As the beginning of a name that is generated it may end in a dash."""
    return f"{name[:-2]}a" if len(name) > 1 and name.endswith("-") else name


# --- mounts ---

_PROPAGATIONS: Final = ("Bidirectional", "HostToContainer", "None")
_RECURSIVE: Final = ("Disabled", "Enabled", "IfPossible")


def _mounts(path: str, container: JsonObject, volumes: Mapping[str, JsonObject]) -> Faults:
    devices = {
        each.get("name") or "": each.get("devicePath") or "" for _, each in items("", container, "volumeDevices")
    }
    privileged = part(container, "securityContext").get("privileged") is True
    taken: set[str] = set()
    for at, mount in items(path, container, "volumeMounts"):
        name, where = mount.get("name") or "", mount.get("mountPath") or ""
        if not name:
            yield required(f"{at}.name")
        if name not in volumes:
            yield missing(f"{at}.name", name)
        if not where:
            yield required(f"{at}.mountPath")
        if where in taken:
            yield invalid(f"{at}.mountPath", where, "must be unique")
        taken.add(where)
        if name in devices:
            yield invalid(f"{at}.name", name, "must not already exist in volumeDevices")
        if where in devices.values():
            yield invalid(f"{at}.mountPath", where, "must not already exist as a path in volumeDevices")
        yield from _sub_paths(path, at, mount)
        propagation = mount.get("mountPropagation")
        if propagation is not None:
            yield from one_of(f"{path}.mountPropagation", propagation, _PROPAGATIONS)
            if propagation == "Bidirectional" and not privileged:
                why = "Bidirectional mount propagation is available only to privileged containers"
                yield forbidden(f"{path}.mountPropagation", why)
        yield from _recursive(f"{path}.recursiveReadOnly", mount)


def _sub_paths(path: str, at: str, mount: JsonObject) -> Faults:
    plain, expression = mount.get("subPath"), mount.get("subPathExpr")
    if plain:
        yield from way_down(f"{path}.subPath", plain)
    if expression:
        if plain:
            yield invalid(f"{at}.subPathExpr", expression, "subPathExpr and subPath are mutually exclusive")
        yield from way_down(f"{path}.subPathExpr", expression)


def _recursive(path: str, mount: JsonObject) -> Faults:
    choice = mount.get("recursiveReadOnly")
    if choice in ("Enabled", "IfPossible"):
        if not mount.get("readOnly"):
            yield forbidden(path, "may only be specified when readOnly is true")
        if mount.get("mountPropagation") not in (None, "None"):
            yield forbidden(path, "may only be specified when mountPropagation is None or not specified")
    elif choice is not None:
        yield from one_of(path, choice, _RECURSIVE)


def _devices(path: str, container: JsonObject, volumes: Mapping[str, JsonObject]) -> Faults:
    mounts = {each.get("name") or "": each.get("mountPath") or "" for _, each in items("", container, "volumeMounts")}
    names: set[str] = set()
    paths: set[str] = set()
    for at, device in items(path, container, "volumeDevices"):
        name, where = device.get("name") or "", device.get("devicePath") or ""
        volume = volumes.get(name)
        if not name:
            yield required(f"{at}.name")
        if name in names:
            yield invalid(f"{at}.name", name, "must be unique")
        if volume is None:
            yield missing(f"{at}.name", name)
        elif volume.get("persistentVolumeClaim") is None and volume.get("ephemeral") is None:
            why = "can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode"
            yield invalid(f"{at}.name", name, why)
        if not where:
            yield required(f"{at}.devicePath")
        if where in paths:
            yield invalid(f"{at}.devicePath", where, "must be unique")
        if where and ".." in where.split("/"):
            yield invalid(f"{at}.devicePath", where, "can not contain backsteps ('..')")
        else:
            paths.add(where)
        if name in mounts:
            yield invalid(f"{at}.name", name, "must not already exist in volumeMounts")
        if where in mounts.values():
            yield invalid(f"{at}.devicePath", where, "must not already exist as a path in volumeMounts")
        if name:
            names.add(name)


# --- probes and hooks ---


def _probes(path: str, container: JsonObject, pod: Surroundings) -> Faults:
    for name in _PROBES:
        probe = container.get(name)
        if probe is None:
            continue
        at = f"{path}.{name}"
        yield from _handler(at, probe, ("exec", "httpGet", "tcpSocket", "grpc"), pod)
        counts = ("initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold")
        yield from negative(probe, counts, at)
        grace_s = probe.get("terminationGracePeriodSeconds")
        if grace_s is not None and grace_s <= 0:
            yield invalid(f"{at}.terminationGracePeriodSeconds", grace_s, "must be greater than 0")
        if name == "readinessProbe":
            if grace_s is not None:
                why = "must not be set for readinessProbes"
                yield invalid(f"{at}.terminationGracePeriodSeconds", grace_s, why)
        elif (probe.get("successThreshold") or 0) != 1:
            yield invalid(f"{at}.successThreshold", probe.get("successThreshold") or 0, "must be 1")


def _hooks(path: str, container: JsonObject, pod: Surroundings) -> Faults:
    hooks = part(container, "lifecycle")
    for name in ("postStart", "preStop"):
        if hooks.get(name) is not None:
            at = f"{path}.lifecycle.{name}"
            yield from _handler(at, hooks[name], ("exec", "httpGet", "tcpSocket", "sleep"), pod)


def _handler(path: str, held: JsonObject, kinds: tuple[str, ...], pod: Surroundings) -> Faults:
    present = [name for name in kinds if held.get(name) is not None]
    if not present:
        yield required(path, "must specify a handler type")
        return
    yield from (forbidden(f"{path}.{name}", _MORE_HANDLERS) for name in present[1:])
    name, action = present[0], held[present[0]]
    at = f"{path}.{name}"
    if name == "exec":
        if not action.get("command"):
            yield required(f"{at}.command")
    elif name == "httpGet":
        yield from _http_get(at, action)
    elif name == "sleep":
        seconds = action.get("seconds") or 0
        if pod.grace_s is not None and not 0 <= seconds <= pod.grace_s:
            why = f"must be non-negative and less than terminationGracePeriodSeconds ({pod.grace_s})"
            yield invalid(at, seconds, why)
    else:
        yield from port_or_name(f"{at}.port", action.get("port"))


def _http_get(path: str, action: JsonObject) -> Faults:
    if not action.get("path"):
        yield required(f"{path}.path")
    yield from port_or_name(f"{path}.port", action.get("port"))
    yield from one_of(f"{path}.scheme", action.get("scheme"), ("HTTP", "HTTPS"))
    for _, header in items("", action, "httpHeaders"):
        name = header.get("name") or ""
        if not name or not name.replace("-", "a").isalnum() or not name.isascii():
            yield invalid(f"{path}.httpHeaders", name, _HEADER)


# --- resizing and restarting ---

_MOST_RULES: Final = 20
_MOST_CODES: Final = 255


def _resize_policy(path: str, container: JsonObject, restart_policy: str) -> Faults:
    seen: set[str] = set()
    for at, each in items(path, container, "resizePolicy"):
        name, policy = each.get("resourceName") or "", each.get("restartPolicy") or ""
        if name in seen:
            yield duplicate(at, name)
        seen.add(name)
        yield from chosen(path, name, ("cpu", "memory"))
        yield from chosen(path, policy, ("NotRequired", "RestartContainer"))
        if restart_policy == "Never" and policy != "NotRequired":
            yield invalid(path, policy, "must be 'NotRequired' when pod `restartPolicy` is 'Never'")


def _restarts(path: str, container: JsonObject, pod: Surroundings) -> Faults:
    policy, rules = container.get("restartPolicy"), container.get("restartPolicyRules") or ()
    if policy is None:
        if not rules:
            return
        yield required(f"{path}.restartPolicy", "must specify restartPolicy when restart rules are used")
        if path.rpartition(".")[2].startswith("init"):
            return
    else:
        yield from one_of(f"{path}.restartPolicy", policy, ("Always", "Never", "OnFailure"))
    if len(rules) > _MOST_RULES:
        yield too_many(f"{path}.restartPolicyRules", len(rules), _MOST_RULES)
    actions = ("Restart", "RestartAllContainers") if pod.minor >= RESTART_ALL_SINCE else ("Restart",)
    for at, rule in items(f"{path}.restartPolicyRules", container, "restartPolicyRules"):
        yield from one_of(f"{at}.action", rule.get("action"), actions)
        codes = rule.get("exitCodes")
        if codes is None:
            yield required(f"{at}.exitCodes", "must be specified")
            continue
        yield from one_of(f"{at}.exitCodes.operator", codes.get("operator"), ("In", "NotIn"))
        if len(codes.get("values") or ()) > _MOST_CODES:
            yield too_many(f"{at}.exitCodes.values", len(codes["values"]), _MOST_CODES)
