"""One cell on one kernel, with a deadline: interrupt, then a short grace, then the end of the kernel."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from nbtape.common.text import strip_escapes
from nbtape.environment import Installed, differences, may_install
from nbtape.errors import KernelBusyError, KernelError
from nbtape.kernels.handshake import ENVIRONMENT, told_environment
from nbtape.kernels.protocols import RenewableKernel
from nbtape.session.output_recorder import Recorder

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nbformat import NotebookNode

    from nbtape.kernels.protocols import KernelClient, KernelManager
    from nbtape.results import Status
    from nbtape.session.output_limits import Listener

logger = logging.getLogger(__name__)

Ending = Literal["timeout", "interrupted"]

#: Seconds in which an idle kernel answers.
_SOON: Final = 1.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a cell ended.

    Args:
        status: As in `CellResult`.
        duration: Seconds.
        kernel_lost: The kernel is gone, or going, or must not be used again.
        asked_exit: The code asked the kernel to end (`exit()`).
        cause: How the kernel ended, if it did.
        error_name: The class of the exception that ended the cell, if one did.
        error_value: Its message.
        left_out: Characters of output over the cell's bound, recorded nowhere.
        missing: Why output may be missing that the kernel sent, a sentence; empty if all of it has come.
        installed: What it has installed or removed, if it has and the kernel tells.
    """

    status: Status
    duration: float
    kernel_lost: bool = False
    asked_exit: bool = False
    cause: str = ""
    error_name: str | None = None
    error_value: str | None = None
    left_out: int = 0
    missing: str = ""
    installed: Installed | None = None


