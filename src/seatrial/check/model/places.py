"""Pods that hide where they are, to find out whether a decision depends on it.

A decision that is given such pods and does not raise `Looked` has not read a pod's `spec.nodeName`, nor compared,
hashed or encoded the spec that holds it. It is then the same wherever these pods are: seen by running it, not assumed.
"""

from __future__ import annotations

from typing import Any, Final, NoReturn, cast

import msgspec

from seatrial.kube.objects import Object, Pod, PodSpec


class Looked(Exception):  # noqa: N818  an answer, not a fault
    """Somebody asks where a pod is."""


class UnplacedSpec(PodSpec, frozen=True):
    """The spec of a pod whose node is not told."""

    @property  # type: ignore[misc]  # that it is no attribute is the point
    def node_name(self) -> NoReturn:
        raise Looked

    def __eq__(self, other: object) -> NoReturn:
        raise Looked

    def __hash__(self) -> NoReturn:
        raise Looked


_UNKNOWN: Final = cast("str", object())
"""Stands in the field that must not be read: it cannot be encoded, and a copy of the spec keeps it."""


def unplaced(pod: Pod) -> Pod:
    fields: dict[str, Any] = {name: getattr(pod.spec, name) for name in PodSpec.__struct_fields__}
    return msgspec.structs.replace(pod, spec=UnplacedSpec(**{**fields, "node_name": _UNKNOWN}))


def without_place(item: Object) -> Object:
    """The object as it is told apart from others when places are hidden."""
    if not isinstance(item, Pod):
        return item
    return msgspec.structs.replace(item, spec=msgspec.structs.replace(item.spec, node_name=""))
