"""Our controller on a history, at the instants at which upstream decided."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from msgspec.structs import replace

from seatrial.control import autoscaler
from seatrial.control.autoscaler import Memory
from seatrial.control.autoscaler.limits import History
from seatrial.control.relations import observe
from seatrial.control.writes import RecordEvent, Update, UpdateStatus
from seatrial.kube.objects import Deployment, HorizontalPodAutoscaler, Object, Pod, parse_as, to_wire
from seatrial.kube.objects.autoscaling import ExternalMetricValue, HorizontalPodAutoscalerSpec, MetricValue, PodMetrics
from tests.conformance.autoscaler.histories import Json

BEGIN = datetime(2000, 1, 1, tzinfo=UTC)
"""Where Go's virtual time begins."""
PERIOD_S = 15
SPAM = 25
"""So many events of one object upstream's recorder lets through, then almost none."""


def differences(history: Json, decisions: list[Json]) -> Iterator[str]:
    """Where we decide otherwise than upstream did, in words."""
    ours = _Autoscaler(history)
    told = 0
    for decision in decisions:
        got = ours.sync(decision["step"], BEGIN + timedelta(microseconds=decision["at"]))
        theirs = {"replicas": decision["replicas"], "status": _status(decision["status"])}
        events = [_event(text) for text in decision["events"] or ()]
        told += len(got["events"])
        if told <= SPAM:
            theirs["events"] = events
        for key in theirs:
            if got[key] != theirs[key]:
                yield f"step {decision['step']}: {key}: {_where(theirs[key], got[key])}"
        ours.replicas = decision["replicas"]


def _where(theirs: Any, ours: Any, path: str = "") -> str:
    """The first place at which two values differ."""
    if isinstance(theirs, dict) and isinstance(ours, dict):
        pairs: Any = [(key, theirs.get(key), ours.get(key)) for key in sorted({*theirs, *ours})]
    elif isinstance(theirs, list) and isinstance(ours, list) and len(theirs) == len(ours):
        pairs = [(number, *both) for number, both in enumerate(zip(theirs, ours, strict=True))]
    else:
        return f"{path} is upstream {theirs!r}, here {ours!r}"
    return next(_where(one, other, f"{path}/{key}") for key, one, other in pairs if one != other)


