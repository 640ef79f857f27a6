"""Exit codes, and the messages that come with failures."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import textwrap
from typing import TYPE_CHECKING

import nbformat
import pytest
from calling import interrupted_when, nbtape, processes_in
from full_matrix import first
from nbformat.v4 import new_code_cell, new_notebook
from reading import code_cells, eventually, read_notebook
from warm_commands import COMMAND

from nbtape import CodeBlock, JupyterCodeExecutor
from nbtape.results import BUG, FAILED, INTERRUPTED, KERNEL_DIED, MEANINGS, REFUSED, TIMEOUT, UNREAD, WELL

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import docker

    from nbtape import LocalJupyterServer


#: Signals that it has begun, then runs longer than any test.
LONG = "open('begun', 'w').close()\nimport time\ntime.sleep(200)"

#: Simulates a bug: an exception that no command expects, raised in the middle of one.
BUGGY = """
import sys
from nbtape.cli import main
from nbtape.cli.display import run_table as table
def print_run(name, run):
    raise AttributeError("no such thing")
table.print_run = print_run
main()
"""


def fenced(code: str) -> str:
    return f"```python\n{code}\n```\n"


@pytest.fixture
def session(tmp_path: Path) -> Path:
    """A notebook with one cell that succeeds."""
    with JupyterCodeExecutor(output_dir=tmp_path) as executor:
        executor.execute_code_blocks([CodeBlock("print(1)", "python")])
        return executor.notebook


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A notebook whose table is larger than a pipe buffer."""
    path = tmp_path_factory.mktemp("large") / "large.ipynb"
    cells = [new_code_cell(f"x = {number}", id=f"cell-{number}") for number in range(5000)]
    nbformat.write(new_notebook(cells=cells), path)
    return path


class TestExitCodes:
    """Each code in the table, from a real run."""

    @pytest.mark.parametrize(
        ("code", "message"),
        [
            (WELL, "print(1)"),
            (FAILED, "1 / 0"),
            (TIMEOUT, "import time\ntime.sleep(100)"),
            (KERNEL_DIED, "import os\nos.kill(os.getpid(), 9)"),
        ],
    )
    def test_run_exits_with_the_code_of_its_result(self, code: int, message: str, tmp_path: Path) -> None:
        done = nbtape("run", "-", "--timeout", 3, "--json", cwd=tmp_path, stdin=fenced(message))
        assert done.returncode == code, done.stderr
        assert json.loads(done.stdout)["exit_code"] == code

    def test_replay_exits_with_the_code_of_its_worst_notebook(self, session: Path) -> None:
        changed = session.with_name("changed.ipynb")
        notebook = read_notebook(session)
        notebook.cells[0].outputs[0].text = "2\n"
        nbformat.write(notebook, changed)
        for names, code in (
            ([session.name], WELL),
            ([session.name, "changed.ipynb"], FAILED),
            (["changed.ipynb", "none.ipynb"], REFUSED),
        ):
            assert nbtape("replay", *names, cwd=session.parent).returncode == code

    def test_a_clean_export_that_does_not_work_exits_as_failed(self, tmp_path: Path) -> None:
        (tmp_path / "here").touch()
        with JupyterCodeExecutor(output_dir=tmp_path) as executor:
            executor.execute_code_blocks([CodeBlock("open('here').close()", "python")])
        (tmp_path / "here").unlink()
        assert nbtape("export", "session.ipynb", "--clean", cwd=tmp_path).returncode == FAILED

    @pytest.mark.parametrize(
        ("line", "told"),
        [
            ("run nothing.md", "does not exist"),
            ("run", "Missing argument 'SOURCE'"),
            ("run x.md --timeout soon", "'soon' is not a number"),
            ("run x.md --outptu-dir runs", "--output-dir"),
            ("shwo x.ipynb", "show"),
            ("run x.md --docker mine --base-image theirs", "--docker names mine"),
            ("show", "Missing argument 'NOTEBOOK'"),
            ("show none.ipynb", "does not exist"),
            ("show x.md", "x.md is not a notebook"),
            ("show .", "is a directory. Name a notebook in it"),
            ("environment none.ipynb", "does not exist"),
            ("export none.ipynb", "does not exist"),
            ("export x.md --to exe", "'exe'"),
            ("export none.ipynb -o out.exe", "--to"),
            ("replay none.ipynb", "does not exist"),
            ("replay none.ipynb --report no/where.json", "Create it"),
            ("replay none.ipynb --jobs 0", "0 is less than 1"),
            ("image", "Missing command"),
            ("mcp --http nowhere", "[HOST:]PORT"),
        ],
    )
    def test_a_usage_error_is_one_line_with_a_hint(self, line: str, told: str, tmp_path: Path) -> None:
        (tmp_path / "x.md").write_text("no code")
        done = nbtape(*line.split(), cwd=tmp_path)
        assert (done.returncode, done.stdout) == (REFUSED, "")
        (said,) = done.stderr.splitlines()
        assert said.startswith("nbtape: ")
        assert told in said

    def test_the_error_names_a_file_that_cannot_be_written(self, session: Path) -> None:
        done = nbtape("export", session.name, "-o", "no/where.html", cwd=session.parent)
        assert done.returncode == REFUSED
        (said,) = done.stderr.splitlines()
        assert said.startswith("nbtape: ")
        assert "no" in said

    def test_the_table_is_in_the_help(self, tmp_path: Path) -> None:
        told = nbtape("--help", cwd=tmp_path).stdout.partition("Exit codes:\n")[2]
        codes = re.findall(r"^  (\d+) +(.*(?:\n {4,}.*)*)", told, re.MULTILINE)
        assert {int(code): " ".join(meaning.split()) for code, meaning in codes} == MEANINGS


