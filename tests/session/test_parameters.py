"""Parameters are written in Python syntax, or rejected."""

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
def test_written_parameters_can_be_read_back(one: object, other: object) -> None:
    read: dict[str, Any] = {}
    exec(assignments({"one": one, "other": other}), read)
    assert (read["one"], read["other"]) == (one, other)


@pytest.mark.parametrize("value", [math.nan, math.inf, object(), {1: object()}, len, b"x".__class__])
def test_values_without_a_literal_are_rejected(value: object) -> None:
    with pytest.raises(ValueError, match="parameter n is not a Python literal"):
        assignments({"n": value})


@pytest.mark.parametrize("name", ["1x", "a b", "class", "", "x;y", "x\n"])
def test_invalid_names_are_rejected(name: str) -> None:
    with pytest.raises(ValueError, match="not a valid name for a Python variable"):
        assignments({name: 1})


def test_an_empty_set_of_parameters_is_rejected() -> None:
    with pytest.raises(ValueError, match="at least one"):
        assignments({})
