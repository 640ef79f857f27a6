"""Store the cells of a notebook, each encoded once: recent ones in memory, the others in a spill file.

The spill file has no name, so a crash leaves nothing behind and code cannot overwrite it.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import weakref
from collections.abc import Sequence
from typing import IO, TYPE_CHECKING, Final, overload

from nbtape.common.untrusted_files import Directory
from nbtape.notebook.encoding import decode_cell, encode_cell
from nbtape.notebook.layout import FIRST, SEPARATOR

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from nbformat import NotebookNode

#: Maximum bytes of memory for cells, and the share of it that stays in use when cells move to the spill file.
MAX_MEMORY_BYTES: Final = 8 << 20
_KEPT_SHARE: Final = 0.75

#: Bytes of the separator that the first cell does not have.
_COMMA_BYTES: Final = len(SEPARATOR) - len(FIRST)

#: Bytes that are read at a time.
_CHUNK_BYTES: Final = 1 << 20


class Shelf(Sequence["NotebookNode"]):
    """Cells by number, which is their order of arrival; call `touch` after changing one.

    `order` has the numbers of the cells that are not deleted, in the notebook's order. A cell in the spill file stays
    the same object as long as anything refers to it. Without a `directory`, all cells stay in memory.
    """

    def __init__(self, cells: Iterable[NotebookNode], directory: Directory | Path | None) -> None:
        self._directory = None if directory is None else Directory.of(directory)
        # By number: cells in memory, the most recently used last; cells that others may refer to; and the encoding of
        # each cell, or its position in the spill file.
        self._nodes: dict[int, NotebookNode] = {}
        self._held: weakref.WeakValueDictionary[int, NotebookNode] = weakref.WeakValueDictionary()
        self._encoded: list[bytes | range] = []
        self._stale: set[int] = set()
        self._places: list[int] = []
        # Numbers of blocks (see `numbering`), of the cells that are not deleted.
        self._is_code: list[bool] = []
        self._blocks: list[int] = []
        self.block_count = 0
        self.order: list[int] = []
        self.ids: list[str] = []
        self._numbers: dict[str, int] = {}
        # The first cells, joined because they rarely change, and their number.
        self._front: list[bytearray | range] = []
        self._front_count = 0
        self._weight = 0
        self._file: IO[bytes] | None = None
        self.size = 0  # bytes of all cells, as of the last `encode`
        for cell in cells:
            self.append(cell)
            self.encode()
            self.spill()

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
        return self._load(position)

    def __setitem__(self, index: int, cell: NotebookNode) -> None:
        """Replace a cell; call `touch` afterwards. nbclient assigns the cell that it has read."""
        self[index]  # load it into memory
        self._nodes[index] = cell
        if self._is_code[index] != (cell["cell_type"] == "code"):
            self._is_code[index] = not self._is_code[index]
            self._number_blocks()

    def append(self, cell: NotebookNode) -> int:
        """Add a cell at the end; return its number."""
        number = len(self._encoded)
        self._encoded.append(b"")
        self._places.append(len(self.order))
        self._is_code.append(cell["cell_type"] == "code")
        self.block_count += self._is_code[-1]
        self._blocks.append(self.block_count)
        self.order.append(number)
        self.ids.append(cell["id"])
        self._numbers[cell["id"]] = number
        self._nodes[number] = cell
        self._weight += _weight(b"")
        self._stale.add(number)
        return number

    def arrange(self, order: Sequence[int]) -> None:
        """Set a new order; cells that are not in it are deleted."""
        if order == self.order:
            return
        self.order = list(order)
        self._places = [-1] * len(self)
        for place, number in enumerate(order):
            self._places[number] = place
        self._number_blocks()
        self._front, self._front_count = [], 0
        self.size = sum(len(self._encoded[number]) for number in order)

    def _number_blocks(self) -> None:
        self.block_count = 0
        for number in self.order:
            self.block_count += self._is_code[number]
            self._blocks[number] = self.block_count

    def block(self, number: int) -> int:
        """Number of the block of a cell, from 1; 0 if it is deleted."""
        return self._blocks[number] if self._places[number] >= 0 else 0

    def place(self, number: int) -> int:
        """Position of a cell in the notebook, from 0; -1 if it is deleted."""
        return self._places[number]

    def number(self, cell_id: str) -> int:
        """The latest number of a cell; raises KeyError if the id is unknown."""
        return self._numbers[cell_id]

    def encoded(self, number: int) -> bytes:
        """A cell's JSON as of the last `encode`, without its separator."""
        return b"".join(self._bytes(self._encoded[number])).removeprefix(SEPARATOR)

    def bytes_of(self, number: int) -> int:
        """Bytes of a cell in the notebook, as of the last `encode`; 0 if it is deleted."""
        return len(self._encoded[number]) if self._places[number] >= 0 else 0

    @property
    def length(self) -> int:
        """Number of bytes of `pieces`."""
        return max(0, self.size - _COMMA_BYTES)

    def touch(self, index: int) -> None:
        """Mark cell `index` as changed, to be encoded again."""
        self[index]  # load it into memory
        self._stale.add(index)

    def encode(self) -> list[tuple[int, bytes]]:
        """Encode the cells that have changed since the last call; return their numbers and JSON."""
        changed = []
        for index in sorted(self._stale):
            encoded = SEPARATOR + encode_cell(self._nodes[index])
            if self._places[index] >= 0:
                self.size += len(encoded) - len(self._encoded[index])
            self._weight += _weight(encoded) - _weight(self._encoded[index])
            self._set(index, encoded)
            changed.append((index, encoded))
        self._stale.clear()
        return changed

    def pieces(self) -> Iterator[memoryview]:
        """The JSON of all cells as of the last `encode`, with separators."""
        last = max(0, len(self.order) - 1)
        for number in self.order[self._front_count : last]:
            _join(self._front, self._encoded[number])
        self._front_count = last
        skipped = _COMMA_BYTES
        for encoded in itertools.chain(self._front, (self._encoded[number] for number in self.order[last:])):
            for piece in self._bytes(encoded):
                yield memoryview(piece)[skipped:]
                skipped = 0

    def _set(self, index: int, encoded: bytes | range) -> None:
        self._encoded[index] = encoded
        if 0 <= self._places[index] < self._front_count:
            self._front, self._front_count = [], 0

    def spill(self) -> None:
        """Move the least recently used cells to the spill file if they take too much memory.

        Moves more than necessary, because the joined cells must be rejoined afterwards.
        """
        if self._directory is None or self._weight <= MAX_MEMORY_BYTES:
            return
        with contextlib.suppress(OSError):  # the disk is full: the next call tries again
            for index in list(self._nodes)[:-1]:
                if self._weight <= MAX_MEMORY_BYTES * _KEPT_SHARE:
                    return
                if index not in self._stale:
                    encoded = self._encoded[index]
                    if isinstance(encoded, bytes):
                        self._set(index, self._store(encoded))
                    self._held[index] = self._nodes.pop(index)
                    self._weight -= _weight(encoded)

    def _store(self, encoded: bytes) -> range:
        """Append a cell to the spill file and return its position; if that fails, the file is unchanged."""
        if self._file is None:
            assert self._directory is not None, "cells are moved to a file in it"
            self._directory.refresh()
            self._file = self._directory.temporary_file()
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

    def _load(self, index: int) -> NotebookNode:
        """Load a cell from the spill file."""
        node = self._held.get(index)
        if node is None:
            node = decode_cell(self.encoded(index))
        self._nodes[index] = node
        self._weight += _weight(self._encoded[index])
        return node

    def _bytes(self, encoded: bytes | bytearray | range) -> Iterator[bytes | bytearray]:
        if not isinstance(encoded, range):
            yield encoded
            return
        assert self._file is not None, "the cell was written to the spill file"
        for start in range(encoded.start, encoded.stop, _CHUNK_BYTES):
            self._file.seek(start)
            yield self._file.read(min(_CHUNK_BYTES, encoded.stop - start))


def _weight(encoded: bytes | range) -> int:
    """Bytes of memory for a cell: its text, its encoding and its objects."""
    return 2 * len(encoded) + 4096


def _join(front: list[bytearray | range], encoded: bytes | range) -> None:
    """Append a cell to the joined ones, in memory or as a position in the spill file."""
    last = front[-1] if front else None
    if isinstance(encoded, bytes):
        if not isinstance(last, bytearray):
            front.append(last := bytearray())
        last += encoded
    elif isinstance(last, range) and last.stop == encoded.start:
        front[-1] = range(last.start, encoded.stop)
    else:
        front.append(encoded)
