"""Kernels of this machine, through jupyter_client as it is.

ipykernel's kernels are reached over unix sockets in a directory that only we can open: there are no ports to clash
over when many start at once, and nobody else on the machine can listen to iopub, which asks no key of a subscriber.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sys
import threading
import time
from pathlib import Path
from queue import Empty
from typing import TYPE_CHECKING, Any, Final

import zmq
import zmq.asyncio
from jupyter_client.asynchronous.client import AsyncKernelClient
from jupyter_client.channels import AsyncZMQSocketChannel
from jupyter_client.kernelspec import KernelSpecManager, NoSuchKernel
from jupyter_client.manager import AsyncKernelManager
from traitlets import Type, default

from nbtape.common.finalizers import when_forgotten
from nbtape.common.text import it_last_said, tail
from nbtape.errors import KernelNotInstalledError, KernelStartError
from nbtape.kernels.decoding import LARGE, take_in, unpack
from nbtape.kernels.handshake import KERNEL_ENVIRONMENT, LOCAL_INTRODUCTION, introduce, move
from nbtape.kernels.processes import end_group, make_private_directory
from nbtape.kernels.protocols import KernelManager, KernelSource, KernelSpec

if TYPE_CHECKING:
    import weakref
    from collections.abc import Mapping
    from typing import Protocol

    from nbtape.environment import Environment
    from nbtape.kernels.protocols import KernelClient

if TYPE_CHECKING:

    class Process(Protocol):
        """What is wanted of a `subprocess.Popen`."""

        pid: int

        def poll(self) -> int | None: ...


_UNIX: Final = sys.platform != "win32"

#: What ipykernels read beside their own configuration.
_CONFIGURATION: Final = Path(__file__).parents[1] / "inside" / "ipykernel_config.py"

#: Seconds between looks at whether a kernel that is to end has ended.
_GLANCE: Final = 0.005

#: Seconds to wait for a first iopub message before provoking another one; doubled each time. ZeroMQ drops what is
#: published before the subscription arrives.
FIRST_IOPUB_WAIT_SECONDS: Final = 0.01

#: The position of the content in what is left of a message without its identities.
_CONTENT: Final = 4


class LocalKernels(KernelSource):
    """The kernel specs installed on this machine.

    Args:
        kernel_name: The name of the kernel spec.
    """

    def __init__(self, kernel_name: str) -> None:
        self._name = kernel_name
        self._specs = KernelSpecManager()

    def check(self) -> None:
        """Refuse a name that no kernel spec has.

        Raises:
            KernelNotInstalledError: There is none.
        """
        self._find()

    async def spec(self) -> KernelSpec:
        """The kernel spec of our name.

        Raises:
            KernelNotInstalledError: There is none.
        """
        return self._find()

    def _find(self) -> KernelSpec:
        try:
            found = self._specs.get_kernel_spec(self._name)
        except NoSuchKernel:
            raise KernelNotInstalledError(self._name, sorted(self._specs.find_kernel_specs())) from None
        return KernelSpec(self._name, found.display_name, found.language)

    def manager(self) -> KernelManager:
        """A manager for one new kernel."""
        return LocalKernelManager(kernel_name=self._name, kernel_spec_manager=self._specs)


class LocalChannel(AsyncZMQSocketChannel):
    """jupyter_client's channel, which cuts what is large before it decodes it."""

    room = LARGE

    async def _recv(self, **_: Any) -> dict[str, Any]:  # type: ignore[override]  # noqa: ANN401  (jupyter_client's)
        assert self.socket is not None
        frames = await self.socket.recv_multipart(copy=False)
        parts: Any = [frame.buffer if len(frame) > LARGE else frame.bytes for frame in frames]
        _identities, parts = self.session.feed_identities(parts)
        if len(parts) <= _CONTENT or isinstance(parts[_CONTENT], bytes):
            return self.session.deserialize(parts)
        message: dict[str, Any] = self.session.deserialize(parts, content=False)  # with its signature checked
        content, message["cut"] = take_in(message.pop("content"), self.room)
        del frames, parts  # the memory of what was cut
        message["content"] = self.session.unpack(content)
        return message


