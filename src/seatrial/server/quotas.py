"""Quotas at the door: `control.quota` decides whether an object still fits, and its quotas count it at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from seatrial.control import quota
from seatrial.control.quota import QuotaError
from seatrial.kube.objects import JsonObject, Object, ResourceQuota, parse, parse_as, to_wire
from seatrial.kube.schemas import Resource
from seatrial.server import errors
from seatrial.server.resources import storage_key

if TYPE_CHECKING:
    from seatrial.server.api import Api


def charge(api: Api, resource: Resource, raw: JsonObject, before: JsonObject | None, *, dry_run: bool = False) -> None:
    """Count a new or changed object on the quotas of its namespace. Raises `StatusError` (403) when it is too much."""
    namespace, name = raw["metadata"].get("namespace", ""), raw["metadata"]["name"]
    quotas = api.kind("v1", "ResourceQuota")
    stored = api.store.all(storage_key(quotas)).values() if namespace else ()
    there = [each.raw for each in stored if each.raw["metadata"]["namespace"] == namespace]
    obj = _typed(api, raw) if there else None
    if obj is None:
        return
    views = [parse_as(ResourceQuota, each) for each in there]
    try:
        charged = quota.charge(views, obj, None if before is None else _typed(api, before), api.now())
    except QuotaError as error:
        raise errors.forbidden(resource.plural, resource.group, name, str(error)) from error
    for each in charged if not dry_run else ():
        meta = each.before.metadata
        api.patch(quotas, namespace, meta.name, {"status": to_wire(each.after)["status"]}, subresource="status")


def _typed(api: Api, raw: JsonObject) -> Object | None:
    try:
        return parse(raw) or api.custom.view(raw)
    except msgspec.ValidationError:
        return None
