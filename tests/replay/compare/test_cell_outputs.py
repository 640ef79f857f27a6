"""Whole cells: several outputs, errors, and anything else a kernel may have sent."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from nbtape.replay.compare.cell_outputs import judge
from nbtape.replay.compare.settings import Context, Judgement, ReplaySettings

BEGAN = 1772719200.0
HERE = Context(BEGAN, BEGAN + 10, "/home/ann/work", 0)
KINDS = ["stream", "display_data", "execute_result", "error", "nonsense"]
MIMES = ["text/plain", "text/html", "text/latex", "image/png", "image/svg+xml", "image/jpeg", "application/json",
         "application/vnd.plotly.v1+json", "application/javascript", "application/pdf", "nonsense"]  # fmt: skip
PIECES = ["<", ">", "{", "}", "'a'", ", ", "1.5", "1.50001", "0x7f0123456789", "at ", "2026-03-05 14:00:03", "\n",
          "\r", "100%|██| 3/3 [00:00<00:00, 5.0it/s]", "/tmp/tmpab12cd34", "took ", "3 s", "<b>", "</b>", "&", "id='x'",
          "\x1b[1m", "12", " ", "$"]  # fmt: skip
TEXTS = st.lists(st.sampled_from(PIECES), max_size=8).map("".join) | st.text(max_size=20)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | TEXTS
JSON = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3))
OUTPUT = st.fixed_dictionaries(
    {"output_type": st.sampled_from(KINDS)},
    optional={
        "name": st.sampled_from(["stdout", "stderr"]) | JSON,
        "text": TEXTS | JSON,
        "data": st.dictionaries(st.sampled_from(MIMES), TEXTS | JSON, max_size=3) | JSON,
        "ename": st.sampled_from(["KeyError", "ValueError"]) | JSON,
        "evalue": TEXTS | JSON,
        "traceback": JSON,
    },
)
OUTPUTS = st.lists(OUTPUT, max_size=4)
FAILED = {"error", "fixed"}


def judged(old: list[dict[str, Any]], new: list[dict[str, Any]], settings: ReplaySettings | None = None) -> Judgement:
    return judge(old, new, HERE, HERE, settings)


def stream(text: str, name: str = "stdout") -> dict[str, Any]:
    return {"output_type": "stream", "name": name, "text": text}


def display(**data: Any) -> dict[str, Any]:
    names = {"html": "text/html", "svg": "image/svg+xml", "png": "image/png", "json": "application/json"}
    bundle = {names.get(name, "text/plain"): value for name, value in data.items()}
    return {"output_type": "display_data", "data": bundle, "metadata": {}}


def error(ename: str, evalue: str) -> dict[str, Any]:
    return {"output_type": "error", "ename": ename, "evalue": evalue, "traceback": [evalue]}


@given(OUTPUTS)
@example([{"output_type": "display_data", "data": {"application/json": float("nan")}}])
def test_equal_outputs_are_the_same(outputs: list[dict[str, Any]]) -> None:
    failed = any(output["output_type"] == "error" for output in outputs)
    assert judged(outputs, outputs).verdict == ("same_error" if failed else "same")


@given(OUTPUTS, OUTPUTS)
def test_a_verdict_does_not_depend_on_the_order(old: list[dict[str, Any]], new: list[dict[str, Any]]) -> None:
    forth, back = judged(old, new), judged(new, old)
    assert forth.verdict == back.verdict or {forth.verdict, back.verdict} == FAILED
    assert len(forth.reason) < 400


@given(TEXTS, TEXTS, st.sampled_from(["text/plain", "text/html", "image/svg+xml", "application/json", "image/png"]))
def test_texts_of_each_type_get_the_same_verdict_in_both_directions(old: str, new: str, mime: str) -> None:
    left, right = ([{"output_type": "display_data", "data": {mime: text}}] for text in (old, new))
    assert judged(left, right).verdict == judged(right, left).verdict


@given(st.lists(JSON, max_size=3))
def test_invalid_outputs_get_a_verdict(outputs: list[Any]) -> None:
    assert judged(outputs, []).verdict in {"same", "different", "error", "fixed"}
    assert judged([], outputs).verdict in {"same", "different", "error", "fixed"}


def test_the_interleaving_of_streams_does_not_count() -> None:
    old = [stream("a\n"), stream("x\n", "stderr"), stream("b\n")]
    new = [stream("a\nb\n"), stream("x\n", "stderr")]
    assert judged(old, new).verdict == "same"


def test_a_missing_output_is_different() -> None:
    assert judged([stream("a")], []) == Judgement("different", "stdout is missing: - a / + ")
    assert judged([], [stream("a", "stderr")]).reason == "stderr is new: -  / + a"
    assert judged([display(text="a")], []).verdict == "different"
    assert judged([display(text="a", html="a")], [display(text="a")]).verdict == "different"


def test_the_worst_of_all_outputs_counts() -> None:
    old = [stream("1.2345678"), display(text="at 0x7f0123456789"), display(text="7 rows")]
    assert judged(old, [stream("1.2345679"), *old[1:]]).verdict == "drift"
    assert judged(old, [old[0], display(text="at 0x7f0123456780"), old[2]]).verdict == "cosmetic"
    assert judged(old, [stream("1.2345679"), old[1], display(text="8 rows")]).verdict == "different"


@pytest.mark.parametrize(
    ("old", "new", "verdict"),
    [
        ([], [error("KeyError", "'a'")], "error"),
        ([error("KeyError", "'a'")], [], "fixed"),
        ([error("KeyError", "'a'")], [error("KeyError", "'a'")], "same_error"),
        ([error("A", "lost <x at 0x7f0123456789>")], [error("A", "lost <x at 0x7f0123456780>")], "same_error"),
        ([error("KeyError", "'a'")], [error("KeyError", "'b'")], "different"),
        ([error("KeyError", "'a'")], [error("ValueError", "'a'")], "different"),
        ([stream("a"), error("KeyError", "'a'")], [stream("b"), error("KeyError", "'a'")], "different"),
    ],
)
def test_errors_are_compared_by_type_and_message(
    old: list[dict[str, Any]], new: list[dict[str, Any]], verdict: str
) -> None:
    assert judged(old, new).verdict == verdict


def test_text_split_into_lines_equals_joined_text() -> None:
    assert judged([{**stream(""), "text": ["a\n", "b"]}], [stream("a\nb")]).verdict == "same"
