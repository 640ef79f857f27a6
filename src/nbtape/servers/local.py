"""`LocalJupyterServer`: a local Jupyter server that stops with this process."""

from __future__ import annotations

import dataclasses
import importlib.util
import ipaddress
import logging
import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

from nbtape.common.argument_checks import check_positive, path_argument
from nbtape.common.finalizers import when_forgotten
from nbtape.common.http_access import check_token, make_token
from nbtape.common.lifecycle import OwnServer
from nbtape.common.own_tokens import without_own_tokens
from nbtape.common.text import it_last_said, tail
from nbtape.errors import ServerError
from nbtape.kernels.leftovers import Leftovers
from nbtape.kernels.processes import is_running, kill_groups, make_private_directory, unblocking_sigint
from nbtape.kernels.remote.connection import JupyterConnectionInfo
from nbtape.kernels.remote.jupyter_server import JupyterServer
from nbtape.kernels.uncopied import Uncopied
from nbtape.servers.process.status_files import ServerNotes

if TYPE_CHECKING:
    import weakref

logger = logging.getLogger(__name__)

_SHUTDOWN_TIMEOUT_SECONDS: Final = 1.6
_START_POLL_SECONDS: Final = 0.01

_LOG_LEVELS: Final = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")


@dataclasses.dataclass(frozen=True)
class _Program:
    """The program that a server process runs."""

    module: str
    name: str
    required_package: str
    extra: str


_GATEWAY: Final = _Program("nbtape.servers.process.gateway", "The Jupyter Kernel Gateway", "kernel_gateway", "server")
_LAB: Final = _Program("nbtape.servers.process.lab", "JupyterLab", "jupyterlab", "lab")


