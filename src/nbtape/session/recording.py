"""The record of one session: the notebook, the files beside it, and the files that the code wrote."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

from nbtape.common.concurrency import offload
from nbtape.common.text import fit_json, shorten
from nbtape.notebook.autosave import Autosave
from nbtape.notebook.document import Notebook
from nbtape.notebook.format import own_metadata, preamble
from nbtape.notebook.notices import tell_cut, tell_ending
from nbtape.notebook.output_text import cell_text
from nbtape.results import CellResult
from nbtape.session import written_files
from nbtape.session.extracted_files import FileExtractor

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from nbformat import NotebookNode

    from nbtape.messages.code_blocks import CodeBlock
    from nbtape.results import Status
    from nbtape.session.cell_runner import Outcome
    from nbtape.session.options import Options

#: Tags by status that Jupyter's tools know: a failed cell does not stop papermill, nbclient or JupyterLab's Run All,
#: and papermill and nbclient skip a cell that was not run.
_TAGS: Final[Mapping[Status, list[str]]] = {
    "ok": [],
    "error": ["raises-exception"],
    "timeout": ["raises-exception"],
    "interrupted": ["raises-exception"],
    "kernel_died": ["raises-exception"],
    "not_run": ["skip-execution"],
}

#: Note of a cell whose process was killed.
CUT_OFF: Final = "The recording was cut off here: what the block did and printed after that is not recorded."


@dataclass(frozen=True, slots=True)
class CellEnd:
    """What is known about a cell when it ends, besides its outputs.

    Args:
        outcome: How it ended.
        notice: What happened to the kernel before the cell ran; put before its text.
        note: What happened to the cell; put after its text.
        kernel_epoch: Which kernel ran it.
    """

    outcome: Outcome
    notice: str
    note: str
    kernel_epoch: int


class Recording:
    """Everything a session leaves on disk.

    Args:
        notebook: The notebook. The other files go to its directory, where the kernel works.
        options: The executor's options.
    """

    def __init__(self, notebook: Notebook, options: Options) -> None:
        self._directory = notebook.path.parent
        self._options = options
        self.notebook = notebook
        written_files.recorded(notebook.path)
        self._extractor = FileExtractor(self._directory, notebook.path.stem)
        self._written = written_files.WorkingDirectory(self._directory)
        self._changed: set[int] = set()
        self._autosave = Autosave(notebook)

    @classmethod
    def create(cls, directory: Path, name: str, options: Options, kernel: Mapping[str, Any]) -> Self:
        """Create a recording with a new notebook, named `name` or similar, with metadata about its kernel.

        Raises:
            NotebookWriteError: The notebook cannot be written.
        """
        ours = {**preamble(), **kernel["nbtape"]}
        return cls(Notebook.create(directory, name, {**kernel, "nbtape": ours}), options)

    def resume(self, metadata: Mapping[str, Any], notice: str) -> None:
        """Continue a recorded notebook; existing cells stay as they are.

        Args:
            metadata: New metadata of the notebook.
            notice: What happened to a block whose recording was cut off.

        Raises:
            NotebookWriteError: It cannot be written, or was changed by someone else since it was opened.
        """
        self._written.changes()  # files that rerun cells wrote do not belong to the next block
        self.notebook.describe(metadata)
        for index, cell in enumerate(self.notebook.cells):
            if own_metadata(cell).get("status") == "running":
                tell_ending(cell, "running")
                _close(cell, "interrupted", note=f"{CUT_OFF} {notice}".rstrip(), outputs_incomplete=True)
                self.notebook.touch(index)
        self.save()

    @property
    def path(self) -> Path:
        """The notebook."""
        return self.notebook.path

    def follow(self, settle: Callable[[int], None]) -> None:
        """Call `settle` before each save; it writes a cell's merged output into the notebook."""
        self._autosave.prepare = settle

    def changed(self, index: int) -> None:
        """A cell has changed; it is saved soon."""
        self._changed.add(index)
        self._autosave.changed(index)

    def save(self) -> None:
        """Save now, or soon if the notebook is large; nothing is lost until then.

        Raises:
            NotebookWriteError: It cannot be written.
        """
        self._autosave.save()

    def keep(self) -> None:
        """Make sure that a cell that is about to run survives a crash of this process.

        Raises:
            NotebookWriteError: It cannot be written.
        """
        self._autosave.begin()

    async def close(self) -> None:
        """Save, wait until the notebook is on disk, and release its lock.

        Raises:
            NotebookWriteError: It cannot be written.
        """
        try:
            await self._autosave.close()
        finally:
            self.notebook.close()

    def add_markdown(self, text: str, agent: str) -> None:
        """Append a Markdown cell, with its author if known. Does not save."""
        self.notebook.add_markdown(text, {"nbtape": {"agent": agent}} if agent else {})

    def begin(self, block: CodeBlock, source: str, timeout: float, kernel_epoch: int) -> int:
        """Append a cell for a block that is about to run; return its position. Does not save."""
        nbtape = {"status": "running", "language": block.language, "timeout": timeout, "kernel_epoch": kernel_epoch}
        return self.notebook.add_code(source, {"nbtape": nbtape})

    def outputs(self, cell: CellResult) -> list[Mapping[str, Any]]:
        """What a cell shows now."""
        return list(self.notebook.cells[self.notebook.cells.number(cell.cell_id)]["outputs"])

    def tag(self, cell: CellResult, tag: str) -> None:
        """Add a tag to a cell. Does not save."""
        index = self.notebook.cells.number(cell.cell_id)
        metadata = self.notebook.cells[index]["metadata"]
        metadata["tags"] = [*metadata.get("tags", []), tag]
        self.notebook.touch(index)

    def withdraw(self, index: int, note: str) -> CellResult:
        """Mark a cell that was begun as not run. Does not save."""
        cell = self.notebook.cells[index]
        _close(cell, "not_run", note=note)
        self.notebook.touch(index)
        place = self.notebook.cells.place(index)
        return CellResult(index=place, cell_id=cell["id"], status="not_run", output=note, note=note)

    def skip(self, block: CodeBlock, note: str) -> CellResult:
        """Append a cell for a block that is not run, with the reason. Does not save."""
        return self.withdraw(self.notebook.add_code(block.code, {"nbtape": {"language": block.language}}), note)

    async def end(self, index: int, end: CellEnd) -> CellResult:
        """Complete the cell of a block that has run: files, status, text. Does not save."""
        outcome = end.outcome
        cell = self.notebook.cells[index]
        tell_cut(cell, outcome.left_out)
        files = self._extract(index)
        changes = self._written.changes()
        described = (
            await offload(lambda: written_files.describe(changes.paths, self._directory)) if changes.paths else []
        )
        tail = " ".join(filter(None, [end.note, outcome.missing, changes.note]))
        note = " ".join(filter(None, [end.notice, tail]))
        text = _framed(end.notice, self._text(cell["outputs"], files), tail)
        tell_ending(cell, outcome.status)
        _close(cell, outcome.status, **outcome_facts(outcome, note), files=described)
        self.notebook.touch(index)
        if outcome.installed is not None:
            self.notebook.describe({"nbtape": outcome.installed.metadata()})
        place = self.notebook.cells.place(index)
        return CellResult(
            index=place,
            cell_id=cell["id"],
            status=outcome.status,
            output=shorten(text, self._options["max_output_chars"], f"the whole is in {self.path}, cell {place}"),
            output_files=[*files.paths, *map(str, changes.paths)],
            execution_count=cell["execution_count"],
            duration=outcome.duration,
            kernel_epoch=end.kernel_epoch,
            error_name=outcome.error_name,
            error_value=outcome.error_value,
            outputs_incomplete=bool(outcome.missing),
            note=note,
            left_out=outcome.left_out,
        )

    def _text(self, outputs: Sequence[Mapping[str, Any]], files: _Files) -> str:
        if self._options["name_files"]:
            return cell_text(outputs, files.lines)
        return cell_text(outputs, {}, is_apart=True)

    def _extract(self, index: int) -> _Files:
        """Extract the files of a cell, and again those of earlier cells whose displays it updated."""
        updated, self._changed = self._changed - {index}, set()
        for other in updated:
            self._extract_cell(other)
        return self._extract_cell(index)

    def _extract_cell(self, index: int) -> _Files:
        cell = self.notebook.cells[index]
        extraction = self._extractor.extract(index, cell["outputs"])
        for file in extraction.files:
            written_files.recorded(Path(file["path"]))
        nbtape = cell["metadata"]["nbtape"]
        if nbtape.pop("extracted", None) or extraction.files:
            self.notebook.touch(index)
        if extraction.files:
            nbtape["extracted"] = [
                fit_json({**file, "path": os.path.relpath(file["path"], self._directory)}) for file in extraction.files
            ]
        return _Files([file["path"] for file in extraction.files], extraction.lines)


