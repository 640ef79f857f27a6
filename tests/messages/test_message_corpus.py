"""Messages in the forms that models write, each with the blocks that a careful person would run."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

import pytest
from message_corpus import CORPUS, Blocks, Message, ours, read_by, runs

from nbtape.messages.extractor import MarkdownCodeExtractor

if TYPE_CHECKING:
    from collections.abc import Callable


def read(message: Message) -> tuple[Blocks, Blocks]:
    """The blocks that run, and those that are cut."""
    blocks = MarkdownCodeExtractor(message.tags).extract_code_blocks(message.text)
    running = [(block.language, block.code) for block in blocks if runs(block)]
    return running, [(block.language, block.code) for block in blocks if block.is_cut]


@pytest.mark.parametrize("name", CORPUS)
def test_a_message_gives_the_blocks_that_a_careful_person_would_run(name: str) -> None:
    message = CORPUS[name]
    assert read(message) == (message.blocks, message.cut)


def test_the_share_of_messages_that_are_read_right_is_all(capsys: pytest.CaptureFixture[str]) -> None:
    right = [name for name, message in CORPUS.items() if read(message) == (message.blocks, message.cut)]
    with capsys.disabled():
        print(f"\nnbtape reads {len(right)} of {len(CORPUS)} messages right")  # noqa: T201  (the figure)
    assert len(right) == len(CORPUS) >= 120


def indented(columns: int, text: str) -> str:
    return textwrap.indent(text, " " * columns)


CHANGES: dict[str, Callable[[str], str]] = {
    "carriage returns": lambda text: text.replace("\r\n", "\n").replace("\n", "\r\n"),
    "a byte order mark": lambda text: f"\ufeff{text}",
    "prose": lambda text: f"Sure, here's the plan. It's easy.\n\n{text}",
    "a tag": lambda text: f"<answer>\n{text}",
    "a draft": lambda text: f"<think>\nIt's easy.\n```python\ndraft(\n```\n</think>\n{text}",
    "four columns": lambda text: indented(4, text),
    "eight columns": lambda text: indented(8, text),
    "a list item": lambda text: f"1. Do:\n\n{indented(3, text)}",
    "a deep list item": lambda text: f"- Do:\n\n{indented(6, text)}",
    "a quote": lambda text: "\n".join(f"> {line}" for line in text.split("\n")),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_is_around_a_message_does_not_change_its_blocks(change: str) -> None:
    found = read_by(lambda message: ours(message._replace(text=CHANGES[change](message.text))))
    assert set(CORPUS) - found == set()
