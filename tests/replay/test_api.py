"""Recorded notebooks are replayed, and each cell gets a verdict."""

from __future__ import annotations

import datetime
import json
import math
import os
import shutil
import signal
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import calling
import nbformat
import pytest
from calling import Ended, interrupted_when
from executors import record, run
from full_matrix import first
from nbformat.v4 import new_code_cell, new_notebook, new_output
from reading import code_cells, eventually, read_notebook, stream_text

from nbtape import (
    BlockInterrupted,
    CodeBlock,
    DockerJupyterServer,
    JupyterCodeExecutor,
    NotebookReadError,
    NotebookWriteError,
    replay,
)
from nbtape.cli.replay import replay as command
from nbtape.environment import Difference
from nbtape.notebook.format import own_metadata
from nbtape.notebook.read import read_document

if TYPE_CHECKING:
    from collections.abc import Callable

    from nbtape import LocalJupyterServer, ReplayReport

pytestmark = pytest.mark.usefixtures("leaves_nothing")

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
TRANSCRIPTS = sorted({path.name for path in NOTEBOOKS.glob("*.md")} - {"index.md"})

PYTHON = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}

#: Code that succeeds only once in a directory.
ONCE = "import os\nassert not os.path.exists('once'), 'again'\nopen('once', 'w').close()"


def verdicts(report: ReplayReport) -> list[str]:
    return [cell.verdict for cell in report.cells]


def nbtape(*arguments: str, cwd: Path) -> Ended:
    return calling.nbtape("replay", *arguments, cwd=cwd)


def test_each_cell_gets_the_verdict_of_its_replay(output_dir: Path) -> None:
    count = "import os\nn = len(os.listdir())\nopen(f'file{n}', 'w').close()\nprint(n)"
    notebook = record(
        output_dir,
        "print('always')",
        "object()",
        count,
        "1/0",
        "import time\nprint('begun', flush=True)\ntime.sleep(60)",
        "import os\nif not os.path.exists('fixed'):\n    open('fixed', 'w').close()\n    raise ValueError('first')",
        timeout=2,
    )
    before = notebook.read_bytes()
    report = replay(notebook, in_place=True)
    assert verdicts(report) == ["same", "cosmetic", "different", "same_error", "same_error", "fixed"]
    assert (report.exit_code, report.output.name) == (1, "session-replayed.ipynb")
    assert [cell.index for cell in report.cells] == list(range(6))
    assert [cell.cell_id for cell in report.cells] == [cell["id"] for cell in code_cells(notebook)]
    assert (report.cells[4].recorded, report.cells[4].replayed) == ("timeout", "timeout")
    assert "ValueError: first" in report.cells[5].reason
    assert notebook.read_bytes() == before
    nbformat.validate(again := read_notebook(report.output))
    assert again.metadata["papermill"]["input_path"] == str(notebook)
    assert replay(notebook).output.name == "session-replayed-2.ipynb"


def test_a_reproducible_session_is_as_recorded(output_dir: Path) -> None:
    report = replay(record(output_dir, "x = 6", "x * 7", "1/0", "print(x)"))
    assert (verdicts(report), report.exit_code) == (["same", "same", "same_error", "same"], 0)
    assert str(report) == "session.ipynb: 3 same, 1 same_error."


def test_timeouts_and_kernel_deaths_without_an_error_output_are_compared(output_dir: Path) -> None:
    stubborn = (
        "import os, time\ntry:\n    if not os.path.exists('once'):\n        open('once', 'w').close()\n"
        "        print('early')\n    time.sleep(60)\nexcept KeyboardInterrupt:\n    pass"
    )
    notebook = record(output_dir, stubborn, "import os\nos.kill(os.getpid(), 9)", timeout=2)
    report = replay(notebook)
    assert (verdicts(report), report.exit_code) == (["same_error", "same_error"], 0), str(report)
    said = [stream_text(cell, "stderr") for cell in code_cells(report.output)]
    assert all("[nbtape: " in words for words in said)
    assert said == [stream_text(cell, "stderr") for cell in code_cells(notebook)]


def test_moving_the_notebook_makes_its_path_a_cosmetic_difference(output_dir: Path) -> None:
    notebook = record(output_dir, "import os\nos.getcwd()")
    (elsewhere := output_dir / "moved").mkdir()
    assert verdicts(replay(notebook.rename(elsewhere / notebook.name))) == ["cosmetic"]


