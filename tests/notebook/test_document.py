"""The notebook file: byte for byte nbformat's, always complete, and safe from full disks and planted links."""

from __future__ import annotations

import base64
import contextlib
import fcntl
import gc
import json
import os
import shutil
import stat
import subprocess
import tempfile
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import nbformat
import psutil  # type: ignore[import-untyped,unused-ignore]
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output, new_raw_cell

from nbtape import CodeBlock, CodeResult, JupyterCodeExecutor, NotebookWriteError
from nbtape.common.untrusted_files import Directory
from nbtape.notebook.atomic_write import publish
from nbtape.notebook.document import Notebook
from nbtape.notebook.lock import WriterLock
from nbtape.session.extracted_files import FileExtractor

METADATA = {
    "kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"},
    "language_info": {"name": "python", "codemirror_mode": {"name": "ipython", "version": 3}},
}
TEXTS = st.text(alphabet=st.characters() | st.sampled_from('\n\r\x0b\x0c\x1c\u2028\u2029\x85\0"\\é😀'), max_size=30)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)
MIMES = ["text/plain", "text/html", "image/png", "image/svg+xml", "application/javascript", "application/pdf"]


def as_nbformat_writes(path: Path) -> bytes:
    """The bytes that nbformat would write, after a check that the notebook is valid."""
    notebook = nbformat.read(path, nbformat.NO_CONVERT)
    nbformat.validate(notebook)
    text: str = nbformat.writes(notebook)
    return (text + "\n").encode()


def drafts(directory: Path) -> list[str]:
    return [path.name for path in directory.iterdir() if path.name.endswith(".tmp")]


def stream(text: str) -> Any:
    return new_output("stream", name="stdout", text=text)


def display(data: dict[str, Any], metadata: dict[str, Any] | None = None) -> Any:
    return new_output("display_data", data=data, metadata=metadata or {})


OUTPUTS = {
    "none": [],
    "streams": [stream("a\nb"), new_output("stream", name="stderr", text="\x1b[31mred\x1b[0m\n"), stream("")],
    "line ends": [stream("a\r\nb\x0bc\x0cd\x1ce\u2028f\u2029g\x85h\n\n"), display({"text/plain": "a\r\nb\x0c\u2028c"})],
    "unicode": [stream('é😀\0\x01\x7f"\\/ </script>')],
    "empty texts": [display({"text/plain": "", "text/html": "\n", "application/json": {}}), display({})],
    "all types": [display(dict.fromkeys(MIMES, "one\ntwo"))],
    "json": [display({"application/json": {"b": [], "a": [1, 1.0, -0.0, 1e300, 10**30, True, None, {}]}})],
    "json that is a text": [display({"application/json": "a\nb", "application/vnd.x+json": ["a\n", "b"]})],
    "metadata": [display({"image/png": "aaaa"}, {"image/png": {"width": 7}, "needs_background": "light", "é": "\n"})],
    "results": [new_output("execute_result", data={"text/plain": "1\n2"}, metadata={}, execution_count=3)],
    "errors": [new_output("error", ename="E", evalue="a\nb", traceback=["\x1b[0;31m-\n-", "", "z"])],
}


@pytest.mark.parametrize("outputs", OUTPUTS.values(), ids=OUTPUTS)
@pytest.mark.parametrize("source", ["", "x = 1", "a\n\nb\n", 'é\u2028"\\\0\r\n'])
def test_a_notebook_is_byte_for_byte_what_nbformat_writes(tmp_path: Path, source: str, outputs: list[Any]) -> None:
    notebook = Notebook.create(tmp_path, "session", METADATA)
    assert notebook.path.read_bytes() == as_nbformat_writes(notebook.path)
    notebook.add_markdown(source, {})
    index = notebook.add_code(source, {"nbtape": {"status": "ok"}, "tags": ["a"]})
    notebook.cells[index]["outputs"] = outputs
    notebook.cells[index]["execution_count"] = 7
    notebook.add_code("last", {})
    notebook.save()
    assert notebook.path.read_bytes() == as_nbformat_writes(notebook.path)
    read = nbformat.read(notebook.path, 4)
    assert [cell["source"] for cell in read["cells"]] == [source, source, "last"]
    assert read["cells"][1]["outputs"] == outputs
    assert (read["nbformat"], read["nbformat_minor"]) == (4, 5)


