"""A tool for the OpenAI Agents SDK: Python in a stateful kernel, recorded as a notebook."""

from __future__ import annotations

import base64
from functools import partial
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

# ToolContext stands in the signature of the tool, which the SDK reads at run time.
from agents import FunctionTool, ItemHelpers, RunHooks, ToolOutputImage, ToolOutputText, function_tool
from agents.tool import default_tool_error_function
from agents.tool_context import ToolContext  # noqa: TC002  (as said)
from openai.types.responses import ResponseFunctionToolCall, ResponseOutputMessage

from nbtape.common.concurrency import offload
from nbtape.errors import NbtapeError
from nbtape.integrations._answers import answer, pictures, trouble
from nbtape.integrations._tool import awaited, earlier_calls, given_executor
from nbtape.messages.code_blocks import CodeBlock
from nbtape.messages.prompts import TOOL_DESCRIPTION

if TYPE_CHECKING:
    from agents import Agent, ModelResponse, RunContextWrapper

    from nbtape.integrations._tool import Executor


class MessageHooks(RunHooks[Any]):
    """Keeps what agents say in the messages that call a tool, for the notebook.

    The SDK does not hand the message to the tool, but to hooks: give these to `code_tool` and to `Runner.run`. Where
    you have hooks of your own, call `on_llm_end` of these in theirs.
    """

    def __init__(self) -> None:
        # By run, for the turn that it is in: a run that ends takes it along.
        self._said: WeakKeyDictionary[RunContextWrapper[Any], dict[str, str]] = WeakKeyDictionary()

    async def on_llm_end(
        self,
        context: RunContextWrapper[Any],
        agent: Agent[Any],  # noqa: ARG002  (the contract of RunHooks)
        response: ModelResponse,
    ) -> None:
        """Called by the SDK after the model has answered, before tools are called."""
        messages = [item for item in response.output if isinstance(item, ResponseOutputMessage)]
        texts = [ItemHelpers.extract_text(message) or "" for message in messages]
        text = "\n\n".join(filter(str.strip, texts))
        calls = [item for item in response.output if isinstance(item, ResponseFunctionToolCall)]
        tools = {call.call_id: call.name for call in calls}
        self._said[context] = {call_id: "" if earlier_calls(call_id, tools) else text for call_id in tools}

    def said(self, call_id: str) -> str:
        """What goes in front of a call: what the agent says in the message that it is from."""
        return next((said[call_id] for said in list(self._said.values()) if call_id in said), "")


def code_tool(
    executor: Executor | None = None,
    *,
    name: str = "run_code",
    show_pictures: bool = True,
    messages: MessageHooks | None = None,
    **arguments: Any,  # noqa: ANN401  (those of JupyterCodeExecutor, which checks them)
) -> FunctionTool:
    """A tool that runs Python; variables live on between calls, and each call becomes a cell of the notebook.

    Code that fails is an answer like any other, for the model to read. Where nbtape itself fails, the model is told
    by the tool's `failure_error_function`, and the run goes on.

    The contract is that of https://openai.github.io/openai-agents-python/tools/

    Args:
        executor: What runs and records; whoever made it stops it. A `JupyterCodeExecutor` serves any event loop, an
            `AsyncJupyterCodeExecutor` its own.
        name: The name of the tool.
        show_pictures: Whether the model is shown plots besides being told their files. Not every model takes images
            from tools: those of OpenAI's Chat Completions do not.
        messages: The hooks of the run, if what the agent says in a message with code is to become a Markdown cell in
            front of it.
        arguments: For a `JupyterCodeExecutor`, if none is given; that stops when the tool is forgotten, or at exit.

    Raises:
        TypeError: Both an executor and arguments for one.
        ValueError: An argument that cannot work.
    """
    execute = awaited(given_executor(executor, arguments))

    async def run(ctx: ToolContext[Any], code: str) -> Any:  # noqa: ANN401  (what the SDK takes is a matter of content)
        said = messages.said(ctx.tool_call_id) if messages else ""
        agent = ctx.agent.name if ctx.agent is not None else ""
        result = await execute([CodeBlock(code, "python", said_before=said, said_by=agent)])
        shown = await offload(partial(pictures, result)) if show_pictures else []
        if not shown:
            return answer(result)
        images = [ToolOutputImage(image_url=_data_url(each.content, each.mime_type)) for each in shown]
        return [ToolOutputText(text=answer(result)), *images]

    return function_tool(
        run, name_override=name, description_override=TOOL_DESCRIPTION, failure_error_function=_tell_failure
    )


def _data_url(content: bytes, mime_type: str) -> str:
    return f"data:{mime_type};base64,{base64.b64encode(content).decode()}"


def _tell_failure(context: RunContextWrapper[Any], error: Exception) -> str:
    """What a model is told of a call that failed: of what nbtape says, all; of anything else, what the SDK tells."""
    return trouble(error) if isinstance(error, NbtapeError) else str(default_tool_error_function(context, error))
