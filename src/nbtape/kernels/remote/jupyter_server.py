"""The base class of Jupyter servers, and the adapter for servers that nbtape did not start."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Protocol

from nbtape.kernels.remote.connection import JupyterConnectionInfo

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


class ConnectionInfoProvider(Protocol):
    """Any object with a `connection_info`, such as `JupyterConnectionInfo` or a server object of another library."""

    @property
    def connection_info(self) -> object:
        """Address and credentials of the server. Reading it may start the server and may block."""
        ...


class JupyterServer(ABC):
    """A Jupyter server on which kernels can be started."""

    #: Whether the server may have JupyterLab, so that people can open notebooks there.
    has_pages = True

    @property
    @abstractmethod
    def connection_info(self) -> JupyterConnectionInfo:
        """Address and credentials of the server. Reading it may start the server and may block.

        Raises:
            ServerError: The server cannot be started, was stopped, or has exited.
        """

    def enter(self, session: object) -> None:  # noqa: B027  (for subclasses)
        """Note that a session uses the server."""

    def leave(self, session: object) -> None:  # noqa: B027  (for subclasses)
        """Note that it no longer does; stop what nbtape started for it, unless others use that. May block."""

    def cause_of_end(self) -> str:
        """A sentence on why the server has exited; empty if it is running or the cause is unknown."""
        return ""

    def cause_of_death(self, kernel_id: str) -> str:  # noqa: ARG002  (for subclasses)
        """Sentences on how a kernel exited; empty if unknown."""
        return ""

    def description(self) -> Mapping[str, str] | None:
        """The description of the server in a recording; None to record its URL."""
        return None

    def for_directory(self, directory: Path) -> JupyterServer:  # noqa: ARG002  (for subclasses)
        """Return the server for a session that works in a directory. Starts nothing.

        Raises:
            ValueError: Kernels of this server cannot work there.
        """
        return self

    def admit(self, directory: Path) -> None:  # noqa: B027  (for subclasses)
        """Let kernels work in an existing directory.

        Raises:
            ServerError: They must not.
        """

    def can_access(self, directory: Path) -> bool:
        """Whether kernels can work in a local directory; does not start the server."""
        try:
            root = self.common_directory()
        except ValueError:  # each session has its own
            return True
        return root is None or directory.resolve().is_relative_to(root.resolve())

    def common_directory(self) -> Path | None:
        """The directory in or below which all sessions must work; None if there is no such limit.

        Raises:
            ValueError: Each session needs its own server for its directory.
        """
        return None


class ForeignServer(JupyterServer):
    """A server that nbtape did not start, given by an object with its connection info."""

    def __init__(self, provider: ConnectionInfoProvider) -> None:
        self._provider = provider

    @property
    def connection_info(self) -> JupyterConnectionInfo:
        """The provider's connection info, converted to nbtape's class.

        Raises:
            TypeError: It is not a connection info.
        """
        return JupyterConnectionInfo.of(self._provider.connection_info)

    def can_access(self, directory: Path) -> bool:
        """Whether the directory is below the `local_root` of a `JupyterConnectionInfo`; others have none."""
        root = self._provider.local_root if isinstance(self._provider, JupyterConnectionInfo) else None
        return root is not None and directory.resolve().is_relative_to(root.resolve())
