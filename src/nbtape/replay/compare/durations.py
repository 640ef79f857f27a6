"""Mask durations in lines that are known to report them."""

from __future__ import annotations

import re
from typing import Final

#: The mask. `printed_text` escapes this bracket in outputs.
DURATION: Final = "⟦duration⟧"

#: A bare m is meters; it means minutes only before seconds.
_UNIT: Final = (
    r"(?:(?:ns|[µμu]s|nsec|usec|msec|ms|milliseconds?|microseconds?|s|secs?|seconds?|mins?|minutes?|h|hrs?|hours?)\b"
    r"|[hm](?= ?\d{1,2}(?:\.\d{1,9})? ?[ms]\b))"
)
_SPAN: Final = rf"\d[\d.]{{0,20}}(?:e[-+]\d\d)? ?{_UNIT}(?:,? ?(?:and )?\d[\d.]{{0,20}} ?{_UNIT}){{0,3}}"
_CLOCK: Final = r"\d{1,3}:\d\d(?::\d\d)?(?:\.\d{1,9})?"
_FLOAT: Final = r"\d{1,9}\.\d{1,20}(?:e-\d\d)?"
_ANY: Final = rf"(?:{_SPAN}|{_CLOCK}|{_FLOAT}(?![\w%]|\.\d))"

#: Each pattern keeps its two groups; between them is a duration or a repeat count.
_LINES: Final = tuple(
    re.compile(pattern)
    for pattern in (
        # %%time; a cell may have printed something on the same line, here and below
        rf"(\bCPU times: )user {_SPAN}, sys: {_SPAN}, total: {_SPAN}()",
        # %timeit, and python -m timeit
        rf"()(?<![\w.,]){_SPAN} (?:±|\+-) {_SPAN}( per loop \(mean (?:±|\+-) std\. dev\. of )",
        r"( per loop \(mean (?:±|\+-) std\. dev\. of [\d,]{1,20} runs?, )[\d,]{1,20} loops?( each\))",
        rf"()(?<![\w.,])[\d,]{{1,20}} loops?(, best of \d{{1,9}}: ){_SPAN}( per loop\b)",
        # pytest, unittest
        r"^(.{0,200}\b\d+ (?:passed|failed|skipped|errors?|warnings?|deselected)\b.{0,80} in )"
        + _SPAN
        + r"( .{0,40})?$",
        rf"^(Ran \d+ tests? in ){_SPAN}()$",
        # scikit-learn: searches, pipelines, boosting; joblib
        r"^(\[CV.{0,400} total time=) *[\d.]+(?:s|min)()$",
        r"^(\[\w+\] )\.* ?(\(step \d+ of \d+\) .{0,200}, total=) *[\d.]+ ?(?:s|min)$",
        r"^(\[Parallel\(.{0,200}elapsed: ) *[\d.]+ ?(?:s|min)(?: remaining: *[\d.]+ ?(?:s|min))?( finished|)$",
        # Keras
        (
            r"^( *\d+/(?:\d+|Unknown) .{0,200}?)(?:- )?(?:ETA: )?(?:\d+[smh]|\d+:\d\d)"
            r"(?: \d+[mun]?s/(?:step|epoch|sample))( .*|)$"
        ),
        # other phrases
        rf"(?i)(\b(?:elapsed(?:[ _]?time)?|wall[ _-]?time)(?: \(s\))?(?: ?[:=]| is| was|) ?){_ANY}()",
        rf"(?i)(\btime (?:elapsed|taken|used|spent)(?: ?[:=]| is| was|) ?){_ANY}()",
        rf"(?i)(\btook:? (?:about )?){_SPAN}()",
        rf"(?i)(\b(?:finished|completed|done|executed|fitted|trained|loaded)(?: \w+)? in ){_SPAN}()",
        rf"(\bETA:? ?)(?:{_SPAN}|{_CLOCK})()",
        r"()(?<![\w.])\d[\d.,]{0,20} ?[kM]?(?:it/s|s/it|(?:[mun]s|s)/(?:step|epoch|iter))(?!\w)()",
    )
)

#: Times in the dict of scikit-learn's cross_validate, possibly on several lines.
_FIT_TIMES: Final = re.compile(r"('(?:\w{1,20}_)?(?:fit|score)_time': array\(\[)[-+\d.,e\s]{0,4000}(\]\))")

#: Warnings of %timeit and of timeit that depend on the machine's load.
_SLOWEST_RUN: Final = re.compile(
    r"The slowest run took [\d.]{1,20} times longer than the fastest\. "
    r"This could mean that an intermediate result is being cached\.[ \t]*\n?"
)

_WORST_TIME: Final = re.compile(
    rf"^.{{0,200}}\bUserWarning: The test results are likely unreliable\. The worst time \({_SPAN}\) was more than "
    rf"four times slower than the best time \({_SPAN}\)\.[ \t]*\n?",
    re.MULTILINE,
)

#: A column of scikit-learn's boosting.
_REMAINING: Final = re.compile(r"^ *Iter .{0,80}Remaining Time *$")
_LAST_COLUMN: Final = re.compile(r"(?<= )\d+\.\d+[smh] *$")


def mask_durations(line: str) -> str:
    """Replace the durations in a line by `DURATION`."""
    if not any(map(str.isdigit, line)):
        return line
    for pattern in _LINES:
        line = pattern.sub(rf"\1{DURATION}\2", line)
    return line


def mask_blocks(text: str) -> str:
    """Replace the durations that only their context identifies."""
    text = _FIT_TIMES.sub(rf"\1{DURATION}\2", text) if "_time': array" in text else text
    text = _SLOWEST_RUN.sub("", text) if "The slowest run took" in text else text
    text = _WORST_TIME.sub("", text) if "The test results are likely unreliable" in text else text
    return _mask_columns(text) if "Remaining Time" in text else text


def _mask_columns(text: str) -> str:
    lines, inside = text.split("\n"), False
    for position, line in enumerate(lines):
        if _REMAINING.match(line):
            inside = True
        elif inside:
            lines[position] = _LAST_COLUMN.sub(DURATION, line)
            inside = lines[position] != line
    return "\n".join(lines)
