"""`nbtape run` from the command line."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import nbformat
import pytest
from calling import nbtape, on_a_terminal
from reading import image_tags

if TYPE_CHECKING:
    from pathlib import Path

    import docker

    from nbtape import LocalJupyterServer

MESSAGE = """Let me see.

```python
x = 20
print("twenty")
```

And then:

```python
print(x + 1)
```
"""

WHERE = "```python\nimport os\nprint(os.getcwd())\n```"

FAILING = """
```python
1/0
```

```python
print("after all")
```
"""


def read(path: Path) -> nbformat.NotebookNode:
    notebook: nbformat.NotebookNode = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    return notebook


def test_a_message_is_recorded_in_a_notebook_named_on_the_last_line(tmp_path: Path) -> None:
    (tmp_path / "answer.md").write_text(MESSAGE)
    done = nbtape("run", "answer.md", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[:2] == ["twenty", "21"]
    assert done.stdout.splitlines()[-1] == f"Notebook: {tmp_path / 'answer.ipynb'}"
    cells = read(tmp_path / "answer.ipynb").cells
    assert [cell.cell_type for cell in cells] == ["markdown", "code", "markdown", "code"]
    assert cells[0].source == "Let me see."


def test_a_message_is_read_from_standard_input(tmp_path: Path) -> None:
    done = nbtape("run", "-", "--output-dir", "runs", "--notebook", "mine", cwd=tmp_path, stdin=MESSAGE)
    assert done.returncode == 0, done.stderr
    assert len(read(tmp_path / "runs" / "mine.ipynb").cells) == 4


@pytest.mark.parametrize("place", ["environment", "URL"])
def test_a_server_takes_its_token_from_the_url_or_the_environment(
    place: str, gateway: LocalJupyterServer, tmp_path: Path
) -> None:
    (tmp_path / "answer.md").write_text("```python\nimport os\nprint('KERNEL_GATEWAY' in os.environ)\n```")
    info = gateway.connection_info
    url, environment = info.url, {"JUPYTER_TOKEN": str(info.token)}
    if place == "URL":
        url, environment = f"{url}lab?token={info.token}", {"JUPYTER_TOKEN": "of another server"}
    done = nbtape("run", "answer.md", "--server", url, cwd=tmp_path, **environment)
    assert (done.returncode, done.stdout.splitlines()[0]) == (0, "True"), done.stderr
    assert str(info.token) not in done.stdout + done.stderr + (tmp_path / "answer.ipynb").read_text()


def test_a_rejected_token_is_a_one_line_error(gateway: LocalJupyterServer, tmp_path: Path) -> None:
    url = gateway.connection_info.url
    done = nbtape("run", "-", "--server", url, cwd=tmp_path, stdin=MESSAGE, JUPYTER_TOKEN="sesame-7c1d")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"nbtape: The server at {url} rejected the token")
    assert "sesame" not in done.stderr
    assert not list(tmp_path.iterdir())


def test_a_script_with_percent_cells_is_run(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text("# %% [markdown]\n# # Title\n\n# %%\ny = 2\n\n# %%\nprint(y * 2)\n")
    done = nbtape("run", "script.py", cwd=tmp_path)
    assert done.stdout.splitlines()[0] == "4"
    assert [cell.cell_type for cell in read(tmp_path / "script.ipynb").cells] == ["markdown", "code", "code"]


def test_a_failing_block_skips_the_rest_and_sets_the_exit_code(tmp_path: Path) -> None:
    done = nbtape("run", "-", cwd=tmp_path, stdin=FAILING)
    assert done.returncode == 1
    assert "ZeroDivisionError" in done.stdout
    assert "after all" not in done.stdout
    statuses = [cell.metadata.nbtape.status for cell in read(tmp_path / "session.ipynb").cells]
    assert statuses == ["error", "not_run"]


def test_keep_going_runs_blocks_after_a_failure(tmp_path: Path) -> None:
    done = nbtape("run", "-", "--keep-going", cwd=tmp_path, stdin=FAILING)
    assert done.returncode == 1
    assert "after all" in done.stdout


def test_a_block_that_the_message_cuts_off_is_reported_in_one_line_and_not_run(tmp_path: Path) -> None:
    message = "```javascript\nalert(1)\n```\n\n```python\nprint('whole')\n```\n\n```python\nprint('cut')\nfor n in"
    done = nbtape("run", "-", cwd=tmp_path, stdin=message)
    assert done.returncode == 1
    javascript, whole, cut, _ = done.stdout.splitlines()
    assert javascript.startswith("Not run: this kernel cannot run 'javascript'")
    assert whole == "whole"
    assert cut.startswith("Not run: the message ends inside this block")
    cells = [cell for cell in read(tmp_path / "session.ipynb").cells if cell.cell_type == "code"]
    assert [cell.metadata.nbtape.status for cell in cells] == ["not_run", "ok", "not_run"]


def test_elements_are_run_if_their_tags_are_named(tmp_path: Path) -> None:
    message = "<execute_ipython>\nprint('element')\n</execute_ipython>"
    done = nbtape("run", "-", cwd=tmp_path, stdin=message)
    assert (done.returncode, "contains no code to run" in done.stderr) == (2, True)
    done = nbtape("run", "-", "--code-tag", "<x>", cwd=tmp_path, stdin=message)
    assert (done.returncode, "--code-tag must name tags" in done.stderr) == (2, True)
    done = nbtape("run", "-", "--code-tag", "execute_ipython", cwd=tmp_path, stdin=message)
    assert (done.returncode, done.stdout.splitlines()[0]) == (0, "element")


def test_keep_going_continues_after_a_language_that_the_kernel_cannot_run(tmp_path: Path) -> None:
    message = "```perl\nprint 1\n```\n\n```python\nprint('after all')\n```\n"
    done = nbtape("run", "-", "--keep-going", cwd=tmp_path, stdin=message)
    assert (done.returncode, "after all" in done.stdout) == (0, True)
    statuses = [cell.metadata.nbtape.status for cell in read(tmp_path / "session.ipynb").cells]
    assert statuses == ["not_run", "ok"]


def test_a_timeout_exits_with_124(tmp_path: Path) -> None:
    message = "```python\nprint('so far', flush=True)\nimport time; time.sleep(60)\n```"
    done = nbtape("run", "-", "--timeout", "1", cwd=tmp_path, stdin=message)
    assert done.returncode == 124
    assert "so far" in done.stdout
    assert "Timeout" in done.stdout


def test_json_output_is_a_single_object(tmp_path: Path) -> None:
    done = nbtape("run", "-", "--json", cwd=tmp_path, stdin=MESSAGE)
    result = json.loads(done.stdout)
    assert (result["status"], result["exit_code"], result["output"]) == ("ok", 0, "twenty\n\n21\n")
    assert [cell["status"] for cell in result["cells"]] == ["ok", "ok"]
    assert result["notebook"] == str(tmp_path / "session.ipynb")
    assert done.stderr == ""


def test_outputs_are_printed_while_the_code_runs(tmp_path: Path) -> None:
    message = "```python\nimport time\nprint('first', flush=True)\ntime.sleep(30)\n```"
    with start("run", "-", "--timeout", "60", cwd=tmp_path) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(message)
        process.stdin.close()
        assert process.stdout.readline() == "first\n"  # long before the block ends
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=20) == 130


def test_ctrl_c_interrupts_the_block_and_leaves_a_complete_notebook(tmp_path: Path) -> None:
    message = (
        "```python\nimport time\nprint('first', flush=True)\ntime.sleep(30)\n```\n\n```python\nprint('second')\n```"
    )
    with start("run", "-", cwd=tmp_path) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(message)
        process.stdin.close()
        assert process.stdout.readline() == "first\n"
        process.send_signal(signal.SIGINT)
        rest = process.stdout.read()
        assert process.wait(timeout=20) == 130
    assert rest.splitlines()[-1] == f"Notebook: {tmp_path / 'session.ipynb'}"
    cells = read(tmp_path / "session.ipynb").cells
    assert [cell.metadata.nbtape.status for cell in cells] == ["interrupted", "not_run"]
    assert cells[0].outputs[0].text == "first\n"


def start(*arguments: str, cwd: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "nbtape", *arguments]
    return subprocess.Popen(
        command, cwd=cwd, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )


def test_colors_are_not_written_to_a_pipe(tmp_path: Path) -> None:
    done = nbtape("run", "-", cwd=tmp_path, stdin=FAILING)
    assert "\x1b" not in done.stdout + done.stderr


def test_code_cannot_control_the_terminal(tmp_path: Path) -> None:
    """Colors pass to a pseudo-terminal; codes that set the title or the clipboard do not."""
    message = "```python\nprint('\\x1b]0;owned\\x07\\x1b]52;c;b3duZWQ=\\x07\\x1b[31mred\\x1b[0m')\n```"
    master, slave = os.openpty()
    (tmp_path / "m.md").write_text(message)
    command = [sys.executable, "-m", "nbtape", "run", "m.md"]
    with subprocess.Popen(command, cwd=tmp_path, stdin=slave, stdout=slave, stderr=slave) as process:
        os.close(slave)
        seen = b""
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            try:
                chunk = os.read(master, 4096)
            except OSError:  # Linux raises this when the other end is closed.
                break
            if not chunk:
                break
            seen += chunk
        os.close(master)
        assert process.wait(timeout=20) == 0
    assert b"red" in seen
    assert b"\x1b]0;" not in seen
    assert b"\x1b]52" not in seen


class TestResume:
    @pytest.fixture
    def recorded(self, tmp_path: Path) -> Path:
        """A notebook whose second cell fails when it is run again."""
        once = "```python\nopen('once', 'x').close()\n```"
        assert nbtape("run", "-", cwd=tmp_path, stdin=f"```python\nx = 20\n```\n{once}").returncode == 0
        return tmp_path / "session.ipynb"

    def test_resume_continues_a_recording_and_reports_differences(self, recorded: Path) -> None:
        elsewhere = recorded.parent / "elsewhere"
        elsewhere.mkdir()
        done = nbtape("run", "-", "--resume", str(recorded), cwd=elsewhere, stdin="```python\nprint(x + 1)\n```")
        assert (done.returncode, done.stdout.splitlines()[0]) == (0, "21"), done.stderr
        assert done.stdout.splitlines()[-1] == f"Notebook: {recorded}"
        error = "FileExistsError: [Errno 17] File exists: 'once'"
        assert done.stderr.splitlines()[:4] == [
            "rerun [1/2] x = 20",
            "rerun [2/2] open('once', 'x').close()",
            "Resumed: reran 2 of 2 blocks. Not as recorded: block 2.",
            f"    block 2: Rerun: it failed, but had succeeded when recorded: error, {error}.",
        ]
        assert [cell.source for cell in read(recorded).cells][2:] == ["print(x + 1)"]

    def test_until_creates_a_fork_and_json_lists_the_resumed_cells(self, recorded: Path) -> None:
        before = recorded.read_bytes()
        arguments = ["--resume", str(recorded), "--until", "1", "--json"]
        done = nbtape("run", "-", *arguments, cwd=recorded.parent, stdin="```python\nprint(x)\n```")
        result = json.loads(done.stdout)
        assert (result["output"], result["notebook"]) == ("20\n", str(recorded.with_name("session-fork.ipynb")))
        assert [cell["status"] for cell in result["resumption"]["cells"]] == ["ok"]
        assert done.stderr == ""
        assert recorded.read_bytes() == before

    def test_a_session_can_be_resumed_on_a_server(self, gateway: LocalJupyterServer, recorded: Path) -> None:
        url, token = gateway.connection_info.url, gateway.connection_info.token
        arguments = ["run", "-", "--resume", str(recorded), "--server", url]
        done = nbtape(*arguments, cwd=recorded.parent, stdin="```python\nprint(x)\n```", JUPYTER_TOKEN=str(token))
        assert done.returncode == 0, done.stderr
        assert "kernel_id" in read(recorded).metadata.nbtape

    def test_a_session_can_be_resumed_in_a_container(self, base_image: str, recorded: Path) -> None:
        arguments = ["--resume", str(recorded), "--docker", "--base-image", base_image]
        done = nbtape("run", "-", *arguments, cwd=recorded.parent, stdin=WHERE)
        assert (done.returncode, "/workspace" in done.stdout.splitlines()) == (0, True), done.stderr

    def test_ctrl_c_while_cells_are_run_again_leaves_the_recording_unchanged(self, tmp_path: Path) -> None:
        wait = (
            "```python\nimport os, time\nif os.path.exists('once'):\n    time.sleep(60)\nopen('once', 'w').close()\n```"
        )
        assert nbtape("run", "-", cwd=tmp_path, stdin=wait).returncode == 0
        path = tmp_path / "session.ipynb"
        before = path.read_bytes()
        (tmp_path / "more.md").write_text(MESSAGE)
        command = [sys.executable, "-m", "nbtape", "run", "more.md", "--resume", str(path)]
        with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as process:
            assert process.stderr is not None
            assert process.stderr.readline() == "rerun [1/1] import os, time\n"
            process.send_signal(signal.SIGINT)
            assert process.wait(timeout=20) == 130
        assert path.read_bytes() == before

    @pytest.mark.parametrize(
        ("arguments", "told"),
        [
            (["--until", "1"], "--until needs --resume"),
            (["--resume", "session.ipynb", "--output-dir", "."], "--output-dir has no use with --resume"),
            (["--resume", "session.ipynb", "--notebook", "x"], "--notebook has no use with --resume"),
            (["--resume", "none.ipynb"], "none.ipynb does not exist. Check the path."),
            (["--resume", "session.ipynb", "--until", "9"], "--until must be from 0 to 0"),
        ],
    )
    def test_an_invalid_resume_is_reported(self, tmp_path: Path, arguments: list[str], told: str) -> None:
        (tmp_path / "session.ipynb").write_text(nbformat.writes(nbformat.v4.new_notebook()))
        done = nbtape("run", "-", *arguments, cwd=tmp_path, stdin=MESSAGE)
        assert (done.returncode, done.stdout) == (2, "")
        assert told in done.stderr


class TestDocker:
    def test_docker_mounts_a_new_directory_instead_of_a_home_directory(self, tmp_path: Path, base_image: str) -> None:
        (tmp_path / ".ssh").mkdir()
        (tmp_path / ".ssh" / "key").write_text("sesame")
        arguments = ["run", "-", "--docker", "--base-image", base_image, "--network", "none"]
        message = "```python\nimport os\nprint(os.listdir(), os.path.exists('../.ssh'), open('x', 'w').write('x'))\n```"
        for number in (1, 2):
            done = nbtape(*arguments, cwd=tmp_path, stdin=message, HOME=str(tmp_path))
            assert (done.returncode, "['session.ipynb'] False 1" in done.stdout) == (0, True), done.stderr
            assert "must not mount the current directory: it is a home directory" in done.stderr
            assert f"Using the new directory nbtape-run-{number} instead." in done.stderr
            assert (tmp_path / f"nbtape-run-{number}" / "x").read_text() == "x"
        assert {path.name for path in tmp_path.iterdir()} == {".ssh", "nbtape-run-1", "nbtape-run-2"}
        done = nbtape(*arguments, "--output-dir", ".", cwd=tmp_path, stdin=message, HOME=str(tmp_path))
        assert (done.returncode, done.stdout) == (2, "")
        assert "A container must not mount" in done.stderr

    def test_docker_runs_code_in_a_container(self, tmp_path: Path, base_image: str) -> None:
        done = nbtape("run", "-", "--docker", "--base-image", base_image, cwd=tmp_path, stdin=WHERE)
        assert (done.returncode, done.stdout.splitlines()[0]) == (0, "/workspace"), done.stderr
        assert read(tmp_path / "session.ipynb").cells[-1].outputs[0].text == "/workspace\n"

    def test_the_source_may_follow_docker_without_an_image(self, tmp_path: Path, base_image: str) -> None:
        (tmp_path / "answer.md").write_text(WHERE)
        done = nbtape("run", "--base-image", base_image, "--network", "none", "--docker", "answer.md", cwd=tmp_path)
        assert (done.returncode, done.stdout.splitlines()[0]) == (0, "/workspace"), done.stderr

    def test_an_image_with_extra_packages_is_built_and_used(
        self, tmp_path: Path, base_image: str, docker_client: docker.DockerClient
    ) -> None:
        # The build cache is kept: with a base name never used before, a new image is built.
        base = f"nbtape-test:{time.monotonic_ns()}"
        docker_client.images.get(base_image).tag(base)
        before = image_tags(docker_client)
        options = ["--base-image", base, "--package", "einops", "--tag", "nbtape-test-einops"]
        built = on_a_terminal("image", "build", *options, cwd=tmp_path)
        try:
            assert built.returncode == 0, built.text
            assert "Step " in built.text
            again = nbtape("image", "build", *options, cwd=tmp_path)
            assert (again.stdout, again.stderr) == ("nbtape-test-einops\n", "")
            message = "```python\nimport einops\nprint('there')\n```"
            done = nbtape("run", "-", "--docker", "nbtape-test-einops", cwd=tmp_path, stdin=message)
            assert (done.returncode, done.stdout.splitlines()[0]) == (0, "there"), done.stderr
        finally:
            for tag in {base, *image_tags(docker_client) - before}:
                docker_client.images.remove(tag, force=True)

    def test_nothing_runs_without_a_docker_engine(self, tmp_path: Path) -> None:
        message = "```python\nopen('ran', 'w')\n```"
        done = nbtape("run", "-", "--docker", cwd=tmp_path, stdin=message, DOCKER_HOST="unix:///nowhere/docker.sock")
        assert (done.returncode, done.stdout) == (2, "")
        assert "No Docker engine answers" in done.stderr
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize(
        ("arguments", "told"),
        [
            (["run"], "Missing argument 'SOURCE'"),
            (["run", "-", "--network", "none"], "--network needs --docker"),
            (["run", "-", "--docker", "--server", "http://127.0.0.1:1"], "Use one of them"),
        ],
        ids=["no source", "no container", "two places"],
    )
    def test_missing_or_conflicting_options_are_reported(self, tmp_path: Path, arguments: list[str], told: str) -> None:
        done = nbtape(*arguments, cwd=tmp_path, stdin=MESSAGE)
        assert (done.returncode, done.stdout) == (2, "")
        assert told in done.stderr


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["run", "nothing.md"], "nothing.md"),
        (["run", "-", "--kernel", "nothing"], "Kernel nothing is not installed."),
        (["run", "-", "--output-dir", "/dev/null/x"], "Output directory /dev/null/x cannot be created"),
        (["run", "-", "--timeout", "0"], "--timeout must be a finite number"),
        (["run", "-", "--notebook", "../up"], "is not a valid notebook name"),
    ],
)
def test_invalid_input_is_a_one_line_error_with_exit_code_2(tmp_path: Path, arguments: list[str], told: str) -> None:
    done = nbtape(*arguments, cwd=tmp_path, stdin=MESSAGE)
    assert done.returncode == 2
    assert done.stdout == ""
    assert told in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_missing_module_is_reported_with_the_python_that_lacks_it(tmp_path: Path) -> None:
    done = nbtape("run", "-", cwd=tmp_path, stdin="```python\nimport no_such_module\n```")
    assert done.returncode == 1
    assert f"The Python {sys.executable} has no module no_such_module." in done.stdout
    assert "`%pip install no_such_module`" in done.stdout


def test_python_is_for_local_kernels(tmp_path: Path) -> None:
    done = nbtape("run", "-", "--python", sys.executable, "--docker", cwd=tmp_path)
    assert (done.returncode, "cannot be combined" in done.stderr) == (2, True)
    done = nbtape("run", "-", "--python", "nowhere", cwd=tmp_path, stdin=MESSAGE)
    assert (done.returncode, "virtual environment with --python." in done.stderr) == (2, True)
