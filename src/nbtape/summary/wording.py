"""What is told of a run, in words: for a table, a page, a report alike."""

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nbtape.summary.run_summary import Run, RunCell


def counted(run: Run) -> str:
    """How many cells of code there are, and how they ended."""
    return counted_cells(run.counts)


def counted_cells(counts: Mapping[str, int]) -> str:
    """The same of how many cells ended how."""
    number = sum(counts.values())
    ended = ", ".join(f"{count} {status}" for status, count in counts.items())
    return f"{number} cell{'' if number == 1 else 's'} of code" + (f" ({ended})" if ended else "")


def conclusion_of(name: str, ending: str | None, counts: Mapping[str, int]) -> str:
    """What became of a session that was followed, a sentence.

    Args:
        name: What its notebook is called.
        ending: How it ended, as `nbtape.watch.follow.Session` has it.
        counts: How many cells of code ended how.
    """
    told = counted_cells(counts)
    if ending == "ended":
        cut_off = "; what is running was cut off" if "running" in counts else ""
        return f"The session of {name} has ended: {told}{cut_off}."
    if ending == "gone":
        return f"{name} is gone, and nobody writes it: {told}."
    return f"Nobody writes {name}: {told}."


def facts_of(run: Run) -> list[tuple[str, str]]:
    """When a run was, how long it took, where it ran, and what recorded it: names and values, as far as it tells."""
    until = f" to {moment(run.ended)}" if run.started and run.ended else ""
    facts = [
        ("recorded", f"{moment(run.started)}{until}"),
        ("by", run.recorded_by),
        ("cells ran for", span(run.seconds) if run.seconds else ""),
        ("kernel", run.kernel),
        ("ran on", f"Python {run.python}, {run.platform}" if run.python else ""),
        ("directory", run.directory),
        *((key.replace("_", " "), value) for key, value in run.place.items()),
    ]
    return [(name, value) for name, value in facts if value]


def edits(cell: RunCell) -> str:
    """What somebody else changed of a cell; empty if nothing."""
    return f"by hand: {', '.join(cell.touched)}" if cell.touched else ""


def span(seconds: float | None) -> str:
    """A time as people say it, `340 ms`, `12.3 s`, `4 min 05 s`; empty for None."""
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
    """A time of ISO 8601 to the second, in its own zone; what is none as it is."""
    try:
        told = datetime.datetime.fromisoformat(text)
    except ValueError:
        return text[:40]
    return f"{told:%Y-%m-%d %H:%M:%S} {told.tzname() or ''}".rstrip()
