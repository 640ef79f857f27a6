"""Run one cell on one kernel. At its deadline, interrupt it, wait for a grace period, then kill the kernel."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from nbtape.common.text import fit_text, strip_escapes
from nbtape.environment import Installed, differences, may_install
from nbtape.errors import KernelBusyError, KernelError
from nbtape.kernels.handshake import ENVIRONMENT, reported_environment
from nbtape.notebook.failures import exits, exits_well, failure_line
from nbtape.session.kernel_messages import payload_of
from nbtape.session.output_recorder import Recorder

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nbformat import NotebookNode

    from nbtape.kernels.protocols import KernelClient, KernelManager
    from nbtape.results import Status
    from nbtape.session.output_limits import Listener

logger = logging.getLogger(__name__)

StopReason = Literal["timeout", "interrupted"]

#: What called an exit: `exit()`, which ends the kernel; `exit(1)`, which keeps it; or `sys.exit`, which ends the code.
Exit = Literal["", "kernel", "kept", "code"]

#: Maximum time for an idle kernel to answer.
IDLE_REPLY_TIMEOUT_SECONDS: Final = 1.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of a cell."""

    status: Status
    duration: float  # seconds
    kernel_lost: bool = False  # it must not be used again
    exit: Exit = ""
    cause: str = ""  # why the kernel died
    error_name: str | None = None
    error_value: str | None = None
    left_out: int = 0  # characters of output over the cell's limit
    missing: str = ""  # a sentence on why output may be missing
    installed: Installed | None = None  # packages that the cell installed or removed, if known

    @property
    def error(self) -> str:
        """The error in one line."""
        return failure_line(self.error_name, self.error_value)


