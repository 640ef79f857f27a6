"""What somebody else has saved into a notebook that is being recorded, brought together with the record.

Cells are told apart by their ids. A notebook has the number of its save, so that whoever saves it tells with that what
he has seen: a cell of ours that is missing was deleted if he could see it, and else came after he had opened it.
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

#: What of a cell is its content, and not how somebody looks at it.
_CONTENT: Final = ("cell_type", "source", "outputs", "attachments")

#: What stands for the next save.
_NEXT: Final = float("inf")


class History:
    """Which save of ours had a cell first, and which one had its last change, by the number of the cell."""

    def __init__(self) -> None:
        self._first: list[float] = []
        self._last: list[float] = []
        self._changed: set[int] = set()

    def add(self, revision: float = _NEXT) -> None:
        """There is another cell, as of a save; without one, as of the next."""
        if revision == _NEXT:
            self._changed.add(len(self._first))
        self._first.append(revision)
        self._last.append(revision)

    def change(self, number: int) -> None:
        """A cell is changed by the next save."""
        self._last[number] = _NEXT
        self._changed.add(number)

    def save(self, revision: int) -> None:
        """This was the next save."""
        for number in self._changed:
            self._first[number] = min(self._first[number], revision)
            self._last[number] = revision
        self._changed.clear()

    def first(self, number: int) -> float:
        """The save that had a cell first."""
        return self._first[number]

    def last(self, number: int) -> float:
        """The save that had the last change of a cell."""
        return self._last[number]

    def is_saved(self, number: int) -> bool:
        """Whether a save had a cell."""
        return self._first[number] < _NEXT


@dataclass(frozen=True, slots=True)
class Merge:
    """What came of two notebooks that were brought together.

    Args:
        deleted: The ids of cells that somebody has deleted.
        is_behind: Whether what he has saved lacks anything of ours.
    """

    deleted: list[str]
    is_behind: bool


def merge(
    cells: Shelf, history: History, theirs: Sequence[NotebookNode], seen: int, unchanged: Collection[str]
) -> Merge:
    """Bring what somebody has saved into the cells.

    What he has changed stays as he has it, except where the record has changed the same cell since: of that he gets
    the source. His cells stand where he has put them, those that he has not seen after them.

    Args:
        cells: Ours.
        history: What of them was in which save.
        theirs: His.
        seen: The last save that he has seen.
        unchanged: The ids of those of his cells that are as they were saved.
    """
    ours = {cells.ids[number]: number for number in cells.order}
    order, is_behind = [], False
    for cell in theirs:
        number = ours.pop(cell["id"], None)
        if number is None:
            number = cells.append(cell)
            history.add(seen)
            _mark(cell, {"added"})
        elif history.last(number) > seen:
            is_behind = _take_source(cells, number, cell) or is_behind
        elif cell["id"] in unchanged:
            pass
        elif own_metadata(cells[number]).get("status") == "running":  # its outputs are still to come
            is_behind = _take_source(cells, number, cell) or is_behind
        else:
            _take_all(cells, number, cell)
        order.append(number)
    unseen = [number for number in ours.values() if history.first(number) > seen]
    cells.arrange([*order, *unseen])
    deleted = [name for name, number in ours.items() if history.first(number) <= seen]
    return Merge(deleted, is_behind or bool(unseen))


def _take_source(cells: Shelf, number: int, theirs: NotebookNode) -> bool:
    """Take nothing but the source of a cell that has changed here, too; whether theirs is not as ours is."""
    cell = cells[number]
    if cell["source"] != theirs["source"]:
        cell["source"] = theirs["source"]
        _mark(cell, {"source"})
        cells.touch(number)
    return cell != theirs


def _take_all(cells: Shelf, number: int, theirs: NotebookNode) -> None:
    """Have a cell as somebody has it: the same object, for whoever holds it."""
    cell = cells[number]
    changes = _marks(cell) | {field for field in _CONTENT if cell.get(field) != theirs.get(field)}
    cell.clear()
    cell.update(theirs)
    _mark(cell, changes)
    cells.touch(number)


def _mark(cell: NotebookNode, changes: set[str]) -> None:
    """Have a cell say that somebody else has changed it."""
    if touched := _marks(cell) | changes:
        cell["metadata"]["nbtape"] = from_dict({**own_metadata(cell), "touched": sorted(touched)})


def _marks(cell: NotebookNode) -> set[str]:
    marks = own_metadata(cell).get("touched")
    return {mark for mark in marks if isinstance(mark, str)} if isinstance(marks, list) else set()