class _Autoscaler:
    def __init__(self, history: Json) -> None:
        self.history = history
        self.replicas = history["replicas"]
        self.past = History()
        self.step = -1
        spec = parse_as(HorizontalPodAutoscalerSpec, history["spec"])
        meta = parse_as(Deployment, {"metadata": {"name": "web", "namespace": "default", "generation": 1}}).metadata
        self.object = HorizontalPodAutoscaler(metadata=meta, spec=spec)

    def sync(self, number: int, now: datetime) -> Json:
        step = self.history["steps"][number]
        if number != self.step:
            self.step = number
            self.replicas = step.get("replicas", self.replicas)
            if "spec" in step and number:
                meta = replace(self.object.metadata, generation=self.object.metadata.generation + 1)
                spec = parse_as(HorizontalPodAutoscalerSpec, step["spec"])
                self.object = replace(self.object, metadata=meta, spec=spec)
        objects = self._world(step, BEGIN + timedelta(seconds=number * PERIOD_S))
        seen = observe(autoscaler.CONTROLLER, self.object, objects, now)
        due = Memory(now, self.object.metadata.generation, self.past)
        seen = dataclasses.replace(seen, minor=self.history["minor"], memory=due)
        decision = autoscaler.CONTROLLER.reconcile(seen)
        events = []
        for write in decision.writes:
            match write:
                case Update(after=Deployment() as after):
                    self.replicas = after.spec.replicas
                case UpdateStatus(after=HorizontalPodAutoscaler() as after):
                    self.object = after
                case RecordEvent():
                    events.append(_event(f"{write.type} {write.reason} {write.message}"))
        assert isinstance(decision.memory, Memory)
        self.past = decision.memory.history
        return {"replicas": self.replicas, "status": _status(to_wire(self.object)["status"]), "events": events}

    def _world(self, step: Json, base: datetime) -> dict[type[Object], list[Object]]:
        visible = min(len(step["pods"]), self.replicas)
        there = {_name(number) for number in range(visible)}
        target: Json = {
            "metadata": {"name": "web", "namespace": "default"},
            "spec": {"replicas": self.replicas, "selector": {"matchLabels": {"app": "web"}}},
            "status": {"replicas": step.get("statusReplicas", visible)},
        }
        if "selector" in step:
            target["spec"]["selector"] = {}
        values = [each for each in step.get("custom", ()) if each["kind"] != "Pod" or each["name"] in there]
        return {
            HorizontalPodAutoscaler: [self.object],
            Deployment: [] if step.get("gone") else [parse_as(Deployment, target)],
            Pod: [parse_as(Pod, self._pod(n, state, base)) for n, state in enumerate(step["pods"][:visible])],
            PodMetrics: [parse_as(PodMetrics, _usage(each, base)) for each in step["usage"] if each[0] < visible],
            MetricValue: [parse_as(MetricValue, _custom(n, each, base)) for n, each in enumerate(values)],
            ExternalMetricValue: [
                parse_as(ExternalMetricValue, _external(n, each)) for n, each in enumerate(step.get("external", ()))
            ],
        }

    def _pod(self, number: int, state: list[Any], base: datetime) -> Json:
        phase, ready, age, changed, terminating = state
        meta = {"name": _name(number), "namespace": "default", "labels": {"app": "web"}}
        status: Json = {"phase": phase}
        if age >= 0:
            status["startTime"] = _ago(base, age)
        if ready:
            status["conditions"] = [{"type": "Ready", "status": ready, "lastTransitionTime": _ago(base, changed)}]
        if terminating:
            meta["deletionTimestamp"] = _ago(base, age)
        return {"metadata": meta, "spec": self.history["template"], "status": status}


def _usage(usage: list[Any], base: datetime) -> Json:
    number, age, window, containers = usage
    return {
        "metadata": {"name": _name(number), "namespace": "default", "labels": {"app": "web"}},
        "timestamp": _ago(base, age),
        "window": f"{window}s",
        "containers": [{"name": name, "usage": amounts} for name, amounts in containers.items()],
    }


def _custom(number: int, value: Json, base: datetime) -> Json:
    selector = {"selector": value["selector"]} if "selector" in value else {}
    return {
        "metadata": {"name": str(number), "namespace": "default"},
        "describedObject": {"kind": value["kind"], "name": value["name"]},
        "metric": {"name": value["metric"], **selector},
        "timestamp": _ago(base, 0),
        "value": value["value"],
    }


def _external(number: int, value: Json) -> Json:
    return {
        "metadata": {"name": str(number), "namespace": "default"},
        "metricName": value["metric"],
        "metricLabels": value["labels"],
        "value": value["value"],
    }


def _name(number: int) -> str:
    return f"web-{number:02d}"


def _ago(base: datetime, seconds: int) -> str:
    return (base - timedelta(seconds=seconds)).isoformat().replace("+00:00", "Z")


def _status(raw: Json) -> Json:
    """A status in one spelling: without what is empty, names of pods that a random order picks made equal."""
    status = {key: value for key, value in raw.items() if value not in (None, 0, [], {})}
    status["conditions"] = [{**each, "message": _same_pod(each["message"])} for each in raw.get("conditions") or ()]
    status["currentMetrics"] = [{k: v for k, v in each.items() if v} for each in raw.get("currentMetrics") or ()]
    return status


def _event(text: str) -> str:
    return _same_pod(text).replace("(combined from similar events): ", "")


def _same_pod(text: str) -> str:
    before, of_pod, _ = text.partition(" of Pod ")
    if of_pod:
        return before + of_pod
    before, in_pod, _ = text.partition(" in Pod ")
    return before + in_pod
