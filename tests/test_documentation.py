"""The documentation shows what actually happens."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import click
import nbformat
import pytest

from nbtape import CodeBlock, replay
from nbtape.cli.commands import nbtape
from nbtape.messages.transcripts import read_source
from nbtape.results import MEANINGS

REPOSITORY = Path(__file__).parents[1]
NOTEBOOKS = REPOSITORY / "notebooks"
GUIDES = NOTEBOOKS / "guides"
README = (REPOSITORY / "README.md").read_text()

#: Transcripts of agents, without the start page of the site.
TRANSCRIPTS = sorted(set(NOTEBOOKS.glob("*.md")) - {NOTEBOOKS / "index.md"})

RECORDED_FAILURES = {"parcels": 1}

#: The notebooks of the documentation, recorded by `scripts/notebooks`.
RECORDED = sorted(path.stem for path in (NOTEBOOKS / "sources").glob("*.md"))


def fences(language: str, text: str = README) -> list[str]:
    blocks = re.findall(rf"^(`{{3,}}){language}\n(.*?)^\1$", text, flags=re.MULTILINE | re.DOTALL)
    return [block for _, block in blocks]


def run(command: list[str], cwd: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, **variables}
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=240, check=False)


@pytest.mark.parametrize("transcript", TRANSCRIPTS, ids=lambda path: path.stem)
def test_a_transcript_runs_with_the_expected_failures(transcript: Path, tmp_path: Path) -> None:
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


def test_the_failure_in_a_transcript_is_fixed_by_the_next_block(tmp_path: Path) -> None:
    run(["nbtape", "run", str(NOTEBOOKS / "parcels.md"), "--keep-going", "--output-dir", str(tmp_path)], cwd=tmp_path)
    cells = nbformat.read(tmp_path / "parcels.ipynb", as_version=4).cells
    statuses = [cell.metadata.nbtape.status for cell in cells if cell.cell_type == "code"]
    assert statuses[statuses.index("error") + 1] == "ok"
    data = [set(output.data) for cell in cells for output in cell.get("outputs", []) if "data" in output]
    assert any("image/png" in mime_types for mime_types in data), "a plot"
    assert any("text/html" in mime_types for mime_types in data), "a table"


@pytest.mark.parametrize("name", RECORDED)
def test_a_notebook_of_the_documentation_is_reproducible(
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
def test_a_notebook_of_the_documentation_has_no_paths_of_the_machine_that_recorded_it(name: str) -> None:
    text = (NOTEBOOKS / f"{name}.ipynb").read_text()
    assert not re.findall(r"/(?:tmp|root|home|Users|private|var/folders)/[^\s\"]*", text)
    assert "environment" not in nbformat.reads(text, as_version=4).metadata.nbtape


def test_the_notebooks_of_the_documentation_are_complete_and_small() -> None:
    names = ["1-first-steps", "2-docker", "3-servers", "4-replay", "5-agents", "6-recovery"]
    assert names == RECORDED == sorted(path.stem for path in NOTEBOOKS.glob("*.ipynb"))
    assert sum((NOTEBOOKS / f"{name}.ipynb").stat().st_size for name in names) < 600_000


@pytest.mark.parametrize("name", RECORDED)
def test_every_link_in_a_notebook_has_a_target(name: str) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", (NOTEBOOKS / "sources" / f"{name}.md").read_text()):
        assert (NOTEBOOKS / target).exists(), target


def test_every_python_block_of_the_readme_has_a_test() -> None:
    quick_start, agent, docker = fences("python")
    assert ("failed = " in quick_start, "OpenAI()" in agent, "DockerJupyterServer()" in docker) == (True, True, True)


def test_the_quick_start_prints_what_the_readme_shows(tmp_path: Path) -> None:
    quick_start, *_ = fences("python")
    result, failed = fences("text")
    done = run([sys.executable, "-c", f"{quick_start}print(failed.output)"], cwd=tmp_path)
    assert done.stdout == result + failed, done.stderr
    assert (tmp_path / "coding" / "session.ipynb").exists()


#: The part of `openai` that the README uses, with a model that writes code, reads the output and answers with it.
OPENAI = """
from types import SimpleNamespace as Namespace

