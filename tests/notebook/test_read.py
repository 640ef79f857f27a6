"""A notebook from any source is read, or rejected in one line that names the fault."""

from __future__ import annotations

import contextlib
import copy
import json
import tracemalloc
from typing import TYPE_CHECKING, Any

import pytest
from full_matrix import first
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nbtape.errors import NotebookReadError
from nbtape.export import html, markdown
from nbtape.notebook.format import kernel_name_of
from nbtape.notebook.read import MAX_DEPTH, parse_document, read_document, read_unchecked
from nbtape.summary.outline import read_outline
from nbtape.summary.run_summary import summarise
from nbtape.summary.wording import facts_of
from nbtape.watch.events import EventTracker
from nbtape.watch.snapshots import SnapshotReader

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

NOTEBOOK: dict[str, Any] = {
    "nbformat": 4,
    "nbformat_minor": 5,
    "metadata": {
        "kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"},
        "language_info": {"name": "python"},
        "nbtape": {"version": 1, "started": "2026-01-01T00:00:00+00:00", "revision": 1},
    },
    "cells": [
        {
            "id": "a",
            "cell_type": "code",
            "execution_count": 1,
            "source": "1",
            "metadata": {"tags": [], "nbtape": {"status": "ok", "duration": 1, "touched": [], "late": []}},
            "outputs": [{"output_type": "display_data", "metadata": {}, "data": {"application/json": {}}}],
        },
        {"id": "b", "cell_type": "markdown", "source": "text", "metadata": {}},
    ],
}


def nested(levels: int, *, is_list: bool = False) -> str:
    return "[" * levels + "0" + "]" * levels if is_list else '{"a":' * levels + "0" + "}" * levels


def placed(*path: str | int, text: str) -> str:
    """The notebook with some JSON inserted at a path."""
    document = copy.deepcopy(NOTEBOOK)
    place: Any = document
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = "@@"
    return json.dumps(document).replace('"@@"', text)


def follow(path: Path) -> None:
    snapshot = SnapshotReader(path).read()
    assert snapshot is not None
    list(EventTracker().events(snapshot))


def show(path: Path) -> None:
    facts_of(summarise(read_outline(path)))
    facts_of(summarise(read_unchecked(path)))


def convert(path: Path) -> None:
    notebook = read_document(path)
    kernel_name_of(notebook)
    html.render(notebook, "x")
    markdown.write_report(notebook, "x", "x_files")


PLACES: list[tuple[str | int, ...]] = [
    ("metadata", "x"),
    ("metadata", "nbtape"),
    ("cells", 0, "metadata", "x"),
    ("cells", 0, "outputs", 0, "data", "application/json"),
    ("cells", 1, "attachments"),
    ("x",),
]


@pytest.mark.parametrize("place", PLACES, ids=str)
@pytest.mark.parametrize("levels", [MAX_DEPTH, 900, 10_000])
@pytest.mark.parametrize("is_list", [False, True])
def test_a_deeply_nested_notebook_is_rejected_in_one_line(
    tmp_path: Path, place: tuple[str | int, ...], levels: int, *, is_list: bool
) -> None:
    path = tmp_path / "n.ipynb"
    path.write_text(placed(*place, text=nested(levels, is_list=is_list)))
    for read in (read_document, read_unchecked, follow, convert):
        with pytest.raises(NotebookReadError, match="nested more than 128 levels deep") as caught:
            read(path)
        assert "\n" not in str(caught.value)


def test_a_display_nested_as_deep_as_recordings_allow_is_read(tmp_path: Path) -> None:
    path = tmp_path / "n.ipynb"
    path.write_text(placed("cells", 0, "outputs", 0, "data", "application/json", text=nested(64)))
    for read in (read_document, read_unchecked, follow, show):
        read(path)


@pytest.mark.parametrize("bomb", ["[],", "{},", '"",', "[[]],", "0,"])
def test_a_notebook_with_too_many_values_is_rejected(tmp_path: Path, bomb: str) -> None:
    path = tmp_path / "n.ipynb"
    path.write_text(placed("metadata", "x", text="[" + bomb * 6_000_000 + "0]"))
    for read in (read_document, read_unchecked, show, follow):
        with pytest.raises(NotebookReadError, match="too many values"):
            read(path)