class LocalJupyterServer(OwnServer, JupyterServer, Uncopied):
    """A local Jupyter Kernel Gateway or, with `lab`, a JupyterLab in which people can watch and run cells.

    It serves any number of executors, each with its own kernel. It starts with `start`, `with`, or the first executor
    that uses it. It stops with `stop`, at the end of `with`, and at the latest with this process, even if that is
    killed. Kernels run with your permissions on your files. Unlike kernels without a server, they can be used by other
    clients that have the token. It is not available on Windows, which cannot stop processes in this way; use kernels
    without a server there.

    Needs the package jupyter_kernel_gateway: `pip install 'nbtape[server]'`; with `lab`, jupyterlab:
    `pip install 'nbtape[lab]'`.

    Args:
        ip: The address to listen on. On any address except loopback, other hosts can try to guess the token.
        port: The port; None for a free one.
        token: The server's token; None for a random one. The server gets it in its environment.
        log_file: The file to append the server's log to; None for a file that is removed with the server.
        log_level: DEBUG, INFO, WARNING, ERROR or CRITICAL.
        startup_timeout: Seconds that the server may take to start.
        lab: Whether people can open the notebooks in JupyterLab, each on the kernel that records it.
            `JupyterCodeExecutor.url` is the address, and `login` makes links to it.
        root_dir: With `lab`, the directory that people see. All executors must record in or below it. None for the
            current directory.

    Raises:
        ValueError: An argument is invalid.
    """

    def __init__(  # noqa: PLR0913  (as AutoGen's, and more)
        self,
        ip: str = "127.0.0.1",
        port: int | None = None,
        token: str | None = None,
        log_file: Path | str | None = None,
        log_level: str = "INFO",
        *,
        startup_timeout: float = 30,
        lab: bool = False,
        root_dir: Path | str | None = None,
    ) -> None:
        check_token(token)
        check_positive("startup_timeout", startup_timeout)
        if root_dir is not None and not lab:
            raise ValueError("root_dir= needs lab=True. Set it, or leave out root_dir=.")
        if str(log_level).upper() not in _LOG_LEVELS:
            raise ValueError(f"{log_level!r} is not a log level. Set log_level= to one of {', '.join(_LOG_LEVELS)}.")
        root = _checked_root(root_dir) if lab else Path("/")
        # Also checks host, port and token.
        self._info = JupyterConnectionInfo(
            _reachable(ip), use_https=False, port=port, token=token or make_token(), local_root=root
        )
        self._program = _LAB if lab else _GATEWAY
        self.has_pages = lab
        self._ip, self._asked_port = ip, port or 0
        self._log_file = None if log_file is None else path_argument("log_file", log_file).absolute()
        self._log_level = str(log_level).upper()
        self._timeout = startup_timeout
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._started_in = 0  # the process that started it
        self._directory: Path | None = None
        self._leftovers = Leftovers()
        self._end: weakref.finalize[..., LocalJupyterServer] | None = None
        self._was_stopped = False

    def __repr__(self) -> str:
        state = self._info.url if self._process is not None and not self.cause_of_end() else "not running"
        return f"LocalJupyterServer({state})"

    @property
    def connection_info(self) -> JupyterConnectionInfo:
        """Address and token of the server. Starts it if it has not been started yet.

        Raises:
            ServerError: It cannot be started, was stopped, or has exited.
        """
        if cause := self.cause_of_end():
            raise ServerError(f"{cause} Call start() to start a new one.")
        self.start()
        return self._info

    @property
    def root_dir(self) -> Path | None:
        """The directory that people see in JupyterLab; None without JupyterLab."""
        return self._info.local_root if self.has_pages else None

    def for_directory(self, directory: Path) -> Self:
        """Return this server if its JupyterLab shows the directory of the session.

        Raises:
            ValueError: The directory is not in or below `root_dir`.
        """
        root = self.root_dir
        if root is not None and not directory.resolve().is_relative_to(root.resolve()):
            raise ValueError(
                f"{directory} is not in {root}, the root of this server's JupyterLab. Set root_dir= of "
                "LocalJupyterServer to a parent of both."
            )
        return self

    def common_directory(self) -> Path | None:
        """The directory that JupyterLab shows; None without JupyterLab."""
        return self.root_dir

    def login(self, url: str = "") -> str:
        """Return a link that logs in only the first person who opens it. Keep it secret until then.

        Args:
            url: The page to open, such as the `url` of an executor on this server; empty for JupyterLab's start page.

        Raises:
            ValueError: This server has no JupyterLab, or the URL is not one of its pages.
            ServerError: It cannot be started, was stopped, or has exited.
        """
        if not self.has_pages:
            raise ValueError("This server has no pages. Set lab=True.")
        first = self.connection_info.page
        if not (url := url or f"{first}lab").startswith(first):
            raise ValueError(f"{url} is not a page of the server at {first}. Pass the url of an executor that uses it.")
        assert self._directory is not None, "it has started"
        code = make_token()
        ServerNotes(self._directory).write_login(code)
        return f"{url}?token={code}"

    def start(self) -> None:
        """Start the server and return when it answers; does nothing if it is running. Replaces one that has exited.

        Raises:
            ServerError: It cannot be started.
        """
        with self._lock:
            if self._process is not None and self._exit_code() is None:
                return
            self._clean_up()
            self._was_stopped = False
            self._launch()

    def stop(self) -> None:
        """Stop the server and its kernels within two seconds; does nothing if it has stopped."""
        with self._lock:
            self._was_stopped = self._was_stopped or self._process is not None
            self._clean_up()

    def cause_of_end(self) -> str:
        """Why the server has exited, with the end of its log; empty if it is running or was not started."""
        if self._was_stopped:
            return f"The Jupyter server at {self._info.url} was stopped."
        if self._process is None or (code := self._exit_code()) is None:
            return ""
        return f"The Jupyter server at {self._info.url} exited with code {code}.{self._last_logs()}"

    def cause_of_death(self, kernel_id: str) -> str:
        """How a kernel exited, with the end of its log, or why the server did; empty if that is unknown."""
        cause = self.cause_of_end()
        if cause or self._directory is None:
            return cause
        return ServerNotes(self._directory).take_end(kernel_id)

    def description(self) -> dict[str, str]:
        """Empty: the server is local, and its port changes each time."""
        return {}

    def _exit_code(self) -> int | str | None:
        """The exit code of the process; None while it runs. A fork can use its parent's server, but not wait for it."""
        assert self._process is not None
        if self._started_in == os.getpid():
            return self._process.poll()
        return None if is_running(self._process.pid) else "unknown"

    def _launch(self) -> None:
        if sys.platform == "win32":
            raise ServerError("LocalJupyterServer does not run on Windows. Leave it out: local kernels need no server.")
        if importlib.util.find_spec(self._program.required_package) is None:
            raise ServerError(
                f"{self._program.name} is not installed. Run: pip install 'nbtape[{self._program.extra}]'"
            )
        self._directory = make_private_directory()
        arguments = {
            "ip": self._ip,
            "port": self._asked_port,
            "log-level": self._log_level,
            "owner": os.getpid(),
            "root": self._info.local_root,
            "notes": self._directory,
        }
        # Settings for other gateways do not apply to this one.
        inherited = without_own_tokens(os.environ)
        environment = {name: value for name, value in inherited.items() if not name.startswith("KG_")}
        environment |= self._leftovers.environment
        environment["KG_AUTH_TOKEN"] = str(self._info.token)
        try:
            with self._log_path.open("ab") as log:
                self._process = subprocess.Popen(  # noqa: S603  (our own module, our own arguments)
                    [
                        *(sys.executable, "-m", self._program.module),
                        *(f"--{name}={value}" for name, value in arguments.items()),
                    ],
                    env=environment,
                    cwd=self._directory,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,  # Ctrl-C in the terminal is for this process only
                    **unblocking_sigint(),
                )
        except OSError as exc:
            self._clean_up()
            raise ServerError(f"The Jupyter server cannot be started: {exc}.") from exc
        self._started_in = os.getpid()
        self._end = when_forgotten(self, _end, self._process, self._leftovers, str(self._directory))
        try:
            self._info = dataclasses.replace(self._info, port=self._wait(ServerNotes(self._directory)))
        except BaseException:
            self._clean_up()
            raise

    def _wait(self, notes: ServerNotes) -> int:
        """Return the port of the server once it answers; raise `ServerError` if it exits or takes too long."""
        assert self._process is not None
        deadline = time.monotonic() + self._timeout
        while (port := notes.port()) is None:
            if self._process.poll() is not None:
                raise ServerError(f"The Jupyter server could not be started.{self._last_logs()}")
            if time.monotonic() > deadline:
                raise ServerError(
                    f"The Jupyter server did not start within {self._timeout:g} s. Increase startup_timeout= on a slow "
                    f"machine.{self._last_logs()}"
                )
            time.sleep(_START_POLL_SECONDS)
        return port

    @property
    def _log_path(self) -> Path:
        assert self._directory is not None
        return self._log_file or self._directory / "server.log"

    def _last_logs(self) -> str:
        """The end of the server's log, as the end of a message."""
        return it_last_said(tail(self._log_path)) if self._directory is not None else ""

    def _clean_up(self) -> None:
        if self._end is not None:
            self._end()
        elif self._directory is not None:
            shutil.rmtree(self._directory, ignore_errors=True)
        self._process = self._directory = self._end = None


def _checked_root(directory: Path | str | None) -> Path:
    root = path_argument("root_dir", directory or ".").absolute()
    if not root.is_dir():
        raise ValueError(f"root_dir= is {root}, which is not a directory. Create it, or choose another one.")
    return root


def _end(process: subprocess.Popen[bytes], leftovers: Leftovers, directory: str) -> None:
    """Stop the server process: on `stop`, garbage collection, or exit."""
    leftovers.look()
    process.terminate()
    try:
        process.wait(_SHUTDOWN_TIMEOUT_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    kill_groups(ServerNotes(Path(directory)).groups())  # of kernels that survive a server that was killed
    leftovers.end()
    shutil.rmtree(directory, ignore_errors=True)


def _reachable(ip: str) -> str:
    """The address at which local clients reach a server that listens on `ip`."""
    try:
        address = ipaddress.ip_address(ip)
    except ValueError:
        return ip
    if not address.is_loopback:
        logger.warning("The Jupyter server on %s can be reached by anyone who has its token", ip)
    if address.is_unspecified:
        return "127.0.0.1" if address.version == 4 else "::1"  # noqa: PLR2004  (IP versions)
    return ip
