"""What JSON from untrusted code costs in memory, found before it is decoded.

A list of empty lists takes 3 bytes per list as JSON and about 100 as objects, so a limit on bytes is not enough.
"""

from __future__ import annotations

import re
from itertools import accumulate
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

#: Characters that a JSON array or object counts for, and any other value, besides its text.
CONTAINER_COST: Final = 64
VALUE_COST: Final = 16

#: Characters that are looked through at once, for which they are copied.
_PIECE: Final = 1 << 16

#: A text without escapes.
_TEXT: Final = re.compile(rb'"[^"]*"')


def costs_more(content: bytes | memoryview, limit: int) -> bool:
    """Whether the values of some JSON cost more than `limit` characters, without their texts."""
    if len(content) * CONTAINER_COST <= limit:  # it cannot hold so many
        return False
    return sum(map(_cost, _pieces(content))) > limit and _exceeds(map(_cost, _structure(content)), limit)


def _exceeds(costs: Iterable[int], limit: int) -> bool:
    """Whether a sum is larger than a limit; adds no more than it takes to know."""
    return any(total > limit for total in accumulate(costs))


def _cost(json: bytes) -> int:
    return CONTAINER_COST * (json.count(b"[") + json.count(b"{")) + VALUE_COST * json.count(b",")


def _pieces(content: bytes | memoryview) -> Iterator[bytes]:
    return (bytes(content[start : start + _PIECE]) for start in range(0, len(content), _PIECE))


def _structure(content: bytes | memoryview) -> Iterator[bytes]:
    """What is outside of the texts, found without a step of Python for each of them: there may be millions."""
    opening = backslash = b""  # of a text and of an escape that continue in the next piece
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
