"""A kernel of a pool for an executor, by the seam that all kernels have; where none is ready, one that is started."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from nbtape.common.concurrency import finish
from nbtape.errors import KernelStartError
from nbtape.kernels.protocols import KernelManager, KernelSource

if TYPE_CHECKING:
    from collections.abc import Awaitable, Mapping
    from pathlib import Path

    from nbtape.kernels.protocols import FoundKernel, KernelClient, KernelSpec
    from nbtape.pools.stock import Stock

logger = logging.getLogger(__name__)

#: Seconds that a pre-started kernel has to answer; one that does not is killed, and the next one is taken.
ANSWER_TIMEOUT_SECONDS: Final = 5.0


class PooledKernels(KernelSource):
    """What an executor gets its kernels from.

    Args:
        pool: The pool, kept alive as long as this is.
        stock: What it has.
    """

    def __init__(self, pool: object, stock: Stock) -> None:
        self._pool = pool
        self._stock = stock

    async def spec(self) -> KernelSpec:
        """The kernel spec of the pool.

        Raises:
            KernelError: There is none of that name, or it is of no Python.
        """
        return await self._stock.spec()

    def manager(self) -> KernelManager:
        """A manager for one kernel, not yet taken."""
        return PooledKernelManager(self._stock)

    def description(self) -> Mapping[str, str]:
        """Where the kernels are."""
        return self._stock.source.description()

    def id_of(self, manager: KernelManager) -> str:
        """The id that finds a kernel again; empty if it cannot outlive this process."""
        return self._stock.source.id_of(_taken(manager))

    async def find(self, kernel_id: str) -> FoundKernel | None:
        """Return the kernel of an id, if it is alive and no other client is connected.

        Raises:
            ServerError: The server cannot be reached, or refuses access.
        """
        return await self._stock.source.find(kernel_id)

    async def share(self, manager: KernelManager, notebook: Path) -> str:
        """Make people who open the notebook on the kernel's server get this kernel."""
        return await self._stock.source.share(_taken(manager), notebook)


class PooledKernelManager(KernelManager):
    """One kernel out of the stock; where that has none, one that is started then.

    Args:
        stock: Where it is taken from.
    """

    def __init__(self, stock: Stock) -> None:
        self._stock = stock
        self._client: KernelClient | None = None
        self._kernel: KernelManager | None = None

    @property
    def kernel(self) -> KernelManager:
        """The manager of the kernel that was taken."""
        assert self._kernel is not None, "a kernel was taken"
        return self._kernel

    @property
    def has_kernel(self) -> bool:
        """Whether a kernel was taken and not yet shut down."""
        return self._kernel is not None and self._kernel.has_kernel

    async def start_kernel(self, *, cwd: Path | None) -> None:
        """Take a kernel that answers.

        Raises:
            KernelStartError: There is none, and none can be started.
        """
        assert cwd is not None, "who takes a kernel knows where it is to work"
        while (idle := self._stock.take()) is not None:
            if await self._receive(idle.manager.hand_over(idle.client, cwd)):
                return
        self._kernel = self._stock.source.manager()
        await self._kernel.start_kernel(cwd=cwd)

    async def _receive(self, kernel: KernelManager) -> bool:
        """Whether a kernel of the stock answers; nothing is left of one that does not."""
        client = kernel.client()
        client.start_channels()
        try:
            await client.wait_for_ready(ANSWER_TIMEOUT_SECONDS)
        except BaseException as exc:
            client.stop_channels()
            await finish(kernel.shutdown_kernel(now=True))
            if not isinstance(exc, KernelStartError):
                raise
            logger.warning("a kernel of the pool does not answer, and the next one is taken: %s", exc)
            return False
        self._kernel, self._client = kernel, client
        return True

    def client(self) -> KernelClient:
        """A client for this kernel."""
        return self._client or self.kernel.client()

    def is_alive(self) -> Awaitable[bool]:
        """Whether the kernel runs and can be reached."""
        return self.kernel.is_alive()

    async def interrupt_kernel(self) -> None:
        """Ask the running code to stop."""
        await self.kernel.interrupt_kernel()

    async def shutdown_kernel(self, *, now: bool = False) -> None:
        """End the kernel and all it started."""
        if self._kernel is not None:
            await self._kernel.shutdown_kernel(now=now)

    async def renew(self, *, now: bool = False) -> KernelManager | None:
        """Shut the kernel down, and replace it if other people may be using it."""
        return await self.kernel.renew(now=now)

    def cause_of_death(self) -> str:
        """How a kernel that is no longer alive ended."""
        return self.kernel.cause_of_death()


def _taken(manager: KernelManager) -> KernelManager:
    """The manager by which the kernel's source knows it: one that was renewed is no kernel of the pool any more."""
    return manager.kernel if isinstance(manager, PooledKernelManager) else manager
