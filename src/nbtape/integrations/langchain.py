"""A tool for LangChain and LangGraph agents: Python in a stateful kernel, recorded as a notebook."""

from __future__ import annotations

import base64
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

from langchain_core.messages import AIMessage
from langchain_core.tools import StructuredTool, ToolException
from pydantic import BaseModel

from nbtape.common.concurrency import offload
from nbtape.errors import NbtapeError
from nbtape.integrations._answers import answer, pictures, trouble
from nbtape.integrations._tool import awaited, earlier_calls, given_executor
from nbtape.messages.code_blocks import CodeBlock
from nbtape.messages.prompts import TOOL_DESCRIPTION
from nbtape.results import CodeResult
from nbtape.session.blocking import JupyterCodeExecutor

# LangGraph hands over the conversation by this annotation, which it reads at run time; without LangGraph there is none.
try:
    from langgraph.prebuilt import ToolRuntime
except ImportError:
    ToolRuntime = Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nbtape.integrations._tool import Executor

#: What a model reads, and what a program gets: the content and the artifact of a `ToolMessage`.
Told: TypeAlias = tuple[str | list[str | dict[str, Any]], CodeResult]


class CodeArguments(BaseModel):
    """What a model gives."""

    code: str


def code_tool(
    executor: Executor | None = None,
    *,
    name: str = "run_code",
    show_pictures: bool = True,
    **arguments: Any,  # noqa: ANN401  (those of JupyterCodeExecutor, which checks them)
) -> StructuredTool:
    """A tool that runs Python; variables live on between calls, and each call becomes a cell of the notebook.

    Code that fails is an answer like any other, for the model to read. Where nbtape itself fails, the tool raises a
    `ToolException`, which LangChain tells the model as a `ToolMessage` with the status "error"; set the tool's
    `handle_tool_error` to False to have it raised. The artifact of other messages is the `CodeResult`.

    In a LangGraph agent, what the model says in a message with code becomes a Markdown cell in front of it.

    The contract is that of https://docs.langchain.com/oss/python/langchain/tools

    Args:
        executor: What runs and records; whoever made it stops it. A `JupyterCodeExecutor` serves `invoke` and
            `ainvoke`, on any event loop; an `AsyncJupyterCodeExecutor` serves `ainvoke` alone, on its own loop.
        name: The name of the tool.
        show_pictures: Whether the model is shown plots besides being told their files. Not every model takes images
            from tools: those of OpenAI's Chat Completions refuse them.
        arguments: For a `JupyterCodeExecutor`, if none is given; that stops when the tool is forgotten, or at exit.

    Raises:
        TypeError: Both an executor and arguments for one.
        ValueError: An argument that cannot work.
    """
    executor = given_executor(executor, arguments)
    execute = awaited(executor)

    def run(code: str, runtime: ToolRuntime = None) -> Told:
        assert isinstance(executor, JupyterCodeExecutor)
        try:
            result = executor.execute_code_blocks([_block(code, runtime)])
        except NbtapeError as exc:
            raise ToolException(trouble(exc)) from exc
        return _content(result, show_pictures=show_pictures), result

    async def arun(code: str, runtime: ToolRuntime = None) -> Told:
        try:
            result = await execute([_block(code, runtime)])
        except NbtapeError as exc:
            raise ToolException(trouble(exc)) from exc
        return await offload(partial(_content, result, show_pictures=show_pictures)), result

    return StructuredTool.from_function(
        run if isinstance(executor, JupyterCodeExecutor) else None,
        arun,
        name=name,
        description=TOOL_DESCRIPTION,
        args_schema=CodeArguments,
        response_format="content_and_artifact",
        handle_tool_error=True,
    )


def _block(code: str, runtime: ToolRuntime | None) -> CodeBlock:
    text, agent = _said(runtime) if runtime is not None else ("", "")
    return CodeBlock(code, "python", said_before=text, said_by=agent)


def _said(runtime: ToolRuntime) -> tuple[str, str]:
    """What the model says in the message that this call is from, and the name of its agent."""
    for message in reversed(_messages(runtime)):
        if not isinstance(message, AIMessage):
            continue
        tools = {call["id"]: call["name"] for call in message.tool_calls}
        if runtime.tool_call_id in tools:
            return ("" if earlier_calls(runtime.tool_call_id, tools) else str(message.text)), message.name or ""
    return "", ""


def _messages(runtime: ToolRuntime) -> Sequence[Any]:
    """The conversation, out of the state of the graph: a list of messages, a dict, a dataclass or a model."""
    state = runtime.state
    if isinstance(state, list):
        return state
    return (state.get("messages") if isinstance(state, dict) else getattr(state, "messages", None)) or ()


def _content(result: CodeResult, *, show_pictures: bool) -> str | list[str | dict[str, Any]]:
    """The content of a `ToolMessage`: text, or standard content blocks if there are pictures."""
    shown = pictures(result) if show_pictures else []
    if not shown:
        return answer(result)
    images = [
        {"type": "image", "base64": base64.b64encode(each.content).decode(), "mime_type": each.mime_type}
        for each in shown
    ]
    return [{"type": "text", "text": answer(result)}, *images]
