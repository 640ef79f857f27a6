"""Estimate how much memory JSON from untrusted code takes, before decoding it.

A list of empty lists takes 3 bytes per list as JSON and about 100 as objects, so a limit on bytes is not enough.
"""

from __future__ import annotations

import re
from itertools import accumulate
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

#: Characters that a JSON array or object counts for, and those for any other value, in addition to its text.
CONTAINER_COST: Final = 64
VALUE_COST: Final = 16

#: Characters that are copied and scanned at once.
_PIECE: Final = 1 << 16

#: A string without escapes.
_TEXT: Final = re.compile(rb'"[^"]*"')


def costs_more(content: bytes | memoryview, limit: int) -> bool:
    """Whether the values in JSON cost more than `limit` characters, not counting their text."""
    if len(content) * CONTAINER_COST <= limit:  # too short to hold that many values
        return False
    return sum(map(_cost, _pieces(content))) > limit and _exceeds(map(_cost, _structure(content)), limit)


def _exceeds(costs: Iterable[int], limit: int) -> bool:
    """Whether a sum exceeds a limit; stops adding as soon as it does."""
    return any(total > limit for total in accumulate(costs))


def _cost(json: bytes) -> int:
    return CONTAINER_COST * (json.count(b"[") + json.count(b"{")) + VALUE_COST * json.count(b",")


def _pieces(content: bytes | memoryview) -> Iterator[bytes]:
    return (bytes(content[start : start + _PIECE]) for start in range(0, len(content), _PIECE))


def _structure(content: bytes | memoryview) -> Iterator[bytes]:
    """The JSON outside of strings, found without a Python step per string: there may be millions."""
    opening = backslash = b""  # of a string and of an escape that continue in the next piece
    for piece in _pieces(content):
        plain = (backslash + piece).replace(rb"\\", b"")
        backslash = b"\\" if plain.endswith(b"\\") else b""
        plain = plain.removesuffix(backslash).replace(rb"\"", b"")
        outside, opening, _ = _TEXT.sub(b"", opening + plain).partition(b'"')
        yield outside


def is_nested_deeper(value: object, levels: int) -> bool:
    """Whether parsed JSON has more than `levels` levels of arrays and objects; does not recurse."""
    level = [value] if isinstance(value, dict | list) else []
    for _ in range(levels):
        if not level:
            return False
        level = [
            item
            for node in level
            for item in (node.values() if isinstance(node, dict) else node)
            if isinstance(item, dict | list)
        ]
    return bool(level)
