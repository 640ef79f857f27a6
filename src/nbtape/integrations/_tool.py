"""What tools run code with: an executor that they are given, or one that they make."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

from nbtape.session.blocking import JupyterCodeExecutor

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from nbtape.messages.code_blocks import CodeBlock
    from nbtape.results import CodeResult
    from nbtape.session.executor import AsyncJupyterCodeExecutor

    #: Either face.
    Executor: TypeAlias = JupyterCodeExecutor | AsyncJupyterCodeExecutor
    from collections.abc import Mapping


def given_executor(executor: Executor | None, arguments: dict[str, Any]) -> Executor:
    """The executor of a tool.

    Args:
        executor: One that exists; None for a new one.
        arguments: Those of the new one.

    Raises:
        TypeError: Both are given.
        ValueError: An argument that cannot work.
    """
    if executor is None:
        return JupyterCodeExecutor(**arguments)
    if arguments:
        raise TypeError(f"Give an executor, or what one is made of ({', '.join(arguments)}), and not both.")
    return executor


def awaited(executor: Executor) -> Callable[[Sequence[CodeBlock]], Awaitable[CodeResult]]:
    """What runs code blocks for a caller on an event loop.

    Args:
        executor: A `JupyterCodeExecutor` serves any loop, an `AsyncJupyterCodeExecutor` its own.
    """
    return executor.aexecute_code_blocks if isinstance(executor, JupyterCodeExecutor) else executor.execute_code_blocks


def earlier_calls(call_id: str, tools: Mapping[str, str]) -> list[str]:
    """The calls that stand before another one of the same tool in a message; without any, what it says goes in front.

    Args:
        call_id: The other one.
        tools: The calls of the message in its order: the tool's name by the call's id.
    """
    same = [id_ for id_, tool in tools.items() if tool == tools[call_id]]
    return same[: same.index(call_id)]
