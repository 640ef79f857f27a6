"""Text of outputs for an agent: complete or marked as shortened, and without terminal codes."""

from __future__ import annotations

import itertools
import json
import pickle
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from nbtape.common.text import shorten, strip_escapes
from nbtape.notebook.output_text import cell_text, output_text
from nbtape.results import EXIT_CODES, CellResult, CodeResult, Status, join_cells

NOTEBOOK = Path("/coding/session.ipynb")
NOTICE = re.compile(r"\n\[… ([\d,]+) characters left out; (.*) …\]\n")
WHERE = "the whole is elsewhere"
TEXTS = st.text(alphabet=st.characters(exclude_categories=["Cs"]) | st.sampled_from("\x1b\x9b[m0;]\x07"), max_size=40)


def stream(text: str, name: str = "stdout") -> dict[str, Any]:
    return {"output_type": "stream", "name": name, "text": text}


STREAMS = st.builds(stream, TEXTS)
DISPLAYS = st.builds(
    lambda data: {"output_type": "display_data", "data": data, "metadata": {}},
    st.dictionaries(st.sampled_from(["text/plain", "text/html", "text/latex", "image/png", "a/b"]), TEXTS),
)
ERRORS = st.builds(
    lambda name, value, lines: {"output_type": "error", "ename": name, "evalue": value, "traceback": lines},
    TEXTS,
    TEXTS,
    st.lists(TEXTS, max_size=3),
)
OUTPUTS = st.lists(STREAMS | DISPLAYS | ERRORS, max_size=6)


def display(**data: Any) -> dict[str, Any]:
    bundle = {mime.replace("__", "+").replace("_", "/", 1): value for mime, value in data.items()}
    return {"output_type": "display_data", "data": bundle, "metadata": {}}


def cell(status: Status = "ok", output: str = "", **more: Any) -> CellResult:
    return CellResult(index=0, cell_id="id", status=status, output=output, **more)


# Shortening


@given(st.text(max_size=400), st.integers(1, 400))
@example("x" * 101, 100)
@example("x" * 1_000_000, 60)
def test_a_text_is_never_longer_than_its_limit(text: str, limit: int) -> None:
    assert len(shorten(text, limit, WHERE)) <= limit


@given(st.text(max_size=400), st.integers(0, 20))
def test_a_text_within_its_limit_is_unchanged(text: str, more: int) -> None:
    assert shorten(text, len(text) + more, WHERE) == text


@given(st.integers(200, 5000), st.integers(100, 199))
@example(10_000, 150)
@example(1_000_000, 150)
def test_a_shortened_text_keeps_head_and_tail_and_counts_omitted_characters(size: int, limit: int) -> None:
    text = "".join(itertools.islice(itertools.cycle("abcdefghijklmnopqrstuvwxyz0123456789"), size))
    short = shorten(text, limit, WHERE)
    notice = NOTICE.search(short)
    assert notice is not None
    head, tail = short[: notice.start()], short[notice.end() :]
    assert text.startswith(head)
    assert text.endswith(tail)
    assert abs(len(head) - len(tail)) <= 1
    assert head
    assert int(notice[1].replace(",", "")) == size - len(head) - len(tail)
    assert notice[2] == WHERE
    assert limit - len(short) <= 2, "room is used"


@given(st.integers(5, 400), st.integers(1, 120), st.integers(400, 2000))
@example(4000, 60, 8000)
def test_a_table_is_cut_between_rows(rows: int, width: int, limit: int) -> None:
    lines = [f"{n:<6}{'x' * width}" for n in range(rows)]
    text = "\n".join(lines)
    short = shorten(text, limit, WHERE)
    kept = [line for line in short.split("\n") if not line.startswith("[…")]
    assert set(kept) <= set(lines)
    assert len(short) <= limit
    assert (kept[0], kept[-1]) == (lines[0], lines[-1])


@given(st.integers(150, 400), st.integers(0, 40))
def test_neither_a_terminal_code_nor_a_surrogate_pair_is_cut(limit: int, shift: int) -> None:
    code, link, pair = "\x1b[38;2;10;20;30m", "\x1b]8;;https://example.org/\n\x1b\\", "\ud83d\ude00"
    for piece, whole in ((code, code), (link, link), (pair, pair), (f"{code}a{pair}b", f"{code}|{pair}")):
        short = shorten("x" * shift + piece * 200, limit, WHERE)
        left = re.sub("|".join(map(re.escape, whole.split("|"))), "", NOTICE.sub("", short))
        assert set(left) <= set("xab"), "only whole ones are kept"
        assert len(short) <= limit


