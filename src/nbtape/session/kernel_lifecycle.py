"""The kernels of a session, one after the other: found dead, renewed, ended; and what a block is told of that."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

from nbtape.common.heavy_imports import compile_notebook_schema, import_heavy_packages
from nbtape.errors import KernelError, WrongLoopError
from nbtape.kernels.start import start_kernel

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from nbtape.kernels.protocols import KernelManager, KernelSource
    from nbtape.kernels.start import ReadyKernel
    from nbtape.session.cell_runner import CellRunner, Outcome

_FRESH: Final = "A fresh kernel was started: the variables of earlier blocks are gone."


class KernelEpochs:
    """One kernel at a time, on one event loop; another one takes its place when it is lost.

    Args:
        source: Where the kernels come from.
        directory: Where they work.
        startup_timeout: Seconds that each has to start.

    Attributes:
        number: Which kernel is in use, or was last, counted from 1; 0 before the first.
        language: What it runs; empty before the first.
    """

    def __init__(self, source: KernelSource, directory: Path, startup_timeout: float) -> None:
        self._source = source
        self._directory = directory
        self._startup_timeout = startup_timeout
        self.number = 0
        self.language = ""
        # Whether something is lost with the kernel; whether that has happened, and what else, since the last block.
        self._has_state = False
        self._state_was_lost = False
        self._news = ""
        self._loop: asyncio.AbstractEventLoop | None = None
        self._runner: CellRunner | None = None
        self._heir: KernelManager | None = None

    @property
    def has_kernel(self) -> bool:
        """Whether there is one, dead or alive."""
        return self._runner is not None

    async def is_alive(self) -> bool:
        """Whether there is a kernel that lives. One that does not makes way for another.

        Raises:
            WrongLoopError: It runs on another event loop.
        """
        if self._runner is None:
            return False
        if self._is_orphaned():
            self._news = "The event loop of the kernel was closed."
        elif await self._runner.is_alive():
            return True
        else:
            self._news = f"The kernel died since the last block. {self._runner.cause_of_death()}".rstrip()
        await self.renew()
        return False

    async def start(self) -> ReadyKernel:
        """Another kernel, which is not in use yet.

        Raises:
            KernelError: It cannot be started.
        """
        heir, self._heir = self._heir, None
        return await start_kernel(
            self._source,
            self._directory,
            self._startup_timeout,
            successor=heir,
            meanwhile=import_recording,
        )

    def use(self, kernel: ReadyKernel, runner: CellRunner, number: int) -> None:
        """Have the next blocks run on a kernel.

        Args:
            kernel: The kernel.
            runner: What runs cells on it.
            number: Which kernel of the session it is.
        """
        self._loop, self._runner = asyncio.get_running_loop(), runner
        self.number, self.language = number, kernel.language
        self._state_was_lost, self._has_state = self._state_was_lost or self._has_state, False

    def go_on(self, number: int, news: str) -> None:
        """Take over the state of a recorded session; its kernel, if it still has one, is in use.

        Args:
            number: Which kernel of the session that is, or was.
            news: What befell it.
        """
        self.number, self._has_state, self._news = number, True, news

    def take_news(self) -> str:
        """What a block is to be told of the kernel that it gets."""
        news = [self._news, _FRESH if self._state_was_lost else ""]
        self._news, self._state_was_lost = "", False
        return " ".join(filter(None, news))

    async def run(self, index: int, timeout: float, limit: int, stop: asyncio.Event) -> Outcome:
        """Run a cell; see `CellRunner.run`. A kernel that is lost over it makes way for another."""
        assert self._runner is not None, "a kernel is in use"
        outcome = await self._runner.run(index, timeout, limit, stop)
        self._has_state = True
        if outcome.kernel_lost:
            await self.renew()
        return outcome

    async def ask(self, expressions: Mapping[str, str], timeout: float, stop: asyncio.Event) -> Mapping[str, Any]:
        """Have the kernel evaluate expressions; see `CellRunner.ask`.

        Raises:
            KernelBusyError: It does not answer.
            KernelError: It is dead, or cannot be reached any more.
            WrongLoopError: It runs on another event loop.
        """
        assert self._runner is not None, "a kernel is in use"
        if self._is_orphaned():
            raise KernelError("The event loop of the kernel was closed. The next block gets a fresh kernel.")
        return await self._runner.ask(expressions, timeout, stop)

    async def renew(self) -> None:
        """End the kernel, for another one to follow, on which those are who are on this one.

        Raises:
            WrongLoopError: It runs on another event loop.
        """
        if (runner := self._runner) is not None:
            self._heir = await runner.renew(now=self._leave())

    async def end(self) -> None:
        """End the kernel, and one that was to follow.

        Raises:
            WrongLoopError: It runs on another event loop.
        """
        if (runner := self._runner) is not None:
            await runner.close(now=self._leave())
        if self._heir is not None:
            heir, self._heir = self._heir, None
            await heir.shutdown_kernel()

    def _leave(self) -> bool:
        """Have no kernel in use, whatever comes of its end; whether that is to be by force, as nothing hears of it."""
        is_orphaned = self._is_orphaned()
        self._runner = None
        return is_orphaned

    def _is_orphaned(self) -> bool:
        """Whether the event loop of the kernel's connection is closed, so that nothing can be heard of it any more.

        Raises:
            WrongLoopError: That loop is another than this one, and lives.
        """
        assert self._loop is not None, "a kernel is in use"
        if self._loop is not asyncio.get_running_loop() and not self._loop.is_closed():
            raise WrongLoopError(
                "This executor's kernel runs on another event loop. Use it there, stop it there, or use "
                "JupyterCodeExecutor, which works in any thread."
            )
        return self._loop.is_closed()


def import_recording() -> None:
    """Import and prepare what recording needs, while a kernel starts."""
    import_heavy_packages()

    compile_notebook_schema()