def record_transcript(directory: Path, name: str) -> Path:
    done = calling.nbtape("run", NOTEBOOKS / name, "--keep-going", "--json", cwd=directory)
    return Path(json.loads(done.stdout)["notebook"])


@pytest.mark.parametrize("transcript", TRANSCRIPTS)
def test_the_transcripts_of_the_documentation_are_reproducible(output_dir: Path, transcript: str) -> None:
    report = replay(record_transcript(output_dir, transcript))
    assert {cell.verdict for cell in report.cells} <= {"same", "cosmetic", "same_error"}, str(report)
    assert report.environment == []


@pytest.mark.parametrize("transcript", first(1, TRANSCRIPTS))
def test_the_transcripts_of_the_documentation_are_reproducible_in_a_container(
    output_dir: Path, science_image: str, transcript: str
) -> None:
    notebook = record_transcript(output_dir, transcript)
    for path in output_dir.rglob("*"):  # root's files stay root's, and no container runs as root.
        path.chmod(0o777)
    with DockerJupyterServer(custom_image_name=science_image) as server:
        report = replay(notebook, jupyter_server=server)
    assert report.exit_code == 0, str(report)
    assert Difference("image", None, science_image) in (report.environment or [])
    assert f"image none → {science_image}" in str(report)


def test_cells_after_an_unexpected_failure_are_not_run(output_dir: Path) -> None:
    notebook = record(output_dir, ONCE, "print('rest')")
    report = replay(notebook, in_place=True)
    assert verdicts(report) == ["error", "not_run"]
    assert report.cells[0].reason == "AssertionError: again"
    assert verdicts(replay(notebook, keep_going=True, in_place=True)) == ["error", "same"]


def test_a_cell_that_was_not_run_is_as_recorded(output_dir: Path) -> None:
    with JupyterCodeExecutor(output_dir=output_dir) as executor:
        run(executor, "1/0", "print('never')")
    report = replay(executor.notebook)
    assert (verdicts(report), report.exit_code) == (["same_error", "same"], 0)


def test_a_different_error_is_different(output_dir: Path) -> None:
    code = (
        "import os\nold = os.path.exists('once')\nopen('once', 'w').close()\nraise (KeyError if old else ValueError)(1)"
    )
    report = replay(record(output_dir, code), in_place=True)
    assert verdicts(report) == ["different"]
    assert "ValueError" in report.cells[0].reason


def test_a_cell_with_an_ignore_tag_is_not_compared(output_dir: Path) -> None:
    notebook = record(output_dir, "import random\nrandom.random()")
    change(notebook, lambda cell: cell["metadata"].update(tags=["nbval-ignore-output"]))
    assert verdicts(replay(notebook, trust_notebook_settings=True)) == ["ignored"]


def test_a_cell_may_have_its_own_tolerances(output_dir: Path) -> None:
    notebook = record(output_dir, "import os\nopen('n', 'a').write('x')\nprint(1 + os.path.getsize('n') / 1000)")
    assert verdicts(replay(notebook, in_place=True)) == ["different"]
    change(notebook, lambda cell: cell["metadata"]["nbtape"].update(replay={"relative": 0.01}))
    report = replay(notebook, trust_notebook_settings=True, in_place=True)
    assert verdicts(report) == ["ignored"]
    assert "numbers" in report.cells[0].reason or "text differs" in report.cells[0].reason
    assert own_metadata(code_cells(report.output)[0])["replay"] == {"relative": 0.01}, "for a replay of the replay"


@pytest.mark.parametrize("own", ["no", {"relativ": 1}, {"relative": "much"}, {"extra": ["("]}, {"levels": None}])
def test_invalid_cell_settings_are_reported_before_anything_runs(output_dir: Path, own: Any) -> None:
    notebook = record(output_dir, ONCE)
    (output_dir / "once").unlink()
    change(notebook, lambda cell: cell["metadata"]["nbtape"].update(replay=own))
    with pytest.raises(ValueError, match="Block 1 has invalid replay settings"):
        replay(notebook, trust_notebook_settings=True)
    assert not (output_dir / "once").exists()


