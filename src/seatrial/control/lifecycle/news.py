"""What happened to a pod and its containers that people should hear of: events, worded as the version asked for does.

An event is told when the facts show something that the status reported last does not.
"""

from __future__ import annotations

import json

from seatrial.control.lifecycle import backoff
from seatrial.control.lifecycle.facts import ContainerFact, PodEvent, PodFacts, ProbeOutcome, StopReason
from seatrial.control.lifecycle.resize import Allocation
from seatrial.control.lifecycle.transitions import Role, Situation, State
from seatrial.kube.objects import Container, ContainerStatus, Pod, PodStatus
from seatrial.kube.objects.pods import PodCondition, ResourceRequirements


def of_sandbox(facts: PodFacts) -> list[PodEvent]:
    events = []
    if facts.containers:
        at = max((fact.finished_at for fact in facts.containers if fact.finished_at), default=None)
        text = "Pod sandbox changed, it will be killed and re-created."
        events.append(PodEvent("Normal", "SandboxChanged", text, at))
    if "" in facts.problems:
        problem = facts.problems[""]
        events.append(PodEvent("Warning", problem.reason, problem.message, problem.at))
    return events


def of_container(
    facts: PodFacts, reported: ContainerStatus | None, pod: Pod, situation: Situation, minor: int
) -> list[PodEvent]:
    events = []
    container, fact = situation.container, situation.fact
    if situation.problem is not None and situation.state is not State.RUNNING:
        events += _of_problem(situation, container)
    if fact is None:
        return events
    if not _told(reported, fact):
        events += _of_start(container, fact, minor)
    for seen in facts.probes:
        if (seen.container, seen.attempt) != (container.name, fact.attempt):
            continue
        kind = seen.kind.value
        if seen.outcome is ProbeOutcome.ERROR:
            text = f"{kind} probe errored and resulted in unknown state: {seen.message}"
            events.append(PodEvent("Warning", "Unhealthy", text, seen.last_at))
        elif seen.outcome is ProbeOutcome.WARNING:
            events.append(PodEvent("Warning", "ProbeWarning", f"{kind} probe warning: {seen.message}", seen.last_at))
        elif seen.failures:
            events.append(PodEvent("Warning", "Unhealthy", f"{kind} probe failed: {seen.message}", seen.last_at))
    stop = facts.stops.get(container.name)
    if stop is not None and stop.hook_failed:
        events.append(PodEvent("Warning", "FailedPreStopHook", "PreStopHook failed", stop.asked_at))
    if situation.backing_off and situation.restarts and not situation.ending:
        meta = pod.metadata
        text = f"Back-off restarting failed container {container.name} in pod {meta.name}_{meta.namespace}({meta.uid})"
        events.append(PodEvent("Warning", "BackOff", text, fact.finished_at))
    return events


def of_stop(pod: Pod, situation: Situation, reason: StopReason, fact: ContainerFact, minor: int) -> list[PodEvent]:
    container = situation.container
    name = container.name
    subject = "Init container" if situation.role in (Role.INIT, Role.SIDECAR) else "Container"
    match reason:
        case StopReason.POD_ENDS if situation.told_to_stop:
            return []
        case StopReason.POD_ENDS | StopReason.RESTART_ALL:
            text = f"Stopping container {name}"
        case StopReason.UNHEALTHY:
            text = f"{subject} {name} failed {situation.unhealthy} probe"
            policy = (container.restart_policy if minor >= 35 else "") or pod.spec.restart_policy or "Always"
            if situation.role is Role.APP and policy != "Never":
                text += ", will be restarted"
        case StopReason.RESIZE:
            text = f"Container {name} resize requires restart"
        case StopReason.POST_START:
            text = "FailedPostStartHook"
    return [PodEvent("Normal", "Killing", text, fact.started_at)]


