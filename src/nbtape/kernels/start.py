"""A kernel that is started, connected and ready; or nothing is left of it."""

from __future__ import annotations

import asyncio
import logging
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from nbtape.common.heavy_imports import defer_grammar
from nbtape.errors import KernelStartError
from nbtape.kernels.protocols import PLACE, DescribedKernels, LastingKernels
from nbtape.session.options import make_directory

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from nbformat import NotebookNode

    from nbtape.kernels.protocols import KernelClient, KernelManager, KernelSource, KernelSpec
    from nbtape.session.cell_runner import CellRunner
    from nbtape.session.output_recorder import Listener

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
        place: Where it is, see `DescribedKernels`; empty for this machine.
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

    def runner(self, notebook: NotebookNode, listener: Listener, *, grace: float) -> CellRunner:
        """What runs the cells of a notebook on it; see `CellRunner`."""
        from nbtape.session.cell_runner import CellRunner

        return CellRunner(notebook, self.manager, self.client, listener, grace=grace)

    async def abandon(self) -> None:
        """End it, by force."""
        self.client.stop_channels()
        await self.manager.shutdown_kernel(now=True)


async def start_kernel(
    source: KernelSource, directory: Path, timeout: float, heir: KernelManager | None = None
) -> ReadyKernel:
    """Start a kernel. It is on its way before the imports that the recording needs.

    Args:
        source: Where it comes from.
        directory: Where it is to work; made if it is missing.
        timeout: Seconds that it has to start.
        heir: The manager of one that has been started in the place of another, if there is one and it comes up.

    Raises:
        KernelError: It cannot be started.
        OutputDirectoryError: The directory cannot be made.
    """
    make_directory(directory)
    # A server may have to be started first: the imports need not wait for that.
    imports = asyncio.get_running_loop().call_later(_SOON, threading.Thread(target=_import_the_rest, daemon=True).start)
    try:
        spec = await source.spec()
    finally:
        imports.cancel()
    if heir is not None:
        try:
            return await _connect_or_end(source, spec, heir, timeout)
        except KernelStartError as exc:
            logger.warning("the kernel that was started anew has failed, and another one takes its place: %s", exc)
    manager = source.manager()
    try:
        logger.info("a kernel %s is started, to work in %s", spec.name, directory)
        await manager.start_kernel(cwd=directory)
    except BaseException:
        await manager.shutdown_kernel(now=True)
        raise
    return await _connect_or_end(source, spec, manager, timeout)


async def _connect_or_end(
    source: KernelSource, spec: KernelSpec, manager: KernelManager, timeout: float
) -> ReadyKernel:
    """Connect to a kernel that is on its way; nothing is left of one that does not come up."""
    try:
        _import_the_rest()
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
    from nbtape.session.recording import warm_up

    client = manager.client()
    client.start_channels()
    warm_up()
    try:
        await client.wait_for_ready(timeout)
    except BaseException:
        client.stop_channels()
        raise
    logger.info("the kernel %s is ready", spec.name)
    kernel_id = source.id_of(manager) if isinstance(source, LastingKernels) else ""
    place = source.description() if isinstance(source, DescribedKernels) else {}
    return ReadyKernel(spec, manager, client, kernel_id, place)


def prepare() -> None:
    """Have all at hand that the first recording of this process needs besides a kernel."""
    _import_the_rest()
    from nbtape.session.recording import warm_up

    warm_up()


def _import_the_rest() -> None:
    """What is needed when a kernel is on its way."""
    defer_grammar()
    import nbtape.session.cell_runner  # noqa: F401
    import nbtape.session.output_recorder
    import nbtape.session.recording
