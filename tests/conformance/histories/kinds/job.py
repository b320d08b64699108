"""Jobs: both completion modes and all policies; pods that succeed, fail, are deleted; edits, suspension, deletion.

Failures come one at a time and are waited out, because a back-off counts from when upstream got to see them.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from seatrial.kube.objects import JsonObject
from tests.conformance.histories.script import AnyCommand, Create, Delete, Patch, Pods, Wait, drawn

WATCHED = ("Job", "Pod", "Event")
QUIET_S = 1.7
"""Upstream lets changes of pods wait for a second."""
_NAME = "Job/work"


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
    choices: list[tuple[int, Callable[[], AnyCommand]]] = [
        (14, lambda: Pods("ready")),
        (6, lambda: Pods("ready", _pick(random))),
        (4, lambda: Pods("running", _pick(random))),
        (20, lambda: Pods("succeeded", _pick(random))),
        (4, lambda: Pods("succeeded")),
        (5, lambda: Pods("gone")),
        (5, lambda: Patch(_NAME, {"spec": {"parallelism": random.randint(0, 5)}})),
        (
            4,
            lambda: Patch(
                _NAME, {"spec": {"completions": size, "parallelism": size} if indexed else {"completions": 2}}
            ),
        ),
        (8, lambda: Patch(_NAME, {"spec": {"suspend": random.random() < 0.5}})),
        (2, lambda: Delete(_NAME, random.choice(({}, {"propagationPolicy": "Background"})))),
        (1, lambda: Delete(_NAME, {"propagationPolicy": "Foreground"})),
        (1, lambda: Create(_job(random, indexed))),
    ]
    return drawn(random, choices)


def _disturbance(random: Random) -> AnyCommand:
    what = random.choice(("failed", "failed", "failed", "deleted", "gone", "succeeded"))
    if what != "failed":
        return Pods(what, _pick(random, 1))
    code = random.choice((1, 42, 137))
    ended = {"exitCode": code, "reason": "Error"}
    status = {
        "name": "app",
        "image": "app:1",
        "imageID": "",
        "ready": False,
        "restartCount": 0,
        "state": {"terminated": ended},
    }
    return Pods("failed", _pick(random, 1), detail={"containerStatuses": [status]})


def _job(random: Random, indexed: bool) -> JsonObject:
    template = {"spec": {"restartPolicy": "Never", "containers": [{"name": "app", "image": "app:1"}]}}
    spec: JsonObject = {
        "completionMode": "Indexed" if indexed else "NonIndexed",
        "parallelism": random.randint(1, 5),
        "completions": random.randint(1, 6),
        "backoffLimit": random.choice((0, 1, 6, 6)),
        "template": template,
    }
    if not indexed and random.random() < 0.2:
        del spec["completions"]
    if random.random() < 0.2:
        spec["suspend"] = True
    if random.random() < 0.3:
        spec["podReplacementPolicy"] = "Failed"
    per_index = indexed and random.random() < 0.4
    if per_index:
        spec["backoffLimitPerIndex"] = random.randint(0, 2)
        spec["backoffLimit"] = 100
        if random.random() < 0.4:
            spec["maxFailedIndexes"] = random.randint(0, spec["completions"])
    if random.random() < 0.35:
        actions = ["FailJob", "Ignore", "Count", *(["FailIndex"] if per_index else [])]
        codes = {"operator": random.choice(("In", "NotIn")), "values": [42]}
        spec["podFailurePolicy"] = {"rules": [{"action": random.choice(actions), "onExitCodes": codes}]}
        spec["podReplacementPolicy"] = "Failed"
    if indexed and random.random() < 0.3:
        rules = [{"succeededIndexes": "0"}, {"succeededCount": 1}, {"succeededIndexes": "0", "succeededCount": 1}]
        spec["successPolicy"] = {"rules": [random.choice(rules)]}
    return {"kind": "Job", "metadata": {"name": "work"}, "spec": spec}
