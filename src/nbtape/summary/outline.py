"""Read a notebook without its outputs, except failures, which is enough for a summary and fast for large notebooks.

Outputs end at the first line that closes a bracket at their level, see `layout`.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, Final

from nbtape.notebook.failures import FAILURE_NOTICE
from nbtape.notebook.layout import CELL_END, FIRST, HEAD
from nbtape.notebook.read import parse_unchecked, read_shown

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_HEAD: Final = HEAD + FIRST + b'{\n   "'
_BEGIN: Final = b'\n   "outputs": [\n'
_END: Final = b'\n   ],\n   "source": '
_NEXT_CELL: Final = CELL_END + b","
_ERROR: Final = b'\n     "output_type": "error"'
_NOTICE: Final = FAILURE_NOTICE.strip().encode()


def read_outline(path: Path) -> dict[str, Any]:
    """Read a notebook like `read_unchecked`, with outputs only in cells that show a failure.

    Raises:
        NotebookReadError: The file is missing, or is not a notebook of nbformat 4.
    """
    content, journal = read_shown(path)
    with contextlib.suppress(ValueError):  # another layout, or invalid: parse the whole file
        return parse_unchecked(path, b"".join(_without_outputs(content)), journal)
    return parse_unchecked(path, content, journal)


def _without_outputs(content: bytes) -> Iterator[bytes]:
    """The pieces of a notebook without outputs.

    Raises:
        ValueError: It does not have nbformat's layout.
    """
    if not content.startswith(_HEAD):
        raise ValueError("not laid out as nbformat does it")
    done = 0
    while (begin := content.find(_BEGIN, done)) >= 0:
        end = content.find(_END, begin)
        if end < 0 or content.find(_NEXT_CELL, begin, end) >= 0:
            raise ValueError("the outputs have no end")
        keeps = any(content.find(mark, begin, end) >= 0 for mark in (_ERROR, _NOTICE))
        yield content[done : end if keeps else begin + len(_BEGIN)]
        done = end
    yield content[done:]
