"""The document on disk: an ordinary notebook, valid after every write. Knows no kernel.

Format: nbformat 4.5 (https://nbformat.readthedocs.io/en/latest/format_description.html), written byte for byte as
nbformat writes it, so that a person who saves it without a change makes no diff (see `encoding.py`). It is written as
often as that is cheap; what is not in it yet is in its journal (see `journal.py`).

Our own data, version 1. In the notebook's metadata, under `nbtape`:

    version       1
    recorded_by   "nbtape <version>"
    started       when the recording began (ISO 8601, UTC)
    directory     the kernel's working directory: "." if it is the notebook's, else a path on the kernel's machine,
                  empty if nobody knows
    kernel_id     the id of the kernel on its server, for a server to be asked whether it still lives; and
    kernel_epoch  its number, as in the cells; both only where kernels outlive who started them
    environment   what the last kernel runs in, by its own word: python, platform, packages (their versions, by name),
                  local (those of them that came from no index), directory (where it works, as it calls that),
                  utc_offset (seconds that its local time is ahead)
    server        the URL of the kernel's server; and
    image         the name of its container's image, and
    image_id      the digest of that; all three only where there is such a thing
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
    installed     what the block installed or removed: name, before, after (null: not installed)
    replay        what counts as no difference when it is run again, written by people: some of the fields of
                  `ReplaySettings`

In the metadata of a Markdown cell, under `nbtape`:

    agent         the name of who said it, where that is known

Besides that the standard keys: `execution` (times), and the tags `raises-exception` on a cell that failed and
`skip-execution` on one that was never run, which papermill, nbclient and JupyterLab know.
"""

from __future__ import annotations

import contextlib
import itertools
import os
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

from nbformat import from_dict

from nbtape.drafts import NameTakenError, advice, move_to_free_place, publish, version_of, writable_mode
from nbtape.encoding import HEAD, SEPARATOR, encode_metadata, encode_tail
from nbtape.errors import NotebookWriteError
from nbtape.journal import Journal
from nbtape.locks import WriterLock
from nbtape.outputs import fit_json, fit_text
from nbtape.reader import read_document
from nbtape.recorded import own_metadata
from nbtape.shelf import Shelf

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from nbformat import NotebookNode

    from nbtape.drafts import Version
    from nbtape.journal import Kind

FORMAT_VERSION: Final = 1


