"""The summary of a run in any notebook, whichever program wrote it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from nbtape import CodeBlock, JupyterCodeExecutor
from nbtape.notebook.read import read_unchecked
from nbtape.summary.outline import read_outline
from nbtape.summary.run_summary import summarise

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recorded session with a failure, a block that was not run, an image and a file."""
    directory = tmp_path_factory.mktemp("session")
    blocks = [
        "open('table.csv', 'w').write('1')",
        """from IPython.display import SVG\nSVG('<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>')""",
        "\n\nraise KeyError('x')",
        "print('never')",
    ]
    with JupyterCodeExecutor(output_dir=directory) as executor:
        executor.add_markdown("# A title")
        executor.execute_code_blocks([CodeBlock(code, "python") for code in blocks])
        return executor.notebook


def test_a_recorded_run_is_summarized_cell_by_cell(session: Path) -> None:
    run = summarise(read_outline(session))
    assert [cell.status for cell in run.cells] == ["ok", "ok", "error", "not_run"]
    assert [cell.index for cell in run.cells] == [1, 2, 3, 4]
    assert run.cells[0].files == ("table.csv",)
    assert run.cells[1].files == (f"{session.stem}_2_0.svg",)
    assert run.cells[2].first_line == "raise KeyError('x')"
    assert run.cells[2].error == "KeyError: 'x'"
    assert run.cells[3].seconds is None
    assert run.counts == {"ok": 2, "error": 1, "not_run": 1}
    assert [cell.index for cell in run.failed] == [3]
    assert 0 < run.seconds < 60
    assert run.started <= run.ended
    assert run.recorded_by.startswith("nbtape ")
    assert run.python
    json.dumps(run.to_dict())


def test_the_outline_gives_the_same_summary_as_the_whole_notebook(session: Path) -> None:
    assert summarise(read_outline(session)) == summarise(read_unchecked(session))
    assert read_outline(session)["cells"][2]["outputs"] == []


def test_a_notebook_in_another_layout_is_read_completely(session: Path, tmp_path: Path) -> None:
    (tmp_path / "dense.ipynb").write_text(json.dumps(json.loads(session.read_text())))
    (tmp_path / "mixed.ipynb").write_text(session.read_text().replace("\n   ],\n", "\n ],\n"))
    for name in ("dense.ipynb", "mixed.ipynb"):
        assert summarise(read_outline(tmp_path / name)) == summarise(read_unchecked(session))


def test_a_notebook_of_jupyterlab_is_summarized_too() -> None:
    times = {"iopub.execute_input": "2026-05-01T10:00:00Z", "shell.execute_reply": "2026-05-01T10:00:02.5Z"}
    error = new_output("error", ename="ValueError", evalue="one\ntwo", traceback=[])
    cells = [
        new_markdown_cell("prose"),
        new_code_cell("x", execution_count=1, metadata={"execution": times}),
        new_code_cell("y", execution_count=2, outputs=[error]),
        new_code_cell("z"),
    ]
    run = summarise(new_notebook(cells=cells, metadata={"kernelspec": {"name": "ir", "display_name": "R"}}))
    assert [(cell.status, cell.seconds) for cell in run.cells] == [("ok", 2.5), ("error", None), ("not_run", None)]
    assert run.cells[1].error == "ValueError: one"
    assert (run.started, run.ended) == ("2026-05-01T10:00:00Z", "2026-05-01T10:00:02.5Z")
    assert (run.kernel, run.recorded_by, run.python) == ("R", "", "")


NAMES = (
    "cell_type metadata outputs output_type source nbtape status files path tags execution shell.execute_reply "
    "ename evalue kernelspec environment extracted id"
)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(NAMES.split()), inner | st.sampled_from(["code", "error", "ok"]), max_size=6)
    ),
    max_leaves=25,
)
cell = st.fixed_dictionaries(
    {"cell_type": st.just("code")}, optional={"metadata": values, "outputs": values, "source": values}
)


@given(cells=st.lists(cell | st.dictionaries(st.text(max_size=4), values, max_size=3), max_size=3), metadata=values)
def test_no_content_of_a_notebook_is_an_error(cells: list[Any], metadata: Any) -> None:
    json.dumps(summarise({"cells": cells, "metadata": metadata}).to_dict())
