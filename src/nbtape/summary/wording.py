"""Phrases about a run, shared by tables, pages and reports."""

from __future__ import annotations

import datetime
import itertools
from typing import TYPE_CHECKING, Final

from nbtape.notebook.numbering import place_name

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nbtape.summary.run_summary import Run, RunCell

#: Maximum number of changed cells that are named in one line.
_MAX_LISTED: Final = 20


def counted(run: Run) -> str:
    """The number of code cells and their statuses."""
    return counted_cells(run.counts)


def counted_cells(counts: Mapping[str, int]) -> str:
    """Format the number of cells by status, as in `counted`."""
    number = sum(counts.values())
    ended = ", ".join(f"{count} {status}" for status, count in counts.items())
    return f"{number} code cell{'' if number == 1 else 's'}" + (f" ({ended})" if ended else "")


def conclusion_of(name: str, ending: str | None, counts: Mapping[str, int]) -> str:
    """A sentence on how the session of notebook `name` ended; see `nbtape.watch.follow.Session.ending`."""
    told = counted_cells(counts)
    if ending == "ended":
        cut_off = "; the running cell was cut off" if "running" in counts else ""
        return f"The session of {name} has ended: {told}{cut_off}."
    if ending == "gone":
        return f"{name} was removed: {told}."
    return f"{name} is not being recorded: {told}."


def facts_of(run: Run) -> list[tuple[str, str]]:
    """The known facts about a run as names and values: when, how long and where it ran, and what recorded it."""
    until = f" to {moment(run.ended)}" if run.started and run.ended else ""
    facts = [
        ("recorded", f"{moment(run.started)}{until}"),
        ("by", run.recorded_by),
        ("changed", changes_of(run)),
        ("cells ran for", span(run.seconds) if run.seconds else ""),
        ("kernel", run.kernel),
        ("ran on", f"Python {run.python}, {run.platform}" if run.python else ""),
        ("directory", run.directory),
        *((key.replace("_", " "), value) for key, value in run.place.items()),
    ]
    return [(name, value) for name, value in facts if value]


def changes_of(run: Run) -> str:
    """How many and which cells were changed after they were recorded; empty if none were."""
    if not run.changed:
        return ""
    cells = "1 cell was" if len(run.changed) == 1 else f"{len(run.changed)} cells were"
    blocks = {cell.index: cell.block for cell in run.cells}
    listed = [
        f"{place_name(_block_at(index, blocks), is_code=index in blocks)} ({', '.join(changes)})"
        for index, changes in itertools.islice(run.changed.items(), _MAX_LISTED)
    ]
    more = f", and {len(run.changed) - _MAX_LISTED} more" if len(run.changed) > _MAX_LISTED else ""
    return f"{cells} changed after recording: {', '.join(listed)}{more}"


def _block_at(index: int, blocks: Mapping[int, int]) -> int:
    """The number of the block at a position or before it; `blocks` has their numbers by position."""
    return max((block for position, block in blocks.items() if position <= index), default=0)


def edits(cell: RunCell) -> str:
    """The parts of a cell that were changed after it was recorded; empty if none were."""
    return f"changed after recording: {', '.join(cell.touched)}" if cell.touched else ""


def span(seconds: float | None) -> str:
    """Format seconds as `340 ms`, `12.3 s`, `4 min 05 s` or `2 h 05 min`; empty for None."""
    if seconds is None:
        return ""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 60:  # noqa: PLR2004  (a minute)
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s"


def moment(text: str) -> str:
    """Format an ISO 8601 time to the second, in its own zone; cut any other text to 40 characters."""
    try:
        told = datetime.datetime.fromisoformat(text)
    except ValueError:
        return text[:40]
    return f"{told:%Y-%m-%d %H:%M:%S} {told.tzname() or ''}".rstrip()
