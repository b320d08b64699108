"""Dockerfiles read: lines to instructions, instructions to stages, variables to their values.

The rules are those of BuildKit's frontend (frontend/dockerfile/parser, .../shell). What is not supported is refused
with its place and a way round it, never skipped: an image that silently lacks a step is worse than none.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from seatrial.image.errors import BuildError

KEYWORDS = (
    "ADD", "ARG", "CMD", "COPY", "ENTRYPOINT", "ENV", "EXPOSE", "FROM", "HEALTHCHECK", "LABEL", "MAINTAINER",
    "ONBUILD", "RUN", "SHELL", "STOPSIGNAL", "USER", "VOLUME", "WORKDIR",
)  # fmt: skip
_FLAGS: Mapping[str, tuple[str, ...]] = {
    "ADD": ("chown", "chmod", "link", "exclude", "keep-git-dir", "checksum", "unpack"),
    "COPY": ("chown", "chmod", "link", "exclude", "from", "parents"),
    "FROM": ("platform",),
    "HEALTHCHECK": ("interval", "timeout", "start-period", "start-interval", "retries"),
    "RUN": ("mount", "network", "security", "device"),
}
_REPEATABLE = ("mount", "exclude", "device")
_WITH_HEREDOCS = ("ADD", "COPY", "RUN")
_DIRECTIVE = re.compile(r"#\s*([a-zA-Z][a-zA-Z0-9]*)\s*=\s*(.+?)\s*$")
_HEREDOC = re.compile(r"(\d*)<<(-?)\s*([^<]*)")
_STAGE_NAME = re.compile(r"[a-z][a-z0-9-_.]*")
EXPANSIONS = "write $name, ${name} or ${name:-default}; \\$ is a dollar sign; give values with ARG, ENV and --build-arg"
_LONGEST_LINE = 65535  # Go's bufio.MaxScanTokenSize less one


@dataclass(frozen=True, slots=True)
class Heredoc:
    name: str
    content: str
    expands: bool
    word: str


@dataclass(frozen=True, slots=True)
class Instruction:
    """`text` is what follows the keyword and its flags; `source` the whole instruction on one line."""

    keyword: str
    text: str
    place: str
    source: str
    flags: tuple[tuple[str, str], ...] = ()
    heredocs: tuple[Heredoc, ...] = ()

    def flag(self, name: str, default: str = "") -> str:
        return dict(self.flags).get(name, default)

    def array(self) -> list[str] | None:
        """The text as a JSON array of strings; None if it is none, which makes it the shell form."""
        if not self.text.startswith("["):
            return None
        try:
            value = json.loads(self.text)
        except ValueError:
            return None
        if not isinstance(value, list):
            return None
        if not all(isinstance(item, str) for item in value):
            raise self.wrong("the array holds something that is not a string", hint='write ["a", "1"], not ["a", 1]')
        return value

    def wrong(self, message: str, *, hint: str = "") -> BuildError:
        return BuildError(f"{self.place}: {self.keyword}: {message}", hint=hint)


@dataclass(frozen=True, slots=True)
class Stage:
    index: int
    name: str
    base: str
    start: Instruction
    instructions: tuple[Instruction, ...]

    @property
    def title(self) -> str:
        return self.name or f"stage {self.index}"


@dataclass(frozen=True, slots=True)
class Dockerfile:
    """`arguments` are the ARG instructions before the first FROM."""

    file: str
    escape: str
    arguments: tuple[Instruction, ...]
    stages: tuple[Stage, ...]


def parse(text: str, file: str = "Dockerfile") -> Dockerfile:
    escape, start = _directives(text, file)
    arguments: list[Instruction] = []
    stages: list[tuple[Instruction, str, str, list[Instruction]]] = []
    for instruction in _instructions(text, file, escape, start):
        if instruction.keyword == "FROM":
            base, name = _from(instruction)
            if name and any(name == other for _, _, other, _ in stages):
                raise instruction.wrong(f"there is a stage {name!r} already", hint="give each stage its own name")
            stages.append((instruction, base, name, []))
        elif stages:
            stages[-1][3].append(instruction)
        elif instruction.keyword == "ARG":
            arguments.append(instruction)
        else:
            raise instruction.wrong("no stage has begun", hint="only ARG may come before the first FROM")
    if not stages:
        raise BuildError(
            f"{file}:1: the file has no FROM", hint="begin with FROM scratch, or FROM an image of the store"
        )
    return Dockerfile(
        file,
        escape,
        tuple(arguments),
        tuple(Stage(index, name, base, start, tuple(rest)) for index, (start, base, name, rest) in enumerate(stages)),
    )


def _from(instruction: Instruction) -> tuple[str, str]:
    parts = instruction.text.split()
    if len(parts) == 1:
        return parts[0], ""
    if len(parts) != 3 or parts[1].upper() != "AS":
        raise instruction.wrong(f"cannot read {instruction.text!r}", hint="write FROM image, or FROM image AS name")
    name = parts[2].lower()
    if not _STAGE_NAME.fullmatch(name):
        raise instruction.wrong(
            f"{parts[2]!r} is no name for a stage", hint="a letter, then letters, digits, '-', '_' and '.'"
        )
    return parts[0], name


def _directives(text: str, file: str) -> tuple[str, int]:
    """The escape character, and how many lines the directives take."""
    escape, seen, count = "\\", set(), 0
    for number, line in enumerate(text.removeprefix("\ufeff").splitlines(), 1):
        found = _DIRECTIVE.match(line.strip())
        if found is None or (name := found[1].lower()) not in ("syntax", "escape", "check"):
            break
        value = found[2]
        if name in seen:
            raise BuildError(f"{file}:{number}: the directive {name!r} is there twice", hint="keep one of them")
        if name == "escape":
            if value not in ("\\", "`"):
                raise BuildError(f"{file}:{number}: {value!r} cannot be the escape character", hint="\\ or ` can")
            escape = value
        if name == "syntax" and not re.fullmatch(r"(docker\.io/)?docker/dockerfile(:.*)?", value):
            raise BuildError(
                f"{file}:{number}: the frontend {value!r} cannot be used",
                hint="only docker/dockerfile is understood, as it is built in; remove the line",
            )
        seen.add(name)
        count = number
    return escape, count


def _instructions(text: str, file: str, escape: str, start: int) -> Iterator[Instruction]:
    lines = text.removeprefix("\ufeff").replace("\r\n", "\n").split("\n")
    mark = re.escape(escape)
    continues = re.compile(rf"([^{mark}]){mark}[ \t]*$|^{mark}[ \t]*$")
    at = start
    while at < len(lines):
        first = at
        line = lines[at].lstrip()
        at += 1
        if not line or line.startswith("#"):
            continue
        joined = ""
        while True:
            if len(line.encode()) > _LONGEST_LINE:
                raise BuildError(
                    f"{file}:{at}: the line is longer than {_LONGEST_LINE} bytes", hint="COPY a file instead"
                )
            found = continues.search(line)
            if found is None:
                joined += line
                break
            joined += line[: found.start()] + (found[1] or "")
            while at < len(lines) and (not lines[at].strip() or lines[at].lstrip().startswith("#")):
                at += 1
            if at >= len(lines):
                break
            line = lines[at]
            at += 1
        if not joined.strip():
            continue
        place = f"{file}:{first + 1}"
        word, _, rest = joined.strip().partition(" ") if " " in joined.strip() else joined.strip().partition("\t")
        if "\t" in word:
            word, _, tail = word.partition("\t")
            rest = f"{tail} {rest}"
        keyword, rest = word.upper(), rest.strip()
        if keyword not in KEYWORDS:
            near = difflib.get_close_matches(keyword, KEYWORDS, 1)
            raise BuildError(
                f"{place}: {word!r} is not an instruction",
                hint=f"did you mean {near[0]}?" if near else f"there are {', '.join(KEYWORDS)}",
            )
        if keyword == "ONBUILD":
            raise BuildError(
                f"{place}: ONBUILD is not supported",
                hint="write the instruction in the Dockerfiles that use this image",
            )
        flags, rest = _flags(keyword, rest, place, escape)
        heredocs: list[Heredoc] = []
        if keyword in _WITH_HEREDOCS and "<<" in rest and not rest.startswith("["):
            for part in split(rest, escape):
                doc = _HEREDOC.fullmatch(part)
                if doc is None or not doc[3]:
                    continue
                name = expand(doc[3], {}, escape)
                body: list[str] = []
                while at < len(lines):
                    line = lines[at].lstrip("\t") if doc[2] else lines[at]
                    at += 1
                    if line == name:
                        break
                    body.append(line + "\n")
                else:
                    raise BuildError(f"{place}: the here-document {name!r} does not end", hint=f"end it with {name}")
                heredocs.append(Heredoc(name, "".join(body), not any(quote in doc[3] for quote in "'\""), part))
        if not rest and keyword != "CMD":
            raise BuildError(f"{place}: {keyword} says nothing", hint=f"write something after {keyword}")
        yield Instruction(keyword, rest, place, joined.strip(), flags, tuple(heredocs))


def _flags(keyword: str, rest: str, place: str, escape: str) -> tuple[tuple[tuple[str, str], ...], str]:
    known = _FLAGS.get(keyword, ())
    flags: list[tuple[str, str]] = []
    while rest.startswith("--") and known:
        word = next(iter(split(rest, escape)))
        rest = rest[len(word) :].lstrip()
        if word == "--":
            break
        name, equals, value = word[2:].partition("=")
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            raise BuildError(
                f"{place}: {keyword} has no flag --{name}",
                hint=f"did you mean --{near[0]}?" if near else f"it has {', '.join('--' + flag for flag in known)}",
            )
        if name not in _REPEATABLE and any(name == other for other, _ in flags):
            raise BuildError(f"{place}: {keyword}: the flag --{name} is there twice", hint="keep one of them")
        flags.append((name, value if equals else "true"))
    return tuple(flags), rest


# Words and variables


def split(text: str, escape: str = "\\") -> list[str]:
    """Words between blanks, where quotes hold a word together; quotes and escapes stay."""
    words, word, quote, at = [], "", "", 0
    while at < len(text):
        mark = text[at]
        if mark == escape and quote != "'" and at + 1 < len(text):
            word += text[at : at + 2]
            at += 2
            continue
        if quote:
            quote = "" if mark == quote else quote
        elif mark in "'\"":
            quote = mark
        elif mark.isspace():
            if word:
                words.append(word)
            word = ""
            at += 1
            continue
        word += mark
        at += 1
    return [*words, word] if word else words


def pairs(instruction: Instruction, escape: str = "\\") -> list[tuple[str, str]]:
    """The names and unexpanded values of ENV and LABEL: `k=v k=v`, or the old form `k the rest of the line`."""
    words = split(instruction.text, escape)
    if "=" not in words[0]:
        name, _, value = (
            instruction.text.partition(" ") if " " in instruction.text else instruction.text.partition("\t")
        )
        if not value.strip():
            raise instruction.wrong(f"{name!r} has no value", hint=f"write {instruction.keyword} {name}=value")
        return [(name, value.strip())]
    found = []
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or not name:
            raise instruction.wrong(f"cannot read {word!r}", hint="write name=value, with quotes around blanks")
        found.append((name, value))
    return found


class _Text:
    """BuildKit's shell lexer: one pass over a text that expands variables and takes quotes off."""

    def __init__(self, text: str, values: Mapping[str, str], escape: str, *, raw: bool = False) -> None:
        self.text, self.values, self.escape, self.raw = text, values, escape, raw
        self.at = 0
        self.words: list[str] = []
        self.word: str | None = None

    def add(self, text: str, *, splits: bool) -> str:
        if not splits:
            self.word = (self.word or "") + text
            return text
        for mark in text:
            if mark.isspace():
                if self.word is not None:
                    self.words.append(self.word)
                self.word = None
            else:
                self.word = (self.word or "") + mark
        return text

    def until(self, stop: str = "") -> str:
        out = ""
        while self.at < len(self.text):
            mark = self.text[self.at]
            if stop and mark == stop:
                self.at += 1
                return out
            if mark == "'" and not self.raw:
                end = self.text.find("'", self.at + 1)
                if end < 0:
                    raise ValueError("a single quote does not end")
                out += self.add(self.text[self.at + 1 : end], splits=False)
                self.at = end + 1
            elif mark == '"' and not self.raw:
                out += self.add(self.double(), splits=False)
            elif mark == "$":
                out += self.add(self.dollar(), splits=True)
            elif mark == self.escape:
                self.at += 1
                if self.at < len(self.text):
                    literal = self.text[self.at]
                    if self.raw and literal not in ("$", self.escape):
                        literal = mark + literal
                    out += self.add(literal, splits=False)
                    self.at += 1
                elif self.raw:
                    out += self.add(mark, splits=False)
            else:
                out += self.add(mark, splits=True)
                self.at += 1
        if stop:
            raise ValueError(f"'{stop}' is missing at the end")
        return out

    def double(self) -> str:
        out = ""
        self.at += 1
        while self.at < len(self.text):
            mark = self.text[self.at]
            if mark == '"':
                self.at += 1
                return out
            if mark == "$":
                out += self.dollar()
                continue
            if mark == self.escape and self.text[self.at + 1 : self.at + 2] in ('"', "$", self.escape):
                self.at += 1
                mark = self.text[self.at]
            out += mark
            self.at += 1
        raise ValueError("a double quote does not end")

    def name(self) -> str:
        found = re.compile(r"[A-Za-z_][A-Za-z0-9_]*|[0-9]+|[@*#?\-$!0]").match(self.text, self.at)
        if found is None:
            return ""
        self.at = found.end()
        return found[0]

    def dollar(self) -> str:
        self.at += 1
        if not self.text.startswith("{", self.at):
            name = self.name()
            return self.values.get(name, "") if name else "$"
        self.at += 1
        name = self.name()
        if not name:
            raise ValueError("'${' is not followed by a name")
        set_value = self.values.get(name)
        if self.text.startswith("}", self.at):
            self.at += 1
            return set_value or ""
        operator = self.text[self.at : self.at + 1]
        self.at += 1
        value = set_value
        if operator == ":":
            operator = self.text[self.at : self.at + 1]
            self.at += 1
            if operator not in ("-", "+", "?") or not operator:
                raise ValueError(f"'${{{name}:{operator}' is not an expansion")
            value = set_value or None
        if operator in ("-", "+", "?") and operator:
            word = self.inner("}")
            if operator == "-":
                return word if value is None else value
            if operator == "+":
                return "" if value is None else word
            if value is None:
                raise ValueError(f"{name}: {word or 'is not set'}")
            return value
        if operator in ("#", "%") and operator:
            greedy = self.text.startswith(operator, self.at)
            self.at += 1 if greedy else 0
            return _trim(set_value or "", self.pattern("}"), start=operator == "#", greedy=greedy)
        if operator == "/":
            everywhere = self.text.startswith("/", self.at)
            self.at += 1 if everywhere else 0
            pattern = _wildcards(self.pattern("/"), greedy=True)
            replacement = self.inner("}")
            return re.sub(
                pattern, lambda _: replacement, set_value or "", count=0 if everywhere else 1, flags=re.DOTALL
            )
        raise ValueError(f"'${{{name}{operator}' is not an expansion")

    def inner(self, stop: str) -> str:
        """A word up to `stop`, itself expanded."""
        inner = _Text(self.text, self.values, self.escape, raw=self.raw)
        inner.at = self.at
        out = inner.until(stop)
        self.at = inner.at
        return out

    def pattern(self, stop: str) -> str:
        out = ""
        while self.at < len(self.text):
            mark = self.text[self.at]
            if mark == stop:
                self.at += 1
                return out
            if mark == "$":
                out += self.dollar()
                continue
            if mark == self.escape and self.at + 1 < len(self.text):
                self.at += 1
                out += "\\" + self.text[self.at]
            else:
                out += mark
            self.at += 1
        raise ValueError(f"'{stop}' is missing at the end")


