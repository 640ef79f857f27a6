"""The shared parts of the local server programs (`gateway.py`, `lab.py`): options, kernels, and shutdown.

`--help` lists their options. The token is passed in the environment variable KG_AUTH_TOKEN.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import site
import sys
import warnings
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

from jupyter_client.ioloop.manager import AsyncIOLoopKernelManager
from tornado.ioloop import PeriodicCallback
from tornado.netutil import bind_sockets, bind_unix_socket
from tornado.web import HTTPError

from nbtape.common.own_tokens import OWN_TOKENS, take_token
from nbtape.kernels.leftovers import Leftovers
from nbtape.kernels.local.compat_jupyter_client import HookedKernelManager
from nbtape.kernels.local.manager import arrange_ipykernel, describe_end
from nbtape.kernels.processes import end_group
from nbtape.servers.process.status_files import ServerNotes, end_line

if TYPE_CHECKING:
    import logging
    from collections.abc import Callable, Mapping
    from socket import socket as Socket  # noqa: N812  (`socket` is a field below)

    from jupyter_client.multikernelmanager import MultiKernelManager

_KERNEL_SHUTDOWN_TIMEOUT_SECONDS: Final = 0.6
_OWNER_POLL_MILLISECONDS: Final = 500


class OwnKernelManager(HookedKernelManager, AsyncIOLoopKernelManager):
    """A kernel of the server, set up like a local kernel, and stopped with all processes it started."""

    #: jupyter_client's events for a kernel that died: it stays dead, or is restarted.
    ends: tuple[str, ...] = ("dead",)

    def extra_arguments(self) -> list[str]:
        """Use the same socket path after a restart, which keeps the connection file."""
        file = Path(self.connection_file)
        return arrange_ipykernel(self, file.with_name(file.stem.removeprefix("kernel-")[:8]))

    def kernel_log(self) -> Path:
        return self._notes.kernel_log(self.kernel_id)

    def launch_failed(self, error: OSError) -> HTTPError:
        return HTTPError(500, f"Kernel {self.kernel_name} cannot be started: {error}. Check its kernel.json.")

    def kernel_started(self) -> None:
        """Note its process group and watch for its death."""
        self._group = getattr(self.provisioner, "pgid", None)
        if self._group:
            self._processes.watch(self._group)
            self._notes.write_group(self._group)
        for end in self.ends:
            self.remove_restart_callback(self._take_death, end)  # set if this is a restart
            self.add_restart_callback(self._take_death, end)

    def kernel_environment(self) -> Mapping[str, str]:
        """Mark the processes that the kernel starts."""
        return self._processes.environment

    def kernel_stopping(self) -> None:
        """Find the processes that its code has started, before their parents exit."""
        self._processes.look()

    def kernel_stopped(self) -> None:
        """Kill the processes that its code left running."""
        self.end_group()

    def connect_iopub(self, identity: bytes | None = None) -> Any:  # noqa: ANN401  (jupyter_client's)
        """Return the kernel's iopub stream, which continues after an invalid message."""
        stream = super().connect_iopub(identity)
        listen = stream.on_recv
        stream.on_recv = lambda callback, copy=True: listen(callback and self._tolerant(callback), copy)
        return stream

    def _tolerant(self, callback: Callable[[list[Any]], Any]) -> Callable[[list[Any]], None]:
        def take(message: list[Any]) -> None:
            try:
                callback(message)
            except Exception as exc:  # noqa: BLE001  (whatever the code of a kernel has sent)
                self.log.warning("A message from kernel %s is invalid: %s", self.kernel_id, exc)

        return take

    def _take_death(self) -> None:
        process = getattr(self.provisioner, "process", None)
        end = describe_end(process.returncode if process else None, self.kernel_log())
        self._notes.write_end(self.kernel_id, end)
        self.log.warning("%s", end_line(self.kernel_id, end))
        self.end_group()

    def end_group(self) -> None:
        """Kill the kernel and all processes it started."""
        if self._group:
            end_group(self._group)
            self._processes.end()
            self._notes.remove_group(self._group)
            self._group = None

    _group: int | None = None

    @cached_property
    def _processes(self) -> Leftovers:
        return Leftovers()

    @property
    def _notes(self) -> ServerNotes:
        return ServerNotes(Path(self.connection_file).parent)


@dataclass(frozen=True, slots=True)
class Hosting:
    """The options of a server process; `--help` explains them."""

    ip: str
    port: int
    socket: Path | None
    log_level: str
    owner: int
    root: Path
    notes: ServerNotes
    token: str = field(repr=False)

    def sockets(self) -> list[Socket]:
        """Listen on the address; exit if that is not possible."""
        if self.socket is not None:
            return [bind_unix_socket(str(self.socket))]
        try:
            return bind_sockets(self.port, self.ip)
        except OSError as exc:
            sys.exit(f"Port {self.port} of {self.ip} cannot be used: {exc.strerror or exc}.")

    def watch_owner(self, stop: Callable[[], None], log: logging.Logger) -> None:
        """Stop when the owner has exited."""

        def check() -> None:
            if os.getppid() != self.owner:
                log.warning("Process %s, the owner of this server, has exited", self.owner)
                stop()

        if self.owner:
            PeriodicCallback(check, _OWNER_POLL_MILLISECONDS).start()


async def end_kernels(manager: MultiKernelManager) -> None:
    """Stop all kernels of a server at once, and kill those that take too long."""
    kernels = [cast("OwnKernelManager", manager.get_kernel(name)) for name in manager.list_kernel_ids()]
    for kernel in kernels:
        kernel.shutdown_wait_time = _KERNEL_SHUTDOWN_TIMEOUT_SECONDS
    ends = asyncio.gather(*(kernel.shutdown_kernel() for kernel in kernels), return_exceptions=True)
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(ends, 2 * _KERNEL_SHUTDOWN_TIMEOUT_SECONDS)
    for kernel in kernels:
        kernel.end_group()


def prepare(description: str) -> Hosting:
    """Parse the command line and prepare the process for a server; `description` is for `--help`."""
    options = _options(description)
    # Kernel Gateway's kernel manager is not derived from jupyter_server's either.
    warnings.filterwarnings("ignore", "KernelManager class", FutureWarning)
    options.notes.mkdir(exist_ok=True)
    os.environ["JUPYTER_RUNTIME_DIR"] = str(options.notes)
    if os.environ.get("PIP_USER") == "1":  # Python ignores it later if it is missing at its start
        Path(site.getusersitepackages()).mkdir(parents=True, exist_ok=True)
    return Hosting(**{**vars(options), "notes": ServerNotes(options.notes), "token": _take_token()})


def _take_token() -> str:
    """Remove the token, under all its names, from the environment that kernels inherit, and return it."""
    token = take_token("KG_AUTH_TOKEN")
    if not token:
        sys.exit("The token is missing. Set KG_AUTH_TOKEN.")
    for name in [name for name, value in os.environ.items() if value == token or name in OWN_TOKENS]:
        del os.environ[name]
    return token


def _options(description: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--ip", default="127.0.0.1", help="the address to listen on")
    parser.add_argument("--port", type=int, default=0, help="the port, 0 for a free one")
    parser.add_argument("--socket", type=Path, help="a unix socket to listen on instead of a port")
    parser.add_argument("--log-level", default="INFO", help="the name of a log level")
    parser.add_argument("--owner", type=int, default=0, help="stop when this process exits; 0 for no process")
    parser.add_argument("--root", type=Path, default=Path("/"), help="the directory that clients see as the root")
    parser.add_argument("--notes", type=Path, required=True, help="a private directory for status files")
    return parser.parse_args()
