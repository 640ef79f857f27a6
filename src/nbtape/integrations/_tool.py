"""What tools share: the executor that runs their code, and the message that a call is from."""

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
    """The executor of a tool: the given one, or a new one with these arguments; a TypeError for both."""
    if executor is None:
        return JupyterCodeExecutor(**arguments)
    if arguments:
        raise TypeError(f"Pass executor= or the arguments of a new one ({', '.join(arguments)}), not both.")
    return executor


def awaited(executor: Executor) -> Callable[[Sequence[CodeBlock]], Awaitable[CodeResult]]:
    """The coroutine function that runs code blocks: on any event loop, or on that of an `AsyncJupyterCodeExecutor`."""
    return executor.aexecute_code_blocks if isinstance(executor, JupyterCodeExecutor) else executor.execute_code_blocks


class Message(NamedTuple):
    """A message of an agent that calls tools."""

    #: The name of the tool by the ID of the call, in the order of the message.
    calls: Mapping[str, str]
    text: str
    agent: str = ""


def find_call(call_id: str, messages: Iterable[Message]) -> tuple[Message, list[str]]:
    """The message that a call is from, and the earlier calls of the same tool in it; an empty message if none is found.

    What a message says is recorded once: its text is empty for all but the first call of a tool.
    """
    for message in messages:
        if call_id in message.calls:
            same = [id_ for id_, tool in message.calls.items() if tool == message.calls[call_id]]
            earlier = same[: same.index(call_id)]
            return message._replace(text="" if earlier else message.text), earlier
    return Message({}, ""), []
