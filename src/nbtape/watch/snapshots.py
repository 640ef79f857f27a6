"""Read a notebook repeatedly and find the cells that have changed since the last time.

An unchanged notebook costs two calls of `stat`. If only the journal has grown, only that is read. A rewritten notebook
is read again, but only its new cells are parsed.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

from nbtape.common.json_cost import is_nested_deeper
from nbtape.notebook.atomic_write import version_of
from nbtape.notebook.journal import fold_in, path_of, read_journal
from nbtape.notebook.layout import CELL_END, FIRST, HEAD, SEPARATOR
from nbtape.notebook.lock import is_being_written
from nbtape.notebook.read import MAX_DEPTH, check_cost, parse_unchecked, read_whole
from nbtape.summary.normalise import dict_of, fit_cell, fit_output

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from nbtape.notebook.atomic_write import Version

_OPENING: Final = b"{\n"
_LAST: Final = b"\n ]"
_END_BEFORE_CELL: Final = re.compile(re.escape(CELL_END) + b"(?=" + re.escape(SEPARATOR + _OPENING) + b")")


@dataclass(frozen=True, slots=True)
class CellSnapshot:
    """A cell. Its `digest` changes with its content, and `key` identifies it in all snapshots.

    `outline` is the normalized cell (see `fit_cell`), with only errors as outputs, also normalized.
    """

    digest: bytes
    outline: dict[str, Any]
    _content: memoryview
    key: str = ""

    def load(self) -> dict[str, Any]:
        """The normalized cell with its outputs, which `fit_output` still has to normalize."""
        return fit_cell(json.loads(bytes(self._content)))


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The content of a notebook; `changed` has the positions of cells that are new or changed since the last one."""

    metadata: Mapping[str, Any]
    cells: Sequence[CellSnapshot]
    changed: Sequence[int]


class SnapshotReader:
    """Takes snapshots of one notebook."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._is_recorded = False
        self._versions: tuple[Version | None, Version | None] = (None, None)
        # The content of the notebook file, without its journal.
        self._metadata: dict[str, Any] = {}
        self._cells: list[CellSnapshot] = []
        self._digests: dict[str, bytes] = {}

    def read(self) -> Snapshot | None:
        """Read the notebook; None if it is missing or has not changed.

        Raises:
            NotebookReadError: The file is not a notebook, perhaps because another program is writing it.
        """
        versions = version_of(self._path), version_of(path_of(self._path))
        if versions == self._versions or versions[0] is None:
            return None
        self._is_recorded = self._is_recorded or is_being_written(self._path)
        journal = read_journal(self._path)
        if versions[0] != self._versions[0] or version_of(self._path) != versions[0]:
            content, journal = read_whole(self._path)
            self._parse(content)
        self._versions = versions
        # Without a recorder, a journal may have come with the notebook.
        return self._compare(*self._with_journal(journal if self._is_recorded else b""))

    def _parse(self, content: bytes) -> None:
        check_cost(self._path, content)
        known = {cell.digest: cell.outline for cell in self._cells}
        try:
            document, parts = cut(self._path, content)
            cells = [_cell(part, known) for part in parts]
        except (ValueError, RecursionError):  # another layout or not a notebook
            document = parse_unchecked(self._path, content)
            cells = [_cell(_encode(cell), known) for cell in document["cells"]]
        self._metadata, self._cells = dict_of(document.get("metadata")), cells

    def _with_journal(self, journal: bytes) -> tuple[Mapping[str, Any], list[CellSnapshot]]:
        ours = {id(cell.outline): cell for cell in self._cells}
        outlines = [cell.outline for cell in self._cells]
        document: dict[str, Any] = {"metadata": dict(self._metadata), "cells": outlines}
        fold_in(document, journal)
        cells = [ours.get(id(cell)) or _cell(_encode(cell), {}) for cell in document["cells"]]
        return document["metadata"], cells

    def _compare(self, metadata: Mapping[str, Any], found: Sequence[CellSnapshot]) -> Snapshot:
        cells = [replace(cell, key=key) for cell, key in zip(found, _keys(found), strict=True)]
        changed = [index for index, cell in enumerate(cells) if self._digests.get(cell.key) != cell.digest]
        self._digests = {cell.key: cell.digest for cell in cells}
        return Snapshot(metadata, cells, changed)


def cut(path: Path, content: bytes) -> tuple[dict[str, Any], list[memoryview]]:
    """Split a notebook in nbformat's layout into the notebook without cells, and each cell as unchecked JSON.

    Raises:
        ValueError: It has another layout.
    """
    begin, end = len(HEAD + FIRST), content.find(CELL_END + _LAST)
    if end < 0 or not content.startswith(HEAD + FIRST + _OPENING):
        raise ValueError("not laid out as nbformat does it")
    document = parse_unchecked(path, HEAD + content[end + len(CELL_END) :])
    ends = (found.end() for found in _END_BEFORE_CELL.finditer(content, begin, end))
    edges = [begin - len(SEPARATOR), *ends, end + len(CELL_END)]
    view = memoryview(content)
    return document, [view[left + len(SEPARATOR) : right] for left, right in pairwise(edges)]


def _encode(cell: object) -> memoryview:
    return memoryview(json.dumps(cell).encode())


def _cell(content: memoryview, known: Mapping[bytes, dict[str, Any]]) -> CellSnapshot:
    """A cell; it is not parsed if its digest is known."""
    digest = hashlib.blake2b(content, digest_size=16).digest()
    if digest in known:
        return CellSnapshot(digest, known[digest], content)
    cell = json.loads(bytes(content))
    if not isinstance(cell, dict) or is_nested_deeper(cell, MAX_DEPTH):
        raise ValueError("a cell is an object, and not nested deep")  # the caller then parses the whole file
    outline = fit_cell(cell)
    outline["outputs"] = [fit_output(output) for output in outline["outputs"] if output["output_type"] == "error"]
    return CellSnapshot(digest, outline, content)


def _keys(cells: Sequence[CellSnapshot]) -> list[str]:
    """The ids of the cells; a cell without a unique id also gets a number."""
    counts: Counter[str] = Counter()
    keys = []
    for cell in cells:
        name = cell.outline["id"]
        keys.append(name if name and not counts[name] else f"{name} {counts[name]}")
        counts[name] += 1
    return keys
