"""What the rules for markdown-it share: the text of a line, and where the next rule continues."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from markdown_it.rules_block import StateBlock

#: A byte order mark, zero-width characters and no-break spaces, which text copied from chat pages has.
INVISIBLE: Final = "\ufeff\u200b\u200c\u200d\u2060\u00a0\u202f"


_MARKS = re.compile(r"(?:[ \t>*+-]|\d+[.)])*")
_MARK = re.compile(r"[ \t]*(?:>|(?:[*+-]|\d+[.)])(?:[ \t]|$))")

#: With more, a line continues a paragraph whatever it is, in CommonMark.
_LAZY_INDENT: Final = 3

_KNOWN_LINES: Final = "nbtape_known_lines"

#: A rule for markdown-it: whether a block starts in a line; consumes it unless it is silent.
BlockRule: TypeAlias = "Callable[[StateBlock, int, int, bool], bool]"


def line_start(state: StateBlock, line: int) -> int:
    """Where the text of a line starts, after the marks of its quote or list item and its indentation."""
    return state.bMarks[line] + state.tShift[line]


def line_text(state: StateBlock, line: int) -> str:
    return state.src[line_start(state, line) : state.eMarks[line]]


def is_blank(text: str) -> bool:
    return not text.strip(f" \t\n{INVISIBLE}")


def is_marks(text: str) -> bool:
    """Whether a text consists of the marks of quotes and list items."""
    return is_blank(_MARKS.sub("", text))


def starts_with_mark(text: str) -> bool:
    """Whether a line starts a quote or a list item, whose text other rules read."""
    return bool(_MARK.match(text))


def start_line_at(state: StateBlock, line: int, position: int) -> None:
    """Let the next rule read a line from a position in it, as rules for list items do."""
    rest = state.src[position : state.eMarks[line]]
    state.bMarks[line] = position
    state.tShift[line] = len(rest) - len(rest.lstrip(" \t"))
    state.sCount[line] = state.blkIndent


def continue_after(state: StateBlock, line: int, position: int) -> None:
    """Continue after a position in a line: in the rest of that line, or in the next one if the rest is blank."""
    if is_blank(state.src[position : state.eMarks[line]]):
        state.line = line + 1
    else:
        start_line_at(state, line, position)
        state.line = line


def paragraph_before(rules: Collection[BlockRule]) -> BlockRule:
    """Make the rule for paragraphs, which also ends them where one of the rules applies to a deeply indented line."""
    from markdown_it.rules_block import paragraph

    def ends_at(state: StateBlock, line: int, stop: int) -> bool:
        return state.isEmpty(line) or (
            state.sCount[line] - state.blkIndent > _LAZY_INDENT
            and any(other(state, line, stop, True) for other in rules)  # noqa: FBT003  (the contract of rules)
        )

    def rule(state: StateBlock, start: int, stop: int, silent: bool) -> bool:  # noqa: FBT001  (the contract of rules)
        # The lines up to such an end, by indentation: other rules may end paragraphs in them, and none is read twice.
        known = state.env.setdefault(_KNOWN_LINES, {})
        whole, lines = state.lineMax, known.get(state.blkIndent, range(0))
        if start not in lines:
            end = next((line for line in range(start + 1, whole) if ends_at(state, line, stop)), whole)
            lines = known[state.blkIndent] = range(start, end)
        state.lineMax = min(whole, lines.stop)
        try:
            return paragraph(state, start, stop, silent)
        finally:
            state.lineMax = whole

    return rule
