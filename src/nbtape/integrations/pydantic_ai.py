"""A tool for Pydantic AI agents: Python in a stateful kernel, recorded as a notebook."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

# RunContext and ToolReturn stand in the signature of the tool, which Pydantic AI reads at run time.
from pydantic_ai import BinaryContent, RunContext, Tool, ToolFailed, ToolReturn
from pydantic_ai.messages import ModelResponse, TextPart, ToolCallPart

from nbtape.common.concurrency import offload
from nbtape.errors import NbtapeError
from nbtape.integrations._answers import answer, pictures, trouble
from nbtape.integrations._tool import awaited, earlier_calls, given_executor
from nbtape.messages.code_blocks import CodeBlock
from nbtape.messages.prompts import TOOL_DESCRIPTION

if TYPE_CHECKING:
    from nbtape.integrations._tool import Executor


def code_tool(
    executor: Executor | None = None,
    *,
    name: str = "run_code",
    show_pictures: bool = True,
    **arguments: Any,  # noqa: ANN401  (those of JupyterCodeExecutor, which checks them)
) -> Tool[Any]:
    """A tool that runs Python; variables live on between calls, and each call becomes a cell of the notebook.

    Code that fails is an answer like any other, for the model to read. Where nbtape itself fails, the tool raises
    `ToolFailed`: the model is told in a result with the outcome "failed", and no retry is counted. The `metadata` of
    other results is the `CodeResult`, for the program alone.

    What the model says in a message with code becomes a Markdown cell in front of it. Calls of one message run one
    after the other.

    The contract is that of https://ai.pydantic.dev/tools-advanced/

    Args:
        executor: What runs and records; whoever made it stops it. A `JupyterCodeExecutor` serves any event loop, an
            `AsyncJupyterCodeExecutor` its own.
        name: The name of the tool.
        show_pictures: Whether the model is shown plots besides being told their files. Not every model takes images.
        arguments: For a `JupyterCodeExecutor`, if none is given; that stops when the tool is forgotten, or at exit.

    Raises:
        TypeError: Both an executor and arguments for one.
        ValueError: An argument that cannot work.
    """
    execute = awaited(given_executor(executor, arguments))

    async def run(ctx: RunContext[Any], code: str) -> ToolReturn:
        try:
            result = await execute([_block(code, ctx)])
        except NbtapeError as exc:
            raise ToolFailed(trouble(exc)) from exc
        shown = await offload(partial(pictures, result)) if show_pictures else []
        images = [BinaryContent(each.content, media_type=each.mime_type) for each in shown]
        return ToolReturn([answer(result), *images] if images else answer(result), metadata=result)

    return Tool(run, takes_ctx=True, name=name, description=TOOL_DESCRIPTION, sequential=True)


def _block(code: str, ctx: RunContext[Any]) -> CodeBlock:
    agent = ctx.agent.name if ctx.agent is not None else None
    return CodeBlock(code, "python", said_before=_said(ctx), said_by=agent or "")


def _said(ctx: RunContext[Any]) -> str:
    """What the model says in the message that this call is from."""
    for message in reversed(ctx.messages):
        if not isinstance(message, ModelResponse):
            continue
        tools = {part.tool_call_id: part.tool_name for part in message.parts if isinstance(part, ToolCallPart)}
        if ctx.tool_call_id in tools:
            texts = [part.content for part in message.parts if isinstance(part, TextPart)]
            return "" if earlier_calls(ctx.tool_call_id, tools) else "\n\n".join(filter(str.strip, texts))
    return ""
