"""A rule for markdown-it that reads the elements in which some agents write code, such as `<execute_ipython>`."""

from __future__ import annotations

import bisect
import re
import textwrap
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from nbtape.messages.code_strings import StringScanner
from nbtape.messages.fences import Span
from nbtape.messages.labels import SHELLS
from nbtape.messages.rule_lines import continue_after, is_blank, line_start, line_text, starts_with_mark

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from markdown_it.rules_block import StateBlock

#: The markup of tokens of this rule.
TAG: Final = "<"

#: End tags that are tried, for one that is not in a string.
_MAX_END_TAGS: Final = 20

_NAME = re.compile(r"[A-Za-z][\w.-]*")


def checked_code_tags(names: Sequence[str]) -> tuple[str, ...]:
    """Return the names of tags, or raise ValueError."""
    if isinstance(names, str):
        raise ValueError(f"code_tags= must be a list of names, such as [{names!r}].")  # noqa: TRY004  (as for others)
    for name in names:
        if not _NAME.fullmatch(name):
            raise ValueError(f"code_tags= must name tags, such as 'execute_ipython', not {name!r}.")
    return tuple(names)


def code_tag_rule(names: Sequence[str]) -> Callable[[StateBlock, int, int, bool], bool]:
    """Make the rule for elements with these names.

    An element starts at the start or the end of a line; not within a sentence. Its token is that of a
    fence, labeled "bash" if a word of the name is that of a shell, and "python" otherwise.
    """
    tag = re.compile(rf"<(?P<name>{'|'.join(map(re.escape, names))})(?:\s[^<>\n]*)?>", re.IGNORECASE)

    def code_tag(state: StateBlock, start: int, stop: int, silent: bool) -> bool:  # noqa: FBT001  (the contract)
        text = line_text(state, start)
        found = next((each for each in tag.finditer(text) if _is_at_edge(text, each)), None)
        if found is None:
            return False
        if not silent:
            _push(state, start, stop, found)
        return True

    return code_tag


def _is_at_edge(text: str, tag: re.Match[str]) -> bool:
    """Whether a tag starts a line, or ends one that starts no quote or list item."""
    before, after = text[: tag.start()], text[tag.end() :]
    return is_blank(before) or (is_blank(after) and not starts_with_mark(text))


def _push(state: StateBlock, start: int, stop: int, tag: re.Match[str]) -> None:
    inside = line_start(state, start) + tag.end()
    end = _end_tag(state, stop, inside, tag["name"])
    language = "bash" if SHELLS & set(re.split(r"[_.-]", tag["name"].lower())) else "python"
    token: Any = state.push("fence", "code", 0)
    token.info, token.markup = language, TAG
    if end is None:
        line, after, inner_end = stop, state.eMarks[stop - 1], state.eMarks[stop - 1]
    else:
        line, after, inner_end = bisect.bisect_left(state.eMarks, end.end(), start, stop), end.end(), end.start()
    token.content = _content(state, start, min(line, stop - 1), inside, inner_end)
    token.map = [start, line]
    first = state.src.rfind("\n", 0, inside) + 1
    at = first if is_blank(state.src[first : inside - len(tag[0])]) else inside - len(tag[0])
    if end is not None and line > start:
        continue_after(state, line, after)
    else:
        state.line = min(line + 1, stop)
    token.meta["span"] = Span(at, after, line, state.sCount[start], is_closed=end is not None)


def _end_tag(state: StateBlock, stop: int, inside: int, name: str) -> re.Match[str] | None:
    """The first end tag outside the strings of the code, or else the first."""
    pattern = re.compile(rf"</{re.escape(name)}\s*>", re.IGNORECASE)
    limit = state.eMarks[stop - 1]
    first = pattern.search(state.src, inside, limit)
    for end in islice(pattern.finditer(state.src, inside, limit), _MAX_END_TAGS):
        strings = StringScanner()
        for line in state.src[inside : end.start()].split("\n"):
            strings.read(line)
        if not strings.is_inside:
            return end
    return first


def _content(state: StateBlock, start: int, last: int, inside: int, end: int) -> str:
    """The lines between the tags, or the text within a line."""
    if start == last:
        return state.src[inside:end].strip()
    first = state.src[inside : state.eMarks[start]]
    lines = state.getLines(start + 1, last + 1, state.sCount[start], keepLastLF=False)
    lines = lines[: len(lines) - (state.eMarks[last] - end)]
    return textwrap.dedent(lines).rstrip(" \t") if is_blank(first) else f"{first.strip()}\n{lines}"
