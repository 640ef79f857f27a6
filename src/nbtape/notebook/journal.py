"""What has changed in a notebook since it was last written, in a file beside it: to add to it costs what is added.

A notebook of 100 MB cannot be written after every cell. What is not in it yet is in `.<name>.ipynb.journal`, which is
empty or gone whenever the notebook has everything, and which every reader of ours folds in. It goes when its writer
stops; one that was killed leaves it behind, for whoever goes on.

Format, version 1. A line `nbtape journal 1 <started> <revision>`, where the words are those of the notebook's metadata:
a notebook of a later revision has it all, for its writer was killed before he could empty the journal. Then entries,
each a line `<kind> <bytes> <CRC-32, hexadecimal>`, so many bytes of JSON, and a line end. Kinds: `cell`, one that the
notebook does not have yet; `change`, one that it has, to be replaced; `metadata`, that of the notebook. An entry that
is not whole was being written when the process ended, and nothing comes after it.
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

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

_VERSION: Final = b"nbtape journal 1 "
_WORDS: Final = 3

#: The number of a save is less than this, whatever a notebook says.
_MOST_REVISIONS: Final = 1 << 53

Kind = Literal["cell", "change", "metadata"]


class Journal:
    """The journal of one notebook, for who writes it.

    Args:
        notebook: The path of the notebook.
    """

    def __init__(self, notebook: Path) -> None:
        self._path = path_of(notebook)
        self._file: int | None = None
        self._end = 0
        self._close: Callable[[], object] = lambda: None

    @property
    def is_there(self) -> bool:
        """Whether there is one, ours or one that another writer of the notebook left behind."""
        return self._path.is_file()

    def add(self, started: str, revision: int, entries: Iterable[tuple[Kind, bytes]]) -> None:
        """Add entries, all or none.

        Args:
            started: When the recording began, as the notebook's metadata has it.
            revision: The number of its last save.
            entries: What has changed since: encoded cells, metadata.

        Raises:
            OSError: They cannot be written.
        """
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
        """A new file. What is there belongs to a notebook that is there no more, or is none of ours."""
        self._path.unlink(missing_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | getattr(os, "O_NOFOLLOW", 0)
        file = os.open(self._path, flags, 0o666)
        self._close = weakref.finalize(self, os.close, file)
        return file

    def clear(self) -> None:
        """The notebook has everything."""
        if self._end and self._file is not None:
            os.truncate(self._file, 0)
        self._end = 0

    def remove(self) -> None:
        """The notebook has everything, and nothing is going to come."""
        with contextlib.suppress(OSError):  # there is none, or something else in its place
            self._path.unlink()
        self._close()
        self._file, self._end = None, 0

    def flush(self) -> None:
        """Have it last a power cut, too. Waits for the disk.

        Raises:
            OSError: The disk cannot do it.
        """
        if self._file is not None:
            os.fsync(self._file)


def path_of(notebook: Path) -> Path:
    """Where the journal of a notebook is, if it has one."""
    return notebook.with_name(f".{notebook.name}.journal")


def revision_of(ours: Mapping[str, Any]) -> int:
    """The number of the save that a notebook came of; 0 if it does not say.

    Args:
        ours: Its metadata, under `nbtape`.
    """
    revision = ours.get("revision")
    return revision if type(revision) is int and 0 <= revision < _MOST_REVISIONS else 0


def is_journal(name: str) -> bool:
    """Whether a name is that of a journal."""
    return name.startswith(".") and name.endswith(".ipynb.journal")


def read_journal(notebook: Path) -> bytes:
    """What the journal of a notebook holds; nothing if there is none."""
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    try:
        with os.fdopen(os.open(path_of(notebook), flags), "rb") as file:
            return file.read()
    except OSError:
        return b""


def fold_in(document: dict[str, Any], journal: bytes) -> None:
    """Bring what a journal holds into the notebook that it belongs to; leave any other as it is, and a later one.

    A cell whose source somebody has changed since stays as it is, and one that somebody has deleted does not come back.

    Args:
        document: The notebook as JSON has it, with a list of cells.
        journal: What its journal holds, if it has one.
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
    """What a journal says, if it belongs to a notebook of this metadata, until there is nothing that could be read."""
    with contextlib.suppress(ValueError, RecursionError):
        head, _, revision = journal.readline().rpartition(b" ")
        if head != _VERSION + ours["started"].encode() or revision_of(ours) > int(revision):
            return
        while len(words := journal.readline().split()) == _WORDS:
            kind, size, crc = words[0].decode(), int(words[1]), int(words[2], 16)
            content = journal.read(min(max(0, size), sys.maxsize))
            if len(content) != size or zlib.crc32(content) != crc or journal.read(1) != b"\n":
                return
            value = json.loads(content)
            if isinstance(value, dict):
                yield kind, value
