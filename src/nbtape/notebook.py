"""The document on disk: an ordinary notebook, valid after every write. Knows no kernel.

Format: nbformat 4.5 (https://nbformat.readthedocs.io/en/latest/format_description.html), written byte for byte as
nbformat writes it, so that a person who saves it without a change makes no diff. A text of more than a mebibyte is the
exception: it stays one string, for a list of millions of lines costs a reader many times the memory.

Our own data, version 1. In the notebook's metadata, under `nbtape`:

    version       1
    recorded_by   "nbtape <version>"
    started       when the recording began (ISO 8601, UTC)
    directory     the kernel's working directory: "." if it is the notebook's, else a path on the kernel's machine,
                  empty if nobody knows
    kernel_id     the id of the kernel on its server, for a server to be asked whether it still lives; and
    kernel_epoch  its number, as in the cells; both only where kernels outlive who started them
    resumed       a list, if the recording was gone on with: for each time
      time            when (ISO 8601, UTC)
      attached        whether the kernel still lived and was gone on with, too
      kernel_epoch    the kernel from then on
      restored_epochs  the kernels whose cells were run again on it
    origin        only in a notebook that was forked from another one
      notebook        the name of its file, in the same directory
      until           how many cells were taken from it
      sha256          what that file was

In the metadata of each code cell, under `nbtape`:

    status        running | ok | error | timeout | interrupted | kernel_died | not_run; `running` in a notebook that
                  nobody writes any more: the recording was cut off there (`interrupted`, once it is resumed)
    language      the label of the block, as the agent wrote it
    timeout       the block's deadline, seconds
    kernel_epoch  which kernel ran it, counted from 1
    duration      seconds from sending the block to the end of its outputs
    note          what nbtape had to say about it
    outputs_incomplete
                  true: output that the kernel sent may be missing; the note says why
    left_out      characters of output that were over the bound and are recorded nowhere
    extracted     files beside the notebook made from outputs: path, output (its position), mime_type
    files         files that the block wrote or changed: path, size (bytes), sha256 (null if too large to hash)
    replay        what counts as no difference when it is run again, written by people: some of the fields of
                  `ReplaySettings`

Besides that the standard keys: `execution` (times), and the tags `raises-exception` on a cell that failed and
`skip-execution` on one that was never run, which papermill, nbclient and JupyterLab know.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import stat
import uuid
from typing import TYPE_CHECKING, Any, Final

from nbformat import from_dict

from nbtape.errors import NotebookInUseError, NotebookWriteError
from nbtape.locks import WriterLock
from nbtape.outputs import fit_json, fit_text
from nbtape.reader import read_document

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from nbformat import NotebookNode

FORMAT_VERSION: Final = 1

_quote: Final = json.encoder.encode_basestring  # a JSON string that keeps what is not ASCII

_HEAD: Final = b'{\n "cells": ['

#: Texts of more characters than this are not split into lines.
_SPLIT_LIMIT: Final = 1 << 20

#: What stands for such a text in JSON that is being laid out, where no such character can be.
_LARGE: Final = "\0"


class Notebook:
    """A notebook that grows by cells and knows which of them changed since they were last encoded.

    Args:
        path: Where it is written.
        node: What it holds, as nbformat 4.5 has it.
    """

    def __init__(self, path: Path, node: NotebookNode) -> None:
        self.path = path
        self.node = node
        self._body = bytearray()
        self._ends: list[int] = []
        for index, cell in enumerate(node["cells"]):
            self._body += _encode_cell(index, cell)
            self._ends.append(len(self._body))
        self._stale: set[int] = set()
        self._metadata = b"".join(_encode(node["metadata"], indent=" "))
        self._saved = False
        self._has_grown = False
        self._lock: WriterLock | None = None
        # The file as we know it; and what must still be there when it is next written, None where it is ours alone.
        self._known: _Version | None = None
        self._expected: _Version | None = None

    @classmethod
    def create(
        cls, directory: Path, name: str, metadata: Mapping[str, Any], cells: Sequence[NotebookNode] = ()
    ) -> Notebook:
        """A new notebook on disk: `name.ipynb`, or `name-2.ipynb` and so on where that is taken.

        Args:
            directory: An existing directory.
            name: The wanted name, without `.ipynb`.
            metadata: Its metadata, `kernelspec` and `language_info` included.
            cells: What it begins with.

        Raises:
            NotebookWriteError: It cannot be written there.
        """
        node = {"cells": list(cells), "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
        for number in _count_from(1):
            path = directory / (f"{name}.ipynb" if number == 1 else f"{name}-{number}.ipynb")
            notebook = cls(path, from_dict(node))
            notebook.describe(metadata)
            with contextlib.suppress(_NameTakenError):
                notebook._publish(_move_to_free_place)
                return notebook
        raise AssertionError("unreachable: there is always another number")

    @classmethod
    def open(cls, path: Path) -> Notebook:
        """A notebook that is there, to be gone on with: what others wrote into it stays.

        Until it has grown by a cell of ours, nothing is written over what others save meanwhile.

        Raises:
            NotebookReadError: There is none that could be read.
            NotebookInUseError: Another executor writes it.
            NotebookWriteError: It could not be written.
        """
        lock = WriterLock.take(path)
        try:
            version = _version(path)
            notebook = cls(path, read_document(path))
            _writable_mode(path)
        except BaseException as exc:
            if lock is not None:
                lock.release()
            if isinstance(exc, OSError):
                raise NotebookWriteError(path, _advice(exc)) from exc
            raise
        notebook._lock, notebook._saved = lock, True
        notebook._known = notebook._expected = version
        return notebook

    def close(self) -> None:
        """Let others write it. If they do, it is not written over: see `open`."""
        self._expected, self._has_grown = self._known, False
        if self._lock is not None:
            self._lock.release()

    @property
    def size(self) -> int:
        """The bytes of all cells, as of the last save."""
        return len(self._body)

    @property
    def cells(self) -> list[NotebookNode]:
        """The cells, in order. Whoever changes one says so with `touch`."""
        cells: list[NotebookNode] = self.node["cells"]
        return cells

    def describe(self, metadata: Mapping[str, Any]) -> None:
        """Set keys of the notebook's metadata, under `nbtape` each key of that; None takes a key away."""
        ours = {**own_metadata(self.node), **metadata.get("nbtape", {})}
        ours = {key: value for key, value in ours.items() if value is not None}
        self.node["metadata"].update(from_dict(fit_json({**metadata, "nbtape": ours})))
        self._metadata = b"".join(_encode(self.node["metadata"], indent=" "))
        self._saved = False

    def add_markdown(self, source: str, metadata: Mapping[str, Any]) -> int:
        """Append a Markdown cell and return its position."""
        return self._add(cell_type="markdown", source=fit_text(source), metadata=fit_json(metadata))

    def add_code(self, source: str, metadata: Mapping[str, Any]) -> int:
        """Append a code cell that has not run and return its position."""
        source, metadata = fit_text(source), fit_json(metadata)
        return self._add(cell_type="code", source=source, metadata=metadata, outputs=[], execution_count=None)

    def _add(self, **content: Any) -> int:  # noqa: ANN401  (the fields of a cell)
        index = len(self.cells)
        self.cells.append(from_dict({"id": str(uuid.uuid4()), **content}))
        self._ends.append(self._ends[-1] if index else 0)
        self._has_grown = True
        self.touch(index)
        return index

    def touch(self, index: int) -> None:
        """Cell `index` has changed: the next save writes it anew."""
        self._stale.add(index)
        self._saved = False

    def save(self) -> None:
        """Write what has changed. A reader sees the old notebook or the new one, never something between.

        Raises:
            NotebookWriteError: It cannot be written; the next `save` tries again.
        """
        if not self._saved:
            self._publish(os.replace)

    def flush(self) -> None:
        """Have what is written last a power cut too. Waits for the disk: not for an event loop.

        Raises:
            OSError: The disk cannot do it, or the notebook was moved away.
        """
        file = os.open(self.path, os.O_RDONLY)
        try:
            os.fsync(file)
        finally:
            os.close(file)

    def _publish(self, move: Callable[[Path, Path], None]) -> None:
        """Write everything to a file of our own and move that into place."""
        self._encode_stale()
        # A name that nobody has, not even a notebook of our name made at the same moment, and that nobody can guess.
        draft = self.path.with_name(f".{self.path.name}.{uuid.uuid4().hex[:12]}.tmp")
        try:
            mode = _writable_mode(self.path)
            try:
                _write(draft, [_HEAD, self._body, self._tail()], mode)
                lock, version = _lock_draft(draft), _version(draft)
                self._refuse_change()
                move(draft, self.path)
            except BaseException:
                draft.unlink(missing_ok=True)
                raise
        except _NameTakenError:
            raise
        except OSError as exc:
            raise NotebookWriteError(self.path, _advice(exc)) from exc
        self._lock, self._known = lock, version
        if self._expected is not None:
            self._expected = None if self._has_grown else version
        self._saved = True

    def _refuse_change(self) -> None:
        """What somebody else saved is not written over.

        Raises:
            OSError: The file is not as we know it.
        """
        if self._expected is not None and _version(self.path) not in {self._expected, None}:
            raise OSError(
                "somebody else has changed it since. Resume it again, or move it away and have this record saved in "
                "its place"
            )

    def _encode_stale(self) -> None:
        """Bring the cells that changed into the encoded body; the others are encoded once and for all."""
        for index in sorted(self._stale):
            start, end = self._ends[index - 1] if index else 0, self._ends[index]
            encoded = _encode_cell(index, self.cells[index])
            self._body[start:end] = encoded
            growth = len(encoded) - (end - start)
            self._ends[index:] = [end + growth for end in self._ends[index:]]
        self._stale.clear()

    def _tail(self) -> bytes:
        end = b"\n ]" if self.cells else b"]"
        minor = str(self.node["nbformat_minor"]).encode()
        return (
            end + b',\n "metadata": ' + self._metadata + b',\n "nbformat": 4,\n "nbformat_minor": ' + minor + b"\n}\n"
        )


