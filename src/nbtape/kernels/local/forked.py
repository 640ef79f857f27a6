"""Kernels of this machine that are forked from a warm parent, which has imported what they will need.

They are kernels like any other of this machine, through jupyter_client, but for how their process comes to be: see
`nbtape.kernels.local.fork_server`, which is what runs in the parent.
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
from contextlib import suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final

from jupyter_client.provisioning.local_provisioner import LocalProvisioner

from nbtape.common.finalizers import when_forgotten
from nbtape.common.text import it_last_said
from nbtape.errors import KernelStartError
from nbtape.kernels.leftovers import MARK_CHARS, VARIABLE, with_outer
from nbtape.kernels.local.manager import LocalKernelManager, LocalKernels

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from nbtape.kernels.protocols import KernelManager

logger = logging.getLogger(__name__)

_PROGRAM: Final = Path(__file__).with_name("fork_server.py")

#: Modules that are ipykernel when they are run with -m.
_LAUNCHERS: Final = frozenset({"ipykernel", "ipykernel_launcher"})

#: Seconds that a fork may take, that a parent may take to end when nothing holds it, and between looks at an end.
_PROMPT: Final = 10.0
_FAREWELL: Final = 2.0
_GLANCE: Final = 0.005


class ForkedKernels(LocalKernels):
    """The kernel specs installed on this machine, with kernels that are forked where that can be and is safe.

    Args:
        kernel_name: The name of the kernel spec.
        preload: The modules that are imported in the parent.
        timeout: Seconds that the parent has for that.
        must: Whether a kernel that cannot be forked is an error; else it is started like any other.
    """

    def __init__(self, kernel_name: str, preload: Sequence[str], timeout: float, *, must: bool) -> None:
        super().__init__(kernel_name)
        self._parent = WarmParent(preload, timeout, must=must)

    def manager(self) -> KernelManager:
        """A manager for one new kernel."""
        self._parent.open()
        manager = LocalKernelManager(kernel_name=self._name, kernel_spec_manager=self._specs)
        manager.provisioner = _ForkProvisioner(self._parent, kernel_spec=manager.kernel_spec, parent=manager)
        return manager

    def close(self) -> None:
        """Fork no more until `manager` is called again. Running kernels stay."""
        self._parent.close()


class _ForkProvisioner(LocalProvisioner):
    """jupyter_client's process of a kernel, but for its start."""

    def __init__(self, warm_parent: WarmParent, **traits: Any) -> None:  # noqa: ANN401  (jupyter_client's traits)
        super().__init__(**traits)
        self._warm_parent = warm_parent

    async def launch_kernel(self, cmd: list[str], **kwargs: Any) -> Any:  # noqa: ANN401  (jupyter_client's)
        process = await asyncio.to_thread(
            self._warm_parent.fork, cmd, env=kwargs["env"], cwd=kwargs["cwd"], log=kwargs["stdout"]
        )
        if process is None:
            return await super().launch_kernel(cmd, **kwargs)
        self.process, self.pid, self.pgid = process, process.pid, process.pid  # type: ignore[assignment]
        return self.connection_info


