"""Code environments and tools for ag2 1.0 and newer; ag2 up to 0.14 accepts `nbtape.JupyterCodeExecutor` directly."""

from __future__ import annotations

import asyncio
from contextvars import ContextVar
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, Self

from nbtape.errors import MissingExtraError

try:
    from ag2.config.input_acceptance import accepts_input
    from ag2.events import ClientToolCallEvent, ImageInput, ModelResponse, ToolResultEvent
    from ag2.tools.code import CodeRunResult, SandboxCodeTool
    from ag2.utils import MODEL_CONFIG_CONTEXT_DEPENDENCY_KEY
except ModuleNotFoundError as exc:
    raise MissingExtraError("nbtape.integrations.ag2", "ag2", "ag2") from exc

from nbtape.integrations._answers import answer, load_pictures
from nbtape.integrations._tool import Message, find_call
from nbtape.messages.prompts import TOOL_DESCRIPTION
from nbtape.messages.tool_arguments import tool_block

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ag2 import Context
    from ag2.context import Stream
    from ag2.events import BaseEvent, ToolCallEvent
    from ag2.middleware import ToolExecution, ToolMiddleware, ToolResultType
    from ag2.tools.code import CodeLanguage

    from nbtape.results import CodeResult
    from nbtape.session.executor import AsyncJupyterCodeExecutor

#: Collects the results of the current task's call, for `add_pictures`.
_RESULTS: Final[ContextVar[list[CodeResult] | None]] = ContextVar("nbtape.integrations.ag2", default=None)

#: Poll interval for the result of another call in the history.
_HISTORY_POLL_SECONDS: Final = 1.0


class JupyterCodeEnvironment:
    """Runs the code of a `SandboxCodeTool` in one stateful kernel and records it as a notebook.

    The contract is `CodeEnvironment` in
    https://github.com/ag2ai/ag2/blob/main/ag2/tools/code/environment/base.py

    ag2 neither starts nor stops environments: use `async with` on the executor, or let it start on first use and stop
    at exit. The calls of one message run in the order in which the model wrote them. A canceled turn interrupts its
    block, and the executor is ready for the next turn, on the same event loop.

    Args:
        executor: Runs and records the code, with its own `timeout`. The model's text in a message with code becomes a
            Markdown cell before it.
        languages: The languages that the model can choose from.
    """

    def __init__(
        self, executor: AsyncJupyterCodeExecutor, *, languages: tuple[CodeLanguage, ...] = ("python", "bash")
    ) -> None:
        self.executor = executor
        self.supported_languages = tuple(languages)

    async def run(self, code: str, language: CodeLanguage, *, context: Context | None = None) -> CodeRunResult:
        """Run code in a cell; `SandboxCodeTool` calls this. Code in another language is recorded but not run.

        The exit code is 1 for an error, 124 for a timeout, and 137 for a kernel that died.

        Raises:
            KernelStartError: No kernel can be started.
            NotebookWriteError: The notebook cannot be written.
        """
        block = replace(tool_block(code, language), said_before=await _take_turn(context))
        if block.language in self.supported_languages:
            result = await self.executor.execute_code_blocks([block])
        else:
            note = f"Not run: this environment cannot run {block.language}, only {', '.join(self.supported_languages)}."
            result = await self.executor.skip_code_blocks([block], note)
        if (results := _RESULTS.get()) is not None:
            results.append(result)
        return CodeRunResult(output=answer(result), exit_code=result.exit_code)

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """Return the same environment: an agent copies its tools, but there is only one kernel."""
        return self


def code_tool(
    executor: AsyncJupyterCodeExecutor,
    *,
    languages: tuple[CodeLanguage, ...] = ("python", "bash"),
    name: str = "run_code",
    show_pictures: bool = True,
    middleware: Iterable[ToolMiddleware] = (),
) -> SandboxCodeTool:
    """A `SandboxCodeTool` over a `JupyterCodeEnvironment`, described to the model as a stateful kernel.

    Args:
        executor: Runs and records the code.
        languages: The languages that the model can choose from.
        name: The name of the tool.
        show_pictures: Whether the model gets plots as images too; see `add_pictures`.
        middleware: As for `SandboxCodeTool`, for example an approval.
    """
    return SandboxCodeTool(
        JupyterCodeEnvironment(executor, languages=languages),
        name=name,
        description=TOOL_DESCRIPTION,
        middleware=[*middleware, add_pictures] if show_pictures else middleware,
    )


async def add_pictures(call: ToolExecution, event: ToolCallEvent, context: Context) -> ToolResultType:
    """Show the model the plots of its code. Middleware for a `SandboxCodeTool` over a `JupyterCodeEnvironment`.

    Images are left out if ag2 knows that the provider does not accept them from tools (OpenAI's Chat Completions,
    Ollama). Some models of other providers may not accept them either.
    """
    results: list[CodeResult] = []
    token = _RESULTS.set(results)
    try:
        told = await call(event, context)
    finally:
        _RESULTS.reset(token)
    config = context.dependencies.get(MODEL_CONFIG_CONTEXT_DEPENDENCY_KEY)
    if isinstance(told, ToolResultEvent):
        for result in results:
            shown = await load_pictures(result)
            inputs = [ImageInput(data=each.content, media_type=each.mime_type) for each in shown]
            told.result.parts += [each for each in inputs if accepts_input(config, "tool", each)]
    return told


async def _take_turn(context: Context | None) -> str:
    """Wait for the earlier calls of this tool in the same message; return the text to record before this one.

    ag2 runs the calls of one message concurrently, but their code may depend on the order in the message.
    """
    if context is None or context.tool_call_id is None:
        return ""
    message, earlier = find_call(context.tool_call_id, _messages(await context.stream.history.get_events()))
    for call_id in earlier:
        await _settled(call_id, context.stream)
    return message.text


def _messages(events: Iterable[BaseEvent]) -> Iterator[Message]:
    for event in reversed(list(events)):
        if isinstance(event, ModelResponse):
            yield Message({call.id: call.name for call in event.tool_calls.calls}, event.content or "")


async def _settled(call_id: str, stream: Stream) -> None:
    """Wait until a call has a result, from its code or from a middleware that did not let it run."""
    settles = (ToolResultEvent.parent_id == call_id) | (ClientToolCallEvent.id == call_id)
    async with stream.get(settles) as event:
        # The result may have arrived before this subscribed, and may be saved only now.
        while not event.done() and not any(map(settles, await stream.history.get_events())):
            await asyncio.wait({event}, timeout=_HISTORY_POLL_SECONDS)