def _wildcards(pattern: str, *, greedy: bool) -> str:
    out, at = "", 0
    while at < len(pattern):
        mark = pattern[at]
        if mark == "\\" and at + 1 < len(pattern):
            at += 1
            out += re.escape(pattern[at])
        else:
            out += {"*": ".*" if greedy else ".*?", "?": "."}.get(mark, re.escape(mark))
        at += 1
    return out


def _trim(value: str, pattern: str, *, start: bool, greedy: bool) -> str:
    compiled = re.compile(_wildcards(pattern, greedy=True), re.DOTALL)
    sizes = range(len(value), -1, -1) if greedy else range(len(value) + 1)
    for size in sizes:
        part = value[:size] if start else value[len(value) - size :]
        if compiled.fullmatch(part):
            return value[size:] if start else value[: len(value) - size]
    return value


def expand(text: str, values: Mapping[str, str], escape: str = "\\", *, raw: bool = False) -> str:
    """One word: variables expanded, quotes off (kept when `raw`, as in here-documents). Raises ValueError."""
    return _Text(text, values, escape, raw=raw).until()


def expand_words(text: str, values: Mapping[str, str], escape: str = "\\") -> list[str]:
    """Several words: what an unquoted variable holds is split too."""
    lexer = _Text(text, values, escape)
    lexer.until()
    return [*lexer.words, lexer.word] if lexer.word is not None else lexer.words


def expanding(
    instruction: Instruction, values: Mapping[str, str], escape: str, *, raw: bool = False
) -> Callable[[str], str]:
    """`expand` whose failures name the instruction."""

    def one(text: str) -> str:
        try:
            return expand(text, values, escape, raw=raw)
        except ValueError as error:
            raise instruction.wrong(f"{text!r} cannot be expanded: {error}", hint=EXPANSIONS) from error

    return one
