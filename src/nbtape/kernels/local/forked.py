"""Local kernels that are forked by a fork server, with the packages they need already imported.

Apart from how their process starts, they are ordinary local kernels. The fork server runs `fork_server.py`.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import socket
import subprocess
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final

from jupyter_client.provisioning.local_provisioner import LocalProvisioner

from nbtape.common.finalizers import when_forgotten
from nbtape.common.text import it_last_said
from nbtape.errors import KernelStartError
from nbtape.kernels.leftovers import MARK_CHARS, VARIABLE, with_outer
from nbtape.kernels.local.manager import LocalKernelManager, LocalKernels
from nbtape.kernels.processes import unblocking_sigint

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from nbtape.kernels.protocols import KernelManager

logger = logging.getLogger(__name__)

_PROGRAM: Final = Path(__file__).with_name("fork_server.py")

#: Modules that start an ipykernel when they are run with -m.
_LAUNCHERS: Final = frozenset({"ipykernel", "ipykernel_launcher"})

_FORK_TIMEOUT_SECONDS: Final = 10.0
_SHUTDOWN_TIMEOUT_SECONDS: Final = 2.0
_EXIT_POLL_SECONDS: Final = 0.005


class ForkedKernels(LocalKernels):
    """The local kernel specs, with kernels that are forked if that is possible and safe.

    The fork server starts with the first kernel, and is restarted if it has exited.

    Args:
        kernel_name: The name of the kernel spec.
        preload: The modules that the fork server imports.
        timeout: Seconds that these imports may take.
        must: Whether it is an error if a kernel cannot be forked. If not, it starts like any other local kernel.
    """

    def __init__(self, kernel_name: str, preload: Sequence[str], timeout: float, *, must: bool) -> None:
        super().__init__(kernel_name)
        self._preload = tuple(preload)
        self._timeout = timeout
        self._must = must
        self._lock = threading.Lock()
        self._running: _ForkServer | None = None
        self._starting: _ForkServer | None = None
        self._is_closed = False
        self._is_unsafe = False

    def manager(self) -> KernelManager:
        """Return a manager for one new kernel."""
        self._is_closed = False
        manager = LocalKernelManager(kernel_name=self._name, kernel_spec_manager=self._specs)
        manager.provisioner = _ForkProvisioner(self, kernel_spec=manager.kernel_spec, parent=manager)
        return manager

    def close(self) -> None:
        """Stop forking until `manager` is called again. The fork server exits with the last of its kernels."""
        self._is_closed = True
        if (starting := self._starting) is not None:
            starting.kill()
        with self._lock:
            self._running = None

    def fork(self, command: Sequence[str], *, env: Mapping[str, str], cwd: str, log: IO[bytes]) -> ForkedProcess | None:
        """Fork a process that acts as the kernel spec's command; None if that is impossible or unsafe.

        Raises:
            KernelStartError: A module cannot be imported, or a kernel that must be forked cannot be.
        """
        interpreter, arguments = _split(command)
        if not interpreter:
            self._refuse("the command in its kernel.json is not python -m ipykernel_launcher …")
        for _ in range(2):  # the fork server may have exited just before the request
            server = self._ready_server(interpreter, _unmarked(env))
            if server is None:
                return None
            try:
                return server.fork({"arguments": arguments, "cwd": cwd, "env": dict(env)}, log)
            except (OSError, EOFError) as exc:
                logger.warning("The fork server does not answer and is replaced: %s", exc)
                logs = server.logs()
                self._discard(server)
        raise KernelStartError(f"The fork server keeps crashing: no kernel could be forked.{logs}")

    def _ready_server(self, interpreter: Sequence[str], env: Mapping[str, str]) -> _ForkServer | None:
        """Return a fork server that has imported everything; None if forking is not safe."""
        with self._lock:
            if self._is_unsafe:
                return None
            if self._running is not None:
                if self._running.is_alive():
                    return self._running
                logger.warning("The fork server and its kernels have exited; starting another fork server")
            self._starting = server = _ForkServer([*interpreter, str(_PROGRAM), str(os.getpid()), *self._preload], env)
            if self._is_closed:
                server.kill()  # `close` may have come before `_starting` was set
            try:
                reported = server.wait(self._timeout)
            except BaseException:
                server.end()
                raise
            finally:
                self._starting = None
            if unsafe := reported.get("unsafe"):
                self._refuse(f"{unsafe} after the import of {', '.join(self._preload)}")
                return None
            self._running = server
            return server

    def _discard(self, server: _ForkServer) -> None:
        with self._lock:
            if self._running is server:
                self._running = None
        server.end()

    def _refuse(self, reason: str) -> None:
        if self._must:
            raise KernelStartError(f"Kernels cannot be forked: {reason}. Leave out fork=True to start them instead.")
        self._is_unsafe = True
        logger.warning("Kernels are started, not forked: %s", reason)


class _ForkProvisioner(LocalProvisioner):
    """jupyter_client's provisioner, except that the process is forked."""

    def __init__(self, kernels: ForkedKernels, **traits: Any) -> None:  # noqa: ANN401  (jupyter_client's traits)
        super().__init__(**traits)
        self._kernels = kernels

    async def launch_kernel(self, cmd: list[str], **kwargs: Any) -> Any:  # noqa: ANN401  (jupyter_client's)
        process = await asyncio.to_thread(
            self._kernels.fork, cmd, env=kwargs["env"], cwd=kwargs["cwd"], log=kwargs["stdout"]
        )
        if process is None:
            return await super().launch_kernel(cmd, **kwargs)
        self.process, self.pid, self.pgid = process, process.pid, process.pid  # type: ignore[assignment]
        return self.connection_info


