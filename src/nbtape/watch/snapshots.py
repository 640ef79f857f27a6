"""A notebook, looked at again and again: what is in it now, and which of its cells are not as they were.

A look at what has not changed costs two questions to the file system; at a notebook whose journal has grown, what the
journal costs; at one that was written anew, to read it and to parse the cells that are new.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

from nbtape.errors import NotebookReadError
from nbtape.notebook.atomic_write import version_of
from nbtape.notebook.journal import fold_in, path_of, read_journal
from nbtape.notebook.layout import CELL_END, FIRST, HEAD, SEPARATOR
from nbtape.notebook.read import parse_unchecked, read_whole
from nbtape.summary.normalise import fit_cell, fit_output

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from nbtape.notebook.atomic_write import Version

_LAST: Final = b"\n ]"


@dataclass(frozen=True, slots=True)
class SeenCell:
    """A cell, as it was at one look.

    Args:
        key: What it is known by, from look to look.
        digest: What is another when anything in it is.
        outline: The cell in shape (see `fit_cell`), without its outputs but for errors, in shape as well.
    """

    key: str
    digest: bytes
    outline: Mapping[str, Any]
    _content: memoryview

    def load(self) -> dict[str, Any]:
        """The cell in shape, with its outputs; each of those is for `fit_output`."""
        return fit_cell(json.loads(bytes(self._content)))


@dataclass(frozen=True, slots=True)
class Look:
    """What a notebook holds.

    Args:
        metadata: The notebook's.
        cells: Its cells, in order.
        changed: The positions of those that are new or not as they were at the look before.
    """

    metadata: Mapping[str, Any]
    cells: Sequence[SeenCell]
    changed: Sequence[int]


class Looker:
    """One for a notebook.

    Args:
        path: The notebook.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._versions: tuple[Version | None, Version | None] = (None, None)
        # The notebook without its cells, and those: without what its journal adds.
        self._frame: dict[str, Any] = {}
        self._pieces: list[_Piece] = []
        self._seen: dict[str, bytes] = {}

    def look(self) -> Look | None:
        """What is there; None if that is what was there the last time, or nothing.

        Raises:
            NotebookReadError: It is no notebook, or not at this moment: another program may be writing it.
        """
        versions = version_of(self._path), version_of(path_of(self._path))
        if versions == self._versions or versions[0] is None:
            return None
        journal = read_journal(self._path)
        if versions[0] != self._versions[0] or version_of(self._path) != versions[0]:
            content, journal = read_whole(self._path)
            self._take_in(content)
        self._versions = versions
        return self._compare(self._folded(journal))

    def _take_in(self, content: bytes) -> None:
        """Parse those cells that were not there the last time."""
        known = {piece.digest: piece for piece in self._pieces}
        try:
            frame, contents = cut(self._path, content) or parse(self._path, content)
            pieces = [_piece(each, known) for each in contents]
        except (ValueError, RecursionError):  # no notebook, or none that could be cut
            frame, contents = parse(self._path, content)
            pieces = [_piece(each, known) for each in contents]
        self._frame, self._pieces = frame, pieces

    def _folded(self, journal: bytes) -> tuple[Mapping[str, Any], list[_Piece]]:
        """The metadata, and the cells, with what the journal has of them."""
        ours = {id(piece.outline): piece for piece in self._pieces}
        metadata = self._frame.get("metadata")
        document: dict[str, Any] = {
            "metadata": dict(metadata) if isinstance(metadata, dict) else {},
            "cells": [piece.outline for piece in self._pieces],
        }
        fold_in(document, journal)
        cells = [ours.get(id(cell)) or _piece(memoryview(json.dumps(cell).encode())) for cell in document["cells"]]
        return document["metadata"], cells

    def _compare(self, found: tuple[Mapping[str, Any], list[_Piece]]) -> Look:
        metadata, pieces = found
        cells = [
            SeenCell(key, piece.digest, piece.outline, piece.content)
            for key, piece in zip(_keys(pieces), pieces, strict=True)
        ]
        changed = [index for index, cell in enumerate(cells) if self._seen.get(cell.key) != cell.digest]
        self._seen = {cell.key: cell.digest for cell in cells}
        return Look(metadata, cells, changed)


@dataclass(frozen=True, slots=True)
class _Piece:
    digest: bytes
    outline: dict[str, Any]
    content: memoryview


def _piece(content: memoryview, known: Mapping[bytes, _Piece] | None = None) -> _Piece:
    digest = hashlib.blake2b(content, digest_size=16).digest()
    if known and digest in known:
        return _Piece(digest, known[digest].outline, content)
    cell = json.loads(bytes(content))
    if not isinstance(cell, dict):
        raise ValueError("a cell is an object")  # noqa: TRY004  (as JSON says what is wrong with it)
    outline = fit_cell(cell)
    outline["outputs"] = [fit_output(output) for output in outline["outputs"] if output["output_type"] == "error"]
    return _Piece(digest, outline, content)


def _keys(pieces: Sequence[_Piece]) -> list[str]:
    """What the cells are known by: their ids, and where there are none, or some twice, a number besides."""
    counts: Counter[str] = Counter()
    keys = []
    for piece in pieces:
        name = piece.outline["id"]
        keys.append(name if name and not counts[name] else f"{name} {counts[name]}")
        counts[name] += 1
    return keys


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
