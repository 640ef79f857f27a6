"""The kernel source and the manager of a pool: a pre-started kernel, or a new one if none is ready."""

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

#: Maximum time for a pre-started kernel to answer. After that it is killed and the next one is taken.
ANSWER_TIMEOUT_SECONDS: Final = 5.0


class PooledKernels(KernelSource):
    """The kernel source of an executor; keeps the pool alive."""

    def __init__(self, pool: object, stock: Stock) -> None:
        self._pool = pool
        self._stock = stock

    async def spec(self) -> KernelSpec:
        return await self._stock.spec()

    def admit(self, directory: Path) -> None:
        self._stock.source.admit(directory)

    def can_access(self, directory: Path) -> bool:
        return self._stock.source.can_access(directory)

    def manager(self) -> KernelManager:
        return PooledKernelManager(self._stock)

    def description(self) -> Mapping[str, str]:
        return self._stock.source.description()

    def id_of(self, manager: KernelManager) -> str:
        return self._stock.source.id_of(_taken(manager))

    async def find(self, kernel_id: str) -> FoundKernel | None:
        return await self._stock.source.find(kernel_id)

    async def share(self, manager: KernelManager, notebook: Path) -> str:
        return await self._stock.source.share(_taken(manager), notebook)


class PooledKernelManager(KernelManager):
    """Takes a kernel from the stock, or starts one if that is empty, and delegates to its manager."""

    def __init__(self, stock: Stock) -> None:
        self._stock = stock
        self._client: KernelClient | None = None
        self._kernel: KernelManager | None = None

    @property
    def kernel(self) -> KernelManager:
        """The manager of the kernel."""
        assert self._kernel is not None, "a kernel was taken"
        return self._kernel

    @property
    def has_kernel(self) -> bool:
        return self._kernel is not None and self._kernel.has_kernel

    async def start_kernel(self, *, cwd: Path | None) -> None:
        assert cwd is not None, "an executor has a working directory"
        while (idle := self._stock.take()) is not None:
            if await self._receive(idle.manager.hand_over(idle.client, cwd)):
                return
        self._kernel = self._stock.source.manager()
        await self._kernel.start_kernel(cwd=cwd)

    async def _receive(self, kernel: KernelManager) -> bool:
        """Use a kernel from the stock; kill it and return False if it does not answer."""
        client = kernel.client()
        client.start_channels()
        try:
            await client.wait_for_ready(ANSWER_TIMEOUT_SECONDS)
        except BaseException as exc:
            client.stop_channels()
            await finish(kernel.shutdown_kernel(now=True))
            if not isinstance(exc, KernelStartError):
                raise
            logger.warning("A kernel of the pool does not answer; taking the next one: %s", exc)
            return False
        self._kernel, self._client = kernel, client
        return True

    def client(self) -> KernelClient:
        return self._client or self.kernel.client()

    def is_alive(self) -> Awaitable[bool]:
        return self.kernel.is_alive()

    async def interrupt_kernel(self) -> None:
        await self.kernel.interrupt_kernel()

    async def shutdown_kernel(self, *, now: bool = False) -> None:
        if self._kernel is not None:
            await self._kernel.shutdown_kernel(now=now)

    async def renew(self, *, now: bool = False) -> KernelManager | None:
        return await self.kernel.renew(now=now)

    def cause_of_death(self) -> str:
        return self.kernel.cause_of_death()


def _taken(manager: KernelManager) -> KernelManager:
    """The manager made by the kernel's source. A renewed kernel no longer belongs to the pool."""
    return manager.kernel if isinstance(manager, PooledKernelManager) else manager
