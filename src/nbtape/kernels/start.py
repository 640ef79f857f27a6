"""Start a kernel and connect to it; a kernel that does not become ready is shut down."""

from __future__ import annotations

import asyncio
import logging
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from nbtape.common.heavy_imports import import_heavy_packages
from nbtape.common.untrusted_files import ObstacleError, make_directories
from nbtape.environment import PLACE
from nbtape.errors import KernelStartError, OutputDirectoryError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from nbtape.kernels.protocols import KernelClient, KernelManager, KernelSource, KernelSpec

logger = logging.getLogger(__name__)

#: If looking up the kernel spec takes longer than this, a server is starting, and the imports do not wait for it.
_IMPORT_DELAY_SECONDS: Final = 0.05


@dataclass(frozen=True, slots=True)
class ReadyKernel:
    """A kernel that answers, with a connected client."""

    spec: KernelSpec
    manager: KernelManager
    client: KernelClient
    kernel_id: str  # see `KernelSource.id_of`
    place: Mapping[str, str]  # see `KernelSource.description`

    @property
    def language(self) -> str:
        """The language of the kernel."""
        return str(self.client.language_info.get("name") or self.spec.language)

    def describe(self, epoch: int) -> dict[str, Any]:
        """The notebook metadata of the kernel, with `epoch` as its number in the recording.

        JupyterLab's own keys come first; otherwise it would mark the notebook as changed after opening it.
        """
        spec, environment = self.spec, self.client.environment
        return {
            "kernelspec": {"name": spec.name, "display_name": spec.display_name, "language": spec.language},
            "language_info": {"name": spec.language, **self.client.language_info},
            "nbtape": {
                "directory": self.client.directory,
                "kernel_id": self.kernel_id or None,
                "kernel_epoch": epoch if self.kernel_id else None,
                "environment": environment and environment.to_dict(),
                **{key: self.place.get(key) for key in PLACE},
            },
        }

    async def abandon(self) -> None:
        """Kill it."""
        self.client.stop_channels()
        await self.manager.shutdown_kernel(now=True)


async def start_kernel(
    source: KernelSource,
    directory: Path,
    timeout: float,
    *,
    successor: KernelManager | None = None,
    meanwhile: Callable[[], object] = import_heavy_packages,
) -> ReadyKernel:
    """Start a kernel in a directory, created with its parents if missing, and call `meanwhile` while it starts.

    Args:
        source: The source of the kernel.
        directory: The working directory.
        timeout: Seconds that the start may take.
        successor: The manager of a kernel that a restart has already started; used if it becomes ready.
        meanwhile: Other work, such as slow imports. Called at least once.

    Raises:
        KernelError: The kernel cannot be started.
        OutputDirectoryError: The directory cannot be created.
    """
    make_directory(directory)
    source.admit(directory)
    thread = threading.Thread(target=meanwhile, daemon=True)
    imports = asyncio.get_running_loop().call_later(_IMPORT_DELAY_SECONDS, thread.start)
    try:
        spec = await source.spec()
    finally:
        imports.cancel()
    if successor is not None:
        try:
            return await _connect_or_end(source, spec, successor, timeout, meanwhile)
        except KernelStartError as exc:
            logger.warning("The restarted kernel failed; starting another one: %s", exc)
    manager = source.manager()
    try:
        logger.info("Starting kernel %s in %s", spec.name, directory)
        await manager.start_kernel(cwd=directory)
    except BaseException:
        await manager.shutdown_kernel(now=True)
        raise
    return await _connect_or_end(source, spec, manager, timeout, meanwhile)


async def _connect_or_end(
    source: KernelSource, spec: KernelSpec, manager: KernelManager, timeout: float, meanwhile: Callable[[], object]
) -> ReadyKernel:
    """Connect to a kernel that is starting; shut it down if it does not become ready."""
    try:
        meanwhile()
        return await connect(source, spec, manager, timeout)
    except BaseException:
        await manager.shutdown_kernel(now=True)
        raise


async def connect(source: KernelSource, spec: KernelSpec, manager: KernelManager, timeout: float) -> ReadyKernel:
    """Connect to a running kernel; raise `KernelStartError` if it dies or does not answer in time."""
    client = manager.client()
    client.start_channels()
    try:
        await client.wait_for_ready(timeout)
    except BaseException:
        client.stop_channels()
        raise
    logger.info("Kernel %s is ready", spec.name)
    return ReadyKernel(spec, manager, client, source.id_of(manager), source.description())


def make_directory(directory: Path, untrusted: Iterable[Path] = ()) -> None:
    """Create a directory and its missing parents, through no link below the directories `untrusted`.

    Raises:
        OutputDirectoryError: That is not possible.
    """
    try:
        make_directories(directory, untrusted)
    except ObstacleError as exc:
        raise OutputDirectoryError(directory, f"cannot be used: {exc.strerror}.") from exc
    except OSError as exc:
        raise OutputDirectoryError(
            directory, f"cannot be created ({exc.strerror or exc}). Choose another one."
        ) from exc
