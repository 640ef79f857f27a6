"""The bytes of a notebook, cut into cells without being parsed: of 100 MB, a look reads but what has changed."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

from nbtape.errors import NotebookReadError
from nbtape.layout import CELL_END, FIRST, HEAD, SEPARATOR
from nbtape.notebook.read import parse_unchecked

if TYPE_CHECKING:
    from pathlib import Path

_LAST: Final = b"\n ]"


def cut(path: Path, content: bytes) -> tuple[dict[str, Any], list[memoryview]] | None:
    """A notebook without its cells, and each cell as JSON; None where it is not laid out as nbformat does it.

    Args:
        path: The file, for errors.
        content: What it holds. Whether a cell is JSON is not looked at.
    """
    begin, end = len(HEAD + FIRST), content.find(CELL_END + _LAST)
    if end < 0 or not content.startswith(HEAD + FIRST + b"{\n"):
        return None
    try:
        frame = parse_unchecked(path, HEAD + content[end + len(CELL_END) :])
    except NotebookReadError:
        return None
    view = memoryview(content)
    edges = [begin - len(SEPARATOR), *_gaps(content, begin, end), end + len(CELL_END)]
    return frame, [view[left + len(SEPARATOR) : right] for left, right in pairwise(edges)]


def parse(path: Path, content: bytes) -> tuple[dict[str, Any], list[memoryview]]:
    """The same, however it is laid out.

    Raises:
        NotebookReadError: It is no notebook of nbformat 4.
    """
    document = parse_unchecked(path, content)
    cells = [memoryview(json.dumps(cell).encode()) for cell in document["cells"]]
    return {**document, "cells": []}, cells


def _gaps(content: bytes, begin: int, end: int) -> list[int]:
    """Where the cells end that have another one after them."""
    found = []
    while (begin := content.find(CELL_END + SEPARATOR + b"{\n", begin, end)) >= 0:
        begin += len(CELL_END)
        found.append(begin)
    return found
