"""The text of a stream is what JupyterLab would show, however it is split into chunks."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from nbtape.common.terminal_text import REWIND_LIMIT, StreamText

TERMINAL = st.text(alphabet="ab1 é😀\n\r", max_size=60)
WITH_BACKSPACE = st.text(alphabet="abc\n\r\b", max_size=40)
CHUNKS = st.lists(TERMINAL, max_size=8)


def collected(*chunks: str) -> str:
    stream = StreamText()
    for chunk in chunks:
        stream.write(chunk)
    return stream.getvalue()


def shown(text: str) -> str:
    """Apply JupyterLab's rules (`packages/outputarea/src/model.ts`, `processText`), one character at a time."""
    screen: list[str] = []
    cursor = 0
    for char in text:
        if char == "\n":
            screen.append(char)
            cursor = len(screen)
        elif char == "\r":
            while cursor and screen[cursor - 1] != "\n":
                cursor -= 1
        elif char == "\b":
            if cursor and screen[cursor - 1] != "\n":
                del screen[cursor - 1 : cursor + 1]
                cursor -= 1
        else:
            screen[cursor : cursor + 1] = [char]
            cursor += 1
    return "".join(screen)


@given(CHUNKS)
@example(["a\r", "\n"])
@example(["50%", "\r100%", "\rdone"])
@example(["abc\r", "x", "y\n", "z"])
def test_a_stream_reads_as_jupyterlab_shows_it(chunks: list[str]) -> None:
    assert collected(*chunks) == shown("".join(chunks))


@given(WITH_BACKSPACE)
@example("abc\b\b")
@example("\b\b")
@example("a\n\b\bb")
def test_a_backspace_works_as_in_jupyterlab(text: str) -> None:
    assert collected(text) == shown(text)


@given(st.text(alphabet="ab\b\n", max_size=40))
def test_a_backspace_at_the_end_of_a_line_takes_one_character(text: str) -> None:
    assert collected(text) == shown(text)


@given(st.text(alphabet="ab\n\r\b", max_size=60), st.data())
def test_the_split_into_chunks_does_not_matter(text: str, data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, len(text)))
    assert collected(text[:cut], text[cut:]) == collected(text)


@given(CHUNKS)
def test_the_length_matches_the_text(chunks: list[str]) -> None:
    stream = StreamText()
    for chunk in chunks:
        stream.write(chunk)
        assert len(stream) == len(stream.getvalue())


@given(CHUNKS, CHUNKS)
def test_reading_the_text_does_not_change_it(before: list[str], after: list[str]) -> None:
    stream = StreamText()
    for chunk in before:
        stream.write(chunk)
        stream.getvalue()
    for chunk in after:
        stream.write(chunk)
    assert stream.getvalue() == collected(*before, *after)


@given(st.lists(st.text(alphabet=st.characters(exclude_characters="\r\b")), max_size=8))
def test_a_stream_without_control_characters_is_unchanged(chunks: list[str]) -> None:
    assert collected(*chunks) == "".join(chunks)


@given(TERMINAL)
def test_collected_text_is_unchanged_when_collected_again(text: str) -> None:
    kept = collected(text)
    assert collected(kept) == kept
    assert "\r" not in kept


def test_a_colored_line_is_rewritten_completely() -> None:
    assert collected("\x1b[31m10 %\x1b[0m", "\r", "\x1b[32m20 %\x1b[0m") == "\x1b[32m20 %\x1b[0m"


def test_a_progress_bar_is_one_line() -> None:
    ticks = [f"\r{done:3d} %|{'#' * (done // 10):10s}|" for done in range(101)]
    assert collected(*ticks, "\n") == "100 %|##########|\n"


def test_a_line_too_long_to_rewind_loses_nothing() -> None:
    line = "x" * (REWIND_LIMIT + 1)
    assert collected(line, "\r", "tail") == line + "tail"
    assert collected(line, "\b", "tail\n") == line + "tail\n"


@pytest.mark.timeout(60)  # With quadratic cost this would take minutes.
@pytest.mark.parametrize(
    "text",
    [
        "\r" * 2_000_000,
        "\b" * 2_000_000,
        "\n" * 2_000_000,
        "x\r" * 1_000_000,
        "x" * REWIND_LIMIT + "\ry" * 500_000,
        "x" * REWIND_LIMIT + "\r" + "\by" * 300_000,
        "x" * 20_000_000 + "\r" + "y" * 20_000_000,
        "\x1b[31mx\r" * 300_000,
    ],
    ids=["returns", "backspaces", "newlines", "ticks", "long ticks", "long backspaces", "long lines", "colours"],
)
def test_hostile_text_takes_linear_time(text: str) -> None:
    assert len(collected(text)) <= len(text)


@pytest.mark.timeout(15)  # Quadratic cost would block the event loop for minutes.
def test_a_long_line_in_many_chunks_takes_linear_time() -> None:
    stream = StreamText()
    for _ in range(32_000):
        stream.write("x" * 1_000)
    assert stream.getvalue() == "x" * 32_000_000


@pytest.mark.timeout(60)
def test_many_lines_in_many_chunks_take_linear_time() -> None:
    stream = StreamText()
    for number in range(300_000):
        stream.write(f"{number}\n")
        assert len(stream)
    assert stream.getvalue().count("\n") == 300_000
