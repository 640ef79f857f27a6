"""Whose turn it is: a lock for each event loop, one that a stop gets out of, and work that outlives its caller."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine

News = ParamSpec("News")


T = TypeVar("T")


logger = logging.getLogger(__name__)


class Turns:
    """One call after the other, also where another event loop goes on with what the last one left."""

    def __init__(self) -> None:
        self._of: tuple[asyncio.AbstractEventLoop, asyncio.Lock] | None = None

    @property
    def lock(self) -> asyncio.Lock:
        """Held by the call whose turn it is. Another event loop than before gets its own."""
        here = asyncio.get_running_loop()
        if self._of is not None:
            loop, lock = self._of
            if loop is here or (lock.locked() and not loop.is_closed()):
                return lock
        lock = asyncio.Lock()
        self._of = here, lock
        return lock


@contextlib.asynccontextmanager
async def take_turn(lock: asyncio.Lock, stop: asyncio.Event) -> AsyncIterator[None]:
    """Hold a lock, unless `stop` is set before it is had."""
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
    """Do what can be called off without harm, and call it off when `stop` is set: then this is cancelled."""
    task, stopped = asyncio.ensure_future(work), asyncio.ensure_future(stop.wait())
    stopped.add_done_callback(lambda _: task.cancel())
    try:
        return await task
    finally:
        stopped.cancel()


async def see_through(
    work: Coroutine[Any, Any, T], stop: asyncio.Event, discard: Callable[[T], Awaitable[None]] | None = None
) -> T:
    """Do what a kernel is needed for. If that is cancelled it is stopped, and only left when it has ended.

    A block that is abandoned would race the next one: it is interrupted and recorded first.

    Args:
        work: What is to be done.
        stop: What makes it end soon.
        discard: What becomes of a result that comes too late.
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
    """Do what must not be left half-way. If that is cancelled, it is done first."""
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await outlive(task)
        raise


async def outlive(task: asyncio.Future[Any]) -> None:
    """Wait for a task that we owe its end, cancelled again or not."""
    while not task.done():
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.wait({task})
    if not task.cancelled() and (error := task.exception()) is not None:
        logger.warning("a cancelled call ended in an error: %s", error)


async def offload(work: Callable[[], T]) -> T:
    """Do the work in a thread, or here if the interpreter is ending and takes no more work for threads."""
    try:
        future = asyncio.get_running_loop().run_in_executor(None, work)
    except RuntimeError:
        return work()
    return await future


def tell(listener: Callable[News, object] | None, *news: News.args, **named: News.kwargs) -> None:
    """Call a listener, if there is one; what it raises is logged and goes no further."""
    if listener is None:
        return
    try:
        listener(*news, **named)
    except Exception:
        logger.exception("%s failed", getattr(listener, "__qualname__", listener))
