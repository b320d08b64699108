"""What counts as a failed pod of a Job, what its podFailurePolicy says of it, and how long to wait after it.

The back-off is upstream's: ten seconds after the first failure since the last success, twice as long after each
further one, ten minutes at most, counted from when the pod finished. Which pods finished has to be remembered, since
a pod that was deleted takes its time of death with it (`Record`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from seatrial.kube.objects import ContainerStatus, Job, Pod
from seatrial.kube.objects.batch import PodFailurePolicyOnExitCodesRequirement, PodFailurePolicyRule
from seatrial.kube.objects.pods import ContainerStateTerminated
from seatrial.kube.times import after

FIRST_BACKOFF: Final = timedelta(seconds=10)
LONGEST_BACKOFF: Final = timedelta(minutes=10)

COMPLETION_INDEX: Final = "batch.kubernetes.io/job-completion-index"
FAILURE_COUNT: Final = "batch.kubernetes.io/job-index-failure-count"
IGNORED_FAILURE_COUNT: Final = "batch.kubernetes.io/job-index-ignored-failure-count"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the podFailurePolicy says of a failed pod; `action` is empty when no rule matches."""

    action: str = ""
    message: str = ""

    @property
    def counts(self) -> bool:
        """Towards backoffLimit, or its index's backoffLimitPerIndex."""
        return self.action != "Ignore"


def judge(job: Job, pod: Pod) -> Verdict:
    """The first rule that matches decides."""
    policy = job.spec.pod_failure_policy
    for index, rule in enumerate(() if policy is None else policy.rules):
        reason = _match(rule, pod)
        if reason:
            return Verdict(rule.action, f"{reason} matching {rule.action} rule at index {index}")
    return Verdict()


def _match(rule: PodFailurePolicyRule, pod: Pod) -> str:
    name = f"{pod.metadata.namespace}/{pod.metadata.name}"
    if rule.on_exit_codes is not None:
        for status in (*pod.status.container_statuses, *pod.status.init_container_statuses):
            code = _exit_code(status)
            if code and _asks_for(rule.on_exit_codes, status.name, code):
                return f"Container {status.name} for pod {name} failed with exit code {code}"
        return ""
    for condition in pod.status.conditions:
        if any(
            (pattern.type, pattern.status) == (condition.type, condition.status) for pattern in rule.on_pod_conditions
        ):
            return f"Pod {name} has condition {condition.type}"
    return ""


def _asks_for(requirement: PodFailurePolicyOnExitCodesRequirement, container: str, code: int) -> bool:
    if requirement.container_name not in (None, container):
        return False
    return (code in requirement.values) == (requirement.operator == "In")


def _exit_code(status: ContainerStatus) -> int:
    ended = _ended(status)
    return 0 if ended is None else ended.exit_code


def _ended(status: ContainerStatus) -> ContainerStateTerminated | None:
    return None if status.state is None else status.state.terminated


def replaces_only_failed(job: Job) -> bool:
    """Whether a pod that is being deleted keeps its place until it has ended."""
    return job.spec.pod_replacement_policy == "Failed"


def is_failed(job: Job, pod: Pod, minor: int) -> bool:
    """A pod that is being deleted counts as failed at once, unless the Job waits for its end."""
    if pod.status.phase == "Failed":
        return True
    waits = replaces_only_failed(job) or (minor < 31 and job.spec.pod_failure_policy is not None)
    return not waits and pod.metadata.deletion_timestamp is not None and pod.status.phase != "Succeeded"


def completion_index(pod: Pod) -> int | None:
    return _number(pod.metadata.annotations.get(COMPLETION_INDEX))


def index_failures(pod: Pod) -> int:
    """How many pods of this one's index failed before it and counted."""
    return _count(pod, FAILURE_COUNT)


def all_index_failures(pod: Pod) -> int:
    return index_failures(pod) + _count(pod, IGNORED_FAILURE_COUNT)


def failure_annotations(job: Job, replaced: Pod | None) -> dict[str, str]:
    """What the pod that takes `replaced`'s index carries on; nothing failed before the first."""
    counted = ignored = 0
    if replaced is not None:
        counts = judge(job, replaced).counts
        counted = index_failures(replaced) + counts
        ignored = _count(replaced, IGNORED_FAILURE_COUNT) + (not counts)
    return {FAILURE_COUNT: str(counted)} | ({IGNORED_FAILURE_COUNT: str(ignored)} if ignored else {})


def _count(pod: Pod, annotation: str) -> int:
    number = _number(pod.metadata.annotations.get(annotation))
    return 0 if number is None or number >= 2**31 else number


def _number(text: str | None) -> int | None:
    """A natural number as Go's strconv.Atoi reads one, or None."""
    digits = "" if text is None else text.removeprefix("+")
    return int(digits) if digits.isascii() and digits.isdecimal() else None


def finished_at(pod: Pod) -> datetime | None:
    """When the pod ended: its last container, else since when it is not Ready, else its deletion, else its creation."""
    sidecars = {item.name for item in pod.spec.init_containers if item.restart_policy == "Always"}
    statuses = (
        *pod.status.container_statuses,
        *(status for status in pod.status.init_container_statuses if status.name in sidecars),
    )
    ends = [None if (ended := _ended(status)) is None else ended.finished_at for status in statuses]
    known = [end for end in ends if end is not None]
    if known and len(known) == len(ends):
        return max(known)
    for condition in pod.status.conditions:
        if condition.type == "Ready" and condition.status == "False" and condition.last_transition_time is not None:
            return condition.last_transition_time
    if pod.metadata.deletion_timestamp is not None:
        return after(pod.metadata.deletion_timestamp, -(pod.metadata.deletion_grace_period_seconds or 0))
    return pod.metadata.creation_timestamp


@dataclass(frozen=True, slots=True)
class Record:
    """The pods that failed since the last success, each (uid, when), and when that was."""

    failures: tuple[tuple[str, datetime], ...] = ()
    last_success: datetime | None = None

    def with_finished(self, succeeded: Iterable[Pod], failed: Iterable[Pod]) -> Record:
        successes = [self.last_success, *(finished_at(pod) for pod in succeeded)]
        success = max((at for at in successes if at is not None), default=None)
        ends = {pod.metadata.uid: at for pod in failed if (at := finished_at(pod)) is not None} | dict(self.failures)
        since = ((uid, at) for uid, at in ends.items() if success is None or at > success)
        return Record(tuple(sorted(since, key=lambda failure: (failure[1], failure[0]))), success)

    def retry_at(self) -> datetime | None:
        """From when on a failed pod may be replaced; None when there was no failure."""
        if not self.failures:
            return None
        return self.failures[-1][1] + backoff(len(self.failures))


def index_retry_at(replaced: Pod | None) -> datetime | None:
    """`Record.retry_at` for one index, with a back-off of its own, from the pod to be replaced."""
    ended = None if replaced is None else finished_at(replaced)
    return None if replaced is None or ended is None else ended + backoff(all_index_failures(replaced) + 1)


def backoff(failures: int) -> timedelta:
    return min(FIRST_BACKOFF * (1 << min(failures - 1, 10)), LONGEST_BACKOFF)


def follows(pod: Pod, other: Pod) -> bool:
    """Whether `pod` is the later one of two that failed at one index."""
    ends = finished_at(pod), finished_at(other)
    later = ends[0] is None or ends[1] is None or ends[0] >= ends[1]
    return all_index_failures(other) <= all_index_failures(pod) and later
