"""Merge changes that someone else saves into a notebook that is being recorded.

Recorded content is never removed or altered. Changes by other people are kept in addition, and the affected cells are
marked, see `touched` in `document`:

- A new cell stays, and its author can change and delete it.
- A recorded cell whose source, outputs or attachments someone has changed stays as it was. Their version becomes a
  separate cell directly after it, with the id of the recorded cell as `version_of`.
- A recorded cell that someone has deleted stays.
- Cells stay where someone has moved them, unless the agent has moved cells since the save that they have seen. They
  may also change metadata of other programs, and add tags.

Cells are matched by id. The number of a save in the notebook shows which cells its editor has seen.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

from nbformat import from_dict

from nbtape.common.text import fit_json
from nbtape.notebook.encoding import decode_cell
from nbtape.notebook.format import own_metadata
from nbtape.notebook.output_text import json_size

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from nbformat import NotebookNode

    from nbtape.notebook.cell_store import Shelf

#: The fields of a cell that are content, not presentation.
_CONTENT: Final = ("cell_type", "source", "outputs", "attachments")

#: Keys of a cell's metadata that only the recorder writes, and the tags that it sets.
_RECORDED_KEYS: Final = ("nbtape", "execution")
_RECORDED_TAGS: Final = frozenset({"raises-exception", "skip-execution"})

#: Maximum size of the metadata that others may set in a recorded cell, or in the notebook.
MAX_PRESENTATION_CHARS: Final = 100_000

#: A placeholder for the number of the next save.
NEXT_SAVE: Final = float("inf")


class History:
    """The `first` save that had a cell and the `last` one that changed it, by the number of the cell.

    `theirs` has the numbers of the cells that someone else has added; `versions` maps recorded cells to their changed
    versions; `arranged` is the last save before which the recorder itself changed the order.
    """

    def __init__(self) -> None:
        self.first: list[float] = []
        self.last: list[float] = []
        self.theirs: set[int] = set()
        self.versions: dict[int, list[int]] = {}
        self.arranged: float = 0
        self._changed: set[int] = set()

    def add(self, revision: float = NEXT_SAVE, *, is_theirs: bool = False) -> None:
        """Add a cell that is part of a save, by default the next one."""
        if revision == NEXT_SAVE:
            self._changed.add(len(self.first))
        if is_theirs:
            self.theirs.add(len(self.first))
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
        self.arranged = min(self.arranged, revision)
        self._changed.clear()


def is_of_others(cell: Mapping[str, Any]) -> bool:
    """Whether a cell of a recorded notebook was not recorded: it is marked as added, or is code without a status."""
    return "added" in marks_of(cell) or (cell["cell_type"] == "code" and "status" not in own_metadata(cell))


def marks_of(cell: Mapping[str, Any]) -> set[str]:
    """What someone else has changed of a cell, from its metadata."""
    marks = own_metadata(cell).get("touched")
    return {mark for mark in marks if isinstance(mark, str)} if isinstance(marks, list) else set()


def merge(
    cells: Shelf, history: History, theirs: Sequence[NotebookNode], seen: int, unchanged: Collection[str]
) -> bool:
    """Merge the cells that someone who has seen save `seen` has saved; return whether theirs lack any of ours.

    `unchanged` has the ids of cells that they saved unchanged.
    """
    return _Merge(cells, history, seen).merge(theirs, unchanged)


class _Merge:
    def __init__(self, cells: Shelf, history: History, seen: int) -> None:
        self._cells = cells
        self._history = history
        self._seen = seen
        self._is_behind = False
        self._listed: set[str] = set()
        self._followers: dict[int | None, list[int]] = {}  # cells that theirs lack, by the cell to put them after

    def merge(self, theirs: Sequence[NotebookNode], unchanged: Collection[str]) -> bool:
        cells = self._cells
        before, missing = list(cells.order), {cells.ids[number]: number for number in cells.order}
        self._listed = {cell["id"] for cell in theirs}
        first = self._history.first
        for name in self._listed & missing.keys():  # an editor that has a cell has seen the save that added it
            if first[missing[name]] < NEXT_SAVE:
                self._seen = max(self._seen, int(first[missing[name]]))
        order = []
        for cell in theirs:
            number = missing.pop(cell["id"], None)
            if number is None:
                number = self._add(cell)
            elif cell["id"] not in unchanged:
                self._compare(number, cell)
            order.append(number)
        if self._keeps_order:
            order = self._arranged(before, order)
        else:
            self._mark_moved(before, order)
        tail = self._keep(before, set(missing.values()))
        kept = [*self._followers.get(None, [])]
        for number in order:
            kept += [number, *self._followers.get(number, [])]
        cells.arrange([*kept, *tail])
        return self._is_behind

    @property
    def _keeps_order(self) -> bool:
        """Whether the recorder has changed the order since the save that they have seen."""
        return self._history.arranged > self._seen

    def _arranged(self, before: Sequence[int], order: Sequence[int]) -> list[int]:
        """Return the cells that both have in our order; new cells of theirs follow the one that they followed."""
        self._is_behind = True
        known, listed = set(before), set(order)
        previous: int | None = None
        for number in order:
            if number in known:
                previous = number
            else:
                self._followers.setdefault(previous, []).append(number)
        return [number for number in before if number in listed]

    def _add(self, cell: NotebookNode, version_of: str = "") -> int:
        """Add a cell of theirs, without metadata that only the recorder writes."""
        ours = {"touched": ["added"], **({"version_of": version_of} if version_of else {})}
        metadata = {key: value for key, value in cell["metadata"].items() if key not in _RECORDED_KEYS}
        self._is_behind |= bool(own_metadata(cell)) or bool(version_of)
        fitted = from_dict(fit_json({**cell, "metadata": {**metadata, "nbtape": ours}}))
        number = self._cells.append(fitted)
        self._history.add(NEXT_SAVE if version_of else self._seen, is_theirs=True)
        return number

    def _compare(self, number: int, theirs: NotebookNode) -> None:
        """Apply the permitted changes to a cell, and keep the others in a separate version."""
        if number in self._history.theirs:
            self._take(number, theirs)
            return
        is_stale = self._history.last[number] > self._seen
        cell = self._cells[number]
        base = cell if is_stale else decode_cell(self._cells.encoded(number))
        fields = ("source",) if is_stale else _CONTENT
        changes = {field for field in fields if base.get(field) != theirs.get(field)}
        if changes - {"outputs"} or (changes and theirs.get("outputs")):
            self._keep_version(number, theirs)
        if not is_stale:
            if own_metadata(base) != own_metadata(theirs):
                changes.add("metadata")
            changes |= self._take_presentation(number, theirs)
        self._mark(number, changes)
        self._is_behind |= self._cells[number] != theirs

    def _take(self, number: int, theirs: NotebookNode) -> None:
        """Update a cell of theirs to what they have saved, in place, because others refer to the object."""
        cell = self._cells[number]
        ours = cell["metadata"].get("nbtape")
        metadata = {key: value for key, value in theirs["metadata"].items() if key not in _RECORDED_KEYS}
        cell.clear()
        cell.update(from_dict(fit_json({**theirs, "metadata": metadata})))
        if ours is not None:
            cell["metadata"]["nbtape"] = ours
        self._cells.touch(number)

    def _take_presentation(self, number: int, theirs: NotebookNode) -> set[str]:
        """Take over metadata of other programs and added tags; return what counts as a change."""
        cell = self._cells[number]
        ours, tags = cell["metadata"], theirs["metadata"].get("tags", [])
        added = [tag for tag in tags if tag not in ours.get("tags", []) and tag not in _RECORDED_TAGS]
        metadata = {key: value for key, value in theirs["metadata"].items() if key not in {*_RECORDED_KEYS, "tags"}}
        metadata |= {key: ours[key] for key in (*_RECORDED_KEYS, "tags") if key in ours}
        if added:
            metadata["tags"] = [*ours.get("tags", []), *added]
        changes = {"tags"} if set(tags) != set(ours.get("tags", [])) else set()
        if metadata == ours:
            return changes
        if json_size(metadata) > MAX_PRESENTATION_CHARS + json_size(ours):
            return {*changes, "metadata"}
        cell["metadata"] = from_dict(fit_json(metadata))
        self._cells.touch(number)
        return changes

    def _keep_version(self, number: int, theirs: NotebookNode) -> None:
        """Keep their version of a recorded cell in a cell after it, replacing a version that they have not seen."""
        name = self._cells.ids[number]
        content = {field: theirs[field] for field in (*_CONTENT, "execution_count") if field in theirs}
        versions = [version for version in self._history.versions.get(number, []) if self._cells.place(version) >= 0]
        if any(_content(self._cells[version]) == _content(content) for version in versions):
            return
        self._is_behind = True
        if versions and self._cells.ids[versions[-1]] not in self._listed:
            cell = self._cells[versions[-1]]
            metadata = cell["metadata"]
            cell.clear()
            cell.update(from_dict(fit_json({"id": self._cells.ids[versions[-1]], **content, "metadata": {}})))
            cell["metadata"] = metadata
            self._cells.touch(versions[-1])
            self._history.change(versions[-1])
            return
        version = self._add(from_dict({"id": str(uuid4()), "metadata": {}, **content}), version_of=name)
        self._history.versions[number] = [*versions, version]
        self._followers.setdefault(number, []).append(version)

    def _keep(self, before: Sequence[int], missing: Collection[int]) -> list[int]:
        """Keep cells that theirs lack after their previous predecessors; return those to put last.

        Added cells that they have seen are deleted. Cells that the recorder has added since are put last, unless the
        recorder has changed the order since.
        """
        tail, previous = [], None
        for number in before:
            if number not in missing:
                previous = number
                continue
            is_unseen, is_theirs = self._history.first[number] > self._seen, number in self._history.theirs
            if is_theirs and not is_unseen:
                continue
            self._is_behind = True
            if is_unseen and not is_theirs and not self._keeps_order:
                tail.append(number)
                previous = number
                continue
            if not is_unseen:
                self._mark(number, {"deleted"})
            self._followers.setdefault(previous, []).append(number)
        return self._with_followers(tail)

    def _with_followers(self, numbers: Sequence[int]) -> list[int]:
        return [each for number in numbers for each in (number, *self._followers.get(number, []))]

    def _mark_moved(self, before: Sequence[int], order: Sequence[int]) -> None:
        """Mark the smallest set of recorded cells whose moves explain the new order."""
        place = {number: position for position, number in enumerate(before)}
        shown = [number for number in order if number in place and number not in self._history.theirs]
        kept = _longest_increasing([place[number] for number in shown])
        if len(kept) < len(shown):
            for number in shown:
                if place[number] not in kept:
                    self._mark(number, {"moved"})

    def _mark(self, number: int, changes: set[str]) -> None:
        """Record in a cell's metadata that someone else has changed it."""
        cell = self._cells[number]
        if changes <= marks_of(cell):
            return
        self._is_behind = True
        touched = sorted(marks_of(cell) | changes)
        cell["metadata"]["nbtape"] = from_dict({**own_metadata(cell), "touched": touched})
        self._cells.touch(number)
        self._history.change(number)


def _content(cell: Mapping[str, Any]) -> dict[str, Any]:
    return {field: cell[field] for field in _CONTENT if field in cell}


def _longest_increasing(numbers: Sequence[int]) -> set[int]:
    """The members of a longest increasing subsequence of distinct numbers."""
    ends: list[int] = []  # the smallest end of a subsequence, by its length
    lengths = []
    for number in numbers:
        length = bisect_left(ends, number)
        ends[length : length + 1] = [number]
        lengths.append(length)
    members, wanted = set(), len(ends) - 1
    for number, length in zip(reversed(numbers), reversed(lengths), strict=True):
        if length == wanted:
            members.add(number)
            wanted -= 1
    return members
