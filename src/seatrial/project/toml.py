"""Reading `seatrial.toml`: its tables, each checked for what it may hold, each mistake told with file, line and key.

What the tables mean is decided by who reads them: `project.options` those of the check, `cluster.settings` those of a
simulated cluster and its nodes. A table that nobody knows is an error of this file.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from pathlib import Path
from typing import Any, Final

FILE: Final = "seatrial.toml"
TABLES: Final = ("simulate", "kubelet", "check", "assume", "waive")
NAMED: Final[Mapping[type, str]] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: 'a text in "quotes"',
    datetime: "a time such as 2026-01-01T00:00:00Z",
    date: "a day such as 2026-12-31",
    dict: "a table such as { a = 1 }",
    list: "a list such as [1, 2]",
}

KeyPath = tuple[str | int, ...]


class SettingsError(Exception):
    """The file cannot be used; the message names the place and what to try."""


def find(paths: Sequence[str | Path]) -> Path | None:
    """The `seatrial.toml` beside the manifests: in the first directory given that has one."""
    for each in paths:
        path = Path(each)
        found = (path if path.is_dir() else path.parent) / FILE
        if found.is_file():
            return found
    return None


class Toml:
    """A file that was read; `document` is what it says. Raises `SettingsError`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            text = path.read_text()
            self.document = tomllib.loads(text)
        except OSError as error:
            raise SettingsError(f"{path}: cannot be read: {error.strerror}") from error
        except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise SettingsError(f"{path}: not TOML: {error}") from error
        self._lines = _lines(text)
        for name in self.document:
            if name not in TABLES:
                raise self.error((name,), f'unknown table "{name}"{hint(name, TABLES)}')

    def table(self, name: str) -> Mapping[str, Any]:
        found = self.document.get(name, {})
        if not isinstance(found, dict):
            raise self.error((name,), f"[{name}] is {NAMED[dict]}")
        return found

    def checked(self, place: KeyPath, table: Mapping[str, Any], kinds: Mapping[str, type]) -> dict[str, Any]:
        """The table's values, each of its kind; unknown keys are errors."""
        for key, value in table.items():
            if key not in kinds:
                raise self.error((*place, key), f'unknown key "{key}"{hint(key, kinds)}')
            if not fits(value, kinds[key]):
                raise self.error((*place, key), f"{key} is {NAMED[kinds[key]]}")
        return dict(table)

    def tables(self, place: KeyPath, given: Mapping[str, Any], key: str) -> list[tuple[KeyPath, Mapping[str, Any]]]:
        """The tables of a list of tables, each with its place."""
        found = given.get(key, [])
        if not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
            shown = ".".join(str(part) for part in (*place, key))
            raise self.error((*place, key), f"{key} is a list of tables: write [[{shown}]]")
        return [((*place, key, number), each) for number, each in enumerate(found)]

    def line(self, place: KeyPath) -> int:
        """Where the key stands, or the nearest table around it."""
        return next((self._lines[place[:end]] for end in range(len(place), 0, -1) if place[:end] in self._lines), 1)

    def error(self, place: KeyPath, message: str) -> SettingsError:
        return SettingsError(f"{self.path}:{self.line(place)}: {message}")


def fits(value: object, kind: type) -> bool:
    """Whether a value of a file is of the kind; a whole number is a number, true is none."""
    if isinstance(value, bool):
        return kind is bool
    return isinstance(value, int | float) if kind is float else isinstance(value, kind)


def hint(key: str, known: Sequence[str] | Mapping[str, Any]) -> str:
    close = difflib.get_close_matches(key, list(known), n=1)
    return f"; did you mean {close[0]}?" if close else f"; known: {', '.join(sorted(known))}"


def _lines(text: str) -> dict[KeyPath, int]:
    """Where tables and their keys stand, which `tomllib` does not tell: good enough for messages."""
    found: dict[KeyPath, int] = {}
    counts: dict[str, int] = {}
    table: KeyPath = ()
    for number, line in enumerate(text.splitlines(), 1):
        if header := re.match(r"\s*(\[\[?)\s*([\w.\-]+)\s*\]", line):
            table = tuple(header[2].split("."))
            if header[1] == "[[":
                counts[header[2]] = counts.get(header[2], -1) + 1
                table = (*table, counts[header[2]])
            found.setdefault(table, number)
        elif key := re.match(r'\s*"?([\w\-/]+)"?\s*[.=]', line):
            found.setdefault((*table, key[1]), number)
    return found