@pytest.mark.parametrize("bomb", first(2, ["[],", "0,", "{},", "[[]],", '"",']))
def test_a_notebook_with_too_many_values_is_rejected_before_it_uses_memory(tmp_path: Path, bomb: str) -> None:
    path = tmp_path / "n.ipynb"
    text = "[" + bomb * 6_000_000 + "0]"
    path.write_text(placed("metadata", "x", text=text))
    tracemalloc.start()  # which makes it ten times as slow
    with pytest.raises(NotebookReadError, match="too many values"):
        read_unchecked(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 3 * len(text) + 10_000_000


def test_long_text_does_not_count_as_values(tmp_path: Path) -> None:
    path = tmp_path / "n.ipynb"
    path.write_text(placed("cells", 0, "source", text=json.dumps(["[1, 2, 3], {},\n"] * 500_000)))
    assert len(read_unchecked(path)["cells"][0]["source"]) == 500_000


@pytest.mark.parametrize(
    ("place", "text"),
    [
        (("nbformat_minor",), "1" + "0" * 4000),
        (("nbformat_minor",), "true"),
        (("nbformat_minor",), '"5"'),
        (("metadata", "kernelspec"), '["python3"]'),
        (("metadata", "kernelspec", "name"), "7"),
        (("metadata", "language_info"), '"python"'),
        (("cells", 0, "metadata"), "[]"),
        (("cells", 0, "metadata", "tags"), '[{"a": 1}]'),
        (("cells", 0, "metadata", "tags"), "[" + '{"a": 1},' * 50_000 + "0]"),
        (("cells", 0, "metadata", "tags"), '"x"'),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_value_of_the_wrong_type_is_rejected(place: tuple[str | int, ...], text: str, tmp_path: Path) -> None:
    path = tmp_path / "n.ipynb"
    path.write_text(placed(*place, text=text))
    with pytest.raises(NotebookReadError, match="not a valid notebook"):
        read_document(path)
    show(path)


HEADING: dict[str, Any] = {"cell_type": "heading", "level": 10**9, "source": ["Title"], "metadata": {}}
CODE: dict[str, Any] = {
    "cell_type": "code",
    "input": "x = 1\nx",
    "language": "python",
    "prompt_number": 1,
    "metadata": {},
    "outputs": [{"output_type": "pyout", "prompt_number": 1, "metadata": {}, "text": ["1"]}],
}


def older(*cells: dict[str, Any], version: int = 3) -> str:
    worksheets = [{"cells": list(cells), "metadata": {}}]
    return json.dumps({"nbformat": version, "nbformat_minor": 0, "metadata": {}, "worksheets": worksheets})


@pytest.mark.parametrize("version", [3, 2])
def test_a_notebook_of_an_older_format_is_converted(tmp_path: Path, version: int) -> None:
    path = tmp_path / "n.ipynb"
    path.write_text(older(*([HEADING] if version == 3 else []), CODE, version=version))
    code = read_document(path)["cells"][-1]
    assert (code["cell_type"], code["source"], code["execution_count"]) == ("code", "x = 1\nx", 1)
    assert code["outputs"][0]["data"]["text/plain"] == "1"
    for read in (read_unchecked, show, follow, convert):
        read(path)


@pytest.mark.parametrize(
    "cells",
    [
        [{"cell_type": "code"}],
        [{**CODE, "outputs": [{}]}],
        [{**HEADING, "level": "high"}],
        [{**CODE, "metadata": {"tags": [{"a": number} for number in range(50_000)]}}],
        [7],
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_damaged_notebook_of_an_older_format_is_refused_in_one_line(tmp_path: Path, cells: list[Any]) -> None:
    path = tmp_path / "n.ipynb"
    path.write_text(older(*cells))
    for read in (read_document, read_unchecked, show, follow, convert):
        with pytest.raises(
            NotebookReadError, match=r"nbformat 3 and cannot be converted|not a valid notebook"
        ) as caught:
            read(path)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("version", "told"),
    [
        ("9", r"has nbformat 9, but nbtape reads nbformat 1 to 4\. Save it as nbformat 4"),
        ("0", r"has nbformat 0, but nbtape reads"),
        ('"4"', r'its nbformat is "4", not an integer\. Set it to 4\.'),
        ("4.0", r"its nbformat is 4\.0, not an integer"),
        ("null", r"its nbformat is null, not an integer"),
        ("true", r"its nbformat is true, not an integer"),
    ],
)
def test_another_format_is_named_with_what_to_do(tmp_path: Path, version: str, told: str) -> None:
    path = tmp_path / "n.ipynb"
    path.write_text(placed("nbformat", text=version))
    for read in (read_document, read_unchecked, show, follow, convert):
        with pytest.raises(NotebookReadError, match=told):
            read(path)


@pytest.mark.parametrize("minor", ['"5"', "null", "4.5", "[]"])
def test_an_invalid_minor_version_is_named_with_what_to_do(tmp_path: Path, minor: str) -> None:
    path = tmp_path / "n.ipynb"
    path.write_text(placed("nbformat_minor", text=minor))
    with pytest.raises(
        NotebookReadError, match=r"its nbformat_minor is .*, not an integer from 0 to 1000\. Set it to 5\."
    ):
        read_document(path)
    show(path)
    follow(path)


def test_a_later_minor_version_is_read(tmp_path: Path) -> None:
    path = tmp_path / "n.ipynb"
    path.write_text(placed("nbformat_minor", text="99"))
    for read in (read_document, read_unchecked, show, follow, convert):
        read(path)


def places(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """The paths of all values in JSON."""
    if path:
        yield path
    items: Any = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield from places(item, (*path, key))


NUMBERS = ["-1", "1e400", "NaN", "1" + "0" * 400]
STRINGS = ['""', '"x"', '"\\ud800"', '"\\u0000"', '"../../etc"']
OBJECTS = ["[]", "{}", "[null]", '[["x"]]', '{"": null}', '{"name": 5}', '{"status": []}', '[{"output": {}}]']
ODD = st.sampled_from(["null", "true", *NUMBERS, *STRINGS, *OBJECTS])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(sorted(places(NOTEBOOK), key=str)), ODD)
def test_an_odd_value_at_any_path_is_read_or_rejected(tmp_path: Path, place: tuple[str | int, ...], text: str) -> None:
    path = tmp_path / "n.ipynb"
    path.write_text(placed(*place, text=text))
    readers: list[Callable[[Path], object]] = [read_document, read_unchecked, show, follow, convert]
    for read in readers:
        with contextlib.suppress(NotebookReadError):
            read(path)


def test_a_journal_with_deep_nesting_or_too_many_values_is_ignored(tmp_path: Path) -> None:
    from nbtape.notebook.journal import _entry

    path = tmp_path / "n.ipynb"
    content = json.dumps(NOTEBOOK).encode()
    head = b"nbtape journal 1 2026-01-01T00:00:00+00:00 1\n"
    for evil in (nested(900), nested(10_000), nested(150, is_list=True), "[" + "[]," * 2_000_000 + "0]"):
        entry = b'{"x": %b}' % evil.encode()
        notebook = parse_document(path, content, head + _entry(("metadata", entry)))
        assert "x" not in notebook["metadata"]
