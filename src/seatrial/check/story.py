"""Telling a trace in plain words: who does what, and which fields change.

States of the graph have their nodes renamed into one order; a story needs each node to keep its name. So the path is
walked again without renaming, choosing at each step a move whose renamed result is the next state of the path.
Moves that only report a status are left out, moves of one actor that follow each other are told as one step, and an
install that works is one step.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from seatrial.check.explore import Endless, Graph
from seatrial.check.verdicts import Field, Step
from seatrial.check.world import Effect, State, World, rolled
from seatrial.kube.objects import Deployment, Pod, ReplicaSet


@dataclass(frozen=True, slots=True)
class Story:
    steps: tuple[Step, ...]
    loop: int | None
    reason: str


def tell(world: World, graph: Graph[State, Any], target: int, endless: Endless | None) -> Story:
    """The story of the shortest way to `target`, and once around where it stays for ever."""
    path = graph.trace(target)
    around: list[int] = []
    if endless is not None and not endless.stuck:
        around = _round_trip(graph, endless)
    state = graph.states[path[0]]
    steps: list[Step] = []
    counted = 0
    loop: int | None = None
    waiting = ""
    installed = False
    for position, there in enumerate([*path[1:], *around]):
        if around and position == len(path) - 1:
            loop = len(steps)
        effect, state = _walk(world, state, graph.states[there])
        deployment = world.objects[state[0]]
        assert isinstance(deployment, Deployment)
        if effect.actor == "User":
            name = deployment.metadata.name
            text = f"installs {name}; after {counted} moves of the cluster {_census(world, state)}"
            steps = [Step("User", text), Step("User", "changes the pod template", (_changed(deployment),))]
            installed = True
            continue
        counted += 1
        step = _step(world, effect)
        if step is None:
            continue
        if effect.actor == "Scheduler" and "available" in effect.action:
            waiting = effect.action
        if steps and steps[-1].actor == step.actor and len(steps) != loop and (installed or step.changes):
            last = steps[-1]
            actions = dict.fromkeys([*last.action.split("; "), *step.action.split("; ")])
            steps[-1] = Step(step.actor, "; ".join(actions), (*last.changes, *step.changes))
        else:
            steps.append(step)
    census = _census(world, state)
    if endless is not None and endless.stuck:
        steps.append(Step("Nobody", f"can do anything more: {census}"))
    reason = f"{census}{f'; the scheduler says: {waiting}' if waiting else ''}"
    return Story(tuple(steps), loop, reason)


def _round_trip(graph: Graph[State, Any], endless: Endless) -> list[int]:
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


def _walk(world: World, state: State, wanted: State) -> tuple[Effect, State]:
    for effect, after in world.raw_successors(state):
        if world.canonical(after) == wanted:
            return effect, after
    raise AssertionError("renaming nodes changed what can happen: nodes taken for equal are not")


def _step(world: World, effect: Effect) -> Step | None:
    said: list[str] = []
    changes: list[Field] = []
    created = deleted = 0
    for old, new in effect.pairs:
        before = world.objects[old] if old >= 0 else None
        after = world.objects[new] if new >= 0 else None
        if isinstance(after, ReplicaSet):
            name = f"ReplicaSet {after.metadata.name}"
            was = before.spec.replicas if isinstance(before, ReplicaSet) else None
            if before is None:
                said.append(f"creates {name} with {after.spec.replicas} replicas")
            elif was != after.spec.replicas:
                said.append(f"scales {name} from {was} to {after.spec.replicas}")
            else:
                continue
            changes.append(Field(name, "spec.replicas", was, after.spec.replicas))
        elif isinstance(before or after, Pod) and effect.actor not in ("Scheduler", "Node", "Time"):
            created += before is None
            deleted += before is not None
        elif isinstance(after, Pod) and isinstance(before, Pod):
            if before.spec.node_name != after.spec.node_name:
                changes.append(Field(_of(after), "spec.nodeName", None, after.spec.node_name))
            elif effect.actor == "Scheduler":
                changes.append(Field(_of(after), "status.conditions[PodScheduled]", None, "False"))
            said.append(effect.action)
        elif isinstance(before, Pod):
            said.append(effect.action)
    if created:
        said.append(f"creates {created} pod{'s' * (created > 1)}")
    if deleted:
        said.append(f"deletes {deleted} pod{'s' * (deleted > 1)}")
    return Step(effect.actor, "; ".join(said), tuple(changes)) if said else None


def _of(pod: Pod) -> str:
    owner = pod.metadata.controller
    return f"Pod of {owner.name}" if owner else "Pod"


def _changed(deployment: Deployment) -> Field:
    return Field(str(deployment.key), "spec.template", "old", "new")


def _census(world: World, state: State) -> str:
    """`3 old pods ready, 1 new pod waiting for a node`."""
    deployment = world.objects[state[0]]
    assert isinstance(deployment, Deployment)
    counts: dict[tuple[str, str], int] = {}
    for identity in state[2]:
        pod = world.objects[identity]
        assert isinstance(pod, Pod)
        new = pod.metadata.annotations.get("kubectl.kubernetes.io/restartedAt") == "again"
        age = ("new " if new else "old ") if rolled(deployment) else ""
        if pod.metadata.deletion_timestamp is not None:
            how = "stopping"
        elif not pod.spec.node_name:
            how = "without a node"
        else:
            conditions = pod.status.conditions
            how = "ready" if any(c.type == "Ready" and c.status == "True" for c in conditions) else "starting"
        counts[age, how] = counts.get((age, how), 0) + 1
    parts = [f"{count} {age}pod{'s' * (count > 1)} {how}" for (age, how), count in counts.items()]
    return ", ".join(parts) or "there are no pods"
