"""`job/completes`: Jobs end with success, although some of their pods are evicted on the way.

The controller that runs is explored with every moment for a disruption (`jobs`); the work itself succeeds when it is
let. A run of a CronJob is asked without disruptions: the next one makes up for it. By themselves are asked: deadlines
against what commands say that they take, and whether the schedule of a CronJob comes at all. A Job that is suspended,
or may run nothing at a time, is not under way: nobody asks it to end.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Final

import msgspec

from seatrial.check import explore
from seatrial.check.model.pool import NOW
from seatrial.check.properties import Parameter, Property, Question
from seatrial.check.reading import startuptime
from seatrial.check.runs import jobs
from seatrial.check.system import Entry, Path
from seatrial.check.verdicts import Answer, Covered, Step, Verdict
from seatrial.control.job.sync import managed_elsewhere
from seatrial.kube import cronschedule
from seatrial.kube.objects import CronJob, Job

COMPLETES: Final = "job/completes"
PROPERTIES = (
    Property(
        name=COMPLETES,
        asks="does the Job complete, although pods of it are evicted (a drain, a scale-down)?",
        formally="every fair run with at most job/disruptions evictions satisfies F (the Job is Complete)",
        premise="the system has a CronJob, or a Job that the Job controller manages",
        sometimes="some run completes after an eviction, where one is assumed",
    ),
)
ASSUMPTIONS: dict[str, str | Parameter] = {
    "job/succeeds": "the work of a Job succeeds when its pods are let run to their end",
    "job/disruptions": Parameter(1, "{value} pod(s) of a Job are evicted while it runs: a drain, a scale-down"),
    "job/back-offs": "back-offs pass, and deadlines come only where commands say that the work takes longer",
    "job/next-run": "a run of a CronJob that is disrupted is made up for by the next",
    "job/alike": f"of more pods {jobs.COMPLETIONS} completions, {jobs.PARALLEL} at a time, are looked at",
}


def check(question: Question, wanted: frozenset[str]) -> list[Verdict]:
    found = []
    minor = int(question.system.version.split(".")[1])
    for entry in question.system.entries if COMPLETES in wanted else ():
        typed = entry.typed
        if isinstance(typed, Job) and not managed_elsewhere(typed, minor):
            found.append(_job(question, entry, typed, ("spec",), _disruptions(question)))
        elif isinstance(typed, CronJob):
            found.append(_cron_job(question, entry, typed))
    return found


def _disruptions(question: Question) -> int:
    parameter = ASSUMPTIONS["job/disruptions"]
    assert isinstance(parameter, Parameter)
    return max(0, int(question.assumed("job/disruptions", parameter)))


def _cron_job(question: Question, entry: Entry, cron_job: CronJob) -> Verdict:
    schedule = cron_job.spec.schedule
    try:
        comes = cronschedule.parse(schedule).next(NOW) is not None
    except cronschedule.ScheduleError as error:
        return _lookup(entry, f"its schedule {schedule!r} cannot be read: {error}", (("spec", "schedule"),))
    if not comes:
        return _lookup(
            entry, f"its schedule {schedule!r} names no day that there is; it never runs", (("spec", "schedule"),)
        )
    spec = cron_job.spec.job_template.spec
    if spec is None:
        return _lookup(entry, "it has no template for its Jobs", (("spec", "jobTemplate"),))
    meta = msgspec.structs.replace(Job().metadata, name=cron_job.metadata.name, namespace=cron_job.metadata.namespace)
    if cron_job.spec.suspend:
        return _idle(entry, "it is suspended, so no Job is made")
    return _job(question, entry, Job(metadata=meta, spec=spec), ("spec", "jobTemplate", "spec"), 0)


def _lookup(entry: Entry, message: str, paths: tuple[Path, ...]) -> Verdict:
    return Verdict(
        property=COMPLETES,
        subject=str(entry.key),
        verdict=Answer.REFUTED,
        message=message,
        places=tuple(entry.place(*path) for path in paths),
        method="lookup",
    )


def _idle(entry: Entry, message: str) -> Verdict:
    return Verdict(property=COMPLETES, subject=str(entry.key), verdict=Answer.PROVED, message=message, method="lookup")


def _job(question: Question, entry: Entry, job: Job, at: Path, disruptions: int) -> Verdict:
    if job.spec.suspend or job.spec.parallelism == 0:
        return _idle(entry, "it is suspended, or may run no pod at a time, so nobody asks it to end")
    late = _too_long(entry, job, at)
    if late is not None:
        return late
    policy = job.spec.success_policy
    if policy is not None and (job.spec.completions or 0) > jobs.MOST:
        message = f"a success policy over more than {jobs.MOST} completions is not explored"
        return Verdict(
            property=COMPLETES, subject=str(entry.key), verdict=Answer.UNKNOWN, message=message, method="lookup"
        )
    model = jobs.Jobs(job, disruptions, int(question.system.version.split(".")[1]))
    graph = explore.explore(model, question.budget, max_states=question.max_states // 10)
    is_run = isinstance(entry.typed, CronJob)
    cut = (job.spec.completions or 1) > jobs.COMPLETIONS or (job.spec.parallelism or 1) > jobs.PARALLEL
    assumptions = (
        "job/succeeds",
        "job/back-offs",
        "job/next-run" if is_run else f"job/disruptions={disruptions}",
        *(("job/alike",) if cut and policy is None else ()),
    )
    base = Verdict(
        property=COMPLETES,
        subject=str(entry.key),
        verdict=Answer.PROVED,
        message="",
        method="exploration",
        covered=Covered(len(graph.edges), graph.transitions),
        assumptions=assumptions,
    )
    if not graph.complete:
        message = f"the budget ({graph.spent}) ran out; nothing was found in {len(graph.edges)} states"
        return msgspec.structs.replace(base, verdict=Answer.UNKNOWN, message=message)
    endless = explore.misses(graph, lambda moment: moment.ended == "Complete")
    if endless is not None:
        moments = [graph.states[number] for number in graph.trace(endless.entry)]
        last = moments[-1]
        hit = last.disruptions < disruptions
        how = f"the Job fails ({last.reason})" if last.ended else "the Job never ends"
        what = f"when one of its pods is evicted (a drain, a scale-down) {how}" if hit else how
        return msgspec.structs.replace(
            base,
            verdict=Answer.REFUTED,
            message=what,
            places=tuple(entry.place(*path) for path in _paths(entry, job, at)),
            trace=_steps(entry, moments),
        )
    after = sum(moment.ended == "Complete" and moment.disruptions < disruptions for moment in graph.states)
    if disruptions and not after:
        message = "no run was found that completes after an eviction"
        return msgspec.structs.replace(base, verdict=Answer.UNKNOWN, message=message)
    many = "one of its pods is" if disruptions == 1 else f"{disruptions} of its pods are"
    often = f", also when {many} evicted at any moment" if disruptions else ""
    return msgspec.structs.replace(base, message=f"it completes{often}")


def _paths(entry: Entry, job: Job, at: Path) -> Iterator[Path]:
    """What decides of a failed pod: the limit, and the policy (or where one could stand)."""
    limit: Path = (*at, "backoffLimit")
    per_index: Path = (*at, "backoffLimitPerIndex")
    yield per_index if per_index in entry.positions else limit
    if job.spec.pod_failure_policy is not None:
        yield (*at, "podFailurePolicy")


def _steps(entry: Entry, moments: list[jobs.Moment]) -> tuple[Step, ...]:
    steps = [Step("User", f"applies {entry.key}")]
    for moment in moments[1:]:
        if not moment.happened:
            continue
        actor = "Job controller" if moment.happened.startswith(("creates", "deletes", "says")) else "Node"
        actor = "User" if moment.happened.startswith("evicts") else actor
        steps.append(Step(actor, moment.happened))
    return tuple(steps)


def _too_long(entry: Entry, job: Job, at: Path) -> Verdict | None:
    """Whether commands sleep longer than a deadline leaves, one pod after the other."""
    for index, container in enumerate(job.spec.template.spec.containers):
        slept = startuptime.slept(container, whole=True)
        if slept is None:
            continue
        seconds, path = slept
        where = (*at, "template", "spec", "containers", index, *path)
        parallel = job.spec.parallelism or 1
        rounds = math.ceil((job.spec.completions or parallel) / parallel)
        of_job, of_pod = job.spec.active_deadline_seconds, job.spec.template.spec.active_deadline_seconds
        if of_job is not None and rounds * seconds >= of_job:
            message = f"its pods sleep for {rounds * seconds} s one after the other, and after {of_job} s it is ended"
            return _lookup(entry, message, ((*at, "activeDeadlineSeconds"), where))
        if of_pod is not None and seconds >= of_pod:
            message = f"container {container.name} sleeps for {seconds} s, and after {of_pod} s its pod is ended"
            return _lookup(entry, message, ((*at, "template", "spec", "activeDeadlineSeconds"), where))
    return None
