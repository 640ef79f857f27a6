"""Kernels on a Jupyter server: started, interrupted and deleted over HTTP, spoken to over a websocket."""

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

#: Seconds to wait for the end of a kernel that is lost.
_LOST: Final = 1.0

#: Seconds that a server may take to notice that a client was killed, and between looks at whether it has.
_NOTICE: Final = 3.0
_GLANCE: Final = 0.1

#: Ends of kernels that are under way.
_deletions: set[asyncio.Task[None]] = set()


class RemoteKernels(KernelSource):
    """The kernels of one Jupyter server.

    Args:
        server: The server.
        kernel_name: The name of the kernel spec.
    """

    def __init__(self, server: JupyterServer, kernel_name: str) -> None:
        self.server = server
        self._name = kernel_name
        self._located: tuple[JupyterConnectionInfo, ssl.SSLContext | None] | None = None

    def check(self) -> None:
        """Nothing can be known of a server that is not asked."""

    async def spec(self) -> KernelSpec:
        """The kernel spec of our name.

        Raises:
            KernelNotInstalledError: The server has none of that name.
            ServerError: The server cannot be started or reached, or refuses us.
        """
        info, context = await self.locate()
        async with RestApi(info, context) as api:
            return await api.spec(self._name)

    def manager(self) -> KernelManager:
        """A manager for one new kernel."""
        return RemoteKernelManager(self, self._name)

    def description(self) -> Mapping[str, str]:
        """How a recording describes the server; its URL if the server does not say."""
        described = self.server.description()
        if described is not None:
            return described
        return {} if self._located is None else {"server": self._located[0].url}

    def id_of(self, manager: KernelManager) -> str:
        """The id under which the server knows a kernel."""
        return manager.id if isinstance(manager, RemoteKernelManager) else ""

    async def find(self, kernel_id: str) -> FoundKernel | None:
        """The kernel of an id, if the server still has it and nobody is connected to it; interrupted, if it is busy.

        Raises:
            ServerError: The server cannot be started or reached, or refuses us.
        """
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
        """Give whoever opens a notebook on the server its kernel."""
        if not isinstance(manager, RemoteKernelManager) or not self.server.has_pages:
            return ""
        return await manager.share(notebook)

    async def release(self) -> None:
        """Leave the server."""
        await asyncio.to_thread(self.server.leave, self)

    async def locate(self) -> tuple[JupyterConnectionInfo, ssl.SSLContext | None]:
        """Where the server is now, and whom to trust: one that nbtape starts may have another port than before."""
        self.server.enter(self)
        info = await asyncio.to_thread(lambda: self.server.connection_info)
        if self._located is None or self._located[0] != info:
            self._located = info, info.make_ssl_context() if info.use_https else None
        return self._located


