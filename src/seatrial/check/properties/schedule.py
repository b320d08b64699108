"""`schedule/fits`: every pod finds a node, for every number of replicas up to what an autoscaler may ask for.

All orders of arrival are asked about, and every choice among equally good nodes; pods of DaemonSets are there first.
Fewer replicas are met on the way to more. First the order of the files is tried, then counting (`room`), then the
orders are explored: among the pods that a rule relates to each other alone, where every node has room for all, else
among all, and where these are too many for each such group after all others. Where pods are left over a search says
whether any placement exists, and if none does, which fields together leave none (`cores`).

Of a Deployment that an autoscaler may enlarge and whose rollout may not take a pod away first, one pod more has to fit:
else its rollouts stand still when the load is highest. (At the size of the files `rollout/converges` speaks of that.)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod

import msgspec

from seatrial.check import machines
from seatrial.check.machines import Group
from seatrial.check.placing import cores, room
from seatrial.check.placing.arrivals import Arrivals, Move, State, TooManyError, arrange
from seatrial.check.placing.ground import Ground, told
from seatrial.check.properties import Property, Question
from seatrial.check.system import Entry, Place, System
from seatrial.check.verdicts import Answer, Covered, Step, Verdict
from seatrial.control.scheduler.board import Board, terms_of
from seatrial.control.scheduler.demand import amounts, demand
from seatrial.control.scheduler.profiles import DEFAULT
from seatrial.control.scheduler.spread import Constraint, constraints
from seatrial.kube.objects import Deployment, Key, Node, Pod

NAME = "schedule/fits"
PROPERTIES = (
    Property(
        name=NAME,
        asks="does every pod find a node, for every number of replicas up to what an autoscaler may ask for?",
        formally="no order of arrival and no choice among equally good nodes reaches a state in which pods wait and "
        "none of them finds a node, for every r with replicas <= r <= maxReplicas",
        premise="always",
        sometimes="the system has a pod",
    ),
)
ASSUMPTIONS: Mapping[str, str] = {
    "daemons/first": "pods of DaemonSets, and those that name their node, are there first",
    "others/as-written": "other workloads stand where the order of the files puts them",
    "storage/binds": "claims are bound and volumes attach wherever their pods go",
}


MOST = 200
"""Of more pods it is not asked whether they could be placed otherwise."""


@dataclass(frozen=True, slots=True)
class Left:
    """A pod that is left over: of which group, how many of it were placed, what the scheduler says, and how it came."""

    group: Group
    placed: int
    message: str
    trace: tuple[Step, ...]
    as_written: bool
    """In the order of the files already, not only in another."""


@dataclass(frozen=True, slots=True)
class Outcome:
    left: tuple[Left, ...] = ()
    complete: bool = True
    method: str = "counting"
    covered: Covered | None = None
    assumed: tuple[str, ...] = ()


def check(question: Question, _wanted: frozenset[str]) -> list[Verdict]:
    ground = Ground.of(question.system, question.nodes)
    _, misfits = machines.standing(question.system, question.nodes)
    verdicts = [_daemon(question, misfit) for misfit in misfits]
    groups = machines.crowd(question.system, question.nodes, scaled=True)
    outcome = fits(ground, groups)
    for left in outcome.left:
        verdicts.append(_left(question, ground, groups, left, outcome, surge=False))
    if not outcome.left and outcome.complete:
        for larger in _with_surge(question.system, groups):
            more = fits(ground, larger)
            verdicts += [_left(question, ground, larger, left, more, surge=True) for left in more.left[:1]]
            if not more.complete:
                outcome = more
    if verdicts:
        return verdicts
    base = Verdict(
        property=NAME,
        subject="system",
        verdict=Answer.PROVED,
        message="",
        method=outcome.method,
        covered=outcome.covered,
        assumptions=(*_assumed(question), *outcome.assumed),
    )
    many = f"{len(question.nodes)} node{'s' * (len(question.nodes) != 1)}"
    total = sum(group.count for group in groups) + len(ground.standing)
    if not outcome.complete:
        message = (
            f"all {total} pods find a place on {many} in the order of the files; the budget for other orders ran out, "
            "and no pod was left over in those that were tried"
        )
        return [msgspec.structs.replace(base, verdict=Answer.UNKNOWN, message=message)]
    message = f"all {total} pods find a place on {many}, in whatever order"
    if outcome.assumed:
        message += " those come that a rule or scarce room relates"
    return [msgspec.structs.replace(base, message=message)]


def _assumed(question: Question) -> tuple[str, ...]:
    claims = any(
        entry.key.kind == "PersistentVolumeClaim" or "volumeClaimTemplates" in (entry.admitted.get("spec") or {})
        for entry in question.system.entries
    )
    return (question.machines.name, "daemons/first", *(("storage/binds",) if claims else ()))


def fits(ground: Ground, groups: Sequence[Group]) -> Outcome:
    """Whether every pod of the groups finds a place in every order."""
    as_written = _in_order(ground, groups)
    if as_written is not None:
        return Outcome((as_written,), True, "simulation")
    rooms = room.count(groups, ground.nodes, ground.standing, ground.minor)
    rest = [position for position, each in enumerate(rooms) if not each.always]
    if not rest:
        return Outcome()
    related = _related(ground, groups, rest)
    if all(rooms[position].everywhere for position in related):
        free = ground.arrivals([groups[position] for position in related], free=True)
        graph = free.explored(ground.budget)
        if graph.complete:
            return Outcome((), True, "exploration", Covered(len(graph.edges), graph.transitions))
    if prod(group.count + 1 for group in groups) > ground.budget:
        return _each_by_itself(ground, groups, rest)
    arrivals = ground.arrivals(groups)
    graph = arrivals.explored(ground.budget)
    last = graph.states[len(graph.edges)] if len(graph.edges) < len(graph.states) else None
    covered = Covered(len(graph.edges), graph.transitions)
    if last is not None and arrivals.stranded(last):
        path = [graph.states[number] for number in graph.trace(len(graph.edges))]
        return Outcome(tuple(_stranded(arrivals, path)), True, "exploration", covered)
    if graph.complete and not arrivals.evicts_standing:
        return Outcome((), True, "exploration", covered)
    return _each_by_itself(ground, groups, rest)


def _each_by_itself(ground: Ground, groups: Sequence[Group], rest: Sequence[int]) -> Outcome:
    """The orders of related groups only, after all others, which come in the order of the files."""
    done: set[int] = set()
    states = transitions = 0
    complete = True
    for begin in rest:
        if begin in done:
            continue
        related = _related(ground, groups, [begin])
        done.update(related)
        first = ground.arrivals([group for position, group in enumerate(groups) if position not in related])
        state = first.initial
        while (step := next(iter(first.steps(state)), None)) is not None:
            state = step[1]
        others = (*ground.standing, *first.pods(state.layout))
        arrivals = replace(ground, standing=others).arrivals([groups[each] for each in related])
        graph = arrivals.explored(ground.budget)
        states += len(graph.edges)
        transitions += graph.transitions
        last = graph.states[len(graph.edges)] if len(graph.edges) < len(graph.states) else None
        if last is not None and arrivals.stranded(last):
            path = [graph.states[number] for number in graph.trace(len(graph.edges))]
            found = tuple(_stranded(arrivals, path))
            return Outcome(found, True, "exploration", Covered(states, transitions), ("others/as-written",))
        complete = complete and graph.complete and not arrivals.evicts_standing
    return Outcome((), complete, "exploration", Covered(states, transitions), ("others/as-written",))


def _in_order(ground: Ground, groups: Sequence[Group]) -> Left | None:
    """The order of the files, the first of equally good nodes: the pods that stay over at the end, if any."""
    arrivals = ground.arrivals(groups)
    state = arrivals.initial
    path = [state]
    moves: list[Move] = []
    while True:
        step = next(iter(arrivals.steps(state)), None)
        if step is None:
            break
        moves.append(step[0])
        state = step[1]
        path.append(state)
    waiting = next((position for position, count in enumerate(state.waiting) if count), None)
    if waiting is None:
        return None
    return _left_over(arrivals, moves, state, waiting, as_written=True)


def _stranded(arrivals: Arrivals, path: list[State]) -> list[Left]:
    moves = arrivals.walk(path)
    state = arrivals.initial
    for move in moves:
        state = arrivals.after(state, move)
    return [
        _left_over(arrivals, moves, state, position, as_written=False)
        for position, count in enumerate(state.waiting)
        if count
    ]


def _left_over(arrivals: Arrivals, moves: Sequence[Move], state: State, group: int, *, as_written: bool) -> Left:
    message = arrivals.placement(state.layout, group).message
    steps = [*told(arrivals, moves), Step("Scheduler", f"{arrivals.groups[group].owner}: {message}")]
    placed = arrivals.groups[group].count - state.waiting[group]
    return Left(arrivals.groups[group], placed, message, tuple(steps), as_written)


def _related(ground: Ground, groups: Sequence[Group], begin: Sequence[int]) -> list[int]:
    """The groups that a rule relates to these, directly or over others."""
    board = Board.of((), (), (), but=groups[begin[0]].pod, minor=ground.minor)

    def speaks_of(one: Pod, other: Pod) -> bool:
        rules = terms_of(one, ground.minor)
        hard: tuple[Constraint, ...] = constraints(one, "DoNotSchedule", board, DEFAULT)
        return any(
            term.namespace_selector is not None or term.matches(other, {})
            for term in (*rules.affinity, *rules.anti_affinity)
        ) or any(rule.counts(one, other) for rule in hard)

    found = list(begin)
    for here in found:
        mine = groups[here].pod
        for position, group in enumerate(groups):
            if position not in found and (speaks_of(mine, group.pod) or speaks_of(group.pod, mine)):
                found.append(position)
    return sorted(found)


def _with_surge(system: System, groups: Sequence[Group]) -> list[list[Group]]:
    """For each Deployment that an autoscaler may enlarge and that rolls out by a pod more first: the groups with it."""
    found = []
    for position, group in enumerate(groups):
        entry = _entry(system, group.owner)
        workload = entry.typed if entry else None
        if group.count <= group.asked or not isinstance(workload, Deployment):
            continue
        larger = msgspec.structs.replace(workload, spec=msgspec.structs.replace(workload.spec, replicas=group.count))
        if machines.resolved_surge(larger) and not machines.resolved_unavailable(larger, group.count):
            found.append([*groups[:position], replace(group, count=group.count + 1), *groups[position + 1 :]])
    return found


def _entry(system: System, owner: str) -> Entry | None:
    """The object whose pods a group are; pods by themselves are called by their name only."""
    return next((e for e in system.entries if owner in (str(e.key), f"Pod {e.key.name}")), None)


def _daemon(question: Question, misfit: machines.Misfit) -> Verdict:
    entry = _entry(question.system, misfit.owner)
    return Verdict(
        property=NAME,
        subject=misfit.owner,
        verdict=Answer.REFUTED,
        message=f"pod {misfit.index + 1} finds no node: {misfit.message}",
        places=(entry.place("spec"),) if entry else (),
        trace=(Step("Scheduler", misfit.message),),
        method="simulation",
        assumptions=_assumed(question),
    )


def _left(
    question: Question, ground: Ground, groups: Sequence[Group], left: Left, outcome: Outcome, *, surge: bool
) -> Verdict:
    group = left.group
    index = left.placed
    scaled = group.autoscaler is not None and index >= group.asked
    asked = f", for which {group.autoscaler} may ask," if scaled and not surge else ""
    how = "" if left.as_written else " in one order of arrival"
    if surge:
        asked = f", of a rollout while {group.autoscaler} asks for {group.count - 1},"
    exists, core = _why(question.system, ground, groups, left)
    count = _counting_field(question.system, group, scaled=scaled or surge)
    places = tuple(dict.fromkeys([*count, *core]))
    what = {True: "; another placement has room for all", False: "; no placement has room for all", None: ""}[exists]
    return Verdict(
        property=NAME,
        subject=group.owner,
        verdict=Answer.REFUTED,
        message=f"pod {index + 1}{asked} finds no node{how}: {left.message.rstrip('.')}{what}",
        places=places,
        trace=left.trace,
        method=outcome.method,
        covered=outcome.covered,
        assumptions=(*_assumed(question), *outcome.assumed),
    )


def _counting_field(system: System, group: Group, *, scaled: bool) -> tuple[Place, ...]:
    key: Key | str = group.autoscaler if scaled and group.autoscaler is not None else group.owner
    entry = _entry(system, str(key))
    return (entry.place("spec", "maxReplicas" if scaled else "replicas"),) if entry else ()


def _why(system: System, ground: Ground, groups: Sequence[Group], left: Left) -> tuple[bool | None, tuple[Place, ...]]:
    """Whether any placement exists (None: no answer within the budget), and the fields in conflict."""
    if sum(group.count for group in groups) > MOST:
        return None, ()
    entry = _entry(system, left.group.owner)
    by_size = sorted(groups, key=lambda group: -sum(_weights(group.pod, ground)))

    def builds(nodes: Sequence[Node], wanted: Sequence[Group]) -> Arrivals:
        return ground.arrivals(wanted, nodes=nodes, free=True)

    try:
        exists = arrange(builds(ground.nodes, by_size), cores.BUDGET) is not None
    except TooManyError:
        return None, ()
    if exists or entry is None:
        return exists, ()
    found = cores.core(system, entry, builds, ground.nodes, by_size, left.group.owner)
    return False, found or ()


def _weights(pod: Pod, ground: Ground) -> list[float]:
    """What share of the first machine's resources the pod takes."""
    have = amounts(ground.nodes[0].status.allocatable) if ground.nodes else {}
    return [size / have[name] for name, size in demand(pod, ground.minor).requests.items() if have.get(name)]
