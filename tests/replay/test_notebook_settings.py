"""A notebook does not choose its own verdict: its comparison settings apply only if it is trusted."""

from __future__ import annotations

import json
import time
import zlib
from typing import TYPE_CHECKING, Any

import nbformat
import pytest
from calling import nbtape
from lxml import html
from nbformat.v4 import new_code_cell, new_notebook, new_output
from reading import code_cells, stream_text

from nbtape import JupyterCodeExecutor, ReplaySettings, replay
from nbtape.export.clean_run import rehearse

if TYPE_CHECKING:
    from pathlib import Path

    from nbformat import NotebookNode

pytestmark = pytest.mark.usefixtures("leaves_nothing")

STARTED = "2026-01-01T00:00:00+00:00"


def claim(source: str, shown: str, ours: dict[str, Any] | None = None, *tags: str, count: int | None = 1) -> Any:
    """A cell with the recorded output `shown`, which need not be true."""
    metadata: dict[str, Any] = {"nbtape": {"status": "ok", "language": "python", **(ours or {})}}
    if tags:
        metadata["tags"] = list(tags)
    outputs = [new_output("stream", text=shown)] if shown else []
    return new_code_cell(source, execution_count=count, metadata=metadata, outputs=outputs)


def write(directory: Path, *cells: NotebookNode, name: str = "paper.ipynb") -> Path:
    nbformat.write(new_notebook(cells=list(cells)), directory / name)
    return directory / name


RELAXED = [
    claim("print('accuracy 0.51')", "accuracy 0.99\n", {"replay": {"extra": [".*"]}}),
    claim("print('p = 0.73')", "p = 0.0001\n", {"replay": {"absolute": 1e300, "relative": 1e300}}),
    claim("print('no effect')", "a strong effect\n", None, "nbval-ignore-output"),
    claim("print('no effect')", "a strong effect\n", None, "NBVAL_IGNORE_OUTPUT"),
    claim("print('never worked')", "it worked\n", None, "skip-execution"),
    claim("# NBVAL_IGNORE_OUTPUT\nprint('no effect')", "a strong effect\n"),
    claim("# NBVAL_SKIP\nprint('never worked')", "it worked\n"),
]


def test_settings_of_an_untrusted_notebook_are_listed_and_ignored(output_dir: Path) -> None:
    report = replay(write(output_dir, *RELAXED))
    assert [cell.verdict for cell in report.cells] == ["different"] * len(RELAXED)
    assert report.exit_code == 1
    names = "# NBVAL_IGNORE_OUTPUT, # NBVAL_SKIP, NBVAL_IGNORE_OUTPUT, metadata.nbtape.replay"
    assert f"ignored settings in blocks 1, 2, 3, 4, 5, 6, 7: {names}" in str(report)
    assert report.to_dict()["ignored_settings"] == [0, 1, 2, 3, 4, 5, 6]


def test_trusted_settings_have_their_own_verdicts_and_do_not_count_as_success(output_dir: Path) -> None:
    notebook = write(output_dir, *RELAXED)
    report = replay(notebook, trust_notebook_settings=True)
    assert report.counts == {"ignored": 5, "skipped": 2}
    assert report.exit_code == 1
    assert str(report).startswith("paper.ipynb: 5 ignored, 2 skipped.")
    assert report.to_dict()["ignored_settings"] == []
    assert replay(notebook, trust_notebook_settings=True, allow_ignored=True).exit_code == 0
    with pytest.raises(ValueError, match="trust_notebook_settings"):
        replay(notebook, allow_ignored=True)


def test_the_command_trusts_settings_only_with_the_option(output_dir: Path) -> None:
    write(output_dir, *RELAXED)
    done = nbtape("replay", "paper.ipynb", "--report", "report.html", cwd=output_dir)
    assert (done.returncode, "ignored settings in blocks" in done.stdout) == (1, True)
    page = html.fromstring((output_dir / "report.html").read_text())
    assert "ignored settings in blocks" in page.text_content()
    done = nbtape("replay", "paper.ipynb", "--trust-notebook-settings", "--json", cwd=output_dir)
    assert done.returncode == 1
    assert json.loads(done.stdout)["notebooks"][0]["counts"] == {"ignored": 5, "skipped": 2}
    done = nbtape("replay", "paper.ipynb", "--trust-notebook-settings", "--allow-ignored", cwd=output_dir)
    assert done.returncode == 0
    assert "5 ignored, 2 skipped." in done.stdout
    done = nbtape("replay", "paper.ipynb", "--allow-ignored", cwd=output_dir)
    assert (done.returncode, "--trust-notebook-settings" in done.stderr) == (2, True)


def test_trusted_settings_that_change_nothing_leave_the_verdict(output_dir: Path) -> None:
    notebook = write(output_dir, claim("print(1)", "1\n", {"replay": {"extra": ["x"]}}))
    report = replay(notebook, trust_notebook_settings=True)
    assert ([cell.verdict for cell in report.cells], report.exit_code) == (["same"], 0)


