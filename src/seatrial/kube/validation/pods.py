"""Pods, and the templates that pods are made from (`ValidatePodSpec` and what is around it)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from seatrial.kube.objects import JsonObject
from seatrial.kube.validation.affinity import affinity, spread, tolerations
from seatrial.kube.validation.containers import (
    Surroundings,
    containers,
    ephemeral_containers,
    file_keys,
    init_containers,
    trimmed_image,
)
from seatrial.kube.validation.fields import (
    MOST,
    Faults,
    address,
    annotation_keys,
    between,
    byte_length,
    chosen,
    duplicate,
    forbidden,
    invalid,
    items,
    label_name,
    labels,
    negative,
    part,
    qualified_name,
    required,
    subdomain,
    too_long,
    underscored_subdomain,
)
from seatrial.kube.validation.kinds import Rules
from seatrial.kube.validation.podchanges import fixed_pod
from seatrial.kube.validation.resources import pod_level, requirements
from seatrial.kube.validation.security import (
    every_container,
    host_process,
    operating_system,
    pod_security_context,
    profile_annotations,
    profiles_match,
)
from seatrial.kube.validation.volumes import pod_volumes

POD_LEVEL_SINCE: Final = 34
RESTART_POLICIES: Final = ("Always", "OnFailure", "Never")
_DNS_POLICIES: Final = ("ClusterFirstWithHostNet", "ClusterFirst", "Default", "None")
_MIRROR: Final = "kubernetes.io/config.mirror"
_DELETION_COST: Final = "controller.kubernetes.io/pod-deletion-cost"
_MOST_NAMESERVERS: Final = 3
_MOST_SEARCHES: Final = 32
_LONGEST_SEARCH: Final = 2048
_LONGEST_HOSTNAME: Final = 64


def new_pod(raw: JsonObject, minor: int) -> Faults:
    """What is wrong with a pod only because it is to be created."""
    spec, metadata = part(raw, "spec"), part(raw, "metadata")
    if spec.get("ephemeralContainers"):
        yield forbidden("spec.ephemeralContainers", "cannot be set on create")
    if spec.get("nodeName") and spec.get("schedulingGates"):
        yield forbidden("spec.nodeName", "cannot be set until all schedulingGates have been cleared")
    yield from profiles_match("spec", part(metadata, "annotations"), spec)


def pod_as_such(raw: JsonObject, minor: int) -> Faults:
    """What is wrong with a pod, whether it is new or changed."""
    spec, metadata = part(raw, "spec"), part(raw, "metadata")
    yield from _pod_annotations("metadata.annotations", part(metadata, "annotations"), spec)
    yield from pod_spec("spec", spec, minor, metadata)
    if not spec.get("serviceAccountName"):
        for at, volume in items("spec.volumes", spec, "volumes"):
            for place, source in items(f"{at}.projected.sources", part(volume, "projected"), "sources"):
                if source.get("serviceAccountToken") is not None:
                    why = "must not be specified when serviceAccountName is not set"
                    yield forbidden(f"{place}.serviceAccountToken", why)
    yield from negative(spec, ("terminationGracePeriodSeconds",), "spec")
    for kind in ("containers", "initContainers"):
        for at, container in items(f"spec.{kind}", spec, kind):
            yield from trimmed_image(at, container)


def template(path: str, held: JsonObject, minor: int) -> Faults:
    """What is wrong with the template of pods (`ValidatePodTemplateSpec`)."""
    metadata, spec = part(held, "metadata"), part(held, "spec")
    yield from labels(f"{path}.labels", part(metadata, "labels"))
    yield from annotation_keys(f"{path}.annotations", part(metadata, "annotations"))
    yield from _pod_annotations(f"{path}.annotations", part(metadata, "annotations"), spec)
    yield from pod_spec(f"{path}.spec", spec, minor, None)
    yield from profiles_match(f"{path}.spec", part(metadata, "annotations"), spec)
    if spec.get("ephemeralContainers"):
        yield forbidden(f"{path}.spec.ephemeralContainers", "ephemeral containers not allowed in pod template")


def _pod_annotations(path: str, given: Mapping[str, str], spec: JsonObject) -> Faults:
    if not given:
        return
    if _MIRROR in given and not spec.get("nodeName"):
        why = "must set spec.nodeName if mirror pod annotation is set"
        yield invalid(f"{path}[{_MIRROR}]", given[_MIRROR], why)
    cost = given.get(_DELETION_COST)
    if cost is not None:
        whole = re.fullmatch("-[0-9]+|0|[1-9][0-9]*", cost)
        if not whole or not -(2**31) <= int(cost) <= MOST:
            yield invalid(f"{path}[{_DELETION_COST}]", cost, "must be a 32bit integer")
    yield from profile_annotations(path, dict(given), spec)


def pod_spec(path: str, spec: JsonObject, minor: int, metadata: JsonObject | None) -> Faults:
    """`metadata` is the pod's; a template has no pod yet."""
    if spec.get("terminationGracePeriodSeconds") is None:
        yield required(f"{path}.terminationGracePeriodSeconds")
    volumes, faults = pod_volumes(path, spec, (metadata or {}).get("name") or "")
    yield from faults
    claims = {each.get("name") for _, each in items("", spec, "resourceClaims") if each.get("name")}
    yield from _claims(f"{path}.resourceClaims", spec, metadata)
    around = Surroundings(
        minor=minor,
        restart_policy=spec.get("restartPolicy") or "",
        grace_s=spec.get("terminationGracePeriodSeconds"),
        host_users=spec.get("hostUsers") is not False,
        volumes=volumes,
        claims=claims,
    )
    yield from containers(path, spec, around)
    if spec.get("initContainers"):
        yield from init_containers(path, spec, around)
    if spec.get("ephemeralContainers"):
        yield from ephemeral_containers(path, spec, around)
    if minor >= POD_LEVEL_SINCE and spec.get("resources") is not None:
        yield from pod_level(path, spec)
    yield from _host_namespaces(path, spec, is_pod=metadata is not None)
    yield from chosen(f"{path}.restartPolicy", spec.get("restartPolicy"), RESTART_POLICIES)
    yield from chosen(f"{path}.dnsPolicy", spec.get("dnsPolicy"), _DNS_POLICIES)
    yield from labels(f"{path}.nodeSelector", part(spec, "nodeSelector"))
    yield from pod_security_context(path, spec)
    if spec.get("affinity"):
        yield from affinity(f"{path}.affinity", spec["affinity"])
    yield from _dns(f"{path}.dnsConfig", spec, minor)
    for at, gate in items(f"{path}.readinessGates", spec, "readinessGates"):
        yield from qualified_name(f"{at}.conditionType", gate.get("conditionType") or "")
    yield from _gates(f"{path}.schedulingGates", spec)
    if spec.get("topologySpreadConstraints"):
        yield from spread(path, spec, minor)
    yield from host_process(path, spec)
    yield from _host_users(path, spec)
    yield from _hostname(path, spec)
    yield from _names(path, spec)
    if spec.get("tolerations"):
        yield from tolerations(path, spec)
    for at, alias in items(f"{path}.hostAliases", spec, "hostAliases"):
        yield from address(f"{at}.ip", alias.get("ip") or "", minor)
        for number, name in enumerate(alias.get("hostnames") or ()):
            yield from subdomain(f"{at}.hostnames[{number}]", name or "")
    if spec.get("preemptionPolicy") is not None:
        yield from chosen(f"{path}.preemptionPolicy", spec["preemptionPolicy"], ("PreemptLowerPriority", "Never"))
    if spec.get("overhead"):
        yield from requirements(f"{path}.overhead", {"limits": spec["overhead"]}, ())
    yield from operating_system(path, spec)
    yield from file_keys(path, spec)


