"""Write a replayed notebook once, after its kernel has stopped, and never through a link that its code has created."""

from __future__ import annotations

import contextlib
import errno
import os
from typing import TYPE_CHECKING, Final

from nbtape.common.untrusted_files import Directory
from nbtape.errors import OutputWriteError
from nbtape.notebook.atomic_write import advice, places, writable_mode
from nbtape.notebook.output_path import output_path

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

#: What the name of a replay has after that of the notebook, and before a number.
_SUFFIX: Final = "-replayed"


class Destination:
    """The destination of a replay, checked before the replay runs, which may take hours.

    `output` is replaced if it exists; None stands for a free name next to the recorded notebook.

    Raises NotebookWriteError if it cannot be written, and ValueError if it is the recorded notebook.
    """

    def __init__(self, notebook: Path, output: Path | None) -> None:
        if output is not None and output.suffix != ".ipynb":
            raise ValueError(f"{output} is not the name of a notebook. Choose one that ends in .ipynb.")
        self.path = output_path(notebook, output, _SUFFIX)
        self._untrusted = notebook.parent
        self._stem = None if output is not None else notebook.stem + _SUFFIX
        with self._reporting():
            if output is not None:
                with self._opened() as directory:
                    writable_mode(directory, self.path.name)
            if not os.access(self.path.parent, os.W_OK):
                raise PermissionError(errno.EACCES, "permission denied")
            self._directory = self.path.parent.stat()

    def publish(self, encode: Callable[[Path], bytes]) -> Path:
        """Write the notebook, encoded for its path, and return that; raises NotebookWriteError if that fails."""
        with self._reporting():
            if not os.path.samestat(self.path.parent.stat(), self._directory):
                raise OutputWriteError(
                    self.path, "its directory was replaced during the replay. Check what the code did there."
                )
            with self._opened() as directory:
                if self._stem is not None:
                    return _create(directory, self._stem, encode)
                writable_mode(directory, self.path.name)
                directory.replace(self.path.name, encode(self.path))
                return self.path

    def _opened(self) -> Directory:
        """The directory of the output; code may have created links below the directory of the notebook."""
        return Directory(self.path.parent, [self._untrusted])

    @contextlib.contextmanager
    def _reporting(self) -> Iterator[None]:
        try:
            yield
        except OSError as exc:
            raise OutputWriteError(self.path, advice(exc)) from exc


def _create(directory: Directory, stem: str, encode: Callable[[Path], bytes]) -> Path:
    """Write to a free name, because the code or another replay may have taken the first one."""
    for path in places(directory.path, stem):
        with contextlib.suppress(FileExistsError):
            directory.create(path.name, encode(path))
            return path
    raise AssertionError("unreachable: there is always another number")


def is_replay(name: str, stem: str) -> bool:
    """Whether a file has the name of a replay of the notebook with this stem, as it is by default."""
    number = name.removeprefix(f"{stem}{_SUFFIX}").removesuffix(".ipynb")
    return (
        name.startswith(f"{stem}{_SUFFIX}")
        and name.endswith(".ipynb")
        and (not number or (number[0] == "-" and number[1:].isdigit()))
    )
