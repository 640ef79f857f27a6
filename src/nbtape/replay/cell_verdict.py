"""Judge one cell by its status and its outputs in both runs."""

from __future__ import annotations

import datetime
import re
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from nbtape.notebook.failures import MAX_FAILURE_CHARS, failure_of
from nbtape.notebook.format import own_metadata, own_status
from nbtape.notebook.notices import tells_ending
from nbtape.replay.compare.cell_outputs import judge
from nbtape.replay.compare.settings import Context, Judgement, ReplaySettings, matches
from nbtape.replay.expectations import FAILED
from nbtape.replay.markers import ignore_marks, skip_marks
from nbtape.replay.notebook_settings import found_settings
from nbtape.replay.report import AS_RECORDED, ReplayedCell
from nbtape.results import STOPPED

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from nbtape.replay.expectations import Expectation
    from nbtape.replay.notebook_settings import CellRules

_Output = dict[str, Any]


#: A cell that is `%%writefile`, inside of other cell magics such as `%%time` or as a script of nbconvert calls it.
_WRITES_FILE: Final = re.compile(
    r"\s*(?:%%(?!(?:write)?file\b).*\n\s*)*%%(?:write)?file\b"
    r"|\s*get_ipython\(\)\.run_cell_magic\(\s*['\"](?:write)?file['\"]"
)


def judge_cell(
    index: int,
    block: int,
    recorded: Mapping[str, Any],
    replayed: Mapping[str, Any] | None,
    contexts: tuple[Context, Context],
    rules: CellRules,
) -> ReplayedCell:
    """Judge a recorded code cell, by its position and its number.

    `replayed` is None if papermill replaced it with new parameters.
    """
    expected = rules.expectation(recorded)
    found = found_settings(recorded)
    if replayed is None:
        reason = "Replaced by the parameters of this run."
        return ReplayedCell(index, recorded["id"], "not_run", expected.status, "not_run", reason, found, block)
    judgement = _judge_ending(expected, recorded, replayed, rules)
    if judgement is None:
        judgement = _judge_by_rules(expected, recorded, replayed, contexts, rules)
    now = own_status(replayed)
    return ReplayedCell(index, recorded["id"], judgement.verdict, expected.status, now, judgement.reason, found, block)


def _judge_ending(
    expected: Expectation, recorded: Mapping[str, Any], replayed: Mapping[str, Any], rules: CellRules
) -> Judgement | None:
    """The verdict if it does not depend on the outputs; otherwise None."""
    now = own_status(replayed)
    if not expected.runs or now == "not_run":
        return _judge_not_run(expected, recorded)
    if expected.status in {"", "running"} and now in FAILED and expected.is_tagged and rules.is_trusted:
        return Judgement("ignored", f"It failed, which its tag allows: {_failure(replayed)}")
    if not expected.status and now not in FAILED:
        return Judgement("same", "Its status was not recorded.")
    if not expected.failed and now in FAILED:
        return Judgement("error", _failure(replayed))
    if expected.failed and now not in FAILED:
        return Judgement("fixed", f"It failed when recorded: {_failure(recorded)}")
    if expected.failed and expected.status != now and not {expected.status, now} <= STOPPED:
        return Judgement("different", f"Its status was {expected.status} when recorded and is {now} now.")
    return None


def _judge_not_run(expected: Expectation, recorded: Mapping[str, Any]) -> Judgement:
    if expected.is_skipped:
        return Judgement("skipped", f"Not run because of {', '.join(skip_marks(recorded))}.")
    if not expected.runs:
        return Judgement("same", "Not run, as recorded.")
    return Judgement("not_run", "Not run: an earlier cell failed.")


def _judge_by_rules(
    expected: Expectation,
    recorded: Mapping[str, Any],
    replayed: Mapping[str, Any],
    contexts: tuple[Context, Context],
    rules: CellRules,
) -> Judgement:
    """Judge the outputs by the caller's settings and, if trusted, by the cell's own settings, tags and comments."""
    if rules.is_trusted and (marks := ignore_marks(recorded)):
        return Judgement("ignored", f"Outputs are not compared because of {', '.join(marks)}.")
    judgement = _judge_outputs(expected, recorded, replayed, contexts, rules.settings)
    if rules.own is None:
        return judgement
    own = _judge_outputs(expected, recorded, replayed, contexts, rules.own)
    if own.verdict in AS_RECORDED and judgement.verdict not in AS_RECORDED:
        return Judgement("ignored", f"Its own settings allow this: {judgement.reason}")
    return own


def _judge_outputs(
    expected: Expectation,
    recorded: Mapping[str, Any],
    replayed: Mapping[str, Any],
    contexts: tuple[Context, Context],
    settings: ReplaySettings,
) -> Judgement:
    before, after = recorded["outputs"], replayed["outputs"]
    if expected.status == "running":
        before = [output for output in before if not tells_ending(output)]
        after = _beginning(after, before)
    elif own_status(replayed) in STOPPED:
        before, after = _common_part(before, after)
    judgement = judge(before, after, context_of(contexts[0], recorded), context_of(contexts[1], replayed), settings)
    if own_status(replayed) in FAILED and matches(judgement):
        return replace(judgement, verdict="same_error")
    return judgement


def _failure(cell: Mapping[str, Any]) -> str:
    """How a cell failed, in one line."""
    return failure_of(cell["outputs"]) or str(own_metadata(cell).get("note") or own_status(cell))[:MAX_FAILURE_CHARS]


def _common_part(before: Iterable[_Output], after: Iterable[_Output]) -> tuple[list[_Output], list[_Output]]:
    """Cut the outputs of two stopped runs to their common length, without the notices about the stop."""
    before, after = ([output for output in outputs if not tells_ending(output)] for outputs in (before, after))
    pairs = [_same_length(old, new) for old, new in zip(before, after, strict=False)]
    return [old for old, _ in pairs], [new for _, new in pairs]


def _beginning(outputs: Iterable[_Output], begun: Sequence[_Output]) -> list[_Output]:
    """Cut the outputs of a complete run to the length of `begun`, which was cut off."""
    left = Counter[str]()
    for output in begun:
        left[_stream(output)] += len(output["text"]) if _stream(output) else 1
    kept = []
    for output in outputs:
        name = _stream(output)
        if left[name] <= 0:
            continue
        kept.append({**output, "text": output["text"][: left[name]]} if name else output)
        left[name] -= len(output["text"]) if name else 1
    return kept


def _stream(output: _Output) -> str:
    """The stream that an output belongs to; empty for a display."""
    return str(output.get("name") or "stdout") if output["output_type"] == "stream" else ""


def _same_length(old: _Output, new: _Output) -> tuple[_Output, _Output]:
    if old["output_type"] != "stream" or new["output_type"] != "stream":
        return old, new
    length = min(len(old["text"]), len(new["text"]))
    return {**old, "text": old["text"][:length]}, {**new, "text": new["text"][:length]}


def context_of(context: Context, cell: Mapping[str, Any]) -> Context:
    """Add the times of a cell, as JupyterLab and nbclient record them, and whether it writes a file."""
    times = cell["metadata"].get("execution")
    times = times if isinstance(times, dict) else {}
    began, ended = (_epoch_seconds(times.get(key)) for key in ("iopub.execute_input", "shell.execute_reply"))
    writes_file = _WRITES_FILE.match(cell["source"]) is not None
    return replace(context, began=began, ended=ended, writes_file=writes_file)


def _epoch_seconds(time: object) -> float | None:
    try:
        return datetime.datetime.fromisoformat(str(time)).timestamp()
    except ValueError:
        return None
