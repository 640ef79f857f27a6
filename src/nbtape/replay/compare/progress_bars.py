"""Reduce progress bars to their counts, without their drawing and speed."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

#: tqdm, https://github.com/tqdm/tqdm: `reading: 100%|████| 10/10 [00:00<00:00, 99.0it/s, loss=0.3]`.
_COUNTED: Final = re.compile(
    r"(?P<name>[^|]{0,200}?) *\d{1,3}%\|[^|\n]{0,400}\| *(?P<count>[\d.]+\w{0,6}/[\d.]+\w{0,6}) "
    r"\[\d{1,3}:\d\d(?::\d\d)?<(?:\?|\d{1,3}:\d\d(?::\d\d)?)(?:, *[\d.?]+ ?[^\s,\]]{0,20})?(?P<rest>,[^\]\n]{0,400})?\]"
    r"(?P<after>[^\n]{0,200})"
)
#: A progress bar without a total: `7it [00:00, 99.0it/s]`.
_OPEN: Final = re.compile(
    r"(?P<name>(?:[^|\n]{0,200}: )?)(?P<count>[\d.]+[A-Za-z]{1,10}) \[\d+:\d\d(?::\d\d)?, *[\d.?]+ ?[^\s,\]]{0,20}"
    r"(?P<rest>,[^\]\n]{0,400})?\](?P<after>[^\n]{0,200})"
)

#: Cursor up: the previous line is redrawn.
_UP: Final = "\x1b[A"


class _Bar(NamedTuple):
    """A progress bar, and the line that represents it."""

    name: str
    total: str
    is_finished: bool
    line: str


def settle_bars(text: str) -> str:
    """Replace each progress bar in terminal output by a line with its name and last counts.

    Nested bars are redrawn repeatedly, depending on time. All finished bars are kept, and the last state of the others.
    """
    if "[" not in text or not ("%|" in text or "it [" in text or _OPEN.search(text[:2000])):
        return text
    lines: list[str] = []
    block: list[_Bar] = []
    for line in text.split("\n"):
        bar = _bar(line.replace(_UP, ""))
        if bar or (_UP in line and not line.replace(_UP, "").strip()):
            block += [bar] if bar and _UP not in line else []
        elif not block or line.strip():
            lines += [*_last_drawn(block), line]
            block = []
    return "\n".join([*lines, *_last_drawn(block)])


def _last_drawn(block: list[_Bar]) -> list[str]:
    """The lines to keep of consecutive bars."""
    lines: list[str] = []
    later: set[tuple[str, str]] = set()
    for bar in reversed(block):
        if bar.is_finished or (bar.name, bar.total) not in later:
            lines.append(bar.line)
        later.add((bar.name, bar.total))
    return lines[::-1]


def _bar(line: str) -> _Bar | None:
    line = line.rstrip()
    if not line.endswith("]") and "]" not in line[-200:]:
        return None
    if not (match := _COUNTED.fullmatch(line) or _OPEN.fullmatch(line)):
        return None
    name, count = match["name"].strip(), match["count"]
    done, _, total = count.partition("/")
    return _Bar(name, total, done == total or not total, f"⟦bar⟧ {name} {count}{match['rest'] or ''}{match['after']}")
