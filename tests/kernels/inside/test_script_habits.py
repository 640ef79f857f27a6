"""Code that was written for a script or a desktop works in a kernel."""

from __future__ import annotations

import socket
import urllib.request
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from executors import run
from reading import eventually

from nbtape import JupyterCodeExecutor, KernelPool
from nbtape.kernels.handshake import SET_UP

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nbtape import CodeResult

PLOT = "import matplotlib.pyplot as plt\nplt.plot([1, 2])\nplt.show()"


@pytest.fixture(scope="module")
def executor(warm_parent: object, tmp_path_factory: pytest.TempPathFactory) -> Iterator[JupyterCodeExecutor]:
    with JupyterCodeExecutor(warm_parent, output_dir=tmp_path_factory.mktemp("habits"), timeout=30) as executor:  # type: ignore[arg-type]
        yield executor


def printed(executor: JupyterCodeExecutor, result: CodeResult, name: str = "stdout") -> str:
    """The text of one stream in the cell of a result."""
    (cell,) = result.cells
    return "".join(output["text"] for output in executor.outputs(cell) if output.get("name") == name)


def images(executor: JupyterCodeExecutor, code: str) -> int:
    """How many images a cell shows."""
    (cell,) = run(executor, code).cells
    assert cell.status == "ok"
    return sum("image/png" in output.get("data", {}) for output in executor.outputs(cell))


def test_a_script_finds_no_arguments_of_the_kernel(executor: JupyterCodeExecutor) -> None:
    code = "import argparse, sys\np = argparse.ArgumentParser()\np.add_argument('--n', default=3)\n"
    assert run(executor, f"{code}print(p.parse_args().n, sys.argv[1:])").output == "3 []\n"


def test_a_server_in_the_background_does_not_hold_a_shell_block(executor: JupyterCodeExecutor) -> None:
    with closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    code = f"python3 -u -m http.server {port} --bind 127.0.0.1 &\necho $! > server\necho started"
    result = run(executor, code, language="bash")
    assert (result.status, "started\n" in printed(executor, result)) == ("ok", True)

    def answers() -> bool:
        try:
            return bool(urllib.request.urlopen(f"http://127.0.0.1:{port}/?asked", timeout=5).status == 200)
        except OSError:
            return False

    assert eventually(answers), "it writes to its streams before it answers"
    assert eventually(lambda: run(executor, "1").status == "ok" and "?asked" in printed(executor, result, "stderr"))
    assert run(executor, "kill $(cat server)", language="bash").status == "ok"


def test_a_shell_block_ends_with_its_whole_output(executor: JupyterCodeExecutor) -> None:
    result = run(executor, "sleep 30 &\nseq 1 200000\necho end", language="bash")
    assert result.status == "ok"
    assert printed(executor, result) == "".join(f"{n}\n" for n in range(1, 200_001)) + "end\n"


def test_a_shell_block_that_exits_before_it_is_read_to_the_end_works(executor: JupyterCodeExecutor) -> None:
    assert run(executor, "echo out\nexit 0\n" + "# never read\n" * 50_000, language="bash").output == "out\n"


def test_a_failing_shell_block_shows_no_code_but_its_own(executor: JupyterCodeExecutor) -> None:
    result = run(executor, "exit 3", language="bash")
    assert (result.status, result.cells[0].error_name) == ("error", "CalledProcessError")
    assert "File " not in result.output
    assert "script_magic" not in result.output


def test_options_of_a_shell_cell_are_those_of_ipython(executor: JupyterCodeExecutor) -> None:
    assert run(executor, "%%bash --out text\necho kept", "print(repr(text))").output == "\n'kept\\n'\n"


@pytest.mark.parametrize("backend", ["Agg", "svg"])
def test_a_plot_with_a_backend_that_shows_nothing_is_displayed(executor: JupyterCodeExecutor, backend: str) -> None:
    assert images(executor, f"import matplotlib\nmatplotlib.use({backend!r})\n{PLOT}") == 1
    assert images(executor, "x = 1") == 0, "each plot is displayed once"
    assert images(executor, "plt.plot([3, 1])") == 1, "the figure is open, and has changed"
    assert images(executor, "plt.savefig('again.png')\nplt.close('all')") == 0


