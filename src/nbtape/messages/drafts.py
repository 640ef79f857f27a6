"""A rule for markdown-it: what a model writes while it thinks, and HTML comments, have no code to run.

Such a section starts with a tag at the start or the end of a line outside of code, and ends with its end tag. Without
that, the message was cut while the model was thinking. An end tag alone makes a draft of everything before it: chat
templates of reasoning models send the first tag as part of the prompt.
"""

from __future__ import annotations

import bisect
import re
from typing import TYPE_CHECKING, Final

from nbtape.messages.rule_lines import (
    INVISIBLE,
    continue_after,
    is_blank,
    line_start,
    line_text,
    start_line_at,
    starts_with_mark,
)

if TYPE_CHECKING:
    from markdown_it.rules_block import StateBlock

#: The types of the tokens of a section, and of an end tag without a start.
DRAFT: Final = "draft"
DRAFT_END: Final = "draft_end"

_THINKING = (
    r"(?:\w{1,20}:)?(?:think|thinking|thoughts?|reasoning|reflection|scratchpad|draft|antthinking"
    r"|inner_monologue|internal_monologue|inner_thoughts)"
)

# Start and end, and the forms of particular models and chat pages.
_SECTIONS: Final = (
    (rf"<{_THINKING}(?:\s[^<>\n]*)?(?<!/)>", rf"</{_THINKING}\s*>"),
    (r"\[THINK\]", r"\[/THINK\]"),
    ("◁think▷", "◁/think▷"),
    (r"<\|begin_of_thought\|>", r"<\|end_of_thought\|>"),
    (r"<\|START_THINKING\|>", r"<\|END_THINKING\|>"),
    (r"<\|channel\|>analysis<\|message\|>", r"<\|end\|>|(?=<\|start\|>)"),
    (r"<details\s[^<>\n]*type=[\"']?reasoning\b[^<>\n]*>", r"</details>"),
    (r"<details\b[^<>\n]*>\s*<summary>[^<>\n]*\b(?:thought|thinking|reasoning)\b[^<>\n]*</summary>", r"</details>"),
)
_COMMENT: Final = ("<!--", "-->")

_STARTS = [(re.compile(start, re.IGNORECASE), end) for start, end in (*_SECTIONS, _COMMENT)]
_ENDS = {end: re.compile(rf"(?<![`\"'])(?:{end})", re.IGNORECASE) for _, end in (*_SECTIONS, _COMMENT)}
_ANY_END = re.compile("|".join(end for _, end in _SECTIONS[:5]), re.IGNORECASE)


def draft(state: StateBlock, start: int, stop: int, silent: bool) -> bool:  # noqa: FBT001  (the contract of rules)
    """Consume a section that is a draft, or note where one has ended."""
    text = line_text(state, start)
    if not any(mark in text for mark in "<◁["):
        return False
    return _section(state, start, stop, text, silent=silent) or _lone_end(state, start, text, silent=silent)


def is_end(text: str) -> bool:
    """Whether a line is only an end tag."""
    return bool(_ANY_END.fullmatch(text.strip(f" \t{INVISIBLE}")))


def _section(state: StateBlock, start: int, stop: int, text: str, *, silent: bool) -> bool:
    if text.startswith("<details") and start + 1 < stop:
        text += f"\n{line_text(state, start + 1)}"  # its summary
    found = [(tag, _ENDS[end]) for pattern, end in _STARTS if (tag := _at_edge(pattern, text))]
    if not found:
        return False
    tag, pattern = found[0]
    is_behind_prose = not is_blank(text[: tag.start()])
    if is_behind_prose and starts_with_mark(text):
        return False  # rules for quotes and list items pass their text
    end = pattern.search(state.src, line_start(state, start) + tag.end(), state.eMarks[stop - 1])
    if is_behind_prose and end is None:
        return False  # a sentence that ends with the name of the tag
    if end is not None and end.end() <= state.eMarks[start]:
        return False  # it hides nothing
    if silent:
        return True
    if pattern is not _ENDS[_COMMENT[1]]:
        state.push(DRAFT, "", 0)
    if end is None:
        state.line = stop
    else:
        continue_after(state, bisect.bisect_left(state.eMarks, end.end(), start, stop), end.end())
    return True


def _lone_end(state: StateBlock, start: int, text: str, *, silent: bool) -> bool:
    tag = _at_edge(_ANY_END, text)
    if tag is None or _opens_in(text[: tag.start()]):
        return False
    if silent:
        return True
    state.push(DRAFT_END, "", 0)
    position = line_start(state, start) + tag.end()
    if is_blank(text[tag.end() :]):
        state.line = start + 1
        return True
    start_line_at(state, start, position)
    return False  # the other rules read the rest of the line


def _opens_in(text: str) -> bool:
    return any(pattern.search(text) for pattern, _ in _STARTS)


def _at_edge(pattern: re.Pattern[str], text: str) -> re.Match[str] | None:
    """The match at the start of a line, or else the one at its end."""
    first = last = None
    for match in pattern.finditer(text):
        first, last = first or match, match
    if first is not None and is_blank(text[: first.start()]):
        return first
    return last if last is not None and is_blank(text[last.end() :]) else None
