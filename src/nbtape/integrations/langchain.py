"""A tool for LangChain and LangGraph agents: Python in a stateful kernel, recorded as a notebook."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeAlias

from nbtape.errors import MissingExtraError, NbtapeError

try:
    from langchain_core.messages import AIMessage
    from langchain_core.tools import StructuredTool, ToolException
    from pydantic import BaseModel
except ModuleNotFoundError as exc:
    raise MissingExtraError("nbtape.integrations.langchain", "langchain-core", "langchain") from exc

from nbtape.common.concurrency import offload
from nbtape.integrations._answers import answer, failure, pictures
from nbtape.integrations._tool import Message, awaited, find_call, given_executor
from nbtape.messages.prompts import TOOL_DESCRIPTION
from nbtape.messages.tool_arguments import tool_block
from nbtape.results import CodeResult
from nbtape.session.blocking import JupyterCodeExecutor

# LangGraph passes the conversation to the parameter with this annotation, which it evaluates at run time.
try:
    from langgraph.prebuilt import ToolRuntime
except ImportError:
    ToolRuntime = Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nbtape.integrations._tool import Executor
    from nbtape.messages.code_blocks import CodeBlock

#: The content and the artifact of a `ToolMessage`.
Told: TypeAlias = tuple[str | list[str | dict[str, Any]], CodeResult]


class CodeArguments(BaseModel):
    """The arguments that a model passes to the tool."""

    code: str


def code_tool(
    executor: Executor | None = None,
    *,
    name: str = "run_code",
    show_pictures: bool = False,
    **arguments: Any,  # noqa: ANN401  (those of JupyterCodeExecutor, which checks them)
) -> StructuredTool:
    """A tool that runs Python in a stateful kernel and records each call as a cell.

    Errors of the code are ordinary results for the model. If nbtape itself fails, LangChain reports the tool's
    `ToolException` in a `ToolMessage` with the status "error"; set the tool's `handle_tool_error` to False to raise it.
    The artifact of other messages is the `CodeResult`. In a LangGraph agent, the model's text in a message with code
    becomes a Markdown cell before it. See https://docs.langchain.com/oss/python/langchain/tools

    Args:
        executor: Runs and records the code; you stop it. A `JupyterCodeExecutor` serves `invoke` and `ainvoke`, on any
            event loop; an `AsyncJupyterCodeExecutor` serves only `ainvoke`, on its own loop.
        name: The name of the tool.
        show_pictures: Whether the model gets plots as images too. Off by default, because OpenAI's Chat Completions API
            refuses images from tools. Turn it on for other models, such as Anthropic's and Google's.
        arguments: For a new `JupyterCodeExecutor`, which stops when the tool is garbage-collected, or at exit.

    Raises:
        TypeError: Both an executor and arguments are given.
        ValueError: An invalid argument.
    """
    executor = given_executor(executor, arguments)
    execute = awaited(executor)

    def run(code: str, runtime: ToolRuntime = None) -> Told:
        assert isinstance(executor, JupyterCodeExecutor)
        try:
            result = executor.execute_code_blocks([_block(code, runtime)])
        except NbtapeError as exc:
            raise ToolException(failure(exc)) from exc
        return _content(result, show_pictures=show_pictures), result

    async def arun(code: str, runtime: ToolRuntime = None) -> Told:
        try:
            result = await execute([_block(code, runtime)])
        except NbtapeError as exc:
            raise ToolException(failure(exc)) from exc
        return await offload(_content, result, show_pictures=show_pictures), result

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
    if runtime is None:
        return tool_block(code)
    message, _ = find_call(runtime.tool_call_id, _messages(runtime.state))
    return replace(tool_block(code), said_before=message.text, said_by=message.agent)


def _messages(state: Any) -> Iterator[Message]:  # noqa: ANN401  (a list of messages, a dict, a dataclass or a model)
    """The messages in the state of a graph, the last one first."""
    if isinstance(state, dict):
        state = state.get("messages")
    elif not isinstance(state, list):
        state = getattr(state, "messages", None)
    for message in reversed(state or ()):
        if isinstance(message, AIMessage):
            calls = {call["id"]: call["name"] for call in message.tool_calls}
            yield Message(calls, str(message.text), message.name or "")


def _content(result: CodeResult, *, show_pictures: bool) -> str | list[str | dict[str, Any]]:
    """The content of a `ToolMessage`: text, or standard content blocks if there are images."""
    shown = pictures(result) if show_pictures else []
    images = [{"type": "image", "base64": each.base64, "mime_type": each.mime_type} for each in shown]
    return [{"type": "text", "text": answer(result)}, *images] if images else answer(result)
