"""The fork server: a process that has imported the packages kernels need, and forks a kernel per request.

It runs on the Python of the kernel spec, which may lack nbtape, so this module imports only the standard library and
ipykernel. `nbtape.kernels.local.forked` starts it and sends requests over a private socket. Each request comes with its
own socket: the fork server reports the kernel's exit on it, and closing it kills the kernel.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import random
import selectors
import signal
import socket
import stat
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

#: The functions that reseed modules that have their own random state.
_SEEDERS: Final = {"numpy.random": "seed", "torch": "seed"}

#: All threads of this process (Linux), including those that Python does not know of, and its open files.
_THREADS: Final = Path("/proc/self/task")
_DESCRIPTORS: Final = Path("/dev/fd")

#: As in `nbtape.kernels.leftovers`, which cannot be imported here.
_VARIABLE: Final = "NBTAPE_KERNEL_MARK"

#: The highest descriptor of the standard streams and the socket for requests.
_LAST_OWN_DESCRIPTOR: Final = 3


@dataclass(frozen=True)
class Request:
    """A request for a kernel."""

    arguments: list[str]  # of ipykernel
    cwd: str
    env: dict[str, str]
    log: int  # a file descriptor


def main() -> None:
    """Import the modules, report the result, and fork kernels; in each fork, become the kernel."""
    owner, *preload = sys.argv[1:]
    if sys.path[0] == str(Path(__file__).parent):
        del sys.path[0]
    control = socket.socket(fileno=os.dup(0))
    control.recv(1)  # sent once the thread that started this process has ended; Linux would kill this process with it
    _end_with(int(owner))
    # As `inside/script_habits.py` does in kernels, but before the preloaded modules are imported.
    if not os.environ.get("MPLBACKEND", "").startswith("module://"):
        os.environ["MPLBACKEND"] = "module://matplotlib_inline.backend_inline"
    before = dict(os.environ)
    problem = _prepare(preload)
    set_by_imports = dict(os.environ.items() - before.items())
    control.sendall(f"{json.dumps(problem)}\n".encode())
    if problem:
        return
    request = _ForkServer(control).serve()
    if request is not None:
        request.env.update(set_by_imports)
        _be_kernel(request)


def _prepare(preload: list[str]) -> dict[str, str]:
    """Import the modules; return why kernels cannot be forked, empty if they can."""
    import ipykernel.kernelapp  # noqa: F401

    for name in preload:
        try:
            importlib.import_module(name)
        except BaseException as exc:  # noqa: BLE001  (whatever a module raises)
            return {"failed": f"{name} cannot be imported: {type(exc).__name__}: {exc}"}
    unsafe = why_unsafe()
    gc.collect()
    gc.freeze()  # garbage collection would write to memory that the kernels share
    return {"unsafe": unsafe} if unsafe else {}


def why_unsafe() -> str:
    """Return why a fork is unsafe: threads, which a kernel would lack, or connections, which it would share."""
    if threading.active_count() > 1:
        names = sorted(thread.name for thread in threading.enumerate() if thread is not threading.main_thread())
        return f"threads run ({', '.join(names)})"
    trial = os.fork()  # a fork makes numpy's OpenBLAS stop its threads, so that they do not count
    if trial == 0:
        os._exit(0)
    os.waitpid(trial, 0)
    if _THREADS.is_dir() and (others := len(list(_THREADS.iterdir())) - 1):
        return f"{others} threads of native code run"
    return "a socket or a pipe is open" if any(map(_is_connection, _DESCRIPTORS.iterdir())) else ""


def _is_connection(descriptor: Path) -> bool:
    """Whether an open file is a connection other than the fork server's own."""
    if int(descriptor.name) <= _LAST_OWN_DESCRIPTOR:
        return False
    with suppress(OSError):  # the descriptor of the listing itself
        mode = os.fstat(int(descriptor.name)).st_mode
        return stat.S_ISSOCK(mode) or stat.S_ISFIFO(mode)
    return False