class _ForkServer:
    """One process that forks kernels. It runs as long as this object or one of its kernels."""

    def __init__(self, command: Sequence[str], env: Mapping[str, str]) -> None:
        self._lock = threading.Lock()
        self._control, theirs = socket.socketpair()
        self._log = tempfile.TemporaryFile()  # noqa: SIM115  (open as long as this object lives)
        try:
            with theirs:
                self._process = _launch(command, env, theirs, self._log)
        except BaseException:
            self._control.close()
            self._log.close()
            raise
        self._end = when_forgotten(self, _end_server, self._process, self._control, self._log)
        self._end.atexit = False  # it exits with this process anyway, and its kernels may still run exit handlers
        self._control.sendall(b"!")

    def is_alive(self) -> bool:
        return self._process.poll() is None

    def wait(self, timeout: float) -> dict[str, str]:
        """Wait for the imports; return the reason why forking is not safe under `unsafe`, or an empty dictionary.

        Raises:
            KernelStartError: The imports failed or took more than `timeout` seconds.
        """
        try:
            reported: dict[str, str] = _read_line(self._control, time.monotonic() + timeout)
        except TimeoutError:
            raise KernelStartError(
                f"The modules in preload= were not imported within {timeout:g} s. Increase startup_timeout=, or "
                f"preload fewer modules.{self.logs()}"
            ) from None
        except (EOFError, OSError):
            raise KernelStartError(
                f"The fork server exited while importing the modules in preload=.{self.logs()}"
            ) from None
        if failed := reported.get("failed"):
            raise KernelStartError(
                f"{failed}. Install it in the environment of the kernel, or remove it from preload=."
            )
        return reported

    def fork(self, request: Mapping[str, Any], log: IO[bytes]) -> ForkedProcess:
        """Fork a kernel.

        Raises:
            KernelStartError: The system refuses to fork.
            OSError, EOFError: The fork server cannot be reached, or has exited.
        """
        ours, theirs = socket.socketpair()
        try:
            with theirs, self._lock:
                socket.send_fds(self._control, [b"+"], [theirs.fileno(), log.fileno()])
            ours.settimeout(_FORK_TIMEOUT_SECONDS)
            ours.sendall(f"{json.dumps(request)}\n".encode())
            reported = _read_line(ours, time.monotonic() + _FORK_TIMEOUT_SECONDS)
        except BaseException:
            ours.close()
            raise
        if failed := reported.get("failed"):
            ours.close()
            raise KernelStartError(f"No kernel could be forked: {failed}. Check the system's limits and try again.")
        return ForkedProcess(int(reported["pid"]), ours, self)

    def kill(self) -> None:
        """Kill it together with its kernels."""
        self._process.kill()

    def end(self) -> None:
        """Kill it and close its files."""
        self.kill()
        self._end()

    def logs(self) -> str:
        """The end of its log, as the end of an error message; empty if another thread has called `end`."""
        with suppress(ValueError):
            self._log.seek(0)
            return it_last_said(self._log.read().decode(errors="replace"))
        return ""


