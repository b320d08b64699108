"""What controllers make of numbers, for all of them: `arithmetic/rollout`, `/autoscaling` and `/disruption`.

Explorations go through states of a few pods. What one decision makes of numbers is proved here for every number of
replicas, with what the files say (percentages, bounds, policies) as it is: the functions that the controllers call are
executed on symbols (`smt`). Lists have a bound: one new ReplicaSet and two old ones, one recent scaling each way.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from seatrial.check import machines, smt
from seatrial.check.arithmetic import Numbers, Problem, Proof, both, either, lesser, solve
from seatrial.check.properties import Property, Question
from seatrial.check.system import Entry
from seatrial.check.verdicts import Answer, Covered, Step, Verdict
from seatrial.control import disruption, rollout
from seatrial.control.autoscaler import calculation, limits
from seatrial.kube.objects import Deployment, HorizontalPodAutoscaler, PodDisruptionBudget
from seatrial.kube.objects.autoscaling import HPAScalingRules

ROLLOUT = "arithmetic/rollout"
AUTOSCALING = "arithmetic/autoscaling"
DISRUPTION = "arithmetic/disruption"
PROPERTIES = (
    Property(
        name=ROLLOUT,
        asks="does every decision of a rolling update keep its bounds, and come nearer to the end, for any size?",
        formally="for all sizes and counts of ready pods: ready pods after a decision >= min(before, replicas - "
        "maxUnavailable); replicas asked for <= max(before, replicas + maxSurge); no old ReplicaSet grows, no new one "
        "shrinks; with all pods ready (replicas - new) + old decreases; a change of size is shared out exactly",
        premise="the system has a Deployment with the strategy RollingUpdate",
        sometimes="some sizes are possible",
    ),
    Property(
        name=AUTOSCALING,
        asks="does the autoscaler stay within its bounds, follow its metric, and rest once the load is constant?",
        formally="for all sizes and loads: minReplicas <= size <= maxReplicas; more load never asks for fewer; a usage "
        "within the tolerance asks for the present size; asked again at the size it asked for, it asks for the same",
        premise="the system has a HorizontalPodAutoscaler",
        sometimes="some loads are possible",
    ),
    Property(
        name=DISRUPTION,
        asks="does the disruption budget never allow an eviction that leaves fewer than it says?",
        formally="for all numbers of pods and healthy ones: allowed > 0 implies healthy - allowed >= minAvailable, or "
        "total - (healthy - allowed) <= maxUnavailable of healthy pods",
        premise="the system has a PodDisruptionBudget",
        sometimes="some number of pods allows a disruption",
    ),
)
ASSUMPTIONS: Mapping[str, str] = {
    "replicasets/few": "a Deployment in mid-rollout has two old ReplicaSets at most",
    "numbers/exact": "doubles are taken as exact numbers, below 2^31",
    "annotations/own": "the max-replicas annotations are the controller's own: not below the sum of all sizes",
    "counts/current": "the counts that a decision sees are those of the pods",
}
_NOW: Final = datetime(2000, 1, 1, tzinfo=UTC)
_LARGEST: Final = 10**9


def check(question: Question, wanted: frozenset[str]) -> list[Verdict]:
    verdicts = []
    scaled = machines.autoscalers(question.system)
    for entry in question.system.entries:
        item = entry.typed
        if isinstance(item, Deployment) and ROLLOUT in wanted and item.spec.strategy.type == "RollingUpdate":
            rolling = item.spec.strategy.rolling_update
            assert rolling is not None, "admission gives a rolling update its bounds"
            surge, missing = rolling.max_surge, rolling.max_unavailable
            if not (_is_amount(surge) and _is_amount(missing)):
                continue  # `schema/valid` speaks of it
            problems = [rolling_update(surge, missing)]
            if (entry.key.kind, entry.key.namespace, entry.key.name) in scaled:
                problems.append(proportional(surge, missing))
            said = f"with maxSurge {surge} and maxUnavailable {missing} every decision keeps its bounds and gets nearer"
            assumed = ("replicasets/few", "annotations/own", "counts/current")
            verdicts.append(_verdict(question, entry, ROLLOUT, problems, said, assumed, "strategy"))
        elif isinstance(item, HorizontalPodAutoscaler) and AUTOSCALING in wanted:
            if not 0 <= (1 if item.spec.min_replicas is None else item.spec.min_replicas) <= item.spec.max_replicas > 0:
                continue
            said = "it stays within its bounds, follows its metric, and rests once the load is constant"
            verdicts.append(
                _verdict(question, entry, AUTOSCALING, autoscaler(item), said, ("numbers/exact",), "behavior")
            )
        elif isinstance(item, PodDisruptionBudget) and DISRUPTION in wanted:
            least, most = item.spec.min_available, item.spec.max_unavailable
            if not (_is_amount(least) and _is_amount(most)):
                continue
            field = "maxUnavailable" if most is not None else "minAvailable"
            said = f"no eviction that it allows leaves fewer pods than {field} {least if most is None else most}"
            problems = [budget(least, most)]
            verdicts.append(_verdict(question, entry, DISRUPTION, problems, said, ("counts/current",), field))
    return verdicts


def _is_amount(value: int | str | None) -> bool:
    """A number of pods or a percentage, as the API takes it."""
    return value is None or (
        value >= 0 if isinstance(value, int) else re.fullmatch("[0-9]+%", value, re.ASCII) is not None
    )


def _verdict(
    question: Question,
    entry: Entry,
    name: str,
    problems: Sequence[Problem],
    said: str,
    assumed: tuple[str, ...],
    at: str,
) -> Verdict:
    base = Verdict(
        property=name, subject=str(entry.key), verdict=Answer.PROVED, message="", method="smt", assumptions=assumed
    )
    try:
        proofs = [_solved(question, problem) for problem in problems]
    except smt.TooHardError:
        message = "z3 gave up within the steps it was given"
        return msgspec.structs.replace(base, verdict=Answer.UNKNOWN, message=message)
    cases = sum(each.cases for each in proofs)
    base = msgspec.structs.replace(base, method=proofs[0].method, covered=Covered(cases, 0))
    broken = next((each for each in proofs if each.broken), None)
    if broken is None:
        bound = min((each.bound for each in proofs if each.bound is not None), default=None)
        scope = "for every number of replicas" if bound is None else f"for numbers up to {bound}"
        if bound is not None and not smt.available():
            scope += " (z3 is not installed)"
        return msgspec.structs.replace(base, message=f"{said}, {scope}")
    numbers = ", ".join(f"{name} {value}" for name, value in (broken.example or {}).items())
    return msgspec.structs.replace(
        base,
        verdict=Answer.REFUTED,
        message=f"{broken.broken} fails for {numbers}",
        places=(entry.place("spec", at),),
        trace=(Step("Controller", f"decides on {numbers}: {broken.broken} does not hold"),),
    )


def _solved(question: Question, problem: Problem) -> Proof:
    """The proof; equal problems of several objects are decided once."""
    found: Proof | None = question.known.get(problem.key)
    if found is None:
        found = question.known[problem.key] = solve(problem)
    return found


def rolling_update(surge: int | str | None, unavailable: int | str | None) -> Problem:
    """One decision on a new ReplicaSet and two old ones, some of their pods ready."""

    def given(n: Numbers) -> list[Any]:
        pairs = [("new", "new_ready"), ("old1", "old1_ready"), ("old2", "old2_ready")]
        sizes = [rule for size, ready in pairs for rule in (n[ready] >= 0, n[ready] <= n[size])]
        return [n["replicas"] >= 1, n["new"] <= n["replicas"], *sizes]

    def claims(functions: Sequence[Any], n: Numbers) -> dict[str, Any]:
        (run,) = functions
        bounds = run.bounds(n["replicas"], surge, unavailable)
        old = [rollout.Sizes(f"old{i}", n[f"old{i}"], n[f"old{i}_ready"]) for i in (1, 2)]
        new = rollout.Sizes("new", n["new"], n["new_ready"])
        total = n["new"] + n["old1"] + n["old2"]
        grown = run.new_size(bounds, n["new"], total)
        shrunk = run.old_sizes(bounds, old, new)
        left = {each.name: shrunk.get(each.name, each.replicas) for each in old}
        ready = n["new_ready"] + n["old1_ready"] + n["old2_ready"]
        still = n["new_ready"] + sum(lesser(each.available, left[each.name]) for each in old)
        olds = n["old1"] + n["old2"]
        after = left["old1"] + left["old2"]
        all_ready = both(*(n[f"{name}_ready"] == n[name] for name in ("new", "old1", "old2")))
        done = both(n["new"] == n["replicas"], olds == 0)
        return {
            "availability": either(still >= bounds.min_available, still >= ready),
            "the bound of surge": either(total - n["new"] + grown <= bounds.max_total, grown == n["new"]),
            "no way back": both(
                grown >= n["new"], grown <= n["replicas"], *(left[each.name] <= each.replicas for each in old)
            ),
            "nothing below zero": both(*(size >= 0 for size in left.values())),
            "progress": either(_not(all_ready), done, grown > n["new"], after < olds),
        }

    names = ("replicas", "new", "new_ready", "old1", "old1_ready", "old2", "old2_ready")
    return Problem(("rolling update", surge, unavailable), names, (rollout,), given, claims)


def proportional(surge: int | str | None, unavailable: int | str | None) -> Problem:
    """A change of size in mid-rollout is shared out among two ReplicaSets."""

    def given(n: Numbers) -> list[Any]:
        return [n["set1"] >= 1, n["set2"] >= 1, n["most"] >= n["set1"] + n["set2"], n["replicas"] >= 1]

    def claims(functions: Sequence[Any], n: Numbers) -> dict[str, Any]:
        (run,) = functions
        bounds = run.bounds(n["replicas"], surge, unavailable)
        sets = [rollout.Sizes(f"set{i}", n[f"set{i}"], 0, n["most"]) for i in (1, 2)]
        shared = run.proportional(bounds, sets, n["set1"] + n["set2"])
        return {
            "the exact sum": shared["set1"] + shared["set2"] == bounds.max_total,
            "nothing below zero": both(shared["set1"] >= 0, shared["set2"] >= 0),
        }

    names = ("replicas", "set1", "set2", "most")
    return Problem(("proportional", surge, unavailable), names, (rollout,), given, claims, multiplies=True)


def autoscaler(item: HorizontalPodAutoscaler) -> list[Problem]:
    spec = item.spec
    bounds = limits.Bounds(1 if spec.min_replicas is None else spec.min_replicas, spec.max_replicas)
    behavior = spec.behavior

    def limited(run: Any, n: Numbers, wanted: str) -> Any:
        if behavior is None:
            return run.limit_legacy(n["current"], n[wanted], bounds)[0]
        history = limits.History((), (limits.ScaleEvent(n["grown"], _NOW),), (limits.ScaleEvent(n["shrunk"], _NOW),))
        up, down = behavior.scale_up or HPAScalingRules(), behavior.scale_down or HPAScalingRules()
        return run.limit(history, n["current"], n[wanted], bounds, up, down, _NOW)[0]

    def given(n: Numbers) -> list[Any]:
        sizes = [
            n["current"] >= max(1, bounds.min),
            n["current"] <= bounds.max,
            n["wanted"] >= 0,
            n["more"] >= n["wanted"],
        ]
        return [*sizes, *(n[name] >= 0 for name in ("grown", "shrunk") if name in n)]

    def claims(functions: Sequence[Any], n: Numbers) -> dict[str, Any]:
        run = functions[-1]
        first, second = limited(run, n, "wanted"), limited(run, n, "more")
        return {
            "the bounds": both(first >= bounds.min, first <= bounds.max),
            "more is never fewer": first <= second,
        }

    names = ("current", "wanted", "more") + (() if behavior is None else ("grown", "shrunk"))
    return [
        Problem(("limits", bounds, behavior), names, (calculation, limits), given, claims),
        _following(tolerance(item)),
    ]


def tolerance(item: HorizontalPodAutoscaler) -> calculation.Tolerance:
    behavior = item.spec.behavior
    if behavior is None:
        return calculation.Tolerance()

    def of(rules: HPAScalingRules | None) -> float:
        return 0.1 if rules is None or rules.tolerance is None else rules.tolerance.nanos / 10**9

    return calculation.Tolerance(of(behavior.scale_down), of(behavior.scale_up))


def _following(allowed: calculation.Tolerance) -> Problem:
    """What pods use together, in hundredths of the target of one pod, and how many pods that asks for."""

    def proposed(run: Any, pods: Any, load: Any) -> Any:
        crowd = calculation.Pods(pods, (), (), ())
        return run.proposal(pods, crowd, lambda _: load / 100 / pods, allowed)

    def given(n: Numbers) -> list[Any]:
        return [n["pods"] >= 1, n["load"] >= 1, n["more"] >= n["load"], n["more"] <= _LARGEST, n["pods"] <= _LARGEST]

    def claims(functions: Sequence[Any], n: Numbers) -> dict[str, Any]:
        (run,) = functions
        first, second = proposed(run, n["pods"], n["load"]), proposed(run, n["pods"], n["more"])
        again = proposed(run, first, n["load"])
        return {"more load is never fewer pods": first <= second, "rest": again == first}

    return Problem(("following", allowed), ("pods", "load", "more"), (calculation,), given, claims)


def budget(at_least: int | str | None, at_most: int | str | None) -> Problem:
    """As many evictions as are allowed at once, of pods that are healthy."""

    def given(n: Numbers) -> list[Any]:
        return [n["healthy"] >= 0, n["healthy"] <= n["total"]]

    def claims(functions: Sequence[Any], n: Numbers) -> dict[str, Any]:
        run = functions[-1]
        total, healthy = n["total"], n["healthy"]
        desired = run.wanted(at_least, at_most, total) if at_most is not None or isinstance(at_least, str) else at_least
        gone = run.allowed(healthy, desired or 0, total)
        left = healthy - gone
        return {
            "what is left": either(gone == 0, _enough(at_least, at_most, total, left)),
            "never below zero": both(gone >= 0, left >= 0),
        }

    return Problem(("budget", at_least, at_most), ("total", "healthy"), (rollout, disruption), given, claims)


def _enough(at_least: int | str | None, at_most: int | str | None, total: Any, left: Any) -> Any:
    """As the documentation has it: percentages of either kind are rounded up."""
    said = at_most if at_most is not None else at_least
    if said is None:
        return True
    times = 1
    if isinstance(said, str):
        times, said = 100, int(said.rstrip("%")) * total
    if at_most is None:
        return left * times >= said
    return (total - left) * times < said + times


def _not(claim: Any) -> Any:
    return smt.negation(claim) if isinstance(claim, smt.Truth) else not claim
