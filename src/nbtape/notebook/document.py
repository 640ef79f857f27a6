"""The document on disk: an ordinary notebook, valid after every write.

Format: nbformat 4.5 (https://nbformat.readthedocs.io/en/latest/format_description.html), byte for byte as nbformat
writes it, so that saving it unchanged elsewhere makes no diff. Recent changes may be only in its journal.

nbtape's metadata, version 1. In the notebook's metadata, under `nbtape`:

    version       1
    recorded_by   "nbtape <version>"
    started       when the recording began (ISO 8601, UTC)
    revision      number of this save; shows which cells a later editor has seen
    directory     the kernel's working directory: "." for the notebook's, else a path on the kernel's machine, or empty
    kernel_id     id of the kernel on its server, and
    kernel_epoch  its number, as in the cells; only for kernels that can outlive nbtape
    environment   of the last kernel, as reported by it: python, platform, packages (versions by name), local (packages
                  not from an index), directory (its working directory), utc_offset (seconds)
    server        URL of the kernel's server, if any
    image         name of its container's image, if any, and
    image_id      its digest
    resumed       a list with an entry for each time the recording was resumed:
      time            when (ISO 8601, UTC)
      attached        whether the kernel was still alive
      kernel_epoch    the kernel from then on
      restored_epochs  kernels whose cells were rerun on it
    origin        only in a fork of another notebook:
      notebook        its file name, in the same directory
      until           number of cells taken from it
      sha256          of its file
    derived_from  only in the replay or the export of another notebook: its file name

In the metadata of each code cell, under `nbtape`:

    status        running | ok | error | timeout | interrupted | kernel_died | not_run; `running` in a notebook that
                  is no longer recorded means that the recording was cut off (`interrupted`, once it is resumed)
    language      the label of the block, as the agent wrote it
    timeout       seconds for the block
    kernel_epoch  which kernel ran it, counted from 1
    duration      seconds from sending the block to the end of its outputs
    note          messages from nbtape
    outputs_incomplete
                  true: output that the kernel sent may be missing; the note says why
    left_out      characters of output over the limit, which are not recorded
    extracted     files made from outputs: path, output (its position), mime_type
    files         files that the block wrote or changed: path, size (bytes), sha256 (null: too large, or hard links)
    created       those of its files that did not exist before, by path, or the new directories that they are in
    installed     packages that the block installed or removed: name, before, after (null: not installed)
    approval      if the executor has `approve`: allowed | refused | replaced; the note has the reason of a refusal
    replaced      the block as the agent wrote it, if approval is `replaced`: source, language. The cell has what ran
    replay        written by people after the recording, for replays: some of the fields of `ReplaySettings`
    updated_by    ids of later cells that have updated displays of this one
    late          outputs that arrived while a later cell ran, as code with a forged parent could send them: a list of
                  output (its position) and during (the id of that cell)

In the metadata of a Markdown cell, under `nbtape`:

    agent         the author, if known

In the metadata of any cell, under `nbtape`:

    touched       what someone else tried to change during the recording: a list of cell_type, source, outputs,
                  attachments, metadata, tags, moved and deleted. The recorded values stay, except for its position and
                  added tags. Or `added` for a cell that someone else added
    version_of    in an added cell with a changed version of a recorded cell, by someone else or by the agent: the id of
                  that
    edits         what the agent changed after recording; the recorded source and outputs stay. A list of
                  action (source, moved, deleted; `added` for a version of another cell), agent (if known) and time

Someone else's version of a notebook may add 16 MiB. A larger one is moved aside, to a free name next to the notebook.

Standard keys: `execution` (times), and the tags `raises-exception` (failed) and `skip-execution` (never run), which
papermill, nbclient and JupyterLab know.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import secrets
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

from nbformat import from_dict

from nbtape.common.text import fit_json, fit_text
from nbtape.errors import NotebookWriteError
from nbtape.notebook.atomic_write import places
from nbtape.notebook.cell_store import Shelf
from nbtape.notebook.encoding import encode_cell, encode_metadata, encode_tail
from nbtape.notebook.external_edits import MAX_ADDED_BYTES, ChangedError
from nbtape.notebook.file import NotebookFile
from nbtape.notebook.format import own_metadata
from nbtape.notebook.journal import revision_of
from nbtape.notebook.layout import HEAD, SEPARATOR
from nbtape.notebook.merge import MAX_PRESENTATION_CHARS, NEXT_SAVE, History, is_of_others, merge
from nbtape.notebook.output_text import json_size
from nbtape.notebook.read import recover_document

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from nbformat import NotebookNode

    from nbtape.notebook.journal import Kind


#: Keys of the notebook's metadata that only the recorder writes.
_RECORDED_KEYS: Final = ("nbtape", "kernelspec", "language_info")

#: A placeholder for the number of a save in encoded metadata. It is random, so that code cannot insert it.
_REVISION_MARK: Final = secrets.randbits(62)

#: Maximum attempts of a save if someone else saves at the same time. After that, changes go to the journal.
MAX_SAVE_ATTEMPTS: Final = 3


class Notebook:
    """A notebook to which cells are appended; `touch` a cell after changing it. Others may save it too, see `merge`.

    With a `file`, cells that do not fit into memory are moved to a spill file in its directory; without one, the cells
    of `node` stay in memory. For `untrusted`, see `Directory`.
    """

    def __init__(
        self, path: Path, node: NotebookNode, file: NotebookFile | None = None, untrusted: Iterable[Path] = ()
    ) -> None:
        self.path = path
        self.node = node
        of_others = [is_of_others(cell) for cell in node["cells"]]
        self.file = file or NotebookFile(path, untrusted)
        self.cells = Shelf(node["cells"], None if file is None else file.directory)
        if file is not None:
            node["cells"] = self.cells
        self._revision = revision_of(own_metadata(node))
        self._encoded_metadata: tuple[bytes, bytes] | None
        self._history = History()
        for is_theirs in of_others:
            self._history.add(self._revision, is_theirs=is_theirs)
        self.is_saved = False
        self._change_metadata()

    @classmethod
    def create(
        cls, directory: Path, name: str, metadata: Mapping[str, Any], cells: Sequence[NotebookNode] = ()
    ) -> Notebook:
        """Write a new notebook: `name.ipynb`, or `name-2.ipynb` and so on if that is taken.

        Raises NotebookWriteError if the directory is missing or the notebook cannot be written there.
        """
        for path in places(directory, name):
            node = from_dict({"cells": list(cells), "metadata": {}, "nbformat": 4, "nbformat_minor": 5})
            notebook = cls(path, node, NotebookFile(path))
            notebook.describe(metadata)
            with notebook.file.reporting(), contextlib.suppress(FileExistsError):
                notebook._publish(is_new=True)
                return notebook
        raise AssertionError("unreachable: there is always another number")

    @classmethod
    def open(cls, path: Path) -> Notebook:
        """Open an existing notebook to continue it, including the changes in its journal.

        Raises NotebookReadError, NotebookInUseError or NotebookWriteError.
        """
        file = NotebookFile(path)
        with file.taken_over():
            notebook = cls(path, recover_document(path), file)
            notebook.is_saved = True
            if file.journal.is_there:  # save what it has before it is removed
                notebook.is_saved = False
                notebook.save()
                file.journal.remove()
        return notebook

    def close(self) -> None:
        """Let others write it."""
        if self.is_saved:
            self.file.journal.remove()
        self.file.close()

    def describe(self, metadata: Mapping[str, Any]) -> None:
        """Set keys of the notebook's metadata, and single keys under `nbtape`, where None removes a key."""
        ours = {**own_metadata(self.node), **metadata.get("nbtape", {})}
        ours = {key: value for key, value in ours.items() if value is not None}
        self.node["metadata"].update(from_dict(fit_json({**metadata, "nbtape": ours})))
        self.is_saved = False
        self._change_metadata()

    def _change_metadata(self) -> None:
        """Encode the metadata again with the next save."""
        self._metadata_changed, self._encoded_metadata = True, None

    def _metadata_of(self, revision: int) -> bytes:
        """The encoded metadata, in a recording with the number of the save.

        Only that number changes with each save, and encoding a list of packages takes 5 % of the time of a cell.
        """
        if self._encoded_metadata is None:
            metadata = self.node["metadata"]
            if "started" in own_metadata(self.node):
                metadata = {**metadata, "nbtape": {**metadata["nbtape"], "revision": _REVISION_MARK}}
            before, _, after = encode_metadata(metadata).partition(b"%d" % _REVISION_MARK)
            self._encoded_metadata = before, after
        before, after = self._encoded_metadata
        return b"%b%d%b" % (before, revision, after) if after else before

    def add_markdown(self, source: str, metadata: Mapping[str, Any]) -> int:
        """Append a Markdown cell and return its number."""
        return self._add(cell_type="markdown", source=fit_text(source), metadata=fit_json(metadata))

    def add_code(self, source: str, metadata: Mapping[str, Any]) -> int:
        """Append a code cell that has not run, and return its number."""
        source, metadata = fit_text(source), fit_json(metadata)
        return self._add(cell_type="code", source=source, metadata=metadata, outputs=[], execution_count=None)

    def _add(self, **content: Any) -> int:  # noqa: ANN401  (the fields of a cell)
        self.is_saved = False
        self._history.add()
        return self.cells.append(from_dict({"id": str(uuid4()), **content}))

    def move(self, index: int, place: int) -> None:
        """Put cell `index` into another place, counted from 0 without that cell; the last place if there are fewer."""
        order = [number for number in self.cells.order if number != index]
        order.insert(place, index)
        self.cells.arrange(order)
        self._history.arranged = NEXT_SAVE
        self.is_saved = False

    def touch(self, index: int) -> None:
        """Mark cell `index` as changed, to be written with the next save."""
        self.cells.touch(index)
        self._history.change(index)
        self.is_saved = False

    def save(self) -> None:
        """Write the changes atomically, or to the journal if someone else is writing the notebook (see `is_saved`).

        Raises NotebookWriteError if that fails; the next `save` tries again.
        """
        with self.file.reporting():
            for _ in range(MAX_SAVE_ATTEMPTS):
                with contextlib.suppress(ChangedError):
                    self._merge_changes()
                    if not self.is_saved:
                        self._publish()
                    return
            self.is_saved = False
            self._add_to_journal()

    def merge_changes(self) -> bool:
        """Merge changes that someone else has saved, for the next `save`; return whether the file lacks any of ours.

        Raises NotebookWriteError if another executor writes the notebook.
        """
        with self.file.reporting(), contextlib.suppress(ChangedError):
            return self._merge_changes()
        return False

    def _merge_changes(self) -> bool:
        """See `merge_changes`; raises ChangedError if the notebook may be half-written, OSError if by an executor."""
        if not self.file.others.is_changed:
            return False
        unchanged: set[str] = set()

        def is_known(cell: NotebookNode) -> bool:
            if self._is_as_saved(cell):
                unchanged.add(cell["id"])
            return cell["id"] in unchanged

        self.file.refuse_writer()
        theirs = self.file.others.read(self._is_ours, is_known)
        self.is_saved = False
        if theirs is None:
            return True
        if self._is_too_much([cell for cell in theirs["cells"] if cell["id"] not in unchanged]):
            self.file.others.set_aside()
            return True
        seen = revision_of(own_metadata(theirs))
        is_behind = merge(self.cells, self._history, theirs["cells"], seen, unchanged)
        self._revision = max(self._revision, seen)
        return self._take_metadata(theirs["metadata"]) or is_behind

    def _is_too_much(self, changed: Sequence[NotebookNode]) -> bool:
        """Whether additions by someone else would exceed their limit: they must not use up the space of the record."""
        added = self.cells.size - self.recorded_bytes + sum(len(encode_cell(cell)) for cell in changed)
        return added > MAX_ADDED_BYTES + self.recorded_bytes

    @property
    def recorded_bytes(self) -> int:
        """Bytes of the cells that the recorder wrote, as of the last save."""
        return self.cells.size - sum(self.cells.bytes_of(number) for number in self._history.theirs)

    def _take_metadata(self, theirs: Mapping[str, Any]) -> bool:
        """Take over metadata that other programs have saved; return whether theirs lacks any of ours."""
        ours = self.node["metadata"]
        known = {**ours} if self._metadata_changed else {key: ours[key] for key in _RECORDED_KEYS if key in ours}
        self._change_metadata()
        if json_size(theirs) <= MAX_PRESENTATION_CHARS + json_size(ours):
            self.node["metadata"] = from_dict(fit_json({**theirs, **known}))
        own, other = own_metadata(self.node), own_metadata({"metadata": theirs})
        own.pop("revision", None)
        other.pop("revision", None)
        return own != other or any(theirs.get(key) != value for key, value in known.items() if key != "nbtape")

    def _is_ours(self, theirs: NotebookNode) -> bool:
        """Whether a notebook that someone else has saved is a version of this one."""
        started = own_metadata(self.node).get("started")
        ids = {cell["id"] for cell in theirs["cells"]}
        return own_metadata(theirs).get("started") == started is not None or not ids.isdisjoint(self.cells.ids)

    def _is_as_saved(self, cell: NotebookNode) -> bool:
        """Whether someone else has saved a cell unchanged."""
        with contextlib.suppress(KeyError, ValueError):
            return self.cells.encoded(self.cells.number(cell["id"])) == encode_cell(cell)
        return False

    def keep(self) -> None:
        """Write the changes to the journal, or save if that fails; raises NotebookWriteError if both fail."""
        try:
            with self.file.reporting():
                self._add_to_journal()
        except NotebookWriteError:  # for example, a directory has the journal's name
            self.save()
        self.cells.spill()

    def _add_to_journal(self) -> None:
        with self._changes() as changed:
            started = str(own_metadata(self.node).get("started"))
            self.file.add_to_journal(started, self._revision, self._entries(changed))
            self._metadata_changed = False

    def _entries(self, changed: Iterable[tuple[int, bytes]]) -> Iterator[tuple[Kind, bytes]]:
        """The journal's entries for changed cells and metadata."""
        for index, encoded in changed:
            yield "change" if self._history.first[index] < NEXT_SAVE else "cell", encoded.removeprefix(SEPARATOR)
        if self._metadata_changed:
            yield "metadata", self._metadata_of(self._revision)

    def _publish(self, *, is_new: bool = False) -> None:
        """Write everything; raises OSError, or ChangedError if someone else has just saved."""
        revision = self._revision + 1
        try:
            with self._changes():
                metadata, has_cells = self._metadata_of(revision), bool(self.cells.order)
                tail = encode_tail(metadata, self.node["nbformat_minor"], has_cells=has_cells)
                size = len(HEAD) + self.cells.length + len(tail)
                self.file.publish(itertools.chain([HEAD], self.cells.pieces(), [tail]), size, is_new=is_new)
        except OSError as exc:
            if exc.errno not in {errno.ENOSPC, errno.EDQUOT} or not self.file.release_replaced():
                raise
            self._publish(is_new=is_new)  # using the space of the replaced files
            return
        self._revision = revision
        self._history.save(revision)
        self.is_saved, self._metadata_changed = True, False
        self.cells.spill()

    @contextlib.contextmanager
    def _changes(self) -> Iterator[list[tuple[int, bytes]]]:
        """The changed cells, for writing; if that fails, they still count as changed."""
        changed = self.cells.encode()
        try:
            yield changed
        except (OSError, ChangedError):
            for index, _ in changed:
                self.cells.touch(index)
            raise
