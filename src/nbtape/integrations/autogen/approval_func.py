"""Use AutoGen's functions that approve code."""

from __future__ import annotations

from inspect import isawaitable
from typing import TYPE_CHECKING, Any

from nbtape.errors import MissingExtraError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from autogen_agentchat.agents import ApprovalRequest

    from nbtape.messages.code_blocks import CodeBlock
    from nbtape.session.approval import Answer, Approve


def approve_with(approval_func: Callable[[ApprovalRequest], Any]) -> Approve:
    """Return the `approve=` of an executor for a function written as `approval_func=` of AutoGen's `CodeExecutorAgent`.

    The executor asks about each block, and records refused ones with the reason. The agent asks about all the code of a
    message, and the executor never sees what it refuses.

    Args:
        approval_func: A function or coroutine function. Its request has the code of one block, fenced as AutoGen does
            it, and an empty context.

    Raises:
        MissingExtraError: The package autogen-agentchat is not installed.
    """
    try:
        from autogen_agentchat.agents import ApprovalRequest
    except ModuleNotFoundError as exc:
        raise MissingExtraError("approve_with", "autogen-agentchat", "autogen") from exc

    def approve(block: CodeBlock) -> Answer | Awaitable[Answer]:
        request = ApprovalRequest(code=f"```{block.language}\n{block.code}\n```", context=[])
        response = approval_func(request)
        return _later(response) if isawaitable(response) else _answer(response)

    return approve


async def _later(response: Awaitable[Any]) -> Answer:
    return _answer(await response)


def _answer(response: Any) -> Answer:  # noqa: ANN401  (AutoGen's ApprovalResponse)
    return True if response.approved is True else str(response.reason or "") or False
