"""What all servers that nbtape starts have in common: a `with`, and a token."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from types import TracebackType


class OwnServer(ABC):
    """A server that runs from `start` to `stop`, or as long as a `with` or an `async with`."""

    @abstractmethod
    def start(self) -> None:
        """Start it. Harmless when it runs.

        Raises:
            ServerError: It cannot be started.
        """

    @abstractmethod
    def stop(self) -> None:
        """End it. Harmless when it has ended."""

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
