"""What has happened in a notebook from one look to the next, as it is told line by line."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from nbtape.summary.normalise import fit_output
from nbtape.summary.run_summary import run_cell

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from nbtape.summary.run_summary import RunCell
    from nbtape.watch.snapshots import Look, SeenCell


@dataclass(frozen=True, slots=True)
class CellBegun:
    """A cell that was not there before, or not with this source. Prose has no end.

    Args:
        index: Its position in the notebook, from 0.
        kind: `code`, `markdown` or `raw`.
        source: Its source.
    """

    index: int
    kind: str
    source: str


@dataclass(frozen=True, slots=True)
class StreamGrown:
    """A stream has more text.

    Args:
        index: The position of the cell.
        position: That of the output in the cell.
        text: What a terminal has to be sent that shows what was there before; `\\r` at its beginning takes the line
            back that has no end yet.
    """

    index: int
    position: int
    text: str


@dataclass(frozen=True, slots=True)
class OutputShown:
    """An output that is no stream, whole.

    Args:
        index: The position of the cell.
        position: That of the output in the cell.
        output: The output, in shape.
        is_update: Whether it takes the place of another one.
    """

    index: int
    position: int
    output: Mapping[str, Any]
    is_update: bool


@dataclass(frozen=True, slots=True)
class CellEnded:
    """A cell has ended, or what is said of its end is another.

    Args:
        about: How it ended.
    """

    about: RunCell


Event = CellBegun | StreamGrown | OutputShown | CellEnded


class Teller:
    """Tells what is new at each look, and remembers what it has told."""

    def __init__(self) -> None:
        self._told: dict[str, _Told] = {}

    @property
    def counts(self) -> dict[str, int]:
        """How many cells of code ended how, the most frequent first, as of the last look."""
        return dict(Counter(told.status for told in self._told.values() if told.status).most_common())

    def skip(self, look: Look, count: int) -> None:
        """Have the first cells of the first look not told, unless they change.

        Args:
            look: The look.
            count: How many cells.
        """
        for index, seen in enumerate(look.cells[:count]):
            for _ in self._of_cell(index, seen):
                pass

    def tell(self, look: Look) -> Iterator[Event]:
        """What is new.

        Args:
            look: One that was not told yet.
        """
        for index in look.changed:
            yield from self._of_cell(index, look.cells[index])
        there = {seen.key for seen in look.cells}
        self._told = {key: told for key, told in self._told.items() if key in there}

    def _of_cell(self, index: int, seen: SeenCell) -> Iterator[Event]:
        cell = seen.load()
        told = self._told.get(seen.key)
        if told is None or told.source != cell["source"]:
            told = self._told[seen.key] = _Told(cell["source"])
            yield CellBegun(index, cell["cell_type"], cell["source"])
        if cell["cell_type"] != "code":
            return
        outputs = [fit_output(raw) for raw in cell["outputs"]]
        for position, output in enumerate(outputs):
            yield from told.news(index, position, output)
        del told.outputs[len(outputs) :]
        about = run_cell(index, {**cell, "outputs": outputs})
        if about.status != "running":
            if about.status != told.status:
                yield CellEnded(about)
            told.settle()
        told.status = about.status


@dataclass(slots=True)
class _Told:
    """What was told of a cell: of each output what tells it from another; and the text of streams that may yet grow."""

    source: str
    status: str = ""
    outputs: list[_Mark] = field(default_factory=list)
    texts: dict[int, str] = field(default_factory=dict)

    def news(self, index: int, position: int, output: Mapping[str, Any]) -> Iterator[Event]:
        """What is new of an output."""
        mark = _mark(output)
        before = self.outputs[position] if position < len(self.outputs) else None
        if before == mark:
            return
        self.outputs[position : position + 1] = [mark]
        if output["output_type"] == "stream":
            yield StreamGrown(index, position, self._chunk(position, before, mark.kind, output["text"]))
            self.texts[position] = output["text"]
        else:
            yield OutputShown(index, position, output, is_update=before is not None)

    def settle(self) -> None:
        """Nothing but what a thread may print late is to come."""
        self.texts.clear()

    def _chunk(self, position: int, before: _Mark | None, kind: str, text: str) -> str:
        """What is to be sent to a terminal that shows what was there for it to show `text`; all, if no chunk does."""
        if before is None or before.kind != kind:
            return text
        if _digest(text[: before.length]) == before.digest:
            return text[before.length :]
        begin = (known := self.texts.get(position, "")).rfind("\n") + 1
        return "\r" + text[begin:] if known and text.startswith(known[:begin]) else text


class _Mark(NamedTuple):
    kind: str
    length: int
    digest: bytes


def _mark(output: Mapping[str, Any]) -> _Mark:
    kind = output["output_type"]
    text = output["text"] if kind == "stream" else json.dumps(output, sort_keys=True)
    return _Mark(f"{kind} {output.get('name', '')}", len(text), _digest(text))


def _digest(text: str) -> bytes:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()
