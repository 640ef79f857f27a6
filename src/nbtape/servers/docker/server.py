"""`DockerJupyterServer`: Jupyter servers in containers, for code that should not run on the local machine."""

from __future__ import annotations

import dataclasses
import itertools
import os
import sys
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Final

from docker.errors import DockerException
from docker.utils import parse_bytes

from nbtape.common.argument_checks import check_callable, check_instance, check_positive, path_argument
from nbtape.common.http_access import check_token, make_token
from nbtape.common.lifecycle import OwnServer
from nbtape.errors import ServerError
from nbtape.kernels.remote.connection import JupyterConnectionInfo
from nbtape.kernels.remote.jupyter_server import JupyterServer
from nbtape.kernels.uncopied import Uncopied
from nbtape.servers.docker.container import Container
from nbtape.servers.docker.engine import Engine
from nbtape.servers.docker.image import DEFAULT_BASE_IMAGE, DEFAULT_DOCKERFILE, Recipe, have_image
from nbtape.servers.docker.isolation import NOBODY, ContainerOptions, User
from nbtape.servers.docker.mounts import check_place, give

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from docker import DockerClient

#: The engine's own minimum.
_MIN_MEMORY_BYTES: Final = 6 << 20


class DockerJupyterServer(OwnServer, JupyterServer, Uncopied):
    """Jupyter Kernel Gateways in containers, for code that should not run on the local machine.

    An executor's kernel runs in a container that can access no local directory except the executor's `output_dir`.
    Executors with the same `output_dir` share a container; with `bind_dir`, all executors do. A container runs as the
    current user, without capabilities, on a read-only root file system, with limits on memory, CPUs and processes. If
    the current user is root, it runs as the owner of the mounted directory. If root owns that too, nbtape changes its
    owner to a user who owns nothing else, and runs the container as that user. Files cannot get a set-user-ID or
    set-group-ID bit. A container can be reached only at 127.0.0.1. It can reach the Internet and other hosts and
    containers unless you pass `network="none"`.

    `start`, `with` and the first use connect to the engine and build the image, which takes half a minute the first
    time. Containers start with the executors that need them (with `bind_dir`, at once). They stop with `stop`, at the
    end of `with`, when the last executor has stopped, and at the latest with this process, even if it is killed.

    Args:
        custom_image_name: An image to use unchanged. Its command must run a Jupyter server on port 8888 that reads its
            token from `$TOKEN`. None for nbtape's own image, see `DEFAULT_DOCKERFILE`.
        container_name: The name of the first container; further ones of this server are NAME-2, NAME-3 and so on.
            None for generated names.
        auto_remove: Whether containers are removed when they have stopped.
        stop_container: Whether containers stop with `stop` and with this process. If not, they keep running.
        docker_env: Environment variables of the containers and their kernels.
        token: The server's token; None for a random one for each container.
        base_image: The image on which nbtape's own is built, with Python 3.11 or newer, pip and venv; None for
            python:3.12-slim.
        bind_dir: The directory to mount instead of the executors' `output_dir`. Like that, it must not be a home or
            system directory, nor contain one, nor have a path that other users can change.
        network: The engine's network for the containers, which are then reached by their own address; "none" for no
            network at all (Linux only); None for the engine's default.
        memory: Maximum memory of one container, including temporary files, in bytes or as "512m", "1.5g".
        cpus: Maximum number of CPUs that one container uses at once.
        pids: Maximum number of processes and threads of one container.
        user: The user who runs the code, as numeric `user:group`; "" for the image's user; None as described above.
        read_only: Whether everything except temporary files and the mounted directory is read-only.
        platform: The platform of the image, such as "linux/arm64"; None for the engine's own.
        client: A `docker.DockerClient`; None for the engine that `DOCKER_HOST` names, else for that of the current
            Docker context.
        startup_timeout: Seconds that a container may take to start its Jupyter server.
        on_progress: Called with each step of an image build.
        **docker_kwargs: Additional arguments of docker-py's `containers.create`. They override all others.

    Raises:
        ValueError: An argument is invalid.
    """

    #: The text of the Dockerfile of nbtape's own image.
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
        _check_network(network, stop_container=stop_container)
        if custom_image_name is not None and base_image is not None:
            raise ValueError("base_image= is for nbtape's own image. Leave it out with custom_image_name=.")
        check_instance("pids", pids, int)
        check_positive("cpus", cpus)
        check_positive("pids", pids)
        check_positive("startup_timeout", startup_timeout)
        if docker_env is not None:
            check_instance("docker_env", docker_env, dict)
        check_callable("on_progress", on_progress)
        self._bind_dir = None if bind_dir is None else _existing(path_argument("bind_dir", bind_dir))
        JupyterConnectionInfo("127.0.0.1", use_https=False, token=token)  # checks that the token is valid in a header
        self._options = ContainerOptions(
            token=token or "",
            name=container_name,
            memory=_bytes(memory),
            cpus=cpus,
            pids=pids,
            read_only=read_only,
            network=None if network == "bridge" else network,
            auto_remove=auto_remove,
            stop_container=stop_container,
            environment=dict(docker_env or {}),
            more=docker_kwargs,
            startup_timeout=startup_timeout,
        )
        self._image: str | Recipe = custom_image_name or Recipe(base_image or DEFAULT_BASE_IMAGE)
        self._user = user
        self._platform = platform
        self._client = client
        self._on_progress = on_progress
        self._engine: Engine | None = None
        self._engine_lock = threading.Lock()
        self._lock = threading.Lock()
        #: The servers in use, by the directory that their containers mount.
        self._servers: weakref.WeakValueDictionary[Path | None, _ContainerServer] = weakref.WeakValueDictionary()
        #: The last container of each name that this server has given.
        self._named: dict[str, weakref.ref[Container]] = {}
        #: The server of `connection_info`, which is kept even if no executor uses it.
        self._own_server: _ContainerServer | None = None
        self._was_stopped = False

    def __repr__(self) -> str:
        with self._lock:
            running = sum(server.is_running for server in self._servers.values())
        return f"DockerJupyterServer({running} container{'' if running == 1 else 's'} running)"

    @property
    def connection_info(self) -> JupyterConnectionInfo:
        """Connection info of the oldest running container. If none runs, starts one with `bind_dir` or without mounts.

        Executors use `for_directory` instead.

        Raises:
            ServerError: The container cannot be started, was stopped, or has exited.
        """
        if self._own_server is None or not self._own_server.is_running:
            with self._lock:
                servers = list(self._servers.values())
            self._own_server = next((each for each in servers if each.is_running), None) or self._server_of(None)
        self._own_server.is_lent = True
        return self._own_server.connection_info

    @property
    def bind_dir(self) -> Path | None:
        """The directory that all containers mount; None if each mounts its executor's directory."""
        return self._bind_dir

    def for_directory(self, directory: Path) -> JupyterServer:
        """Return the server for sessions in a directory: a container that mounts it, not started yet.

        Raises:
            ValueError: A container must not mount the directory.
        """
        if self._bind_dir is None:
            _check_mount(directory)
        return self._server_of(directory)

    def common_directory(self) -> Path:
        """The directory that all containers mount.

        Raises:
            ValueError: Each container mounts its executor's directory.
        """
        if self._bind_dir is None:
            raise ValueError(
                "A container can see only one directory. Set output_dir= of the pool, or bind_dir= of the server, to "
                "the directory for the executors."
            )
        return self._bind_dir

    def start(self) -> None:
        """Connect to the engine and build the image if it is missing; with `bind_dir`, start the container as well.

        Does nothing if that is done. After a stop, containers may start again.

        Raises:
            ServerError: The engine is not available, the image cannot be built, or the container does not start.
        """
        with self._lock:
            self._was_stopped = False
            servers = list(self._servers.values())
        for server in servers:
            server.forget_exited()
        self._prepare(self._bind_dir)
        if self._bind_dir is not None:
            self._own_server = self._server_of(None)
            _ = self._own_server.connection_info

    def stop(self) -> None:
        """Stop all containers, unless `stop_container=False`; does nothing if they have stopped."""
        with self._lock:
            self._was_stopped = self._was_stopped or self._engine is not None
            servers = list(self._servers.values())
        with ThreadPoolExecutor(max(1, len(servers)), "nbtape-stop") as pool:
            list(pool.map(_ContainerServer.stop, servers))
        with self._engine_lock:
            if self._engine is not None and self._client is None:
                self._engine.docker.close()
            self._engine = None

    def _server_of(self, directory: Path | None) -> _ContainerServer:
        mounted = self._bind_dir or directory
        with self._lock:
            server = self._servers.get(mounted)
            if server is None:
                make, admit = partial(self._make_container, mounted), partial(self._admit, mounted)
                # Not if it outlives the server or its name stays taken.
                is_replaceable = self._options.stop_container and (self._options.auto_remove or not self._options.name)
                server = self._servers[mounted] = _ContainerServer(
                    make, admit, lambda: self._was_stopped, is_replaceable=is_replaceable
                )
            return server

    def _make_container(self, directory: Path | None) -> Container:
        """Return a container that mounts a directory, not started yet."""
        engine, image, user = self._prepare(directory)
        if directory is not None:
            self._admit(directory, directory)
        # Each container has its own token, because code in one container knows its token and may reach others.
        options = dataclasses.replace(self._options, token=self._options.token or make_token())
        with self._lock:
            options = dataclasses.replace(options, name=self._free_name(engine))
            container = Container(engine, options, image, user, directory)
            if options.name is not None:
                self._named[options.name] = weakref.ref(container)
        return container

    def _free_name(self, engine: Engine) -> str | None:
        """The first name that no container of this server has; one of someone else makes the start fail."""
        if not (first := self._options.name):
            return None
        for number in itertools.count(1):
            name = first if number == 1 else f"{first}-{number}"
            found = self._named.get(name, lambda: None)()
            if name not in self._named or ((found is None or found.has_ended) and not engine.has_container(name)):
                return name
        raise AssertionError("unreachable: there is always another number")

    def _prepare(self, directory: Path | None) -> tuple[Engine, str, str]:
        """Return the engine, the image and the user for a container that mounts a directory."""
        if sys.platform == "win32":
            raise ServerError("DockerJupyterServer does not run on Windows. Run nbtape in WSL.")
        user = self._user_for(directory)
        with self._engine_lock:
            if self._engine is None:
                self._engine = self._find_engine()
            if isinstance(self._image, str):
                return self._engine, self._image, user
            recipe = dataclasses.replace(self._image, user=User.of(user) or NOBODY)
            image = have_image(self._engine, recipe, platform=self._platform, on_progress=self._on_progress)
            return self._engine, image, user

    def _admit(self, mounted: Path | None, directory: Path) -> None:
        """Let the user of the container that mounts a directory write to it or to a directory below it."""
        user = User.of(self._user_for(mounted))
        if mounted is not None and user is not None:
            give(mounted, directory, user)

    def _user_for(self, directory: Path | None) -> str:
        return _owner_of(directory) if self._user is None else self._user

    def _find_engine(self) -> Engine:
        engine = Engine(self._client)
        if engine.own_container is not None and self._options.network is None:
            raise ServerError(
                "nbtape itself runs in a container here, where 127.0.0.1 is not the engine's: give network= one that "
                f"both are to be on, for example {engine.own_networks()}."
            )
        engine.sweep()
        return engine