@dataclass(frozen=True, slots=True)
class _Files:
    paths: list[str]
    lines: Mapping[int, Sequence[str]]


def _framed(head: str, text: str, tail: str) -> str:
    """Put lines before and after the text of a cell."""
    if tail and text and not text.endswith("\n"):
        text += "\n"
    return (head + "\n" if head else "") + text + tail


def outcome_facts(outcome: Outcome, note: str) -> dict[str, Any]:
    """What a cell's metadata records about how the cell ended, besides its status."""
    return {
        "note": note,
        "outputs_incomplete": bool(outcome.missing),
        "duration": round(outcome.duration, 6),
        "left_out": outcome.left_out,
        "installed": outcome.installed and outcome.installed.cell_metadata(),
    }


def record_facts(cell: NotebookNode, **facts: Any) -> None:  # noqa: ANN401  (JSON values)
    """Write facts into a cell's metadata, except those that are empty."""
    cell["metadata"]["nbtape"].update(fit_json({key: value for key, value in facts.items() if value}))


def _close(cell: NotebookNode, status: Status, **facts: Any) -> None:  # noqa: ANN401  (JSON values)
    """Record how a cell ended, with the tags that Jupyter's tools know."""
    metadata = cell["metadata"]
    tags = metadata.get("tags", [])
    if new := [tag for tag in _TAGS[status] if tag not in tags]:
        metadata["tags"] = [*tags, *new]
    record_facts(cell, status=status, **facts)
