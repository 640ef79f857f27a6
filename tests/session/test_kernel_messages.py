"""Any message from a kernel affects only itself, and what is kept is a valid notebook."""

from __future__ import annotations

import copy
import json
from typing import Any

import nbformat
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from nbformat.v4 import new_code_cell, new_notebook, output_from_msg

from nbtape.common.text import fit_json, fit_text
from nbtape.notebook.output_text import output_size
from nbtape.session.kernel_messages import clean_message, is_message

OUTPUTS = ["stream", "display_data", "execute_result", "error"]
KINDS = [*OUTPUTS, "update_display_data", "execute_input", "status", "clear_output"]
FIELDS = ["name", "text", "data", "metadata", "transient", "execution_count", "ename", "evalue", "traceback", "wait"]
MIMES = ["text/plain", "text/html", "image/png", "image/svg+xml", "application/json", "application/x+json", "nonsense"]

# Everything that `json.loads` can return, including NaN, infinities and lone surrogates.
TEXTS = st.text(alphabet=st.characters(), max_size=10) | st.sampled_from(["\ud800", "\udc00", "😀", "\0", "stdout"])
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | TEXTS
KEYS = TEXTS | st.sampled_from([*FIELDS, *MIMES, "display_id", "execution_state", "comm_id"])
JSON = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4))
BUNDLES = st.dictionaries(st.sampled_from(MIMES) | TEXTS, JSON, max_size=4)
CONTENTS = st.fixed_dictionaries(
    {}, optional={**dict.fromkeys(FIELDS, JSON), "data": BUNDLES | JSON, "display_id": JSON, "comm_id": TEXTS}
)


def message(kind: Any, content: dict[str, Any]) -> dict[str, Any]:
    return {
        "header": {"msg_type": kind, "msg_id": "1"},
        "msg_type": kind,
        "parent_header": {"msg_id": "0"},
        "metadata": {},
        "content": content,
    }


def nested(depth: int) -> Any:
    value: Any = "bottom"
    for level in range(depth):
        value = [value] if level % 2 else {"deeper": value}
    return value


def recorded(message: dict[str, Any]) -> dict[str, Any]:
    """Return nbclient's output for a clean message: a valid one, in strict JSON and UTF-8."""
    output = output_from_msg(message)
    notebook = new_notebook(cells=[new_code_cell(outputs=[output])])
    notebook["cells"][0]["id"] = "one"
    nbformat.validate(notebook)
    json.dumps(notebook, allow_nan=False, ensure_ascii=False).encode()
    return dict(output)


@given(st.sampled_from(KINDS), CONTENTS | st.dictionaries(KEYS, JSON, max_size=6))
@example("stream", {"name": [], "text": "x"})
@example("stream", {"name": {}, "text": []})
@example("execute_result", {"execution_count": True, "data": {}, "metadata": {}})
@example("execute_result", {"execution_count": -1, "data": {"text/plain": None}})
@example("error", {"traceback": [None, 1, ["x"]], "ename": {}, "evalue": float("nan")})
@example("display_data", {"data": {"text/plain": ["a", 1]}, "metadata": {"filename": "../../x"}})
@example("display_data", {"data": {"application/json": float("inf"), "image/png": 5}, "metadata": []})
@example("display_data", {"data": {"application/json\n": 1, "": 1, "a/b/c": 1}})
@example("status", {"execution_state": []})
def test_any_message_gives_a_valid_output(kind: str, content: dict[str, Any]) -> None:
    clean = clean_message(message(kind, content))
    if kind in OUTPUTS:
        assert clean is not None
        recorded(clean)


@given(JSON, JSON)
@example([], {})
@example({}, {})
@example(None, {})
def test_a_message_of_any_type_raises_nothing(kind: Any, content: Any) -> None:
    any_message = message(kind, content)
    if is_message(any_message):
        clean_message(any_message)


@given(JSON)
@example({"header": 1, "parent_header": {}, "content": {}})
@example([])
def test_only_objects_with_all_parts_of_a_message_are_messages(thing: Any) -> None:
    if is_message(thing):
        assert all(isinstance(thing[part], dict) for part in ("header", "parent_header", "content"))


@given(st.sampled_from(OUTPUTS), CONTENTS)
def test_cleaning_does_not_change_the_received_message(kind: str, content: dict[str, Any]) -> None:
    before = copy.deepcopy(content)
    clean_message(message(kind, content))
    assert repr(content) == repr(before)


def test_a_message_of_unknown_type_is_left_out() -> None:
    assert clean_message(message("debug_event", {})) is None
    assert clean_message({"header": {}, "parent_header": {}, "content": {}}) is None


def test_the_type_is_taken_from_the_header() -> None:
    clean = clean_message({**message("stream", {"name": "stdout", "text": "x"}), "msg_type": "status"})
    assert clean is not None
    assert clean["msg_type"] == "stream"


# Depth: `json.loads` reads some 900 levels on Python 3.11 and tens of thousands on later versions.


@pytest.mark.parametrize("depth", [10, 63, 64, 65, 500, 900, 50_000])
@pytest.mark.parametrize("kind", KINDS)
def test_very_deep_nesting_is_cut(kind: str, depth: int) -> None:
    deep = nested(depth)
    fields = {**dict.fromkeys(FIELDS, deep), "execution_state": deep, "traceback": [deep]}
    for content in (
        fields,
        {**fields, "data": {"text/plain": deep, "application/json": deep}, "metadata": {"a": deep}},
    ):
        clean = clean_message(message(kind, content))
        if kind in OUTPUTS:
            assert clean is not None
            recorded(clean)


