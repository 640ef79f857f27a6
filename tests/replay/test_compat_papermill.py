"""papermill has the internals that nbtape depends on."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from nbformat.v4 import new_code_cell, new_notebook, new_output
from papermill.exceptions import PapermillExecutionError  # type: ignore[import-untyped]
from papermill.execute import raise_for_execution_errors  # type: ignore[import-untyped]
from papermill.iorw import local_file_io_cwd, papermill_io  # type: ignore[import-untyped]

from nbtape.replay.compat_papermill import OutputEcho, excuse_errors, working_directory

CHANGED = "papermill has changed: adapt nbtape.replay.compat_papermill"


def test_the_directory_of_papermills_output_is_available(tmp_path: Path) -> None:
    handler = papermill_io.get_handler("local")
    assert hasattr(handler, "_cwd"), CHANGED
    with local_file_io_cwd(str(tmp_path)):
        assert working_directory() == tmp_path, CHANGED
    assert working_directory() == Path(handler._cwd or ".")


def test_papermill_raises_for_an_error_that_is_not_excused(tmp_path: Path) -> None:
    error = new_output("error", ename="ValueError", evalue="no", traceback=[])
    notebook = new_notebook(cells=[new_code_cell("f()", outputs=[error], execution_count=1)])
    with pytest.raises(PapermillExecutionError):
        raise_for_execution_errors(notebook, str(tmp_path / "a.ipynb"))
    cell = notebook.cells[-1]
    excuse_errors(cell)
    raise_for_execution_errors(new_notebook(cells=[cell]), str(tmp_path / "b.ipynb"))
    assert cell.outputs[0]["output_type"] == "error", "what is written stays as it is"


def test_papermill_writes_streams_to_its_files() -> None:
    out, err = io.StringIO(), io.StringIO()
    echo = OutputEcho({"stdout_file": out, "stderr_file": err}, log_output=False)
    echo.take(new_output("stream", name="stdout", text="1"))
    echo.take(new_output("stream", name="stderr", text="2"))
    assert (out.getvalue(), err.getvalue()) == ("1", "2"), CHANGED