class CellRunner:
    """Runs the cells of a notebook on one ready kernel, one at a time, and writes their outputs into the notebook.

    After an interrupt, code has `grace` seconds to stop. With `last_grace`, no cell follows one that the caller stops,
    and it has that many.
    """

    def __init__(
        self,
        notebook: NotebookNode,
        manager: KernelManager,
        client: KernelClient,
        listener: Listener,
        *,
        grace: float,
        last_grace: float | None = None,
    ) -> None:
        self.manager = manager
        self._client = client
        self._grace = grace
        self._last_grace = last_grace
        self._successor: KernelManager | None = None
        self._recorder = Recorder(notebook, manager, client, listener)

    async def run(self, index: int, timeout: float, limit: int, stop: asyncio.Event) -> Outcome:
        """Run cell `index`; return when the kernel is idle again, or lost. Do not cancel it: set `stop`.

        The cell keeps at most `limit` characters of output.
        """
        began = time.monotonic()
        task = asyncio.ensure_future(self._recorder.record(index, limit))
        reason = await _wait(task, timeout, stop)
        if reason and not await self.manager.is_alive():
            reason = None  # it died, and nbclient, which checks once a second, has not noticed yet
        is_last = reason == "interrupted" and self._last_grace is not None
        grace = self._grace if self._last_grace is None or not is_last else self._last_grace
        ended = await self._stop_cell(task, grace) if reason else True
        kept = ended or await self._is_idle_without(task, is_needed=not is_last)
        missing = self._client.missing_output()  # ask now: a server closes the connection of a killed kernel
        if not kept:
            await self._replace(now=True)
        failure = None if kept and not ended else await self._failure(task)
        reply = self._recorder.reply
        lost = not kept or failure is not None
        duration = time.monotonic() - began
        succeeded = reply.get("status") == "ok" or exits_well(reply)
        status: Status = reason or ("kernel_died" if lost else "ok" if succeeded else "error")
        how = _exit(reply)
        return Outcome(
            status=status,
            duration=duration,
            kernel_lost=lost or how == "kernel",
            exit=how,
            cause=failure or "",
            error_name=_text(reply.get("ename")) if status == "error" else None,
            error_value=_text(reply.get("evalue")) if status == "error" else None,
            left_out=self._recorder.left_out(index),
            missing=missing,
            installed=None if lost or stop.is_set() else await self._installed(index, stop),
        )

    async def _installed(self, index: int, stop: asyncio.Event) -> Installed | None:
        """What cell `index` installed, if the kernel can report it."""
        before = self._client.environment
        if before is None or not may_install(self._recorder.nb["cells"][index]["source"]):
            return None
        try:
            after = reported_environment(await self.ask(ENVIRONMENT, IDLE_REPLY_TIMEOUT_SECONDS, stop))
        except KernelError as exc:
            logger.warning("The installed packages are unknown: %s", exc)
            return None
        if after is None or not (found := differences(before, after)):
            return None
        self._client.environment = after
        return Installed(after, found)

    async def _stop_cell(self, task: asyncio.Future[None], grace: float) -> bool:
        """Interrupt twice; return whether the cell has ended.

        The second interrupt is for code that swallows the first one. A kernel ignores interrupts until it has begun the
        cell, so wait for that first.
        """
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._recorder.begun.wait(), grace / 2)
        return await self._interrupt(task, grace)

    async def _is_idle_without(self, task: asyncio.Future[None], *, is_needed: bool) -> bool:
        """Abandon the cell; return whether the kernel answers a request; False if it is not needed.

        An interrupt in ipykernel's own code can suppress the reply to the cell.
        """
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)  # nbclient may turn it into another error
        if not is_needed:
            return False
        question = asyncio.ensure_future(self._recorder.ask({}))
        await asyncio.wait({question}, timeout=IDLE_REPLY_TIMEOUT_SECONDS)
        question.cancel()
        await asyncio.wait({question})
        return not question.cancelled() and question.exception() is None

    async def ask(self, expressions: Mapping[str, str], timeout: float, stop: asyncio.Event) -> Mapping[str, Any]:
        """Let the idle kernel evaluate `user_expressions`; return the content of its reply, unchecked.

        Raises KernelBusyError or KernelError, and keeps the kernel. Do not cancel it: set `stop`.
        """
        if not await self.manager.is_alive():
            raise self._death()
        task = asyncio.ensure_future(self._recorder.ask(expressions))
        reason = await _wait(task, timeout, stop)
        if reason and not await self._interrupt(task, self._grace):
            task.cancel()
            await asyncio.wait({task})
            if not await self.manager.is_alive():
                raise self._death()
            raise KernelBusyError(
                f"The kernel is busy: it did not answer within {timeout:g} s and ignored an interrupt. It keeps "
                "running with its variables. Try again later, or call restart(), which discards them."
            )
        failure = await self._failure(task)
        if failure is None:
            return task.result()
        if await self.manager.is_alive():
            raise KernelError(f"The kernel gave no valid answer. {failure} Try again; if that fails, call restart().")
        raise self._death()

    def _death(self) -> KernelError:
        cause = f"The kernel died. {self.manager.cause_of_death()}".rstrip()
        return KernelError(f"{cause} Its variables are gone; the next block gets a fresh kernel.")

    async def _interrupt(self, task: asyncio.Future[Any], grace: float) -> bool:
        """Interrupt up to twice; return whether the task has ended."""
        for _ in range(2):
            await self.manager.interrupt_kernel()
            done, _pending = await asyncio.wait({task}, timeout=grace / 2)
            if done:
                return True
        return False

    async def _failure(self, task: asyncio.Future[Any]) -> str | None:
        """Why the cell did not end normally; None if it did."""
        await asyncio.wait({task})
        if not task.cancelled() and task.exception() is None:
            return None
        # The last messages of a dead kernel may still be in the socket.
        await self._recorder.drain(pause=0.05)
        if not await self.manager.is_alive():
            return self.manager.cause_of_death()
        logger.error("The kernel sent an invalid answer", exc_info=None if task.cancelled() else task.exception())
        return "Its answer was invalid."

    def settle(self, index: int) -> None:
        """Write the merged output of cell `index` into the notebook."""
        self._recorder.settle(index)

    async def close(self, *, now: bool = False) -> None:
        """Record what was printed since the last cell and shut down the kernel; with `now`, kill it at once."""
        await self._disconnect(now=now)
        await self.manager.shutdown_kernel(now=now)
        if self._successor is not None:
            await self._successor.shutdown_kernel(now=now)

    async def renew(self, *, now: bool = False) -> KernelManager | None:
        """Close to make way for another kernel; return its manager if that kernel already exists."""
        await self._disconnect(now=now)
        await self._replace(now=now)
        return self._successor

    async def _disconnect(self, *, now: bool) -> None:
        if not now:
            await self._client.catch_up()
            await self._recorder.drain(pause=0)
        self._client.stop_channels()

    async def _replace(self, *, now: bool) -> None:
        """Shut down the kernel; its other clients move to a fresh one."""
        self._successor = await self.manager.renew(now=now) or self._successor


async def _wait(task: asyncio.Future[Any], timeout: float, stop: asyncio.Event) -> StopReason | None:
    """Wait for the cell, its deadline or `stop`; None if the cell ended first."""
    stopped = asyncio.ensure_future(stop.wait())
    both: set[asyncio.Future[Any]] = {task, stopped}
    done, _ = await asyncio.wait(both, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    if task in done:
        return None
    return "interrupted" if stopped in done else "timeout"


def _exit(reply: Mapping[str, Any]) -> Exit:
    """How the code exited. After `exit()`, the kernel exits shortly after its reply."""
    asked = [item for item in payload_of(reply) if item.get("source") == "ask_exit"]
    if asked:
        return "kernel" if any(not item.get("keepkernel") for item in asked) else "kept"
    return "code" if exits(reply) else ""


def _text(value: object) -> str | None:
    return None if value is None else strip_escapes(fit_text(str(value)))