class RemoteKernelManager(KernelManager):
    """One kernel that a server starts for us.

    Args:
        kernels: Where it comes from.
        name: The kernel spec.
    """

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
        """The kernel's id; empty if it has none, or none any more."""
        return self._id

    @property
    def has_kernel(self) -> bool:
        """Whether a kernel was started and not yet shut down."""
        return bool(self._id)

    async def start_kernel(self, *, cwd: Path | None) -> None:
        """Start the kernel, in `cwd` if the server sees it; without one, where the server's files begin.

        Raises:
            KernelStartError: The server could not start it.
            ServerError: The server cannot be reached, or refuses us.
        """
        # A request that is given up may start a kernel all the same: it is seen to its end, to know what to delete.
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
        """Be the manager of a kernel that runs on a server: whatever becomes of us, it is ended."""
        self._info, self._context, self._id = info, context, kernel_id
        self._deleter = when_forgotten(self, _delete_forgotten, info, kernel_id)

    def hand_over(self, client: KernelClient, cwd: Path) -> KernelManager:
        """Another manager, which knows what the client was told, and has the kernel work in `cwd` if the server can."""
        assert self._info is not None, "the kernel was started"
        new = RemoteKernelManager(self._kernels, self._name)
        new.adopt(self._info, self._context, self._id)
        new._known, new._introduction = client, STAMP
        path = path_below(self._info.local_root, cwd)
        if path is not None and client.environment is not None:
            new._is_placed = True
            new._introduction = move(posixpath.join(client.environment.directory, path))
        self._let_go()
        return new

    def _rest(self) -> RestApi:
        assert self._info is not None, "the kernel was started"
        return RestApi(self._info, self._context)

    def client(self) -> WebsocketKernelClient:
        """A client for this kernel, not yet connected."""
        assert self._info is not None, "the kernel was started"
        self._client = WebsocketKernelClient(
            self._info,
            self._context,
            self._id,
            self._why_gone,
            lambda: self._kernels.server.cause_of_death(self._id),
            "." if self._is_placed else None,
        )
        self._client.introduction = self._introduction
        if (known := self._known) is not None:
            self._client.language_info = known.language_info
            self._client.environment, self._client.stamp = known.environment, known.stamp
        return self._client

    async def share(self, notebook: Path) -> str:
        """Have whoever opens a notebook on the server get this kernel, if the server sees the notebook.

        Where nobody says where its files begin, they may do so where it started the kernel.
        """
        assert self._info is not None, "the kernel was started"
        environment = self._client.environment if self._client is not None else None
        root = self._info.local_root or (Path(environment.directory) if environment is not None else None)
        if root is None:
            return ""
        try:
            async with self._rest() as api:
                url = await share(api, self._id, notebook, root)
        except (KernelError, OSError, ValueError) as exc:  # a path may be none that a URL can have
            logger.info("%s cannot be opened where its kernel is: %s", notebook, exc)
            return ""
        self._is_shared = bool(url)
        return url

    async def renew(self, *, now: bool = False) -> KernelManager | None:
        """Have the server start the kernel anew, under the id by which JupyterLab knows it, unless it has done so.

        One that somebody had ended is left to that: the server may still be at it.
        """
        if self._is_shared and self.has_kernel and self._client is not None and not self._client.was_ended:
            self._client.stop_channels()
            await self._client.wait_stopped()
            try:
                async with self._rest() as api:
                    is_there = await api.exists(self._id)
                    if is_there and not self._client.was_replaced:
                        await api.restart(self._id)
                if is_there:
                    return self._heir()
            except KernelError as exc:
                logger.warning("kernel %s could not be started anew, another one takes its place: %s", self._id, exc)
        await self.shutdown_kernel(now=now)
        return None

    def _heir(self) -> RemoteKernelManager:
        """The manager of the kernel as it is after a restart: in the directory in which it was started first."""
        assert self._info is not None, "the kernel was started"
        heir = RemoteKernelManager(self._kernels, self._name)
        heir.adopt(self._info, self._context, self._id)
        heir._is_placed, heir._introduction = self._is_placed, {**self._introduction, **INTRODUCTION}
        self._let_go()
        return heir

    def _let_go(self) -> None:
        """The kernel is another manager's from now on."""
        if self._deleter is not None:
            self._deleter.detach()
        self._id = ""

    async def is_alive(self) -> bool:
        """Whether the kernel runs and can be reached, now or within some seconds."""
        return self._client is not None and self.has_kernel and await self._client.is_reachable()

    async def interrupt_kernel(self) -> None:
        """Have the server interrupt the kernel."""
        if not self.has_kernel:
            return
        try:
            async with self._rest() as api:
                await api.interrupt(self._id)
        except KernelError as exc:
            logger.warning("kernel %s could not be interrupted: %s", self._id, exc)

    async def shutdown_kernel(self, *, now: bool = False) -> None:
        """Have the server end the kernel; it decides how much force that takes.

        A kernel that is lost, or ends `now`, is not waited for: the server may try for seconds to be polite to it.
        """
        lost = now or bool(self.cause_of_death())
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
            await asyncio.wait({deletion}, timeout=_LOST if lost else None)

    async def _delete(self, kernel_id: str) -> None:
        try:
            async with self._rest() as api:
                await api.delete(kernel_id)
        except RuntimeError:
            return  # this process is ending, and asyncio looks up no names any more; the deleter needs no asyncio
        except KernelError as exc:
            if not self._kernels.server.cause_of_end():
                logger.warning("kernel %s could not be ended and may live on: %s", kernel_id, exc)
        if self._deleter is not None:
            self._deleter.detach()

    def cause_of_death(self) -> str:
        """How the kernel ended, as far as the server told."""
        return self._client.cause_of_death if self._client is not None else ""

    async def _why_gone(self) -> str:
        """Why the kernel cannot be there any more; empty if it may be, or if nobody can be asked."""
        if cause := self._kernels.server.cause_of_end():
            return cause
        with contextlib.suppress(ServerError):
            async with self._rest() as api:
                if not await api.exists(self._id):
                    return "The server knows it no more: somebody ended it there, or the server was started anew."
        return ""


async def _model_of_free_kernel(api: RestApi, kernel_id: str) -> dict[str, Any] | None:
    """What the server says of a kernel that nobody is connected to, now or in a moment; None if there is none.

    A server takes a moment to notice that a client was killed.
    """
    deadline = time.monotonic() + _NOTICE
    while (model := await api.model(kernel_id)) is not None and model.get("connections"):
        if time.monotonic() > deadline:
            logger.warning("kernel %s is left alone: somebody else is connected to it", kernel_id)
            return None
        await asyncio.sleep(_GLANCE)
    return model


def _delete_forgotten(info: JupyterConnectionInfo, kernel_id: str) -> None:
    """Have a kernel ended that nobody stopped: when its manager is forgotten, or the process ends."""
    try:
        context = info.make_ssl_context() if info.use_https else None
        with httpx.Client(**client_options(info, context, httpx.HTTPTransport), timeout=5) as client:
            client.delete(f"kernels/{kernel_id}")
    except (httpx.HTTPError, ValueError) as exc:
        logger.warning("kernel %s was not stopped, and could not be ended at its end: %s", kernel_id, exc)
