"""The interface between nbtape and kernels: source, manager and client.

To add a kind of kernel, subclass `KernelSource` and `KernelManager`. Names and meanings follow jupyter_client, and
messages follow https://jupyter-client.readthedocs.io/en/stable/messaging.html.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Mapping
    from pathlib import Path

    from nbtape.environment import Environment

Message = dict[str, Any]


@dataclass(frozen=True, slots=True)
class KernelSpec:
    """A kernel spec, as in the `kernelspec` metadata of a notebook."""

    name: str  # `python3`
    display_name: str  # `Python 3 (ipykernel)`
    language: str  # `python`


class Channel(Protocol):
    """One of a kernel's message channels."""

    #: Maximum bytes of each string in a large message. Longer strings are cut before they are decoded, and the message
    #: has the number of missing characters under `cut`.
    room: int

    async def get_msg(self, timeout: float | None = None) -> Message:
        """Return the next message; raise `queue.Empty` after `timeout` seconds without one (None: wait forever)."""
        ...


class KernelClient(Protocol):
    """A connection to one running kernel, used by nbclient."""

    allow_stdin: bool
    #: `language_info` of the kernel's `kernel_info_reply`; filled by `wait_for_ready`.
    language_info: dict[str, Any]
    #: The kernel's working directory: "." for the requested one, or a path on the kernel's machine; empty if unknown;
    #: filled by `wait_for_ready`.
    directory: str
    #: The environment that a Python kernel reports; None for others; filled by `wait_for_ready`.
    environment: Environment | None
    #: A text that changes when packages are installed or removed; filled by `wait_for_ready`.
    stamp: str

    @property
    def shell_channel(self) -> Channel:
        """The channel for replies."""
        ...

    @property
    def iopub_channel(self) -> Channel:
        """The channel for outputs and statuses."""
        ...

    def start_channels(self) -> None:
        """Connect; does nothing if connected."""
        ...

    async def wait_for_ready(self, timeout: float | None = None) -> None:
        """Return when the kernel answers and sends on iopub; does nothing if it is ready.

        Raises:
            KernelStartError: The kernel died, or was not ready within `timeout` seconds.
        """
        ...

    def stop_channels(self) -> None:
        """Disconnect. The kernel keeps running."""
        ...

    def execute(self, code: str, **options: Any) -> str:  # noqa: ANN401  (whatever nbclient passes)
        """Send an `execute_request` and return its message id."""
        ...

    def is_alive(self) -> Awaitable[bool]:
        """Whether the kernel is running, as far as is known. Called once a second while a cell runs."""
        ...

    async def catch_up(self) -> None:
        """Return when everything that the idle kernel has sent can be read, or soon if it does not answer."""
        ...

    def missing_output(self) -> str:
        """A sentence on why output of the last request may be missing; empty if it is complete."""
        ...


class KernelManager:
    """Manages one kernel, from its only start to its end. A restarted kernel gets a new manager."""

    @property
    def has_kernel(self) -> bool:
        """Whether the kernel was started and not yet shut down."""
        raise NotImplementedError

    async def start_kernel(self, *, cwd: Path | None) -> None:
        """Start the kernel in `cwd` (None if `hand_over` sets it later), without waiting until it is ready.

        Raises:
            KernelStartError: The kernel cannot be started.
            ServerError: The server cannot be started or reached, or refuses access.
        """
        raise NotImplementedError

    def client(self) -> KernelClient:
        """Return a client for this kernel, not yet connected."""
        raise NotImplementedError

    def is_alive(self) -> Awaitable[bool]:
        """Whether the kernel is running and reachable. May take some seconds if that is in doubt."""
        raise NotImplementedError

    async def interrupt_kernel(self) -> None:
        """Interrupt the running code; does nothing to an idle or dead kernel."""
        raise NotImplementedError

    async def shutdown_kernel(self, *, now: bool = False) -> None:
        """Stop the kernel (with `now`, kill it) and every process it started; does nothing if it has stopped."""
        raise NotImplementedError

    def cause_of_death(self) -> str:
        """A readable text on how the kernel died; empty if unknown."""
        return ""

    def hand_over(self, client: KernelClient, cwd: Path) -> KernelManager:
        """Return the manager to use on another event loop; its clients connect again. Do not use this one afterwards.

        Only for a Python kernel that was started without a directory, as in a pool.

        Args:
            client: A client that found the kernel ready; what it has learned is reused.
            cwd: The working directory, set when a client of the returned manager finds the kernel ready.
        """
        raise NotImplementedError

    async def renew(self, *, now: bool = False) -> KernelManager | None:
        """Shut the kernel down like `shutdown_kernel`, and restart it if other people may be using it.

        Returns:
            The manager of the restarted kernel; None if it was not restarted. Do not use this one afterwards.
        """
        await self.shutdown_kernel(now=now)
        return None


class KernelSource:
    """A source of kernels, such as the local machine, a server, or a container."""

    def check(self) -> None:
        """Raise `KernelNotInstalledError` if that is known without starting or contacting anything."""

    async def spec(self) -> KernelSpec:
        """Return the kernel spec, looked up at the source.

        Raises:
            KernelNotInstalledError: No kernel spec has this name.
            ServerError: The server cannot be started or reached, or refuses access.
        """
        raise NotImplementedError

    def admit(self, directory: Path) -> None:
        """Let kernels work in an existing directory.

        Raises:
            ServerError: They must not.
        """

    def can_access(self, directory: Path) -> bool:  # noqa: ARG002  (subclasses need it)
        """Whether kernels can work in a local directory, as far as is known without starting anything."""
        return True

    def manager(self) -> KernelManager:
        """Return a manager for one new kernel, not yet started."""
        raise NotImplementedError

    def close(self) -> None:
        """Abort hanging starts, and start nothing until `manager` is called again. Running kernels continue."""

    async def release(self) -> None:
        """Stop what was started only for this session, such as its container, after its kernel was shut down.

        Called before the record is final. Using the source again starts it anew.
        """

    def description(self) -> Mapping[str, str]:
        """Where a started kernel runs: `server` (a URL without secrets), or `image` and `image_id` of a container.

        Empty for a local kernel.
        """
        return {}

    def id_of(self, manager: KernelManager) -> str:  # noqa: ARG002  (subclasses need it)
        """The id to find a started kernel again; empty if the kernel cannot outlive this process."""
        return ""

    async def find(self, kernel_id: str) -> FoundKernel | None:  # noqa: ARG002
        """Return the kernel with an id if it is alive and no other client is connected.

        Raises:
            ServerError: The server cannot be reached, or refuses access.
        """
        return None

    async def share(self, manager: KernelManager, notebook: Path) -> str:  # noqa: ARG002
        """Connect the notebook, which is on disk, to this kernel for people who open it on the server; log failures.

        Returns:
            The URL of the notebook, without secrets; empty if people cannot open it there.
        """
        return ""


@runtime_checkable
class KernelProvider(Protocol):
    """Anything that hands out kernel sources, such as a pool."""

    def kernels_for(self, kernel_name: str, directory: Path) -> KernelSource:
        """Return the kernel source for one session that works in `directory`.

        Raises:
            ValueError: It has no kernel spec `kernel_name`, or its kernels cannot work in that directory.
        """
        ...


@dataclass(frozen=True, slots=True)
class FoundKernel:
    """A kernel that outlived the process that started it. `manager` now stops it like one that it started."""

    manager: KernelManager
    was_busy: bool  # a block was still running and was interrupted
