"""Block n is the n-th code cell, counted from 1."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

from nbformat.v4 import new_code_cell, new_markdown_cell

from nbtape.notebook.cell_store import Shelf
from nbtape.notebook.numbering import block_numbers, place_name

if TYPE_CHECKING:
    from nbformat import NotebookNode


def cells(kinds: str) -> list[NotebookNode]:
    """Code cells for `c`, Markdown cells for `m`."""
    made: list[NotebookNode] = []
    for kind in kinds:
        cell = new_code_cell("1") if kind == "c" else new_markdown_cell("text")
        made.append(cell | {"id": str(uuid.uuid4())})
    return made


def test_prose_does_not_count() -> None:
    assert block_numbers(cells("mcmmccm")) == [0, 1, 1, 1, 2, 3, 3]
    assert place_name(3, is_code=True) == "block 3"
    assert [place_name(number, is_code=False) for number in (0, 3)] == ["text before block 1", "text after block 3"]


def test_a_recording_numbers_its_blocks_in_their_order() -> None:
    shelf = Shelf(cells("mc"), None)
    for cell in cells("cmc"):
        shelf.append(cell)
    assert [shelf.block(number) for number in range(5)] == [0, 1, 2, 2, 3]
    assert shelf.block_count == 3
    shelf.arrange([4, 0, 1, 3])
    assert [shelf.block(number) for number in (4, 1)] == [1, 2]
    assert (shelf.block(2), shelf.block_count) == (0, 2), "a deleted cell has no number"
    shelf[4] = new_markdown_cell("text") | {"id": shelf.ids[4]}
    assert (shelf.block(1), shelf.block_count) == (1, 1)
