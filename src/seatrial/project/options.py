"""What `seatrial.toml` says of a check: which properties, under which assumptions, and what is waived."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

from seatrial.check import judge
from seatrial.check.properties import Value
from seatrial.check.system import Place, Waiver
from seatrial.project.toml import NAMED, KeyPath, Toml, fits, hint


@dataclass(frozen=True, slots=True)
class Options:
    """`only` and `skip` are shell patterns of properties; `given` are assumptions by name."""

    kubernetes: str | None = None
    only: tuple[str, ...] = ("*",)
    skip: tuple[str, ...] = ()
    baseline: Path | None = None
    closed: bool = False
    """What is expected from outside the input is refuted, too."""
    given: Mapping[str, Value] = field(default_factory=dict)
    waivers: tuple[Waiver, ...] = ()


def read(path: Path) -> Options:
    """Raises `SettingsError`."""
    toml = Toml(path)
    kinds = {"kubernetes": str, "only": list, "skip": list, "baseline": str, "closed": bool}
    check = toml.checked(("check",), toml.table("check"), kinds)
    baseline = check.get("baseline")
    return Options(
        kubernetes=check.get("kubernetes"),
        only=_patterns(toml, "only", check.get("only", ["*"])),
        skip=_patterns(toml, "skip", check.get("skip", [])),
        baseline=None if baseline is None else path.parent / baseline,
        closed=check.get("closed", False),
        given=_given(toml),
        waivers=tuple(_waiver(toml, place, table) for place, table in toml.tables((), toml.document, "waive")),
    )


def _patterns(toml: Toml, key: str, given: list[Any]) -> tuple[str, ...]:
    for pattern in given:
        if not isinstance(pattern, str) or not judge.matching(pattern):
            raise toml.error(("check", key), f"no property matches {pattern!r}{hint(str(pattern), judge.NAMES)}")
    return tuple(given)


def _given(toml: Toml) -> Mapping[str, Value]:
    table = toml.table("assume")
    known = judge.parameters() if table else {}
    for name, value in table.items():
        if name not in known:
            raise toml.error(("assume", name), f'unknown assumption "{name}"{hint(name, known)}')
        kind = type(known[name].default)
        if not fits(value, kind):
            raise toml.error(("assume", name), f"{name} is {NAMED[kind]}, such as {known[name].default!r}")
    return table


def _waiver(toml: Toml, place: KeyPath, table: Mapping[str, Any]) -> Waiver:
    given = toml.checked(place, table, {"property": str, "subject": str, "reason": str, "until": date})
    for key in ("property", "reason"):
        if not given.get(key):
            raise toml.error(place, f'{key} is missing; a waiver is: property = "rollout/available", reason = "..."')
    if not judge.matching(given["property"]):
        raise toml.error((*place, "property"), f"no property matches {given['property']!r}")
    at = Place(str(toml.path), toml.line(place), 1, "waive")
    return Waiver(given["property"], given.get("subject", "*"), given["reason"], at, given.get("until"))