class LocalKernelClient(AsyncKernelClient):
    """jupyter_client's client, with a quicker and stricter idea of "ready"."""

    shell_channel_class = Type(LocalChannel)
    iopub_channel_class = Type(LocalChannel)

    def __init__(self, **traits: Any) -> None:  # noqa: ANN401  (jupyter_client's traits, passed through)
        super().__init__(**traits)
        self.language_info: dict[str, Any] = {}
        self.directory = "."
        self.environment: Environment | None = None
        self.stamp = ""
        self.introduction: Mapping[str, str] = LOCAL_INTRODUCTION
        self._is_heard = False
        self._is_ready = False

    def start_channels(self, **_: Any) -> None:  # type: ignore[override]  # noqa: ANN401
        """Connect what is used: no stdin (nobody is there to type), no heartbeat (the process is ours to watch)."""
        self.session.unpack = unpack
        super().start_channels(stdin=False, hb=False, control=False)

    def stop_channels(self) -> None:
        """Disconnect and give the context back."""
        super().stop_channels()
        self.context.destroy(linger=0)

    async def wait_for_ready(self, timeout: float | None = None) -> None:
        """Return when the kernel has answered `kernel_info`, was heard on iopub and has told its environment.

        jupyter_client's own ends in a flush of iopub that always waits 200 ms; messages of other requests are
        skipped by their parent anyway. A kernel that was handed over is not asked again what is known of it.

        Raises:
            KernelStartError: The kernel died, or did not answer within `timeout` seconds.
        """
        if self._is_ready:
            return
        patience = 60 if timeout is None else timeout
        deadline = time.monotonic() + patience
        if not self.language_info:
            self.language_info = await self._meet(deadline, patience)
        if self.language_info.get("name") == "python":
            await self._introduce(deadline, patience)
        wait = FIRST_IOPUB_WAIT_SECONDS
        while not await self._hears(wait):
            await self._see_to_life(deadline, patience)
            self.kernel_info()
            wait = min(2 * wait, 0.5)
        self._is_ready = True

    async def _meet(self, deadline: float, patience: float) -> dict[str, Any]:
        """What the kernel speaks, when it has answered and was heard."""
        while True:
            self.kernel_info()
            reply = await self._next(self.shell_channel, timeout=0.5)
            is_heard = await self._hears(0.5 if reply else 0)
            if reply and reply["msg_type"] == "kernel_info_reply" and is_heard:
                return dict(reply["content"].get("language_info") or {})
            await self._see_to_life(deadline, patience)

    async def _introduce(self, deadline: float, patience: float) -> None:
        """Give the kernel what every kernel gets, and have it tell its environment."""

        async def ask(expressions: Mapping[str, str]) -> Mapping[str, Any]:
            request = self.execute("", silent=True, user_expressions=dict(expressions))
            reply: dict[str, Any] | None = None
            while not reply or reply["parent_header"].get("msg_id") != request:
                await self._see_to_life(deadline, patience)
                reply = await self._next(self.shell_channel, timeout=0.5)
            content: Mapping[str, Any] = reply["content"]
            return content

        self.environment, self.stamp = await introduce(ask, self.introduction, self.environment, self.stamp)

    async def _hears(self, timeout: float) -> bool:
        """Whether the kernel was heard on iopub by now."""
        self._is_heard = self._is_heard or await self._next(self.iopub_channel, timeout) is not None
        return self._is_heard

    async def _see_to_life(self, deadline: float, patience: float) -> None:
        """Whether there is still hope.

        Raises:
            KernelStartError: The kernel died, or its time is up.
        """
        if not await self.is_alive():
            raise KernelStartError(f"The kernel died while it started. {self._cause()}")
        if time.monotonic() > deadline:
            raise KernelStartError(
                f"The kernel did not answer within {patience:g} s. Raise startup_timeout if this machine is slow. "
                f"{self._cause()}"
            )

    async def catch_up(self) -> None:
        """What a local kernel has sent is in our socket."""

    def missing_output(self) -> str:
        """A local kernel's output all comes."""
        return ""

    def _cause(self) -> str:
        assert isinstance(self.parent, LocalKernelManager)
        return self.parent.cause_of_death()

    async def _next(self, channel: Any, timeout: float) -> dict[str, Any] | None:  # noqa: ANN401
        try:
            message: dict[str, Any] = await channel.get_msg(timeout=timeout)
        except Empty:
            return None
        return message


