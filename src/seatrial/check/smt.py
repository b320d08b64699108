"""The arithmetic of controllers for all numbers at once: the functions that run, executed on symbols, judged by z3.

There is no second model: a function of `control/` is run as it is, with numbers that build terms where it computes and
fork where it asks for a truth value (`paths`). What Python gives such a function besides operators (`float`,
`Fraction`, `math`) is replaced by its meaning on terms (`lifted`): the code object stays the same. Real numbers stand
for IEEE doubles; whoever relies on that says so. What is to hold is asked of every path: that its condition and the
negation cannot both be true. Work is limited by z3's own count of steps, not by time, so that answers do not depend on
the machine.

z3 is an extra (`pip install seatrial[smt]`) and imported when asked for; `available` says whether it is there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from fractions import Fraction
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from types import FunctionType, ModuleType, SimpleNamespace
from typing import Any, Final, TypeVar

T = TypeVar("T")
STEPS: Final = 2_000_000
"""Of z3 for one question, some hundred milliseconds."""
PATIENCE_MS: Final = 10_000
"""For what z3 does without counting: an answer that takes so long is none."""
MOST_PATHS: Final = 4_000


@cache
def available() -> bool:
    return find_spec("z3") is not None


@cache
def _z3() -> Any:
    return import_module("z3")


class TooHardError(Exception):
    """More paths than are looked at, or z3 gave up."""


class Executor:
    """The way through a function that is under way: which way each fork went, and what holds there.

    The solver has a level for each fork, so that the next way, which begins as this one did, need not tell it again.
    """

    def __init__(self, given: Sequence[Truth]) -> None:
        self.solver = _z3().Solver()
        self.solver.set("rlimit", STEPS)
        self.solver.set("timeout", PATIENCE_MS)
        for truth in given:
            self.solver.add(_truth(truth))
        self._prefix: tuple[bool, ...] = ()
        self._taken: list[bool] = []
        self._told = 0
        """How many forks the solver knows of."""
        self.open: list[tuple[bool, ...]] = []

    @property
    def is_possible(self) -> bool:
        """Whether numbers can go this way."""
        return bool(self.solver.check() != _z3().unsat)

    def begin(self, prefix: tuple[bool, ...]) -> None:
        """Go another way: `prefix` is how the first forks are to go, the last of them otherwise than before."""
        shared = max(0, len(prefix) - 1)
        self.solver.pop(self._told - shared)
        self._told = shared
        self._prefix = prefix
        self._taken = []

    def decides(self, term: Any) -> bool:
        z3 = _z3()
        plain = z3.simplify(term) if z3.is_expr(term) else z3.BoolVal(bool(term))
        if z3.is_true(plain) or z3.is_false(plain):
            return bool(z3.is_true(plain))
        number = len(self._taken)
        if number < len(self._prefix):
            way = self._prefix[number]
        elif self.solver.check(term) == z3.unsat:
            way = False
        else:
            way = True
            if self.solver.check(z3.Not(term)) != z3.unsat:
                self.open.append((*self._taken, False))
        self._taken.append(way)
        if number >= self._told:
            self.solver.push()
            self.solver.add(term if way else z3.Not(term))
            self._told += 1
        return way


_here: list[Executor] = []
"""The execution that is under way, innermost last: a truth value has nowhere else to learn of it."""


class Truth:
    def __init__(self, term: Any) -> None:
        self.term = term

    def __bool__(self) -> bool:
        return _here[-1].decides(self.term)


class Number:
    """An integer or a real number that is a term.

    `over` says of a quotient what was divided by what: comparing it and multiplying it again then need no division,
    which z3 is slow at, and rounding it none of real numbers.
    """

    def __init__(self, term: Any, over: tuple[Any, Any] | None = None) -> None:
        self.term = term
        self._over = over

    def __add__(self, other: Any) -> Number:
        return Number(self.term + _term(other))

    def __sub__(self, other: Any) -> Number:
        return Number(self.term - _term(other))

    def __mul__(self, other: Any) -> Number:
        factor = _term(other)
        if self._over is None:
            return Number(self.term * factor)
        dividend, divisor = self._over
        if isinstance(other, Number) and not isinstance(divisor, int) and divisor.eq(factor):
            return Number(_real(dividend))
        return Number(self.term * _real(factor))

    def __truediv__(self, other: Any) -> Number:
        divisor = _term(other)
        return Number(_real(self.term) / _real(divisor), (self.term, divisor))

    def __rtruediv__(self, other: Any) -> Number:
        return Number(_real(_term(other)) / _real(self.term))

    def __floordiv__(self, other: int) -> Number:
        assert other > 0, "z3 divides as Python does by positive numbers"
        return Number(self.term / _term(other))

    def __rsub__(self, other: Any) -> Number:
        return Number(_term(other) - self.term)

    def __neg__(self) -> Number:
        return Number(-self.term)

    def __ceil__(self) -> Number:
        z3 = _z3()
        if z3.is_int(self.term):
            return self
        if (whole := self._whole()) is not None:
            return Number(-((-whole[0]) / whole[1]))
        return Number(-z3.ToInt(-self.term))

    def __floor__(self) -> Number:
        z3 = _z3()
        if z3.is_int(self.term):
            return self
        if (whole := self._whole()) is not None:
            return Number(whole[0] / whole[1])
        return Number(z3.ToInt(self.term))

    def __lt__(self, other: Any) -> Truth:
        left, right = self._sides(other)
        return Truth(left < right)

    def __le__(self, other: Any) -> Truth:
        left, right = self._sides(other)
        return Truth(left <= right)

    def __gt__(self, other: Any) -> Truth:
        left, right = self._sides(other)
        return Truth(left > right)

    def __ge__(self, other: Any) -> Truth:
        left, right = self._sides(other)
        return Truth(left >= right)

    def __eq__(self, other: object) -> Truth:  # type: ignore[override]  # a comparison of terms is a term
        return Truth(self.term == _term(other))

    def __ne__(self, other: object) -> Truth:  # type: ignore[override]  # a comparison of terms is a term
        return Truth(self.term != _term(other))

    def __bool__(self) -> bool:
        return bool(Truth(self.term != 0))

    def _whole(self) -> tuple[Any, int] | None:
        """An integer and a positive number it is divided by, if it is that."""
        if self._over is None or not isinstance(self._over[1], int) or self._over[1] <= 0:
            return None
        return (self._over[0], self._over[1]) if _z3().is_int(self._over[0]) else None

    def _sides(self, other: Any) -> tuple[Any, Any]:
        """What to compare: of a quotient by something positive and a plain number, the dividend and a product."""
        if self._over is None or isinstance(other, Number) or not bool(Number(self._over[1]) > 0):
            return self.term, _term(other)
        return _real(self._over[0]), _term(other) * _real(self._over[1])

    __radd__ = __add__
    __rmul__ = __mul__
    __hash__ = None  # type: ignore[assignment]  # a term has no identity that a dictionary could use


def integer(name: str) -> Number:
    return Number(_z3().Int(name))


def every(truths: Sequence[Any]) -> Truth:
    return Truth(_z3().And(*(_truth(each) for each in truths)))


def either(truths: Sequence[Any]) -> Truth:
    return Truth(_z3().Or(*(_truth(each) for each in truths)))


def negation(truth: Truth) -> Truth:
    return Truth(_z3().Not(truth.term))


def lesser(one: Any, other: Any) -> Number:
    """The smaller of two, as a term: for what is claimed, which must not fork."""
    z3 = _z3()
    first, second = _term(one), _term(other)
    return Number(z3.If(first <= second, first, second))


def paths(given: Sequence[Truth], run: Callable[[], T]) -> Iterator[tuple[Executor, T]]:
    """Every way through `run` that `given` allows. Raises `TooHardError`."""
    executor = Executor(given)
    executor.open.append(())
    for _ in range(MOST_PATHS):
        if not executor.open:
            return
        executor.begin(executor.open.pop())
        _here.append(executor)
        try:
            result = run()
        finally:
            _here.pop()
        yield executor, result
    raise TooHardError


def counterexample(executor: Executor, claim: Any, named: Mapping[str, Number]) -> dict[str, int] | None:
    """Numbers for which the claim fails on this path; None if there are none. Raises `TooHardError`."""
    z3 = _z3()
    answer = executor.solver.check(z3.Not(_truth(claim)))
    if answer == z3.unsat:
        return None
    if answer != z3.sat:
        raise TooHardError
    model = executor.solver.model()
    return {name: model.eval(number.term, model_completion=True).as_long() for name, number in named.items()}


def lifted(module: ModuleType, *imported: SimpleNamespace) -> SimpleNamespace:
    """The functions of a module, the same code, with terms where Python has floats and fractions.

    `imported` are lifted modules that it imports functions from.
    """
    names: dict[str, Any] = dict(vars(module))
    for other in imported:
        names.update({name: item for name, item in vars(other).items() if name in names})
    replaced = {
        "Fraction": lambda dividend, divisor=1: _exact(dividend, divisor),
        "float": _to_real,
        "int": _Int,
        "math": SimpleNamespace(isfinite=lambda _: True, ceil=lambda n: n.__ceil__(), nan=None, inf=None),
    }
    names.update(replaced)
    for name, item in vars(module).items():
        if isinstance(item, FunctionType) and item.__module__ == module.__name__:
            copy = FunctionType(item.__code__, names, name, item.__defaults__, item.__closure__)
            copy.__kwdefaults__ = item.__kwdefaults__
            names[name] = copy
    return SimpleNamespace(**{name: item for name, item in names.items() if isinstance(item, FunctionType)})


class _IntMeta(type):
    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, (int, Number))

    def __call__(cls, number: Any) -> Any:
        if not isinstance(number, Number):
            return int(number)
        return number.__floor__() if bool(number >= 0) else -((-number).__floor__())


class _Int(metaclass=_IntMeta):
    """`int` on terms: towards zero."""


def _exact(dividend: Any, divisor: Any) -> Any:
    if isinstance(dividend, Number) or isinstance(divisor, Number):
        return dividend / divisor
    return Fraction(dividend, divisor)


def _to_real(number: Any) -> Any:
    return Number(_real(number.term)) if isinstance(number, Number) else float(number)


def _real(term: Any) -> Any:
    z3 = _z3()
    return z3.ToReal(term) if isinstance(term, z3.ExprRef) and z3.is_int(term) else term


def _term(value: Any) -> Any:
    if isinstance(value, Number):
        return value.term
    if isinstance(value, float | Fraction):
        exact = Fraction(value)
        return _z3().Q(exact.numerator, exact.denominator)
    return value


def _truth(value: Any) -> Any:
    return value.term if isinstance(value, Truth) else _z3().BoolVal(bool(value))
