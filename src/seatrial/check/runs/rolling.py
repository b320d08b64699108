"""Exploring a workload's rollout, and gathering what its states show: who is available, how many there are, where.

`setting` is what the question's system says of the workload, `run` explores it, an `Exploration` is what was found; the
verdicts on it are the properties' (`properties/rollout.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from seatrial.check import explore, machines
from seatrial.check.budget import Budget
from seatrial.check.model.faults import is_fair
from seatrial.check.model.space import Memo, Slot, State
from seatrial.check.properties import Question
from seatrial.check.runs import quotas
from seatrial.check.runs.rollouts import UPGRADE, Revision, Rollout, Setting, Workload
from seatrial.check.system import System
from seatrial.control import nodelifecycle
from seatrial.control.scheduler import spread
from seatrial.control.scheduler.board import Board
from seatrial.control.scheduler.profiles import DEFAULT
from seatrial.kube import selectors
from seatrial.kube.objects import DaemonSet, Node, Pod, PodDisruptionBudget, ReplicaSet


@dataclass(frozen=True, slots=True)
class Peak:
    """The most pods at a time that are not stopping, and the most that the ReplicaSets together ask for."""

    staying: int
    sizes: int
    at: int
    """A state with these sizes."""


@dataclass(slots=True)
class Exploration:
    rollout: Rollout
    graph: explore.Graph[State, Any]
    needed: int
    """How many pods are to stay available."""
    endless: explore.Endless | None
    short: int | None
    """The first state with too few available pods."""
    outage: int | None
    """The first state after a change without any."""
    peak: Peak
    skewed: tuple[int, str] | None
    """The first complete state whose pods are not spread as they ask for, and how."""
    rolls: int
    """How many states lie after a change of the user's: a proof about none of them would be empty."""
    ends: int
    """How many states have the last template everywhere."""


def wanted(workload: Workload, nodes: Sequence[Node]) -> int:
    """How many pods it asks for, on nodes that answer."""
    if isinstance(workload, DaemonSet):
        return len(machines.daemons_of(workload, [node for node in nodes if not nodelifecycle.is_silent(node)]))
    return machines.replicas(workload)


def setting(
    question: Question, workload: Workload, nodes: tuple[Node, ...], plan: tuple[Revision, ...] = UPGRADE
) -> Setting:
    system = question.system
    others, _ = machines.place(system, nodes, without=workload)
    text = " ".join(
        msgspec.json.encode(entry.admitted).decode() for entry in system.entries if entry.key.kind != "Node"
    )
    named = frozenset(node.metadata.name for node in nodes if f'"{node.metadata.name}"' in text)
    namespace = workload.metadata.namespace
    counted = tuple(quotas.counting(each, others) for each in quotas.of_namespace(system, namespace))
    silent = tuple(node for node in nodes if nodelifecycle.is_silent(node)) if isinstance(workload, DaemonSet) else ()
    if silent:
        nodes = tuple(machines.answering(node) if node in silent else node for node in nodes)
    return Setting(
        workload,
        nodes,
        plan,
        tuple(others),
        counted,
        named,
        limits=quotas.ranges(system, namespace),
        dying=silent,
        minor=int(system.version.split(".")[1]),
    )


def guarded(system: System, workload: Workload) -> tuple[int, PodDisruptionBudget] | None:
    """How many pods must be available as a PodDisruptionBudget says, and which; None if none says it.

    `maxUnavailable` says how many may be evicted at a time, not how many are needed.
    """
    template = machines.template_of(workload)
    found = []
    for budget in system.all(PodDisruptionBudget):
        least = budget.spec.min_available
        if least is None or budget.metadata.namespace != workload.metadata.namespace:
            continue
        if selectors.matches(budget.spec.selector, template.metadata.labels) and not isinstance(workload, DaemonSet):
            found.append((machines.resolve(least, machines.replicas(workload), up=True), budget))
    return max(found, key=lambda each: each[0], default=None)


def run(asked: Setting, budget: Budget, needed: int = 0) -> Exploration:
    """`needed`: so many pods are to stay available if that is more than the strategy promises."""
    rollout = Rollout(asked)
    graph = explore.explore(rollout.model, budget)
    dead = {node.metadata.name for node in asked.dying}
    count = wanted(asked.workload, [node for node in asked.nodes if node.metadata.name not in dead])
    needed = max(needed, count - machines.resolved_unavailable(asked.workload, count))
    pods = rollout.space.pods
    up = Memo[int, bool](lambda number: rollout.available(rollout.pool[number]))
    available = Memo[Slot, int](lambda slot: sum([up[number] for number in slot]))
    skew = Memo[Slot, str](lambda slot: _skew(rollout, slot))
    short = outage = None
    skewed: tuple[int, str] | None = None
    rolls = ends = 0
    done: dict[State, bool] = {}
    for position, state in enumerate(graph.states):
        changes = rollout.changes(state)
        if changes:
            rolls += 1
            if available[state[pods]] < needed and short is None:
                short = position
            if not available[state[pods]] and outage is None:
                outage = position
        if changes == len(asked.plan):
            done[state] = rollout.done(state)
            ends += done[state]
            if done[state] and skewed is None and (how := skew[state[pods]]):
                skewed = (position, how)
    endless = explore.misses(graph, lambda state: done.get(state, False), is_fair) if graph.complete else None
    return Exploration(rollout, graph, needed, endless, short, outage, _peak(rollout, graph), skewed, rolls, ends)


def _peak(rollout: Rollout, graph: explore.Graph[State, Any]) -> Peak:
    sets = rollout.space.slots.get(ReplicaSet)
    pool = rollout.pool
    stays = Memo[int, bool](lambda number: pool[number].metadata.deletion_timestamp is None)
    size = Memo[Slot, int](lambda slot: sum(pool[number].spec.replicas or 0 for number in slot))
    staying = sizes = at = 0
    for position, state in enumerate(graph.states):
        slot = state[rollout.space.pods]
        staying = max(staying, sum([stays[number] for number in slot]))
        if sets is not None and size[state[sets]] > sizes:
            sizes, at = size[state[sets]], position
    return Peak(staying, sizes, at)


def _skew(rollout: Rollout, slot: Slot) -> str:
    """How the pods lie that are not spread as they must be (DoNotSchedule); empty if they are."""
    named = [rollout.pool.named(number, position) for position, number in enumerate(slot)]
    pods = [each for each in named if isinstance(each, Pod)]
    if not pods or not pods[0].spec.topology_spread_constraints:
        return ""
    asking = pods[0]
    absent = msgspec.structs.replace(asking, metadata=msgspec.structs.replace(asking.metadata, name="asking"))
    board = Board.of(rollout.setting.nodes, [*pods, *rollout.setting.others], but=absent)
    hard = spread.constraints(asking, "DoNotSchedule", board, DEFAULT)
    for constraint in hard:
        domains = spread.Domains(absent, board, constraint, hard)
        least = domains.least
        if least is not None and max(domains.numbers.values(), default=0) - least > constraint.max_skew:
            lie = ", ".join(f"{count} in {name}" for name, count in sorted(domains.numbers.items()))
            return f"{constraint.topology_key}: {lie}, where maxSkew is {constraint.max_skew}"
    return ""
