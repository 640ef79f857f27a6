"""The server process: a Kernel Gateway that reports its port, lives no longer than its owner, and ends quickly.

`python -m nbtape.servers.gateway` is what `LocalJupyterServer` runs, and the image of `DockerJupyterServer`; `--help`
says how. The token comes in the environment (KG_AUTH_TOKEN).
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import site
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if __name__ == "__main__":
    # To import it takes a second. jsonschema would check IRIs with it, and does without; there are none here.
    sys.modules["rfc3987_syntax"] = None  # type: ignore[assignment]

from jupyter_server.services.kernels.connection.channels import ZMQChannelsWebsocketConnection
from kernel_gateway.gatewayapp import KernelGatewayApp  # type: ignore[import-untyped]
from kernel_gateway.services.kernels.manager import KernelGatewayIOLoopKernelManager  # type: ignore[import-untyped]
from tornado.httpserver import HTTPServer
from tornado.ioloop import PeriodicCallback
from tornado.netutil import bind_sockets, bind_unix_socket
from tornado.web import HTTPError
from tornado.websocket import WebSocketClosedError
from traitlets.config import Config

from nbtape.kernels.groups import end_group
from nbtape.kernels.local import EndNoticed, arrange_ipykernel, describe_end
from nbtape.servers.notes import ServerNotes, end_line

if TYPE_CHECKING:
    from collections.abc import Callable

#: For traitlets, which takes classes by name.
_HERE: Final = "nbtape.servers.gateway"
#: Seconds that kernels have to end by themselves when the server is stopped.
_FAREWELL: Final = 0.6
#: Milliseconds between looks at whether the owner lives.
_OWNER_LOOK: Final = 500


class GatewayKernelManager(EndNoticed, KernelGatewayIOLoopKernelManager):  # type: ignore[misc]  # untyped
    """A kernel of the gateway, set up like the local ones, and ended with all that it started."""

    async def _async_pre_start_kernel(self, **options: Any) -> Any:  # noqa: ANN401  (jupyter_client's)
        # The same path when it is started again: the connection file stays.
        file = Path(self.connection_file)
        socket = file.with_name(file.stem.removeprefix("kernel-")[:8])
        options["extra_arguments"] = arrange_ipykernel(self, socket)
        return await super()._async_pre_start_kernel(**options)

    pre_start_kernel = _async_pre_start_kernel

    async def _async_post_start_kernel(self, **options: Any) -> None:  # noqa: ANN401  (jupyter_client's)
        await super()._async_post_start_kernel(**options)
        self._group = getattr(self.provisioner, "pgid", None)
        if self._group:
            self._notes.write_group(self._group)
        self.add_restart_callback(self._take_death, "dead")

    post_start_kernel = _async_post_start_kernel

    async def _async_launch_kernel(self, kernel_cmd: list[str], **options: Any) -> None:  # noqa: ANN401  (jupyter_client's)
        try:
            with self._notes.kernel_log(self.kernel_id).open("wb") as log:
                await super()._async_launch_kernel(kernel_cmd, **{**options, "stdout": log, "stderr": log})
        except OSError as exc:
            raise HTTPError(500, f"Kernel {self.kernel_name} cannot be started: {exc}. Check its kernel.json.") from exc

    _launch_kernel = _async_launch_kernel

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
        end = describe_end(process.returncode if process else None, self._notes.kernel_log(self.kernel_id))
        self._notes.write_end(self.kernel_id, end)
        self.log.warning("%s", end_line(self.kernel_id, end))
        self.end_group()

    async def _async_cleanup_resources(self, restart: bool = False) -> None:  # noqa: FBT001, FBT002  (jupyter_client's)
        self.end_group()
        await super()._async_cleanup_resources(restart=restart)

    cleanup_resources = _async_cleanup_resources

    def end_group(self) -> None:
        """End the kernel, if it is not over, and what its code has started and left."""
        if self._group:
            end_group(self._group)
            self._notes.remove_group(self._group)
            self._group = None

    _group: int | None = None

    @property
    def _notes(self) -> ServerNotes:
        return ServerNotes(Path(self.connection_file).parent)


class GatewayChannels(ZMQChannelsWebsocketConnection):
    """A client's websocket that keeps for its return what comes just when it breaks, and is otherwise thrown away."""

    def __init__(self, **traits: Any) -> None:  # noqa: ANN401  (traitlets')
        super().__init__(**traits)
        self._unsent: list[tuple[str, list[Any]]] = []
        self._was_open = self._returns = False

    def connect(self) -> Any:  # noqa: ANN401  (jupyter_server's)
        self._was_open = True
        self._returns = self._kept is not None
        return super().connect()

    def nudge(self) -> asyncio.Future[None]:
        """Ask nothing of a kernel whose channels were kept: the question costs what first comes from it."""
        if not self._returns:
            return super().nudge()
        nothing: asyncio.Future[None] = asyncio.Future()
        nothing.set_result(None)
        return nothing

    def handle_incoming_message(self, incoming_msg: Any) -> None:  # noqa: ANN401  (jupyter_server's)
        """Leave out what still comes after the end: as the older protocol it can keep the server busy for long."""
        if self.websocket_handler.ws_connection is not None:
            super().handle_incoming_message(incoming_msg)

    def handle_outgoing_message(self, stream: Any, outgoing_msg: list[Any]) -> None:  # noqa: ANN401  (jupyter_server's)
        try:
            super().handle_outgoing_message(stream, outgoing_msg)
        except WebSocketClosedError:
            kept = self._unsent if self._kept is None else self._kept
            kept.append((stream.channel, outgoing_msg))

    def disconnect(self) -> None:  # type: ignore[override]  # as its base does
        if not self._was_open:  # jupyter_server would count one connection less, and throw away what it has kept
            if self._open_sessions.get(self.session_key) is self.websocket_handler:
                del self._open_sessions[self.session_key]
            return
        super().disconnect()  # type: ignore[no-untyped-call]
        if self._kept is not None:
            self._kept[:0] = self._unsent
            self._unsent = []

    @property
    def _kept(self) -> list[tuple[str, list[Any]]] | None:
        """What the server keeps for our client's return; None while it keeps nothing."""
        kept = self.multi_kernel_manager._kernel_buffers.get(self.kernel_id)  # noqa: SLF001  (there is no other way)
        return kept["buffer"] if kept and kept["session_key"] == self.session_key else None