class _Context(zmq.asyncio.Context):
    """ZeroMQ's context, but for its end where it is forgotten together with its sockets."""

    def __del__(self) -> None:
        """End in a thread: to end is to wait for the sockets, and Python may come to them only after this."""
        # Where the interpreter ends, a thread is not started any more, and who starts one waits for it for ever.
        if not self.closed and not sys.is_finalizing():
            with contextlib.suppress(RuntimeError):
                threading.Thread(target=self.term, daemon=True).start()


class EndNoticed:
    """For jupyter_client's managers, which look ten times a second whether their kernel has ended: most do in 30 ms."""

    async def _async_wait(self, pollinterval: float = _GLANCE) -> None:
        await super()._async_wait(min(pollinterval, _GLANCE))  # type: ignore[misc]  # the manager's


class LocalKernelManager(EndNoticed, AsyncKernelManager, KernelManager):
    """One kernel process of ours, with a private directory for its sockets and its log."""

    def __init__(self, **traits: Any) -> None:  # noqa: ANN401  (jupyter_client's traits, passed through)
        super().__init__(client_class="nbtape.kernels.local.manager.LocalKernelClient", **traits)
        self._process: Process | None = None
        self._known: KernelClient | None = None
        self._introduction: Mapping[str, str] = LOCAL_INTRODUCTION
        self._directory: Path | None = None
        self._reaper: weakref.finalize[..., LocalKernelManager] | None = None

    @default("context")
    def _context_default(self) -> _Context:
        """For the control socket, which an interrupt may open, and an end; `cleanup_resources` destroys it."""
        self._created_context = True
        return _Context()

    async def _async_post_start_kernel(self, **arguments: Any) -> None:  # noqa: ANN401  (what the kernel was launched with)
        """What jupyter_client does after the launch, but for the control socket: that is opened when it is used.

        With its context it takes seven open files, and a process may have 1,024 of them, for fifty sessions.
        """
        assert self.provisioner is not None, "the kernel was launched"
        await self.provisioner.post_launch(**arguments)

    async def start_kernel(self, *, cwd: Path | None) -> None:  # type: ignore[override]
        """Start the kernel process in `cwd`; without one, where nobody but root puts modules.

        Raises:
            KernelStartError: The command of the kernel spec cannot be run.
        """
        self._directory = make_private_directory()
        self.connection_file = str(self._directory / "kernel.json")
        arguments = arrange_ipykernel(self, self._directory / "socket")
        try:
            with (self._directory / "kernel.log").open("wb") as log:
                await super().start_kernel(
                    cwd=str(cwd or Path("/")), env=_environment(), extra_arguments=arguments, stdout=log, stderr=log
                )
        except OSError as exc:
            await self.cleanup_resources()
            message = f"Kernel {self.kernel_name} cannot be started: {exc}. Check its kernel.json."
            raise KernelStartError(message) from exc
        self._process = self.provisioner.process if self.provisioner else None  # type: ignore[attr-defined]
        if self._process is not None:
            self._reaper = when_forgotten(self, _reap, self._process.pid, str(self._directory))

    def hand_over(self, client: KernelClient, cwd: Path) -> KernelManager:
        """Return this manager, which belongs to no event loop; its next clients know what `client` learned."""
        self._known, self._introduction = client, move(str(cwd))
        return self

    def client(self) -> LocalKernelClient:  # type: ignore[override]
        """Return a client with a ZeroMQ context of its own, so that the output of a killed kernel stays readable."""
        context = _Context()
        # A kernel that is slow to bind is found again within 10 ms, not ZeroMQ's 100; and a client that is slower
        # than its kernel for a moment loses nothing: at the default of 1,000 messages ZeroMQ drops what follows.
        context.setsockopt(zmq.RECONNECT_IVL, 10)
        context.setsockopt(zmq.RCVHWM, 0)
        client: LocalKernelClient = super().client(context=context)  # type: ignore[assignment]
        client.introduction = self._introduction
        if (known := self._known) is not None:
            client.language_info, client.environment, client.stamp = known.language_info, known.environment, known.stamp
        return client

    async def interrupt_kernel(self) -> None:  # type: ignore[override]
        """SIGINT to the kernel and what it started; jupyter_client raises where there is nothing to interrupt."""
        if self.has_kernel and await self.is_alive():
            await super().interrupt_kernel()

    async def shutdown_kernel(self, *, now: bool = False) -> None:  # type: ignore[override]
        """End the kernel; politely it gets a few seconds for its exit handlers, then it is killed."""
        if self.has_kernel:
            await super().shutdown_kernel(now=now or not await self.is_alive())
        await self.cleanup_resources()

    async def cleanup_resources(self, restart: bool = False) -> None:  # type: ignore[override]  # noqa: FBT001, FBT002
        """Remove sockets, connection file and log, and end what the kernel left running."""
        self._remember_end()
        await super().cleanup_resources(restart=restart)
        if self._reaper is not None:
            self._reaper()
        elif self._directory is not None:
            shutil.rmtree(self._directory, ignore_errors=True)

    def _remember_end(self) -> None:
        """Keep the cause of death before the log goes."""
        self._end = self.cause_of_death()

    _end = ""

    def cause_of_death(self) -> str:
        """How the process ended: its signal or exit code, and what it said last."""
        if self._process is None or self._directory is None:
            return self._end
        log = self._directory / "kernel.log"
        return describe_end(self._process.poll(), log) if log.exists() else self._end


