"""A recording opened in JupyterLab while it is made uses the kernel that makes it."""

from __future__ import annotations

import dataclasses
import logging
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from executors import blocks, run
from jupyter_servers import TOKEN, ask, kernels_of
from jupyterlab_pages import opened
from playwright.sync_api import expect
from reading import code_cells, eventually, stream_text

from nbtape import JupyterCodeExecutor

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from jupyterlab_pages import Lab, NotebookPage
    from playwright.sync_api import Browser

#: A block that prints when it begins and runs until it is interrupted.
LONG = "import time\nprint('begun', flush=True)\ntime.sleep(600)"


@pytest.fixture
def executor(lab: Lab) -> Iterator[JupyterCodeExecutor]:
    """An executor whose notebook is in a subdirectory of the server's root, without being given root_dir."""
    with JupyterCodeExecutor(lab.info, output_dir=lab.files / "work", interrupt_grace=1) as executor:
        run(executor, "secret = 41")
        yield executor


@pytest.fixture
def page(browser: Browser, lab: Lab, executor: JupyterCodeExecutor) -> Iterator[NotebookPage]:
    with opened(browser, lab.link(executor.notebook)) as page:
        yield page


def test_the_link_shows_no_token_and_leads_to_the_notebook(browser: Browser, executor: JupyterCodeExecutor) -> None:
    assert TOKEN not in executor.url
    with opened(browser, f"{executor.url}?reset&token={TOKEN}") as page:
        expect(page.title).to_have_text(executor.notebook.name)
        expect(page.dialogs).to_have_count(0)


def test_the_agent_and_a_person_share_variables(executor: JupyterCodeExecutor, page: NotebookPage) -> None:
    page.expect_output(page.run_code("print(secret + 1)"), "42\n")
    page.expect_output(page.run_code("theirs = 'hello'\nprint('set')"), "set\n")
    assert run(executor, "theirs").output == "'hello'"


def test_the_output_of_a_persons_cell_is_not_recorded_in_the_agents_block(
    executor: JupyterCodeExecutor, page: NotebookPage
) -> None:
    """The block is sent while the person's cell is running, and waits for its turn."""
    theirs = page.run_code("import time\nfor n in range(20):\n    print('theirs', n, flush=True)\n    time.sleep(0.05)")
    expect(page.outputs(theirs)).to_contain_text("theirs 0")
    result = run(executor, "print('ours')")
    assert (result.status, result.output) == ("ok", "ours\n")
    expect(page.outputs(theirs)).to_contain_text("theirs 19")
    assert [stream_text(cell) for cell in code_cells(executor.notebook)] == ["", "ours\n"]


def test_a_block_times_out_while_a_person_keeps_the_kernel_busy(
    executor: JupyterCodeExecutor, page: NotebookPage
) -> None:
    theirs = page.run_code(LONG)
    page.expect_output(theirs, "begun\n")
    result = executor.execute_code_blocks(blocks("secret"), timeout=1)
    assert result.status == "timeout"
    expect(page.outputs(theirs).last).to_contain_text("KeyboardInterrupt")
    assert run(executor, "secret").output == "41"


def test_a_restart_in_jupyterlab_ends_the_block_and_both_use_the_new_kernel(
    executor: JupyterCodeExecutor, page: NotebookPage
) -> None:
    with ThreadPoolExecutor() as threads:
        block = threads.submit(run, executor, LONG)
        assert eventually(lambda: "begun" in stream_text(code_cells(executor.notebook)[-1]))
        page.command("Kernel", "Restart Kernel…")
        page.answer("Restart")
        result = block.result(60)
    assert result.status == "kernel_died"
    assert result.output.startswith("begun\n")
    assert "restarted it" in result.cells[0].note
    after = run(executor, "secret = 50")
    assert "variables of earlier blocks are gone" in after.cells[0].note
    page.wait_for_kernel()
    page.expect_output(page.run_code("print(secret)"), "50\n")


def test_the_agent_sees_variables_set_by_a_person_after_a_restart(
    executor: JupyterCodeExecutor, page: NotebookPage
) -> None:
    page.command("Kernel", "Restart Kernel…")
    page.answer("Restart")
    page.wait_for_kernel()
    page.expect_output(page.run_code("theirs = 7\nprint('set')"), "set\n")
    result = run(executor, "theirs")
    assert result.output.endswith("7")
    assert "variables of earlier blocks are gone" in result.cells[0].note


