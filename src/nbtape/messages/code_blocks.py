"""Find the code blocks in an LLM's message.

The Markdown is CommonMark (https://spec.commonmark.org/0.31.2/#fenced-code-blocks), parsed by markdown-it.
`split_message` is the only rule in nbtape for what is run.
"""

from __future__ import annotations

import re
import threading
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from markdown_it.token import Token

_PYTHON_LABELS = frozenset({"ipython", "ipython3", "py", "py3", "python", "python3"})

# Labels of output, data, configuration, markup, diagrams and terminal sessions, which are not run. A label that is
# missing here makes a code block. If the kernel cannot run that, the blocks after it do not run either.
_PROSE = """
    text txt plain plaintext none nohighlight ascii tree raw
    output out outputs stdout stderr result results log logs error errors traceback pytb py3tb
    console terminal shell-session shellsession sh-session bash-session pycon pycon3 python-repl doctest
    json json5 jsonc jsonl jsonlines ndjson geojson yaml yml toml ini cfg conf config properties env dotenv
    csv tsv diff patch udiff gitignore requirements dockerfile docker makefile
    markdown md mdx rst html xml svg css scss sass less latex tex bibtex math http regex bnf ebnf
    mermaid plantuml puml dot graphviz d2
"""
_PROSE_LABELS = frozenset(_PROSE.split())

# Parsing takes about a kilobyte of memory for each character of a hostile block.
_MAX_PARSED_CHARS = 100_000

_PARSED_NAME = "<unlabelled code block>"
_parsing = threading.Lock()

_QUOTED = re.compile(r"\"[^\"]*\"|'[^']*'")
_BETWEEN_WORDS = re.compile(r"[\s{}(),:;]+")


@dataclass(frozen=True, slots=True)
class CodeBlock:
    """A piece of code to run.

    Args:
        code: The source, with line feeds.
        language: The language in lower case, such as `"python"`; `""` for the language of the kernel.
        said_before: The Markdown of the message between the previous block and this one.
        said_after: The Markdown after the last block of the message.
        said_by: The agent that wrote the message; empty for the `agent` of the executor.
    """

    code: str
    language: str
    said_before: str = field(default="", compare=False, repr=False)
    said_after: str = field(default="", compare=False, repr=False)
    said_by: str = field(default="", compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Prose:
    """The Markdown of a message between its code blocks, without blank lines at its ends."""

    text: str


class MarkdownCodeExtractor:
    """Finds the code to run in an LLM's message, with the interface of AutoGen's `CodeExtractor`."""

    def extract_code_blocks(self, message: str | Sequence[Mapping[str, Any]] | None) -> list[CodeBlock]:
        """Return the runnable fenced blocks of a message (see `split_message`) with the prose around them.

        Args:
            message: Markdown, or the content parts of an OpenAI message; only parts of type "text" are used.
        """
        blocks: list[CodeBlock] = []
        said: list[str] = []
        for part in split_message(_text(message)):
            if isinstance(part, Prose):
                said.append(part.text)
            else:
                blocks.append(replace(part, said_before="\n\n".join(said)))
                said.clear()
        if blocks and said:
            blocks[-1] = replace(blocks[-1], said_after="\n\n".join(said))
        return blocks


def split_message(text: str) -> list[Prose | CodeBlock]:
    """Split Markdown into its prose and its runnable code blocks, in order.

    A fenced block is runnable unless it is empty or has a label for prose (json, output, …). Other blocks stay in the
    prose, like indented and inline code. A block without a label is Python if it parses as Python. Otherwise, as with
    a magic (`%`, `!`), it is in the language of the kernel.

    Prose is kept verbatim, with two exceptions: blank lines at its ends are removed, and text after a block in the
    same list item is outdented, since it would otherwise become indented code.
    """
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    lines = text.split("\n")
    parts: list[Prose | CodeBlock] = []
    done = column = item_end = 0
    for fence in _runnable_fences(text, lines):
        parts += _prose(lines[done : fence.start], column, item_end - done)
        parts.append(fence.block)
        done, column, item_end = fence.end, fence.column, fence.item_end
    parts += _prose(lines[done:], column, item_end - done)
    return parts


class _Fence(NamedTuple):
    """A runnable fence in lines [start, end), opened at `column`, in a list item up to `item_end`."""

    block: CodeBlock
    start: int
    end: int
    column: int
    item_end: int


def _text(message: str | Sequence[Mapping[str, Any]] | None) -> str:
    """The text of a message. Newlines between its parts keep a fence at the end of one part out of the next."""
    if message is None or isinstance(message, str):
        return message or ""
    texts = (part.get("text") for part in message if part.get("type") == "text")
    return "\n".join(text for text in texts if isinstance(text, str))


def _runnable_fences(text: str, lines: list[str]) -> Iterator[_Fence]:
    from markdown_it import MarkdownIt

    item_end = 0
    # Only block structure is needed. Link definitions take quadratic time in markdown-it-py 3.0. The parser is created
    # each time because its rule cache is not thread-safe.
    for token in MarkdownIt("commonmark").disable(["inline", "reference"]).parse(text):
        if token.type == "list_item_open" and token.map:
            # The end of the outermost open item.
            item_end = max(item_end, token.map[1])
        elif token.type == "fence" and token.map and (block := _block(token)):
            start, end = token.map
            yield _Fence(block, start, end, lines[start].expandtabs(4).find(token.markup), item_end)


def _block(fence: Token) -> CodeBlock | None:
    code = fence.content.removesuffix("\n")
    label = _label(fence.info)
    if not code.strip() or label in _PROSE_LABELS:
        return None
    is_python = label in _PYTHON_LABELS or label.startswith("python3.") or (not label and _is_python(code))
    return CodeBlock(code, "python" if is_python else label)


def _label(info: str) -> str:
    """The language in an info string: the first word that is not an attribute, as in `{#id .python n="1"}`."""
    for word in _BETWEEN_WORDS.split(_QUOTED.sub(" ", info)):
        name = word.lstrip(".=")
        if name[:1].isalpha() and "=" not in name:
            return name.lower()
    return ""


def _is_python(code: str) -> bool:
    import ast
    import warnings

    if len(code) > _MAX_PARSED_CHARS:
        return False
    # An escape such as "\d" causes a warning, which the user may have turned into an error. catch_warnings is not
    # thread-safe, so threads take turns, and the filter is only for this file name.
    with _parsing, warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=re.escape(_PARSED_NAME))
        try:
            ast.parse(code, _PARSED_NAME)
        except (SyntaxError, ValueError, MemoryError, RecursionError):
            # ValueError: NUL, lone surrogates. MemoryError, RecursionError: nested too deeply.
            return False
    return True


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
