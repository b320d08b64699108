"""Whether a node by itself suits a pod: node selector and affinity, taints and tolerations.

Semantics: `component-helpers/scheduling/corev1` (nodeaffinity, toleration). A requirement that cannot be understood
matches no node, as upstream has it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from seatrial.kube import selectors
from seatrial.kube.objects import Node, Pod, Taint
from seatrial.kube.objects.pods import NodeSelectorRequirement, NodeSelectorTerm, Toleration

HARD_EFFECTS = ("NoSchedule", "NoExecute")
UNSCHEDULABLE_TAINT = Taint(key="node.kubernetes.io/unschedulable", effect="NoSchedule")


def matches_requirements(requirements: Iterable[NodeSelectorRequirement], labels: Mapping[str, str]) -> bool:
    try:
        return all(
            selectors.Requirement(requirement.key, requirement.operator, requirement.values).matches(labels)
            for requirement in requirements
        )
    except ValueError:
        return False


def matches_term(term: NodeSelectorTerm, node: Node) -> bool:
    """A term without any requirement matches no node."""
    if not term.match_expressions and not term.match_fields:
        return False
    return matches_requirements(term.match_expressions, node.metadata.labels) and matches_requirements(
        term.match_fields, {"metadata.name": node.metadata.name}
    )


def matches_labels_of(term: NodeSelectorTerm, labels: Mapping[str, str]) -> bool:
    """As `matches_term` for a node of which only the labels are known, as volumes see it."""
    if not term.match_expressions and not term.match_fields:
        return False
    return matches_requirements(term.match_expressions, labels) and matches_requirements(
        term.match_fields, {"metadata.name": ""}
    )


def required_terms(pod: Pod) -> tuple[NodeSelectorTerm, ...] | None:
    """The terms of which a node must match one, or None if the pod asks for nothing."""
    affinity = pod.spec.affinity
    node_affinity = affinity.node_affinity if affinity else None
    required = node_affinity.required_during_scheduling_ignored_during_execution if node_affinity else None
    return None if required is None else required.node_selector_terms


def affinity_conflicts(pod: Pod, node: Node) -> tuple[str, ...]:
    """The fields of the pod that the node does not match; none if nodeSelector and required affinity both allow it."""
    fields = []
    if not selectors.matches_labels(pod.spec.node_selector, node.metadata.labels):
        fields.append("spec.nodeSelector")
    terms = required_terms(pod)
    if terms is not None and not any(matches_term(term, node) for term in terms):
        fields.append("spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution")
    return tuple(fields)


def named_nodes(pod: Pod) -> frozenset[str] | None:
    """The only nodes to look at, when every required term names some by `metadata.name`; None means all nodes.

    Upstream sorts out all other nodes before its filters, with a message of their own.
    """
    terms = required_terms(pod)
    if not terms:
        return None
    names: set[str] = set()
    for term in terms:
        chosen: set[str] | None = None
        for requirement in term.match_fields:
            if requirement.key == "metadata.name" and requirement.operator == "In":
                values = set(requirement.values)
                chosen = values if chosen is None else chosen & values
        if chosen is None:
            return None
        names |= chosen
    return frozenset(names)


def tolerates(tolerations: Iterable[Toleration], taint: Taint) -> bool:
    return any(_tolerates(toleration, taint) for toleration in tolerations)


def untolerated(pod: Pod, node: Node) -> int | None:
    """The index of the node's first taint that keeps the pod away, if there is one."""
    for index, taint in enumerate(node.spec.taints):
        if taint.effect in HARD_EFFECTS and not tolerates(pod.spec.tolerations, taint):
            return index
    return None


def _tolerates(toleration: Toleration, taint: Taint) -> bool:
    if toleration.effect and toleration.effect != taint.effect:
        return False
    if toleration.key and toleration.key != taint.key:
        return False
    match toleration.operator:
        case "" | "Equal":
            return bool(toleration.key) and toleration.value == taint.value
        case "Exists":
            return True
        case _:  # Gt and Lt need a feature gate that is off by default
            return False
