"""Text made safe and short: valid UTF-8, no terminal escapes, bounded lengths."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from pathlib import Path

#: Each alternative stops at the next code, so matching takes linear time.
_ESCAPES: Final = re.compile(  # ECMA-48
    r"(?:\x1b\[|\x9b)[0-?]*+[ -/]*+[@-~]"  # control sequences: colors, cursor
    # Operating system commands (title, clipboard, links), device control and other strings.
    r"|(?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f])[^\x07\x1b\x90\x98\x9b-\x9f]*+(?:\x07|\x1b\\|\x9c)"
    r"|\x1b[ -/]*+[0-Z\\^-~]"  # all others
    r"|[\x1b\x90\x98\x9b-\x9f]"  # and the rest of broken ones
)
_INTRODUCERS: Final = re.compile(r"[\x1b\x90\x98\x9b-\x9f]")

#: A character that some kernels send as two.
_PAIR: Final = re.compile("[\ud800-\udbff][\udc00-\udfff]")

_COLOUR: Final = re.compile(r"\x1b\[[0-9;]*m")

#: Maximum nesting of JSON from a kernel. Deeper values are not real data, and they overflow Python's JSON encoder.
_DEPTH_LIMIT: Final = 64


def fit_text(text: str) -> str:
    """Make `text` encodable as UTF-8: join surrogate pairs and replace lone surrogates with U+FFFD."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


def fit_json(value: object, depth: int = 0) -> Any:  # noqa: ANN401  (any JSON value)
    """Convert `value` to strict JSON: no NaN, no lone surrogates, bounded nesting."""
    if isinstance(value, str):
        return fit_text(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, int):
        return value
    if depth >= _DEPTH_LIMIT:
        return "…"
    if isinstance(value, dict):
        return {fit_text(str(key)): fit_json(item, depth + 1) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [fit_json(item, depth + 1) for item in value]
    return fit_text(str(value))


def spell_out(value: object) -> Any:  # noqa: ANN401  (any JSON value)
    """`fit_json` for values that people entered: numbers that are not finite become strings, such as "nan"."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, dict):
        return {fit_text(str(key)): spell_out(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [spell_out(item) for item in value]
    return fit_json(value)


def strip_escapes(text: str) -> str:
    """Remove all terminal escape sequences."""
    return _ESCAPES.sub("", text) if _INTRODUCERS.search(text) else text


def keep_colours(text: str) -> str:
    """Remove all terminal escape sequences except colors and text styles."""
    return _ESCAPES.sub(lambda code: code[0] if _COLOUR.fullmatch(code[0]) else "", text)


def shorten(text: str, limit: int, where: str) -> str:
    """Shorten `text` to `limit` characters: its head, a notice with the missing length and `where`, and its tail.

    It is cut between lines, such as the rows of a table. Only a line that is longer than the head or the tail is cut
    itself, but never within a terminal code or a surrogate pair.
    """
    if len(text) <= limit:
        return text
    # Measured with the largest possible number, so that the result never exceeds the limit.
    room = limit - len(_notice(len(text), where))
    if room <= 0:
        return text[: _outside(text, limit)[0]]
    head, tail = _end_of_head(text, room - room // 2), _start_of_tail(text, room // 2)
    notice = _notice(tail - head, where)
    return text[:head] + (notice[1:] if text[:head].endswith("\n") else notice) + text[tail:]


def _notice(missing: int, where: str) -> str:
    return f"\n[… {missing:,} characters left out; {where} …]\n"


def _end_of_head(text: str, room: int) -> int:
    start, end = _line_at(text, room)
    return _outside(text, start if start > 0 and end - start <= room else room)[0]


def _start_of_tail(text: str, room: int) -> int:
    cut = len(text) - room
    start, end = _line_at(text, cut)
    is_whole = start == cut or end - start > room or end + 1 >= len(text)
    return _outside(text, cut if is_whole else end + 1)[1]


def _line_at(text: str, position: int) -> tuple[int, int]:
    """Where the line at a position starts and ends."""
    end = text.find("\n", position)
    return text.rfind("\n", 0, position) + 1, len(text) if end < 0 else end


def _outside(text: str, position: int) -> tuple[int, int]:
    """The nearest positions before and after one at which no terminal code and no surrogate pair is cut."""
    codes = _ESCAPES.finditer(text) if _INTRODUCERS.search(text) else ()
    code = next((code for code in codes if code.end() > position), None)
    if code is not None and code.start() < position:
        return code.start(), code.end()
    if _PAIR.match(text, max(0, position - 1)) and position > 0:
        return position - 1, position + 1
    return position, position


def last_words(log: str, limit: int = 2000) -> str:
    """Return the end of a process's log, at most `limit` characters, for an error message."""
    return strip_escapes(log).strip()[-limit:]


def plural(number: int, noun: str) -> str:
    """Return a number with its noun, such as `1 block` or `2 blocks`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def it_last_said(log: str) -> str:
    """Format the end of a process's log as the end of an error message; empty for an empty log."""
    said = last_words(log)
    return f" It last said:\n{said}" if said else ""


def tail(log: Path) -> str:
    """Read the last 10,000 bytes of a log file; empty if it cannot be read."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - 10_000))
            return file.read().decode(errors="replace")
    except OSError:
        return ""
