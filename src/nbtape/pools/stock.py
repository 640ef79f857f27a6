"""The pre-started kernels of a pool, and the thread that replaces taken ones."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import time
from collections import deque
from concurrent.futures import Future
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from queue import Empty
from typing import TYPE_CHECKING, Any, Final, TypeVar

from nbtape.common.concurrency import finish
from nbtape.errors import KernelError, KernelStartError, WrongProcessError
from nbtape.kernels.handshake import failures, imports
from nbtape.kernels.start import make_directory
from nbtape.messages.languages import is_python
from nbtape.session.loop_thread import SHUTDOWN_TIMEOUT_SECONDS, LoopThread
from nbtape.session.preparation import prepare_recording

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence
    from pathlib import Path

    from nbtape.kernels.protocols import KernelClient, KernelManager, KernelSource, KernelSpec, Message

T = TypeVar("T")

logger = logging.getLogger(__name__)

#: Seconds between checks that the kernels are alive.
DEATH_POLL_SECONDS: Final = 1.0
#: Seconds until a taken kernel is replaced, so that its first block does not compete for CPU time.
REPLACEMENT_DELAY_SECONDS: Final = 0.1
#: Seconds until a failed start is tried again, doubled each time.
FIRST_RETRY_SECONDS: Final = 0.5
LAST_RETRY_SECONDS: Final = 60.0

#: Code that runs in each kernel, so that it imports modules that the first block would otherwise wait for.
_WARM_UP_CODE: Final = "print()"


@dataclass(frozen=True, slots=True)
class Idle:
    """An unused, ready kernel and the client that connected to it."""

    manager: KernelManager
    client: KernelClient

    async def end(self) -> None:
        self.client.stop_channels()
        await self.manager.shutdown_kernel(now=True)


class Stock:
    """Up to `size` ready kernels that have imported `modules`, and the thread that starts them.

    Each kernel has `timeout` seconds to start and import. The `directory`, if any, is created first.
    """

    def __init__(
        self, source: KernelSource, size: int, modules: Sequence[str], timeout: float, directory: Path | None
    ) -> None:
        self.source = source
        self.size = size
        self._modules = tuple(modules)
        self._timeout = timeout
        self._directory = directory
        self._thread = LoopThread("pool")
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
        """Number of ready kernels."""
        return len(self._idle)

    @property
    def is_current(self) -> bool:
        """Whether the caller is on the stock's thread, where `close` would wait for itself."""
        return self._thread.is_current

    async def spec(self) -> KernelSpec:
        """The kernel spec; raises KernelError if it does not exist or is not a Python kernel."""
        if self._spec is None:
            spec = await self.source.spec()
            if not is_python(spec.language):
                raise KernelStartError(
                    f"A pool needs a Python kernel, but {spec.name} runs {spec.language}. Choose another kernel_name=."
                )
            self._spec = spec
        return self._spec

    def open(self) -> None:
        """Start filling the stock and keep it full; does nothing if it is open.

        Raises WrongProcessError in a fork.
        """
        self._refuse_fork()
        with self._changed:
            self._was_closed = False
            self._begin()

    def _refuse_fork(self) -> None:
        """Raise WrongProcessError in a fork, before a lock is taken that a thread of the parent may have held."""
        if self._thread.is_forked:
            raise WrongProcessError("pool")

    def _begin(self) -> None:
        if self._keeper is None:
            self._failure = None
            self._end, self._missing = asyncio.Event(), asyncio.Semaphore(self.size)
            self._keeper = self._thread.submit(self._keep())

    def wait(self, number: int) -> None:
        """Wait until `number` kernels are ready; raises KernelError if one cannot be started."""
        with self._changed:
            self._changed.wait_for(lambda: len(self._idle) >= number or self._failure or self._was_closed)
            if len(self._idle) < number:
                self._raise_failure()

    def take(self) -> Idle | None:
        """Take a kernel; None if none is ready. Raises KernelError if the last start failed or the pool is stopped."""
        if self._thread.is_forked:
            return None  # in a fork of this process, which lacks the thread and does not own the kernels
        with self._changed:
            if not self._was_closed:
                self._begin()
            if not self._idle:
                self._raise_failure()
                return None
            taken = self._idle.popleft()
            self._thread.tell(lambda: self._replace(taken))  # under the lock, so that it comes before a close()
        return taken

    def _raise_failure(self) -> None:
        if self._was_closed:
            raise KernelStartError("The kernel pool was stopped. Call start() to fill it again.")
        if self._failure is not None:
            raise KernelStartError(f"The pool cannot start kernels. {self._failure}") from self._failure

    def _replace(self, taken: Idle) -> None:
        taken.client.stop_channels()
        asyncio.get_running_loop().call_later(REPLACEMENT_DELAY_SECONDS, self._missing.release)

    def close(self) -> None:
        """Shut down idle and starting kernels, and the thread; does nothing if it is closed.

        Raises WrongProcessError in a fork.
        """
        self._refuse_fork()
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
        """Keep the stock full until `close`."""
        prepared = asyncio.ensure_future(asyncio.to_thread(prepare_recording))
        starts = min(self.size, os.cpu_count() or 1)  # more concurrent starts would slow each other down
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
        """Start missing kernels, one after the other."""
        pause = FIRST_RETRY_SECONDS
        while True:
            await self._missing.acquire()
            try:
                idle = await self._start(prepared)
            except Exception as exc:  # noqa: BLE001  (logged; the pool keeps trying)
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
            logger.error("A kernel of the pool failed unexpectedly", exc_info=failure)
            failure = KernelStartError(f"{type(failure).__name__}: {failure}")
        logger.warning("A kernel of the pool cannot be started: %s", failure)
        with self._changed:
            self._failure = failure
            self._changed.notify_all()

    async def _start(self, prepared: asyncio.Future[None]) -> Idle:
        """Start a kernel that has imported its modules; raises KernelError if that fails."""
        if self._directory is not None:
            make_directory(self._directory)
        await self.spec()
        manager = self.source.manager()
        async with AsyncExitStack() as on_failure:
            on_failure.push_async_callback(lambda: finish(manager.shutdown_kernel(now=True)))
            await in_passing_thread(lambda: manager.start_kernel(cwd=None))
            client = manager.client()
            on_failure.callback(client.stop_channels)
            client.start_channels()
            await client.wait_for_ready(self._timeout)
            await self._warm_up(client)
            await asyncio.shield(prepared)
            on_failure.pop_all()
        return Idle(manager, client)

    async def _warm_up(self, client: KernelClient) -> None:
        """Make a kernel import its modules; raises KernelStartError if it fails or takes too long."""
        request = client.execute(_WARM_UP_CODE, silent=True, user_expressions=imports(self._modules))
        deadline = time.monotonic() + self._timeout
        reply: Message = {"parent_header": {}}
        while reply["parent_header"].get("msg_id") != request:
            if time.monotonic() > deadline or not await client.is_alive():
                raise KernelStartError(
                    f"A kernel died while importing {', '.join(self._modules)}, or was not ready within "
                    f"{self._timeout:g} s. Increase startup_timeout=, or remove modules from preload=."
                )
            with suppress(Empty):
                reply = await client.shell_channel.get_msg(DEATH_POLL_SECONDS)
        for module, failure in failures(reply["content"]).items():
            raise KernelStartError(
                f"{module} cannot be imported: {failure}. Install it in the environment of the kernel, or remove it "
                "from preload=."
            )

    async def _watch(self) -> None:
        """Replace kernels that have died."""
        while True:
            await asyncio.sleep(DEATH_POLL_SECONDS)
            await asyncio.gather(*map(self._replace_if_dead, list(self._idle)))

    async def _replace_if_dead(self, idle: Idle) -> None:
        if await idle.manager.is_alive():
            return
        with self._changed:
            if idle not in self._idle:
                return  # it was taken, and its executor will notice
            self._idle.remove(idle)
        logger.warning("A kernel of the pool died and is replaced: %s", idle.manager.cause_of_death())
        self._missing.release()
        await finish(idle.end())


async def in_passing_thread(make: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run a coroutine in a thread that has exited when this returns, even if canceled, so nothing it starts is lost.

    Kernels ask Linux to be killed with the thread that started them, or with the process if that thread has exited.
    """
    done: Future[T] = Future()

    def run() -> None:
        try:
            done.set_result(asyncio.run(make()))
        except BaseException as exc:  # noqa: BLE001  (raised in the waiting task)
            done.set_exception(exc)

    thread = threading.Thread(target=run, name="nbtape-start", daemon=True)
    thread.start()
    try:
        return await finish(asyncio.wrap_future(done))
    finally:
        thread.join()
