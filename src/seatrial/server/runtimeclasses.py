"""What the API does with runtime classes: a new pod of one gets its overhead and where it may go, and says no other
(the RuntimeClass admission plug-in).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from seatrial.kube.objects import JsonObject
from seatrial.kube.validation.fields import same
from seatrial.server import errors
from seatrial.server.resources import storage_key

if TYPE_CHECKING:
    from seatrial.server.api import Api

_DIFFERS = "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead"


def admit(api: Api, pod: JsonObject) -> JsonObject:
    """A new pod with what its class adds. Raises `StatusError`: 403, and 500 for what cannot be a name."""
    spec = pod.get("spec") or {}
    found = _class(api, pod)
    if found is None:
        return pod
    spec = dict(spec)
    overhead = _overhead(found)
    if overhead is not None:
        if spec.get("overhead") and not same(spec["overhead"], overhead):
            raise _refused(pod, _DIFFERS)
        spec["overhead"] = overhead
    scheduling = found.get("scheduling") or {}
    selector = dict(spec.get("nodeSelector") or {})
    for key, value in (scheduling.get("nodeSelector") or {}).items():
        if selector.setdefault(key, value) != value:
            theirs = f"runtimeClass.scheduling.nodeSelector[{key}] = {value}"
            raise _refused(pod, f"conflict: {theirs}; pod.spec.nodeSelector[{key}] = {selector[key]}")
    if selector:
        spec["nodeSelector"] = selector
    if scheduling.get("tolerations"):
        spec["tolerations"] = _merged([*(spec.get("tolerations") or ()), *scheduling["tolerations"]])
    return {**pod, "spec": spec}


def check(api: Api, pod: JsonObject) -> None:
    """Raises `StatusError` (403) for an overhead that no class gives; asked once all else is well."""
    told = pod["spec"].get("overhead")
    overhead = _overhead(_class(api, pod) or {})
    if overhead is not None and not same(told, overhead):
        raise _refused(pod, _DIFFERS)
    if overhead is None and told is not None:
        raise _refused(pod, "pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead")


def _class(api: Api, pod: JsonObject) -> JsonObject | None:
    name = (pod.get("spec") or {}).get("runtimeClassName")
    if not isinstance(name, str):
        return None
    if not name:
        raise errors.failure(500, "InternalError", "resource name may not be empty")
    wrong = [f"may not contain '{sign}'" for sign in "/%" if sign in name]
    if name in (".", ".."):
        wrong = [f"may not be '{name}'"]
    if wrong:
        raise errors.failure(500, "InternalError", f'invalid resource name "{name}": [{" ".join(wrong)}]')
    stored = api.store.get(storage_key(api.kind("node.k8s.io/v1", "RuntimeClass")), "", name)
    if stored is None:
        raise _refused(pod, f'pod rejected: RuntimeClass "{name}" not found')
    return stored.raw


def _overhead(runtime_class: JsonObject) -> JsonObject | None:
    overhead = runtime_class.get("overhead")
    return None if overhead is None else overhead.get("podFixed") or {}


def _refused(pod: JsonObject, why: str) -> errors.StatusError:
    return errors.forbidden("pods", "", pod["metadata"].get("name", ""), why)


def _merged(tolerations: list[JsonObject]) -> list[JsonObject]:
    """Without those that another one makes needless; of equal ones the first stays."""
    merged: list[JsonObject] = []
    for number, each in enumerate(tolerations):
        later = [other for other in tolerations[number + 1 :] if other != each]
        if not any(_covers(other, each) for other in (*merged, *later)):
            merged.append(each)
    return merged


def _covers(wide: JsonObject, narrow: JsonObject) -> bool:
    if wide == narrow:
        return True
    anything = not wide.get("key") and wide.get("operator") == "Exists"
    if _text(wide, "key") != _text(narrow, "key") and not anything:
        return False
    if _text(wide, "effect") not in ("", _text(narrow, "effect")):
        return False
    seconds: Any = wide.get("tolerationSeconds")
    if narrow.get("effect") == "NoExecute" and seconds is not None:
        theirs: Any = narrow.get("tolerationSeconds")
        if theirs is None or theirs > seconds:
            return False
    if wide.get("operator") == "Exists":
        return True
    equal = _text(wide, "operator") in ("", "Equal") and _text(wide, "operator") == _text(narrow, "operator")
    return equal and _text(wide, "value") == _text(narrow, "value")


def _text(toleration: JsonObject, name: str) -> str:
    return str(toleration.get(name) or "")
