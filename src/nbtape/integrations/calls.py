"""Which of the calls of one message has that message in front of it in the notebook: the first of its tool."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


def earlier_calls(call_id: str, tools: Mapping[str, str]) -> list[str]:
    """The calls that stand before another one of the same tool in a message; without any, what it says goes in front.

    Args:
        call_id: The other one.
        tools: The calls of the message in its order: the tool's name by the call's id.
    """
    same = [id_ for id_, tool in tools.items() if tool == tools[call_id]]
    return same[: same.index(call_id)]
