"""Send requests to the Docker engine, translate its errors, and check which files and networks it shares with us."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import sys
import time
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import docker
from docker.errors import APIError, DockerException, NotFound
from requests import RequestException

from nbtape.errors import ServerError
from nbtape.kernels.processes import is_running
from nbtape.servers.docker.compat_docker import current_context, ssh_host_of

if TYPE_CHECKING:
    from collections.abc import Iterator

logger = logging.getLogger(__name__)

#: The label of nbtape's containers and images.
LABEL: Final = "nbtape"
#: The label of containers that stop with a process, `<host>/<process>`.
OWNER_LABEL: Final = "nbtape.owner"

#: The address of the local engine, if neither a context nor a variable names another one.
_LOCAL: Final = "unix:///var/run/docker.sock"

_NO_FALLBACK: Final = "No code was run: nbtape never runs code for a container on the host."


class Engine:
    """A Docker engine.

    Args:
        client: A `docker.DockerClient`; None for the engine that `DOCKER_HOST` names, else for that of the current
            Docker context, which is the local one by default.

    Raises:
        ServerError: No engine answers.
    """

    def __init__(self, client: docker.DockerClient | None = None) -> None:
        asked = _Asked("that client= is for") if client is not None else _Asked.of_environment()
        try:
            self.docker = docker.from_env() if client is None else client
            self.docker.ping()
        except (DockerException, RequestException) as exc:
            raise ServerError(f"{_why_no_engine(exc, asked)} {_NO_FALLBACK}") from exc

    @cached_property
    def remote_host(self) -> str:
        """The host of the engine; empty if the engine is local."""
        url = urlsplit(self.docker.api.base_url)
        if url.scheme in {"http", "https"}:
            host = url.hostname or ""
        else:
            host = urlsplit(f"ssh://{ssh_host_of(self.docker)}").hostname or ""
        return "" if host == "localhost" or host.startswith("127.") or host == "::1" else host

    @cached_property
    def own_container(self) -> dict[str, Any] | None:
        """The engine's description of the container that nbtape itself runs in; None outside containers."""
        if self.remote_host or not (Path("/.dockerenv").exists() or Path("/run/.containerenv").exists()):
            return None
        with contextlib.suppress(DockerException, RequestException):
            found: dict[str, Any] = self.docker.api.inspect_container(socket.gethostname())
            return found
        return None

    def own_networks(self) -> str:
        """The names of the networks of `own_container`, for error messages."""
        settings = (self.own_container or {}).get("NetworkSettings", {})
        return ", ".join(sorted(settings.get("Networks") or {})) or "the one from docker network create"

    @property
    def shares_networks(self) -> bool:
        """Whether containers can be reached by their own addresses: not on another host or in a virtual machine."""
        return not self.remote_host and sys.platform == "linux"

    @property
    def publishing_address(self) -> str:
        """The address at which containers publish their ports: loopback, or that of the remote engine."""
        if not self.remote_host:
            return "127.0.0.1"
        logger.warning("Containers can be reached at %s by anyone who has their token", self.remote_host)
        try:
            return socket.gethostbyname(self.remote_host)
        except OSError as exc:
            raise ServerError(
                f"The address of the Docker engine's host {self.remote_host} is unknown ({exc}). Use a name that this "
                "machine can resolve; aliases of ~/.ssh/config are not enough."
            ) from exc

    def path_of(self, directory: Path) -> str | None:
        """The engine's path of a local directory; None if the engine cannot access it."""
        if self.remote_host:
            return None
        if self.own_container is None:
            return str(directory)
        mounts = sorted(self.own_container.get("Mounts", []), key=lambda mount: -len(mount["Destination"]))
        for mount in mounts:
            inside = PurePosixPath(mount["Destination"])
            if directory.is_relative_to(inside):
                return str(PurePosixPath(mount["Source"]) / directory.relative_to(inside))
        return None

    def sweep(self) -> None:
        """Remove containers whose owner, a local process, is gone."""
        with self.refusals("list containers"):
            found = self.docker.api.containers(all=True, filters={"label": OWNER_LABEL})
        for container in found:
            host, _, process = container["Labels"][OWNER_LABEL].rpartition("/")
            if host == socket.gethostname() and process.isdecimal() and not is_running(int(process)):
                self.remove(container["Id"])

    def stop(self, container_id: str, timeout: int) -> None:
        """Stop a container, and kill it after `timeout` seconds. Errors are ignored."""
        with contextlib.suppress(DockerException, RequestException):
            self.docker.api.stop(container_id, timeout=timeout)

    def remove(self, container_id: str) -> None:
        """Remove a container and return when it is gone. Errors are ignored."""
        with contextlib.suppress(DockerException, RequestException):
            try:
                self.docker.api.remove_container(container_id, force=True, v=True)
            except NotFound:
                return
            except APIError:  # the engine is already removing it
                self.docker.api.wait(container_id, timeout=10, condition="removed")

    def has_container(self, name: str) -> bool:
        """Whether the engine knows a container of that name, running or not."""
        with self.refusals("list containers"):
            try:
                self.docker.api.inspect_container(name)
            except NotFound:
                return False
        return True

    def events(self, container_id: str, since: float) -> list[dict[str, Any]]:
        """The events of a container since `since`, in seconds since 1970; empty if the engine does not answer."""
        with contextlib.suppress(DockerException, RequestException):
            # With `until` in the past, the engine answers at once. It accepts fractional seconds.
            found: Any = self.docker.api.events(
                since=int(since),
                until=f"{time.time():.9f}",  # type: ignore[call-overload]
                filters={"container": container_id},
                decode=True,
            )
            return list(found)
        return []

    @staticmethod
    @contextlib.contextmanager
    def refusals(wish: str) -> Iterator[None]:
        """Raise the engine's errors as `ServerError`; `wish` is the attempted action ("list containers")."""
        try:
            yield
        except APIError as exc:
            raise ServerError(
                f"The Docker engine could not {wish}: {str(exc.explanation or exc).rstrip('.')}."
            ) from exc
        except (DockerException, RequestException) as exc:
            raise ServerError(f"The Docker engine could not {wish} ({exc}). Check that it is running.") from exc


