"""Cells moved out of memory come back unchanged, whatever the code does to the notebook meanwhile."""

from __future__ import annotations

import gc
import json
import weakref
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nbformat.v4 import new_code_cell, new_output

from nbtape.notebook import cell_store
from nbtape.notebook.cell_store import Shelf

if TYPE_CHECKING:
    from pathlib import Path

    from nbformat import NotebookNode


def cell(text: str) -> NotebookNode:
    made: NotebookNode = new_code_cell("x", outputs=[new_output("stream", name="stdout", text=text)])
    return made


def large(number: int) -> NotebookNode:
    return cell(f"{number}\n" * 200_000)


def as_json(cells: Shelf) -> Any:
    """The cells as they would be written, after a check of their length."""
    written = b"".join(cells.pieces())
    assert len(written) == cells.length
    return json.loads(b"[" + written + b"]")


@pytest.fixture
def full(tmp_path: Path) -> Shelf:
    """Ten cells of 0.5 to 1 MB, of which only some fit in memory."""
    cells = Shelf([], tmp_path)
    for number in range(10):
        cells.append(large(number))
        cells.encode()
        cells.spill()
    return cells


def in_memory(cells: Shelf) -> set[int]:
    gc.collect()
    return set(cells._nodes) | set(cells._held)


def test_cells_moved_out_of_memory_come_back_unchanged(full: Shelf) -> None:
    assert 0 not in in_memory(full)
    assert [made["outputs"] for made in full] == [large(number)["outputs"] for number in range(10)]
    assert [len(made["outputs"][0]["text"]) for made in as_json(full)] == [200_000] * 10


def test_the_most_recently_used_cells_stay_in_memory_within_the_limit(full: Shelf) -> None:
    kept = in_memory(full)
    assert kept == set(range(10 - len(kept), 10))
    assert sum(2 * len(full._encoded[index]) for index in kept) <= cell_store.MAX_MEMORY_BYTES
    full[0]
    full.spill()
    assert 0 in in_memory(full)
    assert len(in_memory(full)) <= len(kept)


def test_a_referenced_cell_stays_the_same_object(full: Shelf) -> None:
    held = full[0]
    for number in range(1, 10):
        full[number]
    full.spill()
    assert 0 not in full._nodes
    assert full[0] is held
    held["outputs"][0]["text"] = "changed"
    full.touch(0)
    for number in range(1, 10):
        full[number]
    full.spill()
    full.encode()
    del held
    full.spill()
    assert full[0]["outputs"][0]["text"] == "changed"
    assert as_json(full)[0]["outputs"][0]["text"] == ["changed"]


def test_a_cell_with_an_unencoded_change_stays_in_memory(full: Shelf) -> None:
    full[0]["metadata"]["new"] = True
    full.touch(0)
    for number in range(1, 10):
        full[number]
    full.spill()
    assert 0 in full._nodes
    assert [index for index, _ in full.encode()] == [0]


def test_stored_cells_leave_no_visible_file(full: Shelf, tmp_path: Path) -> None:
    assert full._file is not None
    assert list(tmp_path.iterdir()) == []


def test_without_a_directory_all_cells_stay_in_memory_as_the_same_objects() -> None:
    given_cells = [large(number) for number in range(10)]
    cells = Shelf(given_cells, None)
    cells.spill()
    assert all(mine is theirs for mine, theirs in zip(cells, given_cells, strict=True))


def test_an_unreferenced_cell_leaves_memory(tmp_path: Path) -> None:
    cells = Shelf([], tmp_path)
    first = large(0)
    gone = weakref.ref(first)
    cells.append(first)
    del first
    for number in range(1, 10):
        cells.append(large(number))
    cells.encode()
    cells.spill()
    gc.collect()
    assert gone() is None


def test_a_full_disk_keeps_cells_in_memory_and_stored_cells_intact(small_disk: Path) -> None:
    cells = Shelf([], small_disk)
    for number in range(100):
        cells.append(cell(f"{number} " + "x" * 100_000))
        cells.encode()
        cells.spill()
    assert 0 not in in_memory(cells)
    assert len(in_memory(cells)) > 90
    assert [made["outputs"][0]["text"][0].split()[0] for made in as_json(cells)] == list(map(str, range(100)))


@given(steps=st.lists(st.tuples(st.integers(0, 6), st.text(max_size=20), st.sampled_from("arep")), max_size=40))
def test_written_cells_are_correct_whichever_ones_are_in_memory(
    steps: list[tuple[int, str, str]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    cells, meant = Shelf([], tmp_path_factory.mktemp("shelf")), list[str]()
    before, cell_store.MAX_MEMORY_BYTES = cell_store.MAX_MEMORY_BYTES, 4 * 4096  # type: ignore[misc]
    try:
        for position, text, step in steps:
            if step == "a" or position >= len(meant):
                cells.append(cell(text))
                meant.append(text)
            elif step == "r":
                assert cells[position]["outputs"][0]["text"] == meant[position]
            else:
                cells[position]["outputs"][0]["text"] = meant[position] = text
                cells.touch(position)
            if step == "p":
                cells.encode()
                cells.spill()
                assert ["".join(made["outputs"][0]["text"]) for made in as_json(cells)] == meant
    finally:
        cell_store.MAX_MEMORY_BYTES = before  # type: ignore[misc]


def test_unchanged_cells_are_joined_once_and_not_with_every_save(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cell_store, "MAX_MEMORY_BYTES", 100 * 4096)
    join, joined = cell_store._join, 0

    def counted_join(*arguments: Any) -> None:
        nonlocal joined
        joined += 1
        join(*arguments)

    monkeypatch.setattr(cell_store, "_join", counted_join)
    cells = Shelf([], tmp_path)
    for number in range(1000):
        cells.append(cell(str(number)))
        cells.encode()
        for _ in cells.pieces():
            pass
        cells.spill()
    assert 0 not in cells._nodes
    assert joined < 50 * len(cells)
