"""Choose the cells of a recorded run to keep: those that succeeded, and failed ones that they depend on."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from itertools import groupby, takewhile
from typing import TYPE_CHECKING, Any, Final

from nbtape.notebook.numbering import code_cells
from nbtape.replay.expectations import expectation

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from nbformat import NotebookNode

_HEADING: Final = re.compile(r"^ {0,3}#{1,6} ", re.MULTILINE)
_MISSING_NAME: Final = re.compile(r"name '(\w+)' is not defined")

#: Statuses of failed cells that later cells may depend on: their kernel survived.
_MAY_BE_NEEDED: Final = frozenset({"error", "timeout", "interrupted"})


@dataclass(frozen=True, slots=True)
class CellNote:
    """A cell of the recorded notebook, by its position and its number, and why it is dropped or what changed."""

    index: int
    block: int
    reason: str


def left_out(notebook: Mapping[str, Any], put_back: Collection[str] = ()) -> list[CellNote]:
    """List the dropped code cells: failed, stopped, not run or empty, and without an id in `put_back`."""
    return [
        CellNote(index, block, reason)
        for index, block, cell in code_cells(notebook["cells"])
        if cell["id"] not in put_back and (reason := _drop_reason(cell))
    ]


def cleaned(notebook: NotebookNode, put_back: Collection[str]) -> NotebookNode:
    """Return a notebook without the dropped cells and the Markdown that introduced only them."""
    dropped = {notebook["cells"][cell.index]["id"] for cell in left_out(notebook, put_back)}
    cells = [cell for message in _messages(notebook["cells"]) for cell in _kept(message, dropped)]
    document: NotebookNode = type(notebook)({**notebook, "cells": cells})
    return document


def needed(notebook: Mapping[str, Any], broken: str, error: str, put_back: Collection[str]) -> list[str]:
    """Return the ids of dropped cells before the cell `broken` that may fix its error; empty if no cell can.

    A failed cell has often done most of its work, and later cells depend on that.
    """
    candidates = [
        cell
        for cell in takewhile(lambda cell: cell["id"] != broken, notebook["cells"])
        if cell["cell_type"] == "code"
        and cell["id"] not in put_back
        and _drop_reason(cell)
        and expectation(cell).status in _MAY_BE_NEEDED
    ]
    missing = _MISSING_NAME.search(error)
    defining = [cell for cell in candidates if missing and missing[1] in _defined_names(cell["source"])]
    return [cell["id"] for cell in defining[-1:] or candidates]


def _drop_reason(cell: Mapping[str, Any]) -> str:
    """The reason to drop a cell; empty to keep it."""
    expected = expectation(cell)
    if not cell["source"].strip():
        return "it is empty"
    if not expected.runs:
        return "it was not run"
    if expected.status == "running":
        return "its recording was cut off"
    return f"it failed ({expected.status})" if expected.failed else ""


def _messages(cells: Sequence[NotebookNode]) -> Iterator[list[NotebookNode]]:
    """Group the cells: Markdown together with the code cells after it."""
    message: list[NotebookNode] = []
    for is_code, group in groupby(cells, lambda cell: cell["cell_type"] == "code"):
        message += group
        if is_code:
            yield message
            message = []
    yield message


def _kept(message: Sequence[NotebookNode], dropped: Collection[str]) -> list[NotebookNode]:
    code = [cell for cell in message if cell["cell_type"] == "code"]
    rest = [cell for cell in message if cell["id"] not in dropped]
    if not code or any(cell["cell_type"] == "code" for cell in rest):
        return rest
    return [cell for cell in rest if _HEADING.search(str(cell.get("source", "")))]


def _defined_names(source: str) -> set[str]:
    """The names that Python code may define, ignoring magics; empty if it does not parse."""
    plain = "\n".join("" if line.lstrip().startswith(("%", "!")) else line for line in source.splitlines())
    try:
        tree = ast.parse(plain)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return set()
    bound: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            bound.add(node.id)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            bound.add(node.name)
        elif isinstance(node, ast.alias):
            bound.add((node.asname or node.name).partition(".")[0])
    return bound