@pytest.mark.parametrize("outputs", OUTPUTS.values(), ids=OUTPUTS)
def test_a_notebook_that_was_opened_keeps_every_byte_of_its_cells(tmp_path: Path, outputs: list[Any]) -> None:
    path = tmp_path / "theirs.ipynb"
    attachments = {"a.svg": {"image/svg+xml": "<svg>\n</svg>"}, "b.png": {"image/png": "AAAA"}}
    cells = [
        new_code_cell("x\n\u2028y", outputs=outputs, execution_count=1, metadata={"é": [1.5, None], "tags": ["a"]}),
        new_markdown_cell("![a](attachment:a.svg)", attachments=attachments),
        new_raw_cell("", metadata={"format": "text/x-rst"}),
    ]
    nbformat.write(new_notebook(cells=cells, metadata={**METADATA, "title": "Mine"}), path)
    before = path.read_bytes()
    notebook = Notebook.open(path)
    notebook.save()
    assert path.read_bytes() == before
    notebook.add_code("mine", {})
    notebook.save()
    assert path.read_bytes().startswith(before[: before.rindex(b'\n ],\n "metadata"')])
    assert path.read_bytes() == as_nbformat_writes(path)
    notebook.close()


def test_a_notebook_of_a_later_minor_version_keeps_its_version(tmp_path: Path) -> None:
    path = tmp_path / "later.ipynb"
    later = {**new_notebook(), "nbformat_minor": 6}
    path.write_text(json.dumps(later))
    notebook = Notebook.open(path)
    notebook.add_code("x", {})
    notebook.save()
    notebook.close()
    assert json.loads(path.read_bytes())["nbformat_minor"] == 6


def test_a_duplicate_cell_id_is_replaced_when_a_notebook_is_opened(tmp_path: Path) -> None:
    path = tmp_path / "copied.ipynb"
    cell = new_markdown_cell("twin", id="twin")
    path.write_text(json.dumps({**new_notebook(), "cells": [cell, cell, {**cell, "id": "other"}]}))
    notebook = Notebook.open(path)
    first, second, third = (cell["id"] for cell in notebook.cells)
    assert (first, third) == ("twin", "other")
    assert second not in {first, third}
    notebook.close()


def test_a_draft_locked_by_another_process_is_still_published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    notebook = Notebook.create(tmp_path, "session", METADATA)
    guessed = uuid.uuid4()
    draft = tmp_path / f".session.ipynb.{guessed.hex[:12]}.tmp"
    held: list[Any] = []

    def lock_first(directory: Directory, name: str) -> WriterLock | None:
        held.append(draft.open("rb"))
        fcntl.flock(held[0], fcntl.LOCK_EX)
        return take(directory, name)

    take = WriterLock.take
    notebook.add_markdown("x", {})
    monkeypatch.setattr("nbtape.common.untrusted_files.uuid.uuid4", lambda: guessed)
    monkeypatch.setattr(WriterLock, "take", lock_first)
    notebook.save()
    assert nbformat.read(notebook.path, 4)["cells"][0]["source"] == "x"
    held[0].close()


CELL = st.fixed_dictionaries(
    {
        "source": TEXTS,
        "metadata": st.dictionaries(TEXTS, JSON, max_size=3),
        "streams": st.lists(
            TEXTS.filter(lambda text: not any(0xD800 <= ord(char) < 0xE000 for char in text)), max_size=3
        ),
    }
)


@given(st.lists(st.tuples(st.integers(0, 5), CELL, st.booleans()), max_size=12))
def test_cells_changed_in_any_order_are_all_on_disk_after_a_save(
    changes: list[tuple[int, dict[str, Any], bool]],
) -> None:
    with tempfile.TemporaryDirectory() as directory:
        notebook = Notebook.create(Path(directory), "session", METADATA)
        for position, content, saved in changes:
            index = position
            if position >= len(notebook.cells):
                index = notebook.add_code(content["source"], content["metadata"])
            notebook.cells[index]["outputs"] = [stream(text) for text in content["streams"]]
            notebook.touch(index)
            if saved:
                notebook.save()
        notebook.save()
        assert notebook.path.read_bytes() == as_nbformat_writes(notebook.path)
        assert nbformat.read(notebook.path, 4)["cells"] == list(notebook.cells)


