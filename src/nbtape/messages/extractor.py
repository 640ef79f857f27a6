"""Find the code blocks in an LLM's message.

All code of nbtape uses `split_message`, so that there is one rule for what is run. The Markdown is CommonMark with the
additions of `message_parser`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from nbtape.messages.code_blocks import CodeBlock, Prose
from nbtape.messages.code_tags import TAG, checked_code_tags
from nbtape.messages.labels import is_cell, is_prose, language_of
from nbtape.messages.unlabeled import is_sentence, label_in_code, language_without_label

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from markdown_it.token import Token

    from nbtape.messages.fences import Span

#: Types of the parts of a message that have text: Chat Completions, Responses.
_TEXT_PARTS: Final = frozenset({"text", "output_text"})

_CELL_OPTIONS = re.compile(r"\A(?:---\n(?:.*\n)*?---(?:\n|\Z)|(?::[\w-]+:.*(?:\n|\Z))+)\n*")
_CODE_IN_LABEL = re.compile(r"\s*python3?[ \t]+((?:import|from)[ \t]+\w.*|[\w.]+\(.*)", re.IGNORECASE)
_EVAL_OPTION = re.compile(r"^#\|[ \t]*eval:[ \t]*false[ \t]*$", re.MULTILINE | re.IGNORECASE)


class MarkdownCodeExtractor:
    """Finds the code to run in an LLM's message, with the interface of AutoGen's `CodeExtractor`.

    Args:
        code_tags: Names of tags whose elements are code, too, such as "execute_ipython" for
            `<execute_ipython>…</execute_ipython>`. The code is Python, or bash if the name has the word.

    Raises:
        ValueError: The name of a tag is invalid.
    """

    def __init__(self, code_tags: Sequence[str] = ()) -> None:
        self._code_tags = checked_code_tags(code_tags)

    def extract_code_blocks(self, message: str | Sequence[Mapping[str, Any]] | None) -> list[CodeBlock]:
        """Return the blocks to run (see `split_message`), with the prose around them.

        Args:
            message: Markdown, or the content parts of a message of OpenAI, of which those with text count. None, the
                content of a message that only calls tools, has no blocks.
        """
        blocks: list[CodeBlock] = []
        said: list[str] = []
        for part in split_message(message_text(message), self._code_tags):
            if isinstance(part, Prose):
                said.append(part.text)
            else:
                blocks.append(replace(part, said_before="\n\n".join(said)))
                said.clear()
        if blocks and said:
            blocks[-1] = replace(blocks[-1], said_after="\n\n".join(said))
        return blocks


def split_message(text: str, code_tags: Sequence[str] = ()) -> list[Prose | CodeBlock]:
    """Split Markdown into its prose and its blocks to run, in order.

    A fenced block is to be run unless it is empty, is in a draft (`<think>`) or a comment, has a label for prose (json,
    output, …), or has no label and is a sample. All that stays in the prose, like inline code. The last block is cut if
    the message ends inside it.

    Prose is kept verbatim, except for blank lines at its ends, and for the indentation of what follows a block in the
    same list item, which would make it indented code.

    Args:
        text: The message.
        code_tags: See `MarkdownCodeExtractor`.
    """
    text = _with_line_feeds(text)
    parts: list[Prose | CodeBlock] = []
    done = line = column = item_end = 0
    for fence in _fences(text, code_tags):
        lead = text[done : fence.span.start]
        block = _block(fence.token, lead)
        if block is None:
            continue
        parts += _prose(lead.split("\n"), column, item_end - line)
        is_cut = not fence.span.is_closed and not text[fence.span.end :].strip()
        parts.append(replace(block, is_cut=is_cut))
        done, line, column, item_end = fence.span.end, fence.span.end_line, fence.span.column, fence.item_end
    parts += _prose(text[done:].split("\n"), column, item_end - line)
    return parts


def only_fence(text: str) -> tuple[str, str] | None:
    """The language and the code of the fenced block that a text consists of; None for any other text."""
    text = _with_line_feeds(text)
    match _fences(text, ()):
        case [only] if not (text[: only.span.start] + text[only.span.end :]).strip():
            return language_of(only.token.info), only.token.content.removesuffix("\n")
    return None


class _Fence(NamedTuple):
    """A block in a list item up to line `item_end`."""

    token: Token
    span: Span
    item_end: int


def _with_line_feeds(text: str) -> str:
    return text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")


def message_text(message: str | Sequence[Mapping[str, Any]] | None) -> str:
    """The text of a message. Newlines between its parts keep a fence at the end of one part out of the next."""
    if message is None or isinstance(message, str):
        return message or ""
    if not isinstance(message, Iterable):
        raise TypeError(f"A message must be a string or a list of its parts, not {message!r:.100}.")
    texts = (part.get("text") for part in message if part.get("type") in _TEXT_PARTS)
    return "\n".join(text for text in texts if isinstance(text, str))


def _fences(text: str, code_tags: Sequence[str]) -> list[_Fence]:
    """The fenced blocks that are not part of a draft."""
    from nbtape.messages.drafts import DRAFT, DRAFT_END
    from nbtape.messages.message_parser import parse

    found: list[_Fence] = []
    item_end = answer = 0
    for token in parse(text, code_tags):
        if token.type == DRAFT_END:
            del found[answer:]
        elif token.type == DRAFT:
            answer = len(found)
        elif token.type == "list_item_open" and token.map:
            # The end of the outermost open item.
            item_end = max(item_end, token.map[1])
        elif token.type == "fence":
            found.append(_Fence(token, token.meta["span"], item_end))
    return found


def _block(fence: Token, lead: str) -> CodeBlock | None:
    """The block to run; None for prose, a sample, and a cell that is not to be evaluated."""
    code = fence.content.removesuffix("\n")
    if not code.strip() or is_prose(fence.info) or _EVAL_OPTION.search(code):
        return None
    language: str | None = language_of(fence.info)
    if language == "python" and not fence.meta["span"].is_closed and is_sentence(code):
        return None  # the fence was meant to close the block before
    if fence.markup == TAG and (inside := only_fence(code)):
        language, code = inside[0] or language, inside[1]
    elif is_cell(fence.info):
        code = _CELL_OPTIONS.sub("", code)
    elif not language:
        above = lead.rstrip().rpartition("\n")[2]
        language, code = label_in_code(code) or (language_without_label(code, above), code)
    elif code_in_label := _CODE_IN_LABEL.match(fence.info):
        code = f"{code_in_label[1]}\n{code}"
    return None if language is None else CodeBlock(code, language)


def _prose(lines: list[str], column: int, inside: int) -> list[Prose | CodeBlock]:
    """The prose between two blocks, if any; `inside` lines belong to the list item of a fence opened at `column`."""
    inside = max(inside, 0)
    lines = [*_outdented(lines[:inside], column), *lines[inside:]]
    # A block quote that starts or ends with a code block leaves a bare ">".
    said = [number for number, line in enumerate(lines) if line.strip(" \t>")]
    return [Prose("\n".join(lines[said[0] : said[-1] + 1]))] if said else []


def _outdented(lines: list[str], column: int) -> Iterator[str]:
    """Outdent lines by at most `column`, and by no more than the smallest indentation so far, to keep their shape."""
    for line in lines:
        words = line.lstrip(" \t")
        indent = len(line[: len(line) - len(words)].expandtabs(4))
        if words:
            column = min(column, indent)
        yield " " * (indent - column) + words if column else line
