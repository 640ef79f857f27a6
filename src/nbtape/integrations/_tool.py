"""Shared parts of tools: the executor that runs their code, and the message that contains a call."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from nbtape.session.blocking import JupyterCodeExecutor

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

    from nbtape.messages.code_blocks import CodeBlock
    from nbtape.results import CodeResult
    from nbtape.session.executor import AsyncJupyterCodeExecutor

    Executor: TypeAlias = JupyterCodeExecutor | AsyncJupyterCodeExecutor


def given_executor(executor: Executor | None, arguments: dict[str, Any]) -> Executor:
    """The executor of a tool: the given one, or a new one with these arguments; raises TypeError for both."""
    if executor is None:
        return JupyterCodeExecutor(**arguments)
    if arguments:
        raise TypeError(f"Pass executor= or the arguments of a new one ({', '.join(arguments)}), not both.")
    return executor


def awaited(executor: Executor) -> Callable[[Sequence[CodeBlock]], Awaitable[CodeResult]]:
    """The coroutine function that runs code blocks: on any event loop, or that of an `AsyncJupyterCodeExecutor`."""
    return executor.aexecute_code_blocks if isinstance(executor, JupyterCodeExecutor) else executor.execute_code_blocks


class Message(NamedTuple):
    """An agent's message that calls tools."""

    #: The names of the tools by the ids of the calls, in the order of the message.
    calls: Mapping[str, str]
    text: str
    agent: str = ""


def find_call(call_id: str, messages: Iterable[Message]) -> tuple[Message, list[str]]:
    """The message that contains a call, and the earlier calls of the same tool in it; an empty message if not found.

    The text of a message is recorded only once: it is empty except for the first call of a tool.
    """
    for message in messages:
        if call_id in message.calls:
            same = [id_ for id_, tool in message.calls.items() if tool == message.calls[call_id]]
            earlier = same[: same.index(call_id)]
            return message._replace(text="" if earlier else message.text), earlier
    return Message({}, ""), []
