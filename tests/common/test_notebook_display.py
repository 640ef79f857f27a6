"""A one-line repr for objects, and their text as inert HTML in a notebook."""

from __future__ import annotations

from pathlib import Path

import pytest

from nbtape import (
    AsyncJupyterCodeExecutor,
    DockerJupyterServer,
    JupyterCodeExecutor,
    KernelPool,
    LocalJupyterServer,
    replay,
)
from nbtape.replay.report import ReplayReport
from nbtape.results import CellResult, CodeResult


def test_a_result_shows_its_status_and_output_once() -> None:
    result = CodeResult(
        1, "no <b>\n", ["/x/a.png"], "error", [CellResult(0, "id", "error", "no <b>\n")], Path("n.ipynb")
    )
    assert str(result) == "exit_code=1 output='no <b>\\n' output_files=['/x/a.png']"
    assert repr(result).count("no <b>") == 1
    assert "status='error'" in repr(result)
    assert result._repr_html_() == "<pre>error (exit code 1)\nno &lt;b&gt;\nFile: /x/a.png</pre>"


@pytest.mark.parametrize("face", [JupyterCodeExecutor, AsyncJupyterCodeExecutor])
def test_an_executor_shows_its_notebook(face: type[JupyterCodeExecutor], tmp_path: Path) -> None:
    executor = face(output_dir=tmp_path)
    assert repr(executor) == f"{face.__name__}('{tmp_path}/session.ipynb', kernel_name='python3', kernel_epoch=0)"
    assert executor._repr_html_().startswith(f"<pre>{face.__name__}(&#x27;{tmp_path}/session.ipynb&#x27;")


def test_the_repr_of_servers_and_pools_starts_nothing() -> None:
    for thing, shown in (
        (LocalJupyterServer(), "LocalJupyterServer(not running)"),
        (DockerJupyterServer(), "DockerJupyterServer(0 containers running)"),
        (KernelPool(size=3), "KernelPool(kernel_name='python3', size=3, ready=0)"),
    ):
        assert (repr(thing), thing._repr_html_().count("<pre>")) == (shown, 1)


def test_a_running_server_shows_its_address_without_its_token(gateway: LocalJupyterServer) -> None:
    info = gateway.connection_info
    assert repr(gateway) == f"LocalJupyterServer({info.url})"
    assert str(info.token) not in repr(gateway) + gateway._repr_html_()


def test_a_running_container_is_counted(container: DockerJupyterServer) -> None:
    container.start()
    assert repr(container) == "DockerJupyterServer(1 container running)"


def test_a_report_shows_its_counts_and_its_lines_in_a_notebook(tmp_path: Path) -> None:
    with JupyterCodeExecutor(output_dir=tmp_path) as executor:
        executor.run("import os; print(os.urandom(8).hex(), '<i>')")
    report = replay(executor.notebook)
    assert isinstance(report, ReplayReport)
    assert repr(report) == f"ReplayReport('{executor.notebook}', exit_code=1, counts={{'different': 1}})"
    assert report._repr_html_().startswith("<pre>session.ipynb: 1 different.\nblock 1: different. ")
    assert "<i>" not in report._repr_html_()
