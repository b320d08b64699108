"""Powers rounded as Go's `math` package rounds them.

Other mathematical libraries differ in the last digit. That digit shows: it decides where half of the weight lies when
samples tie, and whether a bound that is cut off to whole bytes, and then widened, is some hundred bytes more or less.
"""

from __future__ import annotations

import math
from typing import Final

_LN2: Final = (6.93147180369123816490e-01, 1.90821492927058770002e-10)
"""The logarithm of 2 as a sum, which is more exact than one number."""
_EXP: Final = (
    1.66666666666666657415e-01,
    -2.77777777770155933842e-03,
    6.61375632143793436117e-05,
    -1.65339022054652515390e-06,
    4.13813679705723846039e-08,
)
"""Coefficients of the approximation of exp that Go has from FreeBSD's libm."""


def exp2(exponent: float) -> float:
    """Two to the power of `exponent`."""
    whole = int(exponent + math.copysign(0.5, exponent))
    high, low = (exponent - whole) * _LN2[0], -(exponent - whole) * _LN2[1]
    rest = high - low
    square, series = rest * rest, 0.0
    for coefficient in reversed(_EXP):
        series = coefficient + square * series
    even = rest - square * series
    return math.ldexp(1 - ((low - rest * even / (2 - even)) - high), whole)


def power(base: float, exponent: int) -> float:
    """By squaring, as Go does for whole exponents."""
    result, left = 1.0, abs(exponent)
    while left:
        if left & 1:
            result *= base
        base *= base
        left >>= 1
    return result if exponent >= 0 else 1 / result
