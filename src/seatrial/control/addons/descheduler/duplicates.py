"""RemoveDuplicates: pods of one owner with the same images, more of them on one node than an even share."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence

from seatrial.control.addons.descheduler.evictor import Evictor
from seatrial.control.addons.descheduler.policy import Scope
from seatrial.control.addons.descheduler.round import Outcome, Round, admits
from seatrial.control.scheduler import machines
from seatrial.kube.objects import Node, Pod


class DuplicatesArgs(Scope, frozen=True):
    exclude_owner_kinds: tuple[str, ...] = ()


def run(args: DuplicatesArgs, evictor: Evictor, round_: Round) -> None:
    """Pods of one owner with the same images, more of them on one node than an even share."""
    total: Counter[tuple[str, ...]] = Counter()
    repeated: dict[tuple[str, ...], dict[str, list[Pod]]] = {}
    for node in round_.nodes:
        known: set[frozenset[tuple[str, ...]]] = set()
        for pod in round_.on(node):
            owners = pod.metadata.owner_references
            excluded = any(owner.kind in args.exclude_owner_kinds for owner in owners)
            if not owners or excluded or not args.covers(pod) or not evictor.may_and_fits(pod):
                continue
            images = sorted(container.image for container in pod.spec.containers)
            keys = frozenset((pod.metadata.namespace, owner.kind, owner.name, *images) for owner in owners)
            total.update(keys)
            if keys in known:
                for key in keys:
                    repeated.setdefault(key, {}).setdefault(node.metadata.name, []).append(pod)
            known.add(keys)
    for key, by_node in sorted(repeated.items(), key=lambda item: item[0]):
        targets = _targets([pod for pods in by_node.values() for pod in pods], round_.nodes)
        if targets < 2:
            continue
        share = math.ceil(total[key] / targets)
        for pods in by_node.values():
            for pod in pods[share - 1 :]:
                outcome = round_.evict(pod, "RemoveDuplicates")
                if outcome is Outcome.TOTAL_LIMIT:
                    return
                if outcome is Outcome.NODE_LIMIT:
                    break


def _targets(pods: Iterable[Pod], nodes: Sequence[Node]) -> int:
    """How many nodes the pods may go to; a pod that may go to one only does not count."""
    found: set[str] = set()
    for pod in pods:
        mine = {
            node.metadata.name for node in nodes if admits(pod, node) and not machines.affinity_conflicts(pod, node)
        }
        found |= mine if len(mine) > 1 else set()
    return len(found)
