"""Report changes in a notebook since the last snapshot as events."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from nbtape.notebook.numbering import block_numbers
from nbtape.summary.normalise import fit_output
from nbtape.summary.run_summary import count_statuses, run_cell

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from nbtape.summary.run_summary import RunCell
    from nbtape.watch.snapshots import CellSnapshot, Snapshot


@dataclass(frozen=True, slots=True)
class CellBegun:
    """A cell that is new or has a new source. Only cells of kind `code` end; the others are `markdown` or `raw`.

    `block` is the number of the block, or of the one before it (see `numbering`).
    """

    index: int
    kind: str
    source: str
    block: int = 0


@dataclass(frozen=True, slots=True)
class StreamGrown:
    """A stream output, number `position` of its cell, has more text.

    `text` is for a terminal that shows the earlier text; a leading `\\r` replaces its unfinished last line.
    """

    index: int
    position: int
    text: str


@dataclass(frozen=True, slots=True)
class OutputShown:
    """A complete output (see `fit_output`) that is not a stream; `is_update` if it replaces the one at its position."""

    index: int
    position: int
    output: Mapping[str, Any]
    is_update: bool


@dataclass(frozen=True, slots=True)
class CellEnded:
    """A code cell has ended, or its status or later changes to it are different now."""

    about: RunCell


Event = CellBegun | StreamGrown | OutputShown | CellEnded


class EventTracker:
    """Turns snapshots into events and remembers what was reported."""

    def __init__(self) -> None:
        self._reported: dict[str, _Reported] = {}

    @property
    def counts(self) -> dict[str, int]:
        """The number of code cells by status in the last snapshot, the most frequent first."""
        return count_statuses(reported.status for reported in self._reported.values())

    def events(self, snapshot: Snapshot, begin: int = 0) -> Iterator[Event]:
        """Report changes in cell `begin` and later cells, and only remember earlier ones."""
        numbers = block_numbers(cell.outline for cell in snapshot.cells)
        for index in snapshot.changed:
            events = list(self._of_cell(index, numbers[index], snapshot.cells[index]))
            if index >= begin:
                yield from events
        there = {cell.key for cell in snapshot.cells}
        self._reported = {key: reported for key, reported in self._reported.items() if key in there}

    def _of_cell(self, index: int, block: int, snapshot: CellSnapshot) -> Iterator[Event]:
        cell = snapshot.load()
        reported = self._reported.get(snapshot.key)
        if reported is None or reported.source != cell["source"]:
            reported = self._reported[snapshot.key] = _Reported(cell["source"])
            yield CellBegun(index, cell["cell_type"], cell["source"], block)
        if cell["cell_type"] != "code":
            return
        outputs = [fit_output(raw) for raw in cell["outputs"]]
        for position, output in enumerate(outputs):
            yield from reported.events(index, position, output)
        del reported.outputs[len(outputs) :]
        about = run_cell(index, block, {**cell, "outputs": outputs})
        if about.status != "running" and (about.status, about.touched) != (reported.status, reported.touched):
            yield CellEnded(about)
        reported.status, reported.touched = about.status, about.touched


@dataclass(slots=True)
class _Reported:
    """The reported state of a cell."""

    source: str
    status: str = ""
    touched: tuple[str, ...] = ()
    outputs: list[_Mark] = field(default_factory=list)

    def events(self, index: int, position: int, output: Mapping[str, Any]) -> Iterator[Event]:
        """Report an output if it is new or has changed."""
        mark = _mark(output)
        before = self.outputs[position] if position < len(self.outputs) else None
        if before == mark:
            return
        self.outputs[position : position + 1] = [mark]
        if output["output_type"] == "stream":
            yield StreamGrown(index, position, self._chunk(before, mark.kind, output["text"]))
        else:
            yield OutputShown(index, position, output, is_update=before is not None)

    def _chunk(self, before: _Mark | None, kind: str, text: str) -> str:
        """The text to print so that a terminal shows `text`; the whole text if it does not continue the earlier one."""
        if before is None or before.kind != kind:
            return text
        if _digest(text[: before.length]) == before.digest:
            return text[before.length :]
        is_progress = self.status in {"", "running"} and _digest(text[: before.line]) == before.head
        return "\r" + text[before.line :] if is_progress else text


class _Mark(NamedTuple):
    """Identifies an output without keeping it; `line` is the start of its last line, `head` the text before."""

    kind: str
    length: int
    digest: bytes
    line: int
    head: bytes


def _mark(output: Mapping[str, Any]) -> _Mark:
    kind = output["output_type"]
    text = output["text"] if kind == "stream" else json.dumps(output, sort_keys=True)
    line = text.rfind("\n") + 1
    return _Mark(f"{kind} {output.get('name', '')}", len(text), _digest(text), line, _digest(text[:line]))


def _digest(text: str) -> bytes:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()
