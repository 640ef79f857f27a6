"""Code blocks, and fenced blocks out of an LLM's message.

The Markdown is CommonMark (https://spec.commonmark.org/0.31.2/#fenced-code-blocks), read by markdown-it. Whatever
asks for the code of a message asks `split_message`, so that there is one rule for what is run and what is prose.
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

# What nobody runs: output, data, configuration, markup, diagrams, and sessions with prompts and answers in them.
# A label that is missing here becomes a block, and a block that no kernel can run stops the ones after it.
_PROSE_LABELS = """
    text txt plain plaintext none nohighlight ascii tree raw
    output out outputs stdout stderr result results log logs error errors traceback pytb py3tb
    console terminal shell-session shellsession sh-session bash-session pycon pycon3 python-repl doctest
    json json5 jsonc jsonl jsonlines ndjson geojson yaml yml toml ini cfg conf config properties env dotenv
    csv tsv diff patch udiff gitignore requirements dockerfile docker makefile
    markdown md mdx rst html xml svg css scss sass less latex tex bibtex math http regex bnf ebnf
    mermaid plantuml puml dot graphviz d2
"""
_NOBODY_RUNS = frozenset(_PROSE_LABELS.split())

# Parsing costs about a kilobyte of memory for each character of a hostile block; no one writes one this long by hand.
_LONGEST_GUESS = 100_000

_GUESSED = "<unlabelled code block>"
_guessing = threading.Lock()

_QUOTED = re.compile(r"\"[^\"]*\"|'[^']*'")
_BETWEEN_WORDS = re.compile(r"[\s{}(),:;]+")


@dataclass(frozen=True, slots=True)
class CodeBlock:
    """One piece of code to run.

    Args:
        code: The source, with line feeds, as the agent wrote it.
        language: Lower case, `"python"` for Python; `""` for a block without a label that is left to the kernel.
        said_before: What the message that it is from says before it, since the block before: Markdown.
        said_after: What that message says after its last block.
        said_by: Who says it; empty for the `agent` of the executor.
    """

    code: str
    language: str
    said_before: str = field(default="", compare=False, repr=False)
    said_after: str = field(default="", compare=False, repr=False)
    said_by: str = field(default="", compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Prose:
    """What a message says between its code blocks.

    Args:
        text: Markdown, without blank lines at its ends.
    """

    text: str


class MarkdownCodeExtractor:
    """Finds what is to be run in an LLM's message; the shape of AutoGen's `CodeExtractor`."""

    def extract_code_blocks(self, message: str | Sequence[Mapping[str, Any]] | None) -> list[CodeBlock]:
        """Gives the runnable fenced blocks of a message, in order; see `split_message` for which those are.

        Args:
            message: Markdown, or the content parts of an OpenAI message, of which those of type "text" count.

        Returns:
            The blocks, with what the message says around them, which an executor records.
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
    """Cuts a message into its prose and its runnable code blocks, in order.

    A block's code is what stands between the fences, less the indentation and the quote marks that the fence
    itself has, and less the one newline before the closing fence. A fence is runnable if there is something in it
    and its label is not one of those that nobody runs (json, output, …); the others stay in the prose as they are,
    and so does indented and inline code. A fence without a label is Python if it parses as Python. What starts with
    a magic (`%`, `!`) does not parse, and goes to the kernel as it is.

    Prose is kept to the letter, but for blank lines at its ends, and for the indentation of what follows a block in
    the same list item: standing alone it would be taken for indented code.

    Args:
        text: Markdown, with any kind of line ends.
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
    """A runnable fence in lines [start, end), opened at `column`; the list item around it goes on to `item_end`."""

    block: CodeBlock
    start: int
    end: int
    column: int
    item_end: int


def _text(message: str | Sequence[Mapping[str, Any]] | None) -> str:
    """The text of a message; joined by newlines, so that a fence that ends one part does not run into the next."""
    if message is None or isinstance(message, str):
        return message or ""
    texts = (part.get("text") for part in message if part.get("type") == "text")
    return "\n".join(text for text in texts if isinstance(text, str))


def _runnable_fences(text: str, lines: list[str]) -> Iterator[_Fence]:
    # Not imported with the module: `import nbtape` stays light. Not kept either: a parser is made in a tenth of a
    # millisecond, and its rule cache is not made for being filled by two threads at once.
    from markdown_it import MarkdownIt

    item_end = 0
    # What a line says is of no interest here, only which block it belongs to. Link definitions are no more than
    # paragraphs then, and in markdown-it-py 3.0 they take quadratic time.
    for token in MarkdownIt("commonmark").disable(["inline", "reference"]).parse(text):
        if token.type == "list_item_open" and token.map:
            # Items end in the order in which they nest, so that this is the end of the outermost open one.
            item_end = max(item_end, token.map[1])
        elif token.type == "fence" and token.map and (block := _block(token)):
            start, end = token.map
            yield _Fence(block, start, end, lines[start].expandtabs(4).find(token.markup), item_end)


def _block(fence: Token) -> CodeBlock | None:
    code = fence.content.removesuffix("\n")
    label = _label(fence.info)
    if not code.strip() or label in _NOBODY_RUNS:
        return None
    if label in _PYTHON_LABELS or label.startswith("python3."):
        return CodeBlock(code, "python")
    if not label and _is_python(code):
        return CodeBlock(code, "python")
    return CodeBlock(code, label)


def _label(info: str) -> str:
    """The language an info string names: the first word of it that is no attribute, as in `{#id .python n="1"}`."""
    for word in _BETWEEN_WORDS.split(_QUOTED.sub(" ", info)):
        name = word.lstrip(".=")
        if name[:1].isalpha() and "=" not in name:
            return name.lower()
    return ""


def _is_python(code: str) -> bool:
    import ast
    import warnings

    if len(code) > _LONGEST_GUESS:
        return False
    # A doubtful escape such as "\d" warns, and would be an error where warnings are errors. catch_warnings is not safe
    # among threads: ours take turns, and the filter is for our file name alone, so that it does no harm to others.
    with _guessing, warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=re.escape(_GUESSED))
        try:
            ast.parse(code, _GUESSED)
        except (SyntaxError, ValueError, MemoryError, RecursionError):
            # ValueError: NUL, lone surrogates. MemoryError, RecursionError: nested too deeply for the parser.
            return False
    return True


def _prose(lines: list[str], column: int, inside: int) -> list[Prose | CodeBlock]:
    """What stands between two blocks, if anything does.

    Args:
        lines: The lines between the blocks.
        column: Where the fence before them opened.
        inside: How many of them belong to the list item of that fence; none if it is not positive.
    """
    inside = max(inside, 0)
    lines = [*_outdented(lines[:inside], column), *lines[inside:]]
    # A quote that ends with a block, or begins with one, leaves its bare mark behind.
    said = [number for number, line in enumerate(lines) if line.strip(" \t>")]
    return [Prose("\n".join(lines[said[0] : said[-1] + 1]))] if said else []


def _outdented(lines: list[str], column: int) -> Iterator[str]:
    """Moves what follows a block in a list item to the left, up to `column`, and what lies outside of it not at all.

    The shallowest line so far sets the measure, so that text after the item ends keeps the shape it has.
    """
    for line in lines:
        words = line.lstrip(" \t")
        indent = len(line[: len(line) - len(words)].expandtabs(4))
        if words:
            column = min(column, indent)
        yield " " * (indent - column) + words if column else line
