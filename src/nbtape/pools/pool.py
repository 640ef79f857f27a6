"""`KernelPool`: pre-started kernels with their imports done."""

from __future__ import annotations

import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from nbtape.common.argument_checks import check_instance, check_positive, path_argument, text_argument
from nbtape.common.finalizers import when_forgotten
from nbtape.common.lifecycle import OwnServer
from nbtape.kernels.remote.jupyter_server import JupyterServer
from nbtape.kernels.sources import DEFAULT_KERNEL, checked_directory, checked_source
from nbtape.kernels.uncopied import Uncopied
from nbtape.pools.pooled_kernel import PooledKernels
from nbtape.pools.stock import Stock

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nbtape.kernels.protocols import KernelSource
    from nbtape.kernels.sources import Server


class KernelPool(OwnServer, Uncopied):
    """A pool of pre-started kernels that have already imported the packages they need.

    Pass it to executors instead of a server. Each executor gets an unused kernel, and another one at a restart or if
    its kernel dies. The pool replaces kernels that are taken or die. If none is ready, an executor starts one as
    without a pool. Executors in any thread and on any event loop may share a pool. Kernels that they have taken belong
    to them and continue when the pool is stopped.

    On Linux, local kernels are forked from a process that has imported the modules in `preload`, if that is safe: if
    that process has no other threads and no open connections. A forked kernel is a separate process with its own
    connection, and its own random numbers from `random` and `numpy.random`. It shares unchanged memory and the seed of
    `hash` with other kernels of the pool, and exits with the process that it was forked from. Do not preload modules
    that check at import whether they run in a notebook: they find that they do not.

    `start`, `with` and the first use start the pool. It stops with `stop`, at the end of `with`, and at the latest with
    this process.

    Args:
        jupyter_server: Where the kernels come from, as for `JupyterCodeExecutor`; None for local kernels.
        size: Maximum number of kernels that are ready or starting.
        preload: Modules that the kernels import before use. Their names are not added to the code's namespace.
        kernel_name: The kernel spec of a Python kernel.
        output_dir: The directory in or below which all executors work. Created with its parents if missing. Required
            for a `DockerJupyterServer` without `bind_dir`, whose containers can access no other directory.
        token: The token of a server that is given as a URL.
        fork: Whether local kernels are forked. None: on Linux, if that is safe. True: always, with an error if it is
            not safe; also on macOS, where system libraries may not support it. False: never.
        startup_timeout: Seconds for a kernel to start and import its modules.

    Raises:
        ValueError: A value is invalid.
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
        check_instance("size", size, int)
        if size < 1:
            raise ValueError(f"size= must be at least 1, not {size}.")
        if fork is not None:
            check_instance("fork", fork, bool)
        text_argument("kernel_name", kernel_name)
        check_positive("startup_timeout", startup_timeout)
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
        """The number of kernels that are ready now."""
        return self._stock.ready

    def start(self) -> None:
        """Start the pool, and return when the first kernel is ready; does nothing if it is running.

        Raises:
            KernelError: No kernel can be started, or import its modules. The pool is then stopped.
        """
        self._stock.open()
        try:
            self._stock.wait(1)
        except BaseException:
            self.stop()
            raise

    def fill(self) -> None:
        """Start the pool, and return when all its kernels are ready.

        Raises:
            KernelError: A kernel cannot be started, or import its modules.
        """
        self._stock.open()
        self._stock.wait(self.size)

    def stop(self) -> None:
        """Shut down the kernels that no executor has taken; does nothing if the pool has stopped."""
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
    """The names as a tuple; raises ValueError if they are not module names."""
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
        return checked_directory(path_argument("output_dir", output_dir))
    return server.common_directory() if isinstance(server, JupyterServer) else None


def _close_forgotten(stock: Stock) -> None:
    """Close the stock of a pool that was not stopped."""
    if stock.is_current:  # the garbage collector may run in this thread, which cannot wait for itself
        threading.Thread(target=stock.close, daemon=True).start()
    else:
        stock.close()
