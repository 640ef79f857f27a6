"""The cells of a notebook, each encoded once: those in use in memory, the others in a file that nobody else has.

That file has no name, so that nothing is left of it whatever ends us, and code that writes over the notebook, by
mistake or not, takes nothing from the record.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import tempfile
import weakref
from collections.abc import Sequence
from typing import IO, TYPE_CHECKING, Final, overload

from nbtape.notebook.encoding import decode_cell, encode_cell
from nbtape.notebook.layout import FIRST, SEPARATOR

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from nbformat import NotebookNode

#: Bytes of memory that cells may take.
ROOM: Final = 8 << 20
#: How much of that they take when some have been put away.
_FILLED: Final = 0.75

#: The bytes of what separates cells that the first does without.
_COMMA: Final = len(SEPARATOR) - len(FIRST)

#: Bytes that are copied at a time.
_PIECE: Final = 1 << 20


class Shelf(Sequence["NotebookNode"]):
    """Cells by their number, which is theirs for good. Whoever changes one says so with `touch`.

    Numbers are in the order in which the cells came. In the notebook they stand in an `order` of its own, and one that
    somebody has deleted is not there any more. A cell that is put away stays the same object for as long as somebody
    holds it.

    Args:
        cells: What it begins with.
        directory: Where cells go that are put away; None to keep all in memory.
    """

    def __init__(self, cells: Iterable[NotebookNode], directory: Path | None) -> None:
        self._directory = directory
        # By number: those in memory, the last used last; those that somebody may hold; and of each the bytes, or
        # where in the file they are.
        self._nodes: dict[int, NotebookNode] = {}
        self._held: weakref.WeakValueDictionary[int, NotebookNode] = weakref.WeakValueDictionary()
        self._encoded: list[bytes | range] = []
        self._stale: set[int] = set()
        self._places: list[int | None] = []
        #: The numbers of the cells that the notebook has, as they stand there; and the ids of all.
        self.order: list[int] = []
        self.ids: list[str] = []
        self._numbers: dict[str, int] = {}
        # The cells from the first on that have long been as they are, as one: so many of them.
        self._front: list[bytearray | range] = []
        self._front_count = 0
        self._weight = 0
        self._file: IO[bytes] | None = None
        #: The bytes of all cells, as of the last `encode`.
        self.size = 0
        for cell in cells:
            self.append(cell)
            self.encode()
            self.put_away()

    def __len__(self) -> int:
        return len(self._encoded)

    @overload
    def __getitem__(self, index: int) -> NotebookNode: ...
    @overload
    def __getitem__(self, index: slice) -> list[NotebookNode]: ...

    def __getitem__(self, index: int | slice) -> NotebookNode | list[NotebookNode]:
        if isinstance(index, slice):
            return [self[position] for position in range(*index.indices(len(self)))]
        position = range(len(self))[index]
        if position in self._nodes:
            self._nodes[position] = node = self._nodes.pop(position)
            return node
        return self._take_back(position)

    def __setitem__(self, index: int, cell: NotebookNode) -> None:
        """Have `cell` for a number, as of the next `touch`: nbclient puts back what it has taken."""
        self[index]  # in memory, whatever became of it
        self._nodes[index] = cell

    def append(self, cell: NotebookNode) -> int:
        """Add a cell at the end; return its number."""
        number = len(self._encoded)
        self._encoded.append(b"")
        self._places.append(len(self.order))
        self.order.append(number)
        self.ids.append(cell["id"])
        self._numbers[cell["id"]] = number
        self._nodes[number] = cell
        self._weight += _weight(b"")
        self._stale.add(number)
        return number

    def arrange(self, order: Sequence[int]) -> None:
        """Have cells stand in another order; those that are not in it are not in the notebook any more."""
        if order == self.order:
            return
        self.order = list(order)
        self._places = [None] * len(self)
        for place, number in enumerate(order):
            self._places[number] = place
        self._front, self._front_count = [], 0
        self.size = sum(len(self._encoded[number]) for number in order)

    def place(self, number: int) -> int | None:
        """Where a cell stands in the notebook, from 0; None if somebody has deleted it."""
        return self._places[number]

    def number(self, cell_id: str) -> int:
        """The number of a cell that was appended; the last one, where somebody has deleted it and put it back.

        Raises:
            KeyError: There is none of that id.
        """
        return self._numbers[cell_id]

    def encoded(self, number: int) -> bytes:
        """A cell as it stands in a notebook, as of the last `encode`, without what separates it."""
        return b"".join(self._bytes(self._encoded[number])).removeprefix(SEPARATOR)

    @property
    def length(self) -> int:
        """The bytes of `pieces`."""
        return max(0, self.size - _COMMA)

    def touch(self, index: int) -> None:
        """Cell `index` has changed."""
        self[index]  # in memory, whatever became of it
        self._stale.add(index)

    def encode(self) -> list[tuple[int, bytes]]:
        """Encode what has changed since the last time; return that, by number."""
        changed = []
        for index in sorted(self._stale):
            encoded = SEPARATOR + encode_cell(self._nodes[index])
            if self._places[index] is not None:
                self.size += len(encoded) - len(self._encoded[index])
            self._weight += _weight(encoded) - _weight(self._encoded[index])
            self._set(index, encoded)
            changed.append((index, encoded))
        self._stale.clear()
        return changed

    def pieces(self) -> Iterator[memoryview]:
        """All cells as they stand in a notebook, as of the last `encode`."""
        last = max(0, len(self.order) - 1)
        for number in self.order[self._front_count : last]:
            _join(self._front, self._encoded[number])
        self._front_count = last
        skipped = _COMMA
        for encoded in itertools.chain(self._front, (self._encoded[number] for number in self.order[last:])):
            for piece in self._bytes(encoded):
                yield memoryview(piece)[skipped:]
                skipped = 0

    def _set(self, index: int, encoded: bytes | range) -> None:
        self._encoded[index] = encoded
        place = self._places[index]
        if place is not None and place < self._front_count:
            self._front, self._front_count = [], 0

    def put_away(self) -> None:
        """Keep no more in memory than there is room for: what was not used for the longest time goes first.

        Some more goes than must, for after that what is written is put together anew.
        """
        if self._directory is None or self._weight <= ROOM:
            return
        with contextlib.suppress(OSError):  # a full disk: it is tried again
            for index in list(self._nodes)[:-1]:
                if self._weight <= ROOM * _FILLED:
                    return
                if index not in self._stale:
                    self._put_away(index)

    def _put_away(self, index: int) -> None:
        encoded = self._encoded[index]
        if isinstance(encoded, bytes):
            self._set(index, self._store(encoded))
        self._held[index] = self._nodes.pop(index)
        self._weight -= _weight(encoded)

    def _store(self, encoded: bytes) -> range:
        """Write a cell to the file. Where that fails, the end of the file is as it was."""
        if self._file is None:
            self._file = tempfile.TemporaryFile(dir=self._directory, buffering=0)  # noqa: SIM115  (open as long as we live)
            weakref.finalize(self, self._file.close)
        start = self._file.seek(0, os.SEEK_END)
        try:
            written = 0
            while written < len(encoded):
                written += self._file.write(memoryview(encoded)[written:])
        except OSError:
            self._file.truncate(start)
            raise
        return range(start, start + len(encoded))

    def _take_back(self, index: int) -> NotebookNode:
        """A cell that was put away."""
        node = self._held.get(index)
        encoded = self._encoded[index]
        if node is None:
            node = decode_cell(self.encoded(index))
        self._nodes[index] = node
        self._weight += _weight(encoded)
        return node

    def _bytes(self, encoded: bytes | bytearray | range) -> Iterator[bytes | bytearray]:
        if not isinstance(encoded, range):
            yield encoded
            return
        assert self._file is not None, "what is in the file was written"
        for start in range(encoded.start, encoded.stop, _PIECE):
            self._file.seek(start)
            yield self._file.read(min(_PIECE, encoded.stop - start))


def _weight(encoded: bytes | range) -> int:
    """What a cell takes in memory: its text, the same encoded, and the objects it consists of."""
    return 2 * len(encoded) + 4096


def _join(front: list[bytearray | range], encoded: bytes | range) -> None:
    """Add a cell to others: to the bytes of the last ones, or to their place in the file."""
    last = front[-1] if front else None
    if isinstance(encoded, bytes):
        if not isinstance(last, bytearray):
            front.append(last := bytearray())
        last += encoded
    elif isinstance(last, range) and last.stop == encoded.start:
        front[-1] = range(last.start, encoded.stop)
    else:
        front.append(encoded)
