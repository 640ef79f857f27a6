"""Jupyter servers in containers, for code that should not run on this machine: `DockerJupyterServer`."""

from __future__ import annotations

import dataclasses
import math
import os
import sys
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final

from docker.errors import DockerException
from docker.utils import parse_bytes

from nbtape.common.http_access import check_token, make_token
from nbtape.common.lifecycle import OwnServer
from nbtape.errors import ServerError
from nbtape.kernels.remote.connection import JupyterConnectionInfo
from nbtape.kernels.remote.jupyter_server import JupyterServer
from nbtape.servers.docker.container import Container
from nbtape.servers.docker.engine import Engine
from nbtape.servers.docker.image import DEFAULT_BASE_IMAGE, DEFAULT_DOCKERFILE, Recipe, have_image
from nbtape.servers.docker.isolation import NOBODY, ContainerOptions, User

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from docker import DockerClient

#: The engine's own least.
_LEAST_MEMORY: Final = 6 << 20


class DockerJupyterServer(OwnServer, JupyterServer):
    """Jupyter Kernel Gateways in containers: for code that should not run on this machine.

    An executor's kernel runs in a container in which nothing of this machine is mounted but the executor's
    `output_dir`. Executors that share an `output_dir` share the container; with `bind_dir`, all do. A container runs as
    whoever calls (for root: as whoever owns the directory that is mounted), without any capability, on a root file
    system that is read-only, with bounds on memory, processors and processes, and is reached at 127.0.0.1 alone. What
    it still has is a network, to the outside and to other containers and hosts: `network="none"` takes that away.

    `start`, `with` and the first use see to the engine and have the image built, which takes half a minute the first
    time; containers start with the executors that need them (with `bind_dir`: at once). They end with `stop`, with
    `with`, when nobody uses them any more, and at the latest with this process, however that ends.

    Args:
        custom_image_name: An image to use as it is: its command runs a Jupyter server on port 8888 that takes its
            token from `$TOKEN`. None for nbtape's own, `DEFAULT_DOCKERFILE`.
        container_name: The name of the container, of which there can then be but one; None for made-up ones.
        auto_remove: Whether containers are removed when they have ended.
        stop_container: Whether containers end with `stop`, and with this process. Else they are left.
        docker_env: Environment of the containers, and so of the kernels.
        token: What lets a client in; None for one that nobody can guess, another for each container.
        base_image: What nbtape's image is built on, anything with Python 3.11 or newer, pip and venv; None for
            python:3.12-slim.
        bind_dir: The directory that is mounted in place of the executors' `output_dir`.
        network: A network of the engine that the containers are put on, where they are then reached by their address;
            "none" for no network at all, on Linux; None for the engine's default.
        memory: The most memory of one container, temporary files included, in bytes or as "512m", "1.5g".
        cpus: The most processors that one container uses at once.
        pids: The most processes and threads of one container.
        user: Who runs the code, as `user:group` in numbers; "" for the user of the image; None as described above.
        read_only: Whether all but temporary files and the mounted directory is read-only.
        platform: The platform of the image, as "linux/arm64"; None for the engine's own.
        client: A `docker.DockerClient`; None for the engine that `DOCKER_HOST` names, or else this machine's.
        startup_timeout: Seconds that a container has until kernels can be had from it.
        on_progress: Called with each step when the image is built.
        **docker_kwargs: More arguments of docker-py's `containers.create`. They win over all that is said here.

    Raises:
        ValueError: A value that cannot work.
    """

    #: What nbtape's own image is built by: the text of docker/Dockerfile.
    DEFAULT_DOCKERFILE: ClassVar[str] = DEFAULT_DOCKERFILE

    def __init__(  # noqa: PLR0913  (one argument an option)
        self,
        *,
        custom_image_name: str | None = None,
        container_name: str | None = None,
        auto_remove: bool = True,
        stop_container: bool = True,
        docker_env: Mapping[str, str] | None = None,
        token: str | None = None,
        base_image: str | None = None,
        bind_dir: Path | str | None = None,
        network: str | None = None,
        memory: int | str = "4g",
        cpus: float = 2,
        pids: int = 512,
        user: str | None = None,
        read_only: bool = True,
        platform: str | None = None,
        client: DockerClient | None = None,
        startup_timeout: float = 60,
        on_progress: Callable[[str], None] | None = None,
        **docker_kwargs: Any,  # noqa: ANN401  (docker-py's)
    ) -> None:
        check_token(token)
        if custom_image_name is not None and base_image is not None:
            raise ValueError("base_image is what nbtape's own image is built on: leave it out with custom_image_name.")
        if network == "host" or (network or "").startswith("container:"):
            raise ValueError(f"network={network!r} would let the code at what listens there: name a network, or none.")
        if network == "none" and not stop_container:
            raise ValueError(
                'What has no network is reached by us alone: leave stop_container out with network="none".'
            )
        if not 0 < cpus < math.inf or pids < 1:
            raise ValueError(f"cpus and pids must be greater than 0, and not {cpus} and {pids}.")
        self._bind_dir = None if bind_dir is None else _existing(Path(bind_dir))
        checked = JupyterConnectionInfo("127.0.0.1", use_https=False, token=token)
        options = ContainerOptions(
            token=checked.token or "",
            name=container_name,
            memory=_bytes(memory),
            cpus=cpus,
            pids=pids,
            read_only=read_only,
            network=None if network == "bridge" else network,
            removed=auto_remove,
            leashed=stop_container,
            environment=dict(docker_env or {}),
            more=docker_kwargs,
            startup_timeout=startup_timeout,
        )
        image = custom_image_name or Recipe(base_image or DEFAULT_BASE_IMAGE)
        self._maker = _Maker(options, client, image, user, platform, on_progress)
        self._lock = threading.Lock()
        #: The places that are in use, by the directory that is mounted there.
        self._places: weakref.WeakValueDictionary[Path | None, _Place] = weakref.WeakValueDictionary()
        #: The one that is used whether or not an executor does.
        self._own_place: _Place | None = None
        self._was_stopped = False

    @property
    def connection_info(self) -> JupyterConnectionInfo:
        """How to reach a container of this server: that with `bind_dir`, or one in which nothing is mounted.

        Starts it, if it has not been started yet. Executors use `for_directory` instead.

        Raises:
            ServerError: It cannot be started, was stopped, or has ended.
        """
        self._own_place = self._place(None)
        self._own_place.is_lent = True
        return self._own_place.connection_info

    @property
    def bind_dir(self) -> Path | None:
        """The directory that all containers have mounted; None where each has that of its executor."""
        return self._bind_dir

    def for_directory(self, directory: Path) -> JupyterServer:
        """The server for the sessions of a directory: a container, not yet started, with that directory mounted."""
        return self._place(directory)

    def common_directory(self) -> Path:
        """The directory that all containers have mounted.

        Raises:
            ValueError: Each container has that of its executor.
        """
        if self._bind_dir is None:
            raise ValueError(
                "A container sees but one directory: name the one in which the executors are to work as output_dir of "
                "the pool, or as bind_dir of the server."
            )
        return self._bind_dir

    def _place(self, directory: Path | None) -> _Place:
        mounted = self._bind_dir or directory
        with self._lock:
            place = self._places.get(mounted)
            if place is None:
                place = self._places[mounted] = _Place(self._maker, mounted, lambda: self._was_stopped)
            return place

    def start(self) -> None:
        """Have all ready that containers need. Harmless when it is; after a stop, containers may start again.

        Raises:
            ServerError: There is no engine, no image can be had, or with `bind_dir`, no container.
        """
        with self._lock:
            self._was_stopped = False
            places = list(self._places.values())
        for place in places:
            place.clear_up()
        self._maker.prepare(self._bind_dir)
        if self._bind_dir is not None:
            self._own_place = self._place(None)
            _ = self._own_place.connection_info

    def stop(self) -> None:
        """End all containers, or leave them, with `stop_container=False`. Harmless when they have ended."""
        with self._lock:
            self._was_stopped = self._was_stopped or self._maker.was_used
            places = list(self._places.values())
        with ThreadPoolExecutor(max(1, len(places)), "nbtape-stop") as pool:
            list(pool.map(_Place.stop, places))
        self._maker.let_go()