class TestBugs:
    def run(self, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", BUGGY, *arguments]
        return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=60, check=False)

    def test_a_bug_is_reported_in_one_line_with_its_own_exit_code(self, session: Path) -> None:
        done = self.run("show", session.name, cwd=session.parent)
        assert (done.returncode, done.stdout) == (BUG, "")
        (said,) = done.stderr.splitlines()
        assert said.startswith("nbtape: AttributeError: no such thing. This is a bug in nbtape.")
        assert "--debug" in said

    def test_debug_shows_where_a_bug_occurred(self, session: Path) -> None:
        done = self.run("show", session.name, "--debug", cwd=session.parent)
        assert done.returncode == BUG
        assert "in print_run" in done.stderr


class TestDebug:
    @pytest.mark.parametrize("way", ["before", "after", "variable"])
    def test_debug_shows_the_traceback(self, way: str, tmp_path: Path) -> None:
        (tmp_path / "gone").touch()
        arguments = ["run", "-", "--output-dir", "gone/away"]
        environment = {"NBTAPE_DEBUG": "1"} if way == "variable" else {}
        arguments = {"before": ["--debug", *arguments], "after": [*arguments, "--debug"]}.get(way, arguments)
        done = nbtape(*arguments, cwd=tmp_path, stdin=fenced("1"), **environment)
        assert done.returncode == REFUSED
        assert "Traceback" in done.stderr
        assert done.stderr.splitlines()[-1].startswith("nbtape: Output directory gone/away")

    def test_debug_logs_to_stderr_without_tokens(self, gateway: LocalJupyterServer, tmp_path: Path) -> None:
        token = str(gateway.connection_info.token)
        url = f"{gateway.connection_info.url}?token={token}"
        done = nbtape("run", "-", "--server", url, "--json", "--debug", cwd=tmp_path, stdin=fenced("1"))
        assert done.returncode == WELL, done.stderr
        assert re.search(r"nbtape\.kernels\.start: Starting kernel python3", done.stderr)
        assert token not in done.stderr
        assert json.loads(done.stdout)["status"] == "ok"

    def test_the_debug_log_is_bounded_and_free_of_control_characters(self, tmp_path: Path) -> None:
        code = "# \x1b]0;owned\x07\nprint('x' * 100_000, '\\x1b]0;owned\\x07')"
        done = nbtape("run", "-", "--json", "--debug", cwd=tmp_path, stdin=fenced(code))
        assert "Executing cell" in done.stderr
        assert not set(done.stderr) & set("\x1b\x07")
        assert len(done.stderr) < 20_000

    def test_there_is_no_log_without_debug(self, tmp_path: Path) -> None:
        done = nbtape("run", "-", "--json", cwd=tmp_path, stdin=fenced("1"), NBTAPE_DEBUG="0")
        assert (done.returncode, done.stderr) == (WELL, "")


