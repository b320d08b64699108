"""What a container's command does first, read off its words: which programs it calls, and what their failure means.

A command is argv, or a shell with a script. Of shell syntax only so much is read as wait loops and start scripts use:
quotes, substitutions, `;`, `&&`, `||`, pipes, `until` and `while`, `set -e`. What is not understood is no call, so
that nothing is claimed of it. Rules: a call whose failure is swallowed (`|| true`, `cmd; other`) decides nothing;
variables are replaced by the environment that the manifest gives, others stay as they are written. A script longer
than `LONGEST` is not read.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

LONGEST: Final = 20_000
DEEPEST: Final = 8
"""Substitutions within substitutions."""
SHELLS: Final = frozenset(("sh", "bash", "ash", "dash", "zsh", "ksh"))
_PREFIXES: Final = frozenset(("exec", "command", "time", "sudo", "nohup", "tini", "dumb-init", "env", "stdbuf", "!"))
_KEYWORDS: Final = frozenset(
    ("if", "then", "elif", "else", "fi", "for", "while", "until", "do", "done", "case", "esac", "in", "{", "}")
)
_VARIABLE: Final = re.compile(r"\$(?:\{([A-Za-z_]\w*)(?::?-([^{}]*))?\}|\(([A-Za-z_]\w*)\)|([A-Za-z_]\w*))")
_ASSIGNMENT: Final = re.compile(r"[A-Za-z_]\w*=")
_OWN_NAMESPACE: Final = re.compile(
    r"\$\(\s*(?:cat|<)\s+/(?:var/)?run/secrets/kubernetes\.io/serviceaccount/namespace\s*\)"
)
OWN_NAMESPACE: Final = "{own-namespace}"


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a program. `argument` is the position in argv of the word or script that it stands in.

    `waits`: it is tried again until it succeeds. `decides`: its failure is the failure of the whole command.
    """

    program: str
    words: tuple[str, ...]
    argument: int
    waits: bool = False
    decides: bool = False


def calls(argv: Sequence[str], environment: Mapping[str, str]) -> tuple[Call, ...]:
    """The calls of a command, in the order in which they are written."""
    if not argv or sum(map(len, argv)) > LONGEST:
        return ()
    words = [_expand(word, environment) for word in argv]
    where = list(range(len(words)))
    while words and (_program(words[0]) in _PREFIXES or words[0] in ("--", "-g")):
        del words[0], where[0]
    if not words:
        return ()
    if _program(words[0]) in SHELLS:
        strict = False
        for position, word in enumerate(words[1:], 1):
            if not word.startswith("-"):
                return ()  # a script in the image
            if word.startswith("--"):
                continue
            strict = strict or "e" in word
            if "c" in word and position + 1 < len(words):
                return tuple(_script(words[position + 1], where[position + 1], environment, strict))
        return ()
    found = _call(words, where[0])
    return () if found is None else (replace(found, decides=True),)


def _script(text: str, argument: int, environment: Mapping[str, str], strict: bool, depth: int = 0) -> Iterator[Call]:
    if depth > DEEPEST:
        return
    strict = strict or re.search(r"(?m)(?:^|[;&]\s*)\s*set\s+-\w*e", text) is not None
    commands = list(_commands(_OWN_NAMESPACE.sub(OWN_NAMESPACE, text)))
    condition, negated = "", False
    endless: list[bool] = []
    fails = re.search(r"\bexit\s+[1-9]", text) is not None
    last = len(commands) - 1
    for number, (words, operator) in enumerate(commands):
        rest = list(words)
        while rest and rest[0] in _KEYWORDS | {"!"}:
            word = rest.pop(0)
            if word in ("while", "until", "if", "elif"):
                condition, negated = word, False
            elif word == "!":
                negated = True
            elif word in ("do", "then"):
                if word == "do":
                    # `while CONDITION` whose condition is not a test of ours goes round until it is left
                    endless.append(condition in ("while", "until"))
                condition = ""
            elif word == "for":
                rest = []
            elif word == "done" and endless:
                endless.pop()
        left = number < last and operator == "&&" and commands[number + 1][0][0] in ("break", "exit")
        waits = condition == "until" or (condition == "while" and negated) or (left and bool(endless) and endless[-1])
        in_for = bool(endless) and not endless[-1]
        decides = not condition and (
            operator == "&&" or (number == last and operator != "|") or (strict and operator in (";", "|"))
        )
        if in_for:
            decides = left and fails
        inner = [each for word in rest for each in _substitutions(word)]
        for script in inner:
            for call in _script(script, argument, environment, False, depth + 1):
                yield replace(call, waits=waits, decides=False)
        found = _call([_expand(word, environment) for word in rest], argument)
        if found is not None and found.program in SHELLS and "-c" in found.words[:-1]:
            script = found.words[found.words.index("-c") + 1]
            for call in _script(script, argument, environment, False, depth + 1):
                yield replace(call, waits=waits, decides=decides and not waits)
        elif found is not None:
            yield replace(found, waits=waits, decides=decides and not waits)


