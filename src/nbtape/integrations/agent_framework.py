"""A tool for Microsoft Agent Framework: Python in a stateful kernel, recorded as a notebook."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from nbtape.errors import MissingExtraError, NbtapeError

try:
    from agent_framework import ChatMiddleware, Content, ContextProvider, FunctionTool
except ModuleNotFoundError as exc:
    raise MissingExtraError("nbtape.integrations.agent_framework", "agent-framework-core", "agent-framework") from exc

from nbtape.integrations._answers import answer, failure, load_pictures
from nbtape.integrations._tool import awaited, given_executor
from nbtape.messages.prompts import TOOL_DESCRIPTION
from nbtape.messages.tool_arguments import tool_block

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from agent_framework import AgentSession, ChatContext, ChatResponse, SessionContext, SupportsAgentRun

    from nbtape.integrations._tool import Executor
    from nbtape.messages.code_blocks import CodeBlock

_PARAMETERS = {"type": "object", "properties": {"code": {"type": "string"}}, "required": ["code"]}


def code_tool(
    executor: Executor | None = None,
    *,
    name: str = "run_code",
    show_pictures: bool = True,
    **arguments: Any,  # noqa: ANN401  (those of JupyterCodeExecutor, which checks them)
) -> FunctionTool:
    """A tool that runs Python in a stateful kernel and records each call as a cell.

    Errors of the code, and of nbtape itself, are ordinary results for the model. The `raw_representation` of the text
    of other results is the `CodeResult`. The framework passes no messages to tools: to record them, pass a
    `CodeProvider` to the agent instead of this tool. See https://learn.microsoft.com/agent-framework/

    Args:
        executor: Runs and records the code; you stop it. A `JupyterCodeExecutor` serves any event loop, an
            `AsyncJupyterCodeExecutor` its own.
        name: The name of the tool.
        show_pictures: Whether the model gets plots as images too. The framework's client for OpenAI's Chat Completions
            drops them with a warning.
        arguments: For a new `JupyterCodeExecutor`, which stops when the tool is garbage-collected, or at exit.

    Raises:
        TypeError: Both an executor and arguments are given.
        ValueError: An invalid argument.
    """
    return _tool(given_executor(executor, arguments), name, tool_block, show_pictures=show_pictures)


class CodeProvider(ContextProvider):
    """Gives an agent the tool of `code_tool`, and records the agent's messages that call it as Markdown cells.

    Pass it in `context_providers=` of an `Agent`. It can serve several agents and runs at a time.

    Args:
        executor: As for `code_tool`.
        name: The name of the tool.
        show_pictures: As for `code_tool`.
        arguments: For a new `JupyterCodeExecutor`, which stops when the provider is garbage-collected, or at exit.

    Raises:
        TypeError: Both an executor and arguments are given.
        ValueError: An invalid argument.
    """

    def __init__(
        self,
        executor: Executor | None = None,
        *,
        name: str = "run_code",
        show_pictures: bool = True,
        **arguments: Any,  # noqa: ANN401  (those of JupyterCodeExecutor, which checks them)
    ) -> None:
        super().__init__("nbtape")
        self._executor = given_executor(executor, arguments)
        self._name = name
        self._show_pictures = show_pictures

    async def before_run(
        self,
        *,
        agent: SupportsAgentRun,
        session: AgentSession,  # noqa: ARG002  (the contract of ContextProvider)
        context: SessionContext,
        state: dict[str, Any],  # noqa: ARG002
    ) -> None:
        """Add the tool and the listener to one run. The framework calls this."""
        messages = _Messages(self._name, agent.name or "")
        tool = _tool(self._executor, self._name, messages.block, show_pictures=self._show_pictures)
        context.extend_tools(self.source_id, [tool])
        context.extend_middleware(self.source_id, [messages])


class _Messages(ChatMiddleware):
    """The agent's messages of one run: keeps the text of the last one until its first call of the tool."""

    def __init__(self, tool: str, agent: str) -> None:
        self._tool = tool
        self._agent = agent
        self._text = ""

    async def process(self, context: ChatContext, call_next: Callable[[], Awaitable[None]]) -> None:
        if context.stream:
            context.stream_result_hooks.append(self._keep)
        await call_next()
        if not context.stream:
            self._keep(context.result)

    def _keep(self, response: ChatResponse) -> None:
        contents = [content for message in response.messages for content in message.contents]
        calls = any(content.type == "function_call" and content.name == self._tool for content in contents)
        texts = [content.text for content in contents if content.type == "text"]
        self._text = "\n\n".join(filter(str.strip, texts)) if calls else ""

    def block(self, code: str) -> CodeBlock:
        """The block of a call. The text of a message is recorded only once, before its first call."""
        text, self._text = self._text, ""
        return replace(tool_block(code), said_before=text, said_by=self._agent)


def _tool(executor: Executor, name: str, block: Callable[[str], CodeBlock], *, show_pictures: bool) -> FunctionTool:
    execute = awaited(executor)

    async def run(code: str) -> list[Content]:
        try:
            result = await execute([block(code)])
        except NbtapeError as exc:
            # The framework would report to the model only that the function failed.
            return [Content.from_text(failure(exc))]
        images = [
            Content.from_data(each.content, each.mime_type) for each in await load_pictures(result, show=show_pictures)
        ]
        return [Content.from_text(answer(result), raw_representation=result), *images]

    return FunctionTool(name=name, description=TOOL_DESCRIPTION, func=run, input_model=_PARAMETERS)
