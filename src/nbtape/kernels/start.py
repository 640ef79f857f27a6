"""A kernel that is started, connected and ready; or nothing is left of it."""

from __future__ import annotations

import asyncio
import logging
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from nbtape.common.heavy_imports import import_heavy_packages
from nbtape.environment import PLACE
from nbtape.errors import KernelStartError, OutputDirectoryError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from nbtape.kernels.protocols import KernelClient, KernelManager, KernelSource, KernelSpec

logger = logging.getLogger(__name__)

#: Seconds after which a place for kernels counts as one that has to be waited for.
_SOON: Final = 0.05


@dataclass(frozen=True, slots=True)
class ReadyKernel:
    """A kernel that answers.

    Args:
        spec: Its kernel spec.
        manager: Its manager.
        client: A client that is connected and ready.
        kernel_id: The id under which it can be found again if it outlives us; empty if it cannot.
        place: Where it is, see `KernelSource.description`; empty for this machine.
    """

    spec: KernelSpec
    manager: KernelManager
    client: KernelClient
    kernel_id: str
    place: Mapping[str, str]

    @property
    def language(self) -> str:
        """What it speaks."""
        return str(self.client.language_info.get("name") or self.spec.language)

    def describe(self, epoch: int) -> dict[str, Any]:
        """What a notebook says of it: first what JupyterLab needs, or it calls a notebook changed when it opens it.

        Args:
            epoch: Its number in this recording.
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
        """End it, by force."""
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
    """Start a kernel, and do other work while it starts.

    Args:
        source: Where it comes from.
        directory: Where it is to work; made if it is missing.
        timeout: Seconds that it has to start.
        successor: The manager of a kernel that a restart has already started; used if it comes up.
        meanwhile: What to do while the kernel process starts, such as slow imports. Called at least once.

    Raises:
        KernelError: It cannot be started.
        OutputDirectoryError: The directory cannot be made.
    """
    make_directory(directory)
    # If a server has to start first, the imports need not wait for it.
    imports = asyncio.get_running_loop().call_later(_SOON, threading.Thread(target=meanwhile, daemon=True).start)
    try:
        spec = await source.spec()
    finally:
        imports.cancel()
    if successor is not None:
        try:
            return await _connect_or_end(source, spec, successor, timeout, meanwhile)
        except KernelStartError as exc:
            logger.warning("the restarted kernel failed; starting another one: %s", exc)
    manager = source.manager()
    try:
        logger.info("a kernel %s is started, to work in %s", spec.name, directory)
        await manager.start_kernel(cwd=directory)
    except BaseException:
        await manager.shutdown_kernel(now=True)
        raise
    return await _connect_or_end(source, spec, manager, timeout, meanwhile)


async def _connect_or_end(
    source: KernelSource, spec: KernelSpec, manager: KernelManager, timeout: float, meanwhile: Callable[[], object]
) -> ReadyKernel:
    """Connect to a kernel that is starting; shut it down if it does not come up."""
    try:
        meanwhile()
        return await connect(source, spec, manager, timeout)
    except BaseException:
        await manager.shutdown_kernel(now=True)
        raise


async def connect(source: KernelSource, spec: KernelSpec, manager: KernelManager, timeout: float) -> ReadyKernel:
    """Connect to a kernel that runs.

    Args:
        source: Where it came from.
        spec: Its kernel spec.
        manager: Its manager.
        timeout: Seconds that it has to answer.

    Raises:
        KernelStartError: It did not, or it died.
    """
    client = manager.client()
    client.start_channels()
    try:
        await client.wait_for_ready(timeout)
    except BaseException:
        client.stop_channels()
        raise
    logger.info("the kernel %s is ready", spec.name)
    return ReadyKernel(spec, manager, client, source.id_of(manager), source.description())


def make_directory(directory: Path) -> None:
    """Have the directory, whatever became of it or its parent since it was checked.

    Raises:
        OutputDirectoryError: It cannot be made.
    """
    try:
        directory.mkdir(exist_ok=True)
    except OSError as exc:
        hint = f"It cannot be made ({exc.strerror or exc}): see to its parent, or name another directory."
        raise OutputDirectoryError(directory, hint) from exc
