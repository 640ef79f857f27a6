"""Judge each recorded file: those that the code wrote, and those that nbtape extracted from outputs."""

from __future__ import annotations

import base64
import hashlib
import itertools
import json
import mimetypes
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from nbtape.common.image_types import PILLOW_FORMATS
from nbtape.errors import MissingExtraError
from nbtape.notebook.format import own_metadata, own_status
from nbtape.notebook.numbering import code_cells
from nbtape.replay.cell_verdict import context_of
from nbtape.replay.compare.archives import unpacked
from nbtape.replay.compare.cell_outputs import check_packages, is_json, judge
from nbtape.replay.compare.pdf import PDF
from nbtape.replay.compare.printed_text import TOO_LONG
from nbtape.replay.compare.settings import Judgement, cut, matches, shown, worst
from nbtape.replay.report import ReplayedFile
from nbtape.replay.working_copy import listed_files
from nbtape.results import STOPPED
from nbtape.session.written_files import MAX_HASHED_BYTES, digest_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from nbtape.common.untrusted_files import Directory
    from nbtape.replay.compare.settings import Context, ReplaySettings
    from nbtape.replay.notebook_settings import CellRules
    from nbtape.replay.report import FileVerdict, ReplayedCell

#: Maximum size of a file whose content is compared, and of all of them in one notebook. For others, digests decide.
_MAX_COMPARED_BYTES: Final = 32 << 20
_MAX_ALL_COMPARED_BYTES: Final = 256 << 20

#: Types of files that are compared as outputs of that type; other texts are compared as text.
_OWN_RULES: Final = frozenset({*PILLOW_FORMATS, PDF, "image/svg+xml", "text/html"})


_NOTATION: Final = Judgement("cosmetic", "only the notation differs")


@dataclass(frozen=True, slots=True)
class Runs:
    """The recorded and the replayed notebook, as `judge_cell` takes them."""

    recorded: Mapping[str, Any]
    replayed: Mapping[str, Any]
    contexts: tuple[Context, Context]
    rules: Mapping[int, CellRules]
    verdicts: Sequence[ReplayedCell]


@dataclass(frozen=True, slots=True)
class _Version:
    """A file as one run had it after a cell."""

    size: int
    sha256: str | None


@dataclass(slots=True)
class _Recorded:
    """The last recorded version of a file, and the cells that wrote it in both runs."""

    path: str
    version: _Version
    index: int
    block: int
    cell: Mapping[str, Any]
    again: Mapping[str, Any]

    @property
    def parts(self) -> tuple[str, ...]:
        return tuple(self.path.split("/"))

    @property
    def was_stopped(self) -> bool:
        return own_status(self.cell) in STOPPED or own_status(self.again) in STOPPED


def has_digests(notebook: Mapping[str, Any]) -> bool:
    """Whether nbtape recorded a notebook, and so the digests of the files that its code wrote."""
    return "version" in own_metadata(notebook)


def judge_files(
    runs: Runs, originals: Directory | None, results: Directory, absent: Collection[tuple[str, ...]] = ()
) -> list[ReplayedFile]:
    """Judge the recorded files of the cells that were to run.

    Args:
        runs: Both notebooks.
        originals: The directory with the recorded files; None if the replay may have overwritten them.
        results: The directory with the files of the replay.
        absent: Paths of files that were not there when the replay began.
    """
    judge_one = _Judge(runs, originals, results, absent)
    written = [judge_one.written(file) for file in _last_versions(runs).values()]
    return [*written, *_extracted(runs)]


def _last_versions(runs: Runs) -> dict[str, _Recorded]:
    """The last recorded version of each file that the code wrote."""
    found: dict[str, _Recorded] = {}
    for (index, block, cell), again in _pairs(runs):
        for path, version in _listed(cell):
            found[path] = _Recorded(path, version, index, block, cell, again)
    return found


def _pairs(runs: Runs) -> Iterator[tuple[tuple[int, int, Mapping[str, Any]], Mapping[str, Any]]]:
    """The recorded code cells that were to run, with the replayed ones."""
    new_cells = {cell["id"]: cell for cell in runs.replayed["cells"]}
    verdicts = {verdict.index: verdict for verdict in runs.verdicts}
    for index, block, cell in code_cells(runs.recorded["cells"]):
        if cell["id"] in new_cells and verdicts[index].verdict != "skipped":
            yield (index, block, cell), new_cells[cell["id"]]


def _listed(cell: Mapping[str, Any]) -> Iterator[tuple[str, _Version]]:
    """The files that a cell wrote, if their sizes are known."""
    for file in listed_files(own_metadata(cell)):
        size, digest = file.get("size"), file.get("sha256")
        if isinstance(size, int):
            yield file["path"], _Version(size, digest if isinstance(digest, str) else None)


