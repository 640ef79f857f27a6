"""The seam between nbtape and a kernel: what nbclient touches, and the few facts a recording needs besides.

A new kind of kernel is a class with the members of `KernelSource`; everything above works from there. The names
and meanings are those of jupyter_client (`KernelManager`, `KernelClient`), the messages those of
https://jupyter-client.readthedocs.io/en/stable/messaging.html.
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
    """What a kernel is called and speaks, as a notebook's `kernelspec` wants it.

    Args:
        name: The name of the kernel spec (`python3`).
        display_name: The name for people (`Python 3 (ipykernel)`).
        language: The language of its blocks (`python`).
    """

    name: str
    display_name: str
    language: str


class Channel(Protocol):
    """One of a kernel's message channels."""

    #: The bytes that each text in a large message may keep: what is over is cut before it is decoded, and then the
    #: message says under `cut` how many characters that were.
    room: int

    async def get_msg(self, timeout: float | None = None) -> Message:
        """The next message.

        Args:
            timeout: Seconds to wait; None waits for ever.

        Raises:
            queue.Empty: None came in time.
        """
        ...


class KernelClient(Protocol):
    """A connection to one running kernel; nbclient drives it."""

    allow_stdin: bool
    #: `language_info` of the kernel's `kernel_info_reply`; filled by `wait_for_ready`.
    language_info: dict[str, Any]
    #: Where the kernel works: "." if that is the directory it was to be started in, else a path of its own machine,
    #: empty if nobody knows; filled by `wait_for_ready`.
    directory: str
    #: What the kernel runs in; None if it does not tell, as only Python kernels do; filled by `wait_for_ready`.
    environment: Environment | None
    #: A text that is another one when packages have been installed since; filled by `wait_for_ready`.
    stamp: str

    @property
    def shell_channel(self) -> Channel:
        """Where replies arrive."""
        ...

    @property
    def iopub_channel(self) -> Channel:
        """Where outputs and statuses arrive."""
        ...

    def start_channels(self) -> None:
        """Connect. Harmless when that is done, as is `wait_for_ready`."""
        ...

    async def wait_for_ready(self, timeout: float | None = None) -> None:
        """Return when the kernel answers and is heard on iopub.

        Raises:
            KernelStartError: It did not within `timeout` seconds, or it died.
        """
        ...

    def stop_channels(self) -> None:
        """Disconnect. The kernel lives on."""
        ...

    async def leave_loop(self) -> bool:
        """Let go of this event loop, if another one can go on with the connection; whether it can."""
        ...

    def execute(self, code: str, **options: Any) -> str:  # noqa: ANN401  (whatever nbclient passes)
        """Send an `execute_request` and return its message id."""
        ...

    def is_alive(self) -> Awaitable[bool]:
        """Whether the kernel still runs, as far as is known: cheap, asked once a second while a cell runs."""
        ...

    async def catch_up(self) -> None:
        """Return when what the idle kernel has sent by now can be read, or soon if it does not answer."""
        ...

    def missing_output(self) -> str:
        """Why output of the last request may be missing, a sentence; empty if all of it has come."""
        ...


class KernelManager(Protocol):
    """The life of one kernel, from its start to its end. It is started once: a restart is a new manager."""

    @property
    def has_kernel(self) -> bool:
        """Whether a kernel was started and not yet shut down."""
        ...

    async def start_kernel(self, *, cwd: Path | None) -> None:
        """Start the kernel; return when it is on its way, not when it is ready.

        Args:
            cwd: The directory that it is to work in; None if that is not known before it is handed over.

        Raises:
            KernelStartError: It cannot be started.
        """
        ...

    def hand_over(self, client: KernelClient, cwd: Path) -> KernelManager:
        """A manager for another event loop, of a Python kernel that was started without a directory. This one is done.

        Args:
            client: A client that found the kernel ready; where it could leave its event loop, it goes along.
            cwd: The directory that it is to work in. It does when a client of the new manager finds it ready.
        """
        ...

    def client(self) -> KernelClient:
        """A client for this kernel, not yet connected."""
        ...

    def is_alive(self) -> Awaitable[bool]:
        """Whether the kernel runs and can be reached. May take some seconds where that is in doubt."""
        ...

    async def interrupt_kernel(self) -> None:
        """Ask the running code to stop. Harmless on an idle or dead kernel."""
        ...

    async def shutdown_kernel(self, *, now: bool = False) -> None:
        """End the kernel and all it started; with `now` by force. Harmless when it is over already."""
        ...

    async def cleanup_resources(self) -> None:
        """Leave nothing behind: no process, socket or file."""
        ...

    def cause_of_death(self) -> str:
        """How a kernel that is no longer alive ended, in words for a person; empty if nobody knows."""
        ...


