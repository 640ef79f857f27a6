"""Run the nbtape command in a fork of a process that has imported it; importing takes most of a short command's time.

A command that is to start as users start it, or whose environment Python reads at its start, runs in a new process.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

COMMAND: Final = [sys.executable, "-m", "nbtape"]

#: Prefixes and suffixes of variables that Python, or nbtape before anything else, reads from the initial environment.
_READ_AT_THE_START: Final = (("PYTHON", "LC_", "LANG"), "TOKEN")

#: Forks twice for each request: a process that reports the exit code, and the command, which runs the last lines. The
#: process exits when its socket is closed.
_SERVER: Final = """
import gc, json, os, signal, socket, sys, tempfile
import nbtape.cli, nbtape.cli.commands, nbtape.cli.exit, nbtape.export.html, nbtape.session.blocking
import lxml.html, nbconvert.exporters, nbconvert.filters.markdown_mistune, nh3, rich.progress
from nbtape.replay.api import prepare

prepare()
gc.freeze()
if os.fork():
    os._exit(0)  # it is ready, and no test finds a child process

def next_command():
    while True:
        message, descriptors, _, _ = socket.recv_fds(requests, 1 << 20, 4)
        if not message:
            os._exit(0)
        if os.fork() == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            if (child := os.fork()) == 0:
                return json.loads(message), descriptors
            os.write(descriptors[3], b"%d\\n" % child)
            os.write(descriptors[3], b"%d\\n" % os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
            os._exit(0)
        for descriptor in descriptors:
            os.close(descriptor)

requests = socket.socket(fileno=int(sys.argv[1]))
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
(words, directory, environment), descriptors = next_command()
requests.close()
os.close(descriptors.pop())
for number, descriptor in enumerate(descriptors):
    os.dup2(descriptor, number)
    os.close(descriptor)
os.chdir(directory)
os.environ.clear()
os.environ.update(environment)
tempfile.tempdir = None
sys.stdin = sys.__stdin__ = open(0, closefd=False)
sys.stdout = sys.__stdout__ = open(1, "w", closefd=False)
sys.stderr = sys.__stderr__ = open(2, "w", buffering=1, errors="backslashreplace", closefd=False)
sys.argv = ["nbtape", *words]
nbtape.cli.main()
"""

_starting = threading.Lock()


def start(
    arguments: Sequence[object], cwd: Path, environment: Mapping[str, str], streams: tuple[int, int, int]
) -> Callable[[float], int]:
    """Start the command; return a function that waits some seconds for its exit code.

    Args:
        arguments: Its arguments.
        cwd: Its working directory.
        environment: Variables in addition to those of this process.
        streams: The descriptors of its standard streams.
    """
    words = [str(argument) for argument in arguments]
    prefixes, suffix = _READ_AT_THE_START
    if sys.platform != "linux" or any(name.startswith(prefixes) or name.endswith(suffix) for name in environment):
        stdin, stdout, stderr = streams
        variables = {**os.environ, **environment}
        process = subprocess.Popen(
            [*COMMAND, *words], cwd=cwd, env=variables, stdin=stdin, stdout=stdout, stderr=stderr
        )
        return functools.partial(_wait, process)
    request = json.dumps([words, str(cwd), {**os.environ, **environment}]).encode()
    report, its_report = os.pipe()
    with _starting:
        socket.send_fds(_server(), [request], [*streams, its_report])
    os.close(its_report)
    return functools.partial(_read_code, report)


@functools.cache
def _server() -> socket.socket:
    """The socket of the process that forks commands; it starts once."""
    ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with its:
        subprocess.run(
            [sys.executable, "-c", _SERVER, str(its.fileno())],
            pass_fds=[its.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
            check=True,
        )
    return ours


def _wait(process: subprocess.Popen[bytes], seconds: float) -> int:
    try:
        return process.wait(seconds)
    finally:
        process.kill()
        process.wait()


def _read_code(report: int, seconds: float) -> int:
    """The exit code that the process next to the command reports; kills a command that takes too long."""
    with os.fdopen(report) as lines:
        pid = int(lines.readline())
        if not select.select([lines], [], [], seconds)[0]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            raise TimeoutError(f"the command has not ended within {seconds:g} s")
        return int(lines.readline())
