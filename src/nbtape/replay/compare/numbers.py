"""Two numbers as they are printed: whether one is the other, moved by less than it matters."""

from __future__ import annotations

import math
import re
from decimal import Decimal
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from nbtape.replay.compare.settings import ReplaySettings

#: A number that stands by itself: no part of a version, an address of the net, a name or a hash. An exponent has a
#: sign, as Python and C print it, for a hash may well hold an e between digits.
NUMBER: Final = r"(?<![\w.])(?<!\d[:,])[-+]?(?:\d{1,400}(?:\.\d{0,400})?|\.\d{1,400})(?:[eE][-+]\d{1,3})?(?![\w]|\.\w)"

#: Two decimals are money and percentages, where every unit counts.
_DECIMALS_OF_MONEY: Final = 2

#: A number written without an exponent shows its size: serial days, seconds and sums may be so large that a
#: millionth of them is a day. No difference that could be read as half a hundredth is noise.
_VISIBLE: Final = 0.005

_PARTS: Final = re.compile(r"[-+]?\d*(?:\.(\d*))?(?:[eE]([-+]\d+))?")


def is_close(old: str, new: str, settings: ReplaySettings) -> bool:
    """Whether two printed numbers are one within tolerance; never for integers and money.

    Args:
        old: A number, as `NUMBER` finds it.
        new: Another one.
        settings: The tolerances.
    """
    if old == new:
        return True
    if not (_is_float(old) and _is_float(new)):
        return False
    if not _exponent(old) and not _exponent(new) and max(_decimals(old), _decimals(new)) <= _DECIMALS_OF_MONEY:
        return float(old) == float(new) == 0  # minus zero
    return _is_close_float(old, new, settings)


def _is_close_float(old: str, new: str, settings: ReplaySettings) -> bool:
    left, right = float(old), float(new)
    if not (math.isfinite(left) and math.isfinite(right)):
        return False
    moved, size = abs(left - right), max(abs(left), abs(right))
    if moved <= settings.absolute:
        return True
    if not _exponent(old) and not _exponent(new) and moved >= _VISIBLE:
        return False
    return moved <= settings.relative * size or (moved <= settings.last_place * size and _is_next(old, new))


def _is_next(old: str, new: str) -> bool:
    """Whether two numbers are neighbours in their last printed place."""
    if _decimals(old) != _decimals(new) or _exponent(old) != _exponent(new):
        return False
    return abs(Decimal(old) - Decimal(new)) == Decimal(1).scaleb(int(_exponent(old) or 0) - _decimals(old))


def _is_float(number: str) -> bool:
    return "." in number or bool(_exponent(number))


def _decimals(number: str) -> int:
    match = _PARTS.fullmatch(number)
    return len(match[1] or "") if match else 0


def _exponent(number: str) -> str:
    match = _PARTS.fullmatch(number)
    return (match[2] or "") if match else ""