def change(notebook: Path, act: Callable[[Any], Any]) -> None:
    """Change the first cell of a notebook, as a person would."""
    node = read_notebook(notebook)
    act(node.cells[0])
    nbformat.write(node, notebook)


def test_a_cell_with_the_raises_exception_tag_may_fail(output_dir: Path) -> None:
    cells = [new_code_cell("1/0", metadata={"tags": ["raises-exception"]}), new_code_cell("1")]
    notebook = output_dir / "foreign.ipynb"
    nbformat.write(new_notebook(cells=cells), notebook)
    report = replay(notebook, trust_notebook_settings=True)
    assert [(cell.verdict, cell.replayed) for cell in report.cells] == [("ignored", "error"), ("same", "ok")]
    assert [(cell.verdict, cell.replayed) for cell in replay(notebook).cells] == [("error", "error"), ("same", "ok")]


def test_parameters_injected_by_an_earlier_run_are_replaced(output_dir: Path) -> None:
    with JupyterCodeExecutor(output_dir=output_dir) as executor:
        executor.parameters(n=14)
        run(executor, "print(n)")
    first = replay(executor.notebook, parameters={"n": 3})
    second = replay(first.output, parameters={"n": 5})
    assert verdicts(second) == ["same", "not_run", "different"]
    assert verdicts(replay(first.output)) == ["same", "same", "same"]


def test_a_notebook_that_nbtape_did_not_record_is_compared(output_dir: Path) -> None:
    cells = [
        new_code_cell("1 + 1", execution_count=1, outputs=[result("2")]),
        new_code_cell("1 + 2", execution_count=2, outputs=[result("4")]),
        new_code_cell("1 + 3"),
    ]
    notebook = output_dir / "foreign.ipynb"
    nbformat.write(new_notebook(cells=cells), notebook)
    report = replay(notebook)
    assert verdicts(report) == ["same", "different", "same"]
    assert report.cells[2].recorded == ""


def result(text: str) -> Any:
    return new_output("execute_result", {"text/plain": text}, execution_count=1)


def test_parameters_override_recorded_ones_and_cells_keep_their_index(output_dir: Path) -> None:
    with JupyterCodeExecutor(output_dir=output_dir) as executor:
        executor.parameters(n=14)
        run(executor, "print(n)")
    report = replay(executor.notebook, parameters={"n": 3})
    assert [(cell.index, cell.verdict) for cell in report.cells] == [(0, "same"), (1, "different")]


def test_the_kernel_works_in_the_directory_of_the_notebook(output_dir: Path) -> None:
    (output_dir / "data.txt").write_text("here")
    notebook = record(output_dir, "print(open('data.txt').read())")
    elsewhere = output_dir / "{elsewhere}"
    elsewhere.mkdir()
    report = replay(notebook, elsewhere / "out.ipynb")
    assert verdicts(report) == ["same"]
    assert stream_text(code_cells(elsewhere / "out.ipynb")[0]) == "here\n"


def test_verdicts_are_the_same_on_a_server_and_in_a_container(
    output_dir: Path, gateway: LocalJupyterServer, container: DockerJupyterServer
) -> None:
    paths = "import os\nprint(os.getcwd(), os.path.abspath('x.csv'))"
    notebook = record(output_dir, "x = {'b', 'a'}", "x", "object()", "1/0", paths)
    for server in (gateway, container):
        report = replay(notebook, jupyter_server=server)
        assert report.exit_code == 0, str(report)


def test_progress_counts_executed_cells_and_a_failing_callback_is_ignored(output_dir: Path) -> None:
    with JupyterCodeExecutor(output_dir=output_dir, timeout=30) as executor:
        run(executor, "1", "2")
        executor.skip_code_blocks([CodeBlock("3", "python")], note="A policy forbids it.")
    told: list[tuple[int, int]] = []

    def listen(*news: int) -> None:
        told.append(news)  # type: ignore[arg-type]
        raise ZeroDivisionError

    assert replay(executor.notebook, on_cell=listen).exit_code == 0
    assert told == [(1, 2), (2, 2)]


