"""Verdicts, settings and context of a comparison."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal, get_args

from nbtape.common.argument_checks import is_number
from nbtape.replay.compare.patterns import Patterns

if TYPE_CHECKING:
    from collections.abc import Iterable

#: The first four apply to two outputs, from best to worst; the others apply to whole cells.
Verdict = Literal[
    "same", "cosmetic", "drift", "different", "error", "fixed", "same_error", "not_run", "ignored", "skipped"
]

#: Differences between runs that do not matter, as named in `ReplaySettings.cosmetic`.
Rule = Literal[
    "addresses",  # of objects in memory
    "colours",  # and other terminal escape sequences
    "counts",  # execution counts in tracebacks and warnings
    "durations",  # on lines that name them
    "encodings",  # of images with equal pixels
    "files",  # whether %%writefile wrote a new file or one that was there
    "ids",  # of HTML and SVG elements, widgets and plots
    "moments",  # dates and times at which the cell ran
    "paths",  # of temporary files, the working directory and packages
    "progress",  # bars with their rates and times
    "sets",  # the order of their elements
    "whitespace",  # at line ends and between tags
]
RULES: Final[frozenset[Rule]] = frozenset(get_args(Rule))

_ORDER: Final = get_args(Verdict)[:4]

#: Maximum length of a quoted value in a reason.
MAX_QUOTED_CHARS: Final = 80


@dataclass(frozen=True, slots=True)
class Judgement:
    """The verdict on two outputs or on a cell, and a short reason, which is empty if nothing differs."""

    verdict: Verdict
    reason: str = ""


SAME: Final = Judgement("same")


@dataclass(frozen=True, slots=True)
class Context:
    """When and where a cell ran, if known, and whether it writes a file.

    Args:
        began: Seconds since 1970.
        ended: Seconds since 1970.
        directory: The working directory.
        utc_offset: UTC offset in seconds.
        writes_file: Whether the cell is IPython's magic `%%writefile`.
        moved: Parts of paths that count as another part, with that: those of a copy of the working directory.
    """

    began: float | None = None
    ended: float | None = None
    directory: str = ""
    utc_offset: float | None = None
    writes_file: bool = False
    moved: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class ReplaySettings:
    """Which differences to ignore.

    Args:
        relative: Relative tolerance of numbers with a decimal point or an exponent. The default is larger than the
            rounding errors of summing 32-bit floats in another order, and smaller than six printed digits.
        absolute: Absolute tolerance of the same numbers. It is 0 by default, because 1.6e-19 and 1.7e-19 differ.
        last_place: Relative tolerance of numbers that differ by one unit of the last printed place because of rounding.
            The default requires six printed digits. Numbers with at most two decimals have no tolerance.
        levels: Tolerance of a pixel along an edge, out of 256 levels; antialiasing of the same plot can differ by two.
        cosmetic: The rules to apply; see `RULES`.
        extra: Regular expressions for parts of a line to ignore. A cell for which they take more than 5 seconds is
            `different`.

    Raises:
        ValueError: A tolerance is negative, a rule is unknown, or an item of `extra` is not a regular expression.
    """

    relative: float = 1e-6
    absolute: float = 0.0
    last_place: float = 1e-5
    levels: int = 4
    cosmetic: frozenset[Rule] = RULES
    extra: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in ("relative", "absolute", "last_place", "levels"):
            value = getattr(self, name)
            if not (is_number(value) and 0 <= value < math.inf):
                raise ValueError(f"{name}= must be a finite number of at least 0, not {value!r:.100}.")
        if unknown := sorted(map(str, set(self.cosmetic) - RULES)):
            raise ValueError(f"cosmetic= has no rule {', '.join(unknown)}. The rules: {', '.join(sorted(RULES))}.")
        if isinstance(self.extra, str):
            raise TypeError("extra= must be a list of regular expressions, not a string. Put it into a list.")
        for pattern in self.extra:
            try:
                re.compile(pattern)
            except (re.error, TypeError) as exc:
                raise ValueError(f"extra= has {pattern!r:.100}, which is not a regular expression: {exc}.") from exc


class Names:
    """A one-to-one mapping of random names between two outputs."""

    def __init__(self) -> None:
        self._right: dict[str, str] = {}
        self._left: dict[str, str] = {}

    def match(self, left: str, right: str) -> bool:
        """Whether two names correspond; the first call for a name sets the mapping."""
        return self._right.setdefault(left, right) == right and self._left.setdefault(right, left) == left


@dataclass(frozen=True, slots=True)
class Terms:
    """Shared data of a comparison: the context of both runs, the settings, and the names matched so far."""

    recorded: Context = field(default_factory=Context)
    replayed: Context = field(default_factory=Context)
    settings: ReplaySettings = field(default_factory=ReplaySettings)
    names: Names = field(default_factory=Names)
    patterns: Patterns = field(default_factory=Patterns)

    def allow(self, rule: str) -> bool:
        return rule in self.settings.cosmetic


def is_worse(verdict: Verdict, other: Verdict) -> bool:
    """Whether one verdict on two outputs is worse than another."""
    return _ORDER.index(verdict) > _ORDER.index(other)


def worst(judgements: Iterable[Judgement]) -> Judgement:
    """Return the first of the worst judgements; stop at `different`."""
    found = SAME
    for judgement in judgements:
        if is_worse(judgement.verdict, found.verdict):
            found = judgement
        if found.verdict == "different":
            break
    return found


def matches(judgement: Judgement) -> bool:
    """Whether a judgement counts as equal."""
    return judgement.verdict in {"same", "cosmetic", "drift"}


def shown(what: str, old: object, new: object) -> str:
    """Format a reason with both values, each shortened."""
    return f"{what}: - {cut(old)} / + {cut(new)}"


def cut(value: object) -> str:
    """Format a value as one line of at most 80 characters."""
    try:
        line = " ".join(str(value)[: 10 * MAX_QUOTED_CHARS].split())
    except (ValueError, RecursionError):
        return "(too large to show)"
    return line if len(line) <= MAX_QUOTED_CHARS else line[: MAX_QUOTED_CHARS - 1] + "…"