class _ContainerServer(JupyterServer):
    """The server for one directory: a container, and another one if it is started again after a stop."""

    has_pages = False

    def __init__(
        self,
        make: Callable[[], Container],
        admit: Callable[[Path], None],
        was_stopped: Callable[[], bool],
        *,
        is_replaceable: bool,
    ) -> None:
        self._make = make
        self._admit = admit
        self._is_replaceable = is_replaceable
        self._was_stopped = was_stopped
        self._lock = threading.Lock()
        self._container: Container | None = None
        self._info: JupyterConnectionInfo | None = None
        self._sessions: weakref.WeakSet[object] = weakref.WeakSet()
        #: Whether other code may know its address.
        self.is_lent = False

    def admit(self, directory: Path) -> None:
        self._admit(directory)

    def enter(self, session: object) -> None:
        """Note that a session uses the container."""
        with self._lock:
            self._sessions.add(session)

    def leave(self, session: object) -> None:
        """Stop the container, and any processes left in it, with its last session, unless others may use it."""
        with self._lock:
            self._sessions.discard(session)
            if not self._sessions and not self.is_lent and self._is_replaceable:
                self._forget()

    @property
    def connection_info(self) -> JupyterConnectionInfo:
        """Connection info of the container, which is started first if necessary."""
        with self._lock:
            if cause := self.cause_of_end():
                raise ServerError(f"{cause} Call start() to start a new one.")
            if self._info is None:
                container = self._make()
                self._info = container.start()
                self._container = container
            return self._info

    def cause_of_end(self) -> str:
        """Why the container has exited; empty if it is running or was not started."""
        if self._was_stopped():
            return "The Docker server was stopped."
        return self._container.cause_of_end() if self._container is not None else ""

    def cause_of_death(self, kernel_id: str) -> str:
        if (cause := self.cause_of_end()) or self._container is None:
            return cause
        return self._container.cause_of_death(kernel_id)

    @property
    def is_running(self) -> bool:
        """Whether a container was started and has not exited."""
        return self._container is not None and not self.cause_of_end()

    def description(self) -> dict[str, str]:
        return {} if self._container is None else self._container.description()

    def forget_exited(self) -> None:
        """Forget a container that has exited, so that another one can start."""
        with self._lock:
            if self._container is not None and self._container.cause_of_end():
                self._forget()

    def stop(self) -> None:
        """Stop the container."""
        with self._lock:
            self._forget()

    def _forget(self) -> None:
        if self._container is not None:
            self._container.stop()
        self._container = self._info = None