class _Judge:
    """Judges the files that the code wrote."""

    def __init__(
        self, runs: Runs, originals: Directory | None, results: Directory, absent: Collection[tuple[str, ...]]
    ) -> None:
        self._runs, self._originals, self._results, self._absent = runs, originals, results, absent
        self._listed = dict(
            itertools.chain.from_iterable(_listed(cell) for cell in runs.replayed["cells"] if "outputs" in cell)
        )
        self._hashes_left, self._compares_left = MAX_HASHED_BYTES, _MAX_ALL_COMPARED_BYTES

    def written(self, file: _Recorded) -> ReplayedFile:
        """The verdict on one file."""
        now, is_left = self._now(file), file.path not in self._listed and file.parts not in self._absent
        judgement = self._judge(file, now, is_left=is_left)
        return ReplayedFile(
            file.path,
            *judgement,
            file.block,
            file.version.size,
            file.version.sha256,
            None if now is None else now.size,
            None if now is None else now.sha256,
        )

    def _now(self, file: _Recorded) -> _Version | None:
        """The file after the replay, or as the replay had it before it deleted it; None if it was never there."""
        *above, name = file.parts
        try:
            with self._results.below(*above) as directory:
                exists = directory.status(name) is not None
        except OSError:
            exists = False
        if not exists:
            return self._listed.get(file.path)
        size, digest = digest_of(self._results, file.parts, self._hashes_left)
        self._hashes_left -= size if digest else 0
        return _Version(size, digest)

    def _judge(self, file: _Recorded, now: _Version | None, *, is_left: bool) -> tuple[FileVerdict, str]:
        before = file.version
        if now is None:
            return _unless_stopped(file, ("missing", "The replay did not write it."))
        if None not in {before.sha256, now.sha256} and before == now:
            return "same", "The replay did not write it again." if is_left else ""
        if before.size == now.size and None in {before.sha256, now.sha256}:
            return "not_compared", f"It has {now.size:,} bytes both times; it was too large to hash, or has hard links."
        verdict, reason = _unless_stopped(file, self._compare(file, now))
        return verdict, f"The replay did not write it. {reason}" if is_left else reason

    def _compare(self, file: _Recorded, now: _Version) -> tuple[FileVerdict, str]:
        """Compare the contents of a file whose digests differ."""
        old, new = self._contents(file, now)
        if new is None:
            return "different", _sizes(file, now)
        if old is None:
            is_there = self._originals is not None
            why = "it is gone, has changed or is too large" if is_there else "the replay has overwritten it"
            return "different", f"{_sizes(file, now)} The recorded content cannot be compared: {why}."
        rules = self._runs.rules[file.index]
        recorded, replayed = self._runs.contexts
        contexts = context_of(recorded, file.cell), context_of(replayed, file.again)
        found = judge_contents(file.path, old, new, contexts, rules.own or rules.settings)
        if matches(found):
            return found.verdict, found.reason  # type: ignore[return-value]  # one of the first three
        return "different", f"{_sizes(file, now)} {found.reason[:1].upper()}{found.reason[1:]}"

    def _contents(self, file: _Recorded, now: _Version) -> tuple[bytes | None, bytes | None]:
        """The recorded and the new content; None if it cannot be read or is no longer that."""
        contents: list[bytes | None] = []
        for directory, version in ((self._originals, file.version), (self._results, now)):
            content = None
            if directory is not None and version.size <= min(_MAX_COMPARED_BYTES, self._compares_left):
                content = _content(directory, file.parts, version)
                self._compares_left -= version.size
            contents.append(content)
        return contents[0], contents[1]


def _content(directory: Directory, parts: tuple[str, ...], version: _Version) -> bytes | None:
    try:
        content = directory.read_below(parts, version.size)
    except OSError:
        return None
    return content if hashlib.sha256(content).hexdigest() == version.sha256 else None


def _unless_stopped(file: _Recorded, verdict: tuple[FileVerdict, str]) -> tuple[FileVerdict, str]:
    """Excuse a difference in a file of a block that was stopped, because its content depends on the time."""
    if file.was_stopped and verdict[0] in {"different", "missing"}:
        return "not_compared", f"The block was stopped while it ran. {verdict[1]}"
    return verdict


def _sizes(file: _Recorded, now: _Version) -> str:
    if file.version.size == now.size:
        return f"{now.size:,} bytes both times, with another content."
    return f"{file.version.size:,} bytes became {now.size:,}."


