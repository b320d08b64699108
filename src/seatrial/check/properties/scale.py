"""The properties of autoscaling: the count of a workload comes to rest under a steady load, and does not run away.

`scale/stable`: whoever scales a workload (HorizontalPodAutoscalers, the cluster-proportional-autoscaler, and, by what
pods request, VerticalPodAutoscalers) stops changing its count, and can act at all.
`scale/bounded`: no autoscaler by metrics goes beyond what the load needs, in a rollout neither; and applying the files
again leaves a count that it allows.

Each workload that a HorizontalPodAutoscaler scales is a timed model by itself (`model.load`), run under several loads
from several counts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import msgspec

from seatrial.check import explore
from seatrial.check.budget import ORDINARY, Budget
from seatrial.check.endless import Recurrent, recurrent, round_trip
from seatrial.check.machines import WORKLOADS, pods_of
from seatrial.check.model.load import FULL, SCALABLE, Act, Autoscaling, Moment, Scalable, Scene
from seatrial.check.properties import Property, Question
from seatrial.check.system import Entry, Place, System
from seatrial.check.verdicts import Answer, Covered, Field, Step, Verdict
from seatrial.control import limitranges
from seatrial.control.addons import proportional
from seatrial.control.addons.vpa.policies import update_mode
from seatrial.kube.objects import (
    ConfigMap,
    Deployment,
    HorizontalPodAutoscaler,
    LimitRange,
    Pod,
    VerticalPodAutoscaler,
    parse_as,
    to_wire,
)
from seatrial.kube.objects.autoscaling import HorizontalPodAutoscalerCondition

STABLE: Final = "scale/stable"
BOUNDED: Final = "scale/bounded"
LARGEST: Final = 500
_PREMISE: Final = "the system has a HorizontalPodAutoscaler whose target is in the files"
PROPERTIES = (
    Property(
        name=STABLE,
        asks="with a steady load, does the number of replicas come to rest, and can its autoscaler act at all?",
        formally="every fair run under a constant load satisfies FG (replicas unchanged) and FG ScalingActive",
        premise=_PREMISE,
        sometimes="an autoscaler changes the count",
    ),
    Property(
        name=BOUNDED,
        asks="does no autoscaler ask for more than the load needs, even in a rollout, and does applying the files again"
        " leave a count that it allows?",
        formally="every step of an autoscaler to more replicas ends at most at max(minReplicas, load / target), and"
        " minReplicas <= spec.replicas <= maxReplicas where it is written",
        premise=_PREMISE,
        sometimes="an autoscaler changes the count",
    ),
)
ASSUMPTIONS = {
    "load/steady": "each load stands still; pods that are ready share it equally, and all metrics of a workload ask"
    " for the same",
    "load/levels": "loads from a fifth of a pod to two pods more than maxReplicas, and counts to start from: samples",
    "metrics/prompt": "what pods use is measured when they have run for 10 s; custom metrics: or in a minute",
    "pods/follow": "pods follow the count before the next look, and run after 1 s, or after 10 s",
    "start/bursts": "a container without readiness or startup probe uses up to its CPU limit (or a whole CPU) for its"
    " first minute",
    "vertical/slow": "a VerticalPodAutoscaler acts when a load has lasted for days",
}
ALWAYS: Final = ("load/steady", "load/levels", "metrics/prompt", "pods/follow")


@dataclass(slots=True)
class Asked:
    """One workload and its autoscalers, with their places."""

    system: System
    target: Entry
    horizontal: tuple[Entry, ...]
    proportional: tuple[Entry, ...]
    vertical: tuple[Entry, ...]
    scene: Scene

    @property
    def workload(self) -> Scalable:
        return self.scene.target

    @property
    def name(self) -> str:
        return f"{self.target.key.kind} {self.target.key.name}"


@dataclass(slots=True)
class Explored:
    model: Autoscaling
    graph: explore.Graph[Moment, Act]
    ends: list[Recurrent]
    moved: bool
    """Somebody has changed the count."""


def check(question: Question, wanted: frozenset[str]) -> list[Verdict]:
    verdicts = []
    for asked in scaled(question):
        if most(asked) > LARGEST:
            verdicts += [
                msgspec.structs.replace(
                    _base(asked, name),
                    verdict=Answer.UNKNOWN,
                    message=f"it may ask for more than {LARGEST} pods, whose counts are not explored",
                )
                for name in (STABLE, BOUNDED)
                if name in wanted
            ]
            continue
        found = _run(question, asked.scene)
        if STABLE in wanted:
            verdicts.append(_stable(asked, found))
        if BOUNDED in wanted:
            if asked.scene.proportional:  # what it does to the count is not the others' doing
                found = _run(question, replace(asked.scene, proportional=()))
            verdicts.append(_bounded(asked, found))
    return verdicts


def scaled(question: Question) -> Iterator[Asked]:
    """The workloads that somebody scales horizontally by metrics."""
    system = question.system
    minor = int(system.version.split(".")[1])
    for entry in system.entries:
        target = entry.typed
        if not isinstance(target, SCALABLE):
            continue
        horizontal = tuple(e for e in system.of("HorizontalPodAutoscaler") if _scales(e, entry))
        if not horizontal:
            continue
        beside = [e for e in system.entries if e.key.namespace == entry.key.namespace]
        by_nodes = tuple(e for e in beside if _follows_nodes(e, entry))
        vertical = tuple(e for e in beside if _resizes(e, entry))
        others = tuple(
            _looked(e.typed) if isinstance(e.typed, HorizontalPodAutoscaler) else e.typed
            for e in beside
            if e is not entry and e not in horizontal and isinstance(e.typed, (*SCALABLE, HorizontalPodAutoscaler))
        )
        scene = Scene(
            target=target,
            pod=_made(target, [e.typed for e in beside if isinstance(e.typed, LimitRange)]),
            horizontal=tuple(e.typed for e in horizontal if isinstance(e.typed, HorizontalPodAutoscaler)),
            proportional=tuple(e.typed for e in by_nodes if isinstance(e.typed, Deployment)),
            vertical=tuple(e.typed for e in vertical if isinstance(e.typed, VerticalPodAutoscaler)),
            neighbours=others,
            config_maps=tuple(e.typed for e in beside if isinstance(e.typed, ConfigMap)),
            nodes=question.nodes,
            minor=minor,
        )
        yield Asked(system, entry, horizontal, by_nodes, vertical, scene)


def _looked(each: HorizontalPodAutoscaler) -> HorizontalPodAutoscaler:
    """A neighbour as it is once it has found metrics: before that it claims no pods."""
    active = HorizontalPodAutoscalerCondition(type="ScalingActive", status="True", reason="ValidMetricFound")
    return msgspec.structs.replace(each, status=msgspec.structs.replace(each.status, conditions=(active,)))


def _scales(entry: Entry, target: Entry) -> bool:
    each = entry.typed
    if not isinstance(each, HorizontalPodAutoscaler) or entry.key.namespace != target.key.namespace:
        return False
    ref = each.spec.scale_target_ref
    group = ref.api_version.partition("/")[0] if "/" in ref.api_version else ""
    own = target.api_version.partition("/")[0] if "/" in target.api_version else ""
    return (group, ref.kind, ref.name) == (own, target.key.kind, target.key.name)


def _follows_nodes(entry: Entry, target: Entry) -> bool:
    each = entry.typed
    if not isinstance(each, Deployment) or not proportional.is_autoscaler(each):
        return False
    return proportional.target_of(each) == (target.key.kind.lower(), target.key.name.lower())


def _resizes(entry: Entry, target: Entry) -> bool:
    each = entry.typed
    if not isinstance(each, VerticalPodAutoscaler) or update_mode(each) == "Off" or each.spec.target_ref is None:
        return False
    return (each.spec.target_ref.kind, each.spec.target_ref.name) == (target.key.kind, target.key.name)


def _made(target: Scalable, ranges: Sequence[LimitRange]) -> Pod:
    """A pod as the server takes it: with the sizes that the namespace gives it."""
    assert isinstance(target, WORKLOADS)
    raw = to_wire(pods_of(target, 1)[0])
    return parse_as(Pod, limitranges.defaulted(raw, ranges))


def most(asked: Asked) -> int:
    return max(each.spec.max_replicas for each in asked.scene.horizontal)


def _run(question: Question, scene: Scene) -> Explored:
    key = ("scale", *scene.asked, question.budget)
    found = question.known.get(key)
    if found is None:
        found = question.known[key] = run(scene, question.budget)
    assert isinstance(found, Explored)
    return found


def run(scene: Scene, budget: Budget = ORDINARY) -> Explored:
    """Every run under each load from each count."""
    high = max(each.spec.max_replicas for each in scene.horizontal)
    low = max(1, min(1 if each.spec.min_replicas is None else each.spec.min_replicas for each in scene.horizontal))
    loads = {2, FULL * low, FULL * low + 4, FULL * (low + high) // 2 + 3, FULL * high - 3, FULL * (high + 2)}
    starts = {1, low, (low + high) // 2, high}
    model = Autoscaling(scene, sorted(loads), sorted(starts))
    graph = explore.explore(model, budget.about(f"scaling {scene.target.metadata.name}"))
    ends = recurrent(graph, optional=lambda act: act.optional)
    moved = any(
        graph.states[there].replicas != graph.states[here].replicas
        for here, out in enumerate(graph.edges)
        for act, there in out
        if act.actor not in ("Load", "User")
    )
    return Explored(model, graph, ends, moved)


def _base(asked: Asked, name: str, found: Explored | None = None) -> Verdict:
    assumptions = list(ALWAYS)
    if found is not None and found.model.burst_milli:
        assumptions.append("start/bursts")
    if asked.vertical:
        assumptions.append("vertical/slow")
    covered = None if found is None else Covered(len(found.graph.edges), found.graph.transitions)
    return Verdict(
        property=name,
        subject=str(asked.horizontal[0].key),
        verdict=Answer.PROVED,
        message="",
        method="exploration",
        covered=covered,
        assumptions=tuple(assumptions),
    )


def _unknown(base: Verdict, message: str) -> Verdict:
    return msgspec.structs.replace(base, verdict=Answer.UNKNOWN, message=message)


# --- scale/stable ---


def _stable(asked: Asked, found: Explored) -> Verdict:
    base = _base(asked, STABLE, found)
    states = found.graph.states
    restless = [end for end in found.ends if len({states[s].replicas for s in end.states if states[s].load >= 0}) > 1]
    if restless:
        ways = [(len(found.graph.trace(end.entry)), _around(found, end), end) for end in restless]
        _, around, shortest = min(ways, key=lambda way: way[0] + len(way[1]))
        return _restless(asked, found, shortest, around, base)
    for end in found.ends:
        verdict = _blind(asked, found, end, base)
        if verdict is not None:
            return verdict
    if not found.graph.complete:
        return _unknown(
            base, f"the budget ({found.graph.spent}) ran out; nothing was found in {len(found.graph.edges)} states"
        )
    if not found.moved and not _is_fixed(asked):
        return _unknown(base, "no autoscaler changed the count under any load that was tried")
    message = f"the count of {asked.name} comes to rest under every load that was tried, and its autoscaler can act"
    return msgspec.structs.replace(base, message=message)


def _is_fixed(asked: Asked) -> bool:
    return all(each.spec.min_replicas == each.spec.max_replicas for each in asked.scene.horizontal)


def _around(found: Explored, end: Recurrent) -> list[int]:
    states = found.graph.states
    return round_trip(end, lambda here, _, there: states[here].replicas != states[there].replicas)


def _restless(asked: Asked, found: Explored, end: Recurrent, around: Sequence[int], base: Verdict) -> Verdict:
    states = found.graph.states
    path = found.graph.trace(end.entry)
    steps, loop = tell(asked, found, path, around)
    counts = sorted({states[state].replicas for state in around})
    actors = list(dict.fromkeys(step.actor for step in steps[loop or 0 :]))
    between = " and ".join(actors) if len(actors) > 1 else f"{actors[0]} by itself"
    message = (
        f"{asked.name} never comes to rest under a steady load: its replicas go from {counts[0]} to {counts[-1]} and"
        f" back for ever, driven by {between}"
    )
    return msgspec.structs.replace(
        base,
        verdict=Answer.REFUTED,
        message=message,
        places=_fighting(asked, actors),
        trace=steps,
        loop=loop,
    )


def _fighting(asked: Asked, actors: Sequence[str]) -> tuple[Place, ...]:
    places = [e.place("spec", "scaleTargetRef") for e in asked.horizontal if any(e.key.name in a for a in actors)]
    for entry in asked.proportional:
        places.append(_flag(entry, "--target"))
    places += [entry.place("spec", "targetRef") for entry in asked.vertical if any("Vertical" in a for a in actors)]
    return tuple(places)


def _flag(entry: Entry, flag: str) -> Place:
    """Where a flag of a program stands in its Deployment."""
    at = ("spec", "template", "spec", "containers")
    containers = entry.admitted["spec"]["template"]["spec"]["containers"]
    for number, container in enumerate(containers):
        for field in ("command", "args"):
            for position, word in enumerate(container.get(field) or ()):
                if isinstance(word, str) and word.startswith(flag):
                    return entry.place(*at, number, field, position)
    return entry.place(*at)


def _blind(asked: Asked, found: Explored, end: Recurrent, base: Verdict) -> Verdict | None:
    """An autoscaler that says for ever that it cannot act."""
    moment = found.graph.states[end.entry]
    if moment.load < 0:
        return None
    for entry, each in zip(asked.horizontal, found.model.autoscalers(moment), strict=True):
        said = next((c for c in each.status.conditions if c.type == "ScalingActive"), None)
        if said is None or said.status != "False" or said.reason == "ScalingDisabled":
            continue
        steps, _ = tell(asked, found, found.graph.trace(end.entry), [])
        last = Step(f"HorizontalPodAutoscaler {entry.key.name}", f"ScalingActive=False, {said.reason}: {said.message}")
        return msgspec.structs.replace(
            base,
            verdict=Answer.REFUTED,
            message=f"it cannot scale {asked.name} under any load: ScalingActive is False for ever; {said.message}",
            places=_unrequested(asked, entry, each)
            or tuple(e.place("spec", "scaleTargetRef") for e in asked.horizontal),
            trace=(*steps, last),
        )
    return None


def _unrequested(asked: Asked, entry: Entry, each: HorizontalPodAutoscaler) -> tuple[Place, ...]:
    """The containers without the request that a metric is a percentage of, and the metric."""
    places: list[Place] = []
    at = ("spec", "template", "spec")
    for number, metric in enumerate(each.spec.metrics):
        source: Any = metric.resource or metric.container_resource
        if source is None or source.target.average_utilization is None:
            continue
        for field, containers in (
            ("containers", asked.scene.pod.spec.containers),
            ("initContainers", asked.scene.pod.spec.init_containers),
        ):
            for position, container in enumerate(containers):
                counts = metric.resource is not None or source.container == container.name
                always = field == "containers" or container.restart_policy == "Always"
                if counts and always and source.name not in container.resources.requests:
                    places.append(asked.target.place(*at, field, position, "resources", "requests"))
                    places.append(entry.place("spec", "metrics", number))
    return tuple(dict.fromkeys(places))


# --- scale/bounded ---


def _bounded(asked: Asked, found: Explored) -> Verdict:
    base = _base(asked, BOUNDED, found)
    applied = _applied(asked, base)
    if applied is not None:
        return applied
    states = found.graph.states
    low = max(1, *(1 if each.spec.min_replicas is None else each.spec.min_replicas for each in asked.scene.horizontal))
    for here, out in enumerate(found.graph.edges):
        for act, there in out:
            before, after = states[here], states[there]
            if act.actor.startswith("Horizontal") and after.replicas > max(before.replicas, low, need(after.load)):
                return _runaway(asked, found, here, there, base)
    if not found.graph.complete:
        return _unknown(
            base, f"the budget ({found.graph.spent}) ran out; nothing was found in {len(found.graph.edges)} states"
        )
    if not found.moved and not _is_fixed(asked):
        return _unknown(base, "no autoscaler changed the count under any load that was tried")
    written = asked.target.written.get("spec", {}).get("replicas")
    again = "" if written is None else f"; applying the files again sets {written} until the autoscaler looks again"
    message = f"no autoscaler asks for more replicas of {asked.name} than the load needs{again}"
    return msgspec.structs.replace(base, message=message)


def need(load: int) -> int:
    return -(-load // FULL)


def _applied(asked: Asked, base: Verdict) -> Verdict | None:
    """Applying the files again writes `spec.replicas` if they have it, whatever the autoscaler has made of it."""
    written = (asked.target.written.get("spec") or {}).get("replicas")
    if not isinstance(written, int):
        return None
    for entry, each in zip(asked.horizontal, asked.scene.horizontal, strict=True):
        low = 1 if each.spec.min_replicas is None else each.spec.min_replicas
        if low <= written <= each.spec.max_replicas or written == 0:
            continue
        bound, what = (low, "minReplicas") if written < low else (each.spec.max_replicas, "maxReplicas")
        side = "below" if written < low else "above"
        running = each.spec.max_replicas
        steps: tuple[Step, ...] = (
            Step("Load", f"is the work of {running} pods at the target; ready: {running}"),
            Step(
                "User",
                "applies the files again",
                (Field(str(asked.target.key), "spec.replicas", running, written),),
            ),
            Step("ReplicaSet controller", f"leaves {written} of {running} pods, under the load of {running}"),
        )
        if written > running:
            steps = (
                Step("User", "applies the files", (Field(str(asked.target.key), "spec.replicas", running, written),)),
                Step(f"HorizontalPodAutoscaler {entry.key.name}", f"scales back to {running} when it looks next"),
            )
        return msgspec.structs.replace(
            base,
            verdict=Answer.REFUTED,
            message=f"every time the files are applied {asked.name} is set to {_replicas(written)}, {side} the {what}"
            f" {bound} of its autoscaler, whatever the load is",
            places=(asked.target.place("spec", "replicas"), entry.place("spec", what)),
            trace=steps,
            method="lookup",
            covered=None,
            assumptions=(),
        )
    return None


def _replicas(count: int) -> str:
    return f"{count} replica{'s' * (count != 1)}"


def _runaway(asked: Asked, found: Explored, here: int, there: int, base: Verdict) -> Verdict:
    states = found.graph.states
    path = [*found.graph.trace(here), there]
    end = there
    seen = {there}
    while True:  # further up, as far as it goes
        steps = (
            [t for a, t in found.graph.edges[end] if not a.optional and t not in seen]
            if end < len(found.graph.edges)
            else []
        )
        higher = next((t for t in steps if states[t].replicas >= states[end].replicas), None)
        if higher is None:
            break
        path.append(higher)
        seen.add(higher)
        end = higher
    load, reached = states[there].load, states[end].replicas
    told, _ = tell(asked, found, path, [])
    why, places = _why(asked, found, path)
    message = f"{why}: with work for {_replicas(need(load))} of {asked.name} the autoscaler goes up to {reached}"
    return msgspec.structs.replace(base, verdict=Answer.REFUTED, message=message, places=places, trace=told)


def _why(asked: Asked, found: Explored, path: Sequence[int]) -> tuple[str, tuple[Place, ...]]:
    states = found.graph.states
    entry = asked.horizontal[0]
    if any(states[number].rolling is not None for number in path):
        strategy = asked.target.place("spec", "strategy")
        return "pods of a rollout count as load", (entry.place("spec", "metrics"), strategy)
    if len({states[number].size for number in path[1:]}) > 1:
        vertical = asked.vertical[0]
        places = tuple(
            entry.place("spec", "metrics", number)
            for number, metric in enumerate(asked.scene.horizontal[0].spec.metrics)
            if metric.resource is not None or metric.container_resource is not None
        )
        name = vertical.key.name
        why = f"VerticalPodAutoscaler {name} makes pods smaller when there are more, and of smaller pods there are more"
        return why, (*places, vertical.place("spec", "targetRef"))
    if found.model.burst_milli:
        container = asked.target.place("spec", "template", "spec", "containers", 0)
        window = entry.place("spec", "behavior", "scaleUp", "stabilizationWindowSeconds")
        return "what pods use while they start counts as load", (container, window)
    return "the autoscaler overshoots", (entry.place("spec", "metrics"),)


# --- telling ---


def tell(
    asked: Asked, found: Explored, path: Sequence[int], around: Sequence[int]
) -> tuple[tuple[Step, ...], int | None]:
    """The steps of a path, and where among them the way around begins. A look that changes nothing only takes time."""
    states = found.graph.states
    steps: list[Step] = []
    loop: int | None = None
    passed = 0
    for position, (here, there) in enumerate(zip([*path, *around], [*path[1:], *around], strict=False)):
        if around and position == len(path) - 1:
            loop = len(steps)
        act = next(act for act, follows in found.graph.edges[here] if follows == there)
        before, after = states[here], states[there]
        if act.actor not in ("Load", "User"):
            passed += min((look.due_s for look in before.looks), default=0)
        step = _step(asked, found, act, before, after)
        if step is not None:
            after_s = f"after {passed} s: " if passed and steps else ""
            steps.append(msgspec.structs.replace(step, action=after_s + step.action))
            passed = 0
    return tuple(steps), loop


def _step(asked: Asked, found: Explored, act: Act, before: Moment, after: Moment) -> Step | None:
    if act.actor == "Load":
        work = f"{after.load / FULL:g} pod{'s' * (after.load != FULL)}"
        return Step("Load", f"is the work of {work} at the target; ready: {after.replicas}")
    if after.rolling is not None:
        rolling = after.rolling
        parts = [f"{rolling.ready} pods ready"]
        parts += [f"{rolling.starting} starting"] if rolling.starting else []
        parts += [f"{rolling.leaving} stopping"] if rolling.leaving else []
        parts += [f"{rolling.unmeasured} of them without metrics"] if rolling.unmeasured else []
        return Step("User", f"changes the pod template; in the middle of the rollout {', '.join(parts)}")
    if before.size != after.size:
        old, new = found.model.pod(before), found.model.pod(after)
        changes = tuple(
            Field(f"Pod of {asked.name}", f"spec.containers[{number}].resources.requests.{name}", str(was), str(now))
            for number, (one, other) in enumerate(zip(old.spec.containers, new.spec.containers, strict=True))
            for name, was in one.resources.requests.items()
            if (now := other.resources.requests.get(name)) is not None and now != was
        )
        return Step(act.actor, "has the pods made anew, as their usage recommends", changes)
    if before.replicas != after.replicas:
        change = Field(str(asked.target.key), "spec.replicas", before.replicas, after.replicas)
        return Step(act.actor, f"scales {asked.name} from {before.replicas} to {after.replicas}", (change,))
    return None
