"""`nbtape run --follow` prints a JupyterLab link while the code runs."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import httpx
import pytest

from nbtape import LocalJupyterServer, ServerError
from nbtape.cli.run import _own_lab

if TYPE_CHECKING:
    from pathlib import Path

#: Prints that it has begun, then waits for a file named go.
WAITING = "```python\nimport os, time\nprint('begun')\nwhile not os.path.exists('go'): time.sleep(0.01)\n```\n"


def run(cwd: Path, *arguments: str, code: str = WAITING, **environment: str) -> subprocess.Popen[str]:
    (cwd / "answer.md").write_text(code)
    command = [sys.executable, "-m", "nbtape", "run", "answer.md", *arguments]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, cwd=cwd, env={**os.environ, **environment}, stdout=pipe, stderr=pipe, text=True)


def first_line(process: subprocess.Popen[str]) -> str:
    assert process.stderr is not None
    return process.stderr.readline()


def link_in(line: str) -> str:
    return str(re.findall(r"http\S+", line)[0])


def end(process: subprocess.Popen[str], cwd: Path) -> str:
    """Let the code finish, and return what was printed."""
    (cwd / "go").touch()
    printed, said = process.communicate(timeout=60)
    assert process.returncode == 0, said
    return printed


def test_follow_starts_a_server_for_the_duration_of_the_run(tmp_path: Path) -> None:
    process = run(tmp_path, "--follow", "--output-dir", "new")
    link = link_in(first_line(process))
    with httpx.Client(follow_redirects=True, trust_env=False) as person:
        answer = person.get(link)
        assert (answer.status_code, answer.url.path) == (200, "/lab/tree/answer.ipynb")
        (tmp_path / "new" / "go").touch()
        printed = end(process, tmp_path)
        assert "begun" in printed
        assert "http" not in printed
        with pytest.raises(httpx.ConnectError):
            person.get(link)


def test_the_link_to_an_existing_server_has_no_token(lab_server: LocalJupyterServer, tmp_path: Path) -> None:
    info = lab_server.connection_info
    process = run(tmp_path, "--follow", "--server", info.url, JUPYTER_TOKEN=str(info.token))
    line = first_line(process)
    assert str(info.token) not in line
    assert lab_server.root_dir is not None
    notebook = tmp_path.relative_to(lab_server.root_dir) / "answer.ipynb"
    assert link_in(line) == f"{info.url}lab/tree/{notebook.as_posix()}"
    (lab_server.root_dir / "go").touch()  # Without root_dir, nbtape starts kernels where the server's files begin.
    end(process, tmp_path)
    (lab_server.root_dir / "go").unlink()


def test_a_server_without_a_page_is_reported_and_the_code_runs(gateway: LocalJupyterServer, tmp_path: Path) -> None:
    info = gateway.connection_info
    code = "```python\nprint('begun')\n```\n"
    process = run(tmp_path, "--follow", "--server", info.url, code=code, JUPYTER_TOKEN=str(info.token))
    assert first_line(process).startswith("--follow has no link")
    assert "begun" in end(process, tmp_path)


def test_follow_is_refused_with_docker(tmp_path: Path) -> None:
    process = run(tmp_path, "--follow", "--docker")
    assert "the container has no JupyterLab" in process.communicate(timeout=60)[1]
    assert process.returncode == 2


def test_a_jupyterlab_that_does_not_start_is_reported_with_the_alternatives(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def fail(_: LocalJupyterServer) -> None:
        raise ServerError("It did not start within 30 s.")

    monkeypatch.setattr(LocalJupyterServer, "start", fail)
    told = r"^--follow could not start JupyterLab\. Use a running one with --server, .* It did not start within 30 s\.$"
    with pytest.raises(ServerError, match=told), _own_lab(tmp_path):
        pass