def test_every_cell_has_a_unique_and_stable_id(tmp_path: Path) -> None:
    notebook = Notebook.create(tmp_path, "session", METADATA)
    for number in range(50):
        notebook.add_code(str(number), {})
    ids = [cell["id"] for cell in notebook.cells]
    notebook.save()
    assert len(set(ids)) == 50
    assert [cell["id"] for cell in nbformat.read(notebook.path, 4)["cells"]] == ids


def test_a_text_of_more_than_1_mib_is_written_as_one_string(tmp_path: Path) -> None:
    text = "line\n" * 300_000
    notebook = Notebook.create(tmp_path, "session", METADATA)
    notebook.cells[notebook.add_code("x", {})]["outputs"] = [stream(text)]
    notebook.save()
    assert json.loads(notebook.path.read_bytes())["cells"][0]["outputs"][0]["text"] == text
    read = nbformat.read(notebook.path, 4)
    nbformat.validate(read)
    assert read["cells"][0]["outputs"][0]["text"] == text


def test_a_save_without_a_change_writes_nothing(tmp_path: Path) -> None:
    notebook = Notebook.create(tmp_path, "session", METADATA)
    before = notebook.path.stat()
    notebook.save()
    assert notebook.path.stat() == before


# Names


def test_a_taken_name_gets_a_number_and_the_existing_file_is_kept(tmp_path: Path) -> None:
    (tmp_path / "session.ipynb").write_text("somebody's")
    (tmp_path / "session-2.ipynb").symlink_to(tmp_path / "nowhere")
    (tmp_path / "session-3.ipynb").mkdir()
    notebook = Notebook.create(tmp_path, "session", METADATA)
    assert notebook.path == tmp_path / "session-4.ipynb"
    assert (tmp_path / "session.ipynb").read_text() == "somebody's"
    assert not (tmp_path / "nowhere").exists()
    assert drafts(tmp_path) == []


