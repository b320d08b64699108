"""RemovePodsViolatingNodeAffinity: pods on nodes that their affinity does not, or no longer, want."""

from __future__ import annotations

from typing import Final

from seatrial.control.addons.descheduler.evictor import Evictor, evict_wrong
from seatrial.control.addons.descheduler.policy import Scope
from seatrial.control.addons.descheduler.round import Round
from seatrial.control.scheduler import machines
from seatrial.kube.objects import Node, Pod

_REQUIRED: Final = "requiredDuringSchedulingIgnoredDuringExecution"
_PREFERRED: Final = "preferredDuringSchedulingIgnoredDuringExecution"


class NodeAffinityArgs(Scope, frozen=True):
    node_affinity_type: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.node_affinity_type:
            raise ValueError("nodeAffinityType needs to be set")


def run(args: NodeAffinityArgs, evictor: Evictor, round_: Round) -> None:
    def fits(pod: Pod) -> bool:
        return any(round_.fits(pod, node) for node in round_.nodes)

    def no_longer_matches(pod: Pod, node: Node) -> bool:
        required = machines.required_terms(pod) is not None
        return required and bool(machines.affinity_conflicts(pod, node)) and fits(pod)

    def prefers_another(pod: Pod, node: Node) -> bool:
        return max(_liking(pod, each) for each in round_.nodes) > _liking(pod, node) and fits(pod)

    known = {_REQUIRED: no_longer_matches, _PREFERRED: prefers_another}
    for kind in args.node_affinity_type:
        if kind in known:
            evict_wrong("RemovePodsViolatingNodeAffinity", args, evictor, round_, known[kind])


def _liking(pod: Pod, node: Node) -> int:
    affinity = pod.spec.affinity.node_affinity if pod.spec.affinity is not None else None
    terms = affinity.preferred_during_scheduling_ignored_during_execution if affinity is not None else ()
    return sum(each.weight for each in terms if each.preference and machines.matches_term(each.preference, node))
