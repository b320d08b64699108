"""What is scaled: the `scale` subresource of a workload, as an autoscaler sees it.

Upstream asks discovery and the scale subresource; here the kinds that have one are known, and custom kinds say by their
definitions. The errors are those of that way: an unknown kind, one that cannot be scaled, an object that is not there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from msgspec.structs import replace

from seatrial.control.controller import Seen
from seatrial.control.kinds import served
from seatrial.kube import selectors
from seatrial.kube.objects import (
    KINDS,
    CustomResource,
    CustomResourceDefinition,
    Deployment,
    HorizontalPodAutoscaler,
    LabelSelector,
    Object,
    ReplicaSet,
    ReplicationController,
    StatefulSet,
)
from seatrial.kube.objects.autoscaling import CrossVersionObjectReference
from seatrial.kube.objects.custom import CustomScale

_Native = Deployment | ReplicaSet | ReplicationController | StatefulSet
Workload = _Native | CustomResource
SCALABLE: Final[tuple[type[_Native], ...]] = (Deployment, ReplicaSet, ReplicationController, StatefulSet)


class NoScaleError(Exception):
    """The target's scale cannot be read; the message is upstream's."""


@dataclass(frozen=True, slots=True)
class Target:
    """`replicas` is what is asked for, `status_replicas` what there is."""

    workload: Workload

    @property
    def replicas(self) -> int:
        if isinstance(self.workload, CustomResource):
            return self._scale.replicas or 0
        wanted = self.workload.spec.replicas
        return 1 if wanted is None else wanted

    @property
    def status_replicas(self) -> int:
        if isinstance(self.workload, CustomResource):
            return self._scale.status_replicas
        return self.workload.status.replicas

    @property
    def selector(self) -> str:
        """The label query of the scale; empty without one."""
        if isinstance(self.workload, CustomResource):
            return self._scale.selector
        chosen = self.workload.spec.selector
        if chosen is not None and not isinstance(chosen, LabelSelector):
            chosen = LabelSelector(match_labels=chosen)
        return selector_text(chosen)

    def selects(self, labels: Mapping[str, str]) -> bool:
        """Whether pods with these labels are the target's; a query that cannot be read selects nothing."""
        if isinstance(self.workload, CustomResource):
            try:
                return bool(self.selector) and selectors.parse(self.selector).matches(labels)
            except ValueError:
                return False
        chosen = self.workload.spec.selector
        if chosen is not None and not isinstance(chosen, LabelSelector):
            chosen = LabelSelector(match_labels=chosen)
        return selectors.matches(chosen, labels)

    @property
    def _scale(self) -> CustomScale:
        assert isinstance(self.workload, CustomResource)
        assert self.workload.scale is not None, "found by its scale"
        return self.workload.scale

    def scaled(self, replicas: int) -> Workload:
        if isinstance(self.workload, CustomResource):
            return replace(self.workload, scale=replace(self._scale, replicas=replicas))
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
    for (api_version, named), resource in served(seen.all(CustomResourceDefinition)).items():
        if (api_version.partition("/")[0], named) == (group, wanted.kind):
            return Target(_custom(seen, autoscaler, resource))
    raise NoScaleError(f'no matches for kind "{wanted.kind}" in group "{group}"')


def _custom(seen: Seen, autoscaler: HorizontalPodAutoscaler, resource: str) -> CustomResource:
    meta, name = autoscaler.metadata, autoscaler.spec.scale_target_ref.name
    for each in seen.all(CustomResource):
        there = each.metadata
        if (each.resource, there.namespace, there.name) == (resource, meta.namespace, name):
            if each.scale is None:
                raise NoScaleError("the server could not find the requested resource")
            if each.scale.replicas is None:
                path = "." + ".".join(each.scale.path)
                raise NoScaleError(f'Internal error occurred: the spec replicas field "{path}" does not exist')
            return each
    raise NoScaleError(f'{resource} "{name}" not found')


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