def test_taken_names_are_skipped_without_writing_a_draft(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(2, 100):
        (tmp_path / f"session-{number}.ipynb").touch()
    (tmp_path / "session.ipynb").touch()
    published = list[Path]()

    def noted_publish(directory: Directory, name: str, *arguments: Any) -> Any:
        published.append(directory.path / name)
        return publish(directory, name, *arguments)

    monkeypatch.setattr("nbtape.notebook.file.publish", noted_publish)
    notebook = Notebook.create(tmp_path, "session", METADATA)
    assert published == [notebook.path] == [tmp_path / "session-100.ipynb"]


def test_notebooks_created_at_the_same_time_get_different_names(tmp_path: Path) -> None:
    count, rounds = 8, 40

    def create(number: int) -> list[Notebook]:
        try:
            return [create_at_once(turn, number) for turn in range(rounds)]
        finally:
            barrier.abort()

    def create_at_once(turn: int, number: int) -> Notebook:
        with contextlib.suppress(threading.BrokenBarrierError):
            barrier.wait(timeout=10)
        return Notebook.create(tmp_path, f"session{turn}", {"number": number})

    barrier = threading.Barrier(count)
    with ThreadPoolExecutor(count) as pool:
        notebooks = [notebook for made in pool.map(create, range(count)) for notebook in made]
    assert len({notebook.path for notebook in notebooks}) == count * rounds
    for notebook in notebooks:
        assert json.loads(notebook.path.read_bytes())["metadata"]["number"] == notebook.node["metadata"]["number"]
    assert drafts(tmp_path) == []


def test_creating_a_notebook_never_replaces_one_that_is_being_saved(tmp_path: Path) -> None:
    first = Notebook.create(tmp_path, "session", {"number": 1})
    over = threading.Event()

    def create() -> None:
        while not over.is_set():
            Notebook.create(tmp_path, "session", {"number": 2}).path.unlink()

    with ThreadPoolExecutor(1) as pool:
        creating = pool.submit(create)
        try:
            for turn in range(1500):
                first.add_markdown(str(turn), {})
                first.save()
                assert json.loads(first.path.read_bytes())["metadata"]["number"] == 1
        finally:
            over.set()
        creating.result(timeout=30)


# Open files


def test_a_forgotten_notebook_leaves_no_file_open(tmp_path: Path) -> None:
    gc.disable()  # Collection happens at arbitrary times, and the count of open files is small.
    try:
        before = open_files()
        for _ in range(20):
            Notebook.create(tmp_path, "session", METADATA).save()
        assert open_files() <= before
    finally:
        gc.enable()


def test_rapid_saves_keep_few_files_open(tmp_path: Path) -> None:
    notebook = Notebook.create(tmp_path, "session", METADATA)
    before = open_files()
    for turn in range(200):
        notebook.add_markdown(str(turn), {})
        notebook.save()
    assert open_files() - before < 50


def open_files() -> int:
    count: int = psutil.Process().num_fds()
    return count


# Links and permissions


def test_a_link_at_the_path_of_a_draft_is_not_written_through(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Drafts have random names; this test guesses one."""
    victim = tmp_path / "victim"
    victim.write_text("precious")
    notebook = Notebook.create(tmp_path, "session", METADATA)
    guessed = uuid.uuid4()
    notebook.add_markdown("x", {})
    with monkeypatch.context() as patch:
        patch.setattr("nbtape.common.untrusted_files.uuid.uuid4", lambda: guessed)
        (tmp_path / f".session.ipynb.{guessed.hex[:12]}.tmp").symlink_to(victim)
        with pytest.raises(NotebookWriteError):
            notebook.save()
    notebook.save()
    assert victim.read_text() == "precious"
    assert not notebook.path.is_symlink()
    assert notebook.path.read_bytes() == as_nbformat_writes(notebook.path)
    assert drafts(tmp_path) == []


def test_a_link_at_the_path_of_an_extracted_file_is_not_written_through(tmp_path: Path) -> None:
    victim, planted = tmp_path / "victim", tmp_path / "session_1_0.png"
    victim.write_text("precious")
    planted.symlink_to(victim)
    (tmp_path / "session_1_0-2.png").symlink_to(tmp_path / "nowhere")
    extractor = FileExtractor(tmp_path, "session")
    for data in ("AAAA", "BBBB"):
        extraction = extractor.extract(0, 1, [display({"image/png": data})])
        assert extraction.files == [
            {"path": str(tmp_path / "session_1_0-3.png"), "output": 0, "mime_type": "image/png"}
        ]
        assert (tmp_path / "session_1_0-3.png").read_bytes() == base64.b64decode(data)
    assert victim.read_text() == "precious"
    assert planted.is_symlink()
    assert not (tmp_path / "nowhere").exists()


def test_a_link_that_replaced_an_extracted_file_is_not_written_through(tmp_path: Path) -> None:
    victim, own = tmp_path / "victim", tmp_path / "session_1_0.png"
    victim.write_text("precious")
    extractor = FileExtractor(tmp_path, "session")
    extractor.extract(0, 1, [display({"image/png": "AAAA"})])
    own.unlink()
    own.symlink_to(victim)
    extractor.extract(0, 1, [display({"image/png": "BBBB"})])
    assert victim.read_text() == "precious"
    assert not own.is_symlink()


def test_a_link_that_replaced_the_notebook_is_replaced_and_permissions_are_kept(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    notebook = Notebook.create(tmp_path, "session", METADATA)
    usual = stat.S_IMODE(notebook.path.stat().st_mode)
    notebook.path.unlink()
    notebook.path.symlink_to(victim)
    notebook.add_markdown("x", {})
    notebook.save()
    assert victim.read_text() == "precious"
    assert not notebook.path.is_symlink()
    assert stat.S_IMODE(notebook.path.stat().st_mode) == usual


def test_a_hard_link_that_replaced_the_notebook_is_not_written_through(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    notebook = Notebook.create(tmp_path, "session", METADATA)
    notebook.path.unlink()
    notebook.path.hardlink_to(victim)
    notebook.add_markdown("x", {})
    notebook.save()
    assert victim.read_text() == "precious"


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o664])
def test_permissions_set_by_the_user_are_kept(tmp_path: Path, mode: int) -> None:
    notebook = Notebook.create(tmp_path, "session", METADATA)
    notebook.path.chmod(mode)
    notebook.add_markdown("x", {})
    notebook.save()
    assert stat.S_IMODE(notebook.path.stat().st_mode) == mode


def test_a_new_notebook_has_the_default_permissions_of_new_files(tmp_path: Path) -> None:
    notebook = Notebook.create(tmp_path, "session", METADATA)
    (tmp_path / "any").touch()
    assert notebook.path.stat().st_mode == (tmp_path / "any").stat().st_mode


# Obstacles; see also tests/common/test_untrusted_files.py


@pytest.mark.timeout(20)
def test_a_shared_lock_on_a_file_that_replaced_the_notebook_does_not_delay_a_save(tmp_path: Path) -> None:
    notebook = Notebook.create(tmp_path, "session", {**METADATA, "nbtape": {"started": "2026-11-30T00:00:00+00:00"}})
    content = notebook.path.read_bytes()
    notebook.path.unlink()
    notebook.path.write_bytes(content)
    with notebook.path.open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_SH)
        notebook.add_markdown("x", {})
        notebook.save()
    assert nbformat.read(notebook.path, 4)["cells"][0]["source"] == "x"
    notebook.close()


@pytest.mark.timeout(20)
def test_a_fifo_that_replaced_the_notebook_does_not_block_a_flush(tmp_path: Path) -> None:
    notebook = Notebook.create(tmp_path, "session", METADATA)
    notebook.path.unlink()
    os.mkfifo(notebook.path)
    with pytest.raises(OSError, match="it is a FIFO, not a regular file: remove it"):
        notebook.file.flush()


def test_a_replaced_draft_is_not_published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    notebook = Notebook.create(tmp_path, "session", METADATA)
    before = notebook.path.read_bytes()

    def write_and_swap(directory: Directory, name: str, *arguments: Any, **options: Any) -> os.stat_result:
        written = write_new(directory, name, *arguments, **options)
        (tmp_path / name).unlink()
        (tmp_path / name).symlink_to("/dev/zero")
        return written

    write_new = Directory.write_new
    notebook.add_markdown("x", {})
    with monkeypatch.context() as patch:
        patch.setattr(Directory, "write_new", write_and_swap)
        with pytest.raises(
            NotebookWriteError, match=r"another process replaces its temporary files. Stop that process"
        ):
            notebook.save()
    assert notebook.path.read_bytes() == before
    assert drafts(tmp_path) == []
    notebook.save()
    assert nbformat.read(notebook.path, 4)["cells"][0]["source"] == "x"


# Faults on the document itself


def refused(notebook: Notebook, reason: str) -> None:
    """A save fails with the reason and the remedy, and leaves nothing incomplete."""
    with pytest.raises(NotebookWriteError) as caught:
        notebook.save()
    assert caught.value.path == notebook.path
    assert reason in str(caught.value)
    assert caught.value.__cause__ is not None


def test_a_read_only_notebook_is_not_written_until_it_is_writable(tmp_path: Path) -> None:
    notebook = Notebook.create(tmp_path, "session", METADATA)
    before = notebook.path.read_bytes()
    notebook.path.chmod(0o444)
    notebook.add_markdown("kept", {})
    refused(notebook, "chmod u+w")
    assert notebook.path.read_bytes() == before
    assert drafts(tmp_path) == []
    notebook.path.chmod(0o644)
    notebook.save()
    assert nbformat.read(notebook.path, 4)["cells"][0]["source"] == "kept"


def test_a_recreated_directory_gets_the_whole_notebook(tmp_path: Path) -> None:
    directory = tmp_path / "coding"
    directory.mkdir()
    notebook = Notebook.create(directory, "session", METADATA)
    notebook.add_markdown("first", {})
    notebook.save()
    shutil.rmtree(directory)
    notebook.add_markdown("second", {})
    refused(notebook, "Create it.")
    directory.mkdir()
    notebook.save()
    assert [cell["source"] for cell in nbformat.read(notebook.path, 4)["cells"]] == ["first", "second"]


def test_a_directory_at_the_path_of_the_notebook_is_reported(tmp_path: Path) -> None:
    notebook = Notebook.create(tmp_path, "session", METADATA)
    notebook.path.unlink()
    notebook.path.mkdir()
    notebook.add_markdown("x", {})
    refused(notebook, "directory")
    assert drafts(tmp_path) == []


def test_a_notebook_cannot_be_created_in_a_missing_directory(tmp_path: Path) -> None:
    with pytest.raises(NotebookWriteError, match="its directory does not exist"):
        Notebook.create(tmp_path / "none", "session", METADATA)


def fill(disk: Path) -> Path:
    """Fill the disk with a file, and return its path."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(b"x" * 4096)
        except OSError:
            return filler


def test_a_full_disk_damages_nothing_and_the_next_successful_save_writes_everything(small_disk: Path) -> None:
    notebook = Notebook.create(small_disk, "session", METADATA)
    notebook.add_markdown("first", {})
    notebook.save()
    before = notebook.path.read_bytes()
    notebook.file.release_replaced()
    filler = fill(small_disk)
    notebook.add_markdown("second", {})
    refused(notebook, "the disk is full. Free some space.")
    refused(notebook, "the disk is full. Free some space.")
    assert notebook.path.read_bytes() == before
    assert drafts(small_disk) == []
    filler.unlink()
    notebook.add_markdown("third", {})
    notebook.save()
    assert notebook.path.read_bytes() == as_nbformat_writes(notebook.path)
    assert [cell["source"] for cell in nbformat.read(notebook.path, 4)["cells"]] == ["first", "second", "third"]


def test_a_save_too_large_for_the_disk_fails_and_leaves_the_notebook_unchanged(small_disk: Path) -> None:
    notebook = Notebook.create(small_disk, "session", METADATA)
    before = notebook.path.read_bytes()
    notebook.add_markdown("x" * 600_000, {})
    refused(notebook, "the disk is full")
    assert notebook.path.read_bytes() == before
    assert drafts(small_disk) == []


def test_creating_a_notebook_on_a_full_disk_leaves_no_file(small_disk: Path) -> None:
    fill(small_disk)
    with pytest.raises(NotebookWriteError, match="the disk is full"):
        Notebook.create(small_disk, "session", METADATA)
    assert [path.name for path in small_disk.iterdir()] == ["filler"]


def test_a_disk_that_became_read_only_is_reported(small_disk: Path) -> None:
    notebook = Notebook.create(small_disk, "session", METADATA)
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    notebook.add_markdown("kept", {})
    refused(notebook, "Mount it writable.")
    subprocess.run(["mount", "-o", "remount,rw", str(small_disk)], check=True)
    notebook.save()
    assert nbformat.read(notebook.path, 4)["cells"][0]["source"] == "kept"


# Faults in the middle of a session


def run(executor: JupyterCodeExecutor, *codes: str) -> CodeResult:
    return executor.execute_code_blocks([CodeBlock(code, "python") for code in codes])


def sources(executor: JupyterCodeExecutor) -> list[str]:
    nbformat.validate(nbformat.read(executor.notebook, 4))
    return [cell["source"] for cell in nbformat.read(executor.notebook, 4)["cells"]]


#: Fills the disk once this block is in the notebook, including the space freed when the replaced file is deleted.
FILL = """
import time
while 'filler' not in open('session.ipynb').read():
    time.sleep(0.01)
print('before')
began = time.monotonic()
with open('filler', 'wb', buffering=0) as file:
    while time.monotonic() < began + 2:
        try:
            file.write(b'x' * 4096)
        except OSError:
            time.sleep(0.01)
print('full')
"""


def test_replaced_versions_free_their_space_when_it_is_needed(small_disk: Path) -> None:
    notebook = Notebook.create(small_disk, "session", METADATA)
    notebook.add_markdown("x" * 100_000, {})
    for number in range(12):
        notebook.add_markdown(str(number), {})
        notebook.save()
    assert len(nbformat.read(notebook.path, 4)["cells"]) == 13


def test_a_block_that_fills_the_disk_loses_neither_output_nor_recorded_cells(small_disk: Path) -> None:
    with JupyterCodeExecutor(output_dir=small_disk) as executor:
        run(executor, "x = 377")
        with pytest.raises(NotebookWriteError, match="Free some space") as caught:
            run(executor, FILL, "print('never run')")
        assert caught.value.result is not None
        assert caught.value.result.cells[0].output == "before\nfull\n"
        assert caught.value.result.output.startswith("before\nfull\n")
        assert sources(executor)[:2] == ["x = 377", FILL], "what was on disk is there and valid"

        with pytest.raises(NotebookWriteError, match="Free some space") as caught:
            run(executor, "print('nor this')")
        assert caught.value.result is not None
        assert caught.value.result.status == "not_run", "what cannot be recorded is not run"
        assert "nor this" not in caught.value.result.output

        (small_disk / "filler").unlink()
        assert run(executor, "print(x)").output == "377\n"
        assert sources(executor) == ["x = 377", FILL, "print('never run')", "print('nor this')", "print(x)"]
        cells = nbformat.read(executor.notebook, 4)["cells"]
        assert [cell["metadata"]["nbtape"]["status"] for cell in cells] == ["ok", "ok", "not_run", "not_run", "ok"]
        assert cells[1]["outputs"][0]["text"] == "before\nfull\n"
        assert executor.notebook.read_bytes() == as_nbformat_writes(executor.notebook)


def test_the_result_in_the_error_has_a_cell_for_each_block(small_disk: Path) -> None:
    with JupyterCodeExecutor(output_dir=small_disk) as executor:
        with pytest.raises(NotebookWriteError) as caught:
            run(executor, FILL, "print('never run')")
        (small_disk / "filler").unlink()
        assert caught.value.result is not None
        assert [cell.status for cell in caught.value.result.cells] == ["ok", "not_run"]
        assert caught.value.result.exit_code != 0, "a program that reads the exit code must not take this for success"


def test_a_session_on_a_full_disk_fails_and_starts_once_there_is_space(small_disk: Path) -> None:
    filler = fill(small_disk)
    executor = JupyterCodeExecutor(output_dir=small_disk)
    with pytest.raises(NotebookWriteError, match="Free some space"):
        run(executor, "print('never run')")
    filler.unlink()
    with executor:
        assert run(executor, "print(377)").output == "377\n"


def test_a_restart_notice_is_kept_when_a_block_cannot_be_recorded(small_disk: Path) -> None:
    with JupyterCodeExecutor(output_dir=small_disk) as executor:
        run(executor, "x = 1")
        executor.restart()
        filler = fill(small_disk)
        with pytest.raises(NotebookWriteError):
            run(executor, f"'{'x' * 50_000}'")
        filler.unlink()
        assert "variables of earlier blocks are gone" in run(executor, "3").cells[0].note


def test_a_save_that_fails_while_a_block_runs_does_not_stop_the_block(small_disk: Path) -> None:
    code = (
        FILL
        + "import os, time\nfor n in range(12):\n    print(n, flush=True)\n    time.sleep(0.1)\nos.remove('filler')"
    )
    with JupyterCodeExecutor(output_dir=small_disk) as executor:
        result = run(executor, code)
        assert result.status == "ok"
        expected = "before\nfull\n" + "".join(f"{n}\n" for n in range(12))
        assert result.output == expected
        assert nbformat.read(executor.notebook, 4)["cells"][0]["outputs"][0]["text"] == expected
        assert executor.notebook.read_bytes() == as_nbformat_writes(executor.notebook)


def test_an_image_that_does_not_fit_on_the_disk_is_reported_and_leaves_no_file(small_disk: Path) -> None:
    fill(small_disk)
    extraction = FileExtractor(small_disk, "session").extract(0, 1, [display({"image/png": "AAAA" * 60_000})])
    assert extraction.files == []
    assert extraction.lines[0][0].startswith("Image data could not be saved as a file (No space left on device)")
    assert [path.name for path in small_disk.iterdir()] == ["filler"]


def test_a_block_that_removes_the_directory_loses_neither_output_nor_recorded_cells(tmp_path: Path) -> None:
    directory = tmp_path / "coding"
    remove = f"import shutil\nshutil.rmtree({str(directory)!r})\nprint('removed')"
    with JupyterCodeExecutor(output_dir=directory) as executor:
        run(executor, "x = 377")
        with pytest.raises(NotebookWriteError, match=r"its directory does not exist\. Create it") as caught:
            run(executor, remove)
        assert caught.value.result is not None
        assert caught.value.result.output == "removed\n"
        directory.mkdir()
        assert run(executor, "print(x)").output == "377\n"
        assert sources(executor) == ["x = 377", remove, "print(x)"]


def test_a_notebook_made_read_only_during_a_session_is_not_written_and_loses_no_cells(tmp_path: Path) -> None:
    with JupyterCodeExecutor(output_dir=tmp_path) as executor:
        run(executor, "x = 377")
        with pytest.raises(NotebookWriteError, match="chmod u\\+w") as caught:
            run(executor, "import os\nprint('before')\nos.chmod('session.ipynb', 0o444)")
        assert caught.value.result is not None
        assert caught.value.result.output == "before\n"
        executor.notebook.chmod(0o644)
        assert run(executor, "print(x)").output == "377\n"
        assert len(sources(executor)) == 3


def test_the_kernel_is_stopped_even_if_the_last_save_fails(small_disk: Path) -> None:
    executor = JupyterCodeExecutor(output_dir=small_disk)
    pid = int(run(executor, "import os\nprint(os.getpid())").output)
    with pytest.raises(NotebookWriteError):
        run(executor, FILL)
    with pytest.raises(NotebookWriteError):
        executor.stop()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
