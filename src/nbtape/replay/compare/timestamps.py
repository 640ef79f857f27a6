"""Recognize printed dates and times at which a cell ran."""

from __future__ import annotations

import re
from calendar import timegm
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from nbtape.replay.compare.settings import Context, Terms

#: Tolerance for inexact clocks and truncated seconds.
_SLACK_SECONDS: Final = 2.0
_DAY: Final = 86400
_HOUR: Final = 3600

#: Maximum run time of a cell for which a time without a date is recognized.
_MAX_CLOCK_SECONDS: Final = 3 * _HOUR

_MONTHS: Final = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_MONTH_NAME: Final = r"(?P<name>Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)[a-z]{0,6}"
_WEEKDAY: Final = r"(?:(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)[a-z]{0,6},? +)?"
_CLOCK: Final = r"(?P<hour>\d{1,2}):(?P<minute>\d\d):(?P<second>\d\d)(?:[.,]\d{1,9})?(?: ?(?P<half>[AP]M)\b)?"
_ZONE: Final = r"(?: ?(?P<zone>Z\b|UTC\b|GMT\b|[-+]\d\d:?\d\d\b))?"

#: Formats of timestamps, longer ones first.
_FORMATS: Final = (
    rf"(?P<year>\d{{4}})[-/](?P<month>\d\d)[-/](?P<day>\d\d)(?:(?:T|, ?| {{1,2}}){_CLOCK}{_ZONE})?",  # ISO 8601, logs
    rf"(?P<year>\d{{4}})(?P<month>\d\d)(?P<day>\d\d)[-_T]?(?P<hour>\d\d)(?P<minute>\d\d)(?P<second>\d\d){_ZONE}",
    rf"(?P<month>\d\d)/(?P<day>\d\d)/(?P<year>\d{{4}})(?:,? {_CLOCK})?",  # %m/%d/%Y
    rf"{_WEEKDAY}(?P<day>\d{{1,2}}) {_MONTH_NAME} (?P<year>\d{{4}})(?: {_CLOCK}{_ZONE})?",  # RFC 2822
    rf"{_WEEKDAY}{_MONTH_NAME} +(?P<day>\d{{1,2}}) {_CLOCK}(?: (?P<zone>UTC|GMT))? (?P<year>\d{{4}})",  # ctime, date
    (
        r"datetime\.datetime\((?P<year>\d{4}), (?P<month>\d{1,2}), (?P<day>\d{1,2}), (?P<hour>\d{1,2}), "
        r"(?P<minute>\d{1,2})(?:, (?P<second>\d{1,2}))?(?:, \d{1,6})?(?P<zone>, tzinfo=datetime\.timezone\.utc)?\)"
    ),
    r"datetime\.date\((?P<year>\d{4}), (?P<month>\d{1,2}), (?P<day>\d{1,2})\)",
    _CLOCK,
    r"(?P<epoch>\d{10}(?=\d{3}\b|\.|\b))(?:\d{3}|\.\d{1,9})?",  # seconds or milliseconds since 1970
)
_READERS: Final = tuple(re.compile(form) for form in _FORMATS)

#: Pattern for any timestamp, without named groups.
MOMENT: Final = r"(?<![\d.:])(?:" + re.sub(r"\?P<[a-z]+>", "?:", "|".join(_FORMATS)) + r")(?![\d:])"

#: UTC offsets of all time zones, in seconds.
_OFFSETS: Final = (*range(-12 * _HOUR, 15 * _HOUR, _HOUR), *(int(h * _HOUR) for h in (-9.5, -3.5, -2.5, 3.5, 4.5, 5.5)),
                   *(int(h * _HOUR) for h in (5.75, 6.5, 8.75, 9.5, 10.5, 12.75)))  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Moment:
    """A parsed timestamp: start of the day in seconds since 1970, seconds since then, and UTC offset."""

    day: int | None
    clock: int | None
    offset: int | None = None

    @property
    def parts(self) -> tuple[bool, bool]:
        """Whether it has a date and a time."""
        return self.day is not None, self.clock is not None


def are_nows(old: str, new: str, terms: Terms) -> bool:
    """Whether both timestamps are from the time at which their cell ran.

    If the recorded cell's time is unknown, any recorded date with a time is accepted.
    """
    left, right = _read(old), _read(new)
    if left is None or right is None or left.parts != right.parts or not _is_now(right, terms.replayed):
        return False
    if terms.recorded.began is None or terms.recorded.ended is None:
        return all(left.parts)
    return _is_now(left, terms.recorded)


def _read(text: str) -> _Moment | None:
    match = next(filter(None, (reader.fullmatch(text) for reader in _READERS)), None)
    if match is None:
        return None
    parts = match.groupdict()
    if epoch := parts.get("epoch"):
        return _Moment(int(epoch) // _DAY * _DAY, int(epoch) % _DAY, 0)
    day, clock = _day(parts), _clock(parts)
    return _Moment(day, clock, _offset(parts.get("zone")))


def _day(parts: dict[str, str | None]) -> int | None:
    if not parts.get("year"):
        return None
    name = parts.get("name")
    month = _MONTHS.index(name.lower()) + 1 if name else int(parts["month"] or 0)
    return timegm((int(parts["year"] or 0), min(max(month, 1), 12), int(parts["day"] or 1), 0, 0, 0))


def _clock(parts: dict[str, str | None]) -> int | None:
    if parts.get("hour") is None:
        return None
    hour = int(parts["hour"] or 0)
    if half := parts.get("half"):
        hour = hour % 12 + (12 if half == "PM" else 0)
    return hour * _HOUR + int(parts["minute"] or 0) * 60 + int(parts.get("second") or 0)


def _offset(zone: str | None) -> int | None:
    if not zone:
        return None
    if zone[0] not in "+-":  # Z, UTC, GMT, and Python's name for them
        return 0
    digits = zone[1:].replace(":", "")
    return (1 if zone[0] == "+" else -1) * (int(digits[:2]) * _HOUR + int(digits[2:]) * 60)


def _is_now(moment: _Moment, context: Context) -> bool:
    if context.began is None or context.ended is None:
        return False
    began, ended = context.began - _SLACK_SECONDS, context.ended + _SLACK_SECONDS
    if moment.day is None and ended - began > _MAX_CLOCK_SECONDS:
        return False
    return any(_is_within(moment, began + offset, ended + offset) for offset in _offsets(moment, context))


def _offsets(moment: _Moment, context: Context) -> tuple[float, ...]:
    if moment.offset is not None:
        return (moment.offset,)
    return _OFFSETS if context.utc_offset is None else (0, context.utc_offset)


def _is_within(moment: _Moment, began: float, ended: float) -> bool:
    """Whether a timestamp is between two times on the same clock."""
    if moment.day is None:
        clock = moment.clock or 0
        return any(began <= day * _DAY + clock <= ended for day in (began // _DAY, ended // _DAY))
    if moment.clock is None:
        return began // _DAY * _DAY <= moment.day <= ended
    return began <= moment.day + moment.clock <= ended
