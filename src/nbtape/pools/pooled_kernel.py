"""A kernel of a pool for an executor, by the seam that all kernels have; where none is ready, one that is started."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from nbtape.common.concurrency import finish
from nbtape.errors import KernelStartError
from nbtape.kernels.protocols import DescribedKernels, LastingKernels, RenewableKernel, SharedKernels

if TYPE_CHECKING:
    from collections.abc import Awaitable, Mapping
    from pathlib import Path

    from nbtape.kernels.protocols import FoundKernel, KernelClient, KernelManager, KernelSpec
    from nbtape.pools.stock import Stock

logger = logging.getLogger(__name__)

#: Seconds that a ready kernel has to answer who gets it; one that does not is ended, and the next one is taken.
_PROMPT: Final = 5.0


class PooledKernels:
    """What an executor gets its kernels from.

    Args:
        pool: The pool, kept alive as long as this is.
        stock: What it has.
    """

    def __init__(self, pool: object, stock: Stock) -> None:
        self._pool = pool
        self._stock = stock

    def check(self) -> None:
        """Was done when the pool was made."""

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
        """Where the kernels are, see `DescribedKernels`."""
        source = self._stock.source
        return source.description() if isinstance(source, DescribedKernels) else {}

    def id_of(self, manager: KernelManager) -> str:
        """The id under which a kernel can be found again; empty if it cannot."""
        source = self._stock.source
        return source.id_of(_taken(manager)) if isinstance(source, LastingKernels) else ""

    async def find(self, kernel_id: str) -> FoundKernel | None:
        """The kernel of an id, if it lives and nobody is connected to it.

        Raises:
            ServerError: The server cannot be reached, or refuses us.
        """
        source = self._stock.source
        return await source.find(kernel_id) if isinstance(source, LastingKernels) else None

    async def share(self, manager: KernelManager, notebook: Path) -> str:
        """Have whoever opens a notebook where the kernels are get its kernel; see `SharedKernels`."""
        source = self._stock.source
        return await source.share(_taken(manager), notebook) if isinstance(source, SharedKernels) else ""


class PooledKernelManager:
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
            await client.wait_for_ready(_PROMPT)
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

    def hand_over(self, client: KernelClient, cwd: Path) -> KernelManager:
        """A manager for another event loop."""
        return self.kernel.hand_over(client, cwd)

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

    async def cleanup_resources(self) -> None:
        """Leave nothing behind."""
        if self._kernel is not None:
            await self._kernel.cleanup_resources()

    async def renew(self, *, now: bool = False) -> KernelManager | None:
        """End the kernel, and have a fresh one in its place; see `RenewableKernel`."""
        if isinstance(self.kernel, RenewableKernel):
            return await self.kernel.renew(now=now)
        await self.shutdown_kernel(now=now)
        return None

    def cause_of_death(self) -> str:
        """How a kernel that is no longer alive ended."""
        return self.kernel.cause_of_death()


def _taken(manager: KernelManager) -> KernelManager:
    """The manager by which the kernel's source knows it: one that was renewed is no kernel of the pool any more."""
    return manager.kernel if isinstance(manager, PooledKernelManager) else manager