class OpenAI:
    def __init__(self):
        self.chat = Namespace(completions=self)

    def create(self, model, messages):
        system, task, *rest = messages
        assert (system["role"], task["role"]) == ("system", "user")
        code = "I count.\\n\\n```python\\na, b = 0, 1\\nfor _ in range(14):\\n    a, b = b, a + b\\nprint(a)\\n```"
        answer = f"It is {rest[-1]['content'].strip()}." if rest else code
        return Namespace(choices=[Namespace(message=Namespace(content=answer))])
"""


def test_the_agent_in_the_readme_runs_and_records_the_code_of_its_model(tmp_path: Path) -> None:
    _, agent, _ = fences("python")
    (tmp_path / "openai.py").write_text(OPENAI)
    done = run([sys.executable, "-c", agent], cwd=tmp_path)
    assert done.stdout == "It is 377.\n", done.stderr
    said, code, final = nbformat.read(tmp_path / "coding" / "agent.ipynb", as_version=4).cells
    assert (said.source, code.metadata.nbtape.status) == ("I count.", "ok")
    assert final.source == "It is 377."


def test_the_docker_example_in_the_readme_prints_the_shown_output(tmp_path: Path, base_image: str) -> None:
    *_, docker = fences("python")
    (promise,) = re.findall(r"  # (.*)$", docker, flags=re.MULTILINE)
    done = run([sys.executable, "-c", on_base_image(docker, base_image)], cwd=tmp_path)
    assert done.stdout.strip() == promise, done.stderr


def on_base_image(code: str, base_image: str) -> str:
    """The code, with containers that use an image available locally."""
    return (
        "import functools, nbtape\n"
        f"nbtape.DockerJupyterServer = functools.partial(nbtape.DockerJupyterServer, base_image={base_image!r})\n{code}"
    )


#: Guides whose Python runs on local kernels and servers, in one session per guide.
RUNNABLE = ["jupyterlab", "recording", "replay", "servers", "troubleshooting"]


def guide(name: str) -> str:
    return "\n".join(fences("python", (GUIDES / f"{name}.md").read_text()))


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory in which the examples run one after the other, as a reader may run them, in any order."""
    return tmp_path_factory.mktemp("shared")


@pytest.mark.parametrize("name", RUNNABLE)
def test_the_python_code_in_a_guide_runs(name: str, shared: Path) -> None:
    done = run([sys.executable, "-W", "error", "-c", guide(name)], cwd=shared)
    assert done.returncode == 0, done.stderr


def test_the_replay_in_the_guide_is_of_the_notebook_that_it_records(shared: Path) -> None:
    (shared / "coding").mkdir(exist_ok=True)
    nbformat.write(nbformat.v4.new_notebook(), shared / "coding" / "session.ipynb")
    done = run([sys.executable, "-c", guide("replay")], cwd=shared)
    verdicts = re.findall(r"^\d+ (\w+)$", done.stdout, re.MULTILINE)
    assert verdicts == ["same", "same", "same_error"], done.stdout + done.stderr


def test_the_python_code_in_the_docker_guide_runs(tmp_path: Path, base_image: str) -> None:
    done = run([sys.executable, "-c", on_base_image(guide("docker"), base_image)], cwd=tmp_path)
    assert done.stdout.strip() == "/workspace", done.stderr


def test_the_guide_on_resuming_prints_what_it_shows_also_the_second_time(shared: Path) -> None:
    expected = "".join(fences("text", (GUIDES / "resume-and-fork.md").read_text()))
    for name in ("squares-of-n", "squares-of-n-2"):
        done = run([sys.executable, "-c", guide("resume-and-fork")], cwd=shared)
        assert done.stdout == expected.replace("squares-of-n", name), done.stderr


