"""What a server of ours writes down for its owner, who reads it when the server cannot be asked any more."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
from typing import TYPE_CHECKING, Final

from nbtape.common.untrusted_files import replace_file

if TYPE_CHECKING:
    from pathlib import Path


#: The line of its log with which a server that shares no files with its owner says how a kernel ended.
_END_LINE: Final = re.compile(r"nbtape: the end of kernel ([\w-]+): (\".*\")")


def end_line(kernel_id: str, end: str) -> str:
    """That line."""
    return f"nbtape: the end of kernel {kernel_id}: {json.dumps(end)}"


def find_end(log: str, kernel_id: str) -> str:
    """How a kernel ended, by its server's log; empty if that does not say."""
    for found in _END_LINE.finditer(log):
        if found[1] == kernel_id:
            with contextlib.suppress(ValueError):
                return str(json.loads(found[2]))
    return ""


class ServerNotes:
    """Files in the server's private directory.

    Args:
        directory: The directory, where the connection files of its kernels lie as well.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def write_port(self, port: int) -> None:
        """The server answers requests at `port`."""
        replace_file(self.directory / "port", str(port).encode())

    def port(self) -> int | None:
        """Where the server answers; None if it does not, yet."""
        with contextlib.suppress(FileNotFoundError):
            return int((self.directory / "port").read_text())
        return None

    def write_group(self, group: int) -> None:
        """A kernel runs, and this is its process group."""
        (self.directory / f"{group}.group").touch()

    def remove_group(self, group: int) -> None:
        """All of that group has been ended."""
        (self.directory / f"{group}.group").unlink(missing_ok=True)

    def groups(self) -> list[int]:
        """The process groups that have not been ended."""
        return [int(file.stem) for file in self.directory.glob("*.group")]

    def kernel_log(self, kernel_id: str) -> Path:
        """Where a kernel's own words go."""
        return self.directory / f"kernel-{kernel_id}.log"

    def write_end(self, kernel_id: str, end: str) -> None:
        """A kernel died; `end` says how."""
        (self.directory / f"kernel-{kernel_id}.end").write_text(end)

    def take_end(self, kernel_id: str) -> str:
        """How a kernel died; empty if it did not, as far as is known. Told once: it may have been started anew."""
        file = self.directory / f"kernel-{kernel_id}.end"
        with contextlib.suppress(FileNotFoundError):
            end = file.read_text().strip()
            file.unlink()
            return end
        return ""

    def write_login(self, code: str) -> None:
        """Whoever brings this code is to be let in, once."""
        self._login(code).touch()

    def take_login(self, code: str) -> bool:
        """Whether a code lets somebody in. It does not any more after that."""
        with contextlib.suppress(FileNotFoundError):
            self._login(code).unlink()
            return True
        return False

    def _login(self, code: str) -> Path:
        return self.directory / f"{hashlib.sha256(code.encode()).hexdigest()}.login"
