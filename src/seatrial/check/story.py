"""Telling a trace in plain words: who does what, and which fields change.

States of the graph have their nodes renamed into one order; a story needs each node to keep its name. So the path is
walked again without renaming, choosing at each step a move whose renamed result is the next state of the path.
Moves that only report a status are left out, moves of one actor that follow each other are told as one step, and an
install that works is one step.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from seatrial.check.explore import Endless, Graph
from seatrial.check.machines import WORKLOADS, Workload
from seatrial.check.model.model import Model
from seatrial.check.model.pool import Pool
from seatrial.check.model.space import ABSENT, Effect, Space, State
from seatrial.check.model.user import User
from seatrial.check.verdicts import Field, Step
from seatrial.kube.objects import Object, Pod, PodTemplateSpec, ReplicaSet

EVICTING: Final = ("Taint eviction controller", "Descheduler")
Census = Callable[[State], str]
"""`3 old pods ready, 1 new pod without a node`."""


@dataclass(frozen=True, slots=True)
class Run:
    """All the moves that a story is about, each with the state after it, so that they can be made elsewhere."""

    pool: Pool
    space: Space
    initial: State
    moves: tuple[tuple[Effect, State], ...]
    loop: int | None
    """The move with which an endless run begins to repeat."""
    stuck: bool
    """Nothing can move at the end."""


@dataclass(frozen=True, slots=True)
class Story:
    steps: tuple[Step, ...]
    loop: int | None
    reason: str
    run: Run


def tell(
    model: Model,
    graph: Graph[State, Any],
    target: int,
    endless: Endless | None,
    *,
    subject: str,
    census: Census,
    around: Sequence[int] = (),
    prelude: str = "",
) -> Story:
    """The story of the shortest way to `target`, and once around where it stays for ever; `subject` is installed.

    `around` is a way around that is known, `prelude` what the user had done before the first state.
    """
    path = graph.trace(target)
    if endless is not None and not endless.stuck:
        around = round_trip(graph, endless)
    state = graph.states[path[0]]
    steps = [Step("User", prelude)] if prelude else []
    counted = 0
    loop: int | None = None
    waiting = ""
    installed = bool(prelude)
    moves: list[tuple[Effect, State]] = []
    for position, there in enumerate([*path[1:], *around]):
        if around and position == len(path) - 1:
            loop = len(steps)
        before = state
        effect, state = _walk(model, state, graph.states[there])
        moves.append((effect, state))
        if effect.label[0] == User.name:
            change = _step(model.pool, effect) or Step(effect.actor, effect.action)
            if not installed:
                so_far = census(state if effect.actor == "User" else before)
                steps = [Step("User", f"installs {subject}; after {counted} moves of the cluster {so_far}")]
            steps.append(Step(effect.actor, effect.action, change.changes))
            installed = True
            continue
        counted += 1
        step = _step(model.pool, effect)
        if step is None:
            continue
        if effect.warning:
            waiting = f"the {effect.actor.replace('Scheduler', 'scheduler')} says: {effect.warning}"
        if steps and steps[-1].actor == step.actor and len(steps) != loop and (installed or step.changes):
            last = steps[-1]
            actions = dict.fromkeys([*last.action.split("; "), *step.action.split("; ")])
            steps[-1] = Step(step.actor, "; ".join(actions), (*last.changes, *step.changes))
        else:
            steps.append(step)
    told = census(state)
    stuck = endless is not None and endless.stuck
    if stuck:
        steps.append(Step("Nobody", f"can do anything more: {told}"))
    reason = f"{told}; {waiting}" if waiting else told
    initial = graph.states[path[0]]
    run = Run(model.pool, model.space, initial, tuple(moves), len(path) - 1 if around else None, stuck)
    return Story(tuple(steps), loop, reason, run)


def round_trip(graph: Graph[Any, Any], endless: Endless) -> list[int]:
    """A shortest cycle through the entry, inside the component."""
    before: dict[int, int] = {}
    queue = [endless.entry]
    for here in queue:
        for _, there in graph.edges[here]:
            if there == endless.entry:
                cycle = [there]
                while here != endless.entry:
                    cycle.append(here)
                    here = before[here]
                return cycle[::-1]
            if there in endless.component and there not in before:
                before[there] = here
                queue.append(there)
    raise AssertionError("a component of several states has a cycle through each")


def _walk(model: Model, state: State, wanted: State) -> tuple[Effect, State]:
    for effect, after in model.effects(state):
        if model.renamed(after) == wanted:
            return effect, after
    raise AssertionError("renaming nodes changed what can happen: nodes taken for equal are not")


def _step(pool: Pool, effect: Effect) -> Step | None:
    said: list[str] = []
    changes: list[Field] = []
    drawn = {"creates": 0, "deletes": 0}
    for old, new in effect.pairs:
        before = pool[old] if old != ABSENT else None
        after = pool[new] if new != ABSENT else None
        thing = before if after is None else after
        if isinstance(thing, Pod):
            _of_pod(effect, before, after, said, changes, drawn)
        elif isinstance(thing, ReplicaSet) and isinstance(after, ReplicaSet):
            _of_replica_set(before, after, said, changes)
        elif isinstance(before, WORKLOADS) and isinstance(after, WORKLOADS) and _template(before) != _template(after):
            changes.append(Field(_called(after), "spec.template", "old", "new"))
    if effect.warning and effect.warning not in said:
        said.append(effect.warning)
    if effect.actor == "Fault":
        said.append(effect.action)
    for verb, count in drawn.items():
        if count:
            said.append(f"{verb} {count} pod{'s' * (count > 1)}")
    return Step(effect.actor, "; ".join(said), tuple(changes)) if said or changes else None


def _of_pod(
    effect: Effect,
    before: Pod | None,
    after: Pod | None,
    said: list[str],
    changes: list[Field],
    drawn: dict[str, int],
) -> None:
    if effect.actor not in ("Scheduler", "Node", "Time"):
        there = after or before
        assert there is not None, "a change has a side"
        if before is not None and after is not None and before.metadata.deletion_timestamp == _going(after):
            return
        verb = "creates" if before is None else "deletes"
        if effect.actor in EVICTING:
            said.append(f"ends {there.metadata.name or 'a pod'} on {there.spec.node_name}")
        elif there.metadata.name:
            said.append(f"{verb} pod {there.metadata.name}")
        else:
            drawn[verb] += 1
    elif before is not None and after is not None:
        if before.spec.node_name != after.spec.node_name:
            changes.append(Field(_called(after), "spec.nodeName", None, after.spec.node_name))
        elif effect.actor == "Scheduler":
            changes.append(Field(_called(after), "status.conditions[PodScheduled]", None, "False"))
        said.append(effect.action)
    elif before is not None:
        said.append(effect.action)


def _going(pod: Pod) -> object:
    return pod.metadata.deletion_timestamp


def _of_replica_set(before: object, after: ReplicaSet, said: list[str], changes: list[Field]) -> None:
    name = f"ReplicaSet {after.metadata.name}"
    was = before.spec.replicas if isinstance(before, ReplicaSet) else None
    if before is None:
        said.append(f"creates {name} with {after.spec.replicas} replicas")
    elif was != after.spec.replicas:
        said.append(f"scales {name} from {was} to {after.spec.replicas}")
    else:
        return
    changes.append(Field(name, "spec.replicas", was, after.spec.replicas))


def _template(workload: Workload) -> PodTemplateSpec | None:
    return workload.spec.template


def _called(item: Object) -> str:
    if item.metadata.name:
        return str(item.key)
    owner = item.metadata.controller
    return f"{item.kind} of {owner.name}" if owner else item.kind