def test_installed_packages_are_compared_with_the_recorded_ones(output_dir: Path) -> None:
    notebook = record(output_dir, "x = 1")
    node = read_notebook(notebook)
    told = node["metadata"]["nbtape"]["environment"]
    told["packages"] |= {"ipykernel": "1.0", "absent": "2.0"}
    nbformat.write(node, notebook)
    report = replay(notebook)
    now = metadata.version("ipykernel")
    assert list(map(str, report.environment or [])) == [f"ipykernel 1.0 → {now}", "absent 2.0 → none"]
    assert report.exit_code == 0
    assert report.to_dict()["environment"][1] == {"name": "absent", "before": "2.0", "after": None}
    assert "environment: absent 2.0 → none" in nbtape(notebook.name, cwd=output_dir).stdout
    del node["metadata"]["nbtape"]
    nbformat.write(node, notebook)
    assert replay(notebook).environment is None, "it does not tell of its own"


def test_invalid_arguments_are_reported(output_dir: Path) -> None:
    notebook = record(output_dir, "1")
    with pytest.raises(NotebookReadError):
        replay(output_dir / "absent.ipynb")
    with pytest.raises(ValueError, match="recorded notebook"):
        replay(notebook, notebook)
    with pytest.raises(NotebookWriteError, match="its directory does not exist"):
        replay(notebook, output_dir / "absent" / "out.ipynb")
    with pytest.raises(ValueError, match="timeout= must be a finite number"):
        replay(notebook, timeout=0)


def test_the_command_reports_changes_in_its_output_and_exit_code(output_dir: Path) -> None:
    notebook = record(output_dir, "print('always')", ONCE, "print('rest')")
    done = nbtape("session.ipynb", "-o", "out.ipynb", "--report", "report.json", "--in-place", cwd=output_dir)
    assert done.returncode == 1, done.stderr
    assert "block 2: error. AssertionError: again" in done.stdout
    told = json.loads((output_dir / "report.json").read_text())
    assert [cell["verdict"] for cell in told["notebooks"][0]["cells"]] == ["same", "error", "not_run"]
    done = nbtape("session.ipynb", "-o", "out.ipynb", "--report", "report.html", cwd=output_dir)
    assert (done.returncode, done.stderr) == (0, "")
    assert "<pre>always\n</pre>" in (output_dir / "report.html").read_text()
    assert done.stdout == f"session.ipynb: 3 same; files: 1 same.\nNotebook: {notebook.with_name('out.ipynb')}\n"


def test_a_notebook_that_cannot_be_run_does_not_stop_the_others(output_dir: Path) -> None:
    notebook = record(output_dir, "print('always')")
    for name in ("one", "two"):
        shutil.copy(notebook, output_dir / f"{name}.ipynb")
    (output_dir / "bad.ipynb").write_text("no notebook")
    names = ("bad.ipynb", "one.ipynb", "two.ipynb", "session.ipynb")
    done = nbtape(*names, "--jobs", "3", "-o", "out", "--report", "report.json", cwd=output_dir)
    assert done.returncode == 2, done.stderr
    assert "bad.ipynb: invalid JSON" in done.stderr
    assert "4 notebooks: 3 as recorded, 0 not as recorded, 1 could not be run." in done.stdout
    assert sorted(path.name for path in (output_dir / "out").iterdir()) == ["one.ipynb", "session.ipynb", "two.ipynb"]
    told = json.loads((output_dir / "report.json").read_text())["notebooks"]
    assert [entry["exit_code"] for entry in told] == [2, 0, 0, 0]


def test_parameters_that_look_like_numbers_are_numbers(output_dir: Path) -> None:
    with JupyterCodeExecutor(output_dir=output_dir) as executor:
        executor.parameters(n=14, rate=0.5, name="a")
        run(executor, "print(repr(n), repr(rate), repr(name))")
    done = nbtape(
        "session.ipynb", "-o", "out.ipynb", "-p", "n", "3", "-p", "rate", "0.1", "-p", "name", "b", cwd=output_dir
    )
    assert done.returncode == 1, done.stderr
    assert stream_text(code_cells(output_dir / "out.ipynb")[-1]) == "3 0.1 'b'\n"


