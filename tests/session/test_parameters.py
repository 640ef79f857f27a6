"""Parameters are written as Python reads them, or refused."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbtape.session.parameters import assignments

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda values: st.lists(values) | st.dictionaries(st.text(), values),
)


@given(VALUES, VALUES)
def test_what_is_written_is_read_again(one: object, other: object) -> None:
    read: dict[str, Any] = {}
    exec(assignments({"one": one, "other": other}), read)
    assert (read["one"], read["other"]) == (one, other)


@pytest.mark.parametrize("value", [math.nan, math.inf, object(), {1: object()}, len, b"x".__class__])
def test_what_is_no_literal_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="parameter n is not a Python literal"):
        assignments({"n": value})


@pytest.mark.parametrize("name", ["1x", "a b", "class", "", "x;y", "x\n"])
def test_what_is_no_name_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="not a valid name for a Python variable"):
        assignments({name: 1})


def test_no_parameters_at_all_are_refused() -> None:
    with pytest.raises(ValueError, match="at least one"):
        assignments({})
