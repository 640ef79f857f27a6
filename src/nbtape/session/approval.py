"""Ask before each block whether it may run: it is allowed, refused, or replaced."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import logging
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias, cast

from nbtape.common.text import shorten
from nbtape.messages.code_blocks import CodeBlock

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

logger = logging.getLogger(__name__)

#: True to run the block, another block to run instead, and False or the reason as a string to refuse it.
Answer: TypeAlias = "bool | str | CodeBlock"

#: Is called with each block before it runs.
Approve: TypeAlias = "Callable[[CodeBlock], Answer | Awaitable[Answer]]"

_MAX_REASON_CHARS: Final = 2000
_MAX_SHOWN_CODE_CHARS: Final = 4000


@dataclass(frozen=True, slots=True)
class Decision:
    """What happens to a block.

    Args:
        block: The block to run: the block itself or its replacement.
        original: The block that was replaced, if it was.
        refusal: Why it is not run; empty if it runs.
        is_asked: Whether there was someone to ask.
    """

    block: CodeBlock
    original: CodeBlock | None = None
    refusal: str = ""
    is_asked: bool = True

    @property
    def note(self) -> str:
        """The note for the cell: a refusal with its reason, or the code that runs instead; empty for neither."""
        if self.refusal:
            return f"Not run: {self.refusal}"
        if self.original is None:
            return ""
        code = shorten(self.block.code, _MAX_SHOWN_CODE_CHARS, "the whole code is in the cell")
        return f"The code was replaced before it ran. This ran instead:\n{code}"

    def metadata(self) -> dict[str, Any]:
        """The cell's metadata for it, under `nbtape`; empty if no one was asked."""
        if not self.is_asked:
            return {}
        if self.refusal:
            return {"approval": "refused"}
        if self.original is None:
            return {"approval": "allowed"}
        return {
            "approval": "replaced",
            "replaced": {"source": self.original.code, "language": self.original.language},
        }


async def decide(approve: Approve | None, block: CodeBlock, stop: asyncio.Event) -> Decision | None:
    """Ask about a block; None if `stop` is set first. A question that fails is a refusal, so that nothing runs unseen.

    A function is called in a thread of its own, because it may wait for a person, even after `stop`.
    """
    if approve is None:
        return Decision(block, is_asked=False)
    question = asyncio.ensure_future(_ask(approve, block))
    stopped = asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait({question, stopped}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        stopped.cancel()
        question.cancel()  # does nothing if it has ended
    if not question.done() or question.cancelled():
        return None
    if (error := question.exception()) is not None:
        logger.error("approve= failed", exc_info=error)
        return Decision(block, refusal=f"approve= failed with {type(error).__name__}: {error}")
    return _decision(block, question.result())


def _decision(block: CodeBlock, answer: object) -> Decision:
    if answer is True:
        return Decision(block)
    if answer is False:
        return Decision(block, refusal="it was refused.")
    if isinstance(answer, str):
        reason = shorten(answer.strip(), _MAX_REASON_CHARS, "shortened")
        return Decision(block, refusal=f"it was refused. {reason}".rstrip())
    code, language = getattr(answer, "code", None), getattr(answer, "language", None)
    if isinstance(code, str) and isinstance(language, str):
        if (code, language) == (block.code, block.language):
            return Decision(block)
        return Decision(CodeBlock(code, language), original=block)
    logger.error("approve= returned %.100r", answer)
    return Decision(
        block, refusal=f"approve= must return True, False, a reason or a CodeBlock, and returned {answer!r:.100}."
    )


async def _ask(approve: Approve, block: CodeBlock) -> object:
    if inspect.iscoroutinefunction(approve) or inspect.iscoroutinefunction(getattr(approve, "__call__", None)):  # noqa: B004
        return await cast("Awaitable[object]", approve(block))
    answer = await _in_thread(approve, block)
    return await answer if inspect.isawaitable(answer) else answer


async def _in_thread(approve: Approve, block: CodeBlock) -> object:
    """Call a function in a daemon thread: no exit waits for one that waits for a person."""
    loop, context = asyncio.get_running_loop(), contextvars.copy_context()
    future: asyncio.Future[object] = loop.create_future()

    def settle(answer: object, error: BaseException | None) -> None:
        if future.done():
            return
        if error is None:
            future.set_result(answer)
        else:
            future.set_exception(error)

    def call() -> None:
        answer: object = None
        error: BaseException | None = None
        try:
            answer = context.run(approve, block)
        except BaseException as exc:  # noqa: BLE001  (raised to the caller)
            # A task cannot raise StopIteration, and does not hold back SystemExit.
            is_plain = isinstance(exc, Exception) and not isinstance(exc, StopIteration)
            error = exc if is_plain else RuntimeError(repr(exc))
        if not loop.is_closed():
            loop.call_soon_threadsafe(settle, answer, error)

    threading.Thread(target=call, name="nbtape approve", daemon=True).start()
    return await future