def test_numbers_that_are_not_finite_are_strings_in_the_metadata(output_dir: Path) -> None:
    with JupyterCodeExecutor(output_dir=output_dir) as executor:
        executor.parameters(rate=0.5, low=0.5, when="")
        run(executor, "print(rate, low)")
    words = ("-p", "rate", "nan", "-p", "low", "-inf")
    done = nbtape("session.ipynb", "-o", "out.ipynb", *words, "--report", "report.json", cwd=output_dir)
    assert done.returncode == 1, done.stderr
    document = strict_json(output_dir / "out.ipynb")
    assert document["metadata"]["papermill"]["parameters"] == {"rate": "nan", "low": "-inf"}
    assert stream_text(code_cells(output_dir / "out.ipynb")[-1]) == "nan -inf\n"
    strict_json(output_dir / "report.json")
    report = replay(executor.notebook, parameters={"rate": [math.inf], "when": datetime.date(2026, 3, 5)})
    parameters = strict_json(report.output)["metadata"]["papermill"]["parameters"]
    assert parameters == {"rate": ["inf"], "when": "2026-03-05"}


def strict_json(path: Path) -> Any:
    """The content of a file, which has none of the numbers that only Python reads."""
    return json.loads(path.read_text(), parse_constant=pytest.fail)


def future_cells() -> list[dict[str, Any]]:
    """Cells and outputs as a later version of nbformat may have them."""
    code = {"cell_type": "code", "id": "code", "metadata": {}, "execution_count": 1, "source": "print(1)"}
    return [
        {"cell_type": "chart", "id": "later", "metadata": {"papermill": 7}, "spec": 5, "rate": math.nan},
        {"cell_type": "chart", "id": "source", "metadata": {"tags": ["parameters"]}, "source": {"a": 1}, "outputs": 3},
        {**code, "outputs": [{"output_type": "stream", "name": "stdout", "text": "1\n"}], "later": [1]},
        {**code, "id": "hologram", "outputs": [{"output_type": "hologram", "data": 5, "text": 7}]},
    ]


@pytest.mark.parametrize("parameters", [None, {"n": 1}])
def test_a_notebook_of_a_later_minor_version_is_replayed(output_dir: Path, parameters: Any) -> None:
    document = {"cells": future_cells(), "metadata": {"papermill": [1], **PYTHON}, "nbformat": 4, "nbformat_minor": 9}
    notebook = output_dir / "later.ipynb"
    notebook.write_text(json.dumps(document))
    report = replay(notebook, parameters=parameters)
    assert [(cell.index, cell.verdict) for cell in report.cells] == [(2, "same"), (3, "different")]
    again = strict_json(report.output)
    nbformat.validate(again)
    assert again["nbformat_minor"] == 9
    later, other = (cell for cell in again["cells"] if cell["cell_type"] == "chart")
    assert (later["spec"], later["rate"], other["source"], other["outputs"]) == (5, None, {"a": 1}, 3)


MINORS: list[Any] = ["5", None, 5.5, True, [5], {}, 10**400, math.nan]
MAJORS: list[Any] = ["4", None, 4.5, [4], {}, 10**400]
MALFORMED = [{"nbformat": 4, "nbformat_minor": minor} for minor in MINORS]
MALFORMED += [{"nbformat": major, "nbformat_minor": 5} for major in MAJORS]


