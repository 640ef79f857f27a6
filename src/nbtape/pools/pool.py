"""Kernels that are ready before anybody asks for one: `KernelPool`."""

from __future__ import annotations

import math
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from nbtape.common.finalizers import when_forgotten
from nbtape.common.lifecycle import OwnServer
from nbtape.kernels.remote.jupyter_server import JupyterServer
from nbtape.kernels.sources import DEFAULT_KERNEL, checked_directory, checked_source
from nbtape.pools.pooled_kernel import PooledKernels
from nbtape.pools.stock import Stock

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nbtape.kernels.protocols import KernelSource
    from nbtape.kernels.sources import Server


class KernelPool(OwnServer):
    """Kernels that are started, and have imported what they will need, before an executor asks for one.

    Give it to executors in place of a server. Each gets a kernel that nobody has used; at a restart, and when a kernel
    has died, it gets another one. What is taken, or dies, is replaced; where none is ready, an executor has one
    started as without a pool. Executors of any thread and event loop may share a pool. Kernels that they have taken
    are theirs, and live on when the pool is stopped.

    On Linux, kernels of this machine are forked from a process that has imported all that is to be preloaded, where
    that is safe: no thread runs there, and no connection is open. Such a kernel is its own process with its own
    connection, and random numbers of its own from `random` and `numpy.random`; with its siblings it shares memory
    that neither of them changes, and the seed of `hash`. It ends when the process that it was forked from does. A
    module that looks, when it is imported, whether it is in a notebook, finds that it is not: leave it out.

    `start`, `with` and the first use start it. It ends with `stop`, with `with`, and at the latest with this process.

    Args:
        jupyter_server: Where the kernels come from, as for `JupyterCodeExecutor`; None for this machine.
        size: How many kernels are kept ready, or on their way, at most.
        preload: The modules that a kernel has imported. Their names do not show up in the code's namespace.
        kernel_name: The kernel spec, of a Python.
        output_dir: The directory in or below which all executors work, which is made if its parent exists. It must be
            named for a `DockerJupyterServer` without `bind_dir`, whose containers see no other directory.
        token: The token of a server that is given as a URL.
        fork: Whether kernels of this machine are forked: None where that is safe, on Linux; True to have an error
            where it is not, on macOS, too, where the system's own libraries may not bear it; False to have each
            started.
        startup_timeout: Seconds that a kernel has to start, and to import.

    Raises:
        ValueError: A value that cannot work.
    """

    def __init__(  # noqa: PLR0913  (one argument an option)
        self,
        jupyter_server: Server = None,
        size: int = 2,
        preload: Sequence[str] = (),
        kernel_name: str = DEFAULT_KERNEL,
        *,
        output_dir: Path | str | None = None,
        token: str | None = None,
        fork: bool | None = None,
        startup_timeout: float = 60,
    ) -> None:
        if size < 1:
            raise ValueError(f"size= must be at least 1, not {size}.")
        if not 0 < startup_timeout < math.inf:
            raise ValueError(
                f"startup_timeout= must be a finite number of seconds greater than 0, not {startup_timeout}."
            )
        modules = _checked_modules(preload)
        self._kernel_name = kernel_name
        self._directory = _common_directory(jupyter_server, output_dir)
        source = self._source(jupyter_server, token, modules, startup_timeout, fork=fork)
        source.check()
        self._stock = Stock(source, size, modules, startup_timeout, self._directory)
        when_forgotten(self, _close_forgotten, self._stock)

    def _source(
        self, server: Server, token: str | None, preload: Sequence[str], timeout: float, *, fork: bool | None
    ) -> KernelSource:
        if fork and (server is not None or sys.platform == "win32"):
            raise ValueError("fork=True needs local kernels on Linux or macOS. Leave it out.")
        if fork or (fork is None and server is None and sys.platform == "linux"):
            from nbtape.kernels.local.forked import ForkedKernels

            return ForkedKernels(self._kernel_name, preload, timeout, must=bool(fork))
        return checked_source(server, self._kernel_name, token, self._directory or Path("/"))

    def __repr__(self) -> str:
        return f"KernelPool(kernel_name={self._kernel_name!r}, size={self.size}, ready={self.ready})"

    @property
    def size(self) -> int:
        """How many kernels are kept ready, or on their way, at most."""
        return self._stock.size

    @property
    def ready(self) -> int:
        """How many kernels are ready now."""
        return self._stock.ready

    def start(self) -> None:
        """Start it, and return when the first kernel is ready. Harmless when it runs.

        Raises:
            KernelError: None can be started, or imports what is to be preloaded. The pool is stopped then.
        """
        self._stock.open()
        try:
            self._stock.wait(1)
        except BaseException:
            self.stop()
            raise

    def fill(self) -> None:
        """Start it, and return when all its kernels are ready.

        Raises:
            KernelError: One cannot be started, or import what is to be preloaded.
        """
        self._stock.open()
        self._stock.wait(self.size)

    def stop(self) -> None:
        """End the kernels that nobody took, and keep none ready. Harmless when that is done."""
        self._stock.close()

    def kernels_for(self, kernel_name: str, directory: Path) -> KernelSource:
        if kernel_name not in {self._kernel_name, DEFAULT_KERNEL}:
            raise ValueError(
                f"This pool has only {self._kernel_name} kernels, not {kernel_name}. Use "
                f"kernel_name={self._kernel_name!r}, or another pool."
            )
        if self._directory is not None and not directory.is_relative_to(self._directory):
            raise ValueError(
                f"The kernels of this pool can see only {self._directory}, not {directory}. Choose an output_dir= "
                "in it."
            )
        return PooledKernels(self, self._stock)


def _checked_modules(preload: Sequence[str]) -> tuple[str, ...]:
    """The names as a tuple; raises ValueError if they are not names of modules."""
    if isinstance(preload, str) or not all(isinstance(name, str) for name in preload):
        raise ValueError(f"preload= must be a list of module names, not {preload!r}.")
    for name in preload:
        if not all(part.isidentifier() for part in name.split(".")):
            raise ValueError(
                f"preload= contains {name!r}, which is not a module name. Write it as in an import statement."
            )
    return tuple(preload)


def _common_directory(server: Server, output_dir: Path | str | None) -> Path | None:
    """The directory in or below which all kernels work; None if they may work anywhere."""
    if output_dir is not None:
        return checked_directory(Path(output_dir))
    return server.common_directory() if isinstance(server, JupyterServer) else None


def _close_forgotten(stock: Stock) -> None:
    """Close the stock of a pool that was not stopped."""
    if stock.is_current:  # the garbage collector runs in any thread, and this one must not wait for itself
        threading.Thread(target=stock.close, daemon=True).start()
    else:
        stock.close()
