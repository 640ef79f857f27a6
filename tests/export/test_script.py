"""The exported script: only code cells become code, and `nbtape run` can read it."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from nbtape.export.script import write_script
from nbtape.messages.code_blocks import CodeBlock, Prose
from nbtape.messages.transcripts import read_source

if TYPE_CHECKING:
    from pathlib import Path

ENDS_OF_LINES = ["\n", "\r", "\r\n", "\x0b", "\x0c", "\x1c", "\x1d", "\x1e", "\x85", "\u2028", "\u2029"]


@pytest.mark.parametrize("end", ENDS_OF_LINES, ids=ascii)
def test_prose_is_never_code(end: str) -> None:
    evil = f"text{end}import os; os.abort()"
    metadata = {
        "nbtape": {"started": evil, "recorded_by": evil, "image": evil},
        "kernelspec": {"display_name": evil, "name": evil},
    }
    cells = [
        new_markdown_cell(evil, metadata={"x": evil}),
        new_code_cell("x = 1", metadata={"title": evil, "tags": ["parameters"]}),
    ]
    script = write_script(new_notebook(cells=cells, metadata=metadata), f"a{end}b.ipynb")
    assert [ast.unparse(line) for line in ast.parse(script).body] == ["x = 1"]


def test_an_exported_script_is_read_back_unchanged(tmp_path: Path) -> None:
    cells = [
        new_markdown_cell("# A title\n\ntext"),
        new_code_cell("%pip list\n!ls\nx = 1"),
        new_code_cell("%%bash\necho"),
    ]
    (tmp_path / "a.py").write_text(write_script(new_notebook(cells=cells), "a.ipynb"))
    parts = read_source(str(tmp_path / "a.py"))
    assert [part.text if isinstance(part, Prose) else part.code for part in parts][-3:] == [
        "# A title\n\ntext",
        "%pip list\n!ls\nx = 1",
        "%%bash\necho",
    ]
    assert isinstance(parts[-1], CodeBlock)


def test_a_notebook_in_another_language_is_rejected() -> None:
    with pytest.raises(ValueError, match="in R, but a script must be Python"):
        write_script(new_notebook(metadata={"language_info": {"name": "R"}}), "a.ipynb")