def test_malformed_versions_stop_no_other_notebook(output_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = [str(output_dir / f"bad{n}.ipynb") for n in range(len(MALFORMED))]
    for name, head in zip(names, MALFORMED, strict=True):
        Path(name).write_text(json.dumps({"cells": [], "metadata": {}, **head}))
    nbformat.write(new_notebook(cells=[new_code_cell("1")]), good := output_dir / "good.ipynb")
    code = command.main([*names, str(good), "--json"], standalone_mode=False)
    told = json.loads(capsys.readouterr().out)["notebooks"]
    assert (code, [each["exit_code"] for each in told]) == (2, [*[2] * len(MALFORMED), 0])
    assert all("\n" not in each["error"] for each in told[:-1])


def test_a_bug_that_one_notebook_triggers_stops_no_other(
    output_dir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("one", "two"):
        nbformat.write(new_notebook(cells=[new_code_cell("1")]), output_dir / f"{name}.ipynb")

    def read(path: Path) -> Any:
        if path.name == "one.ipynb":
            raise KeyError("source")
        return read_document(path)

    monkeypatch.chdir(output_dir)
    monkeypatch.setattr(sys.modules["nbtape.replay.api"], "read_document", read)
    code = command.main(["one.ipynb", "two.ipynb", "--report", "report.json"], standalone_mode=False)
    told = json.loads((output_dir / "report.json").read_text())
    assert (code, [each["exit_code"] for each in told["notebooks"]]) == (70, [70, 0])
    assert "KeyError: 'source'. This is a bug in nbtape." in capsys.readouterr().err


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_ctrl_c_stops_the_command_and_all_kernels(output_dir: Path, jobs: str) -> None:
    begun = output_dir / f"begun-{os.getpid()}"
    cells = [new_code_cell(f"open({str(begun)!r}, 'w').close()\nimport time\ntime.sleep(600)")]
    for name in ("one", "two"):
        nbformat.write(new_notebook(cells=cells), output_dir / f"{name}.ipynb")
    command = [sys.executable, "-m", "nbtape", "replay", "one.ipynb", "two.ipynb", "--jobs", jobs]
    with subprocess.Popen(command, cwd=output_dir, stderr=subprocess.PIPE, text=True) as process:
        assert eventually(begun.exists, 60)
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130
        assert process.stderr is not None
        assert process.stderr.read() == "nbtape: Interrupted.\n"
    assert not list(output_dir.parent.glob(".nbtape-copy-*"))


def test_a_replay_that_is_stopped_before_its_first_cell_leaves_nothing(output_dir: Path) -> None:
    nbformat.write(new_notebook(cells=[new_code_cell("open('ran', 'w')")]), path := output_dir / "n.ipynb")
    with pytest.raises(BlockInterrupted):
        replay(path, on_start=lambda stop: stop())
    assert [each.name for each in output_dir.iterdir()] == ["n.ipynb"]


def test_ctrl_c_ends_code_that_ignores_it(output_dir: Path) -> None:
    begun = str(output_dir / "begun")
    ignoring = f"import time\nwhile True:\n    try:\n        open({begun!r}, 'w').close()\n        time.sleep(600)\n"
    cells = [new_code_cell(f"{ignoring}    except KeyboardInterrupt:\n        print('no', flush=True)")]
    nbformat.write(new_notebook(cells=[*cells, new_code_cell("1")]), output_dir / "n.ipynb")
    ended = interrupted_when(output_dir / "begun", "replay", "n.ipynb", cwd=output_dir, kill=os.killpg)
    assert ended == (130, "", "nbtape: Interrupted.\n")
    assert [own_metadata(cell)["status"] for cell in code_cells(output_dir / "n-replayed.ipynb")] == [
        "interrupted",
        "not_run",
    ]


def test_a_replay_is_no_longer_replayed_along_with_its_origin(output_dir: Path) -> None:
    notebook = record(output_dir, "print('always')")
    for _ in range(2):
        done = nbtape(".", cwd=output_dir)
        assert (done.returncode, done.stdout.splitlines()[0]) == (0, "session.ipynb: 1 same.")
    assert done.stderr == (
        "nbtape: Skipping session-replayed.ipynb: it was made from session.ipynb. To replay it, name it alone.\n"
    )
    assert sorted(path.name for path in output_dir.glob("*.ipynb")) == [
        "session-replayed-2.ipynb",
        "session-replayed.ipynb",
        "session.ipynb",
    ]
    assert own_metadata(read_notebook(output_dir / "session-replayed.ipynb"))["derived_from"] == notebook.name
    assert nbtape("session-replayed.ipynb", cwd=output_dir).stdout.startswith("session-replayed.ipynb: 1 same.")


def test_a_parameter_that_the_notebook_does_not_have_is_refused_before_anything_runs(output_dir: Path) -> None:
    with JupyterCodeExecutor(output_dir=output_dir) as executor:
        executor.parameters(n=14)
    done = nbtape("session.ipynb", "-p", "nope", "3", cwd=output_dir)
    assert (done.returncode, done.stderr) == (2, "nbtape: session.ipynb has no parameter nope. Its parameters: n.\n")
    with pytest.raises(ValueError, match=r"has no parameter nope\. Its parameters: n\."):
        replay(executor.notebook, parameters={"nope": 3})
    assert [path.name for path in output_dir.iterdir()] == ["session.ipynb"]