def own_metadata(node: Mapping[str, Any]) -> dict[str, Any]:
    """What nbtape says of a notebook or a cell; nothing if that is not what nbtape writes."""
    ours = node["metadata"].get("nbtape")
    return dict(ours) if isinstance(ours, dict) else {}


def _count_from(number: int) -> Iterator[int]:
    while True:
        yield number
        number += 1


def _encode_cell(index: int, cell: Mapping[str, Any]) -> bytearray:
    encoded = bytearray(b",\n  " if index else b"\n  ")
    for piece in _encode(cell, indent="  "):
        encoded += piece
    return encoded


def _encode(value: Mapping[str, Any], indent: str) -> Iterator[bytes]:
    """JSON as nbformat lays it out, for a place that is indented already, in pieces.

    The encoder of the standard library does the same in pure Python, yielding every comma: 5 times slower here, and
    for a million lines of output a thousand times the memory.
    """
    large: list[str] = []
    before, *rest = _layout(_split(value), indent, large).split(_LARGE)
    yield before.encode()
    for text, after in zip(large, rest, strict=True):
        for start in range(0, len(text), _SPLIT_LIMIT):
            yield _quote(text[start : start + _SPLIT_LIMIT])[1:-1].encode()
        yield after.encode()


def _layout(value: Any, indent: str, large: list[str]) -> str:  # noqa: ANN401  (any JSON value)
    """The JSON, with a mark in place of each large text, which joins `large`: nothing is to copy that at each level."""
    inner = indent + " "
    if isinstance(value, dict) and value:
        members = [f"{inner}{_quote(key)}: {_layout(item, inner, large)}" for key, item in sorted(value.items())]
        return "{\n" + ",\n".join(members) + f"\n{indent}}}"
    if isinstance(value, list) and value:
        return "[\n" + ",\n".join([inner + _layout(item, inner, large) for item in value]) + f"\n{indent}]"
    if not isinstance(value, str):
        return json.dumps(value)
    if len(value) <= _SPLIT_LIMIT:
        return _quote(value)
    large.append(value)
    return f'"{_LARGE}"'


