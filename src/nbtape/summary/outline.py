"""A notebook without its outputs, but for errors: what tells how a run went, read without a look at the rest.

A session of 100 MB is outputs for the most part, and JSON takes its time for them. The first line that closes a bracket
at the level of `outputs` is the end of them, see `layout`.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, Final

from nbtape.errors import NotebookReadError
from nbtape.notebook.layout import CELL_END, FIRST, HEAD
from nbtape.notebook.read import parse_unchecked, read_whole

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_HEAD: Final = HEAD + FIRST + b'{\n   "'
_BEGIN: Final = b'\n   "outputs": [\n'
_END: Final = b'\n   ],\n   "source": '
_NEXT_CELL: Final = CELL_END + b","
_ERROR: Final = b'\n     "output_type": "error"'


def read_outline(path: Path) -> dict[str, Any]:
    """A notebook as `nbtape.notebook.read.read_unchecked` has it, with outputs only in cells with an error among them.

    Raises:
        NotebookReadError: There is none, or it is no notebook of nbformat 4.
    """
    content, journal = read_whole(path)
    # What is laid out otherwise, or broken: there the whole is the one to be told of.
    with contextlib.suppress(NotebookReadError, _LaidOutOtherwiseError):
        return parse_unchecked(path, b"".join(_without_outputs(content)), journal)
    return parse_unchecked(path, content, journal)


class _LaidOutOtherwiseError(Exception):
    """It was not nbformat that wrote this."""


def _without_outputs(content: bytes) -> Iterator[bytes]:
    """The pieces of a notebook that remain.

    Raises:
        _LaidOutOtherwiseError: The end of outputs cannot be told.
    """
    if not content.startswith(_HEAD):
        raise _LaidOutOtherwiseError
    done = 0
    while (begin := content.find(_BEGIN, done)) >= 0:
        end = content.find(_END, begin)
        if end < 0 or content.find(_NEXT_CELL, begin, end) >= 0:
            raise _LaidOutOtherwiseError
        keeps = content.find(_ERROR, begin, end) >= 0
        yield content[done : end if keeps else begin + len(_BEGIN)]
        done = end
    yield content[done:]
