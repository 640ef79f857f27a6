"""The base of all servers that nbtape starts."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from types import TracebackType


class OwnServer(ABC):
    """A server that runs from `start` to `stop`, or in a `with` or an `async with`."""

    @abstractmethod
    def start(self) -> None:
        """Start the server, unless it is running.

        Raises:
            ServerError: It cannot be started.
        """

    @abstractmethod
    def stop(self) -> None:
        """Stop the server, unless it has stopped."""

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    async def __aenter__(self) -> Self:
        await asyncio.to_thread(self.start)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await asyncio.to_thread(self.stop)