def _split(value: Mapping[str, Any]) -> dict[str, Any]:
    """A cell with its texts as lists of lines, as nbformat's `split_lines` has them; anything else as it is."""
    if "cell_type" not in value:
        return dict(value)
    split = {**value, "source": _lines(value["source"])}
    if "attachments" in value:
        split["attachments"] = {name: _split_bundle(bundle) for name, bundle in value["attachments"].items()}
    if "outputs" in value:
        split["outputs"] = [_split_output(output) for output in value["outputs"]]
    return split


def _split_output(output: Mapping[str, Any]) -> dict[str, Any]:
    if output["output_type"] == "stream":
        return {**output, "text": _lines(output["text"])}
    if "data" not in output:
        return dict(output)
    return {**output, "data": _split_bundle(output["data"])}


def _split_bundle(data: Mapping[str, Any]) -> dict[str, Any]:
    return {mime: _lines(text) if _is_split(mime) else text for mime, text in data.items()}


def _is_split(mime: str) -> bool:
    return mime.startswith("text/") or mime in {"application/javascript", "image/svg+xml"}


def _lines(text: object) -> object:
    return text.splitlines(keepends=True) if isinstance(text, str) and len(text) <= _SPLIT_LIMIT else text


#: What tells one state of a file from another: its inode, its time, its size.
_Version = tuple[int, int, int]