def test_a_plot_that_is_saved_with_such_a_backend_is_not_displayed_too(executor: JupyterCodeExecutor) -> None:
    code = "import matplotlib\nmatplotlib.use('Agg')\nimport matplotlib.pyplot as plt\n"
    result = run(executor, f"{code}plt.plot([1, 2])\nplt.savefig('saved.png', bbox_inches='tight')")
    assert [Path(path).name for path in result.output_files] == ["saved.png"]
    run(executor, "plt.close('all')\nmatplotlib.use('module://matplotlib_inline.backend_inline')")


def test_the_backend_of_the_host_is_not_that_of_its_kernels(output_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MPLBACKEND", "TkAgg")
    with JupyterCodeExecutor(output_dir=output_dir, timeout=60) as executor:
        assert run(executor, PLOT).output.startswith("Image data saved to ")


def test_the_backend_of_the_host_is_not_that_of_a_pool(output_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MPLBACKEND", "Agg")
    with (
        KernelPool(size=1, preload=["matplotlib.pyplot"]) as pool,
        JupyterCodeExecutor(pool, output_dir=output_dir, timeout=60) as executor,
    ):
        assert run(executor, PLOT).output.startswith("Image data saved to ")


def test_an_image_of_pillow_is_displayed_and_no_window_opens(executor: JupyterCodeExecutor, tmp_path: Path) -> None:
    viewer = tmp_path / "xdg-open"
    viewer.write_text("#!/bin/sh\ntouch $(dirname $0)/opened\n")
    viewer.chmod(0o755)
    path = f"import os\nos.environ['PATH'] = {str(tmp_path)!r} + ':' + os.environ['PATH']\n"
    assert images(executor, f"{path}from PIL import Image\nImage.new('RGB', (4, 4)).show()") == 1
    assert not (tmp_path / "opened").exists()


def test_a_second_introduction_changes_nothing(executor: JupyterCodeExecutor) -> None:
    (expression,) = SET_UP.values()
    run(executor, "import sys\nsys.argv.append('own')\nfinders = len(sys.meta_path)")
    result = run(executor, f"{expression}\nprint(sys.argv[1:], len(sys.meta_path) - finders)\ndel sys.argv[1:]")
    assert result.output == "['own'] 0\n"


@pytest.mark.parametrize(
    ("code", "notice"),
    [
        ("!false", "`false` failed with exit code 1"),
        ("secret = 'hunter2'\n!TOKEN={secret} ls --no-such-option={secret}", "`ls …` failed with exit code 2"),
        ("!true && exit 3", "the command failed with exit code 3"),
        ("!kill -9 $$", "`kill …` was killed by signal 9"),
        ("%pip install --no-index nosuchpackage", "`pip install …` failed with exit code 1"),
    ],
)
def test_a_failed_command_is_reported_in_the_answer_and_in_the_cell(
    executor: JupyterCodeExecutor, code: str, notice: str
) -> None:
    result = executor.run(f"{code}\nprint('next')", timeout=120)
    assert (result.status, f"[nbtape: {notice}]\n" in result.output) == ("ok", True)
    assert f"[nbtape: {notice}]\n" in printed(executor, result, "stderr")
    assert "hunter2" not in printed(executor, result, "stderr").partition("[nbtape")[2]
    assert "next\n" in result.output


def test_a_command_that_succeeds_sees_the_variables_of_its_function(executor: JupyterCodeExecutor) -> None:
    result = run(executor, "def say(word):\n    !echo {word} $word\nsay('here')")
    assert result.output.replace("\r", "") == "here here\n"


@pytest.mark.parametrize(("code", "language"), [("import time\ntime.sleep(60)", "python"), ("sleep 60", "bash")])
def test_a_timeout_is_one_line(executor: JupyterCodeExecutor, code: str, language: str) -> None:
    result = executor.run(code, language=language, timeout=1)
    assert (result.status, result.output) == ("timeout", "Timeout: stopped after 1 s. Variables are kept.")
    (output,) = executor.outputs(result.cells[0])
    assert output["ename"] == "KeyboardInterrupt", "the notebook shows where it was stopped"
