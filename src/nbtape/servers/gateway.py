"""The server process: a Kernel Gateway that reports its port, lives no longer than its owner, and ends quickly.

`python -m nbtape.servers.gateway IP PORT LOG_LEVEL OWNER READY` is what `LocalJupyterServer` runs: an address, the port
or 0 for a free one, the name of a log level, the process it belongs to, and the file in which it tells its port when it
answers. The token comes in the environment (KG_AUTH_TOKEN).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any, Final

from kernel_gateway.gatewayapp import KernelGatewayApp  # type: ignore[import-untyped]
from kernel_gateway.services.kernels.manager import KernelGatewayIOLoopKernelManager  # type: ignore[import-untyped]
from tornado.httpserver import HTTPServer
from tornado.ioloop import PeriodicCallback
from tornado.netutil import bind_sockets
from traitlets.config import Config

from nbtape.kernels.local import arrange_ipykernel

#: Seconds that kernels have to end by themselves when the server is stopped.
_FAREWELL: Final = 0.7
#: Milliseconds between looks at whether the owner lives.
_OWNER_LOOK: Final = 500


class GatewayKernelManager(KernelGatewayIOLoopKernelManager):  # type: ignore[misc]  # untyped
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
        self.add_restart_callback(self._end_group, "dead")

    post_start_kernel = _async_post_start_kernel

    async def _async_cleanup_resources(self, restart: bool = False) -> None:  # noqa: FBT001, FBT002  (jupyter_client's)
        self._end_group()
        await super()._async_cleanup_resources(restart=restart)

    cleanup_resources = _async_cleanup_resources

    def _end_group(self) -> None:
        """End what the kernel's code has started and left."""
        group = getattr(self.provisioner, "pgid", None)
        if group:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(group, signal.SIGKILL)


class Gateway(KernelGatewayApp):  # type: ignore[misc]  # untyped
    """The gateway.

    Args:
        owner: The process without which it ends.
        ready: The file in which it tells its port when it answers.
    """

    def __init__(self, owner: int, ready: Path, **traits: Any) -> None:  # noqa: ANN401  (traitlets')
        super().__init__(**traits)
        self._owner = owner
        self._ready = ready

    def init_http_server(self) -> None:
        """Listen on the port that was asked for, or on a free one, and on no other."""
        try:
            sockets = bind_sockets(int(self.port), str(self.ip))
        except OSError as exc:
            sys.exit(f"Port {self.port} of {self.ip} cannot be used: {exc.strerror or exc}.")
        self.port: int = sockets[0].getsockname()[1]
        self.http_server = HTTPServer(self.web_app)
        self.http_server.add_sockets(sockets)

    def start_app(self) -> None:
        """Say so when requests are answered."""
        super().start_app()
        PeriodicCallback(self._look_for_owner, _OWNER_LOOK).start()
        self.io_loop.add_callback(self._tell_ready)

    def _tell_ready(self) -> None:
        draft = self._ready.with_suffix(".draft")
        draft.write_text(json.dumps({"port": self.port}))
        draft.replace(self._ready)

    def _look_for_owner(self) -> None:
        if os.getppid() != self._owner:
            self.log.warning("process %s, to which this server belongs, has ended", self._owner)
            self.stop()

    async def _stop(self) -> None:
        try:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.kernel_manager.shutdown_all(), _FAREWELL)
            await self.kernel_manager.shutdown_all(now=True)
        except Exception:
            self.log.exception("a kernel could not be ended")
        await super()._stop()


def main(ip: str, port: str, log_level: str, owner: str, ready: str) -> None:
    """Run the gateway until it is told to end."""
    settings = {
        "Gateway": {"ip": ip, "port": int(port), "log_level": log_level},
        "JupyterWebsocketPersonality": {"list_kernels": True},
        "ZMQChannelsWebsocketConnection": {"limit_rate": False},
        "SeedingMappingKernelManager": {
            "root_dir": "/",
            "kernel_manager_class": "nbtape.servers.gateway.GatewayKernelManager",  # traitlets wants a name
        },
        # Looks twice a second whether its kernels live, and starts none of them anew: that is for us to do, and to say.
        "KernelRestarter": {"time_to_dead": 0.5, "restart_limit": 0},
    }
    gateway = Gateway(int(owner), Path(ready), config=Config(settings))
    gateway.initialize([])
    gateway.start()


if __name__ == "__main__":
    main(*sys.argv[1:])