class TestPipes:
    """Output that the reader of the pipe, such as `head`, does not read."""

    def head(self, *arguments: object, cwd: Path, both: bool = False, **colours: str) -> tuple[int, list[str]]:
        """Return the exit code of the command before the pipe and the lines on standard error."""
        command = shlex.join([*COMMAND, *map(str, arguments)]) + (" 2>&1" if both else "")
        script = f"{command} | head -c 1; code=${{PIPESTATUS[0]}}; echo; echo $code"
        # With PYTHONUNBUFFERED, Python treats a pipe that breaks during a write as written.
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"} | colours
        done = subprocess.run(
            ["bash", "-c", script], cwd=cwd, env=environment, capture_output=True, text=True, timeout=120, check=False
        )
        *_, code = done.stdout.splitlines()
        return int(code), done.stderr.splitlines()

    def test_show_exits_quietly_when_the_pipe_closes(self, large: Path) -> None:
        assert self.head("show", large.name, cwd=large.parent) == (UNREAD, [])
        assert self.head("show", large.name, "--json", cwd=large.parent, both=True) == (UNREAD, [])

    @pytest.mark.parametrize("colours", [{}, {"FORCE_COLOR": "1"}])
    def test_a_run_continues_and_is_recorded_when_the_pipe_closes(
        self, colours: dict[str, str], tmp_path: Path
    ) -> None:
        code = "for number in range(30):\n    print('x' * 10_000, flush=True)\nprint('all')"
        (tmp_path / "m.md").write_text(fenced(code) * 2)
        assert self.head("run", "m.md", cwd=tmp_path, both=True, **colours) == (WELL, [])
        cells = code_cells(tmp_path / "m.ipynb")
        assert [cell.outputs[-1].text.endswith("all\n") for cell in cells] == [True, True]


