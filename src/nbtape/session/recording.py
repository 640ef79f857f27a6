"""The record of one session: the notebook, the extracted files, and the files that the code wrote."""

from __future__ import annotations

import os
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

from nbtape.common.text import fit_json, shorten
from nbtape.notebook import agent_edits
from nbtape.notebook.autosave import Autosave
from nbtape.notebook.document import Notebook
from nbtape.notebook.failures import without_interrupts
from nbtape.notebook.format import own_metadata, preamble
from nbtape.notebook.model_text import model_text
from nbtape.notebook.notices import tell_cut, tell_ending, tell_failure
from nbtape.notebook.output_text import cell_text
from nbtape.notebook.tracebacks import compacted
from nbtape.results import STOPPED, CellResult, how_to_see
from nbtape.session import written_files
from nbtape.session.extracted_files import FileExtractor

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from nbformat import NotebookNode

    from nbtape.messages.code_blocks import CodeBlock
    from nbtape.results import Status
    from nbtape.session.cell_runner import Outcome
    from nbtape.session.extracted_files import Extraction
    from nbtape.session.options import Options

#: Tags by status, as Jupyter's tools know them: with these, a failed cell does not stop papermill, nbclient or
#: JupyterLab's Run All, and papermill and nbclient skip a cell that was not run.
_TAGS: Final[Mapping[Status, list[str]]] = {
    "ok": [],
    "error": ["raises-exception"],
    "timeout": ["raises-exception"],
    "interrupted": ["raises-exception"],
    "kernel_died": ["raises-exception"],
    "not_run": ["skip-execution"],
}

#: Note for a new version of a cell.
EDITED: Final = "A version that the agent wrote after the cell before it was recorded. It was not run."

#: Note for a cell whose recording process was killed.
CUT_OFF: Final = "The recording was cut off here: what the block did and printed after that is not recorded."