class ForkedProcess:
    """Like `subprocess.Popen`, for a forked process. It is killed when this object is garbage-collected.

    The fork server reports its exit on `connection`.
    """

    stdin = stdout = stderr = None

    def __init__(self, pid: int, connection: socket.socket, server: _ForkServer) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._connection = connection
        self._server: _ForkServer | None = server
        self._lock = threading.Lock()
        self._close = when_forgotten(self, connection.close)
        self._close.atexit = False  # as for the fork server

    def poll(self) -> int | None:
        """Return the exit code, negative for a signal; None while it runs."""
        with self._lock:
            if self.returncode is None:
                with suppress(TimeoutError):
                    self.returncode = self._read_code()
                    self._close()
                    self._server = None
            return self.returncode

    def _read_code(self) -> int:
        try:
            return int(_read_line(self._connection, time.monotonic())["code"])
        except (EOFError, ConnectionError):
            return -signal.SIGKILL  # it was killed with the fork server

    def wait(self) -> int:
        """Wait for its exit."""
        while (code := self.poll()) is None:
            time.sleep(_EXIT_POLL_SECONDS)
        return code

    def send_signal(self, number: int) -> None:
        """Send it a signal, if it runs."""
        if self.poll() is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def terminate(self) -> None:
        """Send it SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Send it SIGKILL."""
        self.send_signal(signal.SIGKILL)


def _unmarked(env: Mapping[str, str]) -> dict[str, str]:
    """The environment of the fork server, with a placeholder instead of the mark of the first kernel."""
    return {**env, VARIABLE: with_outer("0" * MARK_CHARS)}


def _split(command: Sequence[str]) -> tuple[list[str], list[str]]:
    """Split a command into the interpreter with its options and ipykernel's arguments; empty if it is not ipykernel."""
    words = list(command)
    at = words.index("-m") if "-m" in words else 0
    if at and Path(words[0]).name.startswith("python") and words[at + 1] in _LAUNCHERS:
        return words[:at], words[at + 2 :]
    return [], []


def _launch(
    command: Sequence[str], env: Mapping[str, str], control: socket.socket, log: IO[bytes]
) -> subprocess.Popen[bytes]:
    """Start a process from a thread that ends with this call, because Linux would kill the process with its thread."""

    def launch() -> subprocess.Popen[bytes]:
        return subprocess.Popen(  # noqa: S603  (of a kernel spec)
            command,
            env=env,
            cwd="/",
            stdin=control.fileno(),
            stdout=log,
            stderr=log,
            start_new_session=True,
            **unblocking_sigint(),
        )

    with ThreadPoolExecutor(1) as thread:
        return thread.submit(launch).result()


def _read_line(connection: socket.socket, deadline: float) -> dict[str, Any]:
    """Read a message of the fork server; raise `TimeoutError` at the deadline, `EOFError` if it has exited."""
    line = b""
    while not line.endswith(b"\n"):
        connection.settimeout(max(0.0, deadline - time.monotonic()))
        try:
            piece = connection.recv(1 << 16)
        except BlockingIOError:
            raise TimeoutError from None
        if not piece:
            raise EOFError("it has closed the connection")
        line += piece
    message: dict[str, Any] = json.loads(line)
    return message


def _end_server(process: subprocess.Popen[bytes], control: socket.socket, log: IO[bytes]) -> None:
    """Close a fork server's files and wait for its exit; its kernels have stopped, or are killed with it."""
    control.close()
    log.close()
    try:
        process.wait(_SHUTDOWN_TIMEOUT_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