class _ForkServer:
    """Forks kernels and reports their exits."""

    def __init__(self, control: socket.socket) -> None:
        self._control: socket.socket | None = control
        self._kernels: dict[socket.socket, int] = {}
        self._deaths, self._bell = socket.socketpair()
        self._deaths.setblocking(False)  # noqa: FBT003  (socket's)
        self._bell.setblocking(False)  # noqa: FBT003
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self._bell.fileno(), warn_on_full_buffer=False)
        self._selector = selectors.DefaultSelector()
        self._selector.register(control, selectors.EVENT_READ)
        self._selector.register(self._deaths, selectors.EVENT_READ)

    def serve(self) -> Request | None:
        """Serve until `control` is closed and no kernel is running, then return None; in a fork, return its request."""
        while self._control is not None or self._kernels:
            for key, _ in self._selector.select():
                if key.fileobj is self._control:
                    if (request := self._take_request(self._control)) is not None:
                        return request
                elif key.fileobj is self._deaths:
                    self._reap()
                elif isinstance(key.fileobj, socket.socket) and key.fileobj in self._kernels:
                    self._end(key.fileobj)
        return None

    def _take_request(self, control: socket.socket) -> Request | None:
        _, descriptors, _, _ = socket.recv_fds(control, 1, 2)
        if not descriptors:
            self._selector.unregister(control)
            self._control = None
            return None
        connection, log = socket.socket(fileno=descriptors[0]), descriptors[1]
        request = Request(**json.loads(_read_line(connection)), log=log)
        sys.stdout.flush()
        sys.stderr.flush()
        try:
            process = os.fork()
        except OSError as exc:
            _report(connection, {"failed": str(exc)})
            connection.close()
            os.close(log)
            return None
        if process == 0:
            self._release(connection)
            return request
        os.close(log)
        self._kernels[connection] = process
        self._selector.register(connection, selectors.EVENT_READ)
        _report(connection, {"pid": process})
        return None

    def _release(self, own: socket.socket) -> None:
        """Close the files that a fork has inherited from the fork server."""
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        self._selector.close()
        for connection in (own, *self._kernels, self._deaths, self._bell, self._control):
            if connection is not None:
                connection.close()

    def _reap(self) -> None:
        """Report the kernels that have exited."""
        with suppress(BlockingIOError):
            self._deaths.recv(4096)
        for connection, process in list(self._kernels.items()):
            ended, status = os.waitpid(process, os.WNOHANG)
            if ended:
                self._selector.unregister(connection)
                del self._kernels[connection]
                _report(connection, {"code": os.waitstatus_to_exitcode(status)})
                connection.close()

    def _end(self, connection: socket.socket) -> None:
        """Kill a kernel and the processes it started: its owner has closed the connection."""
        process = self._kernels[connection]
        for kill in (os.killpg, os.kill):  # `kill` if it has no group yet
            with suppress(ProcessLookupError, PermissionError):
                kill(process, signal.SIGKILL)
        os.waitpid(process, 0)
        self._selector.unregister(connection)
        del self._kernels[connection]
        connection.close()


def _be_kernel(request: Request) -> None:
    """Become an ordinary kernel."""
    os.setsid()  # interrupts are for its group
    _end_with(os.getppid())
    nothing = os.open(os.devnull, os.O_RDONLY)
    for stream, descriptor in enumerate((nothing, request.log, request.log)):
        os.dup2(descriptor, stream)
    os.close(nothing)
    os.close(request.log)
    parent = str(os.getppid())
    _mark(request.env)
    os.environ.clear()
    os.environ.update(request.env, JPY_PARENT_PID=parent)
    time.tzset()
    os.chdir(request.cwd)
    _seed()
    import ipykernel_launcher  # type: ignore[import-untyped]
    from ipykernel.kernelapp import IPKernelApp

    sys.argv = [str(ipykernel_launcher.__file__), *request.arguments]
    IPKernelApp.launch_instance([*request.arguments, f"--IPKernelApp.parent_handle={parent}"])


def _mark(env: dict[str, str]) -> None:
    """Write the mark of this kernel (see `nbtape.kernels.leftovers`) over that of the fork server, for /proc.

    /proc shows a forked process with the environment that the fork server was started with.
    """
    marks, room = (value.get(_VARIABLE, "").encode() for value in (env, os.environ))
    if not marks or len(marks) != len(room) or sys.platform != "linux":
        return
    import ctypes

    library = ctypes.CDLL(None)
    library.getenv.restype = ctypes.c_void_p
    if value := library.getenv(_VARIABLE.encode()):
        ctypes.memmove(value, marks, len(marks))


def _seed() -> None:
    """Reseed the random number generators, which would otherwise be the same in all forks."""
    random.seed()
    for name, seeder in _SEEDERS.items():
        if name in sys.modules:
            getattr(sys.modules[name], seeder)()


def _end_with(parent: int) -> None:
    """Exit with the parent process: on Linux with prctl(2), PR_SET_PDEATHSIG, elsewhere by polling."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(1, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def _read_line(connection: socket.socket) -> bytes:
    line = b""
    while not line.endswith(b"\n"):
        line += (piece := connection.recv(1 << 16))
        if not piece:
            raise EOFError
    return line


def _report(connection: socket.socket, what: dict[str, Any]) -> None:
    """Report to the owner of a kernel, if it is still connected."""
    with suppress(OSError):
        connection.sendall(f"{json.dumps(what)}\n".encode())


if __name__ == "__main__":
    main()