class WarmParent:
    """The process that kernels are forked from: started when the first is wanted, and anew when it has ended.

    Args:
        preload: The modules that it imports.
        timeout: Seconds that it has for that.
        must: Whether a kernel that cannot be forked is an error.
    """

    def __init__(self, preload: Sequence[str], timeout: float, *, must: bool) -> None:
        self._preload = tuple(preload)
        self._timeout = timeout
        self._must = must
        self._lock = threading.Lock()
        self._running: _Parent | None = None
        self._starting: _Parent | None = None
        self._is_closed = False
        self._unsafe = ""

    def fork(self, command: Sequence[str], *, env: Mapping[str, str], cwd: str, log: IO[bytes]) -> ForkedProcess | None:
        """A process that does what the command would, but is forked; None if that cannot be, or is not safe.

        Args:
            command: The command of a kernel spec.
            env: The environment of the process.
            cwd: Where it works.
            log: Where its output goes.

        Raises:
            KernelStartError: A module cannot be imported, or a kernel must be forked and cannot be.
        """
        interpreter, arguments = _split(command)
        if not interpreter:
            self._refuse("its command is not that of an ipykernel: python -m ipykernel_launcher …")
        for _ in range(2):  # the parent may have ended a moment ago
            parent = None if self._unsafe else self._start(interpreter, _unmarked(env))
            if parent is None:
                return None
            try:
                return parent.fork({"arguments": arguments, "cwd": cwd, "env": dict(env)}, log)
            except (OSError, EOFError) as exc:
                logger.warning("the parent of forked kernels does not answer, and another is started: %s", exc)
                self._drop(parent)
        raise KernelStartError("No kernel can be forked: the parent of forked kernels ends time and again.")

    def open(self) -> None:
        """Fork again."""
        self._is_closed = False

    def close(self) -> None:
        """Fork no more. The parent ends when the last of its kernels has ended, and at once if it still imports."""
        self._is_closed = True
        if (starting := self._starting) is not None:
            starting.kill()
        with self._lock:
            self._running = None

    def _drop(self, parent: _Parent) -> None:
        with self._lock:
            if self._running is parent:
                self._running = None
        parent.end()

    def _start(self, interpreter: Sequence[str], env: Mapping[str, str]) -> _Parent | None:
        """The parent, ready to fork; None if it is not safe."""
        with self._lock:
            if self._running is not None and self._running.is_alive():
                return self._running
            if self._unsafe:
                return None
            if self._running is not None:
                logger.warning("the parent of forked kernels has ended, and its kernels with it: another is started")
            self._starting = parent = _Parent([*interpreter, str(_PROGRAM), str(os.getpid()), *self._preload], env)
            if self._is_closed:
                parent.kill()  # nobody else will: who closed may not have seen it
            try:
                told = parent.wait(self._timeout)
            except BaseException:
                parent.end()
                raise
            finally:
                self._starting = None
            if unsafe := told.get("unsafe"):
                self._refuse(f"{unsafe} when {', '.join(self._preload)} has been imported")
                return None
            self._running = parent
            return parent

    def _refuse(self, reason: str) -> None:
        if self._must:
            raise KernelStartError(f"Kernels cannot be forked: {reason}. Leave out fork=True to have them started.")
        self._unsafe = reason
        logger.warning("kernels are started and not forked: %s", reason)


class _Parent:
    """One process that forks kernels.

    Args:
        command: What is run.
        env: Its environment.

    Raises:
        OSError: The command cannot be run.
    """

    def __init__(self, command: Sequence[str], env: Mapping[str, str]) -> None:
        self._lock = threading.Lock()
        self._control, theirs = socket.socketpair()
        self._log = tempfile.TemporaryFile()  # noqa: SIM115  (as long as we live)
        try:
            with theirs:
                self._process = _launch(command, env, theirs, self._log)
        except BaseException:
            self._control.close()
            self._log.close()
            raise
        self._end = when_forgotten(self, _end_parent, self._process, self._control, self._log)
        self._end.atexit = False  # it ends with us, and its kernels may be about to end politely
        self._control.sendall(b"!")

    def is_alive(self) -> bool:
        """Whether it runs."""
        return self._process.poll() is None

    def wait(self, timeout: float) -> dict[str, str]:
        """Wait until it has imported all.

        Returns:
            What it tells: `unsafe`, why nothing may be forked; empty if all is well.

        Raises:
            KernelStartError: It could not import all, or not in time, or has ended over it.
        """
        try:
            told: dict[str, str] = _read_line(self._control, time.monotonic() + timeout)
        except TimeoutError:
            raise KernelStartError(
                f"What kernels are to have imported was not imported within {timeout:g} s: raise startup_timeout, or "
                f"leave it out of preload.{self._said()}"
            ) from None
        except (EOFError, OSError):
            raise KernelStartError(f"The parent of forked kernels ended while it started.{self._said()}") from None
        if failed := told.get("failed"):
            raise KernelStartError(f"{failed}. Install it where the kernel is, or leave it out of preload.")
        return told

    def fork(self, request: Mapping[str, Any], log: IO[bytes]) -> ForkedProcess:
        """Have a kernel forked.

        Raises:
            KernelStartError: The system refuses.
            OSError: The parent cannot be reached. Or
            EOFError: It ended.
        """
        ours, theirs = socket.socketpair()
        try:
            with theirs, self._lock:
                socket.send_fds(self._control, [b"+"], [theirs.fileno(), log.fileno()])
            ours.settimeout(_PROMPT)
            ours.sendall(f"{json.dumps(request)}\n".encode())
            told = _read_line(ours, time.monotonic() + _PROMPT)
        except BaseException:
            ours.close()
            raise
        if failed := told.get("failed"):
            ours.close()
            raise KernelStartError(f"No kernel can be forked: {failed}. See to the system's bounds, and try again.")
        return ForkedProcess(int(told["pid"]), ours, self)

    def kill(self) -> None:
        """End it, and with it its kernels."""
        self._process.kill()

    def end(self) -> None:
        """End it, and leave nothing of it."""
        self.kill()
        self._end()

    def _said(self) -> str:
        self._log.seek(0)
        return it_last_said(self._log.read().decode(errors="replace"))


