"""Whom the API asks before it takes a write, and who has to be there to answer: a graph, and what can start in it.

A pod needs some requests to get ready (`needed`): its own creation, its binding, its status, and what its workload and
its Services need. A webhook that fails closed and covers one of them has to answer, so a pod behind it has to be ready
before. What can start at all is the least fixed point of that, from a cluster in which the configuration is there and
no pod is: the empty one, and every cluster after it has lost all pods of the webhook at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from seatrial.check.reading.templates import Template, behind
from seatrial.check.system import Entry, Path, System
from seatrial.control import webhooks
from seatrial.control.webhooks import Request
from seatrial.kube.objects import JsonObject

CONFIGURATIONS: Final = ("MutatingWebhookConfiguration", "ValidatingWebhookConfiguration")
NAME_LABEL: Final = "kubernetes.io/metadata.name"
_MADE: Final[Mapping[str, tuple[tuple[str, str, str], ...]]] = {
    "Deployment": (("apps", "v1", "replicasets"),),
    "StatefulSet": (("apps", "v1", "controllerrevisions"),),
    "DaemonSet": (("apps", "v1", "controllerrevisions"),),
    "CronJob": (("batch", "v1", "jobs"),),
}
"""What a workload's controller creates beside pods."""


@dataclass(frozen=True, slots=True, eq=False)
class Webhook:
    entry: Entry
    index: int
    raw: JsonObject
    service: tuple[str, str] | None
    """The namespace and name of its Service; None for a URL."""

    @property
    def name(self) -> str:
        return str(self.raw.get("name", self.index))

    @property
    def mutates(self) -> bool:
        return self.entry.key.kind == CONFIGURATIONS[0]

    def path(self, *field: str) -> Path:
        return ("webhooks", self.index, *field)


@dataclass(frozen=True, slots=True, eq=False)
class Blocked:
    """A request that a template's pods need, and the webhook that nobody answers."""

    template: Template
    request: Request
    webhook: Webhook
    backers: tuple[Template, ...]


def webhooks_of(system: System) -> tuple[Webhook, ...]:
    found = []
    for entry in system.entries:
        if entry.key.kind not in CONFIGURATIONS:
            continue
        listed = entry.admitted.get("webhooks")
        for index, raw in enumerate(listed if isinstance(listed, list) else ()):
            if not isinstance(raw, dict):
                continue
            client = raw.get("clientConfig")
            service = client.get("service") if isinstance(client, dict) else None
            place = (
                (str(service.get("namespace", "")), str(service.get("name", ""))) if isinstance(service, dict) else None
            )
            found.append(Webhook(entry, index, raw, place))
    return tuple(found)


def namespace_labels(system: System, namespace: str) -> dict[str, str]:
    """The labels of a namespace, with the one that every namespace has."""
    entry = system.get("Namespace", "", namespace)
    labels = (entry.admitted.get("metadata") or {}).get("labels") if entry is not None else None
    return {**(labels if isinstance(labels, dict) else {}), NAME_LABEL: namespace}


def needed(system: System, template: Template) -> Iterator[Request]:
    """The requests without which a pod of the template does not get ready, or is not found by its Services."""
    own = namespace_labels(system, template.namespace)
    labels = dict(template.labels)
    for group, version, resource in _MADE.get(template.key.kind, ()):
        yield Request("CREATE", group, version, resource, "", labels, own)
    yield Request("CREATE", "", "v1", "pods", "", labels, own)
    yield Request("CREATE", "", "v1", "pods", "binding", {}, own)
    yield Request("UPDATE", "", "v1", "pods", "status", labels, own)
    yield Request("CREATE", "discovery.k8s.io", "v1", "endpointslices", "", {}, own)


def stuck(system: System, hooks: Sequence[Webhook], pods: tuple[Template, ...]) -> tuple[Blocked, ...]:
    """What never starts, each with the first request of it that is refused for ever."""
    closed = [hook for hook in hooks if hook.service is not None and webhooks.fails_closed(hook.raw)]
    backing = {id(hook): _backers(system, hook, pods) for hook in closed}
    waits: dict[int, list[Blocked]] = {}
    for number, template in enumerate(pods):
        for request in needed(system, template):
            for hook in closed:
                behind_it = backing[id(hook)]
                if behind_it is not None and webhooks.covers(hook.raw, request):
                    waits.setdefault(number, []).append(Blocked(template, request, hook, behind_it))
    up = set(range(len(pods))) - waits.keys()
    while True:
        ups = {id(pods[number]) for number in up}
        more = {n for n in waits.keys() - up if all(any(id(b) in ups for b in w.backers) for w in waits[n])}
        if not more:
            break
        up |= more
    ups = {id(pods[number]) for number in up}
    return tuple(
        next(each for each in waits[number] if not any(id(backer) in ups for backer in each.backers))
        for number in sorted(waits.keys() - up)
    )


def _backers(system: System, hook: Webhook, pods: tuple[Template, ...]) -> tuple[Template, ...] | None:
    """Who answers for a webhook; None if that is outside the input."""
    assert hook.service is not None
    service = system.get("Service", *hook.service)
    if service is None:
        return None
    if not (service.admitted.get("spec") or {}).get("selector"):
        return None
    return behind(service, pods)


def unpatient(
    system: System, hooks: Sequence[Webhook], pods: tuple[Template, ...]
) -> tuple[Request, tuple[Webhook, ...], int] | None:
    """A request whose webhooks, though they fail open, may take longer together than the API waits."""
    for template in pods:
        for request in needed(system, template):
            open_ones = [h for h in hooks if not webhooks.fails_closed(h.raw) and webhooks.covers(h.raw, request)]
            mutating = [hook for hook in open_ones if hook.mutates]
            validating = sorted((h for h in open_ones if not h.mutates), key=lambda h: -webhooks.timeout_s(h.raw))[:1]
            asked = (*mutating, *validating)  # those that validate are asked all at once
            total = sum(webhooks.timeout_s(hook.raw) for hook in asked)
            if total >= webhooks.REQUEST_TIMEOUT_S and len(asked) > 1:
                return request, asked, total
    return None
