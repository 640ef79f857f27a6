"""Write a replayed notebook: once, when its kernel is gone, and never through a link that its code has made."""

from __future__ import annotations

import contextlib
import errno
import os
from typing import TYPE_CHECKING

from nbtape.common.new_files import create_file, draft_of
from nbtape.errors import NotebookWriteError
from nbtape.notebook.atomic_write import NameTakenError, advice, move_to_free_place, places, writable_mode
from nbtape.notebook.output_path import output_path

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Destination:
    """Where a replay goes; checked before it runs, which may take hours.

    `output` is replaced if it exists; None stands for a free name beside the recorded notebook.

    Raises NotebookWriteError if nothing can be written there, and ValueError if that is the recorded notebook.
    """

    def __init__(self, notebook: Path, output: Path | None) -> None:
        self.path = output_path(notebook, output, "-replayed")
        self._stem = None if output is not None else f"{notebook.stem}-replayed"
        with self._reporting():
            if output is not None:
                writable_mode(output)
            if not os.access(self.path.parent, os.W_OK):
                raise PermissionError(errno.EACCES, "permission denied")
            self._directory = self.path.parent.stat()

    def publish(self, content: bytes) -> Path:
        """Write the notebook and return its path; raises NotebookWriteError if that fails."""
        with self._reporting():
            if not os.path.samestat(self.path.parent.stat(), self._directory):
                raise NotebookWriteError(
                    self.path, "its directory was replaced during the replay. Look at what the code did there."
                )
            if self._stem is None:
                self._replace(content)
                return self.path
            return self._create(content, self._stem)

    def _replace(self, content: bytes) -> None:
        draft = draft_of(self.path)
        try:
            create_file(draft, [content], size=len(content), mode=writable_mode(self.path))
            draft.replace(self.path)
        except BaseException:
            draft.unlink(missing_ok=True)
            raise

    def _create(self, content: bytes, stem: str) -> Path:
        """Write to a free name: the code may have taken the first one."""
        draft = draft_of(self.path)
        create_file(draft, [content], size=len(content))
        try:
            for path in places(self.path.parent, stem):
                with contextlib.suppress(NameTakenError):
                    move_to_free_place(draft, path)
                    return path
        finally:
            draft.unlink(missing_ok=True)
        raise AssertionError("unreachable: there is always another number")

    @contextlib.contextmanager
    def _reporting(self) -> Iterator[None]:
        try:
            yield
        except OSError as exc:
            raise NotebookWriteError(self.path, advice(exc)) from exc
