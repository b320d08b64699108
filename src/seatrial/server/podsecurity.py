"""Pod Security at the door: `control.podsecurity` decides whether the labels of a namespace let a pod in."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from seatrial.control import podsecurity
from seatrial.kube.objects import JsonObject, Namespace, Pod, parse_as
from seatrial.kube.schemas import Resource
from seatrial.server import errors
from seatrial.server.resources import storage_key

if TYPE_CHECKING:
    from seatrial.server.api import Api


def check(api: Api, resource: Resource, raw: JsonObject) -> None:
    """Raises `StatusError` (403) for a pod that its namespace's level does not allow."""
    if resource.native != "Pod":
        return
    stored = api.store.get(storage_key(api.kind("v1", "Namespace")), "", raw["metadata"]["namespace"])
    labels = {} if stored is None else parse_as(Namespace, stored.raw).metadata.labels
    if podsecurity.ENFORCE not in labels:
        return
    try:
        pod = parse_as(Pod, raw)
    except msgspec.ValidationError:
        return
    why = podsecurity.refusal(podsecurity.enforced(labels, api.minor), pod.spec, pod.metadata.annotations)
    if why:
        raise errors.forbidden(resource.plural, resource.group, raw["metadata"]["name"], why)
