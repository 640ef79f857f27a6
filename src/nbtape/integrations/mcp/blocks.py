"""The blocks of an MCP server: run one after the other, whoever waits for them, with their output so far."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import deque
from typing import TYPE_CHECKING, Any, Final, TypeVar

from nbtape.common.concurrency import Turns, take_turn, tell, unless_stopped
from nbtape.common.terminal_text import StreamText
from nbtape.common.text import strip_escapes
from nbtape.errors import NbtapeError
from nbtape.messages.code_blocks import CodeBlock
from nbtape.notebook.output_text import output_text
from nbtape.session.executor import AsyncJupyterCodeExecutor
from nbtape.session.options import checked_timeout

if TYPE_CHECKING:
    from collections.abc import Coroutine, Mapping
    from pathlib import Path

    from nbtape.kernels.sources import Server
    from nbtape.results import CodeResult
    from nbtape.session.options import Options

T = TypeVar("T")

logger = logging.getLogger(__name__)

#: How many blocks that have ended are still told of when somebody asks.
_REMEMBERED: Final = 20

#: The most characters of the line that is shown as progress.
_LONGEST_LINE: Final = 200


class OutputSoFar:
    """What a running block has printed and displayed, as text: the end of it.

    Args:
        limit: The most characters of it.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._text = ""
        self._left_out = False

    def add(self, output: Mapping[str, Any]) -> None:
        """An output came in, a stream chunk by chunk, as nbformat has it."""
        text = output_text(output)
        if output["output_type"] != "stream":
            text = text if text.endswith("\n") else f"{text}\n"
            if self._text and not self._text.endswith("\n"):
                self._text += "\n"
        self._text += text[-2 * self._limit :]
        if len(self._text) > 2 * self._limit:  # not at each chunk, for that would copy all of it each time
            self._text, self._left_out = self._text[-self._limit :], True

    @property
    def text(self) -> str:
        """The end of it, as a terminal would show it."""
        text = self._shown(self._text)
        if self._left_out or len(text) > self._limit:
            return f"[… the beginning is left out; the notebook has it …]\n{text[-self._limit :]}"
        return text

    @property
    def last_line(self) -> str:
        """Its last line with something in it; empty if there is none."""
        lines = self._shown(self._text[-4000:]).split("\n")
        return next((line.strip()[:_LONGEST_LINE] for line in reversed(lines) if line.strip()), "")

    @staticmethod
    def _shown(text: str) -> str:
        stream = StreamText()
        stream.write(strip_escapes(text))
        return stream.getvalue()


class Block:
    """A block that a request has begun, and that may outlive it.

    Args:
        number: What it is called in the answers, counted from 1.
        code: The source.
        timeout: Seconds that it has.
        limit: The most characters of its output so far.
    """

    def __init__(self, number: int, code: str, timeout: float, limit: int) -> None:
        self.number = number
        self.code = code
        self.timeout = timeout
        self.so_far = OutputSoFar(limit)
        #: Interrupts it when it is set; takes it out of the queue, if it still waits for its turn.
        self.stop = asyncio.Event()
        #: Whether the request that began it has been answered.
        self.is_left = False
        self.result: CodeResult | None = None
        self.error: Exception | None = None
        self._began = time.monotonic()
        self._ended = asyncio.Event()
        self._news = asyncio.Event()

    @property
    def has_ended(self) -> bool:
        """Whether there is a result, or an error, or it was never run."""
        return self._ended.is_set()

    @property
    def seconds(self) -> float:
        """How long ago it was begun."""
        return time.monotonic() - self._began

    def heard(self, output: Mapping[str, Any]) -> None:
        """An output came in."""
        self.so_far.add(output)
        self._news.set()

    def end(self, result: CodeResult | None, error: Exception | None = None) -> None:
        """It has ended, or was never run, if there is neither."""
        self.result, self.error = result, error
        self._ended.set()
        self._news.set()

    async def ends_within(self, seconds: float) -> bool:
        """Wait for its end, some seconds at most; whether it has ended."""
        await _wait(self._ended, seconds)
        return self.has_ended

    async def has_news_within(self, seconds: float) -> None:
        """Wait for new output or its end, some seconds at most."""
        await _wait(self._news, seconds)
        self._news.clear()


async def _wait(event: asyncio.Event, seconds: float) -> None:
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(event.wait(), max(seconds, 0))


