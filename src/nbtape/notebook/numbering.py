"""The numbers of blocks, by which everything that people read names them.

Block n is the n-th code cell of the notebook, counted from 1. JupyterLab shows the same number as `In [n]` unless the
kernel was restarted, the session was resumed, or a block was not run. Positions of cells, which count prose from 0,
are for programs only: the attribute `index` and JSON.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

Cell = TypeVar("Cell", bound="Mapping[str, Any]")


def block_numbers(cells: Iterable[Mapping[str, Any]]) -> list[int]:
    """The number of each cell; that of prose is the one of the block before it, or 0."""
    return list(itertools.accumulate(int(cell["cell_type"] == "code") for cell in cells))


def code_cells(cells: Iterable[Cell]) -> Iterator[tuple[int, int, Cell]]:
    """The position, number and content of each code cell."""
    block = 0
    for index, cell in enumerate(cells):
        if cell["cell_type"] == "code":
            block += 1
            yield index, block, cell


def place_name(number: int, *, is_code: bool) -> str:
    """What to call a cell with this number."""
    if is_code:
        return f"block {number}"
    return f"text after block {number}" if number else "text before block 1"
