"""The ClusterRole aggregation controller: a role with an aggregation rule has the rules of all roles it selects.

Roles are taken selector by selector and by name; a rule that is already there is not repeated; the role itself gives
nothing. This is how `admin`, `edit` and `view` learn of custom resources. When nothing is selected, only rules that
were written here go: upstream applies them as one of several writers, and an empty list takes nothing from others.
"""

from __future__ import annotations

from typing import Final

from msgspec.structs import replace

from seatrial.control.controller import Controller, Decision, Read, Relation, Seen
from seatrial.control.writes import Update
from seatrial.kube import selectors
from seatrial.kube.objects import ClusterRole, Object, ObjectMeta
from seatrial.kube.objects.access import PolicyRule


def reconcile(seen: Seen) -> Decision:
    role = seen.subject
    assert isinstance(role, ClusterRole)
    if role.aggregation_rule is None:
        return Decision()
    rules: list[PolicyRule] = []
    for selector in role.aggregation_rule.cluster_role_selectors:
        for other in seen.all(ClusterRole):
            if other.metadata.name != role.metadata.name and selectors.matches(selector, other.metadata.labels):
                for rule in other.rules:
                    if rule not in rules:
                        rules.append(rule)
    if tuple(rules) == role.rules or (not rules and role.rules != seen.memory):
        return Decision(memory=seen.memory)
    return Decision((Update(role, replace(role, rules=tuple(rules))),), memory=tuple(rules))


def _view(role: Object) -> Object:
    assert isinstance(role, ClusterRole)
    return ClusterRole(metadata=ObjectMeta(name=role.metadata.name, labels=role.metadata.labels), rules=role.rules)


CONTROLLER: Final = Controller(
    name="clusterrole-aggregation-controller",
    actor="ClusterRole aggregation controller",
    subject=ClusterRole,
    concerned=lambda role: isinstance(role, ClusterRole) and role.aggregation_rule is not None,
    reads=(Read(ClusterRole, Relation.ALL, view=_view),),
    reconcile=reconcile,
)
