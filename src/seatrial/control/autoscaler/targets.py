"""What is scaled: the `scale` subresource of a workload, as an autoscaler sees it.

Upstream asks discovery and the scale subresource; here the kinds that have one are known. The errors are those of that
way: an unknown kind, a kind that cannot be scaled, an object that is not there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from msgspec.structs import replace

from seatrial.control.controller import Seen
from seatrial.kube import selectors
from seatrial.kube.objects import (
    KINDS,
    Deployment,
    HorizontalPodAutoscaler,
    LabelSelector,
    Object,
    ReplicaSet,
    ReplicationController,
    StatefulSet,
)
from seatrial.kube.objects.autoscaling import CrossVersionObjectReference

Workload = Deployment | ReplicaSet | ReplicationController | StatefulSet
SCALABLE: Final[tuple[type[Workload], ...]] = (Deployment, ReplicaSet, ReplicationController, StatefulSet)


class NoScaleError(Exception):
    """The target's scale cannot be read; the message is upstream's."""


@dataclass(frozen=True, slots=True)
class Target:
    """`replicas` is what is asked for, `status_replicas` what there is."""

    workload: Workload

    @property
    def replicas(self) -> int:
        wanted = self.workload.spec.replicas
        return 1 if wanted is None else wanted

    @property
    def status_replicas(self) -> int:
        return self.workload.status.replicas

    @property
    def selector(self) -> LabelSelector | None:
        chosen = self.workload.spec.selector
        return chosen if chosen is None or isinstance(chosen, LabelSelector) else LabelSelector(match_labels=chosen)

    def selects(self, labels: Mapping[str, str]) -> bool:
        return selectors.matches(self.selector, labels)

    def scaled(self, replicas: int) -> Workload:
        return replace(self.workload, spec=replace(self.workload.spec, replicas=replicas))


def find(seen: Seen, autoscaler: HorizontalPodAutoscaler) -> Target:
    """The target of `autoscaler`. Raises `NoScaleError`."""
    wanted = autoscaler.spec.scale_target_ref
    group = group_of(wanted)
    for kind in SCALABLE:
        if (_group(kind), kind.kind) == (group, wanted.kind):
            found = next((one for one in seen.all(kind) if one.metadata.name == wanted.name), None)
            if found is None or found.metadata.namespace != autoscaler.metadata.namespace:
                resource = resource_name(kind.kind, group)
                raise NoScaleError(f'{resource} "{wanted.name}" not found')
            return Target(found)
    if any((_group(kind), kind.kind) == (group, wanted.kind) for kind in KINDS.values()):
        raise NoScaleError("the server could not find the requested resource")
    raise NoScaleError(f'no matches for kind "{wanted.kind}" in group "{group}"')


def group_of(reference: CrossVersionObjectReference) -> str:
    """The API group: `apps` of `apps/v1`, empty of `v1`. Raises `NoScaleError` for what is no `apiVersion`."""
    if reference.api_version.count("/") > 1:
        raise NoScaleError(f"unexpected GroupVersion string: {reference.api_version}")
    group, slash, _ = reference.api_version.partition("/")
    return group if slash else ""


def resource_name(kind: str, group: str) -> str:
    """As in messages: `deployments.apps`. The plural is guessed from the kind, as upstream does."""
    singular = kind.lower()
    if singular.endswith("s"):
        plural = f"{singular}es"
    else:
        plural = f"{singular[:-1]}ies" if singular.endswith("y") else f"{singular}s"
    return f"{plural}.{group}" if group else plural


def selector_text(selector: LabelSelector | None) -> str:
    """The query string of a selector, requirements sorted by key; empty for none and for one that selects all."""
    if selector is None:
        return ""
    parts = [(key, f"{key}={value}") for key, value in selector.match_labels.items()]
    for item in selector.match_expressions:
        values = ",".join(sorted(item.values))
        words = {
            "In": f"{item.key} in ({values})",
            "NotIn": f"{item.key} notin ({values})",
            "Exists": item.key,
            "DoesNotExist": f"!{item.key}",
        }
        parts.append((item.key, words.get(item.operator, "")))
    return ",".join(text for _, text in sorted(parts, key=lambda part: part[0]))


def _group(kind: type[Object]) -> str:
    group, slash, _ = kind.api_version.partition("/")
    return group if slash else ""
