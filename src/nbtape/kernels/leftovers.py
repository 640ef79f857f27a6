"""Find and kill the processes that a kernel started, even if they left its process group and session (Linux).

A process belongs to a kernel if its environment has the kernel's mark, if it descends from the kernel or from another
such process, or if it is in the session of one. That covers `setsid`, double forks and `nohup`. On a local kernel, a
process is not found if it forks twice so that its parent is gone, starts a session, and also clears its environment. To
rule that out, run the code in a container, which stops with all its processes.
"""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

logger = logging.getLogger(__name__)

#: The environment variable with the marks of a kernel and of kernels that nbtape itself runs in, separated by colons.
VARIABLE: Final = "NBTAPE_KERNEL_MARK"

MARK_CHARS: Final = 32

#: How long to keep looking for processes that start others while they are killed.
_TIMEOUT_SECONDS: Final = 3.0
_POLL_SECONDS: Final = 0.01

_PROC: Final = Path("/proc")


@dataclass(frozen=True, slots=True)
class _Process:
    """A process in /proc; `started` distinguishes it from a later process with the same pid."""

    pid: int
    parent: int
    session: int
    started: str


class Leftovers:
    """The processes of one kernel, which has `mark` in its environment."""

    def __init__(self) -> None:
        self.mark = secrets.token_hex(MARK_CHARS // 2)
        self._known: set[tuple[int, str]] = set()
        self._sessions: set[int] = set()

    @property
    def environment(self) -> dict[str, str]:
        """The variables to add to the environment of the kernel."""
        return {VARIABLE: with_outer(self.mark)}

    def watch(self, root: int) -> None:
        """Note the kernel's process, which is a session leader, once it has started."""
        if (process := _process(root)) is not None:
            self._known.add((process.pid, process.started))
        self._sessions.add(root)

    def look(self) -> None:
        """Note the processes of a live kernel before their parents exit."""
        self._find()

    def end(self) -> bool:
        """Kill all processes; return whether none is left. Blocks for a few milliseconds, at most 3 seconds."""
        deadline = time.monotonic() + _TIMEOUT_SECONDS
        stopped: set[tuple[int, str]] = set()
        while True:
            newest = _newest_pid()
            found = self._find()
            new = [each for each in found if (each.pid, each.started) not in stopped]
            _signal(new, signal.SIGSTOP)  # a suspended process starts no others
            stopped.update((each.pid, each.started) for each in new)
            has_more = self._stop_since(newest, deadline)
            if not found and not has_more:
                break
            if (new or has_more) and time.monotonic() < deadline:
                continue
            _signal(found, signal.SIGKILL)
            if time.monotonic() > deadline:
                logger.warning("Processes of a kernel could not be killed: %s", [each.pid for each in found])
                return False
            time.sleep(_POLL_SECONDS)
        self._known, self._sessions = set(), set()
        return True

    def _stop_since(self, newest: int, deadline: float) -> bool:
        """Stop the kernel's processes that have started since `newest`; return whether there were any.

        A scan of /proc misses a process that forks and exits at once, because the scan takes longer than its life.
        """
        has_any = False
        while (last := _newest_pid()) != newest and time.monotonic() < deadline:
            for pid in range(newest + 1, last + 1):
                process = _process(pid)
                if process is not None and self._is_member(process):
                    has_any = True
                    _signal([process], signal.SIGSTOP)
                    self._known.add((process.pid, process.started))
            newest = last
        return has_any

    def _is_member(self, process: _Process) -> bool:
        """Whether a process belongs to the kernel, judged without the other processes."""
        if process.pid in _spared():
            return False
        is_child = process.parent in {pid for pid, _ in self._known}
        return is_child or process.session in self._sessions or _is_marked(process.pid, self.mark.encode())

    def _find(self) -> list[_Process]:
        """The live processes of the kernel; remembers them and their sessions."""
        spared = _spared()
        processes = {each.pid: each for each in _processes() if each.pid not in spared}
        self._sessions.discard(os.getsid(0))
        sought = self.mark.encode()
        members = {each.pid for each in processes.values() if self._is_known(each) or _is_marked(each.pid, sought)}
        count = -1
        while count != len(members):
            count = len(members)
            self._sessions.update(each.session for each in processes.values() if each.pid == each.session in members)
            # The id of a session that is over may have been reused by an unrelated session, whose leader then exists.
            sessions = {each for each in self._sessions if each in members or each not in processes}
            members.update(
                each.pid for each in processes.values() if each.parent in members or each.session in sessions
            )
        found = [processes[pid] for pid in members]
        self._known.update((each.pid, each.started) for each in found)
        return found

    def _is_known(self, process: _Process) -> bool:
        return (process.pid, process.started) in self._known


def _spared() -> set[int]:
    """Processes that are never killed: this one, its parent, and init."""
    return {os.getpid(), os.getppid(), 1}


def with_outer(mark: str) -> str:
    """The value of the variable for a mark."""
    return ":".join(filter(None, [os.environ.get(VARIABLE), mark]))


def _processes() -> Iterator[_Process]:
    """All running processes; nothing without /proc."""
    if not (_PROC / "self" / "stat").exists():
        return
    for entry in os.scandir(_PROC):
        if entry.name.isdecimal() and (process := _process(int(entry.name))) is not None:
            yield process


def _process(pid: int) -> _Process | None:
    """A running process; None if it does not exist, or without /proc."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        # proc(5): the name is in parentheses and may contain any characters.
        fields = (_PROC / str(pid) / "stat").read_text(errors="replace").rpartition(")")[2].split()
        if fields[0] not in "ZX":
            parent, _group, session = map(int, fields[1:4])
            return _Process(pid, parent, session, fields[19])
    return None


def _newest_pid() -> int:
    """The most recently assigned pid of a process or thread, see proc(5); 0 without /proc."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        return int((_PROC / "loadavg").read_text().split()[4])
    return 0


def _is_marked(pid: int, mark: bytes) -> bool:
    with contextlib.suppress(OSError):  # another user's, or gone
        return mark in (_PROC / str(pid) / "environ").read_bytes()
    return False


def _signal(processes: list[_Process], number: signal.Signals) -> None:
    for process in processes:
        with contextlib.suppress(OSError):
            os.kill(process.pid, number)
