"""Code environments and tools for ag2 from 1.0 on; ag2 up to 0.14 takes `nbtape.JupyterCodeExecutor` as it is."""

from __future__ import annotations

import asyncio
from contextvars import ContextVar
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Self

from ag2.config.input_acceptance import accepts_input
from ag2.events import ClientToolCallEvent, ImageInput, ModelResponse, ToolResultEvent
from ag2.tools.code import CodeRunResult, SandboxCodeTool
from ag2.utils import MODEL_CONFIG_CONTEXT_DEPENDENCY_KEY

from nbtape.common.concurrency import offload
from nbtape.integrations._answers import answer, pictures
from nbtape.integrations._tool import earlier_calls
from nbtape.messages.code_blocks import CodeBlock
from nbtape.messages.prompts import TOOL_DESCRIPTION

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ag2 import Context
    from ag2.context import Stream
    from ag2.events import BaseEvent, ToolCallEvent
    from ag2.middleware import ToolExecution, ToolMiddleware, ToolResultType
    from ag2.tools.code import CodeLanguage

    from nbtape.results import CodeResult
    from nbtape.session.executor import AsyncJupyterCodeExecutor

#: What is run for the call that this task works on, while `add_pictures` wants to know.
_RESULTS: Final[ContextVar[list[CodeResult] | None]] = ContextVar("nbtape.integrations.ag2", default=None)

#: Seconds between looks into the history for the result of another call.
_GLANCE: Final = 1.0


class JupyterCodeEnvironment:
    """Runs the code of a `SandboxCodeTool` in one stateful kernel and records it as a notebook.

    The contract is `CodeEnvironment` in
    https://github.com/ag2ai/ag2/blob/main/ag2/tools/code/environment/base.py

    ag2 neither starts nor ends environments: `async with` the executor, or leave it to its first use and to the end of
    the program. The calls of one message run one after the other, in the order in which the model wrote them. A
    cancelled turn interrupts its block, and the executor is ready for the next turn, on the same event loop.

    Args:
        executor: What runs and records, with its own `timeout`. What the model says in a message with code becomes a
            Markdown cell in front of it.
        languages: What the model is offered. A kernel that is no Python has others.
    """

    def __init__(
        self, executor: AsyncJupyterCodeExecutor, *, languages: tuple[CodeLanguage, ...] = ("python", "bash")
    ) -> None:
        self._executor = executor
        self._languages = tuple(languages)

    @property
    def executor(self) -> AsyncJupyterCodeExecutor:
        """What runs and records."""
        return self._executor

    @property
    def supported_languages(self) -> tuple[CodeLanguage, ...]:
        """What the model is offered."""
        return self._languages

    async def run(self, code: str, language: CodeLanguage, *, context: Context | None = None) -> CodeRunResult:
        """Run code in a cell of its own; `SandboxCodeTool` calls this.

        What goes wrong with the code is told in the result: exit code 1 for an error, 124 for a timeout, 137 for a
        kernel that died. What was not allowed is recorded and not run.

        Args:
            code: The source.
            language: One of `supported_languages`.
            context: The conversation that the call is from; its history has what the model said.

        Raises:
            KernelStartError: No kernel can be started.
            NotebookWriteError: The notebook cannot be written.
        """
        block = CodeBlock(code, language, said_before=await _take_turn(context))
        if language in self._languages:
            result = await self._executor.execute_code_blocks([block])
        else:
            note = f"Not run: {language} is not offered here, only {', '.join(self._languages)}."
            result = await self._executor.skip_code_blocks([block], note)
        if (results := _RESULTS.get()) is not None:
            results.append(result)
        return CodeRunResult(output=answer(result), exit_code=result.exit_code)

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """Itself: an agent copies the tools that it is given, and there is one kernel."""
        return self


def code_tool(
    executor: AsyncJupyterCodeExecutor,
    *,
    languages: tuple[CodeLanguage, ...] = ("python", "bash"),
    name: str = "run_code",
    show_pictures: bool = True,
    middleware: Iterable[ToolMiddleware] = (),
) -> SandboxCodeTool:
    """A `SandboxCodeTool` over a `JupyterCodeEnvironment` that tells the model what it has: a kernel that keeps state.

    Args:
        executor: What runs and records.
        languages: What the model is offered.
        name: The name of the tool.
        show_pictures: Whether the model is shown plots besides being told their files; see `add_pictures`.
        middleware: As for `SandboxCodeTool`: an approval, say.
    """
    return SandboxCodeTool(
        JupyterCodeEnvironment(executor, languages=languages),
        name=name,
        description=TOOL_DESCRIPTION,
        middleware=[*middleware, add_pictures] if show_pictures else middleware,
    )


async def add_pictures(call: ToolExecution, event: ToolCallEvent, context: Context) -> ToolResultType:
    """Show the model the plots of its code; middleware for a `SandboxCodeTool` over a `JupyterCodeEnvironment`.

    Where ag2 knows that the provider takes no pictures from tools (OpenAI's Chat Completions, Ollama), it is told
    their files alone. Among models of the others there may be some that take none.

    Args:
        call: The tool, or the next middleware.
        event: The call.
        context: The conversation.
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
            shown = await offload(partial(pictures, result))
            inputs = [ImageInput(data=picture.content, media_type=picture.mime_type) for picture in shown]
            told.result.parts += [each for each in inputs if accepts_input(config, "tool", each)]
    return told


async def _take_turn(context: Context | None) -> str:
    """Wait for the calls of this tool that the model wrote before this one; what it said, if there are none.

    ag2 runs the calls of one message at the same time, and in any order. Code that builds on other code needs theirs.
    """
    if context is None or context.tool_call_id is None:
        return ""
    said, before = _asked(await context.stream.history.get_events(), context.tool_call_id)
    for call_id in before:
        await _settled(call_id, context.stream)
    return "" if before else said


def _asked(events: Iterable[BaseEvent], call_id: str) -> tuple[str, list[str]]:
    """What the message says that a call is from, and the calls of the same tool that stand before it there."""
    for event in reversed(list(events)):
        if isinstance(event, ModelResponse):
            tools = {call.id: call.name for call in event.tool_calls.calls}
            if call_id in tools:
                return event.content or "", earlier_calls(call_id, tools)
    return "", []


async def _settled(call_id: str, stream: Stream) -> None:
    """Wait until a call has its result: that of its code, or of a middleware that did not let it run."""
    async with stream.get((ToolResultEvent.parent_id == call_id) | (ClientToolCallEvent.id == call_id)) as heard:
        while not heard.done():
            # It may have been there before anybody listened, and be saved only now.
            if any(_settles(event, call_id) for event in await stream.history.get_events()):
                return
            await asyncio.wait({heard}, timeout=_GLANCE)


def _settles(event: BaseEvent, call_id: str) -> bool:
    if isinstance(event, ToolResultEvent):
        return bool(event.parent_id == call_id)
    return isinstance(event, ClientToolCallEvent) and bool(event.id == call_id)