def test_the_pool_in_the_guide_preloads_its_modules(tmp_path: Path) -> None:
    code, _ = fences("python", (GUIDES / "pools.md").read_text())
    use = (
        "pool.fill()\n"
        "print(executor.run(\"import sys; print('matplotlib.pyplot' in sys.modules)\").output, end='')\n"
        "executor.stop()\npool.stop()"
    )
    done = run([sys.executable, "-c", f"{code}\n{use}"], cwd=tmp_path)
    assert done.stdout == "True\n", done.stderr


def test_the_pool_with_containers_in_the_guide_can_be_created(tmp_path: Path) -> None:
    done = run([sys.executable, "-c", guide("pools")], cwd=tmp_path)
    assert done.returncode == 0, done.stderr


def test_the_guide_on_troubleshooting_has_every_exit_code() -> None:
    table = (GUIDES / "troubleshooting.md").read_text()
    assert {int(code) for code in re.findall(r"^\| (\d+) \|", table, flags=re.MULTILINE)} == set(MEANINGS)


def commands() -> list[str]:
    lines = [line.removeprefix("$ ") for fence in fences("console") for line in fence.splitlines()]
    return [line for line in lines if line.startswith("nbtape ")]


def needs_more(command: str) -> bool:
    """Whether a command needs a Docker engine or an extra."""
    return "--docker" in command or command.startswith(("nbtape image", "nbtape mcp"))


def test_the_commands_in_the_readme_work_in_order(tmp_path: Path) -> None:
    shutil.copytree(NOTEBOOKS, tmp_path / "notebooks")
    for command in commands():
        if not needs_more(command):
            done = run(["sh", "-c", command], cwd=tmp_path, HOME=str(tmp_path))
            assert done.returncode == 0, command + done.stdout + done.stderr
    assert (tmp_path / ".bashrc").read_text()


def test_the_docker_commands_in_the_readme_work(tmp_path: Path, base_image: str) -> None:
    source = NOTEBOOKS / "fibonacci.md"
    assert run(["nbtape", "run", str(source), "--output-dir", "runs"], cwd=tmp_path).returncode == 0
    (command,) = [command for command in commands() if command.startswith("nbtape replay") and "--docker" in command]
    done = run(["sh", "-c", command.replace("--docker", f"--base-image {base_image} --docker")], cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("command", [line for line in commands() if needs_more(line)])
def test_a_command_in_the_readme_has_valid_options(command: str) -> None:
    found: click.Command = nbtape
    arguments = shlex.split(command, comments=True)[1:]
    while isinstance(found, click.Group):
        name, *arguments = arguments
        found = found.commands[name]
    found.make_context(None, arguments)


def test_the_table_of_faults_lists_the_tested_ones() -> None:
    tests = (REPOSITORY / "tests").rglob("*.py")
    marks = {
        name
        for path in tests
        for name in re.findall(r"^ *@(?:pytest\.mark\.)?fault\(\"(.*?)\"", path.read_text(), re.MULTILINE)
    }
    table = (REPOSITORY / "tests" / "faults.md").read_text()
    assert set(re.findall(r"^\| (.*?) \|", table, re.MULTILINE)) - {"fault", "---"} == marks


def test_scripts_named_in_the_readme_exist() -> None:
    scripts = set(re.findall(r"scripts/([\w-]+)", README))
    assert {"demo", "test", "bench"} <= scripts
    for name in scripts:
        assert os.access(REPOSITORY / "scripts" / name, os.X_OK), name


@pytest.mark.parametrize("page", [REPOSITORY / "README.md", *sorted(GUIDES.glob("*.md"))], ids=lambda page: page.stem)
def test_every_link_on_a_page_has_a_target(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text()):
        assert target.startswith("https://") or (page.parent / target).exists(), target
