"""The kernels of a pool that are ready, and the thread that sees to it that there are some."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import time
from collections import deque
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from queue import Empty
from typing import TYPE_CHECKING, Any, Final, TypeVar

from nbtape.common.concurrency import finish
from nbtape.common.heavy_imports import compile_notebook_schema
from nbtape.errors import KernelError, KernelStartError
from nbtape.kernels.handshake import failures, imports
from nbtape.kernels.start import make_directory
from nbtape.messages.languages import is_python
from nbtape.session.loop_thread import SHUTDOWN_TIMEOUT_SECONDS, LoopThread

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence
    from pathlib import Path

    from nbtape.kernels.protocols import KernelClient, KernelManager, KernelSource, KernelSpec, Message

T = TypeVar("T")

logger = logging.getLogger(__name__)

#: Seconds between checks whether the kernels are alive.
DEATH_POLL_SECONDS: Final = 1.0
#: Seconds until a taken kernel is replaced: the first block of its user gets the processors first.
REPLACEMENT_DELAY_SECONDS: Final = 0.1
#: Seconds until a failed start is tried again, doubled each time.
FIRST_RETRY_SECONDS: Final = 0.5
LAST_RETRY_SECONDS: Final = 60.0

#: What a kernel is asked before it is ready: it brings in what the first block would have to wait for.
_EXERCISE: Final = "print()"


@dataclass(frozen=True, slots=True)
class Idle:
    """A kernel that is ready, and that nobody has used.

    Args:
        manager: Its manager.
        client: The pool's client, which found it ready.
    """

    manager: KernelManager
    client: KernelClient

    async def end(self) -> None:
        """End it."""
        self.client.stop_channels()
        await self.manager.shutdown_kernel(now=True)


class Stock:
    """The kernels that are ready, and the thread that sees to it that there are some.

    Args:
        source: Where they come from.
        size: How many there are to be.
        modules: What they are to have imported.
        timeout: Seconds that each has to start, and to import.
        directory: What is to be there before the first one; None if nothing is.
    """

    def __init__(
        self, source: KernelSource, size: int, modules: Sequence[str], timeout: float, directory: Path | None
    ) -> None:
        self.source = source
        self.size = size
        self._modules = tuple(modules)
        self._timeout = timeout
        self._directory = directory
        self._owner = os.getpid()
        self._thread = LoopThread()
        self._changed = threading.Condition()
        self._idle: deque[Idle] = deque()
        self._spec: KernelSpec | None = None
        self._failure: KernelError | None = None
        self._keeper: Future[None] | None = None
        self._was_closed = False
        self._end = asyncio.Event()
        self._missing = asyncio.Semaphore(size)

    @property
    def ready(self) -> int:
        """How many there are."""
        return len(self._idle)

    @property
    def is_current(self) -> bool:
        """Whether the caller is on its thread, where nobody can wait for it."""
        return self._thread.is_current

    async def spec(self) -> KernelSpec:
        """The kernel spec of its kernels.

        Raises:
            KernelError: There is none of that name, or it is of no Python.
        """
        if self._spec is None:
            spec = await self.source.spec()
            if not is_python(spec.language):
                raise KernelStartError(f"A pool has kernels that run Python, and {spec.name} runs {spec.language}.")
            self._spec = spec
        return self._spec

    def open(self) -> None:
        """Have the stock filled, and kept so. Harmless when it is."""
        with self._changed:
            self._was_closed = False
            self._begin()

    def _begin(self) -> None:
        if self._keeper is None:
            self._failure = None
            self._end, self._missing = asyncio.Event(), asyncio.Semaphore(self.size)
            self._keeper = self._thread.submit(self._keep())

    def wait(self, number: int) -> None:
        """Return when as many kernels are ready.

        Raises:
            KernelError: One could not be started.
        """
        with self._changed:
            self._changed.wait_for(lambda: len(self._idle) >= number or self._failure or self._was_closed)
            if len(self._idle) < number:
                self._complain()

    def take(self) -> Idle | None:
        """A kernel that nobody else gets; None if none is ready.

        Raises:
            KernelError: None is ready because the last start failed, or because the pool was stopped.
        """
        if os.getpid() != self._owner:
            return None  # in a fork of the owner's process, where the thread is not and the kernels are not ours
        with self._changed:
            if not self._was_closed:
                self._begin()
            if not self._idle:
                self._complain()
                return None
            taken = self._idle.popleft()
            self._thread.tell(lambda: self._replace(taken))  # within the lock: before anything that close() tells it
        return taken

    def _complain(self) -> None:
        if self._was_closed:
            raise KernelStartError("The pool of kernels was stopped. Call start() to have it filled again.")
        if self._failure is not None:
            raise KernelStartError(f"The pool cannot start kernels. {self._failure}") from self._failure

    def _replace(self, taken: Idle) -> None:
        taken.client.stop_channels()
        asyncio.get_running_loop().call_later(REPLACEMENT_DELAY_SECONDS, self._missing.release)

    def close(self) -> None:
        """End what is idle or starting, and the thread. Harmless when that is done."""
        with self._changed:
            keeper, self._keeper = self._keeper, None
            self._was_closed = self._was_closed or keeper is not None
            self._changed.notify_all()
        if keeper is not None:
            self._thread.tell(self._end.set)
            with suppress(TimeoutError):
                keeper.result(SHUTDOWN_TIMEOUT_SECONDS)
            self._thread.end()

    async def _keep(self) -> None:
        """Keep the stock full until it is to end."""
        prepared = asyncio.ensure_future(asyncio.to_thread(compile_notebook_schema))
        starts = min(self.size, os.cpu_count() or 1)  # more at once would be ready later, all of them
        tasks = [asyncio.create_task(work) for work in (self._watch(), *(self._fill(prepared) for _ in range(starts)))]
        await self._end.wait()
        for task in tasks:
            task.cancel()
        self.source.close()
        await asyncio.wait({prepared, *tasks})
        with self._changed:
            left = list(self._idle)
            self._idle.clear()
        await asyncio.gather(*(idle.end() for idle in left), return_exceptions=True)

    async def _fill(self, prepared: asyncio.Future[None]) -> None:
        """Start what is missing, one after the other."""
        pause = FIRST_RETRY_SECONDS
        while True:
            await self._missing.acquire()
            try:
                idle = await self._start(prepared)
            except Exception as exc:  # noqa: BLE001  (whatever it is, others are still wanted)
                self._missing.release()
                self._note(exc)
                await asyncio.sleep(pause)
                pause = min(2 * pause, LAST_RETRY_SECONDS)
            else:
                pause = FIRST_RETRY_SECONDS
                self._add(idle)

    def _add(self, idle: Idle) -> None:
        with self._changed:
            self._idle.append(idle)
            self._failure = None
            self._changed.notify_all()

    def _note(self, failure: Exception) -> None:
        if not isinstance(failure, KernelError):
            logger.error("a kernel of the pool failed in a way that is not foreseen", exc_info=failure)
            failure = KernelStartError(f"{type(failure).__name__}: {failure}")
        logger.warning("a kernel of the pool cannot be started: %s", failure)
        with self._changed:
            self._failure = failure
            self._changed.notify_all()

    async def _start(self, prepared: asyncio.Future[None]) -> Idle:
        """A kernel that has started, and imported, and that can be used when it is.

        Raises:
            KernelError: There is none to be had.
        """
        if self._directory is not None:
            make_directory(self._directory)
        await self.spec()
        manager = self.source.manager()
        client: KernelClient | None = None
        try:
            await in_passing_thread(lambda: manager.start_kernel(cwd=None))
            client = manager.client()
            client.start_channels()
            await client.wait_for_ready(self._timeout)
            await self._exercise(client)
            await asyncio.shield(prepared)
        except BaseException:
            if client is not None:
                client.stop_channels()
            await finish(manager.shutdown_kernel(now=True))
            raise
        return Idle(manager, client)

    async def _exercise(self, client: KernelClient) -> None:
        """Have a kernel import what it is to have, and bring in what its first block would have to wait for.

        Raises:
            KernelStartError: It does not do it, or not in time.
        """
        request = client.execute(_EXERCISE, silent=True, user_expressions=imports(self._modules))
        deadline = time.monotonic() + self._timeout
        reply: Message = {"parent_header": {}}
        while reply["parent_header"].get("msg_id") != request:
            if time.monotonic() > deadline or not await client.is_alive():
                raise KernelStartError(
                    f"A kernel died over its imports, or was not done within {self._timeout:g} s: raise "
                    f"startup_timeout, or leave out of preload what it is ({', '.join(self._modules)})."
                )
            with suppress(Empty):
                reply = await client.shell_channel.get_msg(DEATH_POLL_SECONDS)
        for module, failure in failures(reply["content"]).items():
            raise KernelStartError(
                f"{module} cannot be imported: {failure}. Install it where the kernel is, or leave it out of preload."
            )

    async def _watch(self) -> None:
        """Once a second, see which kernels have died, and have them replaced."""
        while True:
            await asyncio.sleep(DEATH_POLL_SECONDS)
            await asyncio.gather(*map(self._look, list(self._idle)))

    async def _look(self, idle: Idle) -> None:
        if await idle.manager.is_alive():
            return
        with self._changed:
            if idle not in self._idle:
                return  # somebody took it, and will notice
            self._idle.remove(idle)
        logger.warning("a kernel of the pool died, and is replaced: %s", idle.manager.cause_of_death())
        self._missing.release()
        await finish(idle.end())


async def in_passing_thread(make: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Do something in a thread that has ended when this returns; Linux ends a process with the thread that started it.

    Not given up half-way: what was started is to be known.
    """
    done: Future[T] = Future()

    def run() -> None:
        try:
            done.set_result(asyncio.run(make()))
        except BaseException as exc:  # noqa: BLE001  (it is raised where it is waited for)
            done.set_exception(exc)

    thread = threading.Thread(target=run, name="nbtape-start", daemon=True)
    thread.start()
    try:
        return await finish(asyncio.wrap_future(done))
    finally:
        thread.join()
