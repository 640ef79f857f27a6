"""The journal next to a notebook has the changes since its last save, because 100 MB cannot be saved for every cell.

`.<name>.ipynb.journal` is empty or missing if the notebook is complete. Its writer removes it when it stops; a writer
that is killed leaves it behind for `resume`. Only `resume` applies it, as well as `show` and `watch` while the
notebook's lock is held. Other readers only report it, because a journal can come with a notebook from someone else.

Format, version 1: a line `nbtape journal 1 <started> <revision>` with values of the notebook's metadata (a notebook of
a later revision already has all entries), then entries: a line `<kind> <bytes> <CRC-32, hexadecimal>`, the JSON, and a
line end. Kinds: `cell` (a new cell), `change` (replaces a cell), `metadata` (of the notebook). An incomplete entry is
the end of the journal.
"""

from __future__ import annotations

import contextlib
import errno
import io
import json
import logging
import os
import stat
import sys
import weakref
import zlib
from typing import IO, TYPE_CHECKING, Any, Final, Literal

from nbtape.common.json_cost import costs_more, is_nested_deeper
from nbtape.common.untrusted_files import Directory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

logger = logging.getLogger(__name__)

_VERSION: Final = b"nbtape journal 1 "
_ENTRY_WORDS: Final = 3
_MAX_LINE_BYTES: Final = 1000

#: Maximum bytes of a journal; a notebook with more changes than that is saved.
MAX_JOURNAL_BYTES: Final = 1 << 28

#: Upper limit of the number of a save, which a notebook may have forged.
_MAX_REVISION: Final = 1 << 53

#: Maximum cost of an entry (see `json_cost`), four times as much as a cell keeps by default; and its maximum nesting.
_MAX_ENTRY_COST: Final = 64_000_000
_MAX_ENTRY_DEPTH: Final = 100

Kind = Literal["cell", "change", "metadata"]


class Journal:
    """The journal of the notebook at a path, for its writer."""

    def __init__(self, directory: Directory, notebook: str) -> None:
        self._directory = directory
        self._name = name_of(notebook)
        self._file: int | None = None
        self._end = 0
        self._close: Callable[[], object] = lambda: None

    @property
    def is_there(self) -> bool:
        """Whether a journal exists, ours or one that another writer left behind."""
        found = self._directory.status(self._name)
        return found is not None and stat.S_ISREG(found.st_mode)

    def add(self, started: str, revision: int, entries: Iterable[tuple[Kind, bytes]], mode: int | None = None) -> None:
        """Add changes since save `revision` of the recording that began at `started`; raises OSError and adds none.

        `mode` is the permissions of the notebook, which the journal gets too; None if the notebook does not exist.
        """
        content = b"".join(map(_entry, entries))
        if not content:
            return
        self._file = self._checked(mode)
        if not self._end:
            content = _VERSION + b"%b %d\n" % (started.encode(), revision) + content
        if self._end + len(content) > MAX_JOURNAL_BYTES:
            raise OSError(errno.EFBIG, f"its journal would have more than {MAX_JOURNAL_BYTES:,} bytes")
        try:
            _write(self._file, content)
        except OSError:
            os.truncate(self._file, self._end)
            raise
        self._end += len(content)

    def _checked(self, mode: int | None) -> int:
        """The open file with these permissions; a new file replaces one that another notebook left behind.

        Raises FileNotFoundError if someone else has removed or replaced it.
        """
        if self._file is None:
            self._directory.remove(self._name)
            file = self._directory.new(self._name, os.O_WRONLY | os.O_APPEND, mode)
            self._close = weakref.finalize(self, os.close, file)
            return file
        found, ours = self._directory.status(self._name), os.fstat(self._file)
        if found is None or not os.path.samestat(found, ours):
            raise FileNotFoundError(errno.ENOENT, "its journal was removed or replaced by another process")
        if mode is not None and stat.S_IMODE(ours.st_mode) != mode & 0o777 and hasattr(os, "fchmod"):
            os.fchmod(self._file, mode & 0o777)
        return self._file

    def clear(self) -> None:
        """Empty it, because the notebook is complete."""
        if self._end and self._file is not None:
            os.truncate(self._file, 0)
        self._end = 0

    def remove(self) -> None:
        """Remove it, because the notebook is complete and no changes will follow."""
        with contextlib.suppress(OSError):  # it is missing, or a directory
            self._directory.remove(self._name)
        self._close()
        self._file, self._end = None, 0

    def flush(self) -> None:
        """Flush it to disk, so that it survives a power cut. Blocks; raises OSError on failure."""
        if self._file is not None:
            os.fsync(self._file)


def path_of(notebook: Path) -> Path:
    """The path of a notebook's journal."""
    return notebook.with_name(name_of(notebook.name))


def name_of(notebook: str) -> str:
    """The name of the journal of the notebook with this name."""
    return f".{notebook}.journal"


def revision_of(ours: Mapping[str, Any]) -> int:
    """The number of the save in a notebook's metadata under `nbtape`; 0 if it is missing."""
    revision = ours.get("revision")
    return revision if type(revision) is int and 0 <= revision < _MAX_REVISION else 0


def is_journal(name: str) -> bool:
    """Whether a file name is that of a journal."""
    return name.startswith(".") and name.endswith(".ipynb.journal")


def has_entries(notebook: Path) -> bool:
    """Whether a non-empty journal exists; does not open it."""
    try:
        found = path_of(notebook).lstat()
    except OSError:
        return False
    return stat.S_ISREG(found.st_mode) and found.st_size > 0


def read_journal(notebook: Path) -> bytes:
    """The valid part of a notebook's journal; empty if it is missing or not a regular file.

    Stops reading at the first invalid entry, so that a file of zeros of any size costs only one line.
    """
    path = path_of(notebook)
    try:
        with Directory(path.parent) as directory, directory.reading(path.name, MAX_JOURNAL_BYTES) as file:
            return b"".join(_framed(file))
    except FileNotFoundError:
        return b""
    except OSError as exc:
        logger.warning("The journal %s is ignored: %s", path, exc.strerror or exc)
        return b""


def _framed(journal: IO[bytes]) -> Iterator[bytes]:
    """The first line of a journal and its whole entries, unparsed."""
    head = journal.readline(_MAX_LINE_BYTES)
    if not head.startswith(_VERSION):
        return
    yield head
    left = MAX_JOURNAL_BYTES
    while len(words := (line := journal.readline(_MAX_LINE_BYTES)).split()) == _ENTRY_WORDS:
        size = int(words[1]) if words[1].isdigit() else left
        if size >= left:
            return
        content = journal.read(size + 1)
        left -= len(content)
        yield line + content
        if not content.endswith(b"\n") or len(content) != size + 1:
            return


def fold_in(document: dict[str, Any], journal: bytes) -> None:
    """Apply a journal to the parsed notebook that it belongs to; ignore one of another or an earlier notebook.

    A cell whose source someone has changed since stays as it is, and a cell that someone has deleted stays deleted.
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