class Gateway(KernelGatewayApp):  # type: ignore[misc]  # untyped
    """The gateway.

    Args:
        owner: The process without which it ends; 0 for none.
        notes: Where it tells its port when it answers.
        socket: The path of a unix socket to listen on in place of a port.
    """

    def __init__(self, owner: int, notes: ServerNotes, socket: Path | None, **traits: Any) -> None:  # noqa: ANN401  (traitlets')
        super().__init__(**traits)
        self._owner = owner
        self._notes = notes
        self._socket = socket

    def migrate_config(self) -> None:
        """Leave the user's configuration as it is, and unread: like a kernel without a server."""

    def load_config_file(self, suppress_errors: bool = True) -> None:  # noqa: FBT001, FBT002  (jupyter_core's)
        """Read none, see above."""

    def init_http_server(self) -> None:
        """Listen where we are asked to, or on a free port, and nowhere else."""
        self.http_server = HTTPServer(self.web_app)
        if self._socket is not None:
            self.http_server.add_socket(bind_unix_socket(str(self._socket)))
            return
        try:
            sockets = bind_sockets(int(self.port), str(self.ip))
        except OSError as exc:
            sys.exit(f"Port {self.port} of {self.ip} cannot be used: {exc.strerror or exc}.")
        self.port: int = sockets[0].getsockname()[1]
        self.http_server.add_sockets(sockets)

    def start_app(self) -> None:
        """Say so when requests are answered."""
        super().start_app()
        if self._owner:
            PeriodicCallback(self._look_for_owner, _OWNER_LOOK).start()
        self.io_loop.add_callback(lambda: self._notes.write_port(self.port))

    def _look_for_owner(self) -> None:
        if os.getppid() != self._owner:
            self.log.warning("process %s, to which this server belongs, has ended", self._owner)
            self.stop()

    async def _stop(self) -> None:
        """End the kernels all at once, and then by force; websockets and the rest end with us."""
        kernels = [self.kernel_manager.get_kernel(name) for name in self.kernel_manager.list_kernel_ids()]
        for kernel in kernels:
            kernel.shutdown_wait_time = _FAREWELL
        ends = asyncio.gather(*(kernel.shutdown_kernel() for kernel in kernels), return_exceptions=True)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(ends, 2 * _FAREWELL)
        for kernel in kernels:
            kernel.end_group()
        self.io_loop.stop()


def main() -> None:
    """Run the gateway until it is told to end."""
    options = _options()
    # That our kernel manager is none of jupyter_server's: it is Kernel Gateway's, which never was.
    warnings.filterwarnings("ignore", "KernelManager class", FutureWarning)
    options.notes.mkdir(exist_ok=True)
    os.environ["JUPYTER_RUNTIME_DIR"] = str(options.notes)
    if os.environ.get("PIP_USER") == "1":  # a directory that Python does not find when it starts it never looks into
        Path(site.getusersitepackages()).mkdir(parents=True, exist_ok=True)
    settings = {
        "Gateway": {
            "ip": options.ip,
            "port": options.port,
            "log_level": options.log_level,
            "kernel_websocket_connection_class": f"{_HERE}.GatewayChannels",
        },
        "JupyterWebsocketPersonality": {"list_kernels": True},
        "ZMQChannelsWebsocketConnection": {"limit_rate": False},
        "SeedingMappingKernelManager": {
            "root_dir": str(options.root),
            "kernel_manager_class": f"{_HERE}.GatewayKernelManager",
        },
        # Looks twice a second whether its kernels live, and starts none of them anew: that is for us to do, and to say.
        "KernelRestarter": {"time_to_dead": 0.5, "restart_limit": 0},
    }
    gateway = Gateway(options.owner, ServerNotes(options.notes), options.socket, config=Config(settings))
    gateway.initialize([])
    gateway.start()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="A Jupyter Kernel Gateway for nbtape; its token is in KG_AUTH_TOKEN.")
    parser.add_argument("--ip", default="127.0.0.1", help="the address to listen on")
    parser.add_argument("--port", type=int, default=0, help="the port, 0 for a free one")
    parser.add_argument("--socket", type=Path, help="a unix socket to listen on in place of a port")
    parser.add_argument("--log-level", default="INFO", help="the name of a level")
    parser.add_argument("--owner", type=int, default=0, help="the process without which it ends")
    parser.add_argument("--root", type=Path, default=Path("/"), help="what clients call the root of the files")
    parser.add_argument("--notes", type=Path, required=True, help="a private directory for its notes")
    return parser.parse_args()


if __name__ == "__main__":
    main()