def arrange_ipykernel(manager: AsyncKernelManager, socket: Path) -> list[str]:
    """Have an ipykernel that is about to start talk over unix sockets, keep what is unread, and keep no history.

    Args:
        manager: The kernel's manager.
        socket: The path of its sockets, to which the number of each is added.

    Returns:
        Arguments for its command.
    """
    spec = manager.kernel_spec
    if spec is None or not any("ipykernel" in word for word in spec.argv):
        return []
    if _UNIX:
        manager.transport, manager.ip = "ipc", str(socket)
    return ["--HistoryManager.hist_file=:memory:", f"--IPKernelApp.extra_config_file={_CONFIGURATION}"]


def describe_end(code: int | None, log: Path) -> str:
    """How a kernel's process ended, a sentence, and what it last said.

    Args:
        code: Its `Popen.returncode`.
        log: The file of its log.
    """
    return _describe_exit(code) + it_last_said(tail(log))


def _environment() -> dict[str, str]:
    return {**KERNEL_ENVIRONMENT, **os.environ}


def _describe_exit(code: int | None) -> str:
    """What a `Popen.returncode` means."""
    if code is None:
        return ""
    if code >= 0:
        return f"Its process ended with exit code {code}."
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    hint = " (out of memory, or killed by somebody)" if name == "SIGKILL" else ""
    return f"Its process was ended by {name}{hint}."


def _reap(process_group: int, directory: str) -> None:
    """End a kernel's process group and remove its directory: at cleanup, when the manager is forgotten, at exit."""
    if _UNIX:
        end_group(process_group)
    shutil.rmtree(directory, ignore_errors=True)
