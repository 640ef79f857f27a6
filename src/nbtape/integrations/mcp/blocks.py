"""Run the blocks of an MCP server one after the other, and keep their output so far."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, TypeVar

from mcp.server.mcpserver.exceptions import ToolError

from nbtape.common.concurrency import Turns, take_turn, unless_stopped
from nbtape.common.terminal_text import StreamText
from nbtape.common.text import strip_escapes
from nbtape.errors import NbtapeError
from nbtape.messages.tool_arguments import tool_block
from nbtape.notebook.model_text import model_output_text
from nbtape.notebook.tracebacks import compacted
from nbtape.session.executor import AsyncJupyterCodeExecutor
from nbtape.session.options import checked_timeout

if TYPE_CHECKING:
    from collections.abc import Coroutine, Mapping

    from nbtape.messages.code_blocks import CodeBlock
    from nbtape.results import CodeResult
    from nbtape.session.approval import Answer
    from nbtape.session.options import Options

T = TypeVar("T")

logger = logging.getLogger(__name__)

#: Maximum number of blocks that can be polled, running or finished.
_MAX_BLOCKS: Final = 20
_MAX_PROGRESS_CHARS: Final = 200


class OutputSoFar:
    """The end of a running block's output: text of at most `limit` characters."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._text = ""
        self._left_out = False

    def add(self, output: Mapping[str, Any]) -> None:
        """Add an output in nbformat's form, or a chunk of a stream."""
        (shown,) = compacted([output])
        text = model_output_text(shown)
        if output["output_type"] != "stream":
            text = text if text.endswith("\n") else f"{text}\n"
            if self._text and not self._text.endswith("\n"):
                self._text += "\n"
        self._text += text[-2 * self._limit :]
        if len(self._text) > 2 * self._limit:  # cutting after each chunk would copy the text each time
            self._text, self._left_out = self._text[-self._limit :], True

    @property
    def text(self) -> str:
        """The text as a terminal shows it."""
        text = _on_a_terminal(self._text)
        if self._left_out or len(text) > self._limit:
            return f"[… the beginning is left out; full output in the notebook …]\n{text[-self._limit :]}"
        return text

    @property
    def last_line(self) -> str:
        """The last line that is not blank; empty if all are."""
        lines = _on_a_terminal(self._text[-4000:]).split("\n")
        return next((line.strip()[:_MAX_PROGRESS_CHARS] for line in reversed(lines) if line.strip()), "")


def _on_a_terminal(text: str) -> str:
    stream = StreamText()
    stream.write(strip_escapes(text))
    return stream.getvalue()


@dataclass(eq=False)
class Block:
    """A block that was started by a request and may outlive it. Its timeout is in seconds."""

    number: int
    timeout: float
    so_far: OutputSoFar
    #: The answer of the person who was asked about it, if anyone was.
    approval: Answer = True
    #: Set to interrupt the block or remove it from the queue.
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    #: Whether the request that started it has been answered.
    is_left: bool = False
    #: If the block was stopped before it ran, neither the result nor the error is set.
    result: CodeResult | None = None
    error: Exception | None = None
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    _news: asyncio.Event = field(default_factory=asyncio.Event)
    _began: float = field(default_factory=time.monotonic)

    @property
    def has_ended(self) -> bool:
        return self.ended.is_set()

    @property
    def seconds(self) -> float:
        """The time since it was started."""
        return time.monotonic() - self._began

    def heard(self, output: Mapping[str, Any]) -> None:
        self.so_far.add(output)
        self._news.set()

    def end(self) -> None:
        self.ended.set()
        self._news.set()

    async def ends_within(self, seconds: float) -> bool:
        await _wait(self.ended, seconds)
        return self.has_ended

    async def has_news_within(self, seconds: float) -> None:
        """Wait for new output or the end of the block."""
        await _wait(self._news, seconds)
        self._news.clear()


async def _wait(event: asyncio.Event, seconds: float) -> None:
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(event.wait(), max(seconds, 0))


