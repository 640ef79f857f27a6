"""Kernels of this machine, through jupyter_client as it is.

ipykernel's kernels are reached over unix sockets in a directory that only we can open: there are no ports to clash
over when many start at once, and nobody else on the machine can listen to iopub, which asks no key of a subscriber.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import zmq
from jupyter_client.kernelspec import KernelSpecManager, NoSuchKernel

from nbtape.common.finalizers import when_forgotten
from nbtape.common.text import it_last_said, tail
from nbtape.errors import KernelNotInstalledError, KernelStartError
from nbtape.kernels.handshake import KERNEL_ENVIRONMENT, LOCAL_INTRODUCTION, move
from nbtape.kernels.local.compat_jupyter_client import Context, LeanKernelManager
from nbtape.kernels.processes import end_group, make_private_directory
from nbtape.kernels.protocols import KernelManager, KernelSource, KernelSpec

if TYPE_CHECKING:
    import weakref
    from collections.abc import Mapping, Sequence
    from typing import Protocol

    from jupyter_client.manager import AsyncKernelManager

    from nbtape.kernels.local.client import LocalKernelClient
    from nbtape.kernels.protocols import KernelClient

if TYPE_CHECKING:

    class Process(Protocol):
        """What is wanted of a `subprocess.Popen`."""

        pid: int

        def poll(self) -> int | None: ...


#: Messages that this process holds before it reads them; each takes as much memory as its content.
_MAX_UNREAD_MESSAGES: Final = 100

_UNIX: Final = sys.platform != "win32"

#: What ipykernels read beside their own configuration.
_CONFIGURATION: Final = Path(__file__).parents[1] / "inside" / "ipykernel_config.py"


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


class LocalKernelManager(LeanKernelManager, KernelManager):
    """One kernel process of ours, with a private directory for its sockets and its log."""

    def __init__(self, **traits: Any) -> None:  # noqa: ANN401  (jupyter_client's traits, passed through)
        super().__init__(client_class="nbtape.kernels.local.client.LocalKernelClient", **traits)
        self._process: Process | None = None
        self._known: KernelClient | None = None
        self._introduction: Mapping[str, str] = LOCAL_INTRODUCTION
        self._directory: Path | None = None
        self._reaper: weakref.finalize[..., LocalKernelManager] | None = None

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
        context = Context()
        # A kernel that is slow to bind is found again within 10 ms, not ZeroMQ's 100. What this process has not read
        # waits in the kernel, if that keeps it; other kernels would drop it.
        context.setsockopt(zmq.RECONNECT_IVL, 10)
        keeps_unread = self.kernel_spec is not None and is_ipykernel(self.kernel_spec.argv)
        context.setsockopt(zmq.RCVHWM, _MAX_UNREAD_MESSAGES if keeps_unread else 0)
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


def is_ipykernel(argv: Sequence[str]) -> bool:
    """Whether a kernel spec's command starts an ipykernel, which gets the configuration of `ipykernel_config`."""
    return any("ipykernel" in word for word in argv)


def arrange_ipykernel(manager: AsyncKernelManager, socket: Path) -> list[str]:
    """Have an ipykernel that is about to start talk over unix sockets, keep what is unread, and keep no history.

    Args:
        manager: The kernel's manager.
        socket: The path of its sockets, to which the number of each is added.

    Returns:
        Arguments for its command.
    """
    spec = manager.kernel_spec
    if spec is None or not is_ipykernel(spec.argv):
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