class CellRunner:
    """Runs the cells of a notebook on one kernel, one at a time.

    Args:
        notebook: The notebook; cells are read from it and outputs written into it.
        manager: The manager of a kernel that is started.
        client: A client of that kernel that is ready.
        listener: Who hears of changes.
        grace: Seconds that code has to obey an interrupt.
    """

    def __init__(
        self, notebook: NotebookNode, manager: KernelManager, client: KernelClient, listener: Listener, *, grace: float
    ) -> None:
        self._manager = manager
        self._client = client
        self._grace = grace
        self._heir: KernelManager | None = None
        self._recorder = Recorder(notebook, manager, client, listener)

    async def run(self, index: int, timeout: float, limit: int, stop: asyncio.Event) -> Outcome:
        """Run cell `index`; return when the kernel is idle again, or lost. Not to be cancelled: set `stop`.

        Args:
            index: The position of the cell.
            timeout: Seconds that the cell has, however much it prints.
            limit: The most characters of output that it keeps.
            stop: Interrupts the cell when it is set.
        """
        began = time.monotonic()
        task = asyncio.ensure_future(self._recorder.record(index, limit))
        ending = await _wait(task, timeout, stop)
        if ending and not await self._manager.is_alive():
            ending = None  # it died in the second that nbclient takes to notice
        ended = await self._end(task) if ending else True
        kept = ended or await self._is_idle(task)
        missing = self._client.missing_output()  # a server ends the connection along with the kernel
        if not kept:
            await self._replace(now=True)
        trouble = None if kept and not ended else await self._trouble(task)
        reply = self._recorder.reply
        lost = not kept or trouble is not None
        duration = time.monotonic() - began
        status: Status = ending or ("kernel_died" if lost else "ok" if reply.get("status") == "ok" else "error")
        return Outcome(
            status=status,
            duration=duration,
            kernel_lost=lost or _asked_exit(reply),
            asked_exit=_asked_exit(reply),
            cause=trouble or "",
            error_name=_text(reply.get("ename")) if status == "error" else None,
            error_value=_text(reply.get("evalue")) if status == "error" else None,
            left_out=self._recorder.left_out(index),
            missing=missing,
            installed=None if lost or stop.is_set() else await self._installed(index, stop),
        )

    async def _installed(self, index: int, stop: asyncio.Event) -> Installed | None:
        """What cell `index` has installed, if the kernel can tell."""
        before = self._client.environment
        if before is None or not may_install(self._recorder.nb["cells"][index]["source"]):
            return None
        try:
            after = told_environment(await self.ask(ENVIRONMENT, _SOON, stop))
        except KernelError as exc:
            logger.warning("it is not known what was installed: %s", exc)
            return None
        if after is None or not (found := differences(before, after)):
            return None
        self._client.environment = after
        return Installed(after, found)

    async def _end(self, task: asyncio.Future[None]) -> bool:
        """Interrupt twice; return whether the cell has ended.

        The second interrupt is for code that swallows one. The wait before the first is for a kernel that has not
        begun the cell: it would not hear.
        """
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._recorder.begun.wait(), self._grace / 2)
        return await self._interrupt(task)

    async def _is_idle(self, task: asyncio.Future[None]) -> bool:
        """Give the cell up; return whether the kernel answers, after all.

        An interrupt that meets the kernel's own code may cost it the cell's reply.
        """
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)  # whatever nbclient makes of it
        question = asyncio.ensure_future(self._recorder.ask({}))
        await asyncio.wait({question}, timeout=_SOON)
        question.cancel()
        await asyncio.wait({question})
        return not question.cancelled() and question.exception() is None

    async def ask(self, expressions: Mapping[str, str], timeout: float, stop: asyncio.Event) -> Mapping[str, Any]:
        """Have the idle kernel evaluate expressions and record nothing; return the content of its reply, unchecked.

        Not to be cancelled: set `stop`. Whatever comes of it, the kernel is kept.

        Args:
            expressions: As `user_expressions` of an `execute_request` has them.
            timeout: Seconds until the kernel is interrupted.
            stop: Interrupts the kernel when it is set.

        Raises:
            KernelBusyError: It does not answer, and does not obey.
            KernelError: It is dead, or its answer cannot be read.
        """
        if not await self.is_alive():
            raise self._death()
        task = asyncio.ensure_future(self._recorder.ask(expressions))
        ending = await _wait(task, timeout, stop)
        if ending and not await self._interrupt(task):
            task.cancel()
            await asyncio.wait({task})
            if not await self.is_alive():
                raise self._death()
            raise KernelBusyError(
                f"The kernel is busy: it did not answer within {timeout:g} s, and did not obey an interrupt. It is "
                "kept, with its variables. Ask again later, or restart() it and lose them."
            )
        trouble = await self._trouble(task)
        if trouble is None:
            return task.result()
        if await self.is_alive():
            raise KernelError(f"The kernel was asked something. {trouble} Ask again; if that does not help, restart().")
        raise self._death()

    def _death(self) -> KernelError:
        cause = f"The kernel died. {self.cause_of_death()}".rstrip()
        return KernelError(f"{cause} Its variables are gone; the next block gets a fresh kernel.")

    async def _interrupt(self, task: asyncio.Future[Any]) -> bool:
        """Interrupt what runs, twice if it swallows that; return whether it has ended."""
        for _ in range(2):
            await self._manager.interrupt_kernel()
            done, _pending = await asyncio.wait({task}, timeout=self._grace / 2)
            if done:
                return True
        return False

    async def _trouble(self, task: asyncio.Future[Any]) -> str | None:
        """What became of the kernel if the cell did not end as cells do; None if it did."""
        await asyncio.wait({task})
        if not task.cancelled() and task.exception() is None:
            return None
        # What a dead kernel had sent is in our socket; read on until there is nothing more.
        await self._recorder.drain(patience=0.05)
        if not await self._manager.is_alive():
            return self._manager.cause_of_death()
        logger.error(
            "the kernel's answer cannot be understood", exc_info=None if task.cancelled() else task.exception()
        )
        return "Its answer could not be understood."

    def settle(self, index: int) -> None:
        """Bring what cell `index` has printed so far into the notebook."""
        self._recorder.settle(index)

    async def is_alive(self) -> bool:
        """Whether the kernel can take another cell."""
        return await self._manager.is_alive()

    def cause_of_death(self) -> str:
        """How the kernel ended, if it did."""
        return self._manager.cause_of_death()

    async def close(self, *, now: bool = False) -> None:
        """Take in what came since the last cell, and end the kernel; with `now` by force and at once."""
        await self._part(now=now)
        await self._manager.shutdown_kernel(now=now)
        if self._heir is not None:
            await self._heir.shutdown_kernel(now=now)

    async def renew(self, *, now: bool = False) -> KernelManager | None:
        """The same, where another kernel is to follow; the manager of that one, if it is there already."""
        await self._part(now=now)
        await self._replace(now=now)
        return self._heir

    async def _part(self, *, now: bool) -> None:
        if not now:
            await self._client.catch_up()
            await self._recorder.drain(patience=0)
        self._client.stop_channels()

    async def _replace(self, *, now: bool) -> None:
        """End the kernel; those who are on it, besides us, get a fresh one in its place."""
        if isinstance(self._manager, RenewableKernel):
            self._heir = await self._manager.renew(now=now) or self._heir
        else:
            await self._manager.shutdown_kernel(now=now)


async def _wait(task: asyncio.Future[Any], timeout: float, stop: asyncio.Event) -> Ending | None:
    """Wait for the cell, its deadline or the call to stop; None if the cell came first."""
    stopped = asyncio.ensure_future(stop.wait())
    both: set[asyncio.Future[Any]] = {task, stopped}
    done, _ = await asyncio.wait(both, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    if task in done:
        return None
    return "interrupted" if stopped in done else "timeout"


def _asked_exit(reply: Mapping[str, Any]) -> bool:
    """Whether the code called `exit()`: the kernel ends a moment after its answer."""
    payload = reply.get("payload")
    return isinstance(payload, list) and any(
        isinstance(item, dict) and item.get("source") == "ask_exit" and not item.get("keepkernel") for item in payload
    )


def _text(value: object) -> str | None:
    return None if value is None else strip_escapes(str(value))