class BlockRunningError(NbtapeError):
    """What needs an idle kernel was asked for while a block is left running."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number

    def __str__(self) -> str:
        return (
            f"Block {self.number} is still running. Wait for it with poll_code, or stop it with interrupt_kernel, "
            "and call again."
        )


class Session:
    """One kernel, one notebook, and the blocks that requests have begun on it.

    A block is a task of its own: it goes on when its request has been answered, and it ends in order when its request
    is cancelled, however often anyio says so.

    Args:
        jupyter_server: As for the executor, like the rest.
        kernel_name: The kernel spec.
        timeout: Seconds for each block that does not name its own.
        output_dir: Where the notebook and its files go.
        notebook: The name of the notebook.
        options: Those of the executor.

    Raises:
        ValueError: A value that cannot work.
    """

    def __init__(
        self,
        jupyter_server: Server,
        kernel_name: str,
        timeout: float,
        output_dir: Path | str,
        notebook: str | None,
        options: Options,
    ) -> None:
        self._on_output = options.get("on_output")
        self.timeout = timeout
        listening: Options = {**options, "on_output": self._heard}
        self.executor = AsyncJupyterCodeExecutor(
            jupyter_server, kernel_name, timeout, output_dir, notebook=notebook, **listening
        )
        #: The files of all blocks so far, in the order in which they were first told of.
        self.files: dict[str, None] = {}
        self._count = 0
        self._turns = Turns()
        self._blocks: deque[Block] = deque()
        self._current: Block | None = None
        self._tasks: set[asyncio.Future[Any]] = set()

    @property
    def running(self) -> list[Block]:
        """The blocks that run or wait for their turn."""
        return [block for block in self._blocks if not block.has_ended]

    def begin(self, code: str, timeout: float | None) -> Block:
        """Run a block when its turn comes.

        Args:
            code: The source.
            timeout: Seconds that it has; None for those of the session.

        Raises:
            BlockRunningError: One was left running.
            ValueError: A timeout that cannot work.
        """
        self.refuse_if_left_running()
        self._count += 1
        seconds = checked_timeout(self.timeout if timeout is None else timeout)
        block = Block(self._count, code, seconds, self.executor.max_output_chars)
        self._blocks.append(block)
        while len(self._blocks) > _REMEMBERED and self._blocks[0].has_ended:
            self._blocks.popleft()
        self._keep(self._run(block))
        return block

    def find(self, number: int | None) -> Block | None:
        """A block by its number, without one the last; None if there is none."""
        return next((block for block in reversed(self._blocks) if number in {None, block.number}), None)

    def refuse_if_left_running(self) -> None:
        """Refuse what would wait for a block that nobody waits for and nobody stops.

        Raises:
            BlockRunningError: There is one.
        """
        for block in self.running:
            if block.is_left and not block.stop.is_set():
                raise BlockRunningError(block.number)

    async def see(self, work: Coroutine[Any, Any, T]) -> T:
        """Do something that is not to be left half done where the request that wants it is cancelled."""
        return await asyncio.shield(self._keep(work))

    async def interrupt(self) -> list[Block]:
        """Interrupt what runs, and take what waits out of the queue; the blocks, when they have ended."""
        stopped = self.running
        for block in stopped:
            block.stop.set()
        for block in stopped:
            while not await block.ends_within(60):
                pass
        return stopped

    async def restart(self) -> None:
        """End what runs, and start a fresh kernel."""
        await self.interrupt()
        await self.executor.restart()

    async def close(self) -> None:
        """End the kernel. The notebook is complete."""
        await self.interrupt()
        try:
            await self.executor.stop()
        except NbtapeError as exc:
            logger.warning("%s", exc)

    def _keep(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """A task that nobody collects before it is done."""
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _run(self, block: Block) -> None:
        try:
            # The executor has a queue too; this one tells whose output comes.
            async with take_turn(self._turns.lock, block.stop):
                self._current = block
                await unless_stopped(self.executor.start(), block.stop)
                result = await self.executor.execute_code_blocks(
                    [CodeBlock(block.code, "")], timeout=block.timeout, stop=block.stop
                )
            self.files.update(dict.fromkeys(result.output_files))
            block.end(result)
        except asyncio.CancelledError:  # stopped before it was run
            block.end(None)
        except Exception as exc:  # noqa: BLE001  (it is raised where somebody waits for the block)
            block.end(None, exc)
        finally:
            if self._current is block:
                self._current = None

    def _heard(self, output: Mapping[str, Any]) -> None:
        if self._current is not None:
            self._current.heard(output)
        tell(self._on_output, output)
