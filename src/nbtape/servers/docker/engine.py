"""The Docker engine: found, asked, and its refusals told; and whether it sees our files and our network."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import sys
import time
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import docker
from docker.errors import APIError, DockerException, NotFound
from requests import RequestException

from nbtape.errors import ServerError
from nbtape.kernels.processes import is_running

if TYPE_CHECKING:
    from collections.abc import Iterator

logger = logging.getLogger(__name__)

#: On all that is ours: containers and images.
LABEL: Final = "nbtape"
#: Whose a container is, `<host>/<process>`, if it is to go with that process.
OWNER_LABEL: Final = "nbtape.owner"

_NO_FALLBACK: Final = "Nothing was run: what is meant for a container never runs on this machine instead."


class Engine:
    """A Docker engine.

    Args:
        client: A `docker.DockerClient`; None for the engine that the environment names (`DOCKER_HOST`), or this
            machine's.

    Raises:
        ServerError: None answers.
    """

    def __init__(self, client: docker.DockerClient | None = None) -> None:
        try:
            self.docker = docker.from_env() if client is None else client
            self.docker.ping()
        except (DockerException, RequestException) as exc:
            raise ServerError(f"{_why_no_engine(exc)} {_NO_FALLBACK}") from exc

    @cached_property
    def remote_host(self) -> str:
        """The machine of the engine, if it is another one than ours; empty if not."""
        url = urlsplit(self.docker.api.base_url)
        if url.scheme in {"http", "https"}:
            host = url.hostname or ""
        else:
            named = urlsplit(os.environ.get("DOCKER_HOST", ""))
            host = (named.hostname or "") if named.scheme == "ssh" and url.hostname == "ssh" else ""
        return "" if host == "localhost" or host.startswith("127.") or host == "::1" else host

    @cached_property
    def own_container(self) -> dict[str, Any] | None:
        """The container in which we run ourselves, as the engine describes it; None if in none of this engine's."""
        if self.remote_host or not (Path("/.dockerenv").exists() or Path("/run/.containerenv").exists()):
            return None
        with contextlib.suppress(DockerException, RequestException):
            found: dict[str, Any] = self.docker.api.inspect_container(socket.gethostname())
            return found
        return None

    def own_networks(self) -> str:
        """The names of the networks on which we are ourselves, for people."""
        settings = (self.own_container or {}).get("NetworkSettings", {})
        return ", ".join(sorted(settings.get("Networks") or {})) or "that of docker network create"

    @property
    def shares_networks(self) -> bool:
        """Whether we reach containers at their own addresses: not from elsewhere, nor from beside a virtual machine."""
        return not self.remote_host and sys.platform == "linux"

    @property
    def publishing_address(self) -> str:
        """Where its containers publish their ports: nowhere but where we are, or where we reach it."""
        if not self.remote_host:
            return "127.0.0.1"
        logger.warning("containers are reached at %s, also by others, who then need their token", self.remote_host)
        with self.refusals(f"be found at {self.remote_host}"):
            return socket.gethostbyname(self.remote_host)

    def path_of(self, directory: Path) -> str | None:
        """What the engine calls a directory of ours; None if it does not see it."""
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
        """Remove the containers that should have gone with their owner, a process of this machine."""
        with self.refusals("list containers"):
            found = self.docker.api.containers(all=True, filters={"label": OWNER_LABEL})
        for container in found:
            host, _, process = container["Labels"][OWNER_LABEL].rpartition("/")
            if host == socket.gethostname() and process.isdecimal() and not is_running(int(process)):
                self.remove(container["Id"])

    def stop(self, container_id: str, patience: int) -> None:
        """End a container that has `patience` seconds to do it by itself. Harmless as `remove` is."""
        with contextlib.suppress(DockerException, RequestException):
            self.docker.api.stop(container_id, timeout=patience)

    def remove(self, container_id: str) -> None:
        """Remove a container, and return when it is gone. Harmless if it is, or if the engine does not answer."""
        with contextlib.suppress(DockerException, RequestException):
            try:
                self.docker.api.remove_container(container_id, force=True, v=True)
            except NotFound:
                return
            except APIError:  # the engine is at it already
                self.docker.api.wait(container_id, timeout=10, condition="removed")

    def events(self, container_id: str, since: float) -> list[dict[str, Any]]:
        """What happened to a container between `since`, in seconds since 1970, and now; empty if nobody can tell."""
        with contextlib.suppress(DockerException, RequestException):
            # The bound in the past has the engine answer at once, with what it remembers; it takes fractions.
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
        """Have what the engine refuses, or fails at, raised as a `ServerError`.

        Args:
            wish: What it was to do ("list containers").
        """
        try:
            yield
        except APIError as exc:
            raise ServerError(
                f"The Docker engine could not {wish}: {str(exc.explanation or exc).rstrip('.')}."
            ) from exc
        except (DockerException, RequestException) as exc:
            raise ServerError(f"The Docker engine could not {wish} ({exc}): see whether it is well.") from exc


def owner() -> str:
    """Ourselves, for `OWNER_LABEL`."""
    return f"{socket.gethostname()}/{os.getpid()}"


def _why_no_engine(exc: BaseException) -> str:
    """What is wrong, and what to do, two sentences."""
    where = os.environ.get("DOCKER_HOST") or "unix:///var/run/docker.sock"
    text = str(exc)
    if "Permission denied" in text:
        return (
            f"We have no permission to use the Docker engine at {where}. Have your user added to the group that owns "
            "its socket (usually docker), or use a rootless engine."
        )
    if any(sign in text for sign in ("No such file", "Connection refused", "not found", "resolve", "unreachable")):
        return (
            f"No Docker engine answers at {where}. Install and start one (https://docs.docker.com/engine/install/), "
            "or name one with DOCKER_HOST."
        )
    return f"The Docker engine at {where} does not answer as it should ({text}). See whether it is well."
