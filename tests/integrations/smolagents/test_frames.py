"""DataFrames and Series arrive in a kernel as they are, without pickle."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any

import numpy as np
import pandas as pd
import pytest
from smolagents import SafeSerializer, SerializationError

from nbtape.integrations.smolagents.compat_smolagents import loading_code
from nbtape.integrations.smolagents.frames import mark_frames
from nbtape.integrations.smolagents.setup_cells import variable_cells

TIMES = ["2026-01-02 03:04:05.678901", None]

FRAMES = {
    "numbers": pd.DataFrame({"a": [1, 2], "b": [0.1, np.nan], "c": [True, False]}),
    "small numbers": pd.DataFrame({"a": np.array([1, 2], "int8"), "b": np.array([1.5, 2], "float32")}),
    "text": pd.DataFrame({"a": ["x", "é\n"], "b": [None, "y"]}),
    "objects": pd.DataFrame({"a": pd.Series([1, "x"], dtype=object), "b": pd.Series([(1, 2), {"c": 3}], dtype=object)}),
    "strings": pd.DataFrame({"a": pd.Series(["x", None], dtype="string")}),
    "missing": pd.DataFrame({"a": pd.Series([1, None], dtype="Int64"), "b": pd.Series([True, None], dtype="boolean")}),
    "times": pd.DataFrame({"a": pd.to_datetime(TIMES), "b": pd.to_timedelta([1, None], unit="s")}),
    "zones": pd.DataFrame(
        {"a": pd.to_datetime(TIMES).tz_localize("Europe/Paris"), "b": pd.to_datetime(TIMES, utc=True)}
    ),
    "categories": pd.DataFrame({"a": pd.Categorical(["y", None], ["x", "y"], ordered=True)}),
    "labels": pd.DataFrame([[1, 2], [3, 4]], index=pd.Index(["r", "s"], name="rows"), columns=[10, 20]),
    "levels": pd.DataFrame(
        {("a", 1): [1, 2], ("a", 2): [3, 4]}, index=pd.MultiIndex.from_tuples([("x", 1), ("y", 2)], names=["k", None])
    ),
    "same names": pd.DataFrame([[1, "x"]], columns=["a", "a"]),
    "index of times": pd.DataFrame({"a": [1, 2]}, index=pd.DatetimeIndex(["2026-01-01", "2026-01-02"])),
    "range": pd.DataFrame({"a": [1, 2]}, index=pd.RangeIndex(5, 9, 2)),
    "empty": pd.DataFrame(),
    "no rows": pd.DataFrame({"a": pd.Series([], dtype="float64")}),
    "no columns": pd.DataFrame(index=["x", "y"]),
}


def sent(value: Any) -> Any:
    """What code in a kernel has of a variable."""
    names: dict[str, Any] = {}
    ((_, code),) = variable_cells({"value": value})
    exec(code, names)
    return names["value"]


@pytest.mark.parametrize("name", FRAMES)
def test_a_frame_arrives_as_it_is(name: str) -> None:
    pd.testing.assert_frame_equal(sent(FRAMES[name]), FRAMES[name], check_freq=False)


@pytest.mark.parametrize("series", [pd.Series([1, 2], ["x", "y"], name="a"), pd.Series([0.5]), pd.Series(TIMES)])
def test_a_series_arrives_as_it_is(series: Any) -> None:
    pd.testing.assert_series_equal(sent(series), series)


def test_frames_within_other_data_arrive_too() -> None:
    frame = FRAMES["numbers"]
    value = sent({"train": frame, "rest": [1, (frame, "x")], "missing": pd.NA})
    pd.testing.assert_frame_equal(value["train"], frame)
    pd.testing.assert_frame_equal(value["rest"][1][0], frame)
    assert value["rest"][0] == 1
    assert value["missing"] is pd.NA


@pytest.mark.parametrize(
    "frame",
    [
        pd.DataFrame({"a": pd.interval_range(0, 2)}),
        pd.DataFrame({"a": pd.Series([object()], dtype=object)}),
        pd.DataFrame({"a": [1j]}),
    ],
)
def test_a_column_that_json_cannot_hold_is_refused_with_the_name_of_the_variable(frame: Any) -> None:
    with pytest.raises(SerializationError, match=r"The variable value cannot be sent to the kernel without pickle"):
        variable_cells({"value": frame})


def test_what_has_no_frames_is_left_alone() -> None:
    value = {"a": [1, (2, 3)], "b": None}
    assert mark_frames(value) is value
    assert "_with_frames" not in "\n".join(loading_code({"value": value}))


def test_what_is_sent_is_json_and_never_pickle() -> None:
    ((_, code),) = variable_cells({"value": FRAMES["text"]})
    assert "pickle.loads" not in code
    assert (
        json.loads(SafeSerializer.dumps(mark_frames(FRAMES["text"])).removeprefix("safe:"))["__type__"] == "DataFrame"
    )
    assert files("nbtape.integrations.smolagents").joinpath("frame_cell.py").read_text("utf-8") in code
