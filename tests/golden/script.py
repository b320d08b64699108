"""A golden scenario script: a story, then a conversation, the commands and what a cluster answers to each.

A script is a Markdown file. Its heading is a rule of Kubernetes, `Stands for` says where the rule is written, the
console block is the conversation. A line that begins with `$ ` is for a shell whose `kubectl` speaks to the script's
namespace, one that begins with `> ` is for the stage (`stages.py`); what follows is the answer. What differs from run
to run (generated names, addresses, ages, columns' widths, the order of rows) is left out by `normalised`. A story with
a line that begins with `Plays alone` needs the nodes for itself, one with `Ours only` cannot be played on a real
control plane, and says why.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

SCRIPTS: Final = Path(__file__).parent
_FENCE: Final = "```"
_HERE_DOCUMENT_END: Final = "END"
_LETTERS: Final = "bcdfghjklmnpqrstvwxz2456789"
_PLACES: Final = (
    (re.compile(r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b"), "<uid>"),
    (re.compile(r"\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z"), "<time>"),
    (re.compile(r"\b(Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d\d \w{3} \d{4} \d\d:\d\d:\d\d [+-]\d{4}"), "<time>"),
    (re.compile(rf"-(?=[a-z]*\d)[bcdf0-9][{_LETTERS}013]{{5,9}}-[{_LETTERS}]{{5}}\b"), "-<hash>-<id>"),
    (re.compile(rf"(?<=[-=])(?=[a-z]*\d)[{_LETTERS}013]{{7,10}}\b"), "<hash>"),
    (re.compile(rf"(?<=[\w>]-)[{_LETTERS}]{{5}}\b"), "<id>"),
    (re.compile(r"\b10\.\d+\.\d+\.\d+\b"), "<ip>"),
)
_AGE: Final = re.compile(r"(?<![\w.:=-])(<invalid>|(\d+[ydhms])+)(?=\s|$|\))")
_AGAIN: Final = re.compile(r"<age> \(x\d+ over <age>\)")


@dataclass(frozen=True, slots=True)
class Step:
    command: str
    said: str


@dataclass(frozen=True, slots=True)
class Script:
    path: Path
    story: str
    steps: tuple[Step, ...]

    @property
    def name(self) -> str:
        return self.path.stem

    @property
    def plays_alone(self) -> bool:
        return "\nPlays alone" in self.story

    @property
    def is_ours_only(self) -> bool:
        return "\nOurs only" in self.story

    @classmethod
    def read(cls, path: Path) -> Script:
        story, _, rest = path.read_text().partition(f"{_FENCE}console\n")
        return cls(path, story, tuple(_steps(rest.partition(f"\n{_FENCE}")[0].splitlines())))

    def text(self) -> str:
        said = "".join(f"{step.command}\n{step.said}" for step in self.steps)
        return f"{self.story}{_FENCE}console\n{said}{_FENCE}\n"


def scripts() -> list[Script]:
    return [Script.read(path) for path in sorted(SCRIPTS.glob("*.md"))]


def _steps(lines: list[str]) -> Iterator[Step]:
    """A command goes on to END if it has a here-document; then comes what it says."""
    rest = iter([*lines, "> end"])
    command: list[str] = []
    said: list[str] = []
    for line in rest:
        if not line.startswith(("$ ", "> ")):
            said.append(line)
            continue
        if command:
            yield Step("\n".join(command), "".join(f"{each}\n" for each in said))
        command, said = [line], []
        if "<<END" in line:
            for more in rest:
                command.append(more)
                if more == _HERE_DOCUMENT_END:
                    break


def normalised(said: str, namespace: str) -> str:
    """Without what differs from run to run."""
    said = _AGE.sub("<age>", said.replace(namespace, "<namespace>"))
    said = _AGAIN.sub("<age>", said)
    for pattern, place in _PLACES:
        said = pattern.sub(place, said)
    rows: list[str] = []
    table: list[str] | None = None
    for line in (re.sub(r" {2,}", "  ", line).rstrip() for line in said.splitlines()):
        if _begins_table(line) or not line:
            rows += sorted(table or ())
            table = [] if line else None
            rows += [line] if line else []
        elif table is not None:
            table.append(line)
        else:
            rows.append(line)
    return "".join(f"{row}\n" for row in (*rows, *sorted(table or ())))


def _begins_table(line: str) -> bool:
    """Column heads of `kubectl get`, or the line under those of the events in `kubectl describe`."""
    return (line.isupper() and line[0].isupper()) or line.startswith("  ----  ------")


def difference(expected: Script, played: Script) -> str:
    before, after = (each.text().splitlines() for each in (expected, played))
    return "\n".join(difflib.unified_diff(before, after, expected.path.name, "played", lineterm="", n=2))
