"""`quota/leaves-room`: the quotas of a namespace let its objects in, as many pods as are asked for, and every rollout.

The objects are created in the order of the files, each workload with as many pods as it asks for, or as an autoscaler
may ask for. A rollout that must not take a pod away (maxUnavailable 0) needs room for one pod more: one workload after
the other, for rollouts need not come together.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from seatrial.check import machines
from seatrial.check.edits import Change, Changes
from seatrial.check.model.pool import NOW
from seatrial.check.properties import Property, Question
from seatrial.check.runs import quotas
from seatrial.check.system import Entry, Path
from seatrial.check.verdicts import Answer, Covered, Verdict
from seatrial.control import quota
from seatrial.kube.objects import DaemonSet, Deployment, ResourceQuota
from seatrial.kube.quantities import Quantity

NAME = "quota/leaves-room"
MOST: int = 5_000
"""Objects of a namespace that are charged one by one; beyond that it is not decided."""
PROPERTIES = (
    Property(
        name=NAME,
        asks="do the quotas let in every object, the pods that are asked for, and what a rollout needs beside them?",
        formally=(
            "charging the objects and pods(w, r), r = max(replicas, maxReplicas), of every workload w on the quotas "
            "of a namespace succeeds, and then, for each w with maxUnavailable = 0 alone, one pod more"
        ),
        premise="a namespace of the system has a ResourceQuota",
        sometimes="something is charged",
    ),
)
ASSUMPTIONS: Mapping[str, str] = {
    "quota/rollouts-apart": "rollouts of different workloads do not come together",
    "order/as-written": "objects are created in the order of the files",
}


def check(question: Question, _wanted: frozenset[str]) -> list[Verdict]:
    namespaces = dict.fromkeys(each.metadata.namespace for each in question.system.all(ResourceQuota))
    return [verdict for namespace in namespaces for verdict in _namespace(question, namespace)]


def _namespace(question: Question, namespace: str) -> Iterator[Verdict]:
    subject = f"Namespace {namespace}"
    account = quotas.Account(question.system, namespace)
    charged = 0
    found = []
    for entry, count in _asked(question, namespace):
        for index in range(count):
            charged += 1
            if charged > MOST:
                message = f"it asks for more than {MOST} objects, which are not all charged"
                yield _verdict(subject, Answer.UNKNOWN, message, charged)
                return
            why = _refusal(account, entry, count > 1 or _is_workload(entry))
            if why:
                found.append(
                    _verdict(str(entry.key), Answer.REFUTED, _words(entry, index, why), charged, entry, question)
                )
                break
    for entry, count in _asked(question, namespace):
        if not found and count and _needs_surge(entry, question):
            why = _refusal(account.copy(), entry, True)
            if why:
                message = f"no rollout of it can begin, for no pod may be taken away and one more is refused: {why}"
                found.append(_verdict(str(entry.key), Answer.REFUTED, message, charged, entry, question))
    yield from found
    if not found:
        message = f"its quotas let in all {charged} objects and pods, and those that a rollout needs beside them"
        yield _verdict(subject, Answer.PROVED, message, charged)


def _asked(question: Question, namespace: str) -> Iterator[tuple[Entry, int]]:
    """The objects of the namespace; of a workload how many pods are asked for."""
    most = machines.autoscalers(question.system)
    for entry in question.system.entries:
        item = entry.typed
        if item is None or item.metadata.namespace != namespace:
            continue
        if isinstance(item, DaemonSet):
            yield entry, len(machines.daemons_of(item, question.nodes))
        elif isinstance(item, machines.WORKLOADS):
            autoscaler = most.get(item.key)
            count = machines.replicas(item)
            yield entry, max(count, autoscaler.spec.max_replicas) if autoscaler and count else count
        else:
            yield entry, 1


def _is_workload(entry: Entry) -> bool:
    return isinstance(entry.typed, machines.WORKLOADS)


def _refusal(account: quotas.Account, entry: Entry, is_pod: bool) -> str:
    item = entry.typed
    assert item is not None
    if not is_pod or not isinstance(item, machines.WORKLOADS):
        return account.charge(item)
    for made in (quotas.pod_of(item), *quotas.claims_of(item)):
        if why := account.charge(made):
            return why
    return ""


def _words(entry: Entry, index: int, why: str) -> str:
    if not _is_workload(entry):
        return f"it is refused: {why}"
    return f"its pod {index + 1} is refused: {why}"


def _needs_surge(entry: Entry, question: Question) -> bool:
    item = entry.typed
    if isinstance(item, Deployment):
        return item.spec.strategy.type != "Recreate" and not machines.resolved_unavailable(
            item, machines.replicas(item)
        )
    if isinstance(item, DaemonSet) and item.spec.update_strategy.type != "OnDelete":
        return not machines.resolved_unavailable(item, len(machines.daemons_of(item, question.nodes)))
    return False


def _verdict(
    subject: str,
    answer: Answer,
    message: str,
    charged: int,
    entry: Entry | None = None,
    question: Question | None = None,
) -> Verdict:
    places = []
    if entry is not None and question is not None:
        at: Path = ("spec", "replicas") if _is_workload(entry) and not isinstance(entry.typed, DaemonSet) else ()
        places.append(entry.place(*at))
        places += [each.place("spec", "hard") for each in _quotas(question, entry)]
    return Verdict(
        property=NAME,
        subject=subject,
        verdict=answer,
        message=message,
        places=tuple(places),
        method="simulation",
        covered=Covered(states=charged, transitions=charged),
        assumptions=tuple(ASSUMPTIONS),
    )


def _quotas(question: Question, entry: Entry) -> list[Entry]:
    namespace = entry.key.namespace
    return [each for each in question.system.of("ResourceQuota") if each.key.namespace == namespace]


def candidates(question: Question, verdict: Verdict) -> Iterator[Changes]:
    """A quota raised by what one more pod uses; a rollout that may take a pod away."""
    entry = next(each for each in question.system.entries if str(each.key) == verdict.subject)
    item = entry.typed
    if isinstance(item, Deployment) and item.spec.strategy.rolling_update is not None:
        yield (Change(entry, ("spec", "strategy", "rollingUpdate", "maxUnavailable"), 1),)
    if isinstance(item, machines.WORKLOADS):
        uses = quota.usage(quotas.sized(quotas.pod_of(item), quotas.ranges(question.system, entry.key.namespace)), NOW)
        for each in _quotas(question, entry):
            assert isinstance(each.typed, ResourceQuota)
            hard = each.typed.spec.hard
            raised = {name: hard[name] + size for name, size in uses.items() if name in hard}
            yield tuple(Change(each, ("spec", "hard", name), _written(size)) for name, size in sorted(raised.items()))


def _written(size: Quantity) -> str:
    return str(size)
