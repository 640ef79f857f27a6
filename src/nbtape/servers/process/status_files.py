"""The files in which a server reports its status to its owner, also readable after the server has exited."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
from typing import TYPE_CHECKING, Final

from nbtape.common.untrusted_files import replace_file

if TYPE_CHECKING:
    from pathlib import Path


#: The log line that reports how a kernel exited, for a server that shares no files with its owner.
_END_LINE: Final = re.compile(r"nbtape: the end of kernel ([\w-]+): (\".*\")")


def end_line(kernel_id: str, end: str) -> str:
    """The log line that reports how a kernel exited."""
    return f"nbtape: the end of kernel {kernel_id}: {json.dumps(end)}"


def find_end(log: str, kernel_id: str) -> str:
    """How a kernel exited, according to its server's log; empty if the log does not report it."""
    for found in _END_LINE.finditer(log):
        if found[1] == kernel_id:
            with contextlib.suppress(ValueError):
                return str(json.loads(found[2]))
    return ""


class ServerNotes:
    """The status files in a server's private directory, which also has the connection files of its kernels."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def write_port(self, port: int) -> None:
        """Report that the server answers requests at `port`."""
        replace_file(self.directory / "port", str(port).encode())

    def port(self) -> int | None:
        """The port of the server; None until it answers."""
        with contextlib.suppress(FileNotFoundError):
            return int((self.directory / "port").read_text())
        return None

    def write_group(self, group: int) -> None:
        """Note the process group of a running kernel."""
        (self.directory / f"{group}.group").touch()

    def remove_group(self, group: int) -> None:
        """Note that a process group was killed."""
        (self.directory / f"{group}.group").unlink(missing_ok=True)

    def groups(self) -> list[int]:
        """The process groups that were not killed."""
        return [int(file.stem) for file in self.directory.glob("*.group")]

    def kernel_log(self, kernel_id: str) -> Path:
        """The log file for the output of a kernel's process."""
        return self.directory / f"kernel-{kernel_id}.log"

    def write_end(self, kernel_id: str, end: str) -> None:
        """Report how a kernel died."""
        (self.directory / f"kernel-{kernel_id}.end").write_text(end)

    def take_end(self, kernel_id: str) -> str:
        """Return, only once, how a kernel died, because it may be restarted; empty if no death was reported."""
        file = self.directory / f"kernel-{kernel_id}.end"
        with contextlib.suppress(FileNotFoundError):
            end = file.read_text().strip()
            file.unlink()
            return end
        return ""

    def write_login(self, code: str) -> None:
        """Allow one login with a code."""
        self._login(code).touch()

    def take_login(self, code: str) -> bool:
        """Return whether a code allows a login, which it does only once."""
        with contextlib.suppress(FileNotFoundError):
            self._login(code).unlink()
            return True
        return False

    def _login(self, code: str) -> Path:
        return self.directory / f"{hashlib.sha256(code.encode()).hexdigest()}.login"