def _version(path: Path) -> _Version | None:
    try:
        info = path.stat()
    except FileNotFoundError:
        return None
    return info.st_ino, info.st_mtime_ns, info.st_size


def _lock_draft(draft: Path) -> WriterLock | None:
    """Lock a file before it is put into place; code that locks it first, to vex us, does not keep us from saving."""
    with contextlib.suppress(NotebookInUseError):
        return WriterLock.take(draft)
    return None


class _NameTakenError(Exception):
    """There is a file of that name."""


def _move_to_free_place(draft: Path, path: Path) -> None:
    """Put a file where none is.

    Raises:
        _NameTakenError: There is one.
    """
    try:
        os.link(draft, path)
    except FileExistsError as exc:
        raise _NameTakenError from exc
    except OSError:  # a file system without hard links: the name is taken first, empty for a moment
        _take_name(path)
        draft.replace(path)
    else:
        draft.unlink()


def _take_name(path: Path) -> None:
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL))
    except FileExistsError as exc:
        raise _NameTakenError from exc


def _writable_mode(path: Path) -> int | None:
    """The permissions of the file at `path`, None if there is none, or but a link that somebody put there.

    A rename needs no permission on the file it replaces, and root needs none at all; but who marks a file read-only
    means it.

    Raises:
        PermissionError: The file is marked read-only.
    """
    try:
        found = path.lstat().st_mode
    except FileNotFoundError:
        return None
    mode = stat.S_IMODE(found)
    if not stat.S_ISREG(found):
        return None
    if not mode & 0o222:
        raise PermissionError(errno.EACCES, "it is marked read-only")
    return mode


def _write(path: Path, chunks: Sequence[bytes | bytearray], mode: int | None) -> None:
    """A new file. Never through a link that somebody put there: the directory may be shared with a container.

    Its room is taken before it is written: a full disk is known at once, and ext4 does not hold up the rename that
    follows until blocks are found (2.5 ms against 0.1).
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0)
    with os.fdopen(os.open(path, flags, 0o666), "wb") as file:
        if mode is not None:
            os.fchmod(file.fileno(), mode)
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, sum(map(len, chunks)))
        file.writelines(chunks)


_ADVICE: Final = {
    errno.ENOSPC: "the disk is full. Free some space.",
    errno.EDQUOT: "the disk quota is used up. Free some space.",
    errno.ENOENT: "its directory is gone. Make it again.",
    errno.EACCES: "permission denied (is it marked read-only?). Make it writable, for example with chmod u+w.",
    errno.EROFS: "the file system is read-only. Mount it writable.",
}


def _advice(exc: OSError) -> str:
    return _ADVICE.get(exc.errno or 0, f"{exc.strerror or exc}.")
