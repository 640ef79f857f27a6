"""What the server processes that we start have in common: kernels and connections that lose nothing, and their end.

Each is a module that is run (`gateway.py`, `lab.py`); `--help` says how. The token comes in the environment
(KG_AUTH_TOKEN).
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import site
import sys
import warnings
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

from jupyter_client.ioloop.manager import AsyncIOLoopKernelManager
from tornado.ioloop import PeriodicCallback
from tornado.netutil import bind_sockets, bind_unix_socket
from tornado.web import HTTPError

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

#: Seconds that kernels have to end by themselves when the server is stopped.
_FAREWELL: Final = 0.6
#: Milliseconds between looks at whether the owner lives.
_OWNER_LOOK: Final = 500


class OwnKernelManager(HookedKernelManager, AsyncIOLoopKernelManager):
    """A kernel of the server, set up like the local ones, and ended with all that it started."""

    #: What befalls a kernel that dies: nothing more, or that it is started anew.
    ends: tuple[str, ...] = ("dead",)

    def extra_arguments(self) -> list[str]:
        """The same socket path when it is started again: the connection file stays."""
        file = Path(self.connection_file)
        return arrange_ipykernel(self, file.with_name(file.stem.removeprefix("kernel-")[:8]))

    def kernel_log(self) -> Path:
        """Return the kernel's file in the server's private directory."""
        return self._notes.kernel_log(self.kernel_id)

    def launch_failed(self, error: OSError) -> HTTPError:
        """Report what is wrong to the client."""
        return HTTPError(500, f"Kernel {self.kernel_name} cannot be started: {error}. Check its kernel.json.")

    def kernel_started(self) -> None:
        """Note its process group, and watch for its death."""
        self._group = getattr(self.provisioner, "pgid", None)
        if self._group:
            self._processes.watch(self._group)
            self._notes.write_group(self._group)
        for end in self.ends:
            self.remove_restart_callback(self._take_death, end)  # is there when it is started again
            self.add_restart_callback(self._take_death, end)

    def kernel_environment(self) -> Mapping[str, str]:
        """Mark what the kernel starts."""
        return self._processes.environment

    def kernel_stopping(self) -> None:
        """Find what its code has started, before its parents are gone."""
        self._processes.look()

    def kernel_stopped(self) -> None:
        """End what its code has started and left."""
        self.end_group()

    def connect_iopub(self, identity: bytes | None = None) -> Any:  # noqa: ANN401  (jupyter_client's)
        """A stream of what the kernel publishes, which a message that is none does not bring to a standstill."""
        stream = super().connect_iopub(identity)
        listen = stream.on_recv
        stream.on_recv = lambda callback, copy=True: listen(callback and self._carefully(callback), copy)
        return stream

    def _carefully(self, callback: Callable[[list[Any]], Any]) -> Callable[[list[Any]], None]:
        def take(message: list[Any]) -> None:
            try:
                callback(message)
            except Exception as exc:  # noqa: BLE001  (whatever the code of a kernel has sent)
                self.log.warning("a message of kernel %s cannot be read: %s", self.kernel_id, exc)

        return take

    def _take_death(self) -> None:
        process = getattr(self.provisioner, "process", None)
        end = describe_end(process.returncode if process else None, self.kernel_log())
        self._notes.write_end(self.kernel_id, end)
        self.log.warning("%s", end_line(self.kernel_id, end))
        self.end_group()

    def end_group(self) -> None:
        """End the kernel, if it is not over, and what its code has started and left."""
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
    """What a server process is told.

    Args:
        ip: The address to listen on.
        port: The port, 0 for a free one.
        socket: The path of a unix socket to listen on in place of a port.
        log_level: The name of a level.
        owner: The process without which it ends; 0 for none.
        root: The directory that clients call the root of the files.
        notes: Its private directory.
    """

    ip: str
    port: int
    socket: Path | None
    log_level: str
    owner: int
    root: Path
    notes: ServerNotes

    def sockets(self) -> list[Socket]:
        """Listen; the program ends where that cannot be had."""
        if self.socket is not None:
            return [bind_unix_socket(str(self.socket))]
        try:
            return bind_sockets(self.port, self.ip)
        except OSError as exc:
            sys.exit(f"Port {self.port} of {self.ip} cannot be used: {exc.strerror or exc}.")

    def look_for_owner(self, stop: Callable[[], None], log: logging.Logger) -> None:
        """Stop when the owner has ended."""

        def look() -> None:
            if os.getppid() != self.owner:
                log.warning("process %s, to which this server belongs, has ended", self.owner)
                stop()

        if self.owner:
            PeriodicCallback(look, _OWNER_LOOK).start()


async def end_kernels(manager: MultiKernelManager) -> None:
    """End the kernels of a server all at once, and then by force."""
    kernels = [cast("OwnKernelManager", manager.get_kernel(name)) for name in manager.list_kernel_ids()]
    for kernel in kernels:
        kernel.shutdown_wait_time = _FAREWELL
    ends = asyncio.gather(*(kernel.shutdown_kernel() for kernel in kernels), return_exceptions=True)
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(ends, 2 * _FAREWELL)
    for kernel in kernels:
        kernel.end_group()


def prepare(description: str) -> Hosting:
    """What the command line says; and the process, made ready for a server.

    Args:
        description: What the program is, for its `--help`.
    """
    options = _options(description)
    # That our kernel manager is none of jupyter_server's: that of Kernel Gateway never was.
    warnings.filterwarnings("ignore", "KernelManager class", FutureWarning)
    options.notes.mkdir(exist_ok=True)
    os.environ["JUPYTER_RUNTIME_DIR"] = str(options.notes)
    if os.environ.get("PIP_USER") == "1":  # a directory that Python does not find when it starts it never looks into
        Path(site.getusersitepackages()).mkdir(parents=True, exist_ok=True)
    return Hosting(**{**vars(options), "notes": ServerNotes(options.notes)})


def _options(description: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--ip", default="127.0.0.1", help="the address to listen on")
    parser.add_argument("--port", type=int, default=0, help="the port, 0 for a free one")
    parser.add_argument("--socket", type=Path, help="a unix socket to listen on in place of a port")
    parser.add_argument("--log-level", default="INFO", help="the name of a level")
    parser.add_argument("--owner", type=int, default=0, help="the process without which it ends")
    parser.add_argument("--root", type=Path, default=Path("/"), help="what clients call the root of the files")
    parser.add_argument("--notes", type=Path, required=True, help="a private directory for its notes")
    return parser.parse_args()
