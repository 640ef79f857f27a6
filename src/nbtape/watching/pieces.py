"""The bytes of a notebook, cut into cells without being parsed: of 100 MB, a look reads but what has changed.

As nbformat lays a notebook out, a line in JSON begins with a blank for each level that it is deep, and no text in it
can hold a newline: so the lines that open and close a cell are known by their beginning.
"""

from __future__ import annotations

import json
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

from nbtape.errors import NotebookReadError
from nbtape.reader import parse_unchecked

if TYPE_CHECKING:
    from pathlib import Path

_HEAD: Final = b'{\n "cells": ['
_FIRST: Final = b"\n  "
_END: Final = b"\n  }"
_GAP: Final = b",\n  "
_LAST: Final = b"\n ]"


def cut(path: Path, content: bytes) -> tuple[dict[str, Any], list[memoryview]] | None:
    """A notebook without its cells, and each cell as JSON; None where it is not laid out as nbformat does it.

    Args:
        path: The file, for errors.
        content: What it holds. Whether a cell is JSON is not looked at.
    """
    begin, end = len(_HEAD + _FIRST), content.find(_END + _LAST)
    if end < 0 or not content.startswith(_HEAD + _FIRST + b"{\n"):
        return None
    try:
        frame = parse_unchecked(path, _HEAD + content[end + len(_END) :])
    except NotebookReadError:
        return None
    view = memoryview(content)
    edges = [begin - len(_GAP), *_gaps(content, begin, end), end + len(_END)]
    return frame, [view[left + len(_GAP) : right] for left, right in pairwise(edges)]


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
    while (begin := content.find(_END + _GAP + b"{\n", begin, end)) >= 0:
        begin += len(_END)
        found.append(begin)
    return found
