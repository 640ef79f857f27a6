"""A failure counts as one with or without an error output; `sys.exit(0)` is a success."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from executors import record, run
from nbformat.v4 import new_code_cell, new_output
from reading import code_cells

from nbtape import JupyterCodeExecutor, replay
from nbtape.export.clean import left_out
from nbtape.notebook.failures import FAILURE_NOTICE, exits_well, failure_of, reports_failure, without_interrupts
from nbtape.notebook.format import recorded_status
from nbtape.notebook.notices import tell_failure
from nbtape.notebook.output_text import cell_text
from nbtape.notebook.read import read_document
from nbtape.summary.outline import read_outline
from nbtape.summary.run_summary import summarise

if TYPE_CHECKING:
    from pathlib import Path

FAILING = ("%nosuchmagic", "raise ExceptionGroup('both', [ValueError('a'), TypeError('b')])", "%%nosuchcell\n1")
#: A failure of which the kernel prints nothing at all, as kernels of other languages do.
SILENT = "get_ipython().showtraceback = lambda *_, **__: None\n{}['missing']"

ADVICE = (
    "/x/interactiveshell.py:3831: UserWarning: To exit: use 'exit', 'quit', or Ctrl-D.\n"
    "  warn(\"To exit: use 'exit', 'quit', or Ctrl-D.\", stacklevel=1)\n"
)


def error(name: str, value: str) -> Any:
    return new_output("error", ename=name, evalue=value, traceback=[f"{name}: {value}"])


@pytest.mark.parametrize("value", ["", "None", "0", "False"])
def test_an_exit_without_a_code_is_a_success(value: str) -> None:
    assert exits_well(error("SystemExit", value))
    assert not reports_failure(error("SystemExit", value))
    cell = new_code_cell("", execution_count=1, outputs=[error("SystemExit", value)])
    assert recorded_status(cell) == "ok"


@pytest.mark.parametrize(("name", "value"), [("SystemExit", "1"), ("SystemExit", "no data"), ("ValueError", "0")])
def test_all_other_errors_are_failures(name: str, value: str) -> None:
    assert reports_failure(error(name, value))
    assert failure_of([error(name, value)]) == f"{name}: {value}"


@pytest.mark.parametrize("name", ["KeyboardInterrupt", "\x1b[0;31mKeyboardInterrupt\x1b[0m"])
def test_nothing_is_left_of_an_interrupt_that_arrived_while_the_first_one_was_formatted(name: str) -> None:
    outputs = [
        new_output("stream", text="KeyboardInterrupt\n"),
        new_output("stream", name="stderr", text=f"warning\n\n{name}\n\n"),
        error("KeyboardInterrupt", ""),
    ]
    printed, warned, raised = without_interrupts(outputs)
    assert printed["text"] == "KeyboardInterrupt\n", "the code printed it"
    assert warned["text"] == "warning\n"
    assert raised.get("text") == ""


def test_a_cell_that_failed_without_an_error_says_why() -> None:
    cell = new_code_cell("", execution_count=1, metadata={"nbtape": {"status": "error"}})
    assert recorded_status(cell) == "ok", "a person has run it again"
    tell_failure(cell, "KeyError: 'missing'")
    tell_failure(cell, "KeyError: 'missing'")
    assert [output["text"] for output in cell["outputs"]] == [f"{FAILURE_NOTICE}KeyError: 'missing']\n"]
    assert (recorded_status(cell), failure_of(cell["outputs"])) == ("error", "KeyError: 'missing'")


@pytest.mark.parametrize("text", [FAILURE_NOTICE, [FAILURE_NOTICE], [1], None, {}])
def test_a_notice_of_any_shape_is_read(text: Any) -> None:
    failure_of([{"output_type": "stream", "name": "stderr", "text": text}])


def test_a_model_is_not_advised_to_exit_the_kernel() -> None:
    streams = [new_output("stream", text="done\n"), new_output("stream", name="stderr", text=ADVICE)]
    assert cell_text([streams[0], error("SystemExit", "0"), streams[1]], {}) == "done\n"
    assert cell_text([streams[0], error("SystemExit", "2"), streams[1]], {}) == "done\nSystemExit: 2"
    assert cell_text(streams, {}) == f"done\n{ADVICE}", "the code printed it"


@pytest.mark.usefixtures("leaves_nothing")
def test_failures_without_an_error_are_failures_for_everyone(output_dir: Path) -> None:
    codes = [*FAILING, SILENT]
    with JupyterCodeExecutor(output_dir=output_dir, timeout=30) as executor:
        results = [run(executor, code) for code in codes]
        path = executor.notebook
    assert [result.status for result in results] == ["error"] * len(codes)
    assert results[-1].output == "\n[nbtape: this block failed: KeyError: 'missing']\n"
    assert all("error" not in {each["output_type"] for each in cell["outputs"]} for cell in code_cells(path))
    for document in (read_document(path), read_outline(path)):
        told = summarise(document)
        assert [cell.status for cell in told.cells] == ["error"] * len(codes)
        assert [cell.error.partition(":")[0] for cell in told.cells] == [
            "UsageError", "ExceptionGroup", "UsageError", "KeyError",
        ]  # fmt: skip
    assert [cell.index for cell in left_out(read_document(path))] == list(range(len(codes)))
    assert [cell.verdict for cell in replay(path).cells] == ["same_error"] * len(codes)
    with JupyterCodeExecutor.resume(path) as executor:
        executor.start()
        assert executor.resumption is not None
        assert [cell.status for cell in executor.resumption.cells] == [None] * len(codes)


@pytest.mark.usefixtures("leaves_nothing")
def test_a_clean_export_leaves_out_failures_without_an_error(output_dir: Path) -> None:
    path = record(output_dir, "x = 1", "%nosuchmagic", "print(x)")
    command = [sys.executable, "-m", "nbtape", "export", str(path), "--clean", "--to", "ipynb"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
