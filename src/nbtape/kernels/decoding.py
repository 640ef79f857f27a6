"""Cut long strings in large messages before decoding them, which takes many times their memory."""

from __future__ import annotations

import contextlib
import datetime
import json
import re
from typing import TYPE_CHECKING, Any, Final

from jupyter_client.session import json_unpacker

from nbtape.common.json_cost import costs_more

if TYPE_CHECKING:
    from collections.abc import Iterator

#: A content with more bytes than this is large.
LARGE: Final = 64 << 10

#: Maximum bytes of JSON that are decoded, in addition to twice the permitted string: structure takes memory, too.
_MAX_STRUCTURE_BYTES: Final = 16 << 20

#: Cost that the values of a content may have in addition to its room (see `json_cost`). Replies to nbtape's own
#: requests have up to 20,000 objects.
_SPARE: Final = 8 << 20

_LONGEST_ESCAPE: Final = rb"\u0000"

_TEXT: Final = re.compile(rb'"(?:[^"\\]++|\\.)*+"', re.DOTALL)
_PRINTED: Final = re.compile(rb'\{"name": ?"std(?:out|err)", ?"text": ?"')

#: Bytes that are copied and searched at once.
_PIECE_BYTES: Final = 1 << 20


def take_in(content: bytes | memoryview, room: int) -> tuple[bytes, int]:
    """Cut the strings in a large JSON content to `room` bytes each, at least 10.

    Returns:
        The shortened JSON, or `{}` if it is still too large, and the number of omitted characters.
    """
    if costs_more(content, room + _SPARE):
        return b"{}", len(content)
    if len(content) <= room:
        return bytes(content), 0
    most = 2 * room + _MAX_STRUCTURE_BYTES
    kept: list[bytes | memoryview] = []
    size = done = cut = 0
    for start, end in _texts(content):
        if end - start > room + len(b'""'):
            middle = _end_of_head(content, start + 1 + room)
            kept += [bytes(content[done:middle]), b'"']
            size, done = size + middle - done, end
            cut += _length(content, middle, end - 1)
            if size > most:
                break
    if size + len(content) - done > most:
        return b"{}", len(content)
    return b"".join([*kept, content[done:]]), cut


def _texts(content: bytes | memoryview) -> Iterator[tuple[int, int]]:
    """Find the strings, including their quotes. Printed output is one string, found without a regular expression."""
    printed = _PRINTED.match(content)
    if printed is not None and content[-2:] == b'"}' and not _has_quote(content, printed.end(), len(content) - 2):
        yield printed.end() - 1, len(content) - 1
    else:
        for text in _TEXT.finditer(content):
            yield text.span()


def _has_quote(content: bytes | memoryview, start: int, end: int) -> bool:
    return any(b'"' in bytes(content[at : min(at + _PIECE_BYTES, end)]) for at in range(start, end, _PIECE_BYTES))


def _length(content: bytes | memoryview, start: int, end: int) -> int:
    """Count the characters of a string or its tail, decoding one piece at a time."""
    length = 0
    while start < end:
        stop = end if end - start <= _PIECE_BYTES else _end_of_head(content, start + _PIECE_BYTES)
        length += _characters(bytes(content[start:stop]))
        start = stop
    return length


def _characters(text: bytes) -> int:
    if b"\\" not in text:
        return len(text) if text.isascii() else len(text.decode(errors="replace"))
    try:
        return len(json.loads(b'"%b"' % text, strict=False))
    except ValueError:  # not JSON
        return len(text)


def _end_of_head(content: bytes | memoryview, end: int) -> int:
    """Find the last position up to `end` that is not inside a character or an escape."""
    for _ in range(3):
        if content[end - 1] & 0xC0 == 0x80:  # noqa: PLR2004  (UTF-8: a byte of a character, not its first)
            end -= 1
    if content[end - 1] >= 0xC0:  # noqa: PLR2004  (UTF-8: the first of several)
        end -= 1
    escape = bytes(content[end - len(_LONGEST_ESCAPE) : end]).rfind(b"\\")
    if escape < 0:
        return end
    before = start = end - len(_LONGEST_ESCAPE) + escape
    while content[before] == ord("\\"):
        before -= 1
    needed = len(_LONGEST_ESCAPE) if bytes(content[start + 1 : start + 2]) == b"u" else len(rb"\n")
    return start if (start - before) % 2 and end - start < needed else end


def with_date(header: Any) -> Any:  # noqa: ANN401  (any JSON value)
    """A header with its `date` as a datetime; any other value unchanged.

    See https://jupyter-client.readthedocs.io/en/stable/messaging.html#message-header.
    """
    date = header.get("date") if isinstance(header, dict) else None
    if isinstance(date, str):
        with contextlib.suppress(ValueError):
            read = datetime.datetime.fromisoformat(date)
            if read.tzinfo is not None:  # otherwise jupyter_client adds the time zone
                header["date"] = read
    return header


class TooDeep(dict[str, Any]):
    """A placeholder for a message part of `size` bytes that is nested too deep for Python's JSON decoder."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size


def decode_json(part: bytes) -> Any:  # noqa: ANN401  (any JSON value)
    """Decode a part of a message; one that is nested too deep becomes `TooDeep`."""
    try:
        return json_unpacker(part)
    except RecursionError:
        return TooDeep(len(part))


def unpack(part: bytes) -> Any:  # noqa: ANN401  (any JSON value)
    """Decode a part of a message for jupyter_client's session, and parse the date if it is a header."""
    return with_date(decode_json(part))