def _claims(path: str, spec: JsonObject, metadata: JsonObject | None) -> Faults:
    seen: set[str] = set()
    for at, claim in items(path, spec, "resourceClaims"):
        if _MIRROR in part(metadata or {}, "annotations"):
            yield forbidden("", "static pods do not support resource claims")
            continue
        name, own, made = (
            claim.get("name") or "",
            claim.get("resourceClaimName"),
            claim.get("resourceClaimTemplateName"),
        )
        if not name:
            yield required(f"{at}.name")
        elif name in seen:
            yield duplicate(f"{at}.name", name)
        else:
            yield from label_name(f"{at}.name", name)
            seen.add(name)
        shown = {"Name": name, "ResourceClaimName": own, "ResourceClaimTemplateName": made}
        if own is not None and made is not None:
            why = "at most one of `resourceClaimName` or `resourceClaimTemplateName` may be specified"
            yield invalid(at, shown, why)
        if own is None and made is None:
            yield invalid(at, shown, "must specify one of: `resourceClaimName`, `resourceClaimTemplateName`")
        if own is not None:
            yield from subdomain(f"{at}.resourceClaimName", own)
        if made is not None:
            yield from subdomain(f"{at}.resourceClaimTemplateName", made)


def _host_namespaces(path: str, spec: JsonObject, *, is_pod: bool) -> Faults:
    if spec.get("shareProcessNamespace") and spec.get("hostPID"):
        why = "ShareProcessNamespace and HostPID cannot both be enabled"
        yield invalid(f"{path}.shareProcessNamespace", True, why)
    if not spec.get("hostNetwork"):
        return
    for at, container in items(f"{path}.containers", spec, "containers"):
        for place, port in items(f"{at}.ports", container, "ports"):
            on_host, inside = port.get("hostPort") or 0, port.get("containerPort") or 0
            if (is_pod or on_host) and on_host != inside:
                why = "must match `containerPort` when `hostNetwork` is true"
                yield invalid(f"{place}.hostPort", on_host, why)


