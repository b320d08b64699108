"""Finalizers that nobody may take off: objects whose deletion never ends, by the roles of the input.

A controller that works on a kind (it may watch it, and write some of it) is taken for the one that a finalizer waits
for; if no account of the input may patch or update the object, its deletion never ends. Objects of a kind that no
account of the input works on are left alone: their controller is elsewhere. Finalizers of Kubernetes itself are its own
controllers'. Where a role is put together by aggregation, or is not in the input, nothing is said.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from seatrial.check.reading.templates import templates
from seatrial.check.system import Entry, System
from seatrial.control import access, bootstrap_policy
from seatrial.control.access import Attributes, Given, User
from seatrial.kube.objects import ClusterRole, ClusterRoleBinding, CustomResourceDefinition, Object, RoleBinding, parse
from seatrial.kube.schemas.resources import plurals

_OWN: Final = ("kubernetes", "foregroundDeletion", "orphan")
_WRITES: Final = ("create", "delete", "update", "patch")


@dataclass(frozen=True, slots=True)
class Held:
    """An object, its finalizer, and an account that works on its kind."""

    entry: Entry
    finalizer: str
    index: int
    account: str
    resource: str
    group: str


def held(system: System) -> Iterator[Held]:
    candidates = [
        (entry, index, name)
        for entry in system.entries
        for index, name in enumerate(_finalizers(entry))
        if not _is_kubernetes(name)
    ]
    if not candidates:
        return
    policy, known = _policy(system)
    users = _users(system)
    if not known:
        return
    for entry, index, finalizer in candidates:
        group, resource = _resource(system, entry)
        place = {"group": group, "resource": resource, "namespace": entry.key.namespace, "name": entry.key.name}

        def may(user: User, verb: str, subresource: str = "", place: dict[str, str] = place) -> bool:
            return access.authorise(policy, user, Attributes(verb, **place, subresource=subresource)).allowed

        if any(may(user, verb) for user in users for verb in ("update", "patch")):
            continue
        for user in users:
            works = any(may(user, verb, sub) for verb in _WRITES for sub in ("", "status", "finalizers"))
            if works and may(user, "watch"):
                yield Held(entry, finalizer, index, user.name, resource, group)
                break


def _finalizers(entry: Entry) -> tuple[str, ...]:
    given = (entry.admitted.get("metadata") or {}).get("finalizers")
    return tuple(name for name in given if isinstance(name, str)) if isinstance(given, list) else ()


def _is_kubernetes(name: str) -> bool:
    domain = name.partition("/")[0]
    return name in _OWN or domain == "kubernetes.io" or domain.endswith((".kubernetes.io", ".k8s.io"))


def _policy(system: System) -> tuple[Given, bool]:
    """The roles and bindings; False if a role is outside the input, or put together by aggregation."""
    objects: list[Object] = [entry.typed for entry in system.entries if entry.typed is not None]
    made = [parsed for raw in bootstrap_policy.objects() if (parsed := parse(raw)) is not None]
    policy = Given([*made, *objects])
    aggregated = any(isinstance(each, ClusterRole) and each.aggregation_rule is not None for each in objects)
    bound = [each for each in objects if isinstance(each, ClusterRoleBinding | RoleBinding)]
    roles = (
        policy.role(each.metadata.namespace, each.role_ref.name)
        if each.role_ref.kind == "Role"
        else policy.cluster_role(each.role_ref.name)
        for each in bound
    )
    return policy, not aggregated and all(role is not None for role in roles)


def _users(system: System) -> tuple[User, ...]:
    accounts: Iterable[tuple[str, str]] = dict.fromkeys(
        (each.namespace, each.spec.service_account_name or "default") for each in templates(system)
    )
    return tuple(
        User(access.account_name(namespace, name), groups=access.account_groups(namespace))
        for namespace, name in accounts
    )


def _resource(system: System, entry: Entry) -> tuple[str, str]:
    """The API group and the plural of the entry's kind."""
    group = entry.api_version.rpartition("/")[0]
    for definition in system.all(CustomResourceDefinition):
        if (definition.spec.group, definition.spec.names.kind) == (group, entry.key.kind):
            return group, definition.spec.names.plural
    return group, plurals().get((entry.api_version, entry.key.kind), f"{entry.key.kind.lower()}s")
