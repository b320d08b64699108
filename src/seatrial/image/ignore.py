"""`.dockerignore`: which files of a build's directory the build sees.

Patterns are those of Docker (moby/patternmatcher): `**` is any number of directories, `*` and `?` stop at `/`, the
last line that matches wins, `!` takes a file back in, and a pattern that matches a directory covers what is below it.
A directory is only left out of the walk when no line can take back something below it.
"""

from __future__ import annotations

import posixpath
import re
from dataclasses import dataclass
from pathlib import Path

from seatrial.image.errors import BuildError


@dataclass(frozen=True, slots=True)
class Rule:
    pattern: re.Pattern[str]
    keeps: bool


@dataclass(frozen=True, slots=True)
class Ignore:
    rules: tuple[Rule, ...] = ()

    def ignores(self, path: str) -> bool:
        """Whether the build does not see `path`, which is relative and has no leading slash."""
        parts = path.split("/")
        parents = ["/".join(parts[: count + 1]) for count in range(len(parts))]
        ignored = False
        for rule in self.rules:
            if rule.keeps == ignored and any(rule.pattern.fullmatch(name) for name in parents):
                ignored = not rule.keeps
        return ignored

    def prunes(self, path: str) -> bool:
        """Whether nothing below the directory `path` can be seen either."""
        return not any(rule.keeps for rule in self.rules) and self.ignores(path)


def read(directory: Path) -> Ignore:
    """The rules of DIR/Dockerfile.dockerignore, or else of DIR/.dockerignore; no rules if there is neither."""
    for name in ("Dockerfile.dockerignore", ".dockerignore"):
        path = directory / name
        if path.is_file():
            return parse(path.read_text("utf-8-sig"), str(path))
    return Ignore()


def parse(text: str, file: str = ".dockerignore") -> Ignore:
    rules: list[Rule] = []
    for number, line in enumerate(text.splitlines(), 1):
        if line.startswith("#") or not (pattern := line.strip()):
            continue
        keeps = pattern.startswith("!")
        pattern = pattern.removeprefix("!").strip()
        if keeps and not pattern:
            raise BuildError(f"{file}:{number}: a lone '!' takes nothing back in", hint="write a pattern after it")
        pattern = posixpath.normpath(pattern).lstrip("/")
        if pattern in ("", "."):
            continue
        try:
            rules.append(Rule(re.compile(_regex(pattern)), keeps))
        except re.error as error:
            raise BuildError(f"{file}:{number}: the pattern {pattern!r} cannot be read: {error}") from error
    return Ignore(tuple(rules))


def _regex(pattern: str) -> str:
    out, at = "", 0
    while at < len(pattern):
        mark = pattern[at]
        if pattern.startswith("**", at):
            at += 2
            if pattern.startswith("/", at):
                at += 1
                out += "(?:.*/)?"
            else:
                out += ".*"
            continue
        if mark == "*":
            out += "[^/]*"
        elif mark == "?":
            out += "[^/]"
        elif mark == "[":
            end = pattern.find("]", at + 2)
            if end < 0:
                raise re.error("'[' without ']'")
            # What Python reads as operators on sets are letters to Go.
            out += "[" + re.sub(r"[\[&~|]|(?<=-)-", r"\\\g<0>", pattern[at + 1 : end]) + "]"
            at = end
        elif mark == "\\" and at + 1 < len(pattern):
            at += 1
            out += re.escape(pattern[at])
        else:
            out += re.escape(mark)
        at += 1
    return out


def component(pattern: str) -> re.Pattern[str]:
    """One name with wildcards, as `COPY` understands it (Go's filepath.Match)."""
    return re.compile(_regex(pattern.replace("**", "*")))
