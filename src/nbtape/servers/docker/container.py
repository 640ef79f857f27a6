"""The lifecycle of one container with a Jupyter server."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import os
import shutil
import stat
import time
from typing import TYPE_CHECKING, Any, Final

import httpx
from docker.errors import ImageNotFound

from nbtape.common.finalizers import when_forgotten
from nbtape.common.text import it_last_said
from nbtape.errors import ServerError
from nbtape.kernels.processes import make_private_directory
from nbtape.kernels.remote.connection import JupyterConnectionInfo
from nbtape.kernels.remote.rest import client_options
from nbtape.servers.docker.isolation import PORT, SOCKETS, WORKSPACE, ContainerOptions, Image, User, arguments
from nbtape.servers.docker.logs import ContainerLogs
from nbtape.servers.docker.mounts import mountable
from nbtape.servers.process.status_files import find_end

if TYPE_CHECKING:
    import weakref
    from collections.abc import Mapping
    from pathlib import Path

    from nbtape.servers.docker.engine import Engine

logger = logging.getLogger(__name__)

_SHUTDOWN_TIMEOUT_SECONDS: Final = 1
_POLL_SECONDS: Final = 0.02
#: How long the engine may take to report an exit.
_EXIT_REPORT_TIMEOUT_SECONDS: Final = 0.5
#: Maximum age of an out-of-memory event that explains the death of a kernel.
_OOM_AGE_SECONDS: Final = 15


class Container:
    """A container that serves kernels, which work in the local `directory` if it is given. It starts only once."""

    def __init__(
        self, engine: Engine, options: ContainerOptions, image: str, user: str, directory: Path | None
    ) -> None:
        self._engine = engine
        self._options = options
        self._image = image
        self._user = user
        self._directory = directory
        self._sockets: Path | None = None
        self._logs: ContainerLogs | None = None
        self._end: weakref.finalize[..., Container] | None = None
        self._id = ""
        self._name = ""
        self._url = ""
        self._image_id = ""
        self._began = 0.0
        self._was_stopped = False

    def start(self) -> JupyterConnectionInfo:
        """Start it, and return its connection info once it can start kernels.

        Raises:
            ServerError: It cannot be started, or its Jupyter server does not answer.
        """
        self._began = time.time()
        try:
            info = self._locate(self._launch())
            self._url = info.url
            self._wait(info)
            return info if self._sockets is None else self._with_second_link(info, self._sockets)
        except BaseException:
            self._stop()
            raise

    def stop(self) -> None:
        """Stop it, unless `stop_container` is false; does nothing if it has stopped."""
        if self._options.stop_container:
            self._stop()
            return
        logger.warning(
            "The container %s keeps running at %s. `docker exec %s printenv KG_AUTH_TOKEN` prints its token; "
            "`docker stop %s` stops it",
            *(self._name, self._url, self._name, self._name),
        )
        if self._logs is not None:
            self._logs.close()

    @property
    def has_ended(self) -> bool:
        """Whether it was stopped, could not start, or has exited."""
        return self._was_stopped or (self._logs is not None and self._logs.are_over())

    def description(self) -> dict[str, str]:
        """Its image: the name and the digest."""
        return {"image": self._image, "image_id": self._image_id}

    def cause_of_end(self) -> str:
        """Why it has exited, with the end of its log; empty if it is running."""
        if self._logs is None or not self._logs.are_over():
            return ""
        return f"The container {self._name} exited{self._exit_details()}.{self._last_logs()}"

    def cause_of_death(self, kernel_id: str) -> str:
        """How one of its kernels exited; empty if that is unknown."""
        if (cause := self.cause_of_end()) or self._logs is None:
            return cause
        end = find_end(self._logs.last(), kernel_id)
        if _ran_out_of_memory(self._engine.events(self._id, time.time() - _OOM_AGE_SECONDS)):
            limit = self._options.memory / (1 << 20)
            return f"The container ran out of memory. Its limit is {limit:,.0f} MiB (memory=). {end}".rstrip()
        return end

    def _launch(self) -> Mapping[str, Any]:
        """Create and run it; return the engine's description of it."""
        with self._engine.refusals(f"use the image {self._image}"):
            try:
                image = Image.of(self._image, self._engine.docker.api.inspect_image(self._image))
            except ImageNotFound as exc:
                raise ServerError(
                    f"The Docker engine has no image {self._image}. Check the name, and pull or build it first."
                ) from exc
        if self._options.is_cut_off and not image.is_ours:
            raise ServerError(
                f'The image {self._image} does not support network="none". Use nbtape\'s own image, or one built '
                "from it (docker/Dockerfile)."
            )
        mounts = self._mounts()
        if WORKSPACE in mounts and image.runs_as_root(self._user):
            raise ServerError(
                f"The container would run as root with {self._directory} mounted. Set another user=, or leave it out."
            )
        made = arguments(self._options, image, self._user, mounts, self._reach())
        with self._engine.refusals(f"create a container of the image {self._image}"):
            container = self._engine.docker.containers.create(**made)
        self._id, self._name = str(container.id), str(container.name)
        if self._options.stop_container:
            self._end = when_forgotten(
                self, _end, self._engine, self._id, self._sockets, remove=self._options.auto_remove
            )
        streams = {"stdin": self._options.stop_container, "stdout": True, "stderr": True, "stream": True}
        with self._engine.refusals(f"start the container {self._name}"):
            self._logs = ContainerLogs(self._engine.docker.api.attach_socket(self._id, streams))
            container.start()
            container.reload()
        described: Mapping[str, Any] = container.attrs
        self._image_id = str(described["Image"])
        return described

    def _mounts(self) -> dict[str, str]:
        """The mounted paths, by their path in the container."""
        mounts = {}
        if self._directory is not None:
            path = self._engine.path_of(mountable(self._directory))
            if path is None:
                logger.warning("The Docker engine cannot see %s; files stay in the container", self._directory)
                self._directory = None
            else:
                mounts[WORKSPACE] = path
        if self._options.is_cut_off:
            self._sockets = make_private_directory()
            shared = self._sockets / "shared"
            shared.mkdir(mode=0o700)
            if os.getuid() == 0 and (user := User.of(self._user)):
                os.chown(shared, user.number, user.group)
            path = self._engine.path_of(shared)
            if path is None or not self._engine.shares_networks:
                raise ServerError(
                    'network="none" needs a local Docker engine on Linux. If nbtape itself runs in a container, set '
                    "TMPDIR to a directory that the engine can see."
                )
            mounts[SOCKETS] = path
        return mounts

    def _reach(self) -> dict[str, Any]:
        """The arguments for network and ports. If possible, it can be reached only from the local machine."""
        if self._options.is_cut_off:
            return {"network_mode": "none"}
        if self._has_address:
            return {"network": self._options.network}
        published = {f"{PORT}/tcp": (self._engine.publishing_address, None)}
        return {"network": self._options.network, "ports": published}

    @property
    def _has_address(self) -> bool:
        """Whether it is reached by its own address on a named network, without published ports."""
        named = self._options.network is not None and not self._options.is_cut_off
        return named and self._engine.shares_networks

    def _locate(self, described: Mapping[str, Any]) -> JupyterConnectionInfo:
        """Its connection info, from the engine's description."""
        settings = described["NetworkSettings"]
        host, port = "127.0.0.1", PORT
        if self._has_address:
            host = settings["Networks"][self._options.network]["IPAddress"] or host
        elif published := (settings["Ports"] or {}).get(f"{PORT}/tcp"):
            host, port = self._engine.remote_host or host, int(published[0]["HostPort"])
        return JupyterConnectionInfo(
            host,
            use_https=False,
            port=port,
            token=self._options.token,
            local_root=self._directory,
            unix_socket=None if self._sockets is None else self._sockets / "shared" / "socket",
        )

    def _with_second_link(self, info: JupyterConnectionInfo, sockets: Path) -> JupyterConnectionInfo:
        """Reach the socket by a second link outside the container, which code in the container cannot replace."""
        second = sockets / "socket"
        os.link(sockets / "shared" / "socket", second, follow_symlinks=False)
        if not stat.S_ISSOCK(second.lstat().st_mode):
            raise ServerError(
                f"The container {self._name} has no socket at the expected path. Check its log with `docker logs`."
            )
        return dataclasses.replace(info, unix_socket=second)

    def _wait(self, info: JupyterConnectionInfo) -> None:
        """Return when it can start kernels; raise `ServerError` if it exits or takes too long."""
        deadline = time.monotonic() + self._options.startup_timeout
        with httpx.Client(**client_options(info, None, httpx.HTTPTransport), timeout=5) as client:
            while problem := self._problem(client):
                if cause := self.cause_of_end():
                    raise ServerError(f"{cause}\nThe command of the image must run a Jupyter server on port {PORT}.")
                if time.monotonic() > deadline:
                    raise ServerError(
                        f"The container {self._name} of the image {self._image} was not ready within "
                        f"{self._options.startup_timeout:g} s: {problem}.{self._last_logs()}"
                    )
                time.sleep(_POLL_SECONDS)

    def _problem(self, client: httpx.Client) -> str:
        """Why it cannot start kernels yet; empty if it can. Raises `ServerError` if it never can."""
        if self._sockets and not (self._sockets / "shared" / "socket").exists():
            return "its server has no socket yet"
        try:
            answer = client.get("kernelspecs")
        except httpx.HTTPError:
            return "nothing answers on its socket" if self._sockets else f"nothing answers on its port {PORT}"
        if answer.status_code in {httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN}:
            raise ServerError(
                f"The server in the image {self._image} rejected the token. Its command must use the environment "
                f"variable TOKEN.{self._last_logs()}"
            )
        with contextlib.suppress(ValueError, AttributeError):
            if answer.is_success and answer.json().get("kernelspecs"):
                return ""
        return f"the server on its port {PORT} has no kernel specs (HTTP {answer.status_code})"

    def _exit_details(self) -> str:
        """Its exit code, to follow "exited"; empty if the engine does not report it in time."""
        deadline = time.monotonic() + _EXIT_REPORT_TIMEOUT_SECONDS
        while time.monotonic() < deadline:
            events = self._engine.events(self._id, self._began)
            for event in events:
                if event.get("Action") == "die":
                    code = event["Actor"]["Attributes"].get("exitCode")
                    return f" (exit code {code}{', out of memory' if _ran_out_of_memory(events) else ''})"
            time.sleep(_POLL_SECONDS)
        return ""

    def _last_logs(self) -> str:
        """The end of its log, as the end of a message."""
        return it_last_said(self._logs.last()) if self._logs is not None else ""

    def _stop(self) -> None:
        self._was_stopped = True
        if self._end is not None:
            self._end()
        else:  # it was not created or does not stop with this process
            if self._id:
                self._engine.remove(self._id)
            if self._sockets is not None:
                shutil.rmtree(self._sockets, ignore_errors=True)
        if self._logs is not None:
            self._logs.close()


def _end(engine: Engine, container_id: str, sockets: Path | None, *, remove: bool) -> None:
    """Stop a container: on `stop`, garbage collection, or exit."""
    engine.stop(container_id, _SHUTDOWN_TIMEOUT_SECONDS)
    if remove:
        engine.remove(container_id)
    if sockets is not None:
        shutil.rmtree(sockets, ignore_errors=True)


def _ran_out_of_memory(events: list[dict[str, Any]]) -> bool:
    return any(event.get("Action") == "oom" for event in events)
