"""What the API does with priority classes: a new pod gets the priority of its class (the Priority admission plug-in),
the two classes of the system exist always, and there is one default at most.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from seatrial.control import priorities
from seatrial.kube.objects import JsonObject, PriorityClass, parse_as
from seatrial.server import errors
from seatrial.server.resources import storage_key
from seatrial.server.store import Stored

if TYPE_CHECKING:
    from seatrial.server.api import Api

SYSTEM_CLASSES: Final[tuple[JsonObject, ...]] = (
    {
        "metadata": {"name": "system-node-critical"},
        "value": priorities.SYSTEM["system-node-critical"],
        "description": "Used for system critical pods that must not be moved from their current node.",
    },
    {
        "metadata": {"name": "system-cluster-critical"},
        "value": priorities.SYSTEM["system-cluster-critical"],
        "description": "Used for system critical pods that must run in the cluster, but can be moved to another node "
        "if necessary.",
    },
)
SYSTEM_NAMES: Final = frozenset(each["metadata"]["name"] for each in SYSTEM_CLASSES)


def resolve(api: Api, pod: JsonObject) -> JsonObject:
    """A new pod with the priority of its class or of the default one. Raises `StatusError` (403)."""
    spec = pod.get("spec") or {}
    wanted, name = spec.get("priorityClassName") or "", pod["metadata"].get("name", "")
    stored = api.store.get(_place(api), "", wanted) if wanted else _default(api)
    if wanted and stored is None:
        raise errors.forbidden("pods", "", name, f"no PriorityClass with name {wanted} was found")
    found = None if stored is None else parse_as(PriorityClass, stored.raw)
    value, policy = priorities.of(found)
    for field, title, ours in (
        ("priority", "integer value of priority", value),
        ("preemptionPolicy", "string value of PreemptionPolicy", policy),
    ):
        if spec.get(field, ours) not in (ours, None):
            why = (
                f"the {title} ({spec[field]}) must not be provided in pod spec; priority admission controller "
                f"computed {ours} from the given PriorityClass name"
            )
            raise errors.forbidden("pods", "", name, why)
    resolved = {**spec, "priority": value, "preemptionPolicy": policy}
    if found is not None:
        resolved["priorityClassName"] = found.metadata.name
    return {**pod, "spec": resolved}


def check(api: Api, raw: JsonObject, *, new: bool) -> None:
    """Raises `StatusError` (403) for a second default class."""
    name = raw["metadata"].get("name", "")
    default = _default(api) if raw.get("globalDefault") is True else None
    taken = "" if default is None else default.raw["metadata"]["name"]
    if taken and (new or taken != name):
        why = f"PriorityClass {taken} is already marked as default. Only one default can exist"
        raise errors.forbidden("priorityclasses", "scheduling.k8s.io", name, why)


def _place(api: Api) -> str:
    return storage_key(api.kind(PriorityClass.api_version, PriorityClass.kind))


def _default(api: Api) -> Stored | None:
    """The default class of the least value. Every new pod asks, so that nothing is parsed for it."""
    defaults = (each for each in api.store.all(_place(api)).values() if each.raw.get("globalDefault") is True)
    return min(defaults, key=lambda each: int(each.raw.get("value", 0)), default=None)