class Recording:
    """Everything that a session writes to disk: the notebook, and the other files in its directory.

    The methods that change cells do not save; `autosave` does.
    """

    def __init__(self, notebook: Notebook, options: Options) -> None:
        self._directory = notebook.path.parent
        self._options = options
        self.notebook = notebook
        written_files.recorded(notebook.path)
        self._extractor = FileExtractor(
            notebook.file.directory,
            notebook.path.stem,
            with_html="html" in options["extract"],
            shown=str if options["name_files"] == "absolute" else attrgetter("name"),
        )
        self._written = written_files.WorkingDirectory(notebook.file.directory)
        self._changed: set[int] = set()
        self.autosave = Autosave(notebook)

    @classmethod
    def create(cls, directory: Path, name: str, options: Options, kernel: Mapping[str, Any]) -> Self:
        """Create a recording with a new notebook, named `name` or similar; raises NotebookWriteError on failure."""
        ours = {**preamble(), **kernel["nbtape"]}
        return cls(Notebook.create(directory, name, {**kernel, "nbtape": ours}), options)

    def resume(self, metadata: Mapping[str, Any], notice: str) -> None:
        """Continue a recorded notebook with new metadata; a block whose recording was cut off gets `notice`.

        Raises NotebookWriteError if it cannot be written.
        """
        self._written.changes()  # so that files of rerun cells are not attributed to the next block
        self.notebook.describe(metadata)
        for index, cell in enumerate(self.notebook.cells):
            if own_metadata(cell).get("status") == "running":
                tell_ending(cell, "running")
                _close(cell, "interrupted", note=f"{CUT_OFF} {notice}".rstrip(), outputs_incomplete=True)
                self.notebook.touch(index)
        self.autosave.save()

    @property
    def path(self) -> Path:
        """The notebook."""
        return self.notebook.path

    def changed(self, index: int) -> None:
        """Save a cell soon, because it has changed."""
        self._changed.add(index)
        self.autosave.changed(index)

    async def close(self) -> None:
        """Save and flush the notebook, and release its lock; raises NotebookWriteError if it cannot be written."""
        try:
            await self.autosave.close()
        finally:
            self.notebook.close()

    def add_markdown(self, text: str, agent: str) -> None:
        """Append a Markdown cell, with its author if known."""
        self.notebook.add_markdown(text, {"nbtape": {"agent": agent}} if agent else {})

    def begin_call(self) -> None:
        """Attribute no file to the next block that is there now: others may have written it since the last block."""
        self._written.changes()

    def begin(self, block: CodeBlock, source: str, timeout: float, kernel_epoch: int, facts: Mapping[str, Any]) -> int:
        """Append a cell for a block that is about to run, with more facts for its metadata; return its number."""
        nbtape = {"status": "running", "language": block.language, "timeout": timeout, "kernel_epoch": kernel_epoch}
        return self.notebook.add_code(source, {"nbtape": {**nbtape, **fit_json(facts)}})

    def outputs(self, cell: CellResult) -> list[Mapping[str, Any]]:
        """The current outputs of a cell."""
        return list(self.notebook.cells[self.notebook.cells.number(cell.cell_id)]["outputs"])

    def tag(self, cell: CellResult, tag: str) -> None:
        """Add a tag to a cell."""
        index = self.notebook.cells.number(cell.cell_id)
        metadata = self.notebook.cells[index]["metadata"]
        metadata["tags"] = [*metadata.get("tags", []), tag]
        self.notebook.touch(index)

    def edit(self, cell_id: str, source: str, agent: str) -> str:
        """Add a version of a cell with another source, which is not run; return its id. Raises ValueError."""
        number = agent_edits.cell_number(self.notebook, cell_id)
        version = agent_edits.add_version(self.notebook, number, source, agent)
        if self.notebook.cells[version]["cell_type"] == "code":
            self.withdraw(version, EDITED)
        return str(self.notebook.cells[version]["id"])

    def delete(self, cell_id: str, agent: str) -> None:
        """Mark a cell as deleted. Raises ValueError."""
        agent_edits.mark(self.notebook, agent_edits.cell_number(self.notebook, cell_id), "deleted", agent)

    def move(self, cell_id: str, position: int, agent: str) -> None:
        """Move a cell to a position, counted from 0, or from the end if negative, and mark it. Raises ValueError."""
        number, count = agent_edits.cell_number(self.notebook, cell_id), len(self.notebook.cells.order)
        if not -count <= position < count:
            raise ValueError(f"There is no position {position} in a notebook of {count} cells.")
        self.notebook.move(number, position % count)
        agent_edits.mark(self.notebook, number, "moved", agent)

    def withdraw(self, index: int, note: str) -> CellResult:
        """Mark a cell that was already added as not run."""
        cell = self.notebook.cells[index]
        _close(cell, "not_run", note=note)
        self.notebook.touch(index)
        place, block = self.notebook.cells.place(index), self.notebook.cells.block(index)
        return CellResult(index=place, cell_id=cell["id"], status="not_run", output=note, note=note, block=block)

    def skip(self, block: CodeBlock, note: str, facts: Mapping[str, Any] | None = None) -> CellResult:
        """Append a cell for a block that is not run; `note` has the reason, and `facts` go into its metadata."""
        nbtape = {"language": block.language, **fit_json(facts or {})}
        return self.withdraw(self.notebook.add_code(block.code, {"nbtape": nbtape}), note)

    async def end(self, index: int, outcome: Outcome, epoch: int, notice: str, note: str) -> CellResult:
        """Complete the cell of a block that kernel `epoch` has run, with its files, status and text.

        `notice` is about the kernel and goes before the text; `note` is about the cell and goes after it.
        """
        cell = self.notebook.cells[index]
        tell_cut(cell, outcome.left_out)
        extraction = self._extract(index)
        changes = self._written.changes()
        written = await self._written.facts(changes)
        tail = " ".join(filter(None, [note, outcome.missing, changes.note]))
        note = " ".join(filter(None, [notice, tail]))
        if outcome.status == "error":
            tell_failure(cell, outcome.error)
        text = _framed(notice, self._text(cell["outputs"], outcome.status, extraction), tail)
        tell_ending(cell, outcome.status)
        _close(cell, outcome.status, **outcome_facts(outcome, note), **written)
        self.notebook.touch(index)
        if outcome.installed is not None:
            self.notebook.describe({"nbtape": outcome.installed.metadata()})
        block = self.notebook.cells.block(index)
        return CellResult(
            index=self.notebook.cells.place(index),
            cell_id=cell["id"],
            status=outcome.status,
            output=shorten(text, self._options["max_output_chars"], how_to_see(self.path, [block])),
            output_files=[*(file["path"] for file in extraction.files), *map(str, changes.paths)],
            execution_count=cell["execution_count"],
            duration=outcome.duration,
            kernel_epoch=epoch,
            error_name=outcome.error_name,
            error_value=outcome.error_value,
            outputs_incomplete=bool(outcome.missing),
            note=note,
            left_out=outcome.left_out,
            block=block,
        )

    def _text(self, outputs: Sequence[Mapping[str, Any]], status: Status, extraction: Extraction) -> str:
        if status in STOPPED:
            outputs = without_interrupts(outputs)
        if self._options["traceback"] == "compact":
            outputs = compacted(outputs)
        if self._options["name_files"]:
            return model_text(outputs, extraction.lines)
        return cell_text(map(_without_html, outputs), {}, is_apart=True)

    def _extract(self, index: int) -> Extraction:
        """Extract the files of a cell, and re-extract those of earlier cells whose displays it updated."""
        updated, self._changed = self._changed - {index}, set()
        for other in updated:
            self._extract_cell(other)
        return self._extract_cell(index)

    def _extract_cell(self, index: int) -> Extraction:
        cell = self.notebook.cells[index]
        extraction = self._extractor.extract(index, self.notebook.cells.block(index), cell["outputs"])
        for file in extraction.files:
            written_files.recorded(Path(file["path"]))
        nbtape = cell["metadata"]["nbtape"]
        if nbtape.pop("extracted", None) or extraction.files:
            self.notebook.touch(index)
        if extraction.files:
            nbtape["extracted"] = [
                fit_json({**file, "path": os.path.relpath(file["path"], self._directory)}) for file in extraction.files
            ]
        return extraction


