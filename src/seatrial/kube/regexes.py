"""Go's regular expressions (RE2 syntax), answering one question: does a text contain a match?

Schemas of custom resources bring patterns that anybody may write, so a match must not take exponential time; Python's
`re` cannot promise that, nor does it read Go's syntax. RE2 does both; here its errors get Go's words, and a search that
could take long all the same (a huge expression on a huge text) is not begun.
Syntax: https://pkg.go.dev/regexp/syntax
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

MAX_WORK: Final = 200_000_000
"""Instructions times bytes, which bound the steps of a search: about a second."""
_WORDS_OF_GO: Final = {
    "missing ]": "missing closing ]",
    "missing )": "missing closing )",
    "trailing \\": "trailing backslash at end of expression",
    "no argument for repetition operator": "missing argument to repetition operator",
    "invalid repetition size": "invalid repeat count",
    "bad repetition operator": "invalid nested repetition operator",
    "invalid perl operator": "invalid or unsupported Perl syntax",
    "invalid named capture group": "invalid named capture",
    "pattern too large - compile failed": "expression too large",
}


class RegexError(ValueError):
    """The expression cannot be compiled; the message is Go's."""


class TooCostlyError(Exception):
    """This text could not be searched within `MAX_WORK`."""


@dataclass(frozen=True, slots=True)
class Regex:
    """One compiled expression."""

    _compiled: Any

    def searches(self, text: str) -> bool:
        """Whether `text` contains a match. Raises `TooCostlyError`."""
        if len(text) * int(self._compiled.programsize) > MAX_WORK:
            raise TooCostlyError
        return self._compiled.search(text) is not None


@lru_cache(maxsize=2_000)
def compile(pattern: str) -> Regex:  # noqa: A001  # the word everybody knows, always called as `regexes.compile`
    """Raises `RegexError`."""
    import re2  # type: ignore[import-untyped]  # 8 ms, and only custom resources have patterns; it has no types

    options = re2.Options()
    options.log_errors = False
    try:
        return Regex(re2.compile(pattern, options))
    except re2.error as error:
        text = error.args[0].decode(errors="replace") if isinstance(error.args[0], bytes) else str(error.args[0])
        what, _, where = text.partition(": ")
        what = _WORDS_OF_GO.get(what, what)
        raise RegexError(f"error parsing regexp: {what}{f': `{where}`' if where else ''}") from error
