"""RemovePodsViolatingNodeTaints: pods on nodes with taints that they do not tolerate."""

from __future__ import annotations

from seatrial.control.addons.descheduler.evictor import Evictor, evict_wrong
from seatrial.control.addons.descheduler.policy import Scope
from seatrial.control.addons.descheduler.round import Round
from seatrial.control.scheduler import machines
from seatrial.kube.objects import Node, Pod, Taint


class NodeTaintsArgs(Scope, frozen=True):
    include_prefer_no_schedule: bool = False
    excluded_taints: tuple[str, ...] = ()
    included_taints: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if self.included_taints and self.excluded_taints:
            raise ValueError("either includedTaints or excludedTaints can be set, but not both")

    def count(self, taint: Taint) -> bool:
        effects = ("NoSchedule", "PreferNoSchedule") if self.include_prefer_no_schedule else ("NoSchedule",)
        names = {taint.key, f"{taint.key}={taint.value}"} if taint.value else {taint.key}
        included = self.included_taints is None or not names.isdisjoint(self.included_taints)
        return taint.effect in effects and included and names.isdisjoint(self.excluded_taints)


def run(args: NodeTaintsArgs, evictor: Evictor, round_: Round) -> None:
    def is_wrong(pod: Pod, node: Node) -> bool:
        return any(
            args.count(taint) and not machines.tolerates(pod.spec.tolerations, taint) for taint in node.spec.taints
        )

    evict_wrong("RemovePodsViolatingNodeTaints", args, evictor, round_, is_wrong)
