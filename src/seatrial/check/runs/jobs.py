"""The model of one Job: its controller creates pods, they run and succeed, and some are disrupted on the way.

Pods have names here, since the controller counts them by their uids. What a failed try has to wait for before the next
one is taken as passed: whatever happens lies a day back, so no back-off and no deadline decides anything (deadlines are
asked about by themselves). A Job of many pods is cut down to `PARALLEL` at a time and `COMPLETIONS` in all: its pods
are alike, and there are fewer disruptions than those.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import msgspec

from seatrial.check.model.pool import LONG_AGO, NOW, with_metadata
from seatrial.check.model.writing import born, carry, deleted
from seatrial.control import admission, disruption, job, relations
from seatrial.control.controller import NEWEST_MINOR
from seatrial.control.job.conditions import outcome
from seatrial.control.lifecycle import sync
from seatrial.control.lifecycle.facts import ContainerFact, ContainerPhase, PodFacts, SandboxFact
from seatrial.control.writes import Create, Delete, Propagation, Update, UpdateStatus
from seatrial.kube.objects import Job, Object, Pod, canonical, parse_as, to_wire

PARALLEL: Final = 2
COMPLETIONS: Final = 3
MOST: Final = 12
"""Completions of a Job with a success policy, which is not cut down."""
TERMINATED: Final = 143
_FINISHED: Final = ("Succeeded", "Failed")
Label = tuple[str, str]
_CONTROLLER: Final = job.CONTROLLERS[0]


@dataclass(frozen=True, slots=True, eq=False)
class Moment:
    key: tuple[Any, ...]
    job: Job
    pods: tuple[Pod, ...]
    memory: Any
    made: int
    """How many pods have been created: the next one's name."""
    disruptions: int
    """How many are still to come."""
    happened: str = ""

    def __hash__(self) -> int:
        return hash(self.key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Moment) and other.key == self.key

    @property
    def ended(self) -> str:
        """`Complete`, `Failed`, or nothing."""
        found = outcome(self.job)
        return found.type if found is not None else ""

    @property
    def reason(self) -> str:
        found = outcome(self.job)
        return f"{found.reason}: {found.message}" if found is not None else ""


class Jobs:
    """For `explore`: every order of the controller, the pods and at most so many disruptions."""

    def __init__(self, of: Job, disruptions: int, minor: int = NEWEST_MINOR) -> None:
        self._minor = minor
        self.initial = _moment(_served(of), (), None, 0, disruptions)

    def moves(self, state: Moment) -> list[tuple[Label, Moment]]:
        return [*self._controller(state), *self._nodes(state)]

    def _controller(self, state: Moment) -> Iterator[tuple[Label, Moment]]:
        seen = relations.observe(_CONTROLLER, state.job, {Pod: state.pods, Job: (state.job,)}, NOW)
        decision = _CONTROLLER.reconcile(replace(seen, minor=self._minor, memory=state.memory))
        now: dict[str, Pod] = {pod.metadata.name: pod for pod in state.pods}
        subject, made, said = state.job, state.made, []
        for write in decision.writes:
            match write:
                case Create(object=item) if isinstance(item, Pod):
                    name = f"{state.job.metadata.name}-{made}"
                    made += 1
                    pod = born(item)
                    assert isinstance(pod, Pod)
                    now[name] = with_metadata(pod, name=name, uid=name, creation_timestamp=LONG_AGO)
                    said.append(f"creates pod {name}")
                case Update(before=before, after=after) | UpdateStatus(before=before, after=after):
                    if isinstance(after, Job):
                        subject = carry(subject, before, after)
                        if not state.ended and (end := outcome(subject)) is not None:
                            said.append(f"says that the Job is {end.type}: {end.reason}")
                    elif isinstance(after, Pod):
                        now[after.metadata.name] = carry(now[after.metadata.name], before, after)
                case Delete(object=item) if isinstance(item, Pod):
                    gone = deleted(now[item.metadata.name], None, Propagation.BACKGROUND)
                    said.append(f"deletes pod {item.metadata.name}")
                    now = _put(now, item.metadata.name, gone)
                case _:
                    pass
        after_all = _moment(subject, tuple(now.values()), decision.memory, made, state.disruptions, "; ".join(said))
        if after_all != state:
            yield ("job-controller", ""), after_all

    def _nodes(self, state: Moment) -> Iterator[tuple[Label, Moment]]:
        for pod in state.pods:
            name = pod.metadata.name
            going = pod.metadata.deletion_timestamp is not None
            if pod.status.phase in _FINISHED:
                if going and not pod.metadata.finalizers:
                    yield ("node", name), self._with(state, name, None, "")
            elif going:
                ended = _run(pod, ContainerPhase.EXITED, TERMINATED)
                yield ("node", name), self._with(state, name, ended, f"ends pod {name}, which has failed")
            elif not pod.spec.node_name:
                spec = msgspec.structs.replace(pod.spec, node_name="node")
                started = _run(msgspec.structs.replace(pod, spec=spec), ContainerPhase.RUNNING, 0)
                yield ("node", name), self._with(state, name, started, f"starts pod {name}")
            else:
                done = _run(pod, ContainerPhase.EXITED, 0)
                yield ("node", name), self._with(state, name, done, f"pod {name} has succeeded")
                if state.disruptions:
                    hit = disruption.evicted(pod, LONG_AGO, "EvictionByEvictionAPI", "Eviction API: evicting")
                    evicted = with_metadata(hit, deletion_timestamp=LONG_AGO)
                    yield ("fault", name), replace_disruptions(self._with(state, name, evicted, f"evicts pod {name}"))

    def _with(self, state: Moment, name: str, pod: Pod | None, happened: str) -> Moment:
        now = _put({each.metadata.name: each for each in state.pods}, name, pod)
        return _moment(state.job, tuple(now.values()), state.memory, state.made, state.disruptions, happened)


