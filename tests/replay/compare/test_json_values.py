"""JSON: values count; rounding noise and random names do not."""

from __future__ import annotations

from typing import Any

import pytest

from nbtape.replay.compare.json_values import compare_structures
from nbtape.replay.compare.settings import Terms


def nested(depth: int, bottom: object) -> Any:
    value: Any = bottom
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("old", "new", "verdict"),
    [
        ({"a": [1, None]}, {"a": [1, None]}, "same"),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}, "same"),
        (1, 1.0, "same"),
        (1, True, "different"),
        (0, None, "different"),
        (1, 2, "different"),
        ("1", 1, "different"),
        (0.3, 0.30000000000000004, "drift"),
        (1234567.89, 1234567.88, "different"),
        (0.123456, 0.133456, "different"),
        ([1, 2], [2, 1], "different"),
        ([1], [1, 1], "different"),
        ({"a": 1}, {"b": 1}, "different"),
        ({"uid": "ab"}, {"uid": "cd"}, "cosmetic"),
        ([{"uid": "ab"}, {"uid": "ab"}], [{"uid": "cd"}, {"uid": "ef"}], "different"),
        ([{"uid": "ab"}, {"uid": "ab"}], [{"uid": "ab"}, {"uid": "cd"}], "different"),
        ([{"uid": "ab"}, {"uid": "ab"}], [{"uid": "cd"}, {"uid": "ab"}], "different"),
        ({"name": "ab"}, {"name": "cd"}, "different"),
        ({"title": "Sales 2024"}, {"title": "Sales 2023"}, "different"),
        (nested(100_000, 1), nested(100_000, 2), "different"),
        (nested(100_000, 1), nested(100_000, 1), "same"),
        (10**400, 10**400 + 1, "different"),
        (float("inf"), float("-inf"), "different"),
        (10**400, 1.5, "different"),
    ],
    ids=lambda value: str(value)[:20] if not isinstance(value, list) else "list",
)
def test_json_is_compared_by_its_values(old: object, new: object, verdict: str) -> None:
    assert compare_structures(old, new, Terms()).verdict == verdict
    assert compare_structures(new, old, Terms()).verdict == verdict
