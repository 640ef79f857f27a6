"""Context managers for classes with `start` and `stop`."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Self

from nbtape.common.notebook_display import Displayed

if TYPE_CHECKING:
    from types import TracebackType


class Startable(ABC):
    """Something that runs from `start` to `stop`, or inside a `with` block."""

    @abstractmethod
    def start(self) -> None:
        """Start it; does nothing if it is running."""

    @abstractmethod
    def stop(self) -> None:
        """Stop it; does nothing if it has stopped."""

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()


class OwnServer(Displayed, Startable):
    """A server that can also run inside an `async with` block."""

    async def __aenter__(self) -> Self:
        await asyncio.to_thread(self.start)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await asyncio.to_thread(self.stop)