def judge_contents(
    path: str, old: bytes, new: bytes, contexts: tuple[Context, Context], settings: ReplaySettings
) -> Judgement:
    """Compare two versions of a file by the rules for outputs of its type, and the files in an archive one by one."""
    files, new_files = unpacked(path, old), unpacked(path, new)
    if files is None or new_files is None:
        return _judge_file(path, old, new, contexts, settings)
    if changed := sorted(files.keys() ^ new_files.keys()):
        return Judgement("different", f"only one of the archives has {cut(changed[0])}")
    found = {
        name: _judge_file(name, files[name], new_files[name], contexts, settings)
        for name in files
        if files[name] != new_files[name]
    }
    for name, judgement in found.items():
        if judgement.verdict == "different":
            return replace(judgement, reason=f"{cut(name)}: {judgement.reason}")
    return worst([_NOTATION, *found.values()])


def _judge_file(
    path: str, old: bytes, new: bytes, contexts: tuple[Context, Context], settings: ReplaySettings
) -> Judgement:
    mime = mimetypes.guess_type(path, strict=False)[0] or ""
    left, right = _as_output(mime, old), _as_output(mime, new)
    if left is None or right is None:
        return Judgement("different", "the content is not text")
    try:
        check_packages([left, right])
    except MissingExtraError as exc:
        return Judgement("different", str(exc))
    judgement = judge([left], [right], *contexts, settings)
    if judgement.reason.startswith(TOO_LONG) and mime not in _OWN_RULES:
        return replace(judgement, reason=_first_difference(old.decode().splitlines(), new.decode().splitlines()))
    return _NOTATION if judgement.verdict == "same" else judgement


def _as_output(mime: str, content: bytes) -> dict[str, Any] | None:
    """A file as an output of a notebook; None if it is neither text nor of a type that has rules."""
    if mime in PILLOW_FORMATS or mime == PDF:
        return _display(mime, base64.b64encode(content).decode())
    try:
        text = content.decode()
    except UnicodeDecodeError:
        return None
    if "\0" in text:
        return None
    if is_json(mime):
        try:
            return _display("application/json", json.loads(text))
        except (ValueError, RecursionError):
            pass
    return _display(mime if mime in _OWN_RULES else "text/plain", text)


def _display(mime: str, value: object) -> dict[str, Any]:
    return {"output_type": "display_data", "data": {mime: value}, "metadata": {}}


def _first_difference(old: Sequence[str], new: Sequence[str]) -> str:
    """The first line that differs, in both versions."""
    for number, (left, right) in enumerate(itertools.zip_longest(old, new, fillvalue=""), 1):
        if left != right:
            return shown(f"line {number}", left, right)
    return "only line ends differ"


def _extracted(runs: Runs) -> Iterator[ReplayedFile]:
    """The verdicts on extracted files: whether the replay has the output that each was made from."""
    verdicts = {verdict.index: verdict for verdict in runs.verdicts}
    for (index, block, cell), again in _pairs(runs):
        listed = own_metadata(cell).get("extracted")
        for file in listed if isinstance(listed, list) else []:
            if not isinstance(file, dict) or not isinstance(file.get("path"), str):
                continue
            if verdicts[index].verdict == "ignored":
                verdict: tuple[FileVerdict, str] = "ignored", verdicts[index].reason
            else:
                verdict = _judge_output(runs, index, (cell, again), file)
            yield ReplayedFile(file["path"], *verdict, block, is_extracted=True)


def _judge_output(
    runs: Runs, index: int, cells: tuple[Mapping[str, Any], Mapping[str, Any]], file: Mapping[str, Any]
) -> tuple[FileVerdict, str]:
    mime, position = file.get("mime_type"), file.get("output")
    old, new = (_value(cell, position, mime) for cell in cells)
    if old is None:
        return "not_compared", "The recorded notebook no longer has the output that it was made from."
    if any(own_status(cell) in STOPPED for cell in cells) and new is None:
        return "not_compared", "The block was stopped while it ran."
    if new is None:
        return "missing", "The replay does not have the output that it was made from."
    contexts = context_of(runs.contexts[0], cells[0]), context_of(runs.contexts[1], cells[1])
    rules = runs.rules[index]
    found = judge([_display(str(mime), old)], [_display(str(mime), new)], *contexts, rules.own or rules.settings)
    if matches(found):
        return found.verdict, found.reason  # type: ignore[return-value]  # one of the first three
    return "different", found.reason


def _value(cell: Mapping[str, Any], position: object, mime: object) -> object:
    """The data of an output; None if there is no such output."""
    outputs = cell["outputs"]
    if not isinstance(position, int) or not isinstance(mime, str) or not 0 <= position < len(outputs):
        return None
    data = outputs[position].get("data")
    return data.get(mime) if isinstance(data, dict) else None
