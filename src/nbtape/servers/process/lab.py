"""The server process: a JupyterLab that reports its port and stops with its owner.

`LocalJupyterServer(lab=True)` runs it with `python -m nbtape.servers.process.lab`. `--help` lists
the options. The token is passed in the environment variable KG_AUTH_TOKEN, which kernels do not inherit.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Final, cast

if __name__ == "__main__":
    # As in gateway.py.
    sys.modules["rfc3987_syntax"] = None  # type: ignore[assignment]

from jupyter_server.auth.identity import PasswordIdentityProvider
from jupyter_server.serverapp import ServerApp
from jupyter_server.services.kernels.kernelmanager import ServerKernelManager
from jupyterlab.labapp import LabApp  # type: ignore[import-untyped]
from traitlets import default
from traitlets.config import Config

from nbtape.servers.process.base import Hosting, OwnKernelManager, end_kernels, prepare
from nbtape.servers.process.compat_jupyter_server import KeepingChannels, OwnSockets

if TYPE_CHECKING:
    from collections.abc import Sequence
    from socket import socket as Socket  # noqa: N812  (as in base.py)

    from jupyter_server.auth.identity import User
    from tornado.web import RequestHandler

#: The module name, for traitlets, which takes classes by name.
_HERE: Final = "nbtape.servers.process.lab"


class LabKernelManager(OwnKernelManager, ServerKernelManager):
    """A kernel of the server, restarted if it dies, because people may have it open."""

    ends = ("restart", "dead")


class Doorman(PasswordIdentityProvider):
    """Accepts the token, and each link made by the owner once."""

    @default("token")
    def _own_token(self) -> str:
        """Return the token. It is not in the settings, because those are logged."""
        return cast("LabServer", self.parent).hosting.token

    async def get_user_token(self, handler: RequestHandler) -> User | None:
        """Return the user of a request; a link works as a login."""
        user = await super().get_user_token(handler)
        notes = cast("LabServer", self.parent).hosting.notes
        if user is None and notes.take_login(handler.get_query_argument("token", "")):
            return self.generate_anonymous_user(handler)
        return user


class Pages(LabApp):  # type: ignore[misc]  # untyped
    """JupyterLab with the user's settings for JupyterLab, but without settings for servers."""

    def load_config_file(self, suppress_errors: bool = True) -> None:  # noqa: FBT001, FBT002  (jupyter_core's)
        """Read no configuration: it is meant for other servers and may give other people access."""


def _jupyter_server_extension_points() -> list[dict[str, Any]]:
    return [{"module": _HERE, "app": Pages}]


class LabServer(OwnSockets, ServerApp):
    """The server."""

    def __init__(self, hosting: Hosting, **traits: Any) -> None:  # noqa: ANN401  (traitlets')
        super().__init__(**traits)
        self.hosting = hosting

    def migrate_config(self) -> None:
        """Do not migrate the user's configuration."""

    def load_config_file(self, suppress_errors: bool = True) -> None:  # type: ignore[override]  # noqa: FBT001, FBT002  (jupyter_core's)
        """Read no configuration, see above."""

    def open_sockets(self) -> Sequence[Socket]:
        """Listen on the requested port or a free one, and nowhere else."""
        return self.hosting.sockets()

    def answering(self) -> None:
        """Report the port."""
        self.hosting.watch_owner(self.stop, self.log)
        self.hosting.notes.write_port(self.port)

    async def stop_kernels(self) -> None:
        """Stop the kernels; the rest stops with the process."""
        await end_kernels(self.kernel_manager)


def main() -> None:
    """Run the server until it is stopped."""
    hosting = prepare("A JupyterLab for nbtape; its token is in KG_AUTH_TOKEN.")
    settings = {
        "LabServer": {
            "ip": hosting.ip,
            "port": hosting.port,
            "log_level": hosting.log_level,
            "root_dir": str(hosting.root),
            "allow_root": True,
            "open_browser": False,
            "quit_button": False,
            "jpserver_extensions": {_HERE: True},
            "identity_provider_class": f"{_HERE}.Doorman",
            "kernel_websocket_connection_class": KeepingChannels,
        },
        "Doorman": {"allow_password_change": False},  # it would change the password of all the user's servers
        # Do not reopen documents that were open on another server.
        "Pages": {"workspaces_dir": str(hosting.notes.directory / "workspaces")},
        "ZMQChannelsWebsocketConnection": {"limit_rate": False},
        "AsyncMappingKernelManager": {"kernel_manager_class": f"{_HERE}.LabKernelManager"},
        "KernelRestarter": {"time_to_dead": 0.5},
    }
    server = LabServer.instance(hosting, config=Config(settings), no_browser_open_file=True)
    server.initialize([], find_extensions=False)
    server.start()


if __name__ == "__main__":
    main()
