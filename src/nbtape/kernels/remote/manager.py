"""Kernels on a Jupyter server: managed over HTTP, and used over a websocket."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import posixpath
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import httpx

from nbtape.common.finalizers import when_forgotten
from nbtape.errors import KernelError, ServerError
from nbtape.kernels.handshake import INTRODUCTION, STAMP, move
from nbtape.kernels.protocols import FoundKernel, KernelManager, KernelSource
from nbtape.kernels.remote.client import WebsocketKernelClient
from nbtape.kernels.remote.lab_session import path_below, share
from nbtape.kernels.remote.rest import RestApi, client_options, is_kernel_id

if TYPE_CHECKING:
    import ssl
    import weakref
    from collections.abc import Mapping

    from nbtape.kernels.protocols import KernelClient, KernelSpec
    from nbtape.kernels.remote.connection import JupyterConnectionInfo
    from nbtape.kernels.remote.jupyter_server import JupyterServer

logger = logging.getLogger(__name__)

#: How long a shutdown waits for the deletion of a kernel that is dead or must be killed.
_DELETION_TIMEOUT_SECONDS: Final = 1.0

#: How long a server may take to detect that a client was killed.
_DISCONNECT_TIMEOUT_SECONDS: Final = 3.0
_DISCONNECT_POLL_SECONDS: Final = 0.1

#: Deletions in progress, because asyncio itself keeps no reference to its tasks.
_deletions: set[asyncio.Task[None]] = set()


class RemoteKernels(KernelSource):
    """The kernels of one Jupyter server."""

    def __init__(self, server: JupyterServer, kernel_name: str) -> None:
        self.server = server
        self._name = kernel_name
        self._located: tuple[JupyterConnectionInfo, ssl.SSLContext | None] | None = None

    async def spec(self) -> KernelSpec:
        """Look up the kernel spec on the server, which is started first if nbtape manages it."""
        info, context = await self.locate()
        async with RestApi(info, context) as api:
            return await api.spec(self._name)

    def admit(self, directory: Path) -> None:
        self.server.admit(directory)

    def can_access(self, directory: Path) -> bool:
        return self.server.can_access(directory)

    def manager(self) -> KernelManager:
        """Return a manager for one new kernel."""
        return RemoteKernelManager(self, self._name)

    def description(self) -> Mapping[str, str]:
        described = self.server.description()
        if described is not None:
            return described
        return {} if self._located is None else {"server": self._located[0].url}

    def id_of(self, manager: KernelManager) -> str:
        return manager.id if isinstance(manager, RemoteKernelManager) else ""

    async def find(self, kernel_id: str) -> FoundKernel | None:
        """Return the kernel with an id, interrupted if busy; None if it is gone or another client is connected."""
        if not is_kernel_id(kernel_id):
            return None
        info, context = await self.locate()
        async with RestApi(info, context) as api:
            model = await _model_of_free_kernel(api, kernel_id)
        if model is None:
            return None
        manager = RemoteKernelManager(self, self._name)
        manager.adopt(info, context, kernel_id)
        if was_busy := model.get("execution_state") == "busy":
            await manager.interrupt_kernel()
        return FoundKernel(manager, was_busy)

    async def share(self, manager: KernelManager, notebook: Path) -> str:
        if not isinstance(manager, RemoteKernelManager) or not self.server.has_pages:
            return ""
        return await manager.share(notebook)

    async def release(self) -> None:
        """Leave the server."""
        await asyncio.to_thread(self.server.leave, self)

    async def locate(self) -> tuple[JupyterConnectionInfo, ssl.SSLContext | None]:
        """The current address of the server: the port changes each time nbtape starts one."""
        self.server.enter(self)
        info = await asyncio.to_thread(lambda: self.server.connection_info)
        if self._located is None or self._located[0] != info:
            self._located = info, info.make_ssl_context() if info.use_https else None
        return self._located


class RemoteKernelManager(KernelManager):
    """One kernel on a server."""

    def __init__(self, kernels: RemoteKernels, name: str) -> None:
        self._kernels = kernels
        self._name = name
        self._start: asyncio.Task[None] | None = None
        self._info: JupyterConnectionInfo | None = None
        self._context: ssl.SSLContext | None = None
        self._id = ""
        self._is_placed = self._is_shared = False
        self._known: KernelClient | None = None
        self._introduction: Mapping[str, str] = INTRODUCTION
        self._client: WebsocketKernelClient | None = None
        self._deleter: weakref.finalize[..., RemoteKernelManager] | None = None

    @property
    def id(self) -> str:
        """The kernel's id; empty before its start and after its shutdown."""
        return self._id

    @property
    def has_kernel(self) -> bool:
        return bool(self._id)

    async def start_kernel(self, *, cwd: Path | None) -> None:
        """Start the kernel in `cwd` if the server can access that directory, otherwise in the server's root."""
        # A canceled request may still start a kernel, so the shutdown waits for the answer to know what to delete.
        self._start = asyncio.create_task(self._start_kernel(cwd))
        await asyncio.shield(self._start)

    async def _start_kernel(self, cwd: Path | None) -> None:
        self._info, self._context = await self._kernels.locate()
        path = path_below(self._info.local_root, cwd or self._info.local_root)
        self._is_placed = path is not None
        async with self._rest() as api:
            kernel_id = await api.start(self._name, path or "")
        self.adopt(self._info, self._context, kernel_id)

    def adopt(self, info: JupyterConnectionInfo, context: ssl.SSLContext | None, kernel_id: str) -> None:
        """Become the manager of a running kernel, which stops at the latest when this is garbage-collected."""
        self._info, self._context, self._id = info, context, kernel_id
        self._deleter = when_forgotten(self, _delete_forgotten, info, kernel_id)

    def hand_over(self, client: KernelClient, cwd: Path) -> KernelManager:
        """Return another manager of this kernel, which moves it to `cwd` if the server can access that directory."""
        assert self._info is not None, "the kernel was started"
        path, introduction = path_below(self._info.local_root, cwd), STAMP
        is_placed = path is not None and client.environment is not None
        if path is not None and client.environment is not None:
            introduction = move(posixpath.join(client.environment.directory, path))
        return self._make_successor(introduction, is_placed=is_placed, known=client)

    def _make_successor(
        self, introduction: Mapping[str, str], *, is_placed: bool, known: KernelClient | None = None
    ) -> RemoteKernelManager:
        """Return another manager of this kernel; this one no longer has a kernel."""
        assert self._info is not None, "the kernel was started"
        successor = RemoteKernelManager(self._kernels, self._name)
        successor.adopt(self._info, self._context, self._id)
        successor._introduction, successor._is_placed, successor._known = introduction, is_placed, known
        if self._deleter is not None:
            self._deleter.detach()
        self._id = ""
        return successor

    def _rest(self) -> RestApi:
        assert self._info is not None, "the kernel was started"
        return RestApi(self._info, self._context)

    def client(self) -> WebsocketKernelClient:
        """Return a client for this kernel, not yet connected."""
        assert self._info is not None, "the kernel was started"
        self._client = WebsocketKernelClient(
            self._info,
            self._context,
            self._id,
            self._why_gone,
            lambda: self._kernels.server.cause_of_death(self._id),
            "." if self._is_placed else None,
        )
        self._client.prepare(self._introduction, self._known)
        return self._client

    async def share(self, notebook: Path) -> str:
        """Share the kernel with people who open a notebook on the server; see `KernelSource.share`.

        If the root of the server is unknown, assume the directory in which the server started the kernel.
        """
        assert self._info is not None, "the kernel was started"
        environment = self._client.environment if self._client is not None else None
        root = self._info.local_root or (Path(environment.directory) if environment is not None else None)
        if root is None:
            return ""
        try:
            async with self._rest() as api:
                url = await share(api, self._id, notebook, root)
        except (KernelError, OSError, ValueError) as exc:  # ValueError: a path that cannot be part of a URL
            logger.info("%s cannot be opened in JupyterLab on the server of its kernel: %s", notebook, exc)
            return ""
        self._is_shared = bool(url)
        return url

    async def renew(self, *, now: bool = False) -> KernelManager | None:
        """Restart a shared kernel on the server under the id that JupyterLab uses, unless the server already has.

        A kernel that another user stopped is not restarted: the server may still be stopping it.
        """
        if self._is_shared and self.has_kernel and self._client is not None and not self._client.was_ended:
            self._client.stop_channels()
            await self._client.wait_stopped()
            try:
                async with self._rest() as api:
                    is_there = await api.model(self._id) is not None
                    if is_there and not self._client.was_replaced:
                        await api.restart(self._id)
                if is_there:
                    # The server restarts a kernel in the directory in which it was started originally.
                    return self._make_successor({**self._introduction, **INTRODUCTION}, is_placed=self._is_placed)
            except KernelError as exc:
                logger.warning("Kernel %s could not be restarted and is replaced: %s", self._id, exc)
        await self.shutdown_kernel(now=now)
        return None

    async def is_alive(self) -> bool:
        return self._client is not None and self.has_kernel and await self._client.is_reachable()

    async def interrupt_kernel(self) -> None:
        if not self.has_kernel:
            return
        try:
            async with self._rest() as api:
                await api.interrupt(self._id)
        except KernelError as exc:
            logger.warning("Kernel %s could not be interrupted: %s", self._id, exc)

    async def shutdown_kernel(self, *, now: bool = False) -> None:
        """Let the server stop the kernel; it decides how.

        Wait only briefly for a kernel that is dead or must be killed, because the server may first try to stop it
        gracefully.
        """
        timeout = _DELETION_TIMEOUT_SECONDS if now or self.cause_of_death() else None
        if self._start is not None and not self._start.done():
            await asyncio.wait({self._start})
        if self._client is not None:
            self._client.stop_channels()
            await self._client.wait_stopped()
        if self.has_kernel:
            deletion = asyncio.create_task(self._delete(self._id))
            self._id = ""
            _deletions.add(deletion)
            deletion.add_done_callback(_deletions.discard)
            await asyncio.wait({deletion}, timeout=timeout)

    async def _delete(self, kernel_id: str) -> None:
        try:
            async with self._rest() as api:
                await api.delete(kernel_id)
        except RuntimeError:
            return  # this process is exiting, and asyncio no longer resolves names; the finalizer works without asyncio
        except KernelError as exc:
            if not self._kernels.server.cause_of_end():
                logger.warning("kernel %s could not be stopped and may still run: %s", kernel_id, exc)
        if self._deleter is not None:
            self._deleter.detach()

    def cause_of_death(self) -> str:
        return self._client.cause_of_death if self._client is not None else ""

    async def _why_gone(self) -> str:
        """Why the kernel no longer exists; empty if it may exist, or if the server does not answer."""
        if cause := self._kernels.server.cause_of_end():
            return cause
        with contextlib.suppress(ServerError):
            async with self._rest() as api:
                if await api.model(self._id) is None:
                    return "The server no longer has it: another user stopped it, or the server was restarted."
        return ""


async def _model_of_free_kernel(api: RestApi, kernel_id: str) -> dict[str, Any] | None:
    """Return the server's model of a kernel without clients; None if it is gone or a client stays connected."""
    deadline = time.monotonic() + _DISCONNECT_TIMEOUT_SECONDS
    while (model := await api.model(kernel_id)) is not None and model.get("connections"):
        if time.monotonic() > deadline:
            logger.warning("Kernel %s is not used: another client is connected to it", kernel_id)
            return None
        await asyncio.sleep(_DISCONNECT_POLL_SECONDS)
    return model


def _delete_forgotten(info: JupyterConnectionInfo, kernel_id: str) -> None:
    """Stop a kernel whose manager was garbage-collected without a shutdown, or at exit."""
    try:
        context = info.make_ssl_context() if info.use_https else None
        with httpx.Client(**client_options(info, context, httpx.HTTPTransport), timeout=5) as client:
            client.delete(f"kernels/{kernel_id}")
    except (httpx.HTTPError, ValueError) as exc:
        logger.warning("kernel %s could not be stopped and may still run: %s", kernel_id, exc)