class Notebook:
    """A notebook that grows by cells and writes what has changed.

    Args:
        path: Where it is written.
        node: What it holds, as nbformat 4.5 has it.
        spare: A directory with room for cells that memory need not hold; None to leave the cells as they are, for who
            goes on to use the node.

    Attributes:
        cells: The cells, in order. Whoever changes one says so with `touch`.
    """

    def __init__(self, path: Path, node: NotebookNode, spare: Path | None = None) -> None:
        self.path = path
        self.node = node
        self.cells = Shelf(node["cells"], spare)
        if spare is not None:
            node["cells"] = self.cells
        self._metadata = encode_metadata(node["metadata"])
        self._journal = Journal(path)
        # What the file has: everything, so many cells, the metadata of now.
        self._saved = False
        self._published = 0
        self._described = True
        self._has_grown = False
        self._lock: WriterLock | None = None
        self._replaced: WriterLock | None = None
        # The file as we know it; and what must still be there when it is next written, None where it is ours alone.
        self._known: Version | None = None
        self._expected: Version | None = None

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
        for path in places(directory, name):
            node = from_dict({"cells": list(cells), "metadata": {}, "nbformat": 4, "nbformat_minor": 5})
            notebook = cls(path, node, directory)
            notebook.describe(metadata)
            with contextlib.suppress(NameTakenError):
                notebook._publish(move_to_free_place)
                return notebook
        raise AssertionError("unreachable: there is always another number")

    @classmethod
    def open(cls, path: Path) -> Notebook:
        """A notebook that is there, to be gone on with: what others wrote into it stays, and its journal is folded in.

        Until it has grown by a cell of ours, nothing is written over what others save meanwhile.

        Raises:
            NotebookReadError: There is none that could be read.
            NotebookInUseError: Another executor writes it.
            NotebookWriteError: It could not be written.
        """
        lock = WriterLock.take(path)
        try:
            version = version_of(path)
            notebook = cls(path, read_document(path), path.parent)
            notebook._lock, notebook._saved, notebook._published = lock, True, len(notebook.cells)
            notebook._known = notebook._expected = version
            writable_mode(path)
            notebook._take_over_journal()
        except BaseException as exc:
            if lock is not None:
                lock.release()
            if isinstance(exc, OSError):
                raise NotebookWriteError(path, advice(exc)) from exc
            raise
        return notebook

    def _take_over_journal(self) -> None:
        """What a journal had is in our cells: have it in the notebook before the journal goes."""
        if self._journal.is_there:
            self._saved = False
            self.save()
            self._journal.remove()

    def close(self) -> None:
        """Let others write it. If they do, it is not written over: see `open`."""
        self.let_go()
        self._expected, self._has_grown = self._known, False
        if self._saved:
            self._journal.remove()
        if self._lock is not None:
            self._lock.release()

    @property
    def size(self) -> int:
        """The bytes of all cells, as of the last save."""
        return self.cells.size

    def describe(self, metadata: Mapping[str, Any]) -> None:
        """Set keys of the notebook's metadata, under `nbtape` each key of that; None takes a key away."""
        ours = {**own_metadata(self.node), **metadata.get("nbtape", {})}
        ours = {key: value for key, value in ours.items() if value is not None}
        self.node["metadata"].update(from_dict(fit_json({**metadata, "nbtape": ours})))
        self._metadata = encode_metadata(self.node["metadata"])
        self._saved, self._described = False, True

    def add_markdown(self, source: str, metadata: Mapping[str, Any]) -> int:
        """Append a Markdown cell and return its position."""
        return self._add(cell_type="markdown", source=fit_text(source), metadata=fit_json(metadata))

    def add_code(self, source: str, metadata: Mapping[str, Any]) -> int:
        """Append a code cell that has not run and return its position."""
        source, metadata = fit_text(source), fit_json(metadata)
        return self._add(cell_type="code", source=source, metadata=metadata, outputs=[], execution_count=None)

    def _add(self, **content: Any) -> int:  # noqa: ANN401  (the fields of a cell)
        self._saved, self._has_grown = False, True
        return self.cells.append(from_dict({"id": str(uuid4()), **content}))

    def touch(self, index: int) -> None:
        """Cell `index` has changed: the next save writes it anew."""
        self.cells.touch(index)
        self._saved = False

    def save(self) -> None:
        """Write what has changed. A reader sees the old notebook or the new one, never something between.

        Raises:
            NotebookWriteError: It cannot be written; the next `save` tries again.
        """
        if not self._saved:
            self._publish(os.replace)

    def keep(self) -> None:
        """Have what has changed outlive us, in the journal: that costs what the change costs.

        Raises:
            NotebookWriteError: It cannot be written, or the notebook could not be; the next one tries again.
        """
        try:
            self._add_to_journal()
        except NotebookWriteError:  # something is in its place: that must not keep anybody from recording
            self.save()
        self.cells.put_away()

    def _add_to_journal(self) -> None:
        with self._changes() as changed:
            writable_mode(self.path)
            self._refuse_change()
            self._journal.add(str(own_metadata(self.node).get("started")), self._entries(changed))
            self._described = False

    def _entries(self, changed: Iterable[tuple[int, bytes]]) -> Iterator[tuple[Kind, bytes]]:
        """What is new, as the journal has it."""
        for index, encoded in changed:
            yield "change" if index < self._published else "cell", encoded.removeprefix(SEPARATOR)
        if self._described:
            yield "metadata", self._metadata

    def let_go(self) -> None:
        """Let go of the file that the last save replaced.

        To free its blocks takes as long as to write them (0.25 ms for 300 KB on ext4): call it when there is time.
        """
        self._replaced = None

    def flush(self) -> None:
        """Have what is written last a power cut too. Waits for the disk: not for an event loop.

        Raises:
            OSError: The disk cannot do it, or the notebook was moved away.
        """
        self._journal.flush()
        file = os.open(self.path, os.O_RDONLY)
        try:
            os.fsync(file)
        finally:
            os.close(file)

    def _publish(self, move: Callable[[Path, Path], None]) -> None:
        """Write everything to a file of our own and move that into place."""

        def move_unless_changed(draft: Path, path: Path) -> None:
            self._refuse_change()
            move(draft, path)

        with self._changes() as changed:
            if not self._journal.is_empty:  # killed before it is cleared, it must not bring back what was before
                with contextlib.suppress(OSError):
                    self._journal.add(str(own_metadata(self.node).get("started")), self._entries(changed))
            tail = encode_tail(self._metadata, self.node["nbformat_minor"], has_cells=bool(self.cells))
            size = len(HEAD) + self.cells.length + len(tail)
            chunks: Iterable[bytes | memoryview] = itertools.chain([HEAD], self.cells.pieces(), [tail])
            lock, version = publish(self.path, size, chunks, move_unless_changed)
        self._replaced, self._lock, self._known = self._lock, lock, version
        if self._expected is not None:
            self._expected = None if self._has_grown else version
        self._saved, self._described, self._published = True, False, len(self.cells)
        self._journal.clear()
        self.cells.put_away()

    @contextlib.contextmanager
    def _changes(self) -> Iterator[list[tuple[int, bytes]]]:
        """The cells that are to be written; where they cannot be, they are the next time."""
        changed = self.cells.encode()
        try:
            yield changed
        except OSError as exc:
            for index, _ in changed:
                self.cells.touch(index)
            raise NotebookWriteError(self.path, advice(exc)) from exc

    def _refuse_change(self) -> None:
        """What somebody else saved is not written over.

        Raises:
            OSError: The file is not as we know it.
        """
        if self._expected is not None and version_of(self.path) not in {self._expected, None}:
            raise OSError(
                "somebody else has changed it since. Resume it again, or move it away and have this record saved in "
                "its place"
            )


def places(directory: Path, name: str, suffix: str = ".ipynb") -> Iterator[Path]:
    """Where a notebook of that name may go: `name.ipynb`, then `name-2.ipynb` and so on, where that is taken."""
    yield directory / f"{name}{suffix}"
    for number in itertools.count(2):
        yield directory / f"{name}-{number}{suffix}"
