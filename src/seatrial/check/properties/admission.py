"""`admission/possible`: what the system asks of the API is let in, also again: pods are created anew, objects go.

Asked are: webhooks that have to admit their own pods, or each other's (`admissions`); webhooks that fail open and are
given up on too late; pods that the Pod Security level of their namespace, or a quota that wants sizes said, refuses
whenever they are created; finalizers that no account may take off (`finalizers`). What decides is asked in `control`:
rules and selectors of webhooks, Pod Security, quotas and LimitRanges, roles.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

import msgspec

from seatrial.check.model.pool import NOW
from seatrial.check.properties import Property, Question
from seatrial.check.reading import admissions, finalizers
from seatrial.check.reading.admissions import Blocked, Webhook
from seatrial.check.reading.templates import Template, templates
from seatrial.check.system import Place, System
from seatrial.check.verdicts import Answer, Step, Verdict
from seatrial.control import admission, limitranges, podsecurity, quota, webhooks
from seatrial.kube.objects import (
    ClusterRole,
    JsonObject,
    LimitRange,
    Object,
    Pod,
    ResourceQuota,
    Role,
    parse_as,
    to_wire,
)
from seatrial.kube.quantities import Quantity

POSSIBLE: Final = "admission/possible"
PROPERTIES = (
    Property(
        name=POSSIBLE,
        asks="is everything that the system needs let in by the API, also after all pods of a webhook were lost?",
        formally="from the cluster with its configuration and no pod every fair run satisfies F (each pod is admitted),"
        " and no deletion waits for a finalizer that no account may take off",
        premise="the system has an object that makes pods, a webhook or a finalizer",
        sometimes="there is a pod to be admitted, or an object to be let go",
    ),
)
ASSUMPTIONS = {
    "webhooks/outside": "webhooks outside the input, and those with matchConditions, answer and admit",
    "webhooks/lost": "at some time all pods of a webhook are gone at once: a power failure, an upgrade of all nodes",
    "webhooks/slow": "at some time webhooks do not answer, and each is waited for until its timeout",
    "finalizers/own": "a finalizer is taken off by a controller that works on the kind, if the input has one",
}


def check(question: Question, wanted: frozenset[str]) -> list[Verdict]:
    system = question.system
    pods = templates(system)
    hooks = admissions.webhooks_of(system)
    has_finalizers = any((entry.admitted.get("metadata") or {}).get("finalizers") for entry in system.entries)
    if POSSIBLE not in wanted or not (pods or hooks or has_finalizers):
        return []
    minor = int(system.version.split(".")[1])
    found = [
        *_deadlocks(system, hooks, pods),
        *_too_slow(system, hooks, pods),
        *_refused(system, pods, minor),
        *_held(system),
    ]
    if found:
        return found
    return [
        Verdict(
            property=POSSIBLE,
            subject="system",
            verdict=Answer.PROVED,
            message=f"the pods of {len(pods)} template{'s' * (len(pods) != 1)} are let in whenever they are created",
            method="fixed point",
            assumptions=(
                *(("webhooks/outside", "webhooks/lost", "webhooks/slow") if hooks else ()),
                *(("finalizers/own",) if has_finalizers else ()),
            ),
        )
    ]


# --- webhooks ---


def _deadlocks(system: System, hooks: Sequence[Webhook], pods: tuple[Template, ...]) -> Iterator[Verdict]:
    # What a CEL expression exempts is not known here: such a webhook is taken to admit.
    known = [hook for hook in hooks if not hook.raw.get("matchConditions")]
    stuck = admissions.stuck(system, known, pods)
    by_template = {id(each.template): each for each in stuck}
    told: set[int] = set()
    for each in stuck:
        circle = _circle(each, by_template)
        if id(each) in told or (circle is None and each.backers):
            continue
        members = [each] if circle is None else circle
        if told.intersection(map(id, members)):
            continue
        told.update(map(id, members))
        yield _deadlock(members, circle is not None)


def _circle(start: Blocked, by_template: dict[int, Blocked]) -> list[Blocked] | None:
    """The way from a blocked template over the pods that would have to answer, back to it; None if there is none."""
    path: list[Blocked] = []
    seen: set[int] = set()
    work = [(start, [start])]
    while work:
        here, path = work.pop()
        for backer in here.backers:
            following = by_template.get(id(backer))
            if following is start:
                return path
            if following is not None and id(following) not in seen:
                seen.add(id(following))
                work.append((following, [*path, following]))
    return None


def _deadlock(members: Sequence[Blocked], is_circle: bool) -> Verdict:
    first = members[0]
    what = "its own pods" if len(members) == 1 else "each other's pods"
    names = " and ".join(dict.fromkeys(each.webhook.name for each in members))
    if is_circle:
        who = f"webhook {names} has" if len(members) == 1 else f"webhooks {names} have"
        message = f"once all pods behind it are lost none comes back: {who} to admit {what}, and fails closed"
        if len(members) > 1:
            message = f"once the pods behind them are lost none comes back: {who} to admit {what}, and fail closed"
    else:
        message = (
            f"no pod of {first.template.key} is ever let in: webhook {names} fails closed, and no pod stands behind its"
            f" Service {'/'.join(first.webhook.service or ())}"
        )
    places: list[Place] = []
    for each in members:
        hook = each.webhook
        for field in ("rules", "failurePolicy", "namespaceSelector", "objectSelector"):
            if hook.path(field) in hook.entry.positions:
                places.append(hook.entry.place(*hook.path(field)))
    return Verdict(
        property=POSSIBLE,
        subject=str(first.webhook.entry.key),
        verdict=Answer.REFUTED,
        message=message,
        places=tuple(dict.fromkeys(places)),
        trace=tuple(_lost(members, is_circle)),
        method="fixed point",
        assumptions=("webhooks/outside", *(("webhooks/lost",) if is_circle else ())),
    )


def _lost(members: Sequence[Blocked], is_circle: bool) -> Iterator[Step]:
    names = " and ".join(str(each.template.key) for each in members)
    yield Step("User", f"applies {' and '.join(dict.fromkeys(str(each.webhook.entry.key) for each in members))}")
    if is_circle:
        yield Step("Nobody", f"runs the pods of {names} any more: their nodes have lost power")
    for each in members:
        service = "/".join(reversed(each.webhook.service or ()))
        yield Step(
            _actor(each),
            f"asks for {each.request} for {each.template.key}: failed calling webhook {each.webhook.name!r}:"
            f" no endpoints available for service {service.partition('/')[0]!r}",
        )
    yield Step("Nobody", "can do anything more")


def _actor(blocked: Blocked) -> str:
    kind, resource = blocked.template.key.kind, blocked.request.resource
    if resource == "pods" and not blocked.request.subresource:
        return "ReplicaSet controller" if kind == "Deployment" else "User" if kind == "Pod" else f"{kind} controller"
    if resource == "pods":
        return "Scheduler" if blocked.request.subresource == "binding" else "Node"
    return "EndpointSlice controller" if resource == "endpointslices" else f"{kind} controller"


def _too_slow(system: System, hooks: Sequence[Webhook], pods: tuple[Template, ...]) -> Iterator[Verdict]:
    found = admissions.unpatient(system, hooks, pods)
    if found is None:
        return
    request, asked, total = found
    names = ", ".join(hook.name for hook in asked)
    yield Verdict(
        property=POSSIBLE,
        subject=str(asked[0].entry.key),
        verdict=Answer.REFUTED,
        message=f"when webhooks do not answer {request} is refused although they fail open: {names} are waited for"
        f" {total} s one after the other, and the API gives up after {webhooks.REQUEST_TIMEOUT_S} s",
        places=tuple(hook.entry.place(*hook.path("timeoutSeconds")) for hook in asked),
        method="lookup",
        assumptions=("webhooks/slow",),
    )


# --- pods that are refused ---


def _refused(system: System, pods: tuple[Template, ...], minor: int) -> Iterator[Verdict]:
    for template in pods:
        entry = system.get("Namespace", "", template.namespace)
        level = podsecurity.enforced(admissions.namespace_labels(system, template.namespace), minor)
        found = podsecurity.violations(level, template.spec, template.annotations)
        if found:
            fields = [template.entry.place(*template.path, *where) for each in found for where in each.where]
            if entry is not None:
                fields.append(entry.place("metadata", "labels", podsecurity.ENFORCE))
            told = podsecurity.refusal(level, template.spec, template.annotations)
            yield _refusal(template, told, fields)
        unsized = _beyond_quota(system, template)
        if unsized is not None:
            yield unsized


def _refusal(template: Template, told: str, fields: Sequence[Place]) -> Verdict:
    controller = "ReplicaSet" if template.key.kind == "Deployment" else template.key.kind
    actor = "User" if template.key.kind == "Pod" else f"{controller} controller"
    return Verdict(
        property=POSSIBLE,
        subject=str(template.key),
        verdict=Answer.REFUTED,
        message=f"no pod of it can be created, and none that is lost comes back: {told}",
        places=tuple(dict.fromkeys(fields)),
        trace=(
            Step("User", f"applies {template.key}, or a pod of it is lost"),
            Step(actor, f"asks for a new pod: forbidden: {told}"),
            Step("Nobody", "can do anything more"),
        ),
        method="lookup",
    )


def _beyond_quota(system: System, template: Template) -> Verdict | None:
    """Whether a quota of the namespace refuses the very first pod: it wants sizes said, or is smaller than one pod."""
    entries = [e for e in system.of("ResourceQuota") if e.key.namespace == template.namespace]
    if not entries:
        return None
    pod = _admitted(system, template)
    for entry in entries:
        typed = entry.typed
        if not isinstance(typed, ResourceQuota):
            continue
        status = type(typed.status)(hard=typed.spec.hard, used=dict.fromkeys(typed.spec.hard, Quantity.parse(0)))
        try:
            quota.charge((msgspec.structs.replace(typed, status=status),), pod, None, NOW)
        except quota.QuotaError as error:
            fields = [template.entry.place(*where, "resources") for where, _, _ in template.containers()]
            return _refusal(template, str(error), [*fields, entry.place("spec", "hard")])
    return None


def _admitted(system: System, template: Template) -> Pod:
    """A pod of the template as the API makes it: with defaults, and what LimitRanges give."""
    meta = msgspec.structs.replace(
        Pod().metadata,
        name="pod",
        namespace=template.namespace,
        labels=template.labels,
        annotations=template.annotations,
    )
    raw: JsonObject = to_wire(Pod(metadata=meta, spec=template.spec))
    ranges = [each for each in system.all(LimitRange) if each.metadata.namespace == template.namespace]
    given: Any = limitranges.defaulted(admission.admit(raw, version=system.version), ranges)
    return parse_as(Pod, given)


# --- objects that never go ---


def _held(system: System) -> Iterator[Verdict]:
    for each in finalizers.held(system):
        entry = each.entry
        what = f"{each.resource}.{each.group}" if each.group else each.resource
        roles = [other.place("rules") for other in system.entries if _speaks_of(other.typed, each.group, each.resource)]
        yield Verdict(
            property=POSSIBLE,
            subject=str(entry.key),
            verdict=Answer.REFUTED,
            message=f"once deleted it never goes: nobody may take off its finalizer {each.finalizer}:"
            f" {each.account} works on {what}, but may neither patch nor update them",
            places=(entry.place("metadata", "finalizers", each.index), *roles),
            trace=(
                Step("User", f"deletes {entry.key}"),
                Step(each.account, f"takes off {each.finalizer}: forbidden: cannot patch resource {each.resource!r}"),
                Step("Nobody", "can do anything more: the object, and its namespace, stay Terminating"),
            ),
            method="lookup",
            assumptions=("finalizers/own",),
        )


def _speaks_of(role: Object | None, group: str, resource: str) -> bool:
    return isinstance(role, ClusterRole | Role) and any(
        {group, "*"}.intersection(rule.api_groups)
        and any(name.partition("/")[0] in (resource, "*") for name in rule.resources)
        for rule in role.rules
    )
