"""What the API does with priority classes: a new pod gets the priority of its class (the Priority admission plug-in),
the two classes of the system exist always, and there is one default at most.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from seatrial.kube.objects import JsonObject, PriorityClass, parse_as
from seatrial.server import errors
from seatrial.server.resources import storage_key

if TYPE_CHECKING:
    from seatrial.server.api import Api

SYSTEM_CLASSES: Final[tuple[JsonObject, ...]] = (
    {
        "metadata": {"name": "system-node-critical"},
        "value": 2_000_001_000,
        "description": "Used for system critical pods that must not be moved from their current node.",
    },
    {
        "metadata": {"name": "system-cluster-critical"},
        "value": 2_000_000_000,
        "description": "Used for system critical pods that must run in the cluster, but can be moved to another node "
        "if necessary.",
    },
)
SYSTEM_NAMES: Final = frozenset(each["metadata"]["name"] for each in SYSTEM_CLASSES)


def resolve(api: Api, pod: JsonObject) -> JsonObject:
    """A new pod with the priority of its class or of the default one. Raises `StatusError` (403)."""
    spec = pod.get("spec") or {}
    wanted, name = spec.get("priorityClassName") or "", pod["metadata"].get("name", "")
    classes = _classes(api)
    if wanted and wanted not in classes:
        raise errors.forbidden("pods", "", name, f"no PriorityClass with name {wanted} was found")
    found = classes[wanted] if wanted else _default(classes)
    value = found.value if found is not None else 0
    policy = (found.preemption_policy if found is not None else None) or "PreemptLowerPriority"
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
    name = raw["metadata"]["name"]
    default = _default(_classes(api)) if raw.get("globalDefault") is True else None
    if default is not None and (new or default.metadata.name != name):
        why = f"PriorityClass {default.metadata.name} is already marked as default. Only one default can exist"
        raise errors.forbidden("priorityclasses", "scheduling.k8s.io", name, why)


def _classes(api: Api) -> dict[str, PriorityClass]:
    stored = api.store.all(storage_key(api.kind(PriorityClass.api_version, PriorityClass.kind))).values()
    return {each.raw["metadata"]["name"]: parse_as(PriorityClass, each.raw) for each in stored}


def _default(classes: dict[str, PriorityClass]) -> PriorityClass | None:
    return min((each for each in classes.values() if each.global_default), key=lambda each: each.value, default=None)
