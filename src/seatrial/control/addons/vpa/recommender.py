"""The recommender (v1.8): every minute, what the pods of a target used, and what they should request.

What upstream keeps in its process, the histograms, is the decision's memory. It also saves them as
VerticalPodAutoscalerCheckpoints; here a restart begins anew.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from msgspec.structs import replace

from seatrial.control.addons.vpa import targets
from seatrial.control.addons.vpa.recommendation import recommended
from seatrial.control.addons.vpa.targets import NoTargetError, Workloads
from seatrial.control.addons.vpa.usage import WINDOW, Peaks, Usage, killed, measured_cpu, measured_memory
from seatrial.control.controller import Controller, Decision, Read, Relation, Seen
from seatrial.control.writes import UpdateStatus
from seatrial.kube.objects import Object, Pod, VerticalPodAutoscaler
from seatrial.kube.objects.autoscaling import PodMetrics
from seatrial.kube.objects.pods import ContainerStateTerminated, ContainerStatus
from seatrial.kube.objects.verticalscaling import VerticalPodAutoscalerCondition, VerticalPodAutoscalerStatus
from seatrial.kube.quantities import ZERO

NAME: Final = "vpa-recommender"
INTERVAL: Final = timedelta(minutes=1)
DEFAULT: Final = "default"
_UNSUPPORTED, _PROVIDED, _NO_PODS = "ConfigUnsupported", "RecommendationProvided", "NoPodsMatched"
_OOM: Final = "OOMKilled"


@dataclass(frozen=True, slots=True)
class Memory:
    """`usages` by container name, `peaks` by pod uid and container name."""

    next_look: datetime
    usages: Mapping[str, Usage] = field(default_factory=dict, hash=False)
    peaks: Mapping[tuple[str, str], Peaks] = field(default_factory=dict, hash=False)


def is_mine(obj: Object) -> bool:
    """Whether the autoscaler asks for this recommender and not for one of its own."""
    assert isinstance(obj, VerticalPodAutoscaler)
    named = obj.spec.recommenders
    return not named or any(each.name == DEFAULT for each in named)


def reconcile(seen: Seen) -> Decision:
    autoscaler = seen.subject
    assert isinstance(autoscaler, VerticalPodAutoscaler)
    known = seen.memory if isinstance(seen.memory, Memory) else Memory(seen.now)
    if seen.now < known.next_look:
        return Decision(wake_at=known.next_look, memory=known)
    try:
        selects, unsupported = Workloads.seen(seen).selector(autoscaler), ""
    except NoTargetError as error:
        selects, unsupported = _nothing, str(error)
    pods = [pod for pod in seen.all(Pod) if selects(pod)]
    known = _measured(known, pods, seen.all(PodMetrics), seen.now)
    conditions = {each.type: each for each in autoscaler.status.conditions}
    status = replace(
        autoscaler.status,
        recommendation=recommended(known.usages, autoscaler.spec.resource_policy),
        observed_generation=autoscaler.metadata.generation,
    )
    status = replace(status, conditions=_conditions(conditions, status, bool(pods), unsupported, seen.now))
    writes = () if status == autoscaler.status else (UpdateStatus(autoscaler, replace(autoscaler, status=status)),)
    return Decision(writes, known.next_look, known)


def _nothing(_: Pod) -> bool:
    return False


def _measured(known: Memory, pods: Iterable[Pod], metrics: Iterable[PodMetrics], now: datetime) -> Memory:
    """What is remembered with what was measured since: first the usage, then the ends for want of memory."""
    pods = list(pods)
    there = {container.name for pod in pods for container in pod.spec.containers}
    usages = {
        name: usage
        for name, usage in known.usages.items()
        if (name in there if usage.last is None else now - usage.last < WINDOW)
    }
    measured = {each.metadata.name: each for each in metrics}
    peaks: dict[tuple[str, str], Peaks] = {}
    for pod in pods:
        names = {container.name for container in pod.spec.containers}
        taken = measured.get(pod.metadata.name)
        used = {} if taken is None else {each.name: each.usage for each in taken.containers}
        for name in sorted(names):
            key = (pod.metadata.uid, name)
            usage, mine = usages.get(name, Usage()), known.peaks.get(key, Peaks())
            if taken is not None and taken.timestamp is not None and name in used:
                at = taken.timestamp
                usage, mine = measured_cpu(usage, mine, used[name].get("cpu", ZERO).milli, at)
                usage, mine = measured_memory(usage, mine, used[name].get("memory", ZERO).value, at)
            for requested, at in _deaths(pod, name, mine):
                usage, mine = killed(usage, mine, requested, at)
                mine = dataclasses.replace(mine, killed_at=at)
            usages[name], peaks[key] = usage, mine
    return Memory(now + INTERVAL, usages, peaks)


def _deaths(pod: Pod, name: str, peaks: Peaks) -> list[tuple[int, datetime]]:
    """What the container had requested, and when it was killed for want of memory, if that is news."""
    requested = next(each.resources.requests for each in pod.spec.containers if each.name == name)
    found = []
    for status in pod.status.container_statuses:
        for end in _ends(status) if status.name == name else ():
            at = end.finished_at
            if end.reason == _OOM and at is not None and (peaks.killed_at is None or at > peaks.killed_at):
                found.append((requested.get("memory", ZERO).value, at))
    return sorted(set(found), key=lambda each: each[1])


def _ends(status: ContainerStatus) -> list[ContainerStateTerminated]:
    states = [state for state in (status.last_state, status.state) if state is not None]
    return [state.terminated for state in states if state.terminated is not None]


def _conditions(
    before: Mapping[str, VerticalPodAutoscalerCondition],
    status: VerticalPodAutoscalerStatus,
    has_pods: bool,
    unsupported: str,
    now: datetime,
) -> tuple[VerticalPodAutoscalerCondition, ...]:
    found = dict(before)

    def say(kind: str, holds: bool, reason: str = "", message: str = "") -> None:
        state, known = "True" if holds else "False", before.get(kind)
        since = known.last_transition_time if known is not None and known.status == state else None
        found[kind] = VerticalPodAutoscalerCondition(
            type=kind,
            status=state,
            reason=reason,
            message=message,
            last_transition_time=since or now.replace(microsecond=0),
        )

    found.pop(_UNSUPPORTED, None)
    if unsupported:
        say(_UNSUPPORTED, True, "", unsupported)
    reason, message = ("", "") if has_pods else (_NO_PODS, "No pods match this VPA object")
    found.pop(_NO_PODS, None)
    if not has_pods:
        say(_NO_PODS, True, reason, message)
    provided = status.recommendation is not None and bool(status.recommendation.container_recommendations)
    say(_PROVIDED, provided, "" if provided else reason, "" if provided else message)
    return tuple(found[kind] for kind in sorted(found))


CONTROLLER: Final = Controller(
    name=NAME,
    actor="VPA recommender",
    subject=VerticalPodAutoscaler,
    reads=(
        Read(Pod, Relation.NEIGHBOUR, wakes=False),
        Read(PodMetrics, Relation.NEIGHBOUR, wakes=False),
        *targets.READS,
    ),
    reconcile=reconcile,
    concerned=is_mine,
)
