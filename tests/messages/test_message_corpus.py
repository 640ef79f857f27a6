"""Messages in the forms that models write, each with the blocks that a careful person would run."""

from __future__ import annotations

import pytest
from message_corpus import CORPUS, Blocks, Message, runs

from nbtape.messages.code_blocks import MarkdownCodeExtractor


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
