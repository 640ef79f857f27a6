"""The async executor: a queue of calls for one recorded session."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self, TypeVar

from nbtape.common.argument_checks import text_argument
from nbtape.common.concurrency import Turns, see_through, take_turn
from nbtape.messages.code_blocks import CodeBlock
from nbtape.session.executor_base import ExecutorBase
from nbtape.session.options import checked_blocks, checked_timeout
from nbtape.session.parameters import TAG, assignments
from nbtape.session.variables import question

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence
    from types import TracebackType

    from nbtape.results import CodeResult
    from nbtape.session.recorded_session import RecordedSession
    from nbtape.session.variables import Variables

T = TypeVar("T")


class AsyncJupyterCodeExecutor(ExecutorBase):
    """Runs code blocks in a stateful Jupyter kernel and records them as a notebook, for callers on an event loop.

    Nothing starts before `start`, `async with` or the first use. Overlapping calls are queued. Canceling a call
    interrupts its block and records what it printed. The executor is then ready for the next call.

    `execute_code_blocks` also accepts `stop`, an `asyncio.Event`. Setting it interrupts only that call; a call that is
    still queued is canceled.
    """

    def _attach(self, session: RecordedSession) -> None:
        super()._attach(session)
        self._turns = Turns()

    @classmethod
    def _of(cls, session: RecordedSession) -> Self:
        """Create an executor for an existing session."""
        executor = cls.__new__(cls)
        executor._attach(session)  # noqa: SLF001  (an alternative constructor)
        return executor

    async def start(self) -> None:
        async with self._turns.lock:
            await self._session.start()

    async def stop(self) -> None:
        self._session.interrupt(ending=True)
        async with self._turns.lock:
            await self._session.stop()

    async def restart(self) -> None:
        self._session.interrupt(ending=True)
        async with self._turns.lock:
            await self._session.restart()

    async def interrupt(self) -> None:
        self._session.interrupt()

    async def add_markdown(self, text: str, agent: str = "") -> None:
        text_argument("text", text)
        text_argument("agent", agent)
        async with self._turns.lock:
            await self._session.add_markdown(text, agent)

    async def edit_cell(self, cell_id: str, source: str, agent: str = "") -> str:
        async with self._turns.lock:
            return await self._session.edit_cell(cell_id, source, agent)

    async def delete_cell(self, cell_id: str, agent: str = "") -> None:
        async with self._turns.lock:
            await self._session.delete_cell(cell_id, agent)

    async def move_cell(self, cell_id: str, position: int, agent: str = "") -> None:
        async with self._turns.lock:
            await self._session.move_cell(cell_id, position, agent)

    async def run(self, code: str, language: str = "python", *, timeout: float | None = None) -> CodeResult:
        return await self.execute_code_blocks([CodeBlock(code, language)], timeout=timeout)

    async def run_message(
        self,
        message: str | Sequence[Mapping[str, Any]] | None,
        agent: str = "",
        *,
        timeout: float | None = None,
        stop: asyncio.Event | None = None,
    ) -> CodeResult:
        from nbtape.messages.extractor import message_text

        text_argument("agent", agent)
        blocks = self.code_extractor.extract_code_blocks(message)
        text = message_text(message).strip()
        if not blocks and text and self.options["record_messages"]:
            await self.add_markdown(text, agent or self.options["agent"])
        said = [replace(block, said_by=agent) for block in blocks]
        return await self.execute_code_blocks(said, timeout=timeout, stop=stop)

    async def execute_code_blocks(
        self, code_blocks: Sequence[CodeBlock], *, timeout: float | None = None, stop: asyncio.Event | None = None
    ) -> CodeResult:
        blocks = checked_blocks(code_blocks)
        seconds = None if timeout is None else checked_timeout(timeout)
        stop = stop or asyncio.Event()
        return await self._in_turn(lambda: self._session.run(blocks, seconds, stop), stop)

    async def parameters(self, **values: object) -> CodeResult:
        result = await self.execute_code_blocks([CodeBlock(assignments(values), "python")])
        self._session.tag(result.cells, TAG)
        return result

    async def skip_code_blocks(self, code_blocks: Sequence[CodeBlock], note: str = "") -> CodeResult:
        blocks = checked_blocks(code_blocks)
        text_argument("note", note)
        async with self._turns.lock:
            return await self._session.skip(blocks, note)

    async def variables(self, *, timeout: float = 10, limit: int = 200) -> Variables:
        expressions = question(limit, checked_timeout(timeout) / 2)
        stop = asyncio.Event()
        return await self._in_turn(lambda: self._session.variables(expressions, timeout, limit, stop), stop)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.stop()

    async def _in_turn(self, work: Callable[[], Awaitable[T]], stop: asyncio.Event) -> T:
        """Do the work when its turn comes. On cancellation, set `stop` and wait for the work to end."""

        async def wait_and_work() -> T:
            async with take_turn(self._turns.lock, stop):
                return await work()

        return await see_through(wait_and_work(), stop)
