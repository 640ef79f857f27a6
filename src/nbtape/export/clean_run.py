"""Rerun the kept cells on a fresh kernel, adding failed cells until the run works or no cell can help."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from nbtape.export.clean import CellNote, cleaned, left_out, needed
from nbtape.notebook.format import own_status
from nbtape.notebook.numbering import block_numbers
from nbtape.notebook.read import read_document
from nbtape.replay.api import replay_document

if TYPE_CHECKING:
    from pathlib import Path

    from nbformat import NotebookNode

    from nbtape.replay.report import ReplayedCell, ReplayReport


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """The result of rerunning the kept cells.

    Args:
        document: The new notebook.
        left_out: The dropped cells, with the reasons.
        put_back: The failed cells that are kept because later cells need them.
        changes: Cells whose outputs now differ.
        broken: The cell that fails without the dropped cells; None if all kept cells work.
    """

    document: NotebookNode
    left_out: list[CellNote]
    put_back: list[CellNote] = field(default_factory=list)
    changes: list[CellNote] = field(default_factory=list)
    broken: CellNote | None = None


def rehearse(path: Path, **options: Any) -> Rehearsal:  # noqa: ANN401  (those of `nbtape.replay`)
    """Drop the failed and empty cells of a notebook and rerun the rest in a copy of its directory.

    Accepts the options of `nbtape.replay` and raises its errors, and ValueError if no code cell would be left.
    """
    notebook = read_document(path)
    numbers = block_numbers(notebook["cells"])
    order = {cell["id"]: (index, numbers[index]) for index, cell in enumerate(notebook["cells"])}
    put_back: set[str] = set()
    while True:
        kept = cleaned(notebook, put_back)
        if not any(cell["cell_type"] == "code" for cell in kept["cells"]):
            raise ValueError(f"{path} has no code cell that succeeded, so nothing would be left.")
        report, again = _run(kept, path, **options)
        broken = next((cell for cell in report.cells if cell.verdict == "error"), None)
        more = needed(notebook, broken.cell_id, broken.reason, put_back) if broken else []
        if not more:
            break
        put_back |= set(more)
    return Rehearsal(
        document=_without_noise(again),
        left_out=left_out(notebook, put_back),
        put_back=[
            CellNote(*place, "later blocks need what it did") for place in sorted(map(order.__getitem__, put_back))
        ],
        changes=[_note(cell, order) for cell in report.cells if cell.verdict in {"different", "fixed"}],
        broken=_note(broken, order) if broken else None,
    )


def _run(document: NotebookNode, path: Path, **options: Any) -> tuple[ReplayReport, NotebookNode]:  # noqa: ANN401  (as above)
    report = replay_document(document, path.absolute(), None, **options)
    assert report.documents is not None, "they are kept"
    return report, report.documents[1]


def _note(cell: ReplayedCell, order: dict[str, tuple[int, int]]) -> CellNote:
    return CellNote(*order[cell.cell_id], cell.reason)


def _without_noise(document: NotebookNode) -> NotebookNode:
    """Remove papermill's metadata, and the stderr of cells that succeeded."""
    document["metadata"].pop("papermill", None)
    for cell in document["cells"]:
        cell["metadata"].pop("papermill", None)
        if cell["cell_type"] == "code" and own_status(cell) == "ok":
            cell["outputs"] = [output for output in cell["outputs"] if output.get("name") != "stderr"]
    return document
