"""Hidden and bidirectional characters are shown as escapes in every form except notebooks and scripts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import nbformat
import pytest
from calling import nbtape
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output, new_raw_cell

from nbtape.export.html import render
from nbtape.export.markdown import write_report
from nbtape.replay.html_report import render as render_report
from nbtape.replay.report import ReplayedCell, ReplayReport

if TYPE_CHECKING:
    from pathlib import Path

    from nbformat import NotebookNode

HIDDEN = "\u202e\u2066\u2069\u200e\u200f\u061c\u200b\u2060\ufeff\u00ad\U000e0041\u3164\u2028\x1b\x85"
CODE = f'access = "user"\nif access != "user\u202e \u2066# check\u2069 \u2066":\n    grant()\nuse\u200br = "{HIDDEN}"\n'


def notebook(language: str = "python") -> NotebookNode:
    ours = {"status": "error", "note": CODE, "touched": [CODE], "files": [{"path": CODE}]}
    outputs = [
        new_output("stream", text=CODE),
        new_output("display_data", {"text/plain": CODE}),
        new_output("display_data", {"text/html": f"<table title='{HIDDEN}'><tr><td>{CODE}&#x202e;</td></tr></table>"}),
        new_output("display_data", {"text/markdown": CODE}),
        new_output("error", ename=CODE, evalue=CODE, traceback=[CODE]),
    ]
    prose = f"prose {HIDDEN}\n\n```python\n{CODE}```\n\n```\n{CODE}```\n\n`{HIDDEN}` [x](https://a.example/{HIDDEN})"
    cells = [
        new_code_cell(CODE, id="a", execution_count=1, metadata={"nbtape": ours}, outputs=outputs),
        new_code_cell(CODE * 500, id="b"),
        new_markdown_cell(prose, id="c"),
        new_markdown_cell(prose * 500, id="d"),
        new_raw_cell(CODE, id="e"),
    ]
    metadata = {
        "language_info": {"name": language},
        "kernelspec": {"name": "x", "display_name": HIDDEN},
        "nbtape": {"started": HIDDEN, "server": HIDDEN},
    }
    return new_notebook(cells=cells, metadata=metadata)  # type: ignore[no-any-return]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    nbformat.write(notebook(), path := tmp_path / "n.ipynb")
    return path


def assert_visible(text: str) -> None:
    assert [char for char in HIDDEN if char in text] == []
    assert "\\u202e" in text


@pytest.mark.parametrize("language", ["python", "unknown", "autoit"])
def test_a_page_marks_hidden_characters(language: str) -> None:
    page = render(notebook(language), f"{HIDDEN}.ipynb")
    assert_visible(page)
    assert '<span class="escape">\\u202e</span>' in page


def test_a_report_shows_hidden_characters() -> None:
    assert_visible(write_report(notebook(), f"{HIDDEN}.ipynb", "files").text)


@pytest.mark.parametrize("cell", range(5))
def test_a_terminal_shows_hidden_characters(cell: int, path: Path) -> None:
    assert_visible(nbtape("show", path.name, "--cell", cell, cwd=path.parent).stdout)


def test_a_replay_report_marks_hidden_characters(path: Path) -> None:
    cell = ReplayedCell(0, "a", "different", CODE, CODE, CODE)
    page = render_report([ReplayReport(path, path, [cell])])
    assert_visible(page)
    assert '<span class="escape">\\u202e</span>' in page


def test_notebooks_and_scripts_keep_hidden_characters_and_scripts_cause_a_warning(path: Path) -> None:
    before = path.read_bytes()
    done = nbtape("export", path.name, "--to", "py", "-o", "o.py", cwd=path.parent)
    assert done.returncode == 0
    assert 'use\u200br = "' in (path.parent / "o.py").read_text()
    assert "block 1" in done.stderr
    assert "\\u202e, \\u2066" in done.stderr
    assert path.read_bytes() == before
    nbtape("export", path.name, "--to", "ipynb", "-o", "o.ipynb", cwd=path.parent)
    assert nbformat.read(path.parent / "o.ipynb", as_version=4).cells[0].source == CODE
    assert "nbtape" not in nbtape("export", path.name, "--to", "md", "-o", "o.md", cwd=path.parent).stderr


def test_emoji_and_complex_scripts_are_kept_in_prose_and_outputs() -> None:
    text = "👨‍👩‍👧 ❤️‍🔥 می‌خواهم क्‍ष"
    cells = [new_markdown_cell(text), new_code_cell("", outputs=[new_output("stream", text=text)])]
    assert render(new_notebook(cells=cells), "x").count(text) == 2
    assert write_report(new_notebook(cells=cells), "x", "files").text.count(text) == 2
