"""What the documentation shows is what happens."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from nbtape import CodeBlock, replay
from nbtape.messages.transcripts import read_source

REPOSITORY = Path(__file__).parents[1]
NOTEBOOKS = REPOSITORY / "notebooks"
README = (REPOSITORY / "README.md").read_text()

#: What agents wrote, without the start page of the site.
TRANSCRIPTS = sorted(set(NOTEBOOKS.glob("*.md")) - {NOTEBOOKS / "index.md"})

RECORDED_FAILURES = {"parcels": 1}

#: The notebooks of the documentation, which `scripts/notebooks` records.
RECORDED = sorted(path.stem for path in (NOTEBOOKS / "sources").glob("*.md"))


def fences(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, flags=re.MULTILINE | re.DOTALL)


def run(command: list[str], cwd: Path) -> subprocess.CompletedProcess[str]:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path}
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=240, check=False)


@pytest.mark.parametrize("transcript", TRANSCRIPTS, ids=lambda path: path.stem)
def test_a_transcript_runs_as_its_agent_says(transcript: Path, tmp_path: Path) -> None:
    expected = RECORDED_FAILURES.get(transcript.stem, 0)
    done = run(["nbtape", "run", str(transcript), "--keep-going", "--output-dir", str(tmp_path)], cwd=tmp_path)
    assert done.returncode == bool(expected), done.stdout + done.stderr
    notebook = nbformat.read(tmp_path / f"{transcript.stem}.ipynb", as_version=4)
    nbformat.validate(notebook)
    statuses = [cell.metadata.nbtape.status for cell in notebook.cells if cell.cell_type == "code"]
    assert statuses.count("error") == expected
    assert statuses.count("ok") == len(statuses) - expected
    if transcript.stem == "fibonacci":
        assert "377" in done.stdout


def test_a_mistake_is_repaired_by_the_block_after_it(tmp_path: Path) -> None:
    run(["nbtape", "run", str(NOTEBOOKS / "parcels.md"), "--keep-going", "--output-dir", str(tmp_path)], cwd=tmp_path)
    cells = nbformat.read(tmp_path / "parcels.ipynb", as_version=4).cells
    statuses = [cell.metadata.nbtape.status for cell in cells if cell.cell_type == "code"]
    assert statuses[statuses.index("error") + 1] == "ok"
    data = [set(output.data) for cell in cells for output in cell.get("outputs", []) if "data" in output]
    assert any("image/png" in mime_types for mime_types in data), "a plot"
    assert any("text/html" in mime_types for mime_types in data), "a table"


@pytest.mark.parametrize("name", RECORDED)
def test_a_notebook_of_the_documentation_shows_what_it_does(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    if "docker" in name:
        monkeypatch.setenv("BASE_IMAGE", request.getfixturevalue("base_image"))
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    empty = tmp_path / "empty"
    empty.mkdir()
    report = replay(
        NOTEBOOKS / f"{name}.ipynb",
        tmp_path / "replayed.ipynb",
        directory=empty,
        timeout=240,
        trust_notebook_settings=True,
        allow_ignored=True,
    )
    assert report.exit_code == 0, str(report)


@pytest.mark.parametrize("name", RECORDED)
def test_a_notebook_of_the_documentation_is_recorded_from_its_source(name: str) -> None:
    cells = nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4).cells
    parts = read_source(str(NOTEBOOKS / "sources" / f"{name}.md"))
    for cell, part in zip(cells, parts, strict=True):
        if isinstance(part, CodeBlock):
            assert cell.source.removeprefix("%%bash\n") == part.code
            assert cell.metadata.nbtape.status == "ok"
        else:
            assert cell.source == part.text


@pytest.mark.parametrize("name", RECORDED)
def test_a_notebook_of_the_documentation_tells_nothing_of_the_machine_that_recorded_it(name: str) -> None:
    text = (NOTEBOOKS / f"{name}.ipynb").read_text()
    assert not re.findall(r"/(?:tmp|root|home|Users|private|var/folders)/[^\s\"]*", text)
    assert "environment" not in nbformat.reads(text, as_version=4).metadata.nbtape


def test_the_notebooks_of_the_documentation_are_these_and_small() -> None:
    names = ["1-first-steps", "2-docker", "3-servers", "4-replay", "5-agents", "6-recovery"]
    assert names == RECORDED == sorted(path.stem for path in NOTEBOOKS.glob("*.ipynb"))
    assert sum((NOTEBOOKS / f"{name}.ipynb").stat().st_size for name in names) < 600_000


@pytest.mark.parametrize("name", RECORDED)
def test_every_link_of_a_notebook_leads_somewhere(name: str) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", (NOTEBOOKS / "sources" / f"{name}.md").read_text()):
        assert (NOTEBOOKS / target).exists(), target


def test_the_python_of_the_readme_does_what_it_says(tmp_path: Path) -> None:
    code, *_ = fences("python")
    done = run([sys.executable, "-c", code], cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (promise,) = re.findall(r"^print\(again\)  # (.*)$", code, flags=re.MULTILINE)
    assert done.stdout.splitlines()[-1] == promise
    assert (tmp_path / "coding" / "session.ipynb").exists()


def test_the_docker_example_of_the_readme_does_what_it_says(tmp_path: Path, base_image: str) -> None:
    _, code, *_ = fences("python")
    assert code.startswith("with DockerJupyterServer() as server:\n")
    code = code.replace("DockerJupyterServer()", f"DockerJupyterServer(base_image={base_image!r})")
    use = (
        "    print(executor.execute_code_blocks([CodeBlock(code='import os; print(os.getcwd())', language='python')]))"
    )
    done = run([sys.executable, "-c", f"from nbtape import *\n{code}\n{use}"], cwd=tmp_path)
    assert done.stdout == "exit_code=0 output='/workspace\\n' output_files=[]\n", done.stderr


def test_the_pool_of_the_readme_has_imported_what_it_says(tmp_path: Path) -> None:
    code = fences("python")[-1]
    block = "CodeBlock(code='import sys; print(\\'matplotlib.pyplot\\' in sys.modules)', language='python')"
    use = (
        "executor._session._source._pool.fill()\n"
        f"print(executor.execute_code_blocks([{block}]).output, end='')\nexecutor.stop()"
    )
    done = run([sys.executable, "-c", f"from nbtape import *\n{code}\n{use}"], cwd=tmp_path)
    assert done.stdout == "True\n", done.stderr


def test_the_example_of_the_readme_that_resumes_does_what_it_says(tmp_path: Path) -> None:
    first, _, code, _ = fences("python")
    names = "from nbtape import *\n"
    use = "with executor:\n    print(executor.execute_code_blocks([CodeBlock(code='squares[-1]', language='python')]))"
    assert run([sys.executable, "-c", first], cwd=tmp_path).returncode == 0
    done = run([sys.executable, "-c", f"{names}{code}\n{use}"], cwd=tmp_path)
    assert done.stdout == "exit_code=0 output='16' output_files=[]\n", done.stderr


def commands() -> list[str]:
    lines = [line.removeprefix("$ ") for fence in fences("console") for line in fence.splitlines()]
    return [line for line in lines if line.startswith("nbtape ")]


@pytest.mark.parametrize("command", commands())
def test_a_command_of_the_readme_works(command: str, tmp_path: Path) -> None:
    shutil.copytree(NOTEBOOKS, tmp_path / "notebooks")
    done = run(["sh", "-c", command], cwd=tmp_path)
    failures = RECORDED_FAILURES.get(Path(shlex.split(command)[2]).stem, 0)
    assert done.returncode == bool(failures), done.stdout + done.stderr


def test_the_table_of_faults_has_those_that_are_tried() -> None:
    tests = (REPOSITORY / "tests").rglob("*.py")
    marks = {
        name
        for path in tests
        for name in re.findall(r"^ *@(?:pytest\.mark\.)?fault\(\"(.*?)\"", path.read_text(), re.MULTILINE)
    }
    table = (REPOSITORY / "tests" / "faults.md").read_text()
    assert set(re.findall(r"^\| (.*?) \|", table, re.MULTILINE)) - {"fault", "---"} == marks


def test_the_readme_names_scripts_that_are_there() -> None:
    scripts = set(re.findall(r"scripts/([\w-]+)", README))
    assert {"demo", "test", "bench"} <= scripts
    for name in scripts:
        assert os.access(REPOSITORY / "scripts" / name, os.X_OK), name


def test_every_link_of_the_readme_leads_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert target.startswith("https://") or (REPOSITORY / target).exists(), target
