"""Run coroutines on an event loop in a separate thread, for blocking calls."""

from __future__ import annotations

import asyncio
import os
import threading
from concurrent.futures import CancelledError
from contextvars import Context
from typing import TYPE_CHECKING, Any, Final, TypeVar

from nbtape.common.concurrency import outlive
from nbtape.errors import BlockInterrupted, WrongLoopError, WrongProcessError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from concurrent.futures import Future

    from nbtape.results import CodeResult

T = TypeVar("T")

#: Maximum time that stopping a loop may delay the exit of the process.
SHUTDOWN_TIMEOUT_SECONDS: Final = 10.0


class LoopThread:
    """An event loop in a separate thread. The first call starts it; a call after `end` starts a new one.

    A fork of the process has no such thread. It must not even take the lock, which that thread may have held.

    Args:
        owner: What the thread belongs to, for errors: "executor" or "pool".
    """

    def __init__(self, owner: str = "executor") -> None:
        self._owner = owner
        self._process: int | None = None
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._calls = 0

    @property
    def is_running(self) -> bool:
        """Whether the loop runs."""
        return self._loop is not None

    @property
    def is_current(self) -> bool:
        """Whether the caller is on the loop's thread."""
        return self._thread is threading.current_thread()

    @property
    def is_forked(self) -> bool:
        """Whether this process is a fork of the one in which the loop runs."""
        return self._process not in {None, os.getpid()}

    def call(self, work: Coroutine[Any, Any, T], stop: asyncio.Event | None = None) -> T:
        """Do the work on the loop and wait for it.

        Ctrl-C cancels it. With `stop`, Ctrl-C sets that instead and raises BlockInterrupted with the result.
        """
        future = self.submit(work)
        try:
            return future.result()
        except KeyboardInterrupt:
            if stop is None:
                future.cancel()
                raise
            self.tell(stop.set)
            raise BlockInterrupted(_result_if_begun(future)) from None
        finally:
            with self._lock:
                self._calls -= 1

    async def wait(self, work: Coroutine[Any, Any, T], stop: asyncio.Event) -> T:
        """Do the work on the loop and await it on the caller's; cancellation sets `stop` and waits for the end."""
        future = asyncio.wrap_future(self.submit(work))
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            self.tell(stop.set)
            await outlive(future)
            raise
        finally:
            with self._lock:
                self._calls -= 1

    def submit(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        """Do the work on the loop.

        Raises WrongProcessError in a fork, and WrongLoopError if called on the loop itself, where waiting would
        deadlock.
        """
        if self.is_forked:
            work.close()
            raise WrongProcessError(self._owner)
        if self.is_current:
            work.close()
            raise WrongLoopError(
                "on_output runs on the executor's own thread and must not call the executor. Call it from another "
                "thread."
            )
        # A loop and its tasks keep the context in which they are created. The caller's context variables could refer
        # to an agent that refers to this executor, which would then never be garbage-collected.
        context = Context()
        with self._lock:
            if self._loop is None:
                self._loop, self._process = context.run(asyncio.new_event_loop), os.getpid()
                self._thread = threading.Thread(target=_run, args=(self._loop,), name="nbtape", daemon=True)
                self._thread.start()
            self._calls += 1
            return context.run(asyncio.run_coroutine_threadsafe, work, self._loop)

    def tell(self, action: Callable[[], None]) -> None:
        """Call `action` on the loop without waiting for it; does nothing in a fork."""
        if self.is_forked:
            return
        with self._lock:
            if self._loop is not None:
                self._loop.call_soon_threadsafe(action)

    def end(self, *, only_idle: bool = False) -> None:
        """Stop the loop and its thread; with `only_idle`, only if no call is running. Does nothing in a fork."""
        if self.is_forked:
            return
        with self._lock:
            if only_idle and self._calls:
                return
            loop, thread, self._loop, self._thread, self._process = self._loop, self._thread, None, None, None
        if loop is not None and thread is not None:
            loop.call_soon_threadsafe(loop.stop)
            thread.join(SHUTDOWN_TIMEOUT_SECONDS)


def _result_if_begun(future: Future[Any]) -> CodeResult | None:
    """The result of a stopped call; None if it was still queued when stopped."""
    try:
        result: CodeResult = future.result()
    except CancelledError:
        return None
    return result


def _run(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    loop.run_forever()
    left = asyncio.all_tasks(loop)
    for task in left:
        task.cancel()
    loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.run_until_complete(loop.shutdown_default_executor())
    loop.close()
