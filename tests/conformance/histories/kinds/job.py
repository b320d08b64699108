"""Jobs: both completion modes and all policies; pods that succeed, fail, are deleted, lost nodes; edits, suspension.

Deadlines and back-offs run on between commands. Now and then they are waited out, all histories at the same steps.
"""

from __future__ import annotations

from random import Random

from seatrial.kube.objects import JsonObject
from tests.conformance.histories.script import (
    AnyCommand,
    Choices,
    Create,
    Delete,
    Patch,
    Pods,
    Relabel,
    Wait,
    drawn,
    losses,
)

WATCHED = ("Job", "Pod", "Event")
QUIET_S = 1.7
"""Upstream lets changes of pods wait for a second."""
_NAME = "Job/work"
_INDEX = "batch.kubernetes.io/job-completion-index"


def script(random: Random) -> list[AnyCommand]:
    indexed = random.random() < 0.6
    commands: list[AnyCommand] = [Create(_job(random, indexed))]
    for wait_s in (12, 22):
        commands += [_command(random, indexed) for _ in range(4)]
        commands += [_disturbance(random), Wait(wait_s)]
    return commands + [_command(random, indexed) for _ in range(5)]


def _pick(random: Random, most: int = 3) -> tuple[int, ...]:
    return tuple(random.randrange(60) for _ in range(random.randint(1, most)))


def _command(random: Random, indexed: bool) -> AnyCommand:
    size = random.randint(1, 5)
    elastic = {"completions": size, "parallelism": size} if indexed else {"completions": 2}
    choices: Choices = [
        *losses(lambda: random.choice(("n1", "n2"))),
        (28, lambda: Pods("ready", node=random.choice(("n1", "n2")))),
        (10, lambda: Pods("ready", _pick(random), node=random.choice(("n1", "n2")))),
        (6, lambda: Pods("running", _pick(random))),
        (28, lambda: Pods("succeeded", _pick(random))),
        (6, lambda: Pods("succeeded")),
        (8, lambda: _disturbance(random)),
        (4, lambda: Pods("unready", _pick(random, 1), detail=_container(restarts=random.randint(0, 3)))),
        (10, lambda: Pods("gone")),
        (8, lambda: Patch(_NAME, {"spec": {"parallelism": random.randint(0, 5)}})),
        (7, lambda: Patch(_NAME, {"spec": elastic})),
        (12, lambda: Patch(_NAME, {"spec": {"suspend": random.random() < 0.5}})),
        (3, lambda: Patch(_NAME, {"spec": {"activeDeadlineSeconds": random.choice((1, 8, 3600, None))}})),
        (2, lambda: Patch(_NAME, {"spec": {"ttlSecondsAfterFinished": random.choice((0, 5, 3600))}})),
        (2, lambda: Patch(_NAME, {"spec": {"backoffLimit": random.randint(0, 3)}})),
        (2, lambda: Patch(_NAME, {"spec": {"maxFailedIndexes": random.randint(0, 2)}})),
        (2, lambda: Patch(_NAME, {"spec": {"template": {"spec": {"nodeSelector": {"disk": "fast"}}}}})),
        (1, lambda: Relabel({"batch.kubernetes.io/controller-uid": None}, _pick(random, 1))),
        (1, lambda: Patch(f"Pod/#{random.randrange(9)}", {"metadata": {"annotations": {_INDEX: "9"}}})),
        (3, lambda: Delete(_NAME, random.choice(({}, {"propagationPolicy": "Background"})))),
        (1, lambda: Delete(_NAME, {"propagationPolicy": "Foreground"})),
        (1, lambda: Delete(_NAME, {"propagationPolicy": "Orphan"})),
        (2, lambda: Create(_job(random, indexed))),
    ]
    return drawn(random, choices)


def _disturbance(random: Random) -> AnyCommand:
    """Mostly one at a time: whether a back-off counts two failures as one or two is a matter of what is seen when."""
    what = random.choice(("failed", "failed", "failed", "failed", "deleted", "gone", "succeeded"))
    if what != "failed":
        return Pods(what, _pick(random, 1))
    detail = _container(code=random.choice((1, 42, 137)), name=random.choice(("app", "app", "side")))
    if random.random() < 0.2:
        detail["reason"] = "Evicted"
    return Pods("disrupted" if random.random() < 0.2 else "failed", _pick(random, 1), detail=detail)


def _container(*, code: int | None = None, restarts: int = 0, name: str = "app") -> JsonObject:
    """A pod's status of one container."""
    running = {"startedAt": "2026-01-01T00:00:00Z"}
    state = {"running": running} if code is None else {"terminated": {"exitCode": code, "reason": "Error"}}
    shared = {"image": "app:1", "imageID": "", "ready": False}
    return {"containerStatuses": [{"name": name, "restartCount": restarts, "state": state, **shared}]}


def _job(random: Random, indexed: bool) -> JsonObject:
    restarts = random.random() < 0.15
    containers = [{"name": name, "image": "app:1"} for name in ("app", "side")[: random.choice((1, 1, 2))]]
    template = {"spec": {"restartPolicy": "OnFailure" if restarts else "Never", "containers": containers}}
    spec: JsonObject = {
        "completionMode": "Indexed" if indexed else "NonIndexed",
        "parallelism": random.randint(0 if random.random() < 0.1 else 1, 5),
        "completions": random.randint(0 if random.random() < 0.05 else 1, 6),
        "backoffLimit": random.choice((0, 1, 2, 6, 6)),
        "template": template,
    }
    if not indexed and random.random() < 0.2:
        del spec["completions"]
    for field, odds, values in (
        ("suspend", 0.2, (True,)),
        ("podReplacementPolicy", 0.3, ("Failed", "Failed", "TerminatingOrFailed")),
        ("activeDeadlineSeconds", 0.12, (4, 20, 3600)),
        ("ttlSecondsAfterFinished", 0.15, (0, 3, 3600)),
        ("managedBy", 0.04, ("example.com/other", "kubernetes.io/job-controller")),
    ):
        if random.random() < odds:
            spec[field] = random.choice(values)
    per_index = indexed and not restarts and random.random() < 0.4
    if per_index:
        spec["backoffLimitPerIndex"] = random.randint(0, 2)
        if random.random() < 0.8:
            spec["backoffLimit"] = 100
        if random.random() < 0.4:
            spec["maxFailedIndexes"] = random.randint(0, spec["completions"])
    if not restarts and random.random() < 0.35:
        spec["podFailurePolicy"] = {"rules": [_rule(random, per_index) for _ in range(random.choice((1, 1, 2)))]}
        spec["podReplacementPolicy"] = "Failed"
    if indexed and random.random() < 0.3:
        rules = [{"succeededIndexes": "0"}, {"succeededCount": 1}, {"succeededIndexes": "0", "succeededCount": 1}]
        spec["successPolicy"] = {"rules": random.sample(rules, random.choice((1, 1, 2)))}
    return {"kind": "Job", "metadata": {"name": "work"}, "spec": spec}


def _rule(random: Random, per_index: bool) -> JsonObject:
    action = random.choice(("FailJob", "Ignore", "Count", *(("FailIndex",) if per_index else ())))
    if random.random() < 0.35:
        return {"action": action, "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}
    codes: JsonObject = {"operator": random.choice(("In", "NotIn")), "values": random.choice(([42], [1, 42]))}
    if random.random() < 0.3:
        codes["containerName"] = "app"
    return {"action": action, "onExitCodes": codes}