class TestStreams:
    """Closed streams, and terminals that cannot encode every character."""

    @pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-", "<&-"])
    def test_a_closed_stream_loses_nothing(self, closed: str, tmp_path: Path) -> None:
        (tmp_path / "m.md").write_text(fenced("print('all')"))
        command = f"{shlex.join(COMMAND)} run m.md {closed}"
        done = subprocess.run(["bash", "-c", command], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert (done.returncode, "Traceback" in done.stdout + done.stderr) == (WELL, False)
        assert [cell.outputs[0].text for cell in code_cells(tmp_path / "m.ipynb")] == ["all\n"]

    @pytest.mark.parametrize(("closed", "code"), [(">&-", REFUSED), ("2>&-", REFUSED)])
    def test_a_closed_stream_changes_no_exit_code(self, closed: str, code: int, tmp_path: Path) -> None:
        command = f"{shlex.join(COMMAND)} show none.ipynb {closed}"
        done = subprocess.run(["bash", "-c", command], cwd=tmp_path, capture_output=True, check=False)
        assert done.returncode == code

    @pytest.mark.parametrize(
        ("encoding", "shown"), [("ascii", r"\xfc\u2713"), ("latin-1", "\xfc\\u2713"), ("utf-8", "\xfc\u2713")]
    )
    def test_characters_that_a_terminal_cannot_encode_are_escaped(
        self, encoding: str, shown: str, tmp_path: Path
    ) -> None:
        (tmp_path / "m.md").write_text(fenced("print('\xfc\u2713')"), "utf-8")
        environment = {**os.environ, "PYTHONIOENCODING": encoding}
        for arguments in (["run", "m.md"], ["show", "m.ipynb", "--cell", "0"], ["watch", "m.ipynb"]):
            done = subprocess.run(
                [*COMMAND, *arguments], cwd=tmp_path, env=environment, capture_output=True, timeout=60, check=False
            )
            assert done.returncode == WELL, done.stderr
            assert shown in done.stdout.decode(encoding).splitlines()


class TestCtrlC:
    """Nothing keeps running: no kernel, none of its child processes, no container."""

    @pytest.fixture(autouse=True)
    def leaves_no_process(self, tmp_path: Path, leaves_nothing: None) -> None:  # noqa: ARG002
        self.directory = tmp_path

    def check_nothing_runs(self) -> None:
        assert eventually(lambda: not processes_in(self.directory)), "processes are left behind"
        assert not list(self.directory.parent.glob(".nbtape-copy-*")), "a copy is left behind"

    @pytest.fixture
    def long_session(self, tmp_path: Path) -> Path:
        """A notebook whose second cell finished at once when recorded and blocks when replayed."""
        with JupyterCodeExecutor(output_dir=tmp_path) as executor:
            begun = f"open({str(tmp_path / 'begun')!r}, 'w').close()"
            code = f"import os, time\nif os.path.exists('wait'):\n    {begun}\n    time.sleep(200)"
            executor.execute_code_blocks([CodeBlock("x = 1", "python"), CodeBlock(code, "python")])
            (tmp_path / "wait").touch()
            return executor.notebook

    @pytest.mark.parametrize("kill", [os.killpg, os.kill])
    def test_ctrl_c_during_a_run(self, kill: Callable[[int, int], None], tmp_path: Path) -> None:
        (tmp_path / "m.md").write_text(fenced(f"import subprocess\nsubprocess.Popen(['sleep', '200'])\n{LONG}"))
        ended = interrupted_when(tmp_path / "begun", "run", "m.md", cwd=tmp_path, kill=kill)
        assert (ended.returncode, "Traceback" in ended.stderr) == (INTERRUPTED, False)
        assert [cell.metadata.nbtape.status for cell in code_cells(tmp_path / "m.ipynb")] == ["interrupted"]
        self.check_nothing_runs()

    @pytest.mark.parametrize("kill", [os.killpg, os.kill])
    @pytest.mark.parametrize("options", first(1, ["--jobs 2", "", "--json"]))
    def test_ctrl_c_during_a_replay(self, options: str, kill: Callable[[int, int], None], long_session: Path) -> None:
        arguments = ["replay", long_session.name, *options.split()]
        ended = interrupted_when(self.directory / "begun", *arguments, cwd=self.directory, kill=kill)
        assert ended == (INTERRUPTED, "", "nbtape: Interrupted.\n")
        self.check_nothing_runs()

    @pytest.mark.parametrize("kill", [os.killpg, os.kill])
    def test_ctrl_c_during_a_clean_export(self, kill: Callable[[int, int], None], long_session: Path) -> None:
        arguments = ["export", long_session.name, "--clean"]
        ended = interrupted_when(self.directory / "begun", *arguments, cwd=self.directory, kill=kill)
        assert ended == (INTERRUPTED, "", "nbtape: Interrupted.\n")
        assert not list(self.directory.glob("*.html"))
        self.check_nothing_runs()

    def test_ctrl_c_during_a_run_in_a_container(
        self, tmp_path: Path, base_image: str, docker_client: docker.DockerClient
    ) -> None:
        (tmp_path / "m.md").write_text(fenced(LONG))
        before = {container.id for container in docker_client.containers.list(ignore_removed=True)}
        arguments = ["run", "m.md", "--docker", "--base-image", base_image]
        ended = interrupted_when(tmp_path / "begun", *arguments, cwd=tmp_path, kill=os.killpg)
        assert (ended.returncode, "Traceback" in ended.stderr) == (INTERRUPTED, False)
        mounts = [
            mount["Source"]
            for container in docker_client.containers.list(ignore_removed=True)
            if container.id not in before
            for mount in container.attrs["Mounts"]
        ]
        assert str(tmp_path) not in mounts

    @pytest.mark.parametrize(
        "turned", ["raise ImportError('no module _ssl')", "raise RuntimeError('__set_name__') from exc"]
    )
    def test_ctrl_c_during_an_import_that_raises_another_error(self, turned: str, tmp_path: Path) -> None:
        """As C modules that import others do, and Python before 3.12 while it creates a class."""
        code = textwrap.dedent(f"""
            import os, signal, sys, nbtape.cli

            class Turning:
                def find_spec(self, name, *_):
                    if name == "nbtape.cli.exit":
                        try:
                            os.kill(os.getpid(), signal.SIGINT)
                        except KeyboardInterrupt as exc:
                            {turned}

            sys.meta_path.insert(0, Turning())
            nbtape.cli.main()
        """)
        ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=False)
        assert (ended.returncode, ended.stderr) == (INTERRUPTED, "nbtape: Interrupted.\n")

    def test_ctrl_c_at_any_point_of_startup_prints_at_most_one_line(self, tmp_path: Path, *, full: bool) -> None:
        """From the command's first import until a kernel runs code."""
        (tmp_path / "m.md").write_text(fenced(LONG))
        begin = textwrap.dedent("""
            import sys, nbtape.cli

            class Teller:
                def find_spec(self, name, *_):
                    if name == "nbtape.cli.commands":
                        print("begun", flush=True)

            sys.meta_path.insert(0, Teller())
            sys.argv[1:] = ["run", "m.md"]
            nbtape.cli.main()
        """)
        for hundredths in range(0, 100, 7 if full else 19):
            with subprocess.Popen(
                [sys.executable, "-c", begin], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
            ) as process:
                assert process.stdout is not None
                assert process.stdout.readline() == "begun\n"
                with pytest.raises(subprocess.TimeoutExpired):
                    process.wait(hundredths / 100)
                process.send_signal(signal.SIGINT)
                _, err = process.communicate(timeout=30)
            said = [line for line in err.splitlines() if not line.startswith(("[1/1] ", "    file: "))]
            assert process.returncode == INTERRUPTED, err
            assert said in (["nbtape: Interrupted."], []), err
        self.check_nothing_runs()
