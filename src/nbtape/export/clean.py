"""What of a recorded run is worth keeping, and what has to be kept besides because the rest needs it: pure."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any, Final

from nbtape.replay.expectations import expectation

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from nbformat import NotebookNode

_HEADING: Final = re.compile(r"^ {0,3}#{1,6} ", re.MULTILINE)
_MISSING_NAME: Final = re.compile(r"name '(\w+)' is not defined")

#: How a cell ended that may have done something that others build on: its kernel lived on.
_MAY_BE_NEEDED: Final = frozenset({"error", "timeout", "interrupted"})


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A cell of code that is not kept.

    Args:
        index: Its position in the recorded notebook, from 0.
        reason: Why, a clause.
    """

    index: int
    reason: str


def left_out(notebook: Mapping[str, Any], put_back: Collection[str] = ()) -> list[LeftOut]:
    """The cells of code that are not kept: what failed, was stopped, never ran, or is empty.

    Args:
        notebook: The notebook, checked.
        put_back: The ids of cells that are kept all the same.
    """
    return [
        LeftOut(index, reason)
        for index, cell in enumerate(notebook["cells"])
        if cell["cell_type"] == "code" and cell["id"] not in put_back and (reason := _why_not(cell))
    ]


def cleaned(notebook: NotebookNode, put_back: Collection[str]) -> NotebookNode:
    """A notebook of what is kept: without the prose, too, that did no more than lead to what failed.

    Args:
        notebook: The notebook, checked.
        put_back: The ids of cells that are kept although they failed.
    """
    dropped = {notebook["cells"][cell.index]["id"] for cell in left_out(notebook, put_back)}
    cells = [cell for message in _messages(notebook["cells"]) for cell in _kept(message, dropped)]
    document: NotebookNode = type(notebook)({**notebook, "cells": cells})
    return document


def needed(notebook: Mapping[str, Any], broken: str, error: str, put_back: Collection[str]) -> list[str]:
    """The ids of cells to be put back, because a cell after them does not work without them; empty if none could help.

    A block that failed had often done the most of its work by then, and the next one builds on it.

    Args:
        notebook: The notebook, checked.
        broken: The id of the first cell that had worked and does not any more.
        error: What it raises now.
        put_back: Those that are kept already.
    """
    before: list[Mapping[str, Any]] = []
    for cell in notebook["cells"]:
        if cell["id"] == broken:
            break
        before.append(cell)
    candidates = [
        cell
        for cell in before
        if cell["cell_type"] == "code"
        and cell["id"] not in put_back
        and _why_not(cell)
        and expectation(cell).status in _MAY_BE_NEEDED
    ]
    missing = _MISSING_NAME.search(error)
    binding = [cell for cell in candidates if missing and missing[1] in _names(cell["source"])]
    return [cell["id"] for cell in binding[-1:] or candidates]


def _why_not(cell: Mapping[str, Any]) -> str:
    """Why a cell is not kept, a clause; empty if it is."""
    expected = expectation(cell)
    if not cell["source"].strip():
        return "it is empty"
    if not expected.runs:
        return "it was not run"
    if expected.status == "running":
        return "its recording was cut off"
    return f"it failed ({expected.status})" if expected.failed else ""


def _messages(cells: Sequence[NotebookNode]) -> Iterator[list[NotebookNode]]:
    """The cells, each run of prose together with the code after it."""
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
    return [cell for cell in rest if _HEADING.search(cell["source"])]


def _names(source: str) -> set[str]:
    """The names that code may bind, as far as it is Python; lines that are magics aside."""
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
