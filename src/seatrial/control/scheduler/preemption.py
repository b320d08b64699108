"""Preemption: on which nodes the pod would fit if less important pods left, and whom that would hit.

Semantics: upstream's DefaultPreemption. On each node that eviction can help, all pods of lower priority are supposed
gone; then as many as possible are let back, first those that a PodDisruptionBudget protects, the most important first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Final

from seatrial.control.scheduler.board import Board, Site
from seatrial.control.scheduler.filters import Filters
from seatrial.control.scheduler.placement import Candidate, Obstacle
from seatrial.control.scheduler.profiles import Profile
from seatrial.kube import selectors
from seatrial.kube.objects import Pod, PodDisruptionBudget

NO_VICTIMS = "No preemption victims found for incoming pod"
NOT_HELPFUL = "Preemption is not helpful for scheduling"
NEVER_PREEMPTS = "not eligible due to preemptionPolicy=Never."
TERMINATING = "not eligible due to a terminating pod on the nominated node."
BY_SCHEDULER = "PreemptionByScheduler"

_FAR: Final = datetime.max.replace(tzinfo=UTC)


def ineligible(pod: Pod, board: Board, obstacles: Mapping[str, Sequence[Obstacle]]) -> str:
    """Why the pod must not preempt at all, in upstream's words; empty if it may."""
    if pod.spec.preemption_policy == "Never":
        return NEVER_PREEMPTS
    nominated = pod.status.nominated_node_name
    site = board.site(nominated) if nominated else None
    if site is None or not all(each.helped_by_eviction(board.minor) for each in obstacles.get(nominated, ())):
        return ""
    mine = pod.spec.priority or 0
    if any((other.spec.priority or 0) < mine and _preempted(other) for other in site.pods):
        return TERMINATING
    return ""


def candidates(
    pod: Pod, board: Board, filters: Filters, profile: Profile, obstacles: Mapping[str, Sequence[Obstacle]]
) -> tuple[tuple[Candidate, ...], dict[str, tuple[str, ...]]]:
    """The nodes where preemption would help, and for the others it was tried on why it would not.

    Upstream stops when it has found a tenth of the nodes, at least 100, beginning anywhere; here the beginning is the
    first by name.
    """
    potential = [
        site
        for site in board.sites
        if all(each.helped_by_eviction(board.minor) for each in obstacles.get(site.name, ()))
    ]
    enough = max(len(potential) * profile.candidates_percentage // 100, profile.candidates_least)
    budgets = tuple(board.all(PodDisruptionBudget))
    found: list[Candidate] = []
    failed: dict[str, tuple[str, ...]] = {}
    harmless = False
    for site in potential:
        outcome = _try(pod, site, board, filters, budgets)
        if isinstance(outcome, Candidate):
            found.append(outcome)
            harmless = harmless or not outcome.violations
            if harmless and len(found) >= enough:
                break
        else:
            failed[site.name] = outcome
    return tuple(found), failed


def best(found: Sequence[Candidate]) -> tuple[str, ...]:
    """The candidates to choose from: each criterion decides among those that the one before left equal."""
    if not found:
        return ()
    most = max(_merit(candidate) for candidate in found)
    return tuple(candidate.node for candidate in found if _merit(candidate) == most)


def _try(
    pod: Pod, site: Site, board: Board, filters: Filters, budgets: Sequence[PodDisruptionBudget]
) -> Candidate | tuple[str, ...]:
    mine = pod.spec.priority or 0
    potential = [other for other in site.pods if (other.spec.priority or 0) < mine]
    if not potential:
        return (NO_VICTIMS,)
    there, supposed = site.copy(), filters.copy()

    def leave(other: Pod) -> None:
        there.remove(other, board.minor)
        supposed.shift(-1, other, there)

    def come(other: Pod) -> None:
        there.add(other, board.minor)
        supposed.shift(1, other, there)

    for other in potential:
        leave(other)
    refused = supposed.with_nominated(there)
    if refused:
        return tuple(obstacle.text for obstacle in refused)
    potential.sort(key=_importance)
    protected, free = _by_budget(potential, budgets)
    victims: list[Pod] = []
    violations = 0
    for group in (protected, free):
        for other in group:
            come(other)
            if supposed.with_nominated(there):
                leave(other)
                victims.append(other)
                violations += group is protected
    if not victims:
        return ()
    return Candidate(site.name, tuple(sorted(victims, key=_importance)), violations)


def _importance(pod: Pod) -> tuple[int, datetime]:
    """The more important first: by priority, then by age."""
    return -(pod.spec.priority or 0), pod.status.start_time or _FAR


def _by_budget(pods: Sequence[Pod], budgets: Sequence[PodDisruptionBudget]) -> tuple[list[Pod], list[Pod]]:
    """The pods whose eviction a budget does not allow when all of `pods` go one after the other, and the others."""
    left = [budget.status.disruptions_allowed for budget in budgets]
    protected: list[Pod] = []
    free: list[Pod] = []
    for pod in pods:
        violated = False
        for index, budget in enumerate(budgets):
            selector = budget.spec.selector
            if (
                not pod.metadata.labels
                or budget.metadata.namespace != pod.metadata.namespace
                or selector is None
                or not (selector.match_labels or selector.match_expressions)
                or not selectors.matches(selector, pod.metadata.labels)
                or pod.metadata.name in budget.status.disrupted_pods
            ):
                continue
            left[index] -= 1
            if left[index] < 0:
                violated = True
                break
        (protected if violated else free).append(pod)
    return protected, free


def _merit(candidate: Candidate) -> tuple[int, int, int, int, datetime]:
    """Fewest violated budgets, lowest top priority, lowest sum of priorities, fewest victims, youngest of the top."""
    priorities = [victim.spec.priority or 0 for victim in candidate.victims]
    top = max(priorities)
    oldest = min(
        victim.status.start_time or _FAR
        for victim, priority in zip(candidate.victims, priorities, strict=True)
        if priority == top
    )
    return (
        -candidate.violations,
        -priorities[0],
        -sum(priority + 2**31 for priority in priorities),
        -len(priorities),
        oldest,
    )


def _preempted(pod: Pod) -> bool:
    """It is terminating because a more important pod was to have its place."""
    if pod.metadata.deletion_timestamp is None:
        return False
    target = next((each for each in pod.status.conditions if each.type == "DisruptionTarget"), None)
    return target is not None and target.status == "True" and target.reason == BY_SCHEDULER