class ForkedProcess:
    """What `subprocess.Popen` is, for a process that another one forked for us. It ends when this is forgotten.

    Args:
        pid: The process, and its group.
        connection: Where its end is told.
        parent: What forked it, which lives at least as long.
    """

    stdin = stdout = stderr = None

    def __init__(self, pid: int, connection: socket.socket, parent: object) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._connection = connection
        self._parent: object = parent
        self._lock = threading.Lock()
        self._close = when_forgotten(self, connection.close)
        self._close.atexit = False  # as for the parent

    def poll(self) -> int | None:
        """The exit code, negative for a signal; None while it runs."""
        with self._lock:
            if self.returncode is None:
                with suppress(TimeoutError):
                    self.returncode = self._read_code()
                    self._close()
                    self._parent = None
            return self.returncode

    def _read_code(self) -> int:
        try:
            return int(_read_line(self._connection, time.monotonic())["code"])
        except (EOFError, ConnectionError):
            return -signal.SIGKILL  # its parent has ended, and it with that

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end.

        Raises:
            subprocess.TimeoutExpired: It runs on after `timeout` seconds.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        while (code := self.poll()) is None:
            if deadline is not None and time.monotonic() > deadline:
                assert timeout is not None
                raise subprocess.TimeoutExpired(["ipykernel"], timeout)
            time.sleep(_GLANCE)
        return code

    def send_signal(self, number: int) -> None:
        """Send a signal to it, if it runs."""
        if self.poll() is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def terminate(self) -> None:
        """Ask it to end."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it."""
        self.send_signal(signal.SIGKILL)


def _unmarked(env: Mapping[str, str]) -> dict[str, str]:
    """The environment of the fork server: with room for the mark of a kernel, and without that of the first one."""
    return {**env, VARIABLE: with_outer("0" * MARK_CHARS)}


def _split(command: Sequence[str]) -> tuple[list[str], list[str]]:
    """The interpreter of a command, with its options, and the arguments of ipykernel; nothing if it is another's."""
    words = list(command)
    at = words.index("-m") if "-m" in words else 0
    if at and Path(words[0]).name.startswith("python") and words[at + 1] in _LAUNCHERS:
        return words[:at], words[at + 2 :]
    return [], []


def _launch(
    command: Sequence[str], env: Mapping[str, str], control: socket.socket, log: IO[bytes]
) -> subprocess.Popen[bytes]:
    """Start a process in a thread that has ended when this returns: Linux would end the process with the thread."""
    made: list[subprocess.Popen[bytes] | OSError] = []

    def launch() -> None:
        try:
            made.append(
                subprocess.Popen(  # noqa: S603  (our own program, and the kernel spec's Python)
                    command,
                    env=env,
                    cwd="/",
                    stdin=control.fileno(),
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
            )
        except OSError as exc:
            made.append(exc)

    thread = threading.Thread(target=launch)
    thread.start()
    thread.join()
    (result,) = made
    if isinstance(result, OSError):
        raise result
    return result


def _read_line(connection: socket.socket, deadline: float) -> dict[str, Any]:
    """The next message of a parent.

    Raises:
        TimeoutError: It did not come.
        EOFError: The parent has closed the connection, or ended.
    """
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


def _end_parent(process: subprocess.Popen[bytes], control: socket.socket, log: IO[bytes]) -> None:
    """See to the end of a parent whose kernels have all ended, or are to end with it."""
    control.close()
    log.close()
    try:
        process.wait(_FAREWELL)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
