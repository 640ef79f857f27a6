"""Merges what someone else saves into a notebook that is being recorded.

Cells are matched by id. The number of a save in the notebook tells what its editor has seen: one of our cells that is
missing was deleted if that save had it, and otherwise was appended after the editor opened the notebook.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from nbformat import from_dict

from nbtape.notebook.format import own_metadata

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from nbformat import NotebookNode

    from nbtape.notebook.cell_store import Shelf

#: The fields of a cell that are its content, not its presentation.
_CONTENT: Final = ("cell_type", "source", "outputs", "attachments")

#: Stands for the number of the next save.
NEXT_SAVE: Final = float("inf")


class History:
    """The `first` save that had a cell, and the `last` one that changed it, by the number of the cell."""

    def __init__(self) -> None:
        self.first: list[float] = []
        self.last: list[float] = []
        self._changed: set[int] = set()

    def add(self, revision: float = NEXT_SAVE) -> None:
        """Add a cell that a save had, by default the next one."""
        if revision == NEXT_SAVE:
            self._changed.add(len(self.first))
        self.first.append(revision)
        self.last.append(revision)

    def change(self, number: int) -> None:
        """Note that the next save changes a cell."""
        self.last[number] = NEXT_SAVE
        self._changed.add(number)

    def save(self, revision: int) -> None:
        """Give the next save its number."""
        for number in self._changed:
            self.first[number] = min(self.first[number], revision)
            self.last[number] = revision
        self._changed.clear()


@dataclass(frozen=True, slots=True)
class Merge:
    """The outcome: ids of cells that someone else deleted, and whether their version lacks changes of ours."""

    deleted: list[str]
    is_behind: bool


def merge(
    cells: Shelf, history: History, theirs: Sequence[NotebookNode], seen: int, unchanged: Collection[str]
) -> Merge:
    """Merge the cells that someone has saved, having seen the save `seen`, into ours.

    Their changes and their order win, but of a cell that the recording has changed since, only their source is taken.
    Cells that they have not seen come last. `unchanged` has the ids of cells that they saved as they were.
    """
    ours = {cells.ids[number]: number for number in cells.order}
    order, is_behind = [], False
    for cell in theirs:
        number = ours.pop(cell["id"], None)
        if number is None:
            number = cells.append(cell)
            history.add(seen)
            _mark(cell, {"added"})
        elif history.last[number] > seen:
            is_behind = _take_source(cells, number, cell) or is_behind
        elif cell["id"] in unchanged:
            pass
        elif own_metadata(cells[number]).get("status") == "running":  # its outputs are still to come
            is_behind = _take_source(cells, number, cell) or is_behind
        else:
            _take_all(cells, number, cell)
        order.append(number)
    unseen = [number for number in ours.values() if history.first[number] > seen]
    cells.arrange([*order, *unseen])
    deleted = [name for name, number in ours.items() if history.first[number] <= seen]
    return Merge(deleted, is_behind or bool(unseen))


def _take_source(cells: Shelf, number: int, theirs: NotebookNode) -> bool:
    """Take only the source of a cell that has changed here, too; return whether theirs differs otherwise."""
    cell = cells[number]
    if cell["source"] != theirs["source"]:
        cell["source"] = theirs["source"]
        _mark(cell, {"source"})
        cells.touch(number)
    return cell != theirs


def _take_all(cells: Shelf, number: int, theirs: NotebookNode) -> None:
    """Make a cell equal to theirs; it stays the same object, because others hold it."""
    cell = cells[number]
    changes = _marks(cell) | {field for field in _CONTENT if cell.get(field) != theirs.get(field)}
    cell.clear()
    cell.update(theirs)
    _mark(cell, changes)
    cells.touch(number)


def _mark(cell: NotebookNode, changes: set[str]) -> None:
    """Record in a cell's metadata that someone else has changed it."""
    if touched := _marks(cell) | changes:
        cell["metadata"]["nbtape"] = from_dict({**own_metadata(cell), "touched": sorted(touched)})


def _marks(cell: NotebookNode) -> set[str]:
    marks = own_metadata(cell).get("touched")
    return {mark for mark in marks if isinstance(mark, str)} if isinstance(marks, list) else set()
