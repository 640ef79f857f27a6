"""What a model reads of an output is short and aligned, and names what is left out. Bundles are recorded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from nbtape.notebook.model_text import model_text
from nbtape.notebook.output_text import cell_text
from nbtape.notebook.tables import MAX_LINE_CHARS, MAX_ROWS, frame_text, styled_table

#: MIME bundles of pandas and IPython, by what they show.
BUNDLES: dict[str, dict[str, Any]] = json.loads(Path(__file__).with_name("bundles.json").read_text())
FRAMES = {"long": (45, 2), "large": (120, 30), "wide": (1, 12), "groups": (4, 14)}


def told(data: dict[str, Any]) -> str:
    return model_text([{"output_type": "display_data", "data": data, "metadata": {}}], {})


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("markdown", "The mean is **4.2**"),
        ("latex", r"$\displaystyle x = 3$"),
        ("json", '{"a": 1}'),
        ("html", "Report\nThe mean is 4.2"),
        ("audio", "[audio]"),
        ("small", "   a  b\n0  1  x\n1  2  é\n[2 rows x 2 columns]"),
        ("empty", "Empty DataFrame\nColumns: [a, b]\nIndex: []"),
    ],
)
def test_the_best_text_of_a_bundle_is_read(name: str, text: str) -> None:
    assert told(BUNDLES[name]) == text


@pytest.mark.parametrize("name", FRAMES)
def test_a_dataframe_is_bounded_and_has_its_shape(name: str) -> None:
    *lines, shape = told(BUNDLES[name]).split("\n")
    assert shape == "[{} rows x {} columns]".format(*FRAMES[name])
    assert len(lines) <= MAX_ROWS + 4
    assert max(map(len, lines)) <= MAX_LINE_CHARS
    assert not any(line.endswith("\\") for line in lines), "columns are not wrapped"
    assert len({len(line) for line in lines[-3:]}) == 1 or name == "wide", "columns are aligned"


def test_the_first_and_last_rows_and_columns_of_a_dataframe_are_kept() -> None:
    header, first, *_, last, _shape = told(BUNDLES["large"]).split("\n")
    assert (header.split()[:2], header.split()[-2:]) == (["column", "0"], ["column", "29"])
    assert first.split()[:2] == ["0", "0.000000"]
    assert last.split()[-1] == "514.142857"
    assert " ... " in header


def test_labels_of_several_levels_are_kept() -> None:
    lines = told(BUNDLES["groups"]).split("\n")
    assert lines[0].split() == ["sales", "costs"]
    assert lines[2].split() == ["region", "shop"]
    assert lines[3].startswith("north   a <b> ")
    assert lines[4].startswith("        c & d ")


def test_people_read_a_dataframe_as_it_was_recorded() -> None:
    output = {"output_type": "display_data", "data": BUNDLES["large"], "metadata": {}}
    assert cell_text([output], {}) == BUNDLES["large"]["text/plain"]


def test_a_styled_table_is_named_in_one_line() -> None:
    line = "[Styled table: Sales by region (2 rows x 2 columns: region, sales). To read the values, display its .data.]"
    assert told(BUNDLES["styler"]) == line


@pytest.mark.parametrize(
    "data",
    [
        {"text/plain": "x"},
        {"text/plain": "shape: (1, 1)", "text/html": '<div><style>.dataframe</style><table class="dataframe"></table>'},
        {"text/plain": "x", "text/html": BUNDLES["small"]["text/html"].replace("<table", "<p")},
        {"text/plain": 7, "text/html": 7},
        {},
    ],
)
def test_other_tables_keep_their_own_text(data: dict[str, Any]) -> None:
    assert (frame_text(data), styled_table(data)) == (None, "")
