"""The messages of tests/messages/corpus, and whether an extractor reads one as a careful person does."""

from __future__ import annotations

import textwrap
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from nbtape.messages.code_blocks import CodeBlock
from nbtape.messages.extractor import MarkdownCodeExtractor
from nbtape.messages.languages import cell_source

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

#: The language and the code of blocks, in order.
Blocks = list[tuple[str, str]]

_DIRECTORY: Final = Path(__file__).parents[1] / "messages" / "corpus"


class Message(NamedTuple):
    """A message, the blocks of it that a Python kernel is to run, and the block in which it is cut."""

    text: str
    blocks: Blocks
    cut: Blocks
    tags: list[str]


def _read(path: Path) -> dict[str, Message]:
    messages = tomllib.loads(path.read_text(encoding="utf-8"))
    return {
        f"{path.stem}.{name}": Message(
            message["text"],
            [tuple(block) for block in message["blocks"]],
            [tuple(block) for block in message.get("cut", [])],
            message.get("tags", []),
        )
        for name, message in messages.items()
    }


CORPUS: Final = {name: message for path in sorted(_DIRECTORY.glob("*.toml")) for name, message in _read(path).items()}


def runs(block: CodeBlock) -> bool:
    """Whether a Python kernel runs a block."""
    return not block.is_cut and cell_source(block, "python") is not None


def ours(message: Message) -> Blocks:
    """The blocks that run, as nbtape finds them."""
    blocks = MarkdownCodeExtractor(message.tags).extract_code_blocks(message.text)
    return [(block.language, block.code) for block in blocks if runs(block)]


def read_by(extract: Callable[[Message], Iterable[tuple[str, str]]]) -> set[str]:
    """The messages in which an extractor finds the blocks that are to run, and no other that runs.

    Labels are compared by their meaning, and code without the indentation and the blank lines around it: what differs
    in these only still runs.
    """
    return {
        name
        for name, message in CORPUS.items()
        if [_meaning(block) for block in extract(message) if runs(CodeBlock(block[1], block[0].lower()))]
        == [_meaning(block) for block in message.blocks]
    }


def _meaning(block: tuple[str, str]) -> tuple[str | None, str]:
    language, code = block
    return cell_source(CodeBlock("", language.lower()), "python"), textwrap.dedent(code).strip()
