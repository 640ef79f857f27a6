"""The base class of Jupyter servers, and the adapter for servers that nbtape did not start."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Protocol

from nbtape.kernels.remote.connection import JupyterConnectionInfo

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


class ConnectionInfoProvider(Protocol):
    """Any object with a `connection_info`: `JupyterConnectionInfo`, or a server object of another library."""

    @property
    def connection_info(self) -> object:
        """Address and credentials of the server. Reading it may start the server and may block."""
        ...


class JupyterServer(ABC):
    """A Jupyter server that kernels can be started on."""

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
        """Note that it does so no more; end what nbtape started for it, unless others use it. May block."""

    def cause_of_end(self) -> str:
        """Why the server has exited, a sentence; empty if it runs or if that is unknown."""
        return ""

    def cause_of_death(self, kernel_id: str) -> str:  # noqa: ARG002  (for subclasses)
        """How a kernel exited, as sentences; empty if that is unknown."""
        return ""

    def description(self) -> Mapping[str, str] | None:
        """What a recording says of the server; None for its URL."""
        return None

    def for_directory(self, directory: Path) -> JupyterServer:  # noqa: ARG002  (for subclasses)
        """Return the server for a session that works in a directory. Starts nothing.

        Raises:
            ValueError: Kernels of this server cannot work there.
        """
        return self

    def admit(self, directory: Path) -> None:  # noqa: B027  (for subclasses)
        """Let kernels work in a directory, which exists.

        Raises:
            ServerError: They must not.
        """

    def common_directory(self) -> Path | None:
        """The directory in or below which all sessions have to work; None if there is no such limit.

        Raises:
            ValueError: Each session needs a server of its own for its directory.
        """
        return None


class ForeignServer(JupyterServer):
    """A server that nbtape did not start, known by an object with its connection info."""

    def __init__(self, provider: ConnectionInfoProvider) -> None:
        self._provider = provider

    @property
    def connection_info(self) -> JupyterConnectionInfo:
        """The provider's connection info as nbtape's.

        Raises:
            TypeError: It is not a connection info.
        """
        return JupyterConnectionInfo.of(self._provider.connection_info)
