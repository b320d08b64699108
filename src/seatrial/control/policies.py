"""Which connections NetworkPolicies let through.

Rules, as the API's own documentation has them (networking.k8s.io/v1, `NetworkPolicySpec`): a pod that no policy selects
for a direction is open in it; one that some policy selects is open only to what a rule of one of them allows, and rules
add up. A connection needs its source's leave to go and its target's leave to come in. A rule without peers is about
everybody, one without ports about all ports; a named port is the target's own. Pods in the host's network are outside
of all this. Where an answer depends on what is not known here (a pod's address, labels of a namespace) it is None: a
caller must not take it for either.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network

from seatrial.kube import selectors
from seatrial.kube.objects import LabelSelector, NetworkPolicy
from seatrial.kube.objects.networking import IPBlock, NetworkPolicyPeer, NetworkPolicyPort
from seatrial.kube.selectors import Requirement

INGRESS = "Ingress"
EGRESS = "Egress"


@dataclass(frozen=True, slots=True)
class Party:
    """One end of a connection: a pod, or an address outside the cluster (which has no namespace).

    `namespace_labels` are those that are known; `all_labels` says that there are no others. `ports` are the named ones,
    each with its number and protocol.
    """

    namespace: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    namespace_labels: Mapping[str, str] = field(default_factory=dict)
    all_labels: bool = True
    ip: str = ""
    ports: Mapping[str, tuple[int, str]] = field(default_factory=dict)
    host_network: bool = False


@dataclass(frozen=True, slots=True)
class Passage:
    """Whether a connection is let through in one direction (None: unknown), and the policies that decide."""

    direction: str
    allowed: bool | None
    policies: tuple[NetworkPolicy, ...] = ()


def passages(
    policies: Iterable[NetworkPolicy], source: Party, target: Party, port: int, protocol: str = "TCP"
) -> tuple[Passage, Passage]:
    """Out of the source, and into the target."""
    known = tuple(policies)
    return (
        _passage(known, EGRESS, source, target, target, port, protocol),
        _passage(known, INGRESS, target, source, target, port, protocol),
    )


def selecting(policies: Iterable[NetworkPolicy], pod: Party, direction: str) -> tuple[NetworkPolicy, ...]:
    """The policies that restrict a pod in a direction."""
    if pod.host_network or not pod.namespace:
        return ()
    return tuple(
        policy
        for policy in policies
        if policy.metadata.namespace == pod.namespace
        and direction in types(policy)
        and selectors.matches(policy.spec.pod_selector, pod.labels)
    )


def types(policy: NetworkPolicy) -> tuple[str, ...]:
    """Without `policyTypes` a policy is about what comes in, and about what goes out if it has rules for that."""
    spec = policy.spec
    return spec.policy_types or ((INGRESS, EGRESS) if spec.egress else (INGRESS,))


def _passage(
    policies: tuple[NetworkPolicy, ...],
    direction: str,
    pod: Party,
    other: Party,
    target: Party,
    port: int,
    protocol: str,
) -> Passage:
    holding = selecting(policies, pod, direction)
    if not holding:
        return Passage(direction, True)
    answers: list[bool | None] = []
    for policy in holding:
        if direction == EGRESS:
            rules = [(rule.to, rule.ports) for rule in policy.spec.egress]
        else:
            rules = [(rule.from_, rule.ports) for rule in policy.spec.ingress]
        for peers, ports in rules:
            if not ports or any(_port(each, target, port, protocol) for each in ports):
                answers.append(_any([_peer(policy, peer, other) for peer in peers]) if peers else True)
    return Passage(direction, _any(answers), holding)


def _any(answers: list[bool | None]) -> bool | None:
    return True if True in answers else None if None in answers else False


def _port(rule: NetworkPolicyPort, target: Party, port: int, protocol: str) -> bool:
    if (rule.protocol or "TCP") != protocol:
        return False
    if rule.port is None:
        return True
    if isinstance(rule.port, str):
        return target.ports.get(rule.port) == (port, protocol)
    return rule.port <= port <= (rule.port if rule.end_port is None else rule.end_port)


def _peer(policy: NetworkPolicy, peer: NetworkPolicyPeer, other: Party) -> bool | None:
    if peer.ip_block is not None:
        return _in_block(peer.ip_block, other)
    if not other.namespace or other.host_network:
        return False if not other.host_network else None
    if peer.namespace_selector is None:
        if other.namespace != policy.metadata.namespace:
            return False
    else:
        chosen = _namespace(peer.namespace_selector, other)
        if chosen is not True:
            return chosen
    return peer.pod_selector is None or selectors.matches(peer.pod_selector, other.labels)


def _namespace(selector: LabelSelector, other: Party) -> bool | None:
    wanted = [
        *(Requirement(key, "In", (value,)) for key, value in selector.match_labels.items()),
        *(Requirement(each.key, each.operator, each.values) for each in selector.match_expressions),
    ]
    unknown = False
    for requirement in wanted:
        if not other.all_labels and requirement.key not in other.namespace_labels:
            unknown = True
        elif not requirement.matches(other.namespace_labels):
            return False
    return None if unknown else True


def _in_block(block: IPBlock, other: Party) -> bool | None:
    try:
        network = ip_network(block.cidr, strict=False)
        excluded = [ip_network(each, strict=False) for each in block.except_]
        if not other.ip:
            # Whatever a pod's address is, it is in a block of all addresses; in any other one it may be.
            return True if network.prefixlen == 0 and not excluded else None
        address = ip_address(other.ip)
    except ValueError:
        return None
    return address in network and not any(address in each for each in excluded)