def replace_disruptions(state: Moment) -> Moment:
    return _moment(state.job, state.pods, state.memory, state.made, state.disruptions - 1, state.happened)


def _put(now: dict[str, Pod], name: str, pod: Object | None) -> dict[str, Pod]:
    return {key: each for key, each in now.items() if key != name} | ({name: pod} if isinstance(pod, Pod) else {})


def _moment(subject: Job, pods: Sequence[Pod], memory: Any, made: int, left: int, happened: str = "") -> Moment:
    ordered = tuple(sorted(pods, key=lambda pod: pod.metadata.name))
    # Only whether it is there counts of a Job's start, of which the status tells the moment.
    key = (canonical(subject), tuple(canonical(pod) for pod in ordered), memory, made, left)
    return Moment(key, subject, ordered, memory, made, left, happened)


def _served(of: Job) -> Job:
    """The Job as the API serves it once it has been created, cut down."""
    wire = to_wire(with_metadata(of, uid="job", generation=1, creation_timestamp=LONG_AGO))
    admission.select_own_pods(wire)
    served = parse_as(Job, wire)
    if served.spec.success_policy is not None:
        return served
    spec = served.spec
    changes: dict[str, Any] = {}
    if spec.parallelism is not None:
        changes["parallelism"] = min(spec.parallelism, PARALLEL)
    if spec.completions is not None:
        changes["completions"] = min(spec.completions, COMPLETIONS)
    return msgspec.structs.replace(served, spec=msgspec.structs.replace(spec, **changes))


def _run(pod: Pod, phase: ContainerPhase, code: int) -> Pod:
    """The pod once its containers have come to this, a day ago."""
    ended = phase is ContainerPhase.EXITED
    reason = "" if not ended else "Error" if code else "Completed"
    facts = PodFacts(
        sandbox=SandboxFact("10.0.0.1", "10.0.0.2", LONG_AGO),
        containers=tuple(
            ContainerFact(
                container.name,
                0,
                ContainerPhase.EXITED if container in pod.spec.init_containers and not sidecar else phase,
                started_at=LONG_AGO,
                finished_at=LONG_AGO if ended or not sidecar else None,
                exit_code=code if container in pod.spec.containers else 0,
                reason=reason,
            )
            for container in (*pod.spec.init_containers, *pod.spec.containers)
            for sidecar in (container.restart_policy == "Always" or container in pod.spec.containers,)
        ),
    )
    for _ in range(2):  # what the first look reports, the second looks at
        pod = msgspec.structs.replace(pod, status=sync(pod, facts, LONG_AGO).status)
    return pod
