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

#: Tags that Jupyter's own tools know, by status: a failed cell does not stop papermill, nbclient or JupyterLab's Run
#: All, and papermill and nbclient leave out one that was never run.
_TAGS: Final[Mapping[Status, list[str]]] = {
    "ok": [],
    "error": ["raises-exception"],
    "timeout": ["raises-exception"],
    "interrupted": ["raises-exception"],
    "kernel_died": ["raises-exception"],
    "not_run": ["skip-execution"],
}

#: What is said of a cell whose process was killed.
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
        notebook: The notebook, in the directory where all the rest goes, too, and where the kernel works.
        options: Those of the executor.
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
        """A recording with a notebook of its own.

        Args:
            directory: Where it goes; it exists.
            name: The wanted name of the notebook, without `.ipynb`.
            options: As for the class.
            kernel: The notebook's metadata about the kernel.

        Raises:
            NotebookWriteError: The notebook cannot be written.
        """
        ours = {**preamble(), **kernel["nbtape"]}
        return cls(Notebook.create(directory, name, {**kernel, "nbtape": ours}), options)

    def resume(self, metadata: Mapping[str, Any], news: str) -> None:
        """Go on with a notebook that was recorded before, from now on. What its cells say of themselves stays.

        Args:
            metadata: What is new of the notebook.
            news: What became of a block whose recording was cut off.

        Raises:
            NotebookWriteError: It cannot be written, or somebody else has changed it since it was opened.
        """
        self._written.changes()  # what the code wrote that was run again is no work of the next block
        self.notebook.describe(metadata)
        for index, cell in enumerate(self.notebook.cells):
            if own_metadata(cell).get("status") == "running":
                tell_ending(cell, "running")
                _close(cell, "interrupted", note=f"{CUT_OFF} {news}".rstrip(), outputs_incomplete=True)
                self.notebook.touch(index)
        self.save()

    @property
    def path(self) -> Path:
        """The notebook."""
        return self.notebook.path

    def follow(self, settle: Callable[[int], None]) -> None:
        """Record what a kernel does, from now on.

        Args:
            settle: Brings what a cell has printed so far into the notebook; called before a save.
        """
        self._autosave.prepare = settle

    def changed(self, index: int) -> None:
        """A cell has changed; it is saved soon."""
        self._changed.add(index)
        self._autosave.changed(index)

    def save(self) -> None:
        """Save now, or in a moment where the notebook is so large that it takes long; nothing is lost till then.

        Raises:
            NotebookWriteError: It cannot be written.
        """
        self._autosave.save()

    def keep(self) -> None:
        """Have a cell that is about to run outlive us. It is in the notebook soon, or when it has ended.

        Raises:
            NotebookWriteError: It cannot be written.
        """
        self._autosave.begin()

    async def close(self) -> None:
        """Save, see the notebook safe on the disk, and let others write it.

        Raises:
            NotebookWriteError: It cannot be written.
        """
        try:
            await self._autosave.close()
        finally:
            self.notebook.close()

    def add_markdown(self, text: str, agent: str) -> None:
        """Append what somebody said. Not saved yet.

        Args:
            text: Markdown.
            agent: Who said it; empty if nobody knows.
        """
        self.notebook.add_markdown(text, {"nbtape": {"agent": agent}} if agent else {})

    def begin(self, block: CodeBlock, source: str, timeout: float, kernel_epoch: int) -> int:
        """Append a cell for a block that is about to run; return its position. Not saved yet."""
        nbtape = {"status": "running", "language": block.language, "timeout": timeout, "kernel_epoch": kernel_epoch}
        return self.notebook.add_code(source, {"nbtape": nbtape})

    def outputs(self, cell: CellResult) -> list[Mapping[str, Any]]:
        """What a cell shows now."""
        return list(self.notebook.cells[self.notebook.cells.number(cell.cell_id)]["outputs"])

    def tag(self, cell: CellResult, tag: str) -> None:
        """Give a cell a tag that Jupyter's tools know. Not saved yet."""
        index = self.notebook.cells.number(cell.cell_id)
        metadata = self.notebook.cells[index]["metadata"]
        metadata["tags"] = [*metadata.get("tags", []), tag]
        self.notebook.touch(index)

    def withdraw(self, index: int, note: str) -> CellResult:
        """The block of a cell that was begun is not run after all. Not saved yet."""
        cell = self.notebook.cells[index]
        _close(cell, "not_run", note=note)
        self.notebook.touch(index)
        place = self.notebook.place(index)
        return CellResult(index=place, cell_id=cell["id"], status="not_run", output=note, note=note)

    def skip(self, block: CodeBlock, note: str) -> CellResult:
        """Append a cell for a block that is not run. Not saved yet.

        Args:
            block: The block.
            note: Why, if that is not plain from the cell before.
        """
        return self.withdraw(self.notebook.add_code(block.code, {"nbtape": {"language": block.language}}), note)

    async def end(self, index: int, end: CellEnd) -> CellResult:
        """Complete the cell of a block that has run: its files, its status, its text. Not saved yet."""
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
        place = self.notebook.place(index)
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
        """Extract the files of a cell, and anew those of earlier cells whose displays it has updated."""
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
    """The text of a cell between what is to be said before and after it, each on lines of its own."""
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
