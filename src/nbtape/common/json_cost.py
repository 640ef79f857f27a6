"""What JSON from untrusted code costs in memory, found before it is decoded.

A list of empty lists takes 3 bytes per list as JSON and about 100 as objects, so a limit on bytes is not enough.
"""

from __future__ import annotations

import re
from typing import Final

#: Characters that a JSON array or object counts for, and any other value, besides its text.
CONTAINER_COST: Final = 64
VALUE_COST: Final = 16

_TEXT: Final = re.compile(rb'"(?:[^"\\]++|\\.)*+"', re.DOTALL)

#: Bytes that are looked through at once, for which they are copied.
_PIECE: Final = 1 << 20


def costs_more(content: bytes | memoryview, limit: int) -> bool:
    """Whether the values of some JSON cost more than `limit` characters, without their texts."""
    if len(content) * CONTAINER_COST <= limit:  # it cannot hold so many
        return False
    pieces = (bytes(content[start : start + _PIECE]) for start in range(0, len(content), _PIECE))
    return sum(map(_cost, pieces)) > limit and _costs_more_outside_texts(content, limit)


def _cost(json: bytes) -> int:
    return CONTAINER_COST * (json.count(b"[") + json.count(b"{")) + VALUE_COST * json.count(b",")


def _costs_more_outside_texts(content: bytes | memoryview, limit: int) -> bool:
    cost = done = 0
    for text in _TEXT.finditer(content):
        start, end = text.span()
        cost += _cost(bytes(content[done:start]))
        done = end
        if cost > limit:
            return True
    return cost + _cost(bytes(content[done:])) > limit


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
