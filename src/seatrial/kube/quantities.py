"""Resource quantities (`500m`, `1.5Gi`, `2e3`): exact arithmetic and upstream's canonical form.

The rules are those of apimachinery's `resource.Quantity`: nothing below a billionth exists (it is rounded away from
zero), a value remembers which family of suffixes it was written in, and printing chooses the largest suffix that
needs no fraction. Equality, order and hash look at the value alone: `1Gi == 1073741824`. A plain class on purpose:
msgspec would take a dataclass or Struct for a JSON object, while a quantity is a JSON string or number.
"""

from __future__ import annotations

import re
from functools import total_ordering
from typing import Final

_NANO_DIGITS: Final = 9
_NANOS: Final = 10**_NANO_DIGITS
_BINARY, _DECIMAL, _EXPONENT = "BinarySI", "DecimalSI", "DecimalExponent"
_BINARY_POWERS: Final = {"Ki": 10, "Mi": 20, "Gi": 30, "Ti": 40, "Pi": 50, "Ei": 60}
_DECIMAL_POWERS: Final = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_DECIMAL_SUFFIXES: Final = {power: suffix for suffix, power in _DECIMAL_POWERS.items()}
_BINARY_SUFFIXES: Final = {power: suffix for suffix, power in _BINARY_POWERS.items()} | {0: ""}
_BINARY_MAX: Final = (2**63 - 1) * _NANOS  # upstream caps the binary family there
_WRITTEN: Final = re.compile(r"([+-]?)([0-9]*)(?:\.([0-9]*))?([A-Za-z]*|[eE][+-]?[0-9]+)", re.ASCII)
_LONGEST_TEXT: Final = 256  # longer than any quantity somebody meant; keeps a hostile number from costing anything
_LARGEST_EXPONENT: Final = 400


@total_ordering
class Quantity:
    """An immutable number of cores, bytes or things. `Quantity.parse` reads one, `str` writes it canonically."""

    __slots__ = ("_family", "_nanos")
    _family: str
    _nanos: int

    def __init__(self, nanos: int, family: str = _DECIMAL) -> None:
        """`nanos` is the value in billionths; `family` decides only how it is printed."""
        object.__setattr__(self, "_nanos", nanos)
        object.__setattr__(self, "_family", family)

    @classmethod
    def parse(cls, raw: object) -> Quantity:
        """The quantity that a JSON string or number spells. Raises `ValueError` for anything else."""
        if isinstance(raw, Quantity):
            return raw
        if isinstance(raw, bool) or not isinstance(raw, (str, int, float)):
            raise ValueError(f"a quantity is a string or a number, not {raw!r}")
        text = raw.strip() if isinstance(raw, str) else str(raw)
        if len(text) > _LONGEST_TEXT:
            raise ValueError(f"a quantity of {len(text)} characters is longer than any meaningful one")
        written = _WRITTEN.fullmatch(text)
        if written is None or not (written[2] or written[3]):
            raise ValueError(f"{text!r} is not a quantity: write a number and a suffix, such as 500m, 2, 1.5Gi or 2e3")
        sign, whole, fraction, suffix = written[1], written[2], written[3] or "", written[4]
        digits = int(whole + fraction)
        if suffix in _BINARY_POWERS:
            size = _shift((digits << _BINARY_POWERS[suffix]), _NANO_DIGITS - len(fraction))
            size = min(size, _BINARY_MAX)
            family = _DECIMAL if 0 < size < _NANOS else _BINARY
        else:
            power, family = _decimal_power(text, suffix)
            size = _shift(digits, power - len(fraction) + _NANO_DIGITS)
        return cls(-size if sign == "-" else size, family)

    @property
    def value(self) -> int:
        """Whole units, rounded up."""
        return -(-self._nanos // _NANOS)

    @property
    def milli(self) -> int:
        """Thousandths, rounded up."""
        return -(-self._nanos // (_NANOS // 1000))

    @property
    def nanos(self) -> int:
        """Billionths: the exact value."""
        return self._nanos

    @property
    def family(self) -> str:
        """In which suffixes the value is printed."""
        return self._family

    def rounded_to_milli(self) -> Quantity:
        """The value at milli precision, rounded away from zero, as the API server stores resource lists."""
        return Quantity(_divide_away(self._nanos, _NANOS // 1000) * (_NANOS // 1000), self._family)

    def __add__(self, other: Quantity) -> Quantity:
        return Quantity(self._nanos + other._nanos, self._family if self._nanos else other._family)

    def __sub__(self, other: Quantity) -> Quantity:
        return Quantity(self._nanos - other._nanos, self._family if self._nanos else other._family)

    def __neg__(self) -> Quantity:
        return Quantity(-self._nanos, self._family)

    def __bool__(self) -> bool:
        return self._nanos != 0

    def __eq__(self, other: object) -> bool:
        return self._nanos == other._nanos if isinstance(other, Quantity) else NotImplemented

    def __lt__(self, other: Quantity) -> bool:
        return self._nanos < other._nanos if isinstance(other, Quantity) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._nanos)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError("a Quantity never changes; calculate a new one")

    def __reduce__(self) -> tuple[type[Quantity], tuple[int, str]]:
        return Quantity, (self._nanos, self._family)

    def __repr__(self) -> str:
        return f"Quantity.parse({str(self)!r})"

    def __str__(self) -> str:
        if not self._nanos:
            return "0"
        whole, rest = divmod(self._nanos, _NANOS)
        if self._family == _BINARY and not rest and abs(whole) >= 1024:
            power = 0
            while whole % 1024 == 0 and power < 60:
                whole //= 1024
                power += 10
            return f"{whole}{_BINARY_SUFFIXES[power]}"
        number, power = self._nanos, -_NANO_DIGITS
        while number % 1000 == 0:
            number //= 1000
            power += 3
        if self._family != _EXPONENT and power in _DECIMAL_SUFFIXES:
            return f"{number}{_DECIMAL_SUFFIXES[power]}"
        return f"{number}e{power}" if power else str(number)


ZERO: Final = Quantity(0)


def _decimal_power(text: str, suffix: str) -> tuple[int, str]:
    if suffix in _DECIMAL_POWERS:
        return _DECIMAL_POWERS[suffix], _DECIMAL
    if suffix[0] in "eE" and len(suffix) > 1 and not suffix[1].isalpha():
        power = int(suffix[1:])
        if power > _LARGEST_EXPONENT:
            raise ValueError(f"{text!r} is larger than any quantity: exponents end at {_LARGEST_EXPONENT}")
        return max(power, -_LARGEST_EXPONENT), _EXPONENT
    hint = {"K": "k (thousand) or Ki (1024)", "KB": "k", "MB": "M", "GB": "G", "TB": "T", "mi": "Mi", "gi": "Gi"}.get(
        suffix
    )
    likely = f"; {suffix} is written {hint}" if hint else ""
    raise ValueError(
        f"{text!r} has the unknown suffix {suffix!r}{likely}."
        f" Suffixes are n u m k M G T P E, Ki Mi Gi Ti Pi Ei, and an exponent as in 2e3"
    )


def _shift(digits: int, places: int) -> int:
    """`digits` times ten to the `places`, rounded away from zero."""
    return digits * 10**places if places >= 0 else _divide_away(digits, 10**-places)


def _divide_away(number: int, by: int) -> int:
    size = -(-abs(number) // by)
    return -size if number < 0 else size
