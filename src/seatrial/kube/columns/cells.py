"""What columns are made of: a column is a name and a function from an object, and the time, to its cell."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from seatrial.kube.objects import JsonObject

NONE: Final = "<none>"
UNSET: Final = "<unset>"

Cell = Callable[[JsonObject, datetime], Any]


class Column(NamedTuple):
    name: str
    cell: Cell
    type: str = "string"
    priority: int = 0
    format: str = ""
    description: str = ""


def age(since: str | None, now: datetime) -> str:
    """Upstream's HumanDuration: at most two units, coarser as time passes."""
    then = moment(since)
    if then is None:
        return "<unknown>"
    seconds = int((now - then).total_seconds())
    if seconds < -1:
        return "<invalid>"
    seconds = max(seconds, 0)
    minutes, hours, days = seconds // 60, seconds // 3600, seconds // 86400
    if seconds < 120:
        return f"{seconds}s"
    if minutes < 10:
        return f"{minutes}m{seconds % 60}s" if seconds % 60 else f"{minutes}m"
    if hours < 3:
        return f"{minutes}m"
    if hours < 8:
        return f"{hours}h{minutes % 60}m" if minutes % 60 else f"{hours}h"
    if hours < 48:
        return f"{hours}h"
    if hours < 192:
        return f"{days}d{hours % 24}h" if hours % 24 else f"{days}d"
    if days < 365 * 2:
        return f"{days}d"
    if days < 365 * 8:
        return f"{days // 365}y{days % 365}d" if days % 365 else f"{days // 365}y"
    return f"{days // 365}y"


def moment(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text.replace("Z", "+00:00")).astimezone(UTC) if text else None


def at(path: str, default: Any = NONE) -> Cell:
    """What is at a path of names with dots between them; `default` if that is nothing, or empty."""
    parts = path.split(".")

    def cell(raw: JsonObject, now: datetime) -> Any:
        value: Any = raw
        for part in parts:
            value = value.get(part) if isinstance(value, dict) else None
        return default if value in (None, "", {}, []) else value

    return cell


def name(raw: JsonObject, now: datetime) -> str:
    return str(raw["metadata"].get("name", ""))


def created(raw: JsonObject, now: datetime) -> str:
    return age(raw["metadata"].get("creationTimestamp"), now)


def labels(given: JsonObject | None) -> str:
    return ",".join(f"{key}={value}" for key, value in sorted((given or {}).items())) or NONE


def selector(path: str) -> Cell:
    """A label selector, or the plain labels that a Service or a ReplicationController selects by, as one text."""
    found = at(path, {})
    return lambda raw, now: _selected(found(raw, now))


def _selected(given: JsonObject) -> str:
    if not given.keys() & {"matchLabels", "matchExpressions"}:
        return labels(given)
    parts = [f"{key}={value}" for key, value in sorted((given.get("matchLabels") or {}).items())]
    for item in given.get("matchExpressions") or ():
        values = ",".join(sorted(item.get("values") or ()))
        words = {"In": f" in ({values})", "NotIn": f" notin ({values})"}
        prefix = "!" if item["operator"] == "DoesNotExist" else ""
        parts.append(prefix + item["key"] + words.get(item["operator"], ""))
    return ",".join(parts) or NONE


def containers(part: str, path: str) -> Cell:
    """`part` (name, image) of each container of the list at `path`."""
    found = at(path, ())
    return lambda raw, now: ",".join(item.get(part, "") for item in found(raw, now)) or NONE


def size(*paths: str) -> Cell:
    found = tuple(at(path, ()) for path in paths)
    return lambda raw, now: sum(len(each(raw, now)) for each in found)


def template(spec: str) -> tuple[Column, ...]:
    """The wide columns of what makes pods by the template in `spec`."""
    pods = f"{spec}.template.spec.containers"
    return (
        Column("Containers", containers("name", pods), priority=1),
        Column("Images", containers("image", pods), priority=1),
        Column("Selector", selector(f"{spec}.selector"), priority=1),
    )


def condition(raw: JsonObject, kind: str) -> str:
    """Its status; empty if there is no such condition."""
    conditions = (raw.get("status") or {}).get("conditions") or ()
    return next((item["status"] for item in conditions if item["type"] == kind), "")


def some(texts: Sequence[str]) -> str:
    shown = ",".join(texts[:3])
    return f"{shown} + {len(texts) - 3} more..." if len(texts) > 3 else shown


def phase(raw: JsonObject, now: datetime) -> Any:
    return "Terminating" if raw["metadata"].get("deletionTimestamp") else at("status.phase", "")(raw, now)


NAME: Final = Column("Name", name)
AGE: Final = Column("Age", created)
CREATED: Final = Column("Created At", at("metadata.creationTimestamp", ""), "date")
TEMPLATE: Final = template("spec")
