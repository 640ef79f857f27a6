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
