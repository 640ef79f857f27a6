"""papermill with nbtape's engine: a session with failures is replayed and saved while it runs."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

import nbformat
import papermill  # type: ignore[import-untyped]
import pytest
from executors import record, run, stopped_by
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from papermill.exceptions import PapermillExecutionError  # type: ignore[import-untyped]
from reading import code_cells, eventually, read_notebook, stream_text

from nbtape import JupyterCodeExecutor, KernelNotInstalledError

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("leaves_nothing")

KERNEL = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}


def again(notebook: Path, **options: Any) -> Path:
    """Run a notebook with papermill, and return the path of the result."""
    out = notebook.with_name("again.ipynb")
    options = {"directory": notebook.parent, **options}
    papermill.execute_notebook(notebook, out, engine_name="nbtape", progress_bar=False, **options)
    return out


def statuses(notebook: Path) -> list[str]:
    return [cell["metadata"]["nbtape"]["status"] for cell in code_cells(notebook)]


def test_a_session_with_recorded_failures_exits_cleanly(output_dir: Path) -> None:
    notebook = record(
        output_dir,
        "kept = 7",
        "print('before')\n1/0",
        "print('begun', flush=True)\nimport time\ntime.sleep(60)",
        "import os\nos._exit(3)",
        "print('kept' in globals())",
        timeout=2,
    )
    command = [sys.executable, "-m", "papermill", "--engine", "nbtape", "session.ipynb", "again.ipynb"]
    done = subprocess.run(command, cwd=output_dir, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    out = output_dir / "again.ipynb"
    assert statuses(out) == statuses(notebook) == ["ok", "error", "timeout", "kernel_died", "ok"]
    nbformat.validate(read_notebook(out))
    cells = code_cells(out)
    assert [output["output_type"] for output in cells[1]["outputs"]] == ["stream", "error"]
    assert stream_text(cells[2]) == "begun\n"
    assert stream_text(cells[4]) == "False\n"
    assert [cell["id"] for cell in cells] == [cell["id"] for cell in code_cells(notebook)]
    assert [cell["metadata"]["papermill"]["status"] for cell in cells] == ["completed"] * 5


def test_an_unexpected_failure_stops_the_rest_and_papermill_raises(output_dir: Path) -> None:
    once = "import os\nassert not os.path.exists('once'), 'again'\nopen('once', 'w').close()"
    notebook = record(output_dir, once, "print('rest')")
    with pytest.raises(PapermillExecutionError, match="again"):
        again(notebook)
    out = output_dir / "again.ipynb"
    assert statuses(out) == ["error", "not_run"]
    assert code_cells(out)[1]["outputs"] == []


def test_an_unexpected_failure_does_not_stop_a_run_with_keep_going(output_dir: Path) -> None:
    once = "import os\nassert not os.path.exists('once'), 'again'\nopen('once', 'w').close()"
    notebook = record(output_dir, once, "print('rest')")
    with pytest.raises(PapermillExecutionError, match="again"):
        again(notebook, keep_going=True)
    assert statuses(output_dir / "again.ipynb") == ["error", "ok"]


def test_an_unexpected_kernel_death_is_an_error_for_papermill(output_dir: Path) -> None:
    deadly = "import os\nif os.path.exists('once'):\n    os._exit(7)\nopen('once', 'w').close()"
    notebook = record(output_dir, deadly, "print('rest')")
    with pytest.raises(PapermillExecutionError):
        again(notebook)
    assert statuses(output_dir / "again.ipynb") == ["kernel_died", "not_run"]


def test_output_over_the_limit_is_cut_with_a_notice(output_dir: Path) -> None:
    (cell,) = code_cells(again(record(output_dir, "print('x' * 20_000_000)")))
    assert len(stream_text(cell)) == 16_000_000
    assert "4,000,001 characters of output are left out" in stream_text(cell, "stderr")


def test_cells_that_were_not_run_are_skipped(output_dir: Path) -> None:
    with JupyterCodeExecutor(output_dir=output_dir) as executor:
        run(executor, "1/0", "print('never')")
        run(executor, "print('next')")
    assert statuses(again(executor.notebook)) == ["error", "not_run", "ok"]


def test_an_interrupted_cell_is_stopped_after_the_same_time(output_dir: Path) -> None:
    begun = threading.Event()
    with JupyterCodeExecutor(output_dir=output_dir, on_output=lambda _: begun.set()) as executor:
        stopped_by(executor, executor.interrupt, begun)
    assert statuses(executor.notebook) == ["interrupted", "not_run"]
    cell, _ = code_cells(again(executor.notebook))
    assert (cell["metadata"]["nbtape"]["status"], cell["metadata"]["nbtape"]["timeout"]) == ("timeout", 1.0)
    assert stream_text(cell) == "begun\n"


def test_a_notebook_that_nbtape_did_not_record_runs(output_dir: Path) -> None:
    cells = [
        new_markdown_cell("# Title"),
        new_code_cell("x = 6", execution_count=1),
        new_code_cell("x * 7"),
        new_code_cell("raise ValueError(x)", execution_count=3, outputs=[new_output("error", ename="ValueError")]),
        new_code_cell("never", metadata={"tags": ["skip-execution"]}),
    ]
    notebook = output_dir / "foreign.ipynb"
    nbformat.write(new_notebook(cells=cells, metadata=KERNEL), notebook)
    out = again(notebook)
    assert statuses(out) == ["ok", "ok", "error", "not_run"]
    assert code_cells(out)[1]["outputs"][0]["data"]["text/plain"] == "42"


def test_parameters_are_injected_after_the_tagged_cell(output_dir: Path) -> None:
    cells = [
        new_code_cell("n = 1", metadata={"tags": ["parameters"]}, execution_count=1),
        new_code_cell("print(n)", execution_count=2, outputs=[new_output("stream", text="1\n")]),
    ]
    notebook = output_dir / "with_parameters.ipynb"
    nbformat.write(new_notebook(cells=cells, metadata=KERNEL), notebook)
    assert stream_text(code_cells(again(notebook, parameters={"n": 5}))[2]) == "5\n"


def test_parameters_of_a_session_are_variables_and_papermill_overrides_them(output_dir: Path) -> None:
    with JupyterCodeExecutor(output_dir=output_dir) as executor:
        result = executor.parameters(n=14, name="a'b", limits=[0.5, None], by={"x": True})
        assert (result.status, result.output) == ("ok", "")
        assert run(executor, "print(n, name, limits, by)").output == "14 a'b [0.5, None] {'x': True}\n"
    assert code_cells(executor.notebook)[0]["metadata"]["tags"] == ["parameters"]
    out = again(executor.notebook, parameters={"n": 5})
    assert [cell["metadata"]["tags"] for cell in code_cells(out)[:2]] == [["parameters"], ["injected-parameters"]]
    assert stream_text(code_cells(out)[2]) == "5 a'b [0.5, None] {'x': True}\n"


def test_parameters_that_are_not_finite_are_valid_json(output_dir: Path) -> None:
    with JupyterCodeExecutor(output_dir=output_dir) as executor:
        executor.parameters(rate=0.5)
        run(executor, "print(rate)")
    out = again(executor.notebook, parameters={"rate": math.nan})
    document = json.loads(out.read_text(), parse_constant=pytest.fail)
    assert document["metadata"]["papermill"]["parameters"] == {"rate": "nan"}
    assert stream_text(code_cells(out)[2]) == "nan\n"


def test_comments_for_nbval_have_no_effect_in_papermill(output_dir: Path) -> None:
    out = again(record(output_dir, "# NBVAL_SKIP\n# NBVAL_IGNORE_OUTPUT\nprint(1)"))
    assert (statuses(out), stream_text(code_cells(out)[0])) == (["ok"], "1\n")


def test_the_notebook_is_saved_while_it_runs_and_complete_after_an_interrupt(output_dir: Path) -> None:
    notebook = record(output_dir, "print('first')", "open('begun', 'w').close()")
    node = read_notebook(notebook)
    node.cells += [new_code_cell("import time\nprint('waits', flush=True)\ntime.sleep(600)"), new_code_cell("1")]
    nbformat.write(node, notebook)
    (output_dir / "begun").unlink()
    command = [sys.executable, "-m", "papermill", "--engine", "nbtape", "session.ipynb", "again.ipynb"]
    out = output_dir / "again.ipynb"
    with subprocess.Popen(command, cwd=output_dir, stderr=subprocess.DEVNULL) as process:
        assert eventually((output_dir / "begun").exists, 60)
        assert eventually(lambda: stream_text(code_cells(out)[2]) == "waits\n", 30)
        process.send_signal(signal.SIGINT)
        assert process.wait(30) != 0
    nbformat.validate(read_notebook(out))
    assert [stream_text(cell) for cell in code_cells(out)] == ["first\n", "", "waits\n", ""]
    assert statuses(out) == ["ok", "ok", "interrupted", "not_run"]


def test_a_relative_output_path_is_relative_to_where_papermill_was_called(output_dir: Path) -> None:
    record(output_dir, "import os\nprint(os.path.basename(os.getcwd()))")
    (output_dir / "inner").mkdir()
    command = [sys.executable, "-m", "papermill", "--engine", "nbtape", "--cwd", "inner"]
    command += ["session.ipynb", "again.ipynb"]
    done = subprocess.run(command, cwd=output_dir, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (cell,) = code_cells(output_dir / "again.ipynb")
    assert stream_text(cell) == "inner\n"
    assert not list((output_dir / "inner").iterdir())


def test_a_missing_kernel_is_reported(output_dir: Path) -> None:
    notebook = record(output_dir, "1")
    with pytest.raises(KernelNotInstalledError):
        again(notebook, kernel_name="absent")


def test_streams_are_written_to_the_files_given_to_papermill(output_dir: Path) -> None:
    notebook = record(output_dir, "import sys\nprint('out')\nprint('err', file=sys.stderr)")
    with open(output_dir / "out.txt", "w") as out, open(output_dir / "err.txt", "w") as err:  # noqa: PTH123  (papermill's)
        again(notebook, stdout_file=out, stderr_file=err)
    assert ((output_dir / "out.txt").read_text(), (output_dir / "err.txt").read_text()) == ("out\n", "err\n")


def test_the_kernel_works_in_the_given_directory(output_dir: Path) -> None:
    notebook = record(output_dir, "import os\nprint(os.getcwd())")
    (elsewhere := output_dir / "elsewhere").mkdir()
    assert stream_text(code_cells(again(notebook, directory=elsewhere))[0]) == f"{os.path.realpath(elsewhere)}\n"
