"""The verdict on one cell: how it ended then and now, and what it showed."""

from __future__ import annotations

import datetime
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from nbtape.notebook.format import own_metadata, own_status
from nbtape.notebook.notices import tells_ending
from nbtape.replay.compare.cell_outputs import judge
from nbtape.replay.compare.settings import Context, Judgement, ReplaySettings, matches
from nbtape.replay.expectations import FAILED, expectation
from nbtape.replay.report import ReplayedCell

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from nbtape.replay.expectations import Expectation

#: Tags under which the outputs of a cell are not compared: nbval's, see https://nbval.readthedocs.io.
_IGNORED: Final = frozenset({"nbval-ignore-output", "NBVAL_IGNORE_OUTPUT"})

#: How a cell ended that was stopped from outside: what it had shown by then is a matter of moments.
_STOPPED: Final = frozenset({"timeout", "interrupted"})


def settings_of(index: int, cell: Mapping[str, Any], settings: ReplaySettings) -> ReplaySettings:
    """What counts as no difference for a cell, which may have settings of its own.

    Args:
        index: Its position, for errors.
        cell: The cell; what it has under `replay`, see `nbtape.notebook.document`, takes the place of the others.
        settings: The others.

    Raises:
        ValueError: They make no sense.
    """
    own = own_metadata(cell).get("replay")
    if own is None:
        return settings
    try:
        return replace(settings, **{name: _READ[name](value) for name, value in own.items()})
    except (AttributeError, LookupError, TypeError, ValueError, re.error) as exc:
        raise ValueError(
            f"Cell {index} has replay settings that cannot be used ({exc}): see nbtape.ReplaySettings."
        ) from exc


#: How settings are read from JSON.
_READ: Final[Mapping[str, Callable[[Any], Any]]] = {
    **dict.fromkeys(("relative", "absolute", "last_place"), float),
    "levels": int,
    "cosmetic": frozenset,
    "extra": tuple,
}


def missing_cell(index: int, cell: Mapping[str, Any]) -> ReplayedCell:
    """The verdict on a code cell that papermill has taken out: parameters that an earlier run had injected."""
    status = expectation(cell).status
    return ReplayedCell(index, cell["id"], "not_run", status, "not_run", "Replaced by the parameters of this run.")


def judge_cell(
    index: int,
    recorded: Mapping[str, Any],
    replayed: Mapping[str, Any],
    contexts: tuple[Context, Context],
    settings: ReplaySettings,
) -> ReplayedCell:
    """Judge a code cell.

    Args:
        index: Its position in the recorded notebook.
        recorded: As it was recorded.
        replayed: As it was run again, by nbtape.
        contexts: What is known of the notebooks that they are in.
        settings: What counts as no difference.
    """
    expected, now = expectation(recorded), own_status(replayed)
    judgement = _judge_ending(expected, recorded, replayed) or _judge_outputs(recorded, replayed, contexts, settings)
    return ReplayedCell(index, recorded["id"], judgement.verdict, expected.status, now, judgement.reason)


def _judge_ending(expected: Expectation, recorded: Mapping[str, Any], replayed: Mapping[str, Any]) -> Judgement | None:
    """The verdict where it does not depend on what was shown."""
    now = own_status(replayed)
    if not expected.runs:
        return Judgement("same", "Not run, as it was recorded.")
    if now == "not_run":
        return Judgement("not_run", "Not run: a cell before it had failed.")
    if expected.status in {"", "running"} and (now not in FAILED or expected.is_tagged):
        return Judgement("same", "How it ended then is not recorded.")
    if expected.failed != (now in FAILED):
        return _judge_turn(recorded, replayed)
    if expected.failed and _kind(expected.status) != _kind(now):
        return Judgement("different", f"It had failed otherwise: {expected.status} then, {now} now.")
    if _IGNORED & set(recorded["metadata"].get("tags", [])):
        return Judgement("same_error" if expected.failed else "same", "Outputs are not compared, says its tag.")
    return None


def _judge_turn(recorded: Mapping[str, Any], replayed: Mapping[str, Any]) -> Judgement:
    """The verdict on a cell that failed in one of the runs only."""
    if own_status(replayed) in FAILED:
        return Judgement("error", _failure(replayed))
    return Judgement("fixed", f"It had failed: {_failure(recorded)}")


def _judge_outputs(
    recorded: Mapping[str, Any],
    replayed: Mapping[str, Any],
    contexts: tuple[Context, Context],
    settings: ReplaySettings,
) -> Judgement:
    before, after = recorded["outputs"], replayed["outputs"]
    if own_status(replayed) in _STOPPED:
        before, after = _as_far_as_both(before, after)
    judgement = judge(before, after, _at(contexts[0], recorded), _at(contexts[1], replayed), settings)
    if own_status(replayed) in FAILED and matches(judgement):
        return replace(judgement, verdict="same_error")
    return judgement


def _kind(status: str) -> str:
    return "stopped" if status in _STOPPED else status


def _failure(cell: Mapping[str, Any]) -> str:
    """How a cell failed, a line."""
    for output in cell["outputs"]:
        if output["output_type"] == "error":
            first = next(iter(str(output["evalue"]).splitlines()), "")
            return f"{output['ename']}: {first}"[:200]
    return str(own_metadata(cell).get("note") or own_status(cell))[:200]


def _as_far_as_both(
    before: list[dict[str, Any]], after: list[dict[str, Any]]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """What two runs had shown when the one that had shown less was stopped."""
    shown = [[output for output in outputs if not tells_ending(output)] for outputs in (before, after)]
    common = min(map(len, shown))
    pairs = [_same_length(*pair) for pair in zip(*(outputs[:common] for outputs in shown), strict=True)]
    return [old for old, _ in pairs], [new for _, new in pairs]


def _same_length(old: dict[str, Any], new: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    if old["output_type"] != "stream" or new["output_type"] != "stream":
        return old, new
    length = min(len(old["text"]), len(new["text"]))
    return {**old, "text": old["text"][:length]}, {**new, "text": new["text"][:length]}


def _at(context: Context, cell: Mapping[str, Any]) -> Context:
    times = cell["metadata"].get("execution")
    times = times if isinstance(times, dict) else {}
    return replace(
        context,
        began=_epoch_seconds(times.get("iopub.execute_input")),
        ended=_epoch_seconds(times.get("shell.execute_reply")),
    )


def _epoch_seconds(time: object) -> float | None:
    try:
        return datetime.datetime.fromisoformat(str(time)).timestamp()
    except ValueError:
        return None