class _Maker:
    """What all containers of a server are made by.

    Args:
        options: How they are made.
        client: docker-py's client; None for the engine of the environment.
        image: The image's name, or what ours is made of.
        user: Who runs the code; None for whom the files are to belong to.
        platform: The platform of the image; None for the engine's own.
        on_progress: Called with each step of the image's build.
    """

    def __init__(
        self,
        options: ContainerOptions,
        client: DockerClient | None,
        image: str | Recipe,
        user: str | None,
        platform: str | None,
        on_progress: Callable[[str], None] | None,
    ) -> None:
        self._options = options
        self._client = client
        self._image = image
        self._user = user
        self._platform = platform
        self._on_progress = on_progress
        self._lock = threading.Lock()
        self._engine: Engine | None = None

    @property
    def was_used(self) -> bool:
        """Whether it has an engine."""
        return self._engine is not None

    def prepare(self, directory: Path | None) -> tuple[Engine, str, str]:
        """The engine, the image and the user for a container in which a directory is mounted.

        Raises:
            ServerError: There is no engine, or no image can be had.
        """
        if sys.platform == "win32":
            raise ServerError("DockerJupyterServer does not run on Windows: run nbtape in WSL, where it does.")
        user = self._user_of(directory) if self._user is None else self._user
        with self._lock:
            if self._engine is None:
                self._engine = self._find_engine()
            if isinstance(self._image, str):
                return self._engine, self._image, user
            recipe = dataclasses.replace(self._image, user=User.of(user) or NOBODY)
            image = have_image(self._engine, recipe, platform=self._platform, on_progress=self._on_progress)
            return self._engine, image, user

    def make(self, directory: Path | None) -> Container:
        """A container in which a directory is mounted, not yet started.

        Raises:
            ServerError: There is no engine, or no image can be had.
        """
        engine, image, user = self.prepare(directory)
        # One of its own: what runs in one container may reach another, and knows its own token.
        options = dataclasses.replace(self._options, token=self._options.token or make_token())
        return Container(engine, options, image, user, directory)

    @property
    def can_replace(self) -> bool:
        """Whether a container may end before the server stops, and another one can take its place."""
        return self._options.leashed and (self._options.removed or not self._options.name)

    def let_go(self) -> None:
        """Close the connection to the engine; the next container makes another one."""
        with self._lock:
            if self._engine is not None and self._client is None:
                self._engine.docker.close()
            self._engine = None

    def _find_engine(self) -> Engine:
        engine = Engine(self._client)
        if engine.own_container is not None and self._options.network is None:
            raise ServerError(
                "nbtape itself runs in a container here, where 127.0.0.1 is not the engine's: give network= one that "
                f"both are to be on, for example {engine.own_networks()}."
            )
        engine.sweep()
        return engine

    @staticmethod
    def _user_of(directory: Path | None) -> str:
        """Whom the files are to belong to: us, or, where we are root, the owner of the directory."""
        if os.getuid() != 0:
            return str(User(os.getuid(), os.getgid()))
        if directory is None:
            return str(NOBODY)
        found = directory.stat()
        return str(User(found.st_uid, found.st_gid))


