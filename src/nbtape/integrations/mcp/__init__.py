"""An MCP server whose tools run code in one Jupyter kernel and record it as one notebook."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import threading
from pathlib import Path  # noqa: TC003  (see the next line)

# The SDK evaluates the annotations of a tool when it is added, so these are imported at run time too.
from typing import TYPE_CHECKING, Annotated, Any, Final, Unpack

import anyio

from nbtape.errors import MissingExtraError, NbtapeError, NotebookWriteError

try:
    from mcp.server.mcpserver import Context, MCPServer
    from mcp.server.mcpserver.exceptions import ToolError
    from mcp.server.mcpserver.tools import Tool
    from mcp.types import CallToolResult, ToolAnnotations
    from pydantic import Field, ValidationError
except ModuleNotFoundError as exc:
    raise MissingExtraError("The MCP server", "mcp", "mcp") from exc

from nbtape._version import __version__
from nbtape.common.concurrency import offload
from nbtape.common.text import shorten
from nbtape.integrations._answers import answer, load_pictures
from nbtape.integrations.mcp.arguments import refuse_others, wrong_arguments
from nbtape.integrations.mcp.blocks import Session
from nbtape.integrations.mcp.client_prompts import all_prompts
from nbtape.integrations.mcp.content import (
    cells_text,
    file_content,
    files_text,
    image_content,
    text_content,
    variables_text,
)
from nbtape.integrations.mcp.review import Reviewed, answer_of
from nbtape.kernels.sources import DEFAULT_KERNEL
from nbtape.messages.prompts import TOOL_DESCRIPTION
from nbtape.session.options import list_options

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

    from nbtape.integrations.mcp.blocks import Block
    from nbtape.kernels.sources import Server
    from nbtape.session.approval import Answer
    from nbtape.session.options import Options

_INSTRUCTIONS: Final = """\
This server has one Jupyter kernel and one notebook, shared by all its clients. run_code runs code in the kernel, \
which keeps its state, and records it as a cell of the notebook; add_markdown explains it in the notebook. \
read_notebook shows the cells and their ids. The notebook is a record: edit_cell, delete_cell and move_cell mark what \
they change, and keep what was recorded. \
Code that runs longer than a call waits continues: poll_code waits for it, interrupt_kernel stops it."""

#: Less than the timeout of clients (60 s in the TypeScript SDK), which would interrupt the block.
_DEFAULT_WAIT_SECONDS: Final = 50.0

#: How long to wait for the kernel to stop after a signal before exiting.
_SHUTDOWN_TIMEOUT_SECONDS: Final = 15.0

#: Seconds between two progress reports, with and without new output.
_PROGRESS_SECONDS: Final = (0.25, 1.0)

_Code = Annotated[str, Field(description="The code to run, as one cell of a notebook.")]
_Timeout = Annotated[
    float | None, Field(ge=1, le=7 * 24 * 3600, description="Seconds after which the code is stopped.")
]
_Wait = Annotated[
    float,
    Field(
        ge=0,
        le=3600,
        description="Seconds to wait for the code. If it takes longer, you get its output so far and it continues. "
        "With 0 you get that at once.",
    ),
]
_Number = Annotated[
    int | None, Field(description="The number of a block, as in earlier answers. Default: the last block.")
]
_CellId = Annotated[str, Field(description="The id of a cell, as read_notebook shows it.")]


class NotebookServer(MCPServer):
    """An MCP server with one kernel and one notebook, shared by all its clients.

    The kernel starts with the first call that needs it and stops with the server. The contract of its tools is
    https://modelcontextprotocol.io/specification/2026-07-28/server/tools

    If a block fails (an error, a timeout, a dead kernel), the answer has `isError` set and contains everything that the
    block printed and drew, so that the model can correct its code. If no code can run at all, the tool error is one
    sentence.

    Canceling a request interrupts its block. A client cancels with `notifications/cancelled` or, on streamable HTTP of
    protocol 2026-07-28, by closing the response stream. If a client of an older protocol disconnects, its block
    continues, and any client can poll it.

    Args:
        jupyter_server: Where the kernel comes from, as for `nbtape.AsyncJupyterCodeExecutor`, like the other arguments.
            This class neither starts nor stops it.
        kernel_name: The kernel spec.
        timeout: Seconds for each block without a timeout of its own, at least 1.
        output_dir: Directory of the notebook and its files. Created with its parents if missing.
        notebook: File name of the notebook.
        on_close: Called in a thread when the server stops, after the kernel has stopped.
        ask: Whether the person at the client reviews each block before it runs (through elicitation). They can refuse
            or replace it. If the client does not support elicitation, no code runs.
        options: See `nbtape.Options`.

    Raises:
        ValueError: An invalid argument.
    """

    @list_options
    def __init__(  # noqa: PLR0913  (of the executor)
        self,
        jupyter_server: Server = None,
        kernel_name: str = DEFAULT_KERNEL,
        timeout: float = 60,
        output_dir: Path | str = ".",
        *,
        notebook: str | None = None,
        on_close: Callable[[], None] | None = None,
        ask: bool = False,
        **options: Unpack[Options],
    ) -> None:
        self._session = Session(
            options,
            asks=ask,
            jupyter_server=jupyter_server,
            kernel_name=kernel_name,
            timeout=timeout,
            output_dir=output_dir,
            notebook=notebook,
        )
        self._on_close = on_close
        super().__init__(
            "nbtape",
            instructions=_INSTRUCTIONS,
            version=__version__,
            tools=_Tools(self._session, asks=ask).all(kernel_name),
            log_level="WARNING",
            lifespan=self._live,
        )
        for prompt in all_prompts():
            self.add_prompt(prompt)

    @property
    def notebook(self) -> Path:
        """Path of the recording; before the first use, the path it gets if that name is free."""
        return self._session.executor.notebook

    async def call_tool(
        self,
        name: str,
        arguments: dict[str, Any],
        context: Context[Any, Any] | None = None,
    ) -> Any:  # noqa: ANN401  (the SDK's types of results)
        """Call a tool. Invalid arguments are a `ToolError` of one line that names them."""
        try:
            return await super().call_tool(name, arguments, context)
        except ToolError as exc:
            if not isinstance(exc.__cause__, ValidationError):
                raise
            schemas = {tool.name: tool.input_schema for tool in await self.list_tools()}
            raise ToolError(wrong_arguments(name, list(schemas[name].get("properties", {})), exc.__cause__)) from None

    async def run_stdio_async(self) -> None:
        """Serve a client on standard input and output until it closes them, or until SIGTERM, SIGHUP or Ctrl-C.

        A signal stops the kernel, completes the notebook, and then kills this process, because the SDK reads in a
        thread that only input can wake.
        """
        with self._signals():
            try:
                await super().run_stdio_async()
            except* (BrokenPipeError, anyio.BrokenResourceError):
                pass  # the client is gone

    @contextlib.asynccontextmanager
    async def _live(self, _: MCPServer) -> AsyncIterator[None]:
        """The lifespan of the server, which the SDK enters once, on either transport."""
        try:
            yield
        finally:
            with anyio.CancelScope(shield=True):
                await self._close()

    async def _close(self) -> None:
        await self._session.close()
        if self._on_close is not None:
            await offload(self._on_close)

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        """Shut down cleanly on signals, which only the main thread can handle."""
        loop = asyncio.get_running_loop()
        is_main = threading.current_thread() is threading.main_thread()
        numbers = [signal.SIGTERM, signal.SIGHUP, signal.SIGINT] if is_main else []
        ending: list[asyncio.Task[None]] = []

        def forget() -> None:
            while numbers:
                loop.remove_signal_handler(numbers.pop())

        def end(number: signal.Signals) -> None:
            forget()  # a second signal kills the process at once
            ending.append(asyncio.ensure_future(self._die_of(number)))

        for number in numbers:
            loop.add_signal_handler(number, end, number)
        try:
            yield
        finally:
            forget()

    async def _die_of(self, number: signal.Signals) -> None:
        try:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._close(), _SHUTDOWN_TIMEOUT_SECONDS)
        finally:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)


class _Tools:
    """The tools. Each public method is a tool, and its docstring is the description for the model."""

    def __init__(self, session: Session, *, asks: bool) -> None:
        self._session = session
        self._executor = session.executor
        self._asks = asks

    def all(self, kernel_name: str) -> list[Tool]:
        """The tools. The description of run_code names the kernel spec if it is not the default."""
        runs = TOOL_DESCRIPTION
        if kernel_name != DEFAULT_KERNEL:
            runs += f" The kernel is {kernel_name!r}: write code in its language."
        writes = ToolAnnotations(read_only_hint=False, destructive_hint=True, open_world_hint=True)
        ends = ToolAnnotations(read_only_hint=False, destructive_hint=True, idempotent_hint=True, open_world_hint=False)
        adds = ToolAnnotations(read_only_hint=False, destructive_hint=False, open_world_hint=False)
        reads = ToolAnnotations(read_only_hint=True, open_world_hint=False)
        tools = [
            Tool.from_function(tool, title=title, description=text, annotations=hints, structured_output=False)
            for tool, title, text, hints in (
                (self._run_reviewed_code() if self._asks else self._run_code(), "Run code", runs, writes),
                (self.poll_code, "Wait for running code", None, reads),
                (self.interrupt_kernel, "Interrupt running code", None, ends),
                (self.restart_kernel, "Restart the kernel", None, ends),
                (self.add_markdown, "Add Markdown to the notebook", None, adds),
                (self.edit_cell, "Edit a cell", None, adds),
                (self.delete_cell, "Delete a cell", None, adds),
                (self.move_cell, "Move a cell", None, adds),
                (self.list_variables, "List variables", None, reads),
                (self.read_notebook, "Read the notebook", None, reads),
                (self.list_files, "List output files", None, reads),
                (self.fetch_file, "Fetch an output file", None, reads),
            )
        ]
        for tool in tools:
            refuse_others(tool)
        return tools

    def _run_code(self) -> Callable[..., Awaitable[CallToolResult]]:
        """The tool `run_code`, whose schema has the timeout of the session as its default."""

        async def run_code(
            code: _Code,
            ctx: Context,
            timeout: _Timeout = self._executor.timeout,
            wait: _Wait = _DEFAULT_WAIT_SECONDS,
        ) -> CallToolResult:
            return await self.run_code(code, ctx, timeout, wait, approval=True)

        return run_code

    def _run_reviewed_code(self) -> Callable[..., Awaitable[CallToolResult]]:
        """The tool `run_code` if a person reviews the code."""

        async def run_code(
            code: _Code,
            ctx: Context,
            review: Reviewed,
            timeout: _Timeout = self._executor.timeout,
            wait: _Wait = _DEFAULT_WAIT_SECONDS,
        ) -> CallToolResult:
            return await self.run_code(code, ctx, timeout, wait, approval=answer_of(review))

        return run_code

    async def run_code(
        self, code: str, ctx: Context, timeout: float | None, wait: float, *, approval: Answer
    ) -> CallToolResult:
        with _plain_errors():
            block = self._session.begin(code, timeout, approval=approval)
        try:
            await _attend(block, wait, ctx, self._session)
        except asyncio.CancelledError:
            block.stop.set()
            raise
        finally:
            block.is_left = True
        return await self._told(block)

    async def poll_code(
        self, ctx: Context, block: _Number = None, wait: _Wait = _DEFAULT_WAIT_SECONDS
    ) -> CallToolResult:
        """Wait for code that run_code left running. You get its result, or its output so far if it still runs."""
        found = self._session.find(block)
        if found is None:
            raise ToolError("No code has been run yet." if block is None else f"There is no block {block}.")
        await _attend(found, wait, ctx, self._session)
        return await self._told(found)

    async def interrupt_kernel(self) -> CallToolResult:
        """Interrupt the running code, like Ctrl-C. Variables are kept unless the code ignores the interrupt."""
        stopped = await self._session.see(self._session.interrupt())
        if not stopped:
            return _said("No code is running.")
        return _said("\n".join(f"Block {block.number} was stopped. {_ended(block)}" for block in stopped))

    async def restart_kernel(self) -> CallToolResult:
        """Stop running code and start a fresh kernel: variables and imports are gone. The notebook continues."""
        with _plain_errors():
            await self._session.see(self._session.restart())
        return _said("A fresh kernel was started: variables are gone. The notebook continues.")

    async def add_markdown(
        self,
        text: Annotated[
            str, Field(description="Markdown, such as a heading, the next step and its reason, or a finding.")
        ],
    ) -> CallToolResult:
        """Add a Markdown cell to the notebook, for the people who will read it."""
        with _plain_errors():
            self._session.refuse_if_left_running()
            await self._session.see(self._executor.add_markdown(text))
        return _said(f"Added to {self._executor.notebook.name}.")

    async def edit_cell(
        self,
        cell_id: _CellId,
        source: Annotated[str, Field(description="The new source, complete.")],
    ) -> CallToolResult:
        """Edit a cell of the notebook. Nothing runs: to run the new code, use run_code.

        The notebook is a record: the cell stays as it was, and your version is a new cell after it.
        """
        with _plain_errors():
            self._refuse_edit()
            version = await self._session.see(self._executor.edit_cell(cell_id, source))
        return _said(f"Your version is the new cell {version}. It was not run. The recorded cell stays before it.")

    async def delete_cell(self, cell_id: _CellId) -> CallToolResult:
        """Mark a cell of the notebook as deleted. It stays there, because the notebook is a record."""
        with _plain_errors():
            self._refuse_edit()
            await self._session.see(self._executor.delete_cell(cell_id))
        return _said(f"The cell {cell_id} is marked as deleted. It stays in the record.")

    async def move_cell(
        self,
        cell_id: _CellId,
        position: Annotated[int, Field(description="Its new position, counted from 0; negative from the end.")],
    ) -> CallToolResult:
        """Move a cell of the notebook. It is marked as moved, and keeps its number and time of execution."""
        with _plain_errors():
            self._refuse_edit()
            await self._session.see(self._executor.move_cell(cell_id, position))
        return _said(f"The cell {cell_id} was moved to position {position}.")

    def _refuse_edit(self) -> None:
        self._refuse_if_unused()
        self._session.refuse_if_left_running()

    async def list_variables(self) -> CallToolResult:
        """List the variables of the kernel: name, type, shape, size and shortened repr."""
        with _plain_errors():
            self._session.refuse_if_left_running()
            variables = await self._session.see(self._executor.variables())
        return self._bounded(variables_text(variables), "print the variables you need in a block")

    async def read_notebook(
        self,
        first: Annotated[
            int | None,
            Field(description="Position of the first cell, from 0; negative from the end. Default: the last cells."),
        ] = None,
        count: Annotated[int, Field(ge=1, le=200, description="How many cells.")] = 20,
    ) -> CallToolResult:
        """Read cells of the notebook: id, how each ended, source, and output, shortened. Works while code runs."""
        self._refuse_if_unused()
        with _plain_errors():
            text = await offload(cells_text, self._executor.notebook, first, count, self._executor.max_output_chars)
        return _said(text)

    async def list_files(self) -> CallToolResult:
        """List the notebook and the files that the code has written, plots included, with their sizes."""
        self._refuse_if_unused()
        text = await offload(files_text, self._executor.notebook, list(self._session.files))
        return self._bounded(text, "list the files you need in a block")

    async def fetch_file(
        self, name: Annotated[str, Field(description="The name of a file in the output directory, or its full path.")]
    ) -> CallToolResult:
        """Fetch a file that the code wrote: images are shown to you, text is shortened, other files are base64."""
        directory, limit = self._executor.notebook.parent, self._executor.max_output_chars
        return CallToolResult(content=[await offload(file_content, directory, name, limit)])

    def _bounded(self, text: str, where: str) -> CallToolResult:
        return _said(shorten(text, self._executor.max_output_chars, where))

    def _refuse_if_unused(self) -> None:
        """Raise an error before the first use: an existing notebook of that name is not this server's."""
        if not self._executor.kernel_epoch:
            raise ToolError("There is no notebook yet. Call run_code or add_markdown first.")

    async def _told(self, block: Block) -> CallToolResult:
        """The result of a block, or its output so far."""
        if not block.has_ended:
            return CallToolResult(content=[text_content(_still_running(block))], _meta=_meta(block, "running"))
        if isinstance(block.error, NotebookWriteError) and block.error.result is not None:
            result, error = block.error.result, str(block.error)  # it ran but was not recorded
        elif block.result is not None:
            result, error = block.result, ""
        else:
            with _plain_errors():
                raise block.error or ToolError("The code was stopped before it started; it was not run.")
        shown = await load_pictures(result)
        text = "\n".join(filter(None, [answer(result), error]))
        return CallToolResult(
            content=[text_content(text), *(image_content(each.content) for each in shown)],
            is_error=bool(error) or result.status != "ok",
            _meta={
                **_meta(block, result.status),
                "nbtape/cells": [cell.index for cell in result.cells],
                "nbtape/cell_ids": [cell.cell_id for cell in result.cells],
            },
        )


