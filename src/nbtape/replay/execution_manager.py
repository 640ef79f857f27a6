"""papermill's execution manager for reruns, which records its metadata and saves the notebook cell by cell."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from papermill.engines import NotebookExecutionManager  # type: ignore[import-untyped]

from nbtape.common.concurrency import tell
from nbtape.notebook.autosave import Autosave
from nbtape.notebook.document import Notebook
from nbtape.notebook.format import preamble

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from nbformat import NotebookNode


class ExecutionManager(NotebookExecutionManager):  # type: ignore[misc]  # untyped
    """Follows a rerun of `nb`; calls `on_cell` with the number of cells that have run and their total, `expected`."""

    def __init__(
        self,
        nb: NotebookNode,
        progress_bar: bool | dict[str, Any],  # noqa: FBT001  (papermill's)
        on_cell: Callable[[int, int], None] | None,
        expected: int,
    ) -> None:
        super().__init__(nb, progress_bar=progress_bar)
        self._on_cell, self._expected, self._finished = on_cell, expected, 0
        self._document: Notebook | None = None
        self._autosave: Autosave | None = None
        self._in_memory = False

    def record(self, path: Path, *, in_memory: bool = False) -> None:
        """Record the rerun as a notebook at `path`, saved whenever a cell changes; with `in_memory`, never saved."""
        self.nb["metadata"].pop("nbtape", None)  # of the recording
        self._document, self._in_memory = Notebook(path, self.nb), in_memory
        self._document.describe({"nbtape": preamble()})
        if not in_memory:
            self._document.save()

    def save(self, **_: Any) -> None:  # noqa: ANN401  (papermill's)
        """Do nothing: papermill saves twice per cell, and nbtape saves on its own."""

    def describe(self, metadata: Mapping[str, Any]) -> None:
        """Add to the notebook's metadata."""
        self.nb["metadata"].update({key: value for key, value in metadata.items() if key != "nbtape"})
        if self._document is not None:
            self._document.describe(metadata)
            if not self._in_memory:
                self._autosave = self._autosave or Autosave(self._document)

    def follow(self, settle: Callable[[int], None]) -> None:
        """Call `settle` before a save: it writes a cell's merged output into the notebook."""
        if self._autosave is not None:
            self._autosave.prepare = settle

    def begin(self, index: int) -> None:
        self.cell_start(self.nb["cells"][index], index)
        self.changed(index)

    def changed(self, index: int) -> None:
        """Save the outputs of a cell soon."""
        if self._autosave is not None:
            self._autosave.changed(index)

    def end(self, index: int, *, unexpected: bool) -> None:
        """Save a finished cell; `unexpected` if it failed and the recording allows no failure."""
        if unexpected:
            self.cell_exception(self.nb["cells"][index], index)
        if self._document is not None:
            self._document.touch(index)
        self.cell_complete(self.nb["cells"][index], index)
        if self._autosave is not None:
            self._autosave.save()
        self._finished += 1
        tell(self._on_cell, self._finished, self._expected)

    async def flush(self) -> None:
        """Wait until the notebook is on disk."""
        if self._autosave is not None:
            autosave, self._autosave = self._autosave, None
            await autosave.flush()

    def close(self) -> None:
        """Complete papermill's metadata, save everything, and release the notebook, which papermill writes next."""
        self.notebook_complete()
        if self._document is not None and not self._in_memory:
            for index in range(len(self.nb["cells"])):
                self._document.touch(index)
            self._document.describe({})
            self._document.save()
            self._document.close()