def _commands(text: str) -> Iterator[tuple[list[str], str]]:
    """The simple commands of a script, each with the operator that follows it."""
    words: list[str] = []
    word, quoted = "", False
    position, size = 0, len(text)
    while position < size:
        char = text[position]
        if char == "\\" and position + 1 < size:
            following = text[position + 1]
            if following != "\n":
                word += following
            position += 2
        elif char == "'":
            end = text.find("'", position + 1)
            end = size if end < 0 else end
            word, quoted, position = word + text[position + 1 : end], True, end + 1
        elif char == '"':
            end = _end_of_quote(text, position + 1)
            word, quoted, position = word + text[position + 1 : end].replace('\\"', '"'), True, end + 1
        elif text.startswith("$(", position) or char == "`":
            end = _end_of_substitution(text, position)
            word, position = word + text[position:end], end
        elif char == "#" and not word and not quoted:
            end = text.find("\n", position)
            position = size if end < 0 else end
        elif char in " \t\r\n;&|()<>":
            if (word or quoted) and not (char in "<>" and word.isdigit()):
                words.append(word)
            word, quoted = "", False
            if char in ";&|\n":
                operator = text[position : position + 2] if text[position : position + 2] in ("&&", "||") else char
                if operator != "&" or text[position : position + 2] != "&>":
                    if words:
                        yield words, ";" if operator == "\n" else operator
                    words = []
                position += len(operator)
            elif char in "<>":
                position += 1
                while position < size and text[position] in "<>&":
                    position += 1
                while position < size and text[position] in " \t":
                    position += 1
                end = position
                while end < size and text[end] not in " \t\r\n;&|()<>":
                    end += 1
                if "/dev/tcp/" in text[position:end]:
                    words.append(text[position:end].strip("'\""))
                position = max(end, position)
            else:
                position += 1
        else:
            word += char
            position += 1
    if word or quoted:
        words.append(word)
    if words:
        yield words, ""


def _end_of_quote(text: str, position: int) -> int:
    while position < len(text) and text[position] != '"':
        if text[position] == "\\":
            position += 2
        elif text.startswith("$(", position):
            position = _end_of_substitution(text, position)
        else:
            position += 1
    return min(position, len(text))


def _end_of_substitution(text: str, position: int) -> int:
    if text[position] == "`":
        end = text.find("`", position + 1)
        return len(text) if end < 0 else end + 1
    depth = 0
    while position < len(text):
        depth += (text[position] == "(") - (text[position] == ")")
        position += 1
        if depth == 0 and text[position - 1] == ")":
            return position
    return len(text)


def _substitutions(word: str) -> Iterator[str]:
    position = 0
    while position < len(word):
        if word.startswith("$(", position) or word[position] == "`":
            end = _end_of_substitution(word, position)
            yield word[position + (2 if word[position] == "$" else 1) : end - 1]
            position = end
        else:
            position += 1


def _call(words: Sequence[str], argument: int) -> Call | None:
    rest = list(words)
    while rest:
        name = _program(rest[0])
        if name in _PREFIXES or _ASSIGNMENT.match(rest[0]) or rest[0] == "--":
            del rest[0]
        elif name == "timeout" and len(rest) > 1:
            del rest[0]
            while rest and (rest[0].startswith("-") or rest[0][:1].isdigit()):
                del rest[0]
        else:
            break
    return Call(_program(rest[0]), tuple(rest[1:]), argument) if rest else None


def _program(word: str) -> str:
    return word.rpartition("/")[2]


def _expand(word: str, environment: Mapping[str, str]) -> str:
    def value(found: re.Match[str]) -> str:
        name = found[1] or found[3] or found[4]
        given = environment.get(name)
        return given if given is not None else found[2] if found[2] is not None else found[0]

    return _VARIABLE.sub(value, word)