async def _attend(block: Block, seconds: float, ctx: Context, session: Session) -> None:
    """Wait for a block, and report its progress to a client that requested this."""
    until = asyncio.get_running_loop().time() + seconds
    soon, late = _PROGRESS_SECONDS

    def left(most: float) -> float:
        return min(most, until - asyncio.get_running_loop().time())

    while left(late) > 0 and not await block.ends_within(left(soon)):
        await block.has_news_within(left(late))
        if not block.has_ended:
            idle = "The code is running." if session.executor.kernel_epoch else "The kernel is starting."
            await ctx.report_progress(round(block.seconds, 3), message=block.so_far.last_line or idle)


def _still_running(block: Block) -> str:
    so_far = block.so_far.text.rstrip("\n")
    printed = f"Its output so far:\n{so_far}" if so_far else "It has printed nothing yet."
    return (
        f"Block {block.number} is still running after {block.seconds:.0f} s (timeout: "
        f"{block.timeout:g} s). Wait for it with poll_code (block={block.number}), or stop it with interrupt_kernel. "
        f"{printed}"
    )


def _ended(block: Block) -> str:
    """How a stopped block ended, in one line."""
    if block.result is None:
        return str(block.error or "It had not started.")
    return " ".join(cell.note for cell in block.result.cells) or f"Its status is {block.result.status}."


def _said(text: str) -> CallToolResult:
    return CallToolResult(content=[text_content(text)])


def _meta(block: Block, status: str) -> dict[str, Any]:
    """Data for the client in addition to the text for its model."""
    return {"nbtape/block": block.number, "nbtape/status": status}


@contextlib.contextmanager
def _plain_errors() -> Iterator[None]:
    """Raise expected errors as tool errors: the SDK does not show messages of other exceptions to a model."""
    try:
        yield
    except (NbtapeError, ValueError, OSError) as exc:
        raise ToolError(str(exc)) from exc