def test_plausible_nesting_is_kept() -> None:
    assert fit_json(nested(50)) == nested(50)


# Values


@given(JSON)
def test_fit_json_returns_strict_json_that_utf8_can_encode(value: Any) -> None:
    text = json.dumps(fit_json(value), allow_nan=False, ensure_ascii=False)
    assert json.loads(text.encode()) == fit_json(value)


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists, max_leaves=9))
def test_fit_json_keeps_valid_values_unchanged(value: Any) -> None:
    assert fit_json(value) == value


@given(st.text(alphabet=st.characters()))
def test_text_that_utf8_can_encode_is_unchanged(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        fit_text(text).encode()
    else:
        assert fit_text(text) == text


def test_halves_of_a_character_are_joined_and_lone_ones_replaced() -> None:
    assert fit_text("a\ud83d\ude00b") == "a😀b"
    assert fit_text("a\ud83d") == "a�"
    assert fit_text("\ude00b\ud83d") == "�b�"


def test_not_a_number_becomes_null() -> None:
    assert fit_json([float("nan"), float("inf"), -float("inf"), 1.5]) == [None, None, None, 1.5]


def test_a_stream_goes_to_stdout_unless_it_is_stderr() -> None:
    for name, expected in [("stderr", "stderr"), ("stdout", "stdout"), ("stdlog", "stdout"), (None, "stdout")]:
        clean = clean_message(message("stream", {"name": name, "text": "x"}))
        assert clean is not None
        assert clean["content"] == {"name": expected, "text": "x"}


def test_nul_characters_are_kept() -> None:
    clean = clean_message(message("stream", {"name": "stdout", "text": "a\0b"}))
    assert clean is not None
    assert recorded(clean)["text"] == "a\0b"


def test_a_bundle_keeps_json_as_json_and_other_types_as_text() -> None:
    data = {
        "application/json": {"a": [1, None]},
        "application/vnd.plotly.v1+json": [1],
        "text/plain": ["a\n", "b"],
        "text/html": {"no": "text"},
        "image/png": 7,
        "not a mime type": "x",
        "../../x": "x",
    }
    clean = clean_message(message("display_data", {"data": data, "metadata": {}}))
    assert clean is not None
    assert recorded(clean)["data"] == {
        "application/json": {"a": [1, None]},
        "application/vnd.plotly.v1+json": [1],
        "text/plain": "a\nb",
        "text/html": '{"no": "text"}',
        "image/png": "7",
    }


@pytest.mark.parametrize("count", [True, False, -1, 1.5, "7", None, [], "*"])
def test_an_execution_count_is_a_number_or_nothing(count: Any) -> None:
    clean = clean_message(message("execute_result", {"execution_count": count, "data": {}, "metadata": {}}))
    assert clean is not None
    assert clean["content"]["execution_count"] is None
    assert clean_message(message("execute_input", {"execution_count": count})) is None


@pytest.mark.parametrize("kind", ["comm_open", "comm_msg", "comm_close"])
def test_messages_of_widgets_are_not_recorded(kind: str) -> None:
    assert clean_message(message(kind, {"comm_id": "c", "data": {"state": {}}})) is None


@given(JSON)
def test_the_id_of_a_request_is_text(request: Any) -> None:
    clean = clean_message({**message("stream", {}), "parent_header": {"msg_id": request, "more": request}})
    assert clean is not None
    assert list(clean["parent_header"]) == ["msg_id"]
    assert isinstance(clean["parent_header"]["msg_id"], str)


def test_a_display_with_a_very_long_id_is_shown() -> None:
    clean = clean_message(message("display_data", {"transient": {"display_id": "x" * 10_000}}))
    assert clean is not None
    assert clean["content"]["transient"] == {}


# Sizes


@given(st.sampled_from(OUTPUTS), CONTENTS)
def test_the_size_of_an_output_is_at_least_that_of_its_text(kind: str, content: dict[str, Any]) -> None:
    clean = clean_message(message(kind, content))
    assert clean is not None
    output = {"output_type": kind, **clean["content"]}
    texts = [output.get("text", ""), *output.get("traceback", []), *map(str, output.get("data", {}))]
    assert output_size(output) >= sum(map(len, texts))


def test_the_size_of_an_output_of_text_is_about_that_of_its_json() -> None:
    data = {"text/plain": "x" * 10_000, "application/json": {"a" * 1000: [1, "b" * 5000]}}
    output = {"output_type": "display_data", "data": data, "metadata": {}}
    assert len(json.dumps(data)) <= output_size(output) < 1.05 * len(json.dumps(data))


@given(st.dictionaries(st.just("application/json"), JSON, min_size=1))
def test_every_value_of_an_output_counts(data: dict[str, Any]) -> None:
    output = {"output_type": "display_data", "data": fit_json(data), "metadata": {}}
    size = output_size(output)
    output["data"]["application/json"] = [output["data"]["application/json"], []]
    assert output_size(output) >= size + 100
    output["data"]["application/json"].append(None)
    assert output_size(output) >= size + 100 + len("null, ")


def test_every_line_of_a_traceback_counts() -> None:
    output = {"output_type": "error", "ename": "", "evalue": "", "traceback": [""] * 1_000_000}
    assert output_size(output) >= 10_000_000


def test_an_error_counts_its_name_too() -> None:
    output = {"output_type": "error", "ename": "E" * 1_000_000, "evalue": "", "traceback": []}
    assert output_size(output) >= 1_000_000
