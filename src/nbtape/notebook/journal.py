"""The journal beside a notebook: what has changed since it was last saved, because 100 MB cannot be saved every time.

`.<name>.ipynb.journal` is empty or missing when the notebook has everything. All readers in nbtape apply it, and its
writer removes it when it stops; one that is killed leaves it behind for `resume`.

Format, version 1: a line `nbtape journal 1 <started> <revision>` with values of the notebook's metadata (a notebook
of a later revision has all of it), then entries: a line `<kind> <bytes> <CRC-32, hexadecimal>`, the JSON, and a line
end. Kinds: `cell` (a new one), `change` (replaces a cell), `metadata` (the notebook's). An incomplete entry ends it.
"""

from __future__ import annotations

import contextlib
import errno
import io
import json
import os
import sys
import weakref
import zlib
from typing import TYPE_CHECKING, Any, Final, Literal

from nbtape.common.json_cost import costs_more, is_nested_deeper

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

_VERSION: Final = b"nbtape journal 1 "
_ENTRY_WORDS: Final = 3

#: Upper limit of the number of a save, which a notebook may have forged.
_MAX_REVISION: Final = 1 << 53

#: What an entry may cost (see `json_cost`), four times as much as a cell keeps by default; and its maximum nesting.
_MAX_ENTRY_COST: Final = 64_000_000
_MAX_ENTRY_DEPTH: Final = 100

Kind = Literal["cell", "change", "metadata"]


class Journal:
    """The journal of the notebook at a path, for its writer."""

    def __init__(self, notebook: Path) -> None:
        self._path = path_of(notebook)
        self._file: int | None = None
        self._end = 0
        self._close: Callable[[], object] = lambda: None

    @property
    def is_there(self) -> bool:
        """Whether there is a journal, ours or one that another writer left behind."""
        return self._path.is_file()

    def add(self, started: str, revision: int, entries: Iterable[tuple[Kind, bytes]]) -> None:
        """Add the changes since save `revision` of the recording that `started` then; raises OSError and adds none."""
        content = b"".join(map(_entry, entries))
        if not content:
            return
        if self._file is not None and os.fstat(self._file).st_nlink == 0:
            raise FileNotFoundError(errno.ENOENT, "somebody has removed it")
        if self._file is None:
            self._file = self._new()
        if not self._end:
            content = _VERSION + b"%b %d\n" % (started.encode(), revision) + content
        try:
            _write(self._file, content)
        except OSError:
            os.truncate(self._file, self._end)
            raise
        self._end += len(content)

    def _new(self) -> int:
        """Create the file, replacing what another notebook left there."""
        self._path.unlink(missing_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | getattr(os, "O_NOFOLLOW", 0)
        file = os.open(self._path, flags, 0o666)
        self._close = weakref.finalize(self, os.close, file)
        return file

    def clear(self) -> None:
        """Empty it: the notebook has everything."""
        if self._end and self._file is not None:
            os.truncate(self._file, 0)
        self._end = 0

    def remove(self) -> None:
        """Remove it: the notebook has everything, and no changes will follow."""
        with contextlib.suppress(OSError):  # it is missing, or a directory
            self._path.unlink()
        self._close()
        self._file, self._end = None, 0

    def flush(self) -> None:
        """Make it survive a power cut; blocks until the disk is done, or raises OSError."""
        if self._file is not None:
            os.fsync(self._file)


def path_of(notebook: Path) -> Path:
    """The path of a notebook's journal."""
    return notebook.with_name(f".{notebook.name}.journal")


def revision_of(ours: Mapping[str, Any]) -> int:
    """The number of the save in a notebook's metadata under `nbtape`; 0 if it has none."""
    revision = ours.get("revision")
    return revision if type(revision) is int and 0 <= revision < _MAX_REVISION else 0


def is_journal(name: str) -> bool:
    """Whether a file name is that of a journal."""
    return name.startswith(".") and name.endswith(".ipynb.journal")


def read_journal(notebook: Path) -> bytes:
    """The content of a notebook's journal; empty if there is none."""
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    try:
        with os.fdopen(os.open(path_of(notebook), flags), "rb") as file:
            return file.read()
    except OSError:
        return b""


def fold_in(document: dict[str, Any], journal: bytes) -> None:
    """Apply the journal to the parsed notebook that it belongs to; ignore one of another or an earlier notebook.

    A cell whose source someone has changed since stays as it is, and one that someone has deleted stays deleted.
    """
    metadata = document.get("metadata")
    ours = metadata.get("nbtape") if isinstance(metadata, dict) else None
    if not isinstance(metadata, dict) or not isinstance(ours, dict) or not isinstance(ours.get("started"), str):
        return
    cells: list[dict[str, Any]] = document["cells"]
    places = {str(cell.get("id")): place for place, cell in enumerate(cells)}
    for kind, content in _entries(io.BytesIO(journal), ours):
        name = str(content.get("id"))
        if kind == "metadata":
            metadata.update(content)
        elif name not in places:
            if kind == "cell":
                places[name] = len(cells)
                cells.append(content)
        elif _source(cells[places[name]]) == _source(content):
            cells[places[name]] = content


def _source(cell: Mapping[str, Any]) -> str:
    source = cell.get("source")
    return "".join(map(str, source)) if isinstance(source, list) else str(source)


def _entry(entry: tuple[Kind, bytes]) -> bytes:
    kind, content = entry
    return b"%s %d %08x\n%s\n" % (kind.encode(), len(content), zlib.crc32(content), content)


def _write(file: int, content: bytes) -> None:
    rest = memoryview(content)
    while rest:
        rest = rest[os.write(file, rest) :]


def _entries(journal: io.BytesIO, ours: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The readable entries of a journal, if it belongs to the notebook with this metadata."""
    with contextlib.suppress(ValueError, RecursionError):
        head, _, revision = journal.readline().rpartition(b" ")
        if head != _VERSION + ours["started"].encode() or revision_of(ours) > int(revision):
            return
        while len(words := journal.readline().split()) == _ENTRY_WORDS:
            kind, size, crc = words[0].decode(), int(words[1]), int(words[2], 16)
            content = journal.read(min(max(0, size), sys.maxsize))
            if len(content) != size or zlib.crc32(content) != crc or journal.read(1) != b"\n":
                return
            if costs_more(content, _MAX_ENTRY_COST):
                return
            value = json.loads(content)
            if isinstance(value, dict) and not is_nested_deeper(value, _MAX_ENTRY_DEPTH):
                yield kind, value
