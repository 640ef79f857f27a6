"""What is kept of a run is run, from an empty kernel: until it works without more of what failed, or cannot."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nbtape.export.clean import LeftOut, cleaned, left_out, needed
from nbtape.notebook.document import Notebook
from nbtape.notebook.format import own_status
from nbtape.notebook.read import read_document
from nbtape.replay.api import replay

if TYPE_CHECKING:
    from nbformat import NotebookNode

    from nbtape.replay.report import ReplayedCell, ReplayReport


@dataclass(frozen=True, slots=True)
class Change:
    """A cell that is kept and does not show what it had shown.

    Args:
        index: Its position in the recorded notebook, from 0.
        reason: What is another, a sentence.
    """

    index: int
    reason: str


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """What came of it.

    Args:
        document: What is kept, as it ran.
        left_out: What is not.
        put_back: The positions of cells that failed and are kept, because what follows needs what they had done.
        changes: What ran and shows something else.
        broken: The cell that had worked and does not work without what is left out; None if all do.
    """

    document: NotebookNode
    left_out: list[LeftOut]
    put_back: list[int] = field(default_factory=list)
    changes: list[Change] = field(default_factory=list)
    broken: Change | None = None


def rehearse(path: Path, **options: Any) -> Rehearsal:  # noqa: ANN401  (those of `nbtape.replay`)
    """Leave out of a notebook what failed and what is noise, and run the rest in its directory.

    Args:
        path: The recorded notebook; it stays as it is.
        options: Where and how it is run, as for `nbtape.replay`.

    Raises:
        NotebookReadError: There is no notebook that could be run.
        KernelError: No kernel can be had.
        ValueError: Nothing would be left, or another value that cannot work.
    """
    notebook = read_document(path)
    order = {cell["id"]: index for index, cell in enumerate(notebook["cells"])}
    put_back: set[str] = set()
    while True:
        kept = cleaned(notebook, put_back)
        if not any(cell["cell_type"] == "code" for cell in kept["cells"]):
            raise ValueError(f"{path} has no cell of code that had succeeded: nothing would be left.")
        report, again = _run(kept, path, **options)
        broken = next((cell for cell in report.cells if cell.verdict == "error"), None)
        more = needed(notebook, broken.cell_id, broken.reason, put_back) if broken else []
        if not more:
            break
        put_back |= set(more)
    return Rehearsal(
        document=_quiet(again),
        left_out=left_out(notebook, put_back),
        put_back=sorted(order[each] for each in put_back),
        changes=[_change(cell, order) for cell in report.cells if cell.verdict in {"different", "fixed"}],
        broken=None if broken is None else _change(broken, order),
    )


def _run(document: NotebookNode, path: Path, **options: Any) -> tuple[ReplayReport, NotebookNode]:  # noqa: ANN401  (as above)
    with tempfile.TemporaryDirectory(prefix="nbtape-export-") as directory:
        draft = Notebook(Path(directory) / path.name, document)
        draft.save()
        draft.close()
        report = replay(draft.path, Path(directory) / "again.ipynb", directory=path.absolute().parent, **options)
        return report, read_document(report.output)


def _change(cell: ReplayedCell, order: dict[str, int]) -> Change:
    return Change(order[cell.cell_id], cell.reason)


def _quiet(document: NotebookNode) -> NotebookNode:
    """A notebook without papermill's notes, and without what cells that succeeded had said on stderr."""
    document["metadata"].pop("papermill", None)
    for cell in document["cells"]:
        cell["metadata"].pop("papermill", None)
        if cell["cell_type"] == "code" and own_status(cell) == "ok":
            cell["outputs"] = [output for output in cell["outputs"] if output.get("name") != "stderr"]
    return document
