"""Which of the names that there are was probably meant.

Rules: one letter more, less, other or swapped; another spelling of the same letters (case, `-`, `_`). Names that count
(`node-1`, `node-2`, `team-a`, `team-b`) or are short and differ in a word are different names, unless nobody else uses
the one that there is.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from typing import Final

SHOWN: Final = 5
"""How many of the names that there are a message lists."""


def meant(name: str, known: Iterable[str], unused: Collection[str] = ()) -> str | None:
    """The name of `known` that is so near to `name` that it was probably meant; `unused` ones may be short."""
    best = None
    for each in known:
        if each == name or not _close(name, each):
            continue
        if each in unused or _certain(name, each):
            if _plain(each) == _plain(name):
                return each
            best = best or each
    return best


def told(name: str, known: Collection[str], unused: Collection[str] = ()) -> str:
    """What to say of a name that is not known: what there is, and which of it was probably meant."""
    shown = sorted(known)
    has = (
        f" (there is {', '.join(shown[:SHOWN])}{', ...' if len(shown) > SHOWN else ''})"
        if shown
        else " (there is none)"
    )
    candidate = meant(name, shown, unused)
    return f"{has}; probably {candidate} is meant" if candidate else has


def _certain(name: str, other: str) -> bool:
    """Whether they differ in the middle of one longer word, or in spelling only."""
    if _plain(name) == _plain(other):
        return True
    words, others = re.split(r"[-._/]", name), re.split(r"[-._/]", other)
    if len(words) != len(others):
        return False
    ((word, else_),) = [pair for pair in zip(words, others, strict=True) if pair[0] != pair[1]][:1]
    if min(len(word), len(else_)) < 4:
        return False
    return re.sub(r"\d", "", word) != re.sub(r"\d", "", else_)


def _plain(name: str) -> str:
    return re.sub(r"[-._]", "", name).lower()


def _close(name: str, other: str) -> bool:
    """Whether one edit (a letter more, less, other, or two swapped) makes one of the other."""
    if abs(len(name) - len(other)) > 1:
        return _plain(name) == _plain(other)
    start = 0
    shorter = min(len(name), len(other))
    while start < shorter and name[start] == other[start]:
        start += 1
    left, right = name[start:], other[start:]
    return (
        left[1:] == right[1:]
        or left[1:] == right
        or left == right[1:]
        or (left[:2] == right[:2][::-1] and left[2:] == right[2:])
        or _plain(name) == _plain(other)
    )
