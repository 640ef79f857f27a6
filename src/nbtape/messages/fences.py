"""A rule for markdown-it that reads fenced code as a careful person does.

It is CommonMark's rule (https://spec.commonmark.org/0.31.2/#fenced-code-blocks), with these differences:

- Any indentation, invisible characters and prose may precede the opening fence.
- The closing fence may follow the last line of code directly, and prose may follow it.
- A fence inside a string of the code, or one that a quoted Markdown document opens and closes, does not close it.
- A fence with a known label ends a block that was not closed.
- Code may be indented less than its list item, if its closing fence follows.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from nbtape.messages.code_strings import StringScanner
from nbtape.messages.drafts import is_end
from nbtape.messages.labels import SHELLS, is_known, is_markdown, is_prose, language_of
from nbtape.messages.rule_lines import INVISIBLE, continue_after, is_blank, is_marks, line_start, line_text
from nbtape.messages.unlabeled import is_python

if TYPE_CHECKING:
    from markdown_it.rules_block import StateBlock

# The lines that are read beyond the first possible end of a block, in one message.
_MAX_LOOKAHEAD_LINES: Final = 20_000
_LOOKAHEAD: Final = "nbtape_lookahead"

_FENCE = re.compile(rf"[{INVISIBLE} \t]*(?P<run>`{{3,}}|~{{3,}})(?P<info>.*)", re.DOTALL)
_AFTER_PROSE = re.compile(r"(?<!`)(?P<run>`{3,})[ \t]*(?P<info>[\w+#.{}-]*)\Z")
_LABEL = re.compile(r"[ \t]*([\w+#.-]+|\{[^{}]*\}[ \t]*\w*)[ \t]*")
_QUOTING_MAGIC = re.compile(
    r"%%(?:writefile|file)\b.*\.(?:md|markdown|qmd|rmd|txt|rst)[ \t]*$|%%(?:markdown|html|latex)\b"
)
_SHELL_MAGIC = re.compile(r"%%(?:bash|sh|script)\b")
_SPACE: Final = f" \t{INVISIBLE}"
_MIN_RUN: Final = 3
_MAX_INDENT: Final = 3


class Span(NamedTuple):
    """Where a block is in the source: from `start` to `end`, which is in line `end_line`, or starts it."""

    start: int
    end: int
    end_line: int
    #: The column of the opening fence.
    column: int
    is_closed: bool


class _Opening(NamedTuple):
    """An opening fence at position `at` of the source."""

    run: str
    info: str
    at: int


@dataclass
class _End:
    """The end of a block: its code ends at the start of `line`, or at the run of backticks at `ticks` in that line."""

    line: int
    ticks: int | None = None
    #: Position after the closing fence; None if it is not closed.
    after: int | None = None


def fence(state: StateBlock, start: int, stop: int, silent: bool) -> bool:  # noqa: FBT001  (the contract of rules)
    """Consume a fenced block. Its token has a `Span` as `meta["span"]`."""
    found = _FENCE.match(line_text(state, start))
    if found is None or (found["run"][0] == "`" and "`" in found["info"]):
        return False
    opening = _Opening(found["run"], found["info"], line_start(state, start) + found.start("run"))
    if not silent:
        _push(state, start, opening, _Search(state, start, stop, opening).end())
    return True


def fence_after_prose(state: StateBlock, start: int, stop: int, silent: bool) -> bool:  # noqa: FBT001  (as above)
    """Consume a fenced block that opens at the end of a line of prose, unless that only mentions a fence."""
    text = line_text(state, start).rstrip(_SPACE)
    found = _AFTER_PROSE.search(text)
    if found is None:
        return False
    before, label = text[: found.start()], found["info"]
    is_meant = is_known(language_of(label)) if label else before.rstrip().endswith((":", ">"))
    if not is_meant or "```" in before:
        return False
    opening = _Opening(found["run"], label, line_start(state, start) + found.start())
    end = _Search(state, start, stop, opening).end()
    if end.after is None and end.line < stop:
        return False
    if not silent:
        _push(state, start, opening, end, column=state.sCount[start])
    return True


class _Search:
    """Looks for the end of the block that opens in line `start`."""

    def __init__(self, state: StateBlock, start: int, stop: int, opening: _Opening) -> None:
        self._state = state
        self._start = start
        self._stop = stop
        self._opening = opening
        self._length = len(opening.run)
        self._run = re.compile(rf"[{INVISIBLE} \t]*({opening.run[0]}{{{self._length},}})(.*)")
        first = line_text(state, start + 1) if start + 1 < stop else ""
        language = language_of(opening.info)
        self._is_markdown = is_markdown(opening.info) or bool(_QUOTING_MAGIC.match(first))
        self._is_prose = self._is_markdown or is_prose(opening.info)
        #: Whether it may quote Markdown; then its fences are counted.
        self._quotes = self._is_prose or not language
        is_shell = language in SHELLS or bool(_SHELL_MAGIC.match(first))
        self._strings = StringScanner(shell=is_shell)
        self._is_python = language in {"", "python"} and not (self._is_prose or is_shell)
        self._depth = 1
        # Other possible ends: at a fence that is more likely in a string or comment, or quoted; at a fence that is too
        # short; at the start of a block, so that this one was not closed; at the end of the list item.
        self._fallback: _End | None = None
        self._short: _End | None = None
        self._next: int | None = None
        self._outside: int | None = None
        self._passed_string = False
        self._quoted_depth = 0

    def end(self) -> _End:
        """The end of the block."""
        for line in range(self._start + 1, self._stop):
            if not self._may_read_on():
                break
            if (end := self._end_in(line)) is not None:
                return end if self._is_meant(end) else self._unclosed(line)
        return self._at_stop()

    def _may_read_on(self) -> bool:
        """Whether to look for a better end than those that are possible."""
        if self._fallback is None and self._next is None and self._outside is None:
            return True
        seen = self._state.env[_LOOKAHEAD] = self._state.env.get(_LOOKAHEAD, 0) + 1
        return bool(seen <= _MAX_LOOKAHEAD_LINES)

    def _at_stop(self) -> _End:
        """The end if no fence closes the block before the end of the message or quote."""
        is_closed_first = self._fallback and (self._next is None or self._fallback.line < self._next)
        if self._fallback and (self._is_markdown or is_closed_first):
            return self._fallback
        if self._next is not None:
            return _End(self._next)
        return self._unclosed(self._stop)

    def _unclosed(self, line: int) -> _End:
        """The end of a block that cannot continue in a line."""
        return self._fallback or self._short or _End(line if self._outside is None else self._outside)

    def _end_in(self, line: int) -> _End | None:
        """The end of the block if it is in this line."""
        text = line_text(self._state, line)
        if text and self._state.sCount[line] < self._state.blkIndent and self._outside is None:
            self._outside = line
        is_quoted = self._strings.is_inside and not self._is_prose
        ticks = self._strings.read(text)
        if mark := self._run.match(text):
            return self._end_at_fence(line, mark, is_quoted=is_quoted)
        if is_quoted:
            return None
        if is_end(text):
            return self._unclosed(line)
        self._note_short(line, text)
        return self._end_after_code(line, text, ticks)

    def _end_at_fence(self, line: int, mark: re.Match[str], *, is_quoted: bool) -> _End | None:
        """The end if it is in this line, which starts with a run of the fence's characters."""
        at, info = line_start(self._state, line), mark[2]
        closes, opens = _End(line, after=at + mark.end(1)), _is_label(info)
        if is_quoted:
            self._note_quoted(closes, opens=opens)
            return None
        if opens and len(mark[1]) == 2 * self._length:
            return _End(line, after=at + mark.start(1) + self._length)  # the next opening fence follows directly
        if self._quotes:
            return self._end_of_quoting(line, closes, opens=opens)
        return self._unclosed(line) if opens else closes

    def _note_quoted(self, closes: _End, *, opens: bool) -> None:
        """Note a fence in a string; one that no fence in the string has opened may be the end of the block."""
        self._passed_string = True
        if opens:
            self._quoted_depth += 1
        elif self._quoted_depth:
            self._quoted_depth -= 1
        else:
            self._fallback = self._fallback or closes

    def _end_of_quoting(self, line: int, closes: _End, *, opens: bool) -> _End | None:
        """The end of a block that may quote Markdown, with fences that open and close."""
        if opens:
            self._depth += 1
            self._next = self._next or line
        elif self._state.sCount[line] - self._state.sCount[self._start] > _MAX_INDENT and not self._is_python:
            self._short = self._short or closes
        else:
            self._depth -= 1
            self._fallback = self._fallback or closes
        return None if self._depth else closes

    def _end_after_code(self, line: int, text: str, ticks: list[int]) -> _End | None:
        """The end if a closing fence follows the code of this line directly."""
        if self._opening.run[0] == "~" or self._outside is not None:
            return None
        at = line_start(self._state, line)
        for tick in ticks if not self._quotes else ():
            run = len(text) - tick - len(text[tick:].lstrip("`"))
            if run >= self._length:
                return _End(line, at + tick, at + tick + run)
        code = text.rstrip(_SPACE)
        before = code.removesuffix("`" * self._length)
        if self._fallback is None and before != code and not before.endswith("`"):
            self._fallback = _End(line, at + len(before), at + len(code))
        return None

    def _note_short(self, line: int, text: str) -> None:
        """Note a closing fence that is too short."""
        run = text.strip(_SPACE)
        if self._short is None and len(run) >= _MIN_RUN and not run.strip(self._opening.run[0]):
            self._short = _End(line, after=line_start(self._state, line) + len(text.rstrip(_SPACE)))

    def _is_meant(self, end: _End) -> bool:
        """Whether a block is better read to this end than to an earlier one."""
        if self._passed_string and self._is_python:
            return is_python(_content(self._state, self._start, self._opening, end))
        if self._outside is None or end.line == self._outside:
            return True
        return self._is_python and is_python(_content(self._state, self._start, self._opening, end))