def _owner_of(directory: Path | None) -> str:
    """The user who will own the files: the current user or, for root, the directory's owner unless that is root."""
    if os.getuid() != 0:
        return str(User(os.getuid(), os.getgid()))
    if directory is None:
        return str(NOBODY)
    found = directory.stat()
    return str(User(found.st_uid, found.st_gid) if found.st_uid else NOBODY)


def _check_network(network: str | None, *, stop_container: bool) -> None:
    """Raise `ValueError` for a network that would weaken the isolation or make the container unreachable."""
    if network == "host" or (network or "").startswith("container:"):
        raise ValueError(
            f"network= must not be {network!r}: the code would reach the services there. Use another network, or "
            '"none".'
        )
    if network == "none" and not stop_container:
        raise ValueError('A container with network="none" cannot outlive this process. Leave out stop_container=.')


def _existing(directory: Path) -> Path:
    if not directory.is_dir():
        raise ValueError(f"bind_dir= is {directory}, which is not a directory. Create it, or choose another one.")
    _check_mount(directory)
    return directory.absolute()


def _check_mount(directory: Path) -> None:
    """Raise `ValueError` for a directory that a container must not mount."""
    try:
        check_place(directory)
    except ServerError as exc:
        raise ValueError(str(exc)) from exc


def _bytes(size: int | str) -> int:
    """Parse `memory`; raise `ValueError` if it is not a size, or too small."""
    try:
        number = int(parse_bytes(str(size).strip()))
    except (DockerException, ValueError, OverflowError) as exc:  # the last two for "nanb" and "infg"
        raise ValueError(
            f"memory={size!r} is not a size. Use a number of bytes, or a string such as 512m or 4g."
        ) from exc
    if number < _MIN_MEMORY_BYTES:
        raise ValueError(f"memory={size!r} is too small. A container needs at least 6m, and a kernel about 100m.")
    return number