def _host_users(path: str, spec: JsonObject) -> Faults:
    if spec.get("hostUsers") is not False:
        return
    why = "when `hostUsers` is false"
    for field, name in (("hostNetwork", "hostNetwork"), ("hostPID", "HostPID"), ("hostIPC", "HostIPC")):
        if spec.get(field):
            yield forbidden(f"{path}.{name}", why)
    for at, container in every_container(path, spec):
        if container.get("volumeDevices"):
            yield forbidden(f"{at}.volumeDevices", why)


def _hostname(path: str, spec: JsonObject) -> Faults:
    name, at = spec.get("hostnameOverride"), f"{path}.hostnameOverride"
    if name is None:
        return
    for field in ("setHostnameAsFQDN", "hostNetwork"):
        if spec.get(field):
            yield forbidden(at, f"may not be specified when {field} is true")
    if byte_length(name) > _LONGEST_HOSTNAME:
        yield too_long(at, _LONGEST_HOSTNAME)
    yield from subdomain(at, name)


def _names(path: str, spec: JsonObject) -> Faults:
    account, old = spec.get("serviceAccountName") or "", spec.get("serviceAccount") or ""
    if account:
        yield from subdomain(f"{path}.serviceAccountName", account)
    if old != account:
        yield invalid(f"{path}.deprecatedServiceAccount", old, f'must be the same as serviceAccountName: "{account}"')
    seconds = spec.get("activeDeadlineSeconds")
    if seconds is not None and not 1 <= seconds <= MOST:
        yield invalid(f"{path}.activeDeadlineSeconds", seconds, between(1, MOST))
    for field, rule in (
        ("nodeName", subdomain),
        ("hostname", label_name),
        ("subdomain", label_name),
        ("priorityClassName", subdomain),
    ):
        if spec.get(field):
            yield from rule(f"{path}.{field}", spec[field])
    if spec.get("runtimeClassName") is not None:
        yield from subdomain(f"{path}.runtimeClassName", spec["runtimeClassName"])


def _gates(path: str, spec: JsonObject) -> Faults:
    seen: set[str] = set()
    for at, gate in items(path, spec, "schedulingGates"):
        name = gate.get("name") or ""
        yield from qualified_name(at, name)
        if name in seen:
            yield duplicate(at, name)
        seen.add(name)


def _dns(path: str, spec: JsonObject, minor: int) -> Faults:
    config = spec.get("dnsConfig")
    if spec.get("dnsPolicy") == "None":
        if config is None:
            yield required(path, "must provide `dnsConfig` when `dnsPolicy` is None")
            return
        if not config.get("nameservers"):
            why = "must provide at least one DNS nameserver when `dnsPolicy` is None"
            yield required(f"{path}.nameservers", why)
            return
    if config is None:
        return
    servers, searches = config.get("nameservers") or (), config.get("searches") or ()
    if len(servers) > _MOST_NAMESERVERS:
        yield invalid(f"{path}.nameservers", servers, f"must not have more than {_MOST_NAMESERVERS} nameservers")
    for number, server in enumerate(servers):
        yield from address(f"{path}.nameservers[{number}]", server or "", minor)
    if len(searches) > _MOST_SEARCHES:
        yield invalid(f"{path}.searches", searches, f"must not have more than {_MOST_SEARCHES} search paths")
    if byte_length(" ".join(each or "" for each in searches)) > _LONGEST_SEARCH:
        why = f"must not have more than {_LONGEST_SEARCH} characters (including spaces) in the search list"
        yield invalid(f"{path}.searches", searches, why)
    for number, search in enumerate(searches):
        if search != ".":
            yield from underscored_subdomain(f"{path}.searches[{number}]", (search or "").removesuffix("."))
    for at, option in items(f"{path}.options", config, "options"):
        if not option.get("name"):
            yield required(at, "must not be empty")


RULES: Final = {"Pod": Rules(valid=pod_as_such, new=new_pod, fixed=fixed_pod, remeta=True)}
