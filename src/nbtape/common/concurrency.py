"""Helpers for asyncio: call queues, work that survives cancellation, threads, callbacks."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections import deque
from functools import partial
from inspect import isawaitable
from typing import TYPE_CHECKING, Any, Final, ParamSpec, TypeVar

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine

P = ParamSpec("P")
T = TypeVar("T")

logger = logging.getLogger(__name__)

#: How long a block waits at its end for a listener that is behind.
LISTENER_TIMEOUT_SECONDS: Final = 10.0


class Turns:
    """A lock for calls that may come from several event loops, one after another."""

    def __init__(self) -> None:
        self._of: tuple[int, asyncio.AbstractEventLoop, asyncio.Lock] | None = None

    @property
    def lock(self) -> asyncio.Lock:
        """The lock. A new event loop gets a new one, unless a live loop of this process holds the old one."""
        here = asyncio.get_running_loop()
        if self._of is not None:
            process, loop, lock = self._of
            is_live = process == os.getpid() and not loop.is_closed()
            if loop is here or (lock.locked() and is_live):
                return lock
        lock = asyncio.Lock()
        self._of = os.getpid(), here, lock
        return lock


@contextlib.asynccontextmanager
async def take_turn(lock: asyncio.Lock, stop: asyncio.Event) -> AsyncIterator[None]:
    """Hold a lock; cancel the caller if `stop` is set first."""
    if lock.locked():
        acquiring, stopped = asyncio.ensure_future(lock.acquire()), asyncio.ensure_future(stop.wait())
        try:
            await asyncio.wait({acquiring, stopped}, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            if not acquiring.cancel():
                lock.release()
            raise
        finally:
            stopped.cancel()
        if acquiring.cancel():
            raise asyncio.CancelledError
    else:
        await lock.acquire()
    try:
        yield
    finally:
        lock.release()


async def unless_stopped(work: Coroutine[Any, Any, T], stop: asyncio.Event) -> T:
    """Do the work, canceling it and the caller if `stop` is set."""
    task, stopped = asyncio.ensure_future(work), asyncio.ensure_future(stop.wait())
    stopped.add_done_callback(lambda _: task.cancel())
    try:
        return await task
    finally:
        stopped.cancel()


async def see_through(
    work: Coroutine[Any, Any, T] | asyncio.Future[T],
    stop: asyncio.Event,
    discard: Callable[[T], Awaitable[None]] | None = None,
) -> T:
    """Do work with a kernel. On cancellation, set `stop` and wait for the work, so that it cannot race the next block.

    `discard` is called with a result that the canceled caller does not receive.
    """
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        stop.set()
        await outlive(task)
        if discard is not None and not task.cancelled() and task.exception() is None:
            await discard(task.result())
        raise


async def finish(work: Coroutine[Any, Any, T] | asyncio.Future[T]) -> T:
    """Finish the work even if the caller is canceled."""
    return await see_through(work, asyncio.Event())


async def outlive(task: asyncio.Future[Any]) -> None:
    """Wait for a task to end, however often the caller is canceled."""
    while not task.done():
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.wait({task})
    if not task.cancelled() and (error := task.exception()) is not None:
        logger.warning("A canceled call failed: %s", error)


async def offload(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Do the work in a thread, or here if the interpreter is shutting down and starts no threads."""
    call = partial(work, *args, **kwargs)
    try:
        future = asyncio.get_running_loop().run_in_executor(None, call)
    except RuntimeError:
        return call()
    return await future


class Callback:
    """Calls a listener, a function or a coroutine function, with one thing after the other; logs what it raises.

    Coroutines run on the event loop of the first call, each after the one before.
    """

    def __init__(self, listener: Callable[..., object] | None) -> None:
        self._listener = listener
        self._waiting: deque[Awaitable[object]] = deque()
        self._task: asyncio.Task[None] | None = None

    def tell(self, *args: object) -> None:
        """Call the listener, or let its coroutine start when the earlier ones have ended."""
        answer = tell(self._listener, *args)
        if isawaitable(answer):
            self._waiting.append(answer)
            if self._task is None or self._task.done() or self._task.get_loop().is_closed():
                self._task = asyncio.ensure_future(self._run())

    async def catch_up(self) -> None:
        """Wait until all coroutines have ended, at most 10 seconds: one may be waiting for the caller of this."""
        if self._task is None or self._task.done() or self._task.get_loop() is not asyncio.get_running_loop():
            return
        await asyncio.wait({self._task}, timeout=LISTENER_TIMEOUT_SECONDS)
        if not self._task.done():
            logger.warning("%s is more than %g s behind", _name_of(self._listener), LISTENER_TIMEOUT_SECONDS)

    async def _run(self) -> None:
        while self._waiting:
            try:
                await self._waiting.popleft()
            except Exception:
                logger.exception("%s failed", _name_of(self._listener))


def _name_of(listener: object) -> object:
    return getattr(listener, "__qualname__", listener)


def tell(listener: Callable[P, T] | None, *args: P.args, **kwargs: P.kwargs) -> T | None:
    """Call a listener, if there is one; return what it returns, and log what it raises."""
    if listener is None:
        return None
    try:
        return listener(*args, **kwargs)
    except Exception:
        logger.exception("%s failed", _name_of(listener))
        return None
