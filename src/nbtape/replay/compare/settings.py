"""What is said of outputs that were made twice, and on what terms."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal, get_args

if TYPE_CHECKING:
    from collections.abc import Iterable

#: The last four are of cells as a whole; the first four, each worse than the one before, of any two outputs.
Verdict = Literal["same", "cosmetic", "drift", "different", "error", "fixed", "same_error", "not_run"]

#: What never repeats, by the name under which `ReplaySettings.cosmetic` turns it on.
Rule = Literal[
    "addresses",  # of objects in memory
    "colours",  # and other codes for a terminal
    "counts",  # execution counts in tracebacks and warnings
    "durations",  # on lines that say they are one
    "encodings",  # of equal pixels
    "ids",  # of elements of HTML and SVG, of widgets and of plots
    "moments",  # dates and times at which the cell ran
    "paths",  # temporary ones, the working directory, and where packages are
    "progress",  # bars, their rates and times
    "sets",  # the order of their elements
    "whitespace",  # at the ends of lines, and between tags
]
RULES: Final[frozenset[Rule]] = frozenset(get_args(Rule))

_ORDER: Final[tuple[Verdict, ...]] = ("same", "cosmetic", "drift", "different")
_SHOWN: Final = 80


@dataclass(frozen=True, slots=True)
class Judgement:
    """What is said of two outputs, or of all those of a cell.

    Args:
        verdict: `same`: equal. `cosmetic`: equal but for what never repeats. `drift`: numbers or pixels moved within
            their tolerance. `different`: other content. `error`: failed now and not then. `fixed`: failed then and
            not now. `same_error`: failed both times in the same way. `not_run`: it was not run again.
        reason: What differs, a short sentence; empty if nothing.
    """

    verdict: Verdict
    reason: str = ""


SAME: Final = Judgement("same")


@dataclass(frozen=True, slots=True)
class Context:
    """When and where a cell ran.

    Args:
        began: When it began, seconds since the epoch by the kernel's clock; None if nobody knows.
        ended: When it ended, likewise.
        directory: The kernel's working directory, "" if unknown.
        utc_offset: Seconds that the kernel's local time was ahead of UTC; None if nobody knows: then any offset that
            clocks have is taken for its own.
    """

    began: float | None = None
    ended: float | None = None
    directory: str = ""
    utc_offset: float | None = None


@dataclass(frozen=True, slots=True)
class ReplaySettings:
    """What counts as no difference.

    Args:
        relative: By how much of itself a number with a decimal point or an exponent may move. A millionth is more
            than the noise of adding up 32-bit floats in another order, and less than six printed digits show.
        absolute: By how much such a number may move whatever its size. None by default: 1.6e-19 and 1.7e-19 are two
            numbers, though rounding errors around zero look like them.
        last_place: By how much of itself a number may move that moves by one unit of its last printed place, because
            it was rounded the other way: six digits must be printed, fewer are what people enter, and two decimals
            are money whatever stands before them.
        levels: By how many of its 256 levels a pixel may move along an edge, where antialiasing decides. A line of
            matplotlib's that moves by a thousandth of a pixel's height moves pixels by two; a digit that changes in
            the palest grey that can be read, by nine.
        cosmetic: The rules that count; see `RULES`.
        extra: Regular expressions, applied to each line of a text, whose matches never count.

    Raises:
        re.error: One of `extra` is no regular expression.
    """

    relative: float = 1e-6
    absolute: float = 0.0
    last_place: float = 1e-5
    levels: int = 4
    cosmetic: frozenset[Rule] = RULES
    extra: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for pattern in self.extra:
            re.compile(pattern)


class Names:
    """Which name on the left is which on the right: one for one."""

    def __init__(self) -> None:
        self._right: dict[str, str] = {}
        self._left: dict[str, str] = {}

    def match(self, left: str, right: str) -> bool:
        """Whether two names can be one thing, as far as is known; from now on they are."""
        return self._right.setdefault(left, right) == right and self._left.setdefault(right, left) == left


@dataclass(frozen=True, slots=True)
class Terms:
    """On what terms two outputs are compared: what every comparison is given.

    Args:
        recorded: Of the output that stands left.
        replayed: Of the output that stands right.
        settings: What counts as no difference.
        names: Which temporary or random name on the left is which on the right, as it is found out.
    """

    recorded: Context = field(default_factory=Context)
    replayed: Context = field(default_factory=Context)
    settings: ReplaySettings = field(default_factory=ReplaySettings)
    names: Names = field(default_factory=Names)

    def allow(self, rule: Rule) -> bool:
        return rule in self.settings.cosmetic


def worst(judgements: Iterable[Judgement]) -> Judgement:
    """The worst of some comparisons, the first of its kind; nothing after `different` is looked at."""
    found = SAME
    for judgement in judgements:
        if _ORDER.index(judgement.verdict) > _ORDER.index(found.verdict):
            found = judgement
        if found.verdict == "different":
            break
    return found


def matches(judgement: Judgement) -> bool:
    """Whether two outputs are the same for an analyst."""
    return judgement.verdict in {"same", "cosmetic", "drift"}


def shown(what: str, old: object, new: object) -> str:
    """A reason: what differs, and how it was and is, each cut short."""
    return f"{what}: - {cut(old)} / + {cut(new)}"


def cut(value: object) -> str:
    """One line of at most 80 characters."""
    try:
        # What is long is cut before it is looked at, for it may be very long.
        line = " ".join(str(value)[: 10 * _SHOWN].split())
    except (ValueError, RecursionError):
        return "(too large to show)"
    return line if len(line) <= _SHOWN else line[: _SHOWN - 1] + "…"