@pytest.mark.parametrize(
    "cell",
    [
        claim("print('no')", "yes\n", {"status": "not_run"}),
        claim("print('no')", "yes\n", {"status": "not_run"}, count=None),
        claim("print('no')", "yes\n", {"status": "not_run"}, "skip-execution", count=None),
        claim("print('no')", "yes\n", {"status": ""}, count=None),
        claim("print('no')", "yes\n", {"status": "running"}),
        claim("print('no')", "yes\n", {"status": "running"}, "raises-exception", count=None),
        claim("print('no')", "", None, "skip-execution"),
        claim("1/0", "", {"status": ""}, "raises-exception", count=None),
        claim("1/0", "yes\n", {"status": "running"}, "raises-exception"),
    ],
)
def test_a_cell_with_outputs_is_compared_whatever_its_status_or_tags(output_dir: Path, cell: NotebookNode) -> None:
    report = replay(write(output_dir, cell))
    assert report.cells[0].verdict in {"different", "error"}, report
    assert report.exit_code == 1


def test_the_output_of_an_unfinished_cell_is_compared(output_dir: Path) -> None:
    code = "print('first')\nprint('second')"
    report = replay(write(output_dir, claim(code, "first\nsec", {"status": "running"})))
    assert report.cells[0].verdict == "same", report


def test_a_cell_recorded_as_not_run_is_not_run(output_dir: Path) -> None:
    cells = [claim("1/0", "", {"status": "not_run"}, "skip-execution", count=None), claim("print(1)", "1\n")]
    report = replay(write(output_dir, *cells))
    assert [(cell.verdict, cell.replayed) for cell in report.cells] == [("same", "not_run"), ("same", "ok")]
    assert report.ignored_settings == {}


def test_a_forged_directory_masks_nothing(output_dir: Path) -> None:
    notebook = new_notebook(cells=[claim("import os\nprint('accuracy', os.getcwd())", "accuracy 0.99\n")])
    environment = {"python": "3", "platform": "x", "directory": "0.99", "packages": {}, "local": [], "utc_offset": 0}
    notebook["metadata"]["nbtape"] = {"version": 1, "environment": environment}
    nbformat.write(notebook, output_dir / "paper.ipynb")
    assert [cell.verdict for cell in replay(output_dir / "paper.ipynb").cells] == ["different"]


@pytest.mark.parametrize("pattern", [r"(a|aa)+$", pytest.param(r"(\w+\s?)+!$", marks=pytest.mark.full)])
def test_a_pattern_that_never_finishes_is_reported_and_does_not_hang(output_dir: Path, pattern: str) -> None:
    text = "a" * 60 + "?"
    notebook = write(output_dir, claim(f"print({text!r} + '1')", f"{text}\n", {"replay": {"extra": [pattern]}}))
    began = time.monotonic()
    report = replay(notebook, trust_notebook_settings=True)
    assert (report.cells[0].verdict, "patterns in extra= took more than" in report.cells[0].reason) == (
        "different",
        True,
    )
    assert time.monotonic() - began < 60
    mine = replay(notebook, settings=ReplaySettings(extra=(pattern,)))
    assert "patterns in extra= took more than" in mine.cells[0].reason


def test_a_pattern_that_uses_too_much_memory_is_reported(output_dir: Path) -> None:
    extra = ["x*"] * 30
    notebook = write(output_dir, claim("print('b' * 99)", "a" * 99 + "\n", {"replay": {"extra": extra}}))
    assert "too much memory" in replay(notebook, trust_notebook_settings=True).cells[0].reason


def hide(notebook: Path, source: str) -> None:
    """Put a cell into the journal next to a notebook, as an untrusted bundle may contain it."""
    node = nbformat.read(notebook, as_version=4)
    node["metadata"]["nbtape"] = {"version": 1, "started": STARTED, "revision": 3}
    nbformat.write(node, notebook)
    content = json.dumps(claim(source, "hidden\n")).encode()
    head = f"nbtape journal 1 {STARTED} 3\ncell {len(content)} {zlib.crc32(content):08x}\n".encode()
    notebook.with_name(f".{notebook.name}.journal").write_bytes(head + content + b"\n")


@pytest.mark.parametrize(
    "command", [["replay"], ["show"], ["show", "--cell", "1"], ["export"], ["export", "--clean"], ["environment"]]
)
def test_a_hidden_journal_is_mentioned_but_neither_read_nor_run(output_dir: Path, command: list[str]) -> None:
    notebook = write(output_dir, claim("x = 1", ""), name="n.ipynb")
    hide(notebook, "open('RAN', 'w').close()\nprint('hidden')")
    done = nbtape(command[0], "n.ipynb", *command[1:], cwd=output_dir)
    assert "n.ipynb has unsaved changes in .n.ipynb.journal; `nbtape run --resume` recovers them." in done.stderr
    assert not (output_dir / "RAN").exists()
    assert "print('hidden')" not in done.stdout
    assert all("print('hidden')" not in path.read_text() for path in output_dir.glob("n-*.ipynb"))


def test_watch_ignores_a_hidden_journal(output_dir: Path) -> None:
    notebook = write(output_dir, claim("x = 1", ""), name="n.ipynb")
    hide(notebook, "print('hidden')")
    done = nbtape("watch", "n.ipynb", cwd=output_dir)
    assert "hidden" not in done.stdout + done.stderr


def test_only_resume_recovers_a_killed_recording(output_dir: Path) -> None:
    notebook = write(output_dir, claim("x = 1", ""), name="n.ipynb")
    hide(notebook, "print('recovered')")
    with JupyterCodeExecutor.resume(notebook):
        pass
    assert stream_text(code_cells(notebook)[1]) == "hidden\n"


def test_a_clean_export_runs_cells_with_a_skip_tag(output_dir: Path) -> None:
    notebook = write(output_dir, claim("x = 1", "", None, "skip-execution"), claim("print(x)", "1\n"))
    assert rehearse(notebook).broken is None