class Session:
    """One kernel, one notebook, and the blocks that requests have started. The arguments are the executor's.

    Each block is a task of its own. So it can continue after its request has been answered, and shuts down cleanly when
    its request is canceled, however often anyio cancels that.
    """

    def __init__(self, options: Options, *, asks: bool = False, **arguments: Any) -> None:  # noqa: ANN401  (of the executor)
        self._on_output = options.get("on_output")
        listening: Options = {**options, "on_output": self._heard}
        if asks:
            if options.get("approve") is not None:
                raise ValueError("ask=True and approve= cannot be combined. Leave out one of them.")
            listening["approve"] = self._approve
        self.executor = AsyncJupyterCodeExecutor(**arguments, **listening)
        #: The files of all blocks so far, in order.
        self.files: dict[str, None] = {}
        self._turns = Turns()
        self._blocks: deque[Block] = deque()
        self._current: Block | None = None
        #: How many blocks the notebook had before the current one.
        self._count_before = 0
        self._tasks: set[asyncio.Future[Any]] = set()

    @property
    def running(self) -> list[Block]:
        """The blocks that are running or queued."""
        return [block for block in self._blocks if not block.has_ended]

    def begin(self, code: str, timeout: float | None, *, approval: Answer = True) -> Block:
        """Run a block when its turn comes, with its own timeout or the session's, in seconds."""
        self.refuse_if_left_running()
        seconds = checked_timeout(self.executor.timeout if timeout is None else timeout)
        waiting = sum(map(self._lacks_cell, self.running))
        number, so_far = self.executor.block_count + waiting + 1, OutputSoFar(self.executor.max_output_chars)
        block = Block(number, seconds, so_far, approval)
        self._blocks.append(block)
        while len(self._blocks) > _MAX_BLOCKS and self._blocks[0].has_ended:
            self._blocks.popleft()
        self._keep(self._run(block, code))
        return block

    def find(self, number: int | None) -> Block | None:
        """The block with a number, or the last one for None; None if it does not exist."""
        return next((block for block in reversed(self._blocks) if number in {None, block.number}), None)

    def refuse_if_left_running(self) -> None:
        """Refuse a call that would have to wait for a block that was left running."""
        for block in self.running:
            if block.is_left and not block.stop.is_set():
                raise ToolError(
                    f"Block {block.number} is still running. Wait for it with poll_code, or stop it with "
                    "interrupt_kernel, and call again."
                )

    async def see(self, work: Coroutine[Any, Any, T]) -> T:
        """Finish the work even if the request is canceled."""
        return await asyncio.shield(self._keep(work))

    async def interrupt(self) -> list[Block]:
        """Interrupt the running block and empty the queue; return the stopped blocks when they have ended."""
        stopped = self.running
        for block in stopped:
            block.stop.set()
        for block in stopped:
            await block.ended.wait()
        return stopped

    async def restart(self) -> None:
        await self.interrupt()
        await self.executor.restart()

    async def close(self) -> None:
        """Stop the kernel and complete the notebook."""
        await self.interrupt()
        try:
            await self.executor.stop()
        except NbtapeError as exc:
            logger.warning("%s", exc)

    def _keep(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Start a task and keep a reference until it is done: the event loop has only weak references."""
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _run(self, block: Block, code: str) -> None:
        try:
            # The executor has a queue too, but only with this one is it known which block an output belongs to.
            async with take_turn(self._turns.lock, block.stop):
                self._current, self._count_before = block, self.executor.block_count
                await unless_stopped(self.executor.start(), block.stop)
                block.result = await self.executor.execute_code_blocks(
                    [tool_block(code, "")], timeout=block.timeout, stop=block.stop
                )
            self.files.update(dict.fromkeys(block.result.output_files))
        except asyncio.CancelledError:  # stopped before it ran
            await self._record_stopped(code)
        except Exception as exc:  # noqa: BLE001  (raised to the request that waits for the block)
            block.error = exc
        finally:
            if self._current is block:
                self._current = None
            block.end()

    async def _record_stopped(self, code: str) -> None:
        """Record a block that was stopped before it ran, so that later ones keep the numbers that they were given."""
        if self.executor.block_count:
            with contextlib.suppress(NbtapeError):
                await self.executor.skip_code_blocks([tool_block(code, "")], "Not run: interrupted before it started.")

    def _lacks_cell(self, block: Block) -> bool:
        """Whether a block that has not ended is not in the notebook yet."""
        return block is not self._current or self.executor.block_count == self._count_before

    async def _approve(self, _: CodeBlock) -> Answer:
        """The answer about the current block; a refusal for code that no request sent."""
        return False if self._current is None else self._current.approval

    def _heard(self, output: Mapping[str, Any]) -> object:
        if self._current is not None:
            self._current.heard(output)
        return None if self._on_output is None else self._on_output(output)
