"""Context managers for everything that has `start` and `stop`."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Self

from nbtape.common.notebook_display import Displayed

if TYPE_CHECKING:
    from types import TracebackType


class Startable(ABC):
    """Something that runs from `start` to `stop`, or as long as a `with`."""

    @abstractmethod
    def start(self) -> None:
        """Start it. Harmless when it runs."""

    @abstractmethod
    def stop(self) -> None:
        """Stop it. Harmless when it has stopped."""

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()


class OwnServer(Displayed, Startable):
    """A server, which also runs as long as an `async with`."""

    async def __aenter__(self) -> Self:
        await asyncio.to_thread(self.start)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await asyncio.to_thread(self.stop)
