"""Large messages: excess data is cut before decoding, and the rest is valid JSON."""

from __future__ import annotations

import json
import tracemalloc

from hypothesis import example, given
from hypothesis import strategies as st

from nbtape.kernels.decoding import take_in

TEXTS = st.text(st.sampled_from([*'a"\\\n/u', "\0", "é", "名", "😀", "\u2028"]), max_size=80)


def packed(content: object, *, ascii_only: bool) -> memoryview:
    return memoryview(json.dumps(content, ensure_ascii=ascii_only).encode())


@given(TEXTS, TEXTS, st.integers(10, 60), st.booleans())
@example(text="\\" * 80, other='"' * 80, room=11, ascii_only=False)
@example(text="😀" * 20, other="名" * 30, room=12, ascii_only=True)
def test_a_cut_message_is_json_with_the_beginnings_of_its_texts(
    text: str,
    other: str,
    room: int,
    ascii_only: bool,  # noqa: FBT001  (hypothesis)
) -> None:
    content = packed({"name": "stdout", "text": text, "more": [other, 1]}, ascii_only=ascii_only)
    left, cut = take_in(content, room)
    read = json.loads(left)
    if not ascii_only:
        assert cut == len(text) - len(read["text"]) + len(other) - len(read["more"][0])
    for whole, head in ((text, read["text"]), (other, read["more"][0])):
        # Of a pair of surrogates, written as two escapes, one half may be left.
        assert whole.startswith(head.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "ignore"))
        assert len(json.dumps(head, ensure_ascii=ascii_only).encode()) <= room + len('""')
        if len(json.dumps(whole, ensure_ascii=ascii_only).encode()) <= room + len('""'):
            assert head == whole


@given(TEXTS, st.integers(10, 60))
def test_stream_text_is_cut_like_any_text(text: str, room: int) -> None:
    printed = packed({"name": "stdout", "text": text}, ascii_only=False)
    other = packed({"nome": "stdout", "text": text}, ascii_only=False)
    assert json.loads(take_in(printed, room)[0])["text"] == json.loads(take_in(other, room)[0])["text"]


def test_a_message_with_more_structure_than_text_is_left_out() -> None:
    content = packed([[] for _ in range(1_000_000)], ascii_only=True)
    assert take_in(content, 4000) == (b"{}", len(content))


def test_bytes_that_are_not_utf8_are_counted_and_cut() -> None:
    text = b"\x80" * 5_000_000
    left, cut = take_in(memoryview(b'{"name": "stdout", "text": "%b"}' % text), 1000)
    assert 990 <= len(json.loads(left.decode(errors="replace"))["text"]) <= 1000
    assert cut + 1000 - len(text) in range(11)


def test_cutting_uses_memory_only_for_the_kept_part() -> None:
    for text in ("x" * 50_000_000, '"' * 20_000_000):
        content = packed({"name": "stdout", "text": text}, ascii_only=True)
        del text
        tracemalloc.start()
        left, _ = take_in(content, 1_000_000)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert len(left) < 1_000_100
        assert peak < 8_000_000