def _without_html(output: Mapping[str, Any]) -> Mapping[str, Any]:
    """The same output without HTML, of which AutoGen 0.7 reports only the repr."""
    if "data" not in output:
        return output
    return {**output, "data": {mime: value for mime, value in output["data"].items() if mime != "text/html"}}


def _framed(head: str, text: str, tail: str) -> str:
    """Put lines before and after the text of a cell."""
    if tail and text and not text.endswith("\n"):
        text += "\n"
    return (head + "\n" if head else "") + text + tail


def outcome_facts(outcome: Outcome, note: str) -> dict[str, Any]:
    """The outcome of a cell for its metadata, except for the status."""
    return {
        "note": note,
        "outputs_incomplete": bool(outcome.missing),
        "duration": round(outcome.duration, 6),
        "left_out": outcome.left_out,
        "installed": outcome.installed and outcome.installed.cell_metadata(),
    }


def record_facts(cell: NotebookNode, **facts: Any) -> None:  # noqa: ANN401  (JSON values)
    """Write facts into a cell's metadata, skipping empty ones."""
    cell["metadata"]["nbtape"].update(fit_json({key: value for key, value in facts.items() if value}))


def _close(cell: NotebookNode, status: Status, **facts: Any) -> None:  # noqa: ANN401  (JSON values)
    """Record the outcome of a cell, with tags for Jupyter's tools."""
    metadata = cell["metadata"]
    tags = metadata.get("tags", [])
    if new := [tag for tag in _TAGS[status] if tag not in tags]:
        metadata["tags"] = [*tags, *new]
    record_facts(cell, status=status, **facts)