def owner() -> str:
    """The identity of this process, for `OWNER_LABEL`."""
    return f"{socket.gethostname()}/{os.getpid()}"


@dataclass(frozen=True)
class _Asked:
    """The engine that is asked: its address, and the Docker context that names it, if any."""

    address: str
    context: str = ""

    @classmethod
    def of_environment(cls) -> _Asked:
        """The engine that `docker.from_env` asks.

        Raises:
            ServerError: The chosen Docker context does not exist, or cannot be read.
        """
        if address := os.environ.get("DOCKER_HOST"):
            return cls(address)
        context, address = current_context()
        return cls(address or _LOCAL, "" if context == "default" else context)

    def __str__(self) -> str:
        return f"{self.address} (Docker context {self.context})" if self.context else self.address


def _why_no_engine(exc: BaseException, asked: _Asked) -> str:
    """Two sentences on the cause and the remedy."""
    text = str(exc)
    if "Permission denied" in text:
        return (
            f"You have no permission to use the Docker engine at {asked}. Add your user to the group that owns its "
            "socket (usually docker), or use a rootless engine."
        )
    if "paramiko" in text:
        return f"The Docker engine at {asked} is reached by SSH, which needs a package: pip install 'docker[ssh]'."
    if any(sign in text for sign in ("No such file", "Connection refused", "not found", "resolve", "unreachable")):
        what = (
            "Start it, or choose another one with `docker context use` or DOCKER_HOST."
            if asked.context
            else "Install and start one (https://docs.docker.com/engine/install/), or set DOCKER_HOST."
        )
        return f"No Docker engine answers at {asked}. {what}"
    return f"The Docker engine at {asked} gave an unexpected answer ({text}). Check that it is running."