def test_a_shutdown_in_jupyterlab_ends_the_block_and_the_next_gets_a_fresh_kernel(
    executor: JupyterCodeExecutor, page: NotebookPage
) -> None:
    with ThreadPoolExecutor() as threads:
        block = threads.submit(run, executor, LONG)
        assert eventually(lambda: "begun" in stream_text(code_cells(executor.notebook)[-1]))
        page.command("Kernel", "Shut Down Kernel")
        result = block.result(60)
    assert result.status == "kernel_died"
    after = run(executor, "'secret' in globals()")
    assert after.output.endswith("False")
    assert "variables of earlier blocks are gone" in after.cells[0].note


def test_a_person_is_connected_to_the_new_kernel_after_the_agents_code_kills_it(
    executor: JupyterCodeExecutor, page: NotebookPage
) -> None:
    page.answer_if_asked("appears to have died", "Ok")
    result = run(executor, "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)")
    assert result.status == "kernel_died"
    run(executor, "secret = 50")
    page.wait_for_kernel()
    page.expect_output(page.run_code("print(secret)"), "50\n")


@pytest.mark.parametrize(
    "end",
    [
        pytest.param("exit()", id="exit"),
        pytest.param(
            "import time\nwhile True:\n  try: time.sleep(1)\n  except BaseException: pass", id="swallows its interrupt"
        ),
    ],
)
def test_a_person_stays_connected_when_the_agents_code_ends_the_kernel(
    executor: JupyterCodeExecutor, page: NotebookPage, end: str
) -> None:
    result = executor.execute_code_blocks(blocks(end), timeout=2)
    assert "Variables are gone" in result.cells[0].note
    run(executor, "secret = 50")
    page.wait_for_kernel()
    page.expect_output(page.run_code("print(secret)"), "50\n")


def test_a_person_stays_connected_when_the_agent_restarts_the_kernel(
    executor: JupyterCodeExecutor, page: NotebookPage
) -> None:
    executor.restart()
    assert run(executor, "'secret' in globals()").output.endswith("False")
    run(executor, "secret = 50")
    page.wait_for_kernel()
    page.expect_output(page.run_code("print(secret)"), "50\n")


def test_stopping_the_executor_removes_its_kernel_and_session(lab: Lab) -> None:
    before = kernels_of(lab.info)
    with JupyterCodeExecutor(lab.info, output_dir=lab.files / "work") as executor:
        path = executor.notebook.relative_to(lab.files).as_posix()
        sessions = {session["path"]: session["kernel"]["id"] for session in ask(lab.info, "sessions").json()}
        assert {sessions[path]} == kernels_of(lab.info) - before
    assert kernels_of(lab.info) <= before
    assert path not in {session["path"] for session in ask(lab.info, "sessions").json()}


def test_a_notebook_outside_the_servers_root_has_no_link(lab: Lab, tmp_path: Path) -> None:
    with JupyterCodeExecutor(lab.info, output_dir=tmp_path) as executor:
        assert executor.url == ""
        assert run(executor, "1").output == "1"


def test_another_file_at_the_same_path_is_not_mistaken_for_the_notebook(lab: Lab, tmp_path: Path) -> None:
    """The given local root is wrong: the server has another notebook at the same path."""
    (lab.files / "session.ipynb").write_text("{}")
    info = dataclasses.replace(lab.info, local_root=tmp_path)
    with JupyterCodeExecutor(info, output_dir=tmp_path) as executor:
        assert executor.url == ""


def test_a_kernel_that_a_person_started_for_the_notebook_is_left_alone(
    lab: Lab, caplog: pytest.LogCaptureFixture
) -> None:
    with JupyterCodeExecutor(lab.info, output_dir=lab.files / "work") as executor:
        run(executor, "1")
    path = executor.notebook.relative_to(lab.files).as_posix()
    notebook = {"path": path, "name": executor.notebook.name, "type": "notebook", "kernel": {"name": "python3"}}
    theirs = ask(lab.info, "sessions", "POST", **notebook).json()["kernel"]["id"]
    with (
        caplog.at_level(logging.WARNING),
        JupyterCodeExecutor.resume(executor.notebook, lab.info) as resumed,
    ):
        assert run(resumed, "2").output.endswith("2")
        assert resumed.url == ""
    assert f"JupyterLab uses kernel {theirs}" in caplog.text
    assert theirs in kernels_of(lab.info)
    ask(lab.info, f"kernels/{theirs}", "DELETE")
