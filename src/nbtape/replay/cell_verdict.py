"""The verdict on one cell, from its status and its outputs in both runs."""

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
    from collections.abc import Callable, Iterable, Mapping

    from nbtape.replay.expectations import Expectation

_Output = dict[str, Any]

#: Tags of nbval (https://nbval.readthedocs.io) for cells whose outputs are not compared.
_IGNORED: Final = frozenset({"nbval-ignore-output", "NBVAL_IGNORE_OUTPUT"})

#: Statuses of stopped cells, whose outputs depend on the time.
_STOPPED: Final = frozenset({"timeout", "interrupted"})


def settings_of(index: int, cell: Mapping[str, Any], settings: ReplaySettings) -> ReplaySettings:
    """Return the settings with those in a cell's `replay` metadata, or raise ValueError if these are invalid."""
    own = own_metadata(cell).get("replay")
    if own is None:
        return settings
    try:
        return replace(settings, **{name: _READ[name](value) for name, value in own.items()})
    except (AttributeError, LookupError, TypeError, ValueError, OverflowError, re.error) as exc:
        raise ValueError(
            f"Cell {index} has replay settings that cannot be used ({exc}): see nbtape.ReplaySettings."
        ) from exc


#: Conversions of settings from JSON.
_READ: Final[Mapping[str, Callable[[Any], Any]]] = {
    **dict.fromkeys(("relative", "absolute", "last_place"), float),
    "levels": int,
    "cosmetic": frozenset,
    "extra": tuple,
}


def judge_cell(
    index: int,
    recorded: Mapping[str, Any],
    replayed: Mapping[str, Any] | None,
    contexts: tuple[Context, Context],
    settings: ReplaySettings,
) -> ReplayedCell:
    """Judge a recorded code cell; `replayed` is None if papermill replaced it by new parameters."""
    expected = expectation(recorded)
    if replayed is None:
        reason = "Replaced by the parameters of this run."
        return ReplayedCell(index, recorded["id"], "not_run", expected.status, "not_run", reason)
    judgement = _judge_ending(expected, recorded, replayed) or _judge_outputs(recorded, replayed, contexts, settings)
    return ReplayedCell(
        index, recorded["id"], judgement.verdict, expected.status, own_status(replayed), judgement.reason
    )


def _judge_ending(expected: Expectation, recorded: Mapping[str, Any], replayed: Mapping[str, Any]) -> Judgement | None:
    """The verdict if it does not depend on the outputs; else None."""
    now = own_status(replayed)
    if not expected.runs:
        return Judgement("same", "Not run, as it was recorded.")
    if now == "not_run":
        return Judgement("not_run", "Not run: a cell before it had failed.")
    if expected.status in {"", "running"} and (now not in FAILED or expected.is_tagged):
        return Judgement("same", "How it ended then is not recorded.")
    if expected.failed != (now in FAILED):
        fixed = Judgement("fixed", f"It had failed: {_failure(recorded)}")
        return fixed if expected.failed else Judgement("error", _failure(replayed))
    if expected.failed and expected.status != now and not {expected.status, now} <= _STOPPED:
        return Judgement("different", f"It had failed otherwise: {expected.status} then, {now} now.")
    if _IGNORED & set(recorded["metadata"].get("tags", [])):
        return Judgement("same_error" if expected.failed else "same", "Outputs are not compared, says its tag.")
    return None


def _judge_outputs(
    recorded: Mapping[str, Any],
    replayed: Mapping[str, Any],
    contexts: tuple[Context, Context],
    settings: ReplaySettings,
) -> Judgement:
    before, after = recorded["outputs"], replayed["outputs"]
    if own_status(replayed) in _STOPPED:
        before, after = _common_part(before, after)
    judgement = judge(before, after, _at(contexts[0], recorded), _at(contexts[1], replayed), settings)
    if own_status(replayed) in FAILED and matches(judgement):
        return replace(judgement, verdict="same_error")
    return judgement


def _failure(cell: Mapping[str, Any]) -> str:
    """How a cell failed, in at most 200 characters."""
    for output in cell["outputs"]:
        if output["output_type"] == "error":
            first = next(iter(str(output["evalue"]).splitlines()), "")
            return f"{output['ename']}: {first}"[:200]
    return str(own_metadata(cell).get("note") or own_status(cell))[:200]


def _common_part(before: Iterable[_Output], after: Iterable[_Output]) -> tuple[list[_Output], list[_Output]]:
    """Cut the outputs of two stopped runs to the shorter ones, without the notices about the stop."""
    before, after = ([output for output in outputs if not tells_ending(output)] for outputs in (before, after))
    pairs = [_same_length(old, new) for old, new in zip(before, after, strict=False)]
    return [old for old, _ in pairs], [new for _, new in pairs]


def _same_length(old: _Output, new: _Output) -> tuple[_Output, _Output]:
    if old["output_type"] != "stream" or new["output_type"] != "stream":
        return old, new
    length = min(len(old["text"]), len(new["text"]))
    return {**old, "text": old["text"][:length]}, {**new, "text": new["text"][:length]}


def _at(context: Context, cell: Mapping[str, Any]) -> Context:
    """Add the times of a cell, as JupyterLab and nbclient record them."""
    times = cell["metadata"].get("execution")
    times = times if isinstance(times, dict) else {}
    began, ended = (_epoch_seconds(times.get(key)) for key in ("iopub.execute_input", "shell.execute_reply"))
    return replace(context, began=began, ended=ended)


def _epoch_seconds(time: object) -> float | None:
    try:
        return datetime.datetime.fromisoformat(str(time)).timestamp()
    except ValueError:
        return None
