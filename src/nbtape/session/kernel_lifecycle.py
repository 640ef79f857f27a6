"""Start, check, replace and shut down the kernels of a session."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Any, Final

from nbtape.errors import KernelError, WrongLoopError, WrongProcessError
from nbtape.kernels.start import start_kernel
from nbtape.session.preparation import prepare_recording

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from nbformat import NotebookNode

    from nbtape.kernels.protocols import KernelManager, KernelSource
    from nbtape.kernels.start import ReadyKernel
    from nbtape.session.cell_runner import CellRunner, Outcome
    from nbtape.session.output_limits import Listener

_FRESH: Final = "A fresh kernel was started: the variables of earlier blocks are gone."


class KernelLifecycle:
    """One kernel at a time, on one event loop; a lost kernel is replaced.

    `epoch` is the number of the current or last kernel, counted from 1; 0 before the first.
    """

    def __init__(self, source: KernelSource, directory: Path, startup_timeout: float) -> None:
        self._source = source
        self._directory = directory
        self._startup_timeout = startup_timeout
        self.epoch = 0
        self.language = ""
        self._has_state = False  # losing the kernel would lose variables
        # What the next block reports: whether variables were lost, and what else happened since the last block.
        self._state_was_lost = False
        self._notice = ""
        self._loop: asyncio.AbstractEventLoop | None = None
        self._process = 0  # the one in which the loop runs
        self._runner: CellRunner | None = None
        self._successor: KernelManager | None = None

    @property
    def has_kernel(self) -> bool:
        """Whether a kernel is in use, dead or alive."""
        return self._runner is not None

    async def is_alive(self) -> bool:
        """Whether a live kernel is in use; discards a dead one. Raises WrongLoopError on another event loop."""
        if self._runner is None:
            return False
        if self._is_orphaned():
            self._notice = "The event loop of the kernel was closed."
        elif await self._runner.manager.is_alive():
            return True
        else:
            self._notice = f"The kernel died since the last block. {self._runner.manager.cause_of_death()}".rstrip()
        await self.renew()
        return False

    async def start(self) -> ReadyKernel:
        """Start a kernel, to pass to `use`; raises KernelError if it cannot be started."""
        successor, self._successor = self._successor, None
        return await start_kernel(
            self._source,
            self._directory,
            self._startup_timeout,
            successor=successor,
            meanwhile=prepare_recording,
        )

    def use(
        self,
        kernel: ReadyKernel,
        epoch: int,
        notebook: NotebookNode,
        listener: Listener,
        grace: float,
        last_grace: float | None = None,
    ) -> CellRunner:
        """Run the next cells of the notebook on this kernel; see `CellRunner`."""
        from nbtape.session.cell_runner import CellRunner

        runner = CellRunner(notebook, kernel.manager, kernel.client, listener, grace=grace, last_grace=last_grace)
        self._loop, self._process, self._runner = asyncio.get_running_loop(), os.getpid(), runner
        self.epoch, self.language = epoch, kernel.language
        self._state_was_lost, self._has_state = self._state_was_lost or self._has_state, False
        return runner

    def resume(self, epoch: int, notice: str) -> None:
        """Take over the state of a recorded session; the next block reports `notice`."""
        self.epoch, self._has_state, self._notice = epoch, True, notice

    def take_notice(self) -> str:
        """Return, only once, what the next block must report about its kernel."""
        notices = [self._notice, _FRESH if self._state_was_lost else ""]
        self._notice, self._state_was_lost = "", False
        return " ".join(filter(None, notices))

    async def run(self, index: int, timeout: float, limit: int, stop: asyncio.Event) -> Outcome:
        """Run a cell; see `CellRunner.run`. Discards the kernel if it is lost."""
        assert self._runner is not None, "a kernel is in use"
        outcome = await self._runner.run(index, timeout, limit, stop)
        self._has_state = True
        if outcome.kernel_lost:
            await self.renew()
        return outcome

    async def ask(self, expressions: Mapping[str, str], timeout: float, stop: asyncio.Event) -> Mapping[str, Any]:
        """Let the kernel evaluate expressions; see `CellRunner.ask`. May also raise WrongLoopError."""
        assert self._runner is not None, "a kernel is in use"
        if self._is_orphaned():
            raise KernelError("The event loop of the kernel was closed. The next block gets a fresh kernel.")
        return await self._runner.ask(expressions, timeout, stop)

    async def renew(self) -> None:
        """Shut down the kernel before its replacement starts; its other clients move to the replacement."""
        if (runner := self._runner) is not None:
            self._successor = await runner.renew(now=self._detach())

    async def end(self, *, now: bool = False) -> None:
        """Shut down the kernel, and its successor if there is one; with `now`, kill them at once."""
        if (runner := self._runner) is not None:
            is_orphaned = self._detach()
            await runner.close(now=now or is_orphaned)
        if self._successor is not None:
            successor, self._successor = self._successor, None
            await successor.shutdown_kernel(now=now)

    async def finish(self, *, now: bool = False) -> None:
        """`end`, and stop everything else that was started for this session, such as its container."""
        try:
            await self.end(now=now)
        finally:
            await self._source.release()

    def _detach(self) -> bool:
        """Stop using the kernel; return whether it must be killed because its event loop is closed."""
        is_orphaned = self._is_orphaned()
        self._runner = None
        return is_orphaned

    def _is_orphaned(self) -> bool:
        """Whether the event loop of the kernel's connection is closed, so that the kernel cannot be reached.

        Raises WrongLoopError if that loop is open and is not the running one, and WrongProcessError in a fork.
        """
        assert self._loop is not None, "a kernel is in use"
        if self._process != os.getpid():
            raise WrongProcessError("executor")
        if self._loop is not asyncio.get_running_loop() and not self._loop.is_closed():
            raise WrongLoopError(
                "This executor was started in another event loop. Use and stop it there, or use JupyterCodeExecutor, "
                "which works in any thread."
            )
        return self._loop.is_closed()