@runtime_checkable
class KernelSource(Protocol):
    """One place where kernels come from: this machine, a server, a container."""

    def check(self) -> None:
        """Refuse what is known to be impossible without starting or asking anything.

        Raises:
            KernelNotInstalledError: There is no kernel spec of that name.
        """
        ...

    async def spec(self) -> KernelSpec:
        """The kernel spec, looked up where the kernels are.

        Raises:
            KernelNotInstalledError: There is none of that name.
            ServerError: The server cannot be started or reached, or refuses us.
        """
        ...

    def manager(self) -> KernelManager:
        """A manager for one new kernel, not yet started."""
        ...


@runtime_checkable
class KernelProvider(Protocol):
    """Anything that hands out kernel sources, such as a pool."""

    def kernels_for(self, kernel_name: str, directory: Path) -> KernelSource:
        """Return the kernel source for one session.

        Args:
            kernel_name: The requested kernel spec.
            directory: The directory the session works in.

        Raises:
            ValueError: It has no such kernels, or they cannot work there.
        """
        ...


@dataclass(frozen=True, slots=True)
class FoundKernel:
    """A kernel that outlived who started it. From now on it is ours, and `shutdown_kernel` ends it.

    Args:
        manager: Its manager.
        was_busy: A block still ran there, and was interrupted.
    """

    manager: KernelManager
    was_busy: bool


@runtime_checkable
class DescribedKernels(Protocol):
    """What a source has besides if its kernels are not simply on this machine."""

    def description(self) -> Mapping[str, str]:
        """Where they are: `server`, a URL without any secret; or `image` and `image_id`, those of a container.

        Asked when a kernel has started.
        """
        ...


@runtime_checkable
class LastingKernels(Protocol):
    """What a source has besides if its kernels can outlive who started them: those of a server can."""

    def id_of(self, manager: KernelManager) -> str:
        """The id under which a kernel that was started can be found again."""
        ...

    async def find(self, kernel_id: str) -> FoundKernel | None:
        """The kernel of an id, if it lives and nobody is connected to it.

        Raises:
            ServerError: The server cannot be reached, or refuses us.
        """
        ...


@runtime_checkable
class SharedKernels(Protocol):
    """What a source has besides if people can be on its kernels, too: a Jupyter server that sees our files has them."""

    async def share(self, manager: KernelManager, notebook: Path) -> str:
        """Have whoever opens a recording where its kernel is get that kernel, and no other.

        Args:
            manager: The manager of a kernel that is ready.
            notebook: The recording, which is on disk.

        Returns:
            The URL at which people see the notebook, without any secret; empty where they cannot. Whatever is in the
            way is logged, and keeps nobody from recording.
        """
        ...


@runtime_checkable
class RenewableKernel(Protocol):
    """What a manager has besides if there can be people on its kernel whom its end is not to leave without one."""

    async def renew(self, *, now: bool = False) -> KernelManager | None:
        """End the kernel, whatever state it is in, and have a fresh one in its place if somebody may be on it.

        Args:
            now: As for `shutdown_kernel`, which is what this is where nobody can be on it.

        Returns:
            The manager of the fresh one, which is started; None if there is none. This manager is done.
        """
        ...
