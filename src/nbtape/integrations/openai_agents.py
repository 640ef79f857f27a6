"""A tool for the OpenAI Agents SDK: Python in a stateful kernel, recorded as a notebook."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from nbtape.errors import MissingExtraError, NbtapeError

try:
    # ToolContext is in the signature of the tool, which the SDK evaluates at run time.
    from agents import FunctionTool, ItemHelpers, RunHooks, ToolOutputImage, ToolOutputText, function_tool
    from agents.tool import default_tool_error_function
    from agents.tool_context import ToolContext  # noqa: TC002  (see above)
    from openai.types.responses import ResponseFunctionToolCall, ResponseOutputMessage
except ModuleNotFoundError as exc:
    raise MissingExtraError("nbtape.integrations.openai_agents", "openai-agents", "openai-agents") from exc

from nbtape.integrations._answers import answer, failure, load_pictures
from nbtape.integrations._tool import Message, awaited, find_call, given_executor
from nbtape.messages.prompts import TOOL_DESCRIPTION
from nbtape.messages.tool_arguments import tool_block

if TYPE_CHECKING:
    from agents import Agent, ModelResponse, RunContextWrapper

    from nbtape.integrations._tool import Executor


class MessageHooks(RunHooks[Any]):
    """Keeps the text of agents' messages that call a tool, for the notebook.

    The SDK passes messages only to hooks. Pass these to `code_tool` and to `Runner.run`. If you have your own hooks,
    call `on_llm_end` of these from yours.
    """

    def __init__(self) -> None:
        # The last message of each active run.
        self._messages: WeakKeyDictionary[RunContextWrapper[Any], Message] = WeakKeyDictionary()

    async def on_llm_end(
        self,
        context: RunContextWrapper[Any],
        agent: Agent[Any],  # noqa: ARG002  (the contract of RunHooks)
        response: ModelResponse,
    ) -> None:
        """Keep a message. The SDK calls this after the model has answered and before it calls tools."""
        messages = [item for item in response.output if isinstance(item, ResponseOutputMessage)]
        texts = [ItemHelpers.extract_text(message) or "" for message in messages]
        calls = [item for item in response.output if isinstance(item, ResponseFunctionToolCall)]
        names = {call.call_id: call.name for call in calls}
        self._messages[context] = Message(names, "\n\n".join(filter(str.strip, texts)))

    def said(self, call_id: str) -> str:
        """The text to record before a call: that of the message that contains the call."""
        return find_call(call_id, list(self._messages.values()))[0].text


def code_tool(
    executor: Executor | None = None,
    *,
    name: str = "run_code",
    show_pictures: bool = True,
    messages: MessageHooks | None = None,
    **arguments: Any,  # noqa: ANN401  (those of JupyterCodeExecutor, which checks them)
) -> FunctionTool:
    """A tool that runs Python in a stateful kernel and records each call as a cell.

    Errors of the code are ordinary results for the model. If nbtape itself fails, the tool's `failure_error_function`
    reports that to the model, and the run continues. See https://openai.github.io/openai-agents-python/tools/

    Args:
        executor: Runs and records the code; you stop it. A `JupyterCodeExecutor` serves any event loop, an
            `AsyncJupyterCodeExecutor` its own.
        name: The name of the tool.
        show_pictures: Whether the model gets plots as images too. Models of OpenAI's Chat Completions do not accept
            them from tools.
        messages: The hooks of the run, to record the agent's text in a message with code as a Markdown cell.
        arguments: For a new `JupyterCodeExecutor`, which stops when the tool is garbage-collected, or at exit.

    Raises:
        TypeError: Both an executor and arguments are given.
        ValueError: An invalid argument.
    """
    execute = awaited(given_executor(executor, arguments))

    async def run(ctx: ToolContext[Any], code: str) -> Any:  # noqa: ANN401  (the type depends on the content)
        said = messages.said(ctx.tool_call_id) if messages else ""
        agent = ctx.agent.name if ctx.agent is not None else ""
        result = await execute([replace(tool_block(code), said_before=said, said_by=agent)])
        shown = await load_pictures(result, show=show_pictures)
        images = [ToolOutputImage(image_url=f"data:{each.mime_type};base64,{each.base64}") for each in shown]
        return [ToolOutputText(text=answer(result)), *images] if images else answer(result)

    return function_tool(
        run, name_override=name, description_override=TOOL_DESCRIPTION, failure_error_function=_report_failure
    )


def _report_failure(context: RunContextWrapper[Any], error: Exception) -> str:
    """The text for the model about a failed call: errors of nbtape in full, others as the SDK reports them."""
    return failure(error) if isinstance(error, NbtapeError) else str(default_tool_error_function(context, error))
