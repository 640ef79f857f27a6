"""How a cell ends, and what is recorded and reported of it: exits, help pages, half characters, stops."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest
from executors import run, stopped_by
from reading import read_notebook

from nbtape import JupyterCodeExecutor
from nbtape.session.kernel_messages import page_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="module")
def executor(warm_parent: object, tmp_path_factory: pytest.TempPathFactory) -> Iterator[JupyterCodeExecutor]:
    with JupyterCodeExecutor(warm_parent, output_dir=tmp_path_factory.mktemp("cells"), timeout=30) as executor:  # type: ignore[arg-type]
        yield executor


@pytest.mark.parametrize("code", ["import sys\nsys.exit(0)", "import sys; sys.exit()", "raise SystemExit"])
def test_an_exit_with_code_0_is_a_success_that_keeps_variables(executor: JupyterCodeExecutor, code: str) -> None:
    result = run(executor, "kept = 7", f"print('done')\n{code}", "print(kept)")
    assert [cell.status for cell in result.cells] == ["ok", "ok", "ok"]
    assert result.cells[1].output == "done\nThe code stopped itself (SystemExit). Variables are kept."
    assert (result.cells[1].error_name, result.cells[2].output) == (None, "7\n")


def test_an_exit_with_another_code_is_an_error_that_keeps_variables(executor: JupyterCodeExecutor) -> None:
    result = run(executor, "import sys\nsys.exit('no data')")
    assert (result.status, result.cells[0].error_name, result.cells[0].error_value) == (
        "error",
        "SystemExit",
        "no data",
    )
    assert result.output.endswith("Variables are kept.")
    assert "To exit: use" not in result.output


def test_exit_reports_whether_variables_are_kept(executor: JupyterCodeExecutor) -> None:
    result = run(executor, "kept = 7\nexit(1)\nprint('after')")
    assert (result.status, "after\n" in result.output) == ("ok", True)
    assert result.output.endswith("stops neither the code nor the kernel of a notebook. Variables are kept.")
    assert run(executor, "print(kept)").output == "7\n"
    assert run(executor, "exit()").output.endswith("Variables are gone; the next block gets a fresh kernel.")
    run(executor, "1")  # reports the fresh kernel


@pytest.mark.parametrize(("code", "text"), [("len?", "number of items"), ("%pinfo len", "number of items")])
def test_a_help_page_is_recorded_and_reported(executor: JupyterCodeExecutor, code: str, text: str) -> None:
    result = run(executor, f"print('before')\n{code}")
    assert result.output.startswith("before\n")
    assert text in result.output
    stream, page = executor.outputs(result.cells[0])
    assert (stream["output_type"], page["output_type"]) == ("stream", "display_data")
    assert text in page["data"]["text/plain"]


def test_a_profile_is_recorded_and_reported(executor: JupyterCodeExecutor) -> None:
    result = run(executor, "%prun sum(range(1000))")
    assert "function calls" in result.output
    assert "function calls" in executor.outputs(result.cells[0])[-1]["data"]["text/plain"]


@pytest.mark.parametrize("payload", [None, {}, [], [1], [{"source": "page"}], [{"source": "page", "data": 7}]])
def test_a_reply_of_any_shape_has_a_page_or_none(payload: object) -> None:
    reply = {"header": {}, "parent_header": {}, "content": {"payload": payload}}
    page = page_of(reply)
    assert page is None or page["header"]["msg_type"] == "display_data"
    assert page_of({**reply, "content": payload}) is None


def test_half_a_character_costs_nothing_else(executor: JupyterCodeExecutor) -> None:
    half = "import json\nhalf = json.loads('\"\\\\ud83d\"')\n"
    printed = run(
        executor, f"{half}print('before')\nprint(half, 'cut')\nimport sys\nprint(half, 'too', file=sys.stderr)"
    )
    assert printed.output == "before\n\N{REPLACEMENT CHARACTER} cut\n\N{REPLACEMENT CHARACTER} too\n"
    shown = run(executor, "from IPython.display import Markdown\nMarkdown('shown ' + half)")
    assert shown.status == "ok"
    failed = run(executor, "raise ValueError('bad ' + half)")
    assert "ValueError: bad \N{REPLACEMENT CHARACTER}" in failed.output
    assert (failed.cells[0].error_name, failed.cells[0].error_value) == (
        "ValueError", "bad \N{REPLACEMENT CHARACTER}",
    )  # fmt: skip
    assert run(executor, "print('\\ud83d', end='')\nprint('\\ude00')").output == "\N{GRINNING FACE}\n"
    read_notebook(executor.notebook)


@pytest.mark.usefixtures("leaves_nothing")
@pytest.mark.parametrize("end", [JupyterCodeExecutor.stop, JupyterCodeExecutor.restart])
def test_a_block_that_ends_with_its_kernel_does_not_claim_that_variables_are_kept(
    end: object, output_dir: Path
) -> None:
    begun = threading.Event()
    executor = JupyterCodeExecutor(output_dir=output_dir, timeout=30, on_output=lambda _: begun.set())
    result = stopped_by(executor, lambda: end(executor), begun)  # type: ignore[operator]
    assert result.status == "interrupted"
    assert "Variables are kept" not in result.output
    assert "Interrupted. The kernel is shut down. Variables are gone" in result.output
    executor.stop()
