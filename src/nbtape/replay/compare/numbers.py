"""Compare printed numbers within a tolerance."""

from __future__ import annotations

import math
import re
from decimal import Decimal
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from nbtape.replay.compare.settings import ReplaySettings

#: A standalone number: not part of a version, an IP address, a name or a hash. An exponent must have a sign, as printed
#: by Python and C; without one, it may be part of a hash.
NUMBER: Final = r"(?<![\w.])(?<!\d[:,])[-+]?(?:\d{1,400}(?:\.\d{0,400})?|\.\d{1,400})(?:[eE][-+]\d{1,3})?(?![\w]|\.\w)"

#: Numbers with at most two decimals are money or percentages and have no tolerance.
_MONEY_DECIMALS: Final = 2

#: Smallest difference that always counts between numbers without exponents, which may be dates or large sums.
_VISIBLE_DIFFERENCE: Final = 0.005

_PARTS: Final = re.compile(r"[-+]?\d*(?:\.(\d*))?(?:[eE]([-+]\d+))?")


class _Float(NamedTuple):
    value: float
    exact: Decimal
    decimals: int
    exponent: str


def is_close(old: str, new: str, settings: ReplaySettings) -> bool:
    """Whether two numbers matched by `NUMBER` are equal within tolerance; integers and money have none."""
    if old == new:
        return True
    left, right = _parse(old), _parse(new)
    if left is None or right is None:
        return False
    is_plain = not (left.exponent or right.exponent)
    if is_plain and max(left.decimals, right.decimals) <= _MONEY_DECIMALS:
        return left.value == right.value == 0  # minus zero
    moved, size = abs(left.value - right.value), max(abs(left.value), abs(right.value))
    if moved <= settings.absolute:
        return True
    if is_plain and moved >= _VISIBLE_DIFFERENCE:
        return False
    return moved <= settings.relative * size or (moved <= settings.last_place * size and _are_adjacent(left, right))


def _parse(number: str) -> _Float | None:
    """Parse a printed float; None for integers and for values that are not finite."""
    match = _PARTS.fullmatch(number)
    if match is None or match[1] is match[2] is None or not math.isfinite(float(number)):
        return None
    return _Float(float(number), Decimal(number), len(match[1] or ""), match[2] or "")


def _are_adjacent(left: _Float, right: _Float) -> bool:
    """Whether two numbers with the same format differ by one unit of the last printed place."""
    unit = Decimal(1).scaleb(int(left.exponent or 0) - left.decimals)
    return left[2:] == right[2:] and abs(left.exact - right.exact) == unit