class _Place(JupyterServer):
    """A server for the executors of one directory: a container, and after a stop and a start, another one.

    Args:
        maker: What makes them.
        directory: What is mounted.
        was_stopped: Tells whether the server was stopped.
    """

    has_pages = False

    def __init__(self, maker: _Maker, directory: Path | None, was_stopped: Callable[[], bool]) -> None:
        self._maker = maker
        self._directory = directory
        self._was_stopped = was_stopped
        self._lock = threading.Lock()
        self._container: Container | None = None
        self._info: JupyterConnectionInfo | None = None
        self._sessions: weakref.WeakSet[object] = weakref.WeakSet()
        #: Whether somebody else may know its address.
        self.is_lent = False

    def enter(self, session: object) -> None:
        """Note that a session uses the container."""
        with self._lock:
            self._sessions.add(session)

    def leave(self, session: object) -> None:
        """End the container with its last session, and with it what the code left running in it.

        Not if others may use it, or if it is to outlive the server.
        """
        with self._lock:
            self._sessions.discard(session)
            if not self._sessions and not self.is_lent and self._maker.can_replace:
                self._forget()

    @property
    def connection_info(self) -> JupyterConnectionInfo:
        """How to reach the container; starts it, if it has not been started yet.

        Raises:
            ServerError: It cannot be started, was stopped, or has ended.
        """
        with self._lock:
            if cause := self.cause_of_end():
                raise ServerError(f"{cause} Call start() to have a new one.")
            if self._info is None:
                container = self._maker.make(self._directory)
                self._info = container.start()
                self._container = container
            return self._info

    def cause_of_end(self) -> str:
        """Why the container is no more; empty if it runs, or has not been started."""
        if self._was_stopped():
            return "The Docker server was stopped."
        return self._container.cause_of_end() if self._container is not None else ""

    def cause_of_death(self, kernel_id: str) -> str:
        """How one of its kernels ended; empty if nobody knows."""
        if (cause := self.cause_of_end()) or self._container is None:
            return cause
        return self._container.cause_of_death(kernel_id)

    def description(self) -> dict[str, str]:
        """What a recording tells of the container; empty if it has not been started."""
        return {} if self._container is None else self._container.description()

    def clear_up(self) -> None:
        """Make room for another container where one has ended."""
        with self._lock:
            if self._container is not None and self._container.cause_of_end():
                self._forget()

    def stop(self) -> None:
        """End the container."""
        with self._lock:
            self._forget()

    def _forget(self) -> None:
        if self._container is not None:
            self._container.stop()
        self._container = self._info = None


def _existing(directory: Path) -> Path:
    if not directory.is_dir():
        raise ValueError(f"bind_dir {directory} is no directory: make it, or name another one.")
    return directory.absolute()


def _bytes(size: int | str) -> int:
    """A size in bytes.

    Raises:
        ValueError: It is none, or too small.
    """
    try:
        number = int(parse_bytes(str(size).strip()))
    except (DockerException, ValueError, OverflowError) as exc:  # the last two for "nanb" and "infg"
        raise ValueError(f"memory={size!r} is no size: give bytes, or a text such as 512m or 4g.") from exc
    if number < _LEAST_MEMORY:
        raise ValueError(f"memory={size!r} is too little: a container needs at least 6m, and a kernel about 100m.")
    return number