def of_pod(pod: Pod, status: PodStatus, allocation: Allocation, minor: int) -> list[PodEvent]:
    events = []
    if status.reason == "DeadlineExceeded" and pod.status.reason != "DeadlineExceeded":
        events.append(PodEvent("Normal", "DeadlineExceeded", status.message, status.start_time))
    if minor < 34:
        return events
    before, after = _resizes(pod.status), _resizes(status)
    for kind in ("PodResizePending", "PodResizeInProgress"):
        old, new = before.get(kind), after.get(kind)
        if new is not None and (
            old is None or (old.reason, old.observed_generation) != (new.reason, new.observed_generation)
        ):
            what = new.reason.lower() if kind == "PodResizePending" else "started"
            reason = f"Resize{new.reason}" if kind == "PodResizePending" else "ResizeStarted"
            type_ = "Warning" if kind == "PodResizePending" else "Normal"
            shown = pod if kind == "PodResizePending" else allocation.pod
            text = f"Pod resize {new.reason if kind == 'PodResizePending' else what}: {_resources(shown, new.message)}"
            events.append(PodEvent(type_, reason, text, new.last_transition_time))
        elif old is not None and new is None and kind == "PodResizeInProgress":
            text = f"Pod resize completed: {_resources(allocation.pod, '')}"
            events.append(PodEvent("Normal", "ResizeCompleted", text, old.last_transition_time))
    return events


def restarting(pod: Pod, container: Container) -> str:
    meta = pod.metadata
    return f"restarting failed container={container.name} pod={meta.name}_{meta.namespace}({meta.uid})"


def _of_problem(situation: Situation, container: Container) -> list[PodEvent]:
    problem = situation.problem
    assert problem is not None
    at = problem.at
    match problem.reason:
        case "ErrImageNeverPull":
            return [
                PodEvent("Warning", "ErrImageNeverPull", problem.message, at),
                PodEvent("Warning", "Failed", "Error: ErrImageNeverPull", at),
            ]
        case "ErrImagePull":
            image = container.image
            shown_until = backoff.shown_until(problem)
            if situation.image_backing_off and shown_until is not None and situation.now >= shown_until:
                return [
                    PodEvent("Normal", "BackOff", f'Back-off pulling image "{image}"', at),
                    PodEvent("Warning", "Failed", "Error: ImagePullBackOff", at),
                ]
            return [
                PodEvent("Normal", "Pulling", f'Pulling image "{image}"', at),
                PodEvent("Warning", "Failed", f'Failed to pull image "{image}": {problem.message}', at),
                PodEvent("Warning", "Failed", "Error: ErrImagePull", at),
            ]
        case "PostStartHookError":
            return [
                PodEvent("Warning", "FailedPostStartHook", "PostStartHook failed", at),
                PodEvent("Normal", "Killing", "FailedPostStartHook", at),
            ]
    return [PodEvent("Warning", "Failed", f"Error: {problem.message}", at)]


def _of_start(container: Container, fact: ContainerFact, minor: int) -> list[PodEvent]:
    at, name = fact.started_at, container.name
    present = f'Container image "{container.image}" already present on machine'
    if minor >= 35:
        present += " and can be accessed by the pod"
        created, started = "Container created", "Container started"
    else:
        created = f"Created container{':' if minor >= 32 else ''} {name}"
        started = f"Started container {name}"
    events = [PodEvent("Normal", "Pulled", present, at), PodEvent("Normal", "Created", created, at)]
    if fact.reason == "StartError":
        return [*events, PodEvent("Warning", "Failed", f"Error: {fact.message}", at)]
    return [*events, PodEvent("Normal", "Started", started, at)]


def _told(status: ContainerStatus | None, fact: ContainerFact) -> bool:
    """The reported status already shows this attempt."""
    if status is None or status.state is None or status.restart_count < fact.attempt:
        return False
    state, last = status.state, status.last_state
    shown = state.running or state.terminated or (last and last.terminated)
    return status.restart_count > fact.attempt or bool(shown)


def _resizes(status: PodStatus) -> dict[str, PodCondition]:
    return {each.type: each for each in status.conditions if each.type.startswith("PodResize")}


def _resources(pod: Pod, error: str) -> str:
    def shown(resources: ResourceRequirements) -> dict[str, dict[str, str]]:
        parts = {"limits": resources.limits, "requests": resources.requests}
        return {part: {n: str(q) for n, q in sorted(amounts.items())} for part, amounts in parts.items() if amounts}

    summary: dict[str, object] = {
        part: [{"name": each.name, "resources": shown(each.resources)} for each in containers]
        for part, containers in (("initContainers", pod.spec.init_containers), ("containers", pod.spec.containers))
        if containers
    }
    summary["generation"] = pod.metadata.generation
    if error:
        summary["error"] = error
    return json.dumps(summary, separators=(",", ":"))