def _is_label(info: str) -> bool:
    """Whether the text after a fence is a label, so that the fence opens a block."""
    if is_blank(info):
        return False
    first = info.split(maxsplit=1)[0]
    return is_known(language_of(first)) or (
        _LABEL.fullmatch(info) is not None and not info[0].isspace() and info.islower()
    )


def _content(state: StateBlock, start: int, opening: _Opening, end: _End) -> str:
    last = end.line if end.ticks is None else end.line + 1
    first = next((line for line in range(start + 1, last) if not state.isEmpty(line)), start)
    indent = min(state.sCount[start], state.sCount[first])
    code = state.getLines(start + 1, end.line, indent, keepLastLF=True)
    if end.after is None:
        code = code.rstrip() + "\n"
    if end.ticks is not None:
        text = state.getLines(end.line, end.line + 1, indent, keepLastLF=False)
        code += text[: len(text) - (state.eMarks[end.line] - end.ticks)].rstrip(" \t") + "\n"
    line = state.src[state.src.rfind("\n", 0, opening.at) + 1 : opening.at]
    if hidden := len(line) - len(line.rstrip(INVISIBLE)):
        code = re.sub(rf"^[{INVISIBLE}]{{1,{hidden}}}", "", code, flags=re.MULTILINE)
    return code


def _push(state: StateBlock, start: int, opening: _Opening, end: _End, column: int | None = None) -> None:
    content = _content(state, start, opening, end)
    first = state.src.rfind("\n", 0, opening.at) + 1
    before = state.src[first : opening.at]
    if end.after is None:
        state.line = end.line
    else:
        continue_after(state, end.line, end.after)
    token: Any = state.push("fence", "code", 0)
    token.info, token.markup, token.content = opening.info, opening.run, content
    token.map = [start, state.line]
    token.meta["span"] = Span(
        start=first if is_marks(before) else opening.at,
        end=end.after if state.line == end.line and end.after is not None else _line_position(state, state.line),
        end_line=state.line,
        column=len(before.expandtabs(4)) if column is None else column,
        is_closed=end.after is not None,
    )


def _line_position(state: StateBlock, line: int) -> int:
    """Where a line starts in the source, with the marks of its quote or list item."""
    return min(state.eMarks[line - 1] + 1, len(state.src))