def test_a_row_longer_than_the_room_is_cut_itself() -> None:
    short = shorten("head\n" + "x" * 10_000 + "\ntail", 1000, WHERE)
    assert short.startswith("head\nxxx")
    assert short.endswith("xxx\ntail")
    assert len(short) >= 998


# Terminal codes


@pytest.mark.parametrize(
    ("raw", "plain"),
    [
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b[38;2;1;2;3mtrue colour\x1b[m", "true colour"),
        ("\x1b[2K\x1b[1A\x1b[?25lgone", "gone"),
        ("\x1b]0;title\x07text", "text"),
        ("\x1b]8;;https://x.org\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x1b]52;c;aGFjaw==\x07clipboard", "clipboard"),
        ("\x1b(Btext", "text"),
        ("\x1bcreset", "reset"),
        ("\x9b31mred\x9b0m", "red"),
        ("cut off \x1b[31", "cut off [31"),
        ("cut off \x1b", "cut off "),
    ],
)
def test_terminal_codes_are_removed_and_the_text_is_kept(raw: str, plain: str) -> None:
    assert strip_escapes(raw) == plain


@given(TEXTS)
@example("\x1b\x1b[31m[31m")
@example("\x1b]\x1b\x1b")
def test_no_escape_is_left(text: str) -> None:
    assert not {"\x1b", "\x9b"} & set(strip_escapes(text))


@given(st.text(alphabet=st.characters(exclude_characters="\x1b\x90\x98\x9b\x9c\x9d\x9e\x9f")))
def test_text_without_escapes_is_unchanged(text: str) -> None:
    assert strip_escapes(text) == text


@pytest.mark.timeout(60)  # With quadratic cost this would take hours.
@pytest.mark.parametrize("piece", ["\x1b]", "\x1b[", "\x1b[0", "\x1b", "\x1b]x\x1b", "\x9b0;"])
def test_hostile_escapes_take_linear_time(piece: str) -> None:
    assert "\x1b" not in strip_escapes(piece * 300_000)


# Outputs


@given(OUTPUTS)
def test_no_escape_of_an_output_reaches_the_agent(outputs: list[dict[str, Any]]) -> None:
    assert not {"\x1b", "\x9b"} & set(cell_text(outputs, {}))


@given(st.lists(STREAMS))
@example([stream("a\x1b[3"), stream("1mb")])
def test_streams_are_joined_without_a_separator(outputs: list[dict[str, Any]]) -> None:
    assert cell_text(outputs, {}) == "".join(strip_escapes(output["text"]) for output in outputs)


def test_every_output_except_streams_starts_on_a_new_line() -> None:
    outputs = [stream("a"), display(text_plain="b"), stream("c\n"), stream("d\n", "stderr"), display(text_plain="e")]
    assert cell_text(outputs, {}) == "a\nb\nc\nd\ne"


def test_a_traceback_is_shown_without_terminal_codes() -> None:
    error = {"output_type": "error", "ename": "ValueError", "evalue": "x", "traceback": ["\x1b[31mA\x1b[0m", "B"]}
    assert cell_text([stream("before\n"), error], {}) == "before\nA\nB"


def test_an_error_without_a_traceback_shows_its_name_and_value() -> None:
    error = {"output_type": "error", "ename": "ValueError", "evalue": "x", "traceback": []}
    assert output_text(error) == "ValueError: x"


def test_a_saved_image_shows_its_path_and_a_table_its_text_and_path() -> None:
    saved = {0: ["Image data saved to n_0_0.png"], 1: ["HTML data saved to n_0_1.html"]}
    outputs = [
        display(image_png="aaaa", text_plain="<Figure size 640x480>"),
        display(text_html="<table/>", text_plain="a b"),
    ]
    assert cell_text(outputs, saved) == "Image data saved to n_0_0.png\na b\nHTML data saved to n_0_1.html"


def test_base64_text_never_reaches_the_agent() -> None:
    assert "aaaa" not in cell_text([display(image_png="aaaa")], {})


@pytest.mark.parametrize(
    ("output", "text"),
    [
        (display(text_plain="plain", text_markdown="*md*"), "plain"),
        (display(text_plain="<Markdown object>", text_markdown="*md*"), "*md*"),
        (display(text_plain="<m.Quantity at 0x7f12c0>", text_latex="$x$", text_html="<i>x</i>"), "$x$"),
        (display(text_plain="<HTML object>", text_html="<p>a &lt; b"), "a < b"),
        (display(text_plain="<JSON object>", application_json={"ä": 1}), '{"ä": 1}'),
        (display(text_plain="<Quantity 5. m>", text_latex="$5$"), "<Quantity 5. m>"),
        (display(text_plain="<function f at 0x7f12c0>"), "<function f at 0x7f12c0>"),
        (display(text_plain="[1]", text_html="<table/>"), "[1]"),
        (display(text_markdown="*md*", text_latex="$x$"), "*md*"),
        (display(text_latex="$x$"), "$x$"),
        (display(application_json={"ä": 1}), '{"ä": 1}'),
        (display(application_json=None), "null"),
        (display(), ""),
    ],
)
def test_the_most_readable_text_of_a_bundle_is_used(output: dict[str, Any], text: str) -> None:
    assert output_text(output) == text


def test_a_bundle_without_text_shows_its_type() -> None:
    assert "video/mp4" in output_text(display(video_mp4="AAAA"))


# Results


def test_a_result_prints_like_autogens_result() -> None:
    assert str(CodeResult(0, "Hello, World!\n")) == r"exit_code=0 output='Hello, World!\n' output_files=[]"
    assert str(CodeResult(1, "it's", ["/a b.png"])) == "exit_code=1 output=\"it's\" output_files=['/a b.png']"


def test_the_exit_codes_are_the_documented_ones() -> None:
    assert EXIT_CODES == {
        "ok": 0,
        "error": 1,
        "timeout": 124,
        "interrupted": 130,
        "kernel_died": 137,
        "not_run": 1,
    }


def test_the_texts_of_blocks_are_joined_by_a_newline() -> None:
    joined = join_cells([cell(output="a"), cell(output="b\n"), cell(output="c")], NOTEBOOK, 100)
    assert joined.output == "a\nb\n\nc"
    assert (joined.exit_code, joined.status, joined.notebook) == (0, "ok", NOTEBOOK)


def test_without_blocks_the_result_is_empty() -> None:
    assert str(join_cells([], NOTEBOOK, 100)) == "exit_code=0 output='' output_files=[]"
    assert join_cells([], NOTEBOOK, 100).kernel_epoch == 0


@given(st.lists(st.builds(cell, st.sampled_from(list(EXIT_CODES)), st.text(max_size=50)), max_size=6))
def test_the_status_is_that_of_the_first_block_that_did_not_succeed(cells: list[CellResult]) -> None:
    joined = join_cells(cells, NOTEBOOK, 150)
    assert joined.status == next((cell.status for cell in cells if cell.status != "ok"), "ok")
    assert joined.exit_code == EXIT_CODES[joined.status]
    assert len(joined.output) <= 150


def test_blocks_that_were_not_run_are_counted() -> None:
    joined = join_cells([cell("error", "E"), cell("not_run"), cell("not_run")], NOTEBOOK, 100)
    assert joined.output == "E\n2 more blocks were not run."
    assert join_cells([cell("error", "E"), cell("not_run")], NOTEBOOK, 100).output == "E\n1 more block was not run."


def test_a_shortened_result_names_the_notebook_with_the_full_output() -> None:
    joined = join_cells([cell(output="x" * 5000)], NOTEBOOK, 200)
    assert f"to see all: nbtape show {NOTEBOOK.name}" in joined.output


def test_files_are_in_the_order_of_the_blocks() -> None:
    joined = join_cells([cell(output_files=["/b"]), cell(output_files=["/a", "/c"])], NOTEBOOK, 100)
    assert joined.output_files == ["/b", "/a", "/c"]


def test_the_kernel_generation_is_that_of_the_last_block_that_ran() -> None:
    assert join_cells([cell(kernel_epoch=2), cell(kernel_epoch=3), cell("not_run")], NOTEBOOK, 100).kernel_epoch == 3


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_results_pickle(protocol: int) -> None:
    result = join_cells([cell("error", "E\ud800", error_name="E", note="n", duration=1.5)], NOTEBOOK, 100)
    assert pickle.loads(pickle.dumps(result, protocol)) == result


@given(st.lists(st.builds(cell, st.sampled_from(list(EXIT_CODES)), st.text(max_size=50)), max_size=3))
def test_a_result_as_json_is_complete(cells: list[CellResult]) -> None:
    result = join_cells(cells, NOTEBOOK, 100)
    told = json.loads(json.dumps(result.to_dict(), allow_nan=False))
    assert set(told) == {*(field for field in CodeResult.__dataclass_fields__), "kernel_epoch"}
    assert told["notebook"] == str(NOTEBOOK)
    assert told["output"] == result.output
    assert [one["status"] for one in told["cells"]] == [one.status for one in cells]
    assert all(set(one) == set(CellResult.__dataclass_fields__) for one in told["cells"])


def test_a_result_without_a_notebook_can_be_json() -> None:
    assert json.loads(json.dumps(CodeResult(0, "").to_dict()))["notebook"] is None
