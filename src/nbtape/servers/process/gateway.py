"""The server process: a Jupyter Kernel Gateway that reports its port and stops with its owner.

`LocalJupyterServer()` runs it with `python -m nbtape.servers.process.gateway`. `--help` lists
the options. The token is passed in the environment variable KG_AUTH_TOKEN, which kernels do not inherit.
"""

from __future__ import annotations

import sys
from typing import Any, Final

if __name__ == "__main__":
    # Importing it takes a second. jsonschema uses it only to check IRIs, which do not occur here.
    sys.modules["rfc3987_syntax"] = None  # type: ignore[assignment]

from kernel_gateway.gatewayapp import KernelGatewayApp  # type: ignore[import-untyped]
from kernel_gateway.services.kernels.manager import KernelGatewayIOLoopKernelManager  # type: ignore[import-untyped]
from tornado.httpserver import HTTPServer
from traitlets import default
from traitlets.config import Config

from nbtape.servers.process.base import Hosting, OwnKernelManager, end_kernels, prepare
from nbtape.servers.process.compat_jupyter_server import KeepingChannels

#: The module name, for traitlets, which takes classes by name.
_HERE: Final = "nbtape.servers.process.gateway"


class GatewayKernelManager(OwnKernelManager, KernelGatewayIOLoopKernelManager):  # type: ignore[misc]  # untyped
    """A kernel of the gateway."""


class Gateway(KernelGatewayApp):  # type: ignore[misc]  # untyped
    """The gateway."""

    def __init__(self, hosting: Hosting, **traits: Any) -> None:  # noqa: ANN401  (traitlets')
        super().__init__(**traits)
        self._hosting = hosting

    @default("auth_token")
    def _own_token(self) -> str:
        return self._hosting.token

    def migrate_config(self) -> None:
        """Do not migrate the user's configuration, which does not apply to this server."""

    def load_config_file(self, suppress_errors: bool = True) -> None:  # noqa: FBT001, FBT002  (jupyter_core's)
        """Read no configuration, see above."""

    def init_http_server(self) -> None:
        """Listen on the requested port or a free one, and nowhere else."""
        self.http_server = HTTPServer(self.web_app)
        sockets = self._hosting.sockets()
        if self._hosting.socket is None:
            self.port: int = sockets[0].getsockname()[1]
        self.http_server.add_sockets(sockets)

    def start_app(self) -> None:
        """Report the port once requests are answered."""
        super().start_app()
        self._hosting.watch_owner(self.stop, self.log)
        self.io_loop.add_callback(lambda: self._hosting.notes.write_port(self.port))

    async def _stop(self) -> None:
        """Stop the kernels; the rest stops with the process."""
        await end_kernels(self.kernel_manager)
        self.io_loop.stop()


def main() -> None:
    """Run the gateway until it is stopped."""
    hosting = prepare("A Jupyter Kernel Gateway for nbtape; its token is in KG_AUTH_TOKEN.")
    settings = {
        "Gateway": {
            "ip": hosting.ip,
            "port": hosting.port,
            "log_level": hosting.log_level,
            "kernel_websocket_connection_class": KeepingChannels,
        },
        "JupyterWebsocketPersonality": {"list_kernels": True},
        "ZMQChannelsWebsocketConnection": {"limit_rate": False},
        "SeedingMappingKernelManager": {
            "root_dir": str(hosting.root),
            "kernel_manager_class": f"{_HERE}.GatewayKernelManager",
        },
        # Check kernels twice a second, but do not restart them: the client replaces them and reports that.
        "KernelRestarter": {"time_to_dead": 0.5, "restart_limit": 0},
    }
    gateway = Gateway(hosting, config=Config(settings))
    gateway.initialize([])
    gateway.start()


if __name__ == "__main__":
    main()
