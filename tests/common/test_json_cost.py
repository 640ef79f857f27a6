"""The cost and nesting depth of JSON are measured without decoding it."""

from __future__ import annotations

import json
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbtape.common import json_cost
from nbtape.common.json_cost import CONTAINER_COST, VALUE_COST, costs_more, is_nested_deeper

TEXTS = st.text(st.sampled_from([*'a"\\[]{},:é😀', "\n"]), max_size=12)
JSON = st.recursive(
    st.none() | st.integers() | TEXTS,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(TEXTS, inner, max_size=5),
    max_leaves=60,
)


def cost(value: Any) -> int:
    """The cost of a value, computed from the decoded value."""
    if not isinstance(value, dict | list):
        return 0
    inner = list(value.values()) if isinstance(value, dict) else value
    return CONTAINER_COST + VALUE_COST * max(0, len(inner) - 1) + sum(map(cost, inner))


def depth(value: Any) -> int:
    if not isinstance(value, dict | list):
        return 0
    return 1 + max(map(depth, value.values() if isinstance(value, dict) else value), default=0)


@given(JSON, st.booleans(), st.booleans(), st.sampled_from([1, 2, 3, 7, 1 << 16]))
def test_the_cost_counts_values_and_not_the_content_of_strings(
    value: Any,
    ascii_only: bool,  # noqa: FBT001  (hypothesis)
    dense: bool,  # noqa: FBT001  (as above)
    piece: int,
) -> None:
    separators = (",", ":") if dense else None
    content = json.dumps(value, ensure_ascii=ascii_only, separators=separators).encode()
    with patch.object(json_cost, "_PIECE", piece):
        assert not costs_more(content, cost(value))
        assert cost(value) == 0 or costs_more(content, cost(value) - 1)
        assert costs_more(memoryview(content), cost(value)) == costs_more(content, cost(value))


@pytest.mark.parametrize("content", [b"[" * 5_000_000, b"[],", b'"' + b"[," * 10, b'{"a": "\\', b"", b"\xff\xfe["])
def test_invalid_json_has_a_cost_too(content: bytes) -> None:
    assert costs_more(content, 1000) == (len(content) == 5_000_000)


def test_a_long_string_that_looks_like_values_is_cheap() -> None:
    assert not costs_more(json.dumps({"text": "[],{}," * 1_000_000}).encode(), 1000)


@given(JSON, st.integers(0, 8))
def test_the_nesting_depth_is_measured(value: Any, levels: int) -> None:
    assert is_nested_deeper(value, levels) == (depth(value) > levels)


def test_nesting_beyond_the_recursion_limit_is_measured() -> None:
    value: Any = 0
    for _ in range(100_000):
        value = [value]
    assert is_nested_deeper(value, 99_999)
    assert not is_nested_deeper(value, 100_000)
