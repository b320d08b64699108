"""What is claimed of the arithmetic of controllers, for all numbers: problems for `smt`, or for trying small ones.

A problem names its numbers, says what holds of them, and runs the very functions of `control/` on them. `solve` has it
proved by z3 for all numbers; without z3 the same problem is run on every combination of small ones, and says so.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from types import ModuleType
from typing import Any, Final

from seatrial.check import smt

Numbers = Mapping[str, Any]
CASES: Final = 5_000
"""Combinations that are tried where z3 is not asked."""


@dataclass(frozen=True, slots=True)
class Problem:
    """`given` and `claims` get the numbers (and `claims` what the functions are taken from), and give truth values."""

    key: Hashable
    """What it is about: two problems with the same are one."""
    numbers: tuple[str, ...]
    modules: tuple[ModuleType, ...]
    """Those whose functions are run; each may use those before it."""
    given: Callable[[Numbers], Sequence[Any]]
    claims: Callable[[Sequence[Any], Numbers], Mapping[str, Any]]
    multiplies: bool = False
    """Numbers are multiplied with each other, where z3 was seen to go on without counting its steps: not left to it."""


@dataclass(frozen=True, slots=True)
class Proof:
    """How a problem was decided: paths or cases, and what fails for which numbers; up to `bound`, or all of them."""

    method: str
    cases: int
    bound: int | None = None
    broken: str = ""
    example: Mapping[str, int] | None = None


def solve(problem: Problem) -> Proof:
    """Raises `smt.TooHardError`."""
    return _proved(problem) if smt.available() and not problem.multiplies else _tried(problem)


def _proved(problem: Problem) -> Proof:
    functions: list[Any] = []
    for module in problem.modules:
        functions.append(smt.lifted(module, *functions))
    numbers = {name: smt.integer(name) for name in problem.numbers}
    count = 0
    for executor, claims in smt.paths(problem.given(numbers), lambda: problem.claims(functions, numbers)):
        if not executor.is_possible:
            continue
        count += 1
        if smt.counterexample(executor, smt.every(tuple(claims.values())), numbers) is None:
            continue
        for text, claim in claims.items():
            example = smt.counterexample(executor, claim, numbers)
            if example is not None:
                return Proof("smt", count, None, text, example)
    if not count:
        raise AssertionError(f"no numbers are possible in {problem.key}: the problem is wrong")
    return Proof("smt", count)


def _tried(problem: Problem) -> Proof:
    size = max(2, int(CASES ** (1 / len(problem.numbers))))
    count = 0
    for values in product(range(size), repeat=len(problem.numbers)):
        numbers = dict(zip(problem.numbers, values, strict=True))
        if not all(problem.given(numbers)):
            continue
        count += 1
        for text, claim in problem.claims(problem.modules, numbers).items():
            if not claim:
                return Proof("exploration", count, size - 1, text, numbers)
    return Proof("exploration", count, size - 1)


def both(*claims: Any) -> Any:
    return all(claims) if _are_plain(claims) else smt.every(claims)


def either(*claims: Any) -> Any:
    return any(claims) if _are_plain(claims) else smt.either(claims)


def lesser(one: Any, other: Any) -> Any:
    return min(one, other) if _are_plain((one, other)) else smt.lesser(one, other)


def _are_plain(values: Sequence[Any]) -> bool:
    return not any(isinstance(value, smt.Truth | smt.Number) for value in values)
