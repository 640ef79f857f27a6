"""A tool for Pydantic AI agents: Python in a stateful kernel, recorded as a notebook."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from nbtape.errors import MissingExtraError, NbtapeError

try:
    # RunContext and ToolReturn are in the signature of the tool, which Pydantic AI evaluates at run time.
    from pydantic_ai import BinaryContent, RunContext, Tool, ToolFailed, ToolReturn
    from pydantic_ai.messages import ModelResponse, TextPart, ToolCallPart
except ModuleNotFoundError as exc:
    raise MissingExtraError("nbtape.integrations.pydantic_ai", "pydantic-ai-slim", "pydantic-ai") from exc

from nbtape.integrations._answers import answer, failure, load_pictures
from nbtape.integrations._tool import Message, awaited, find_call, given_executor
from nbtape.messages.prompts import TOOL_DESCRIPTION
from nbtape.messages.tool_arguments import tool_block

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nbtape.integrations._tool import Executor


def code_tool(
    executor: Executor | None = None,
    *,
    name: str = "run_code",
    show_pictures: bool = True,
    **arguments: Any,  # noqa: ANN401  (those of JupyterCodeExecutor, which checks them)
) -> Tool[Any]:
    """A tool that runs Python in a stateful kernel and records each call as a cell.

    Errors of the code are ordinary results for the model. If nbtape itself fails, the tool raises `ToolFailed`, which
    does not count as a retry. The `metadata` of other results is the `CodeResult`. The model's text in a message with
    code becomes a Markdown cell before it. Calls of one message run in order. See
    https://ai.pydantic.dev/tools-advanced/

    Args:
        executor: Runs and records the code; you stop it. A `JupyterCodeExecutor` serves any event loop, an
            `AsyncJupyterCodeExecutor` its own.
        name: The name of the tool.
        show_pictures: Whether the model gets plots as images too. Not every model accepts them.
        arguments: For a new `JupyterCodeExecutor`, which stops when the tool is garbage-collected, or at exit.

    Raises:
        TypeError: Both an executor and arguments are given.
        ValueError: An invalid argument.
    """
    execute = awaited(given_executor(executor, arguments))

    async def run(ctx: RunContext[Any], code: str) -> ToolReturn:
        message, _ = find_call(ctx.tool_call_id or "", _messages(ctx))
        agent = ctx.agent.name if ctx.agent is not None else None
        try:
            result = await execute([replace(tool_block(code), said_before=message.text, said_by=agent or "")])
        except NbtapeError as exc:
            raise ToolFailed(failure(exc)) from exc
        shown = await load_pictures(result, show=show_pictures)
        images = [BinaryContent(each.content, media_type=each.mime_type) for each in shown]
        return ToolReturn([answer(result), *images] if images else answer(result), metadata=result)

    return Tool(run, takes_ctx=True, name=name, description=TOOL_DESCRIPTION, sequential=True)


def _messages(ctx: RunContext[Any]) -> Iterator[Message]:
    for message in reversed(ctx.messages):
        if isinstance(message, ModelResponse):
            calls = {part.tool_call_id: part.tool_name for part in message.parts if isinstance(part, ToolCallPart)}
            texts = [part.content for part in message.parts if isinstance(part, TextPart)]
            yield Message(calls, "\n\n".join(filter(str.strip, texts)))
