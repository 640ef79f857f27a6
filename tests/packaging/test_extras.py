"""The core works without the packages of the extras, and features that need one name the extra to install."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from nbtape.errors import MissingExtraError

if TYPE_CHECKING:
    from collections.abc import Mapping

PROJECT = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]

#: Modules that `pip install nbtape` does not install, by the packages that extras name.
ABSENT = {
    "jupytext": "jupytext",
    "nbconvert": "nbconvert",
    "nh3": "nh3",
    "lxml": "lxml",
    "pillow": "PIL",
    "bleach": "bleach",
    "mistune": "mistune",
}
#: The frameworks, by the integrations that use them.
FRAMEWORKS = {
    "ag2": "ag2",
    "agent_framework": "agent_framework",
    "autogen": "autogen_core",
    "langchain": "langchain_core",
    "mcp": "mcp",
    "openai_agents": "agents",
    "pydantic_ai": "pydantic_ai",
    "smolagents": "smolagents",
}
PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="


def run_without(
    modules: list[str], code: str, *arguments: str, cwd: Path, stdin: str = ""
) -> subprocess.CompletedProcess[str]:
    """Run Python code in a process in which these modules are not installed."""
    hidden = f"import sys\nsys.modules |= dict.fromkeys({modules!r})"  # Python treats these modules as missing.
    return subprocess.run(
        [sys.executable, "-c", f"{hidden}\n{code}", *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=60,
        cwd=cwd,
        check=False,
    )


def nbtape(*arguments: str, cwd: Path, stdin: str = "") -> subprocess.CompletedProcess[str]:
    """Run the command where no extra is installed."""
    return run_without([*ABSENT.values()], "import nbtape.cli; nbtape.cli.main()", *arguments, cwd=cwd, stdin=stdin)


def write_notebook(path: Path, data: Mapping[str, str] | None = None) -> Path:
    """Write a notebook as someone else might: one cell, with an output of these types."""
    outputs = [new_output("execute_result", data=dict(data))] if data else []
    cells = [new_markdown_cell("Words."), new_code_cell("1 + 1", outputs=outputs, execution_count=1)]
    nbformat.write(new_notebook(cells=cells), path)
    return path


class TestCore:
    def test_help_and_show_need_no_extra(self, tmp_path: Path) -> None:
        write_notebook(tmp_path / "n.ipynb", {"text/plain": "2", "image/png": PNG, "text/html": "<b>2</b>"})
        for arguments in (["--help"], ["export", "--help"], ["replay", "--help"], ["show", "n.ipynb"]):
            done = nbtape(*arguments, cwd=tmp_path)
            assert (done.returncode, done.stderr) == (0, ""), arguments

    def test_run_replay_and_export_to_a_notebook_need_no_extra(self, tmp_path: Path) -> None:
        done = nbtape("run", "-", "--json", cwd=tmp_path, stdin="A sum:\n```python\nprint(1 + 1)\n```\n")
        assert done.returncode == 0, done.stderr
        notebook = json.loads(done.stdout)["notebook"]
        done = nbtape("replay", notebook, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        done = nbtape("export", notebook, "--to", "ipynb", cwd=tmp_path)
        assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["export", "n.ipynb"], "Export to html needs the package nbconvert: pip install 'nbtape[export]'"),
        (["export", "n.ipynb", "--clean"], "Export to html needs the package nbconvert: pip install 'nbtape[export]'"),
        (["export", "n.ipynb", "--to", "md"], "Export to md needs the package pillow: pip install 'nbtape[export]'"),
        (["export", "n.ipynb", "--to", "py"], "Export to py needs the package jupytext: pip install 'nbtape[export]'"),
        (["run", "s.py"], "Reading a percent script needs the package jupytext: pip install 'nbtape[export]'"),
        (["watch", "n.ipynb", "--web"], "The live page needs the package nbconvert: pip install 'nbtape[export]'"),
        (
            ["replay", "n.ipynb", "--report", "r.html"],
            "An HTML report needs the package pillow: pip install 'nbtape[replay]'",
        ),
    ],
)
def test_a_command_names_the_extra_that_it_needs(arguments: list[str], expected: str, tmp_path: Path) -> None:
    before = {write_notebook(tmp_path / "n.ipynb", {"text/plain": "2"}), tmp_path / "s.py"}
    (tmp_path / "s.py").write_text("# %%\nprint(1)\n")
    done = nbtape(*arguments, cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"nbtape: {expected}\n")
    assert set(tmp_path.iterdir()) == before, "nothing is written"


@pytest.mark.parametrize(
    ("mime", "what"),
    [
        ("image/png", "Comparing images needs the package pillow"),
        ("image/svg+xml", "Comparing HTML and SVG needs the package lxml"),
        ("text/html", "Comparing HTML and SVG needs the package lxml"),
    ],
)
def test_replay_names_the_extra_before_running_anything(mime: str, what: str, tmp_path: Path) -> None:
    write_notebook(tmp_path / "n.ipynb", {"text/plain": "2", mime: PNG})
    done = nbtape("replay", "n.ipynb", cwd=tmp_path)
    assert done.returncode == 2
    assert f"{what}: pip install 'nbtape[replay]'" in " ".join((done.stdout + done.stderr).split())
    assert [path.name for path in tmp_path.iterdir()] == ["n.ipynb"]


@pytest.mark.parametrize("module", FRAMEWORKS)
def test_an_integration_names_the_extra_with_its_framework(module: str, tmp_path: Path) -> None:
    code = f"""if True:
        from nbtape import MissingExtraError
        try:
            import nbtape.integrations.{module}
        except MissingExtraError as exc:
            print(exc.extra, str(exc).partition(": ")[2], type(exc.__cause__).__name__)
    """
    done = run_without([FRAMEWORKS[module]], code, cwd=tmp_path)
    extra = module.replace("_", "-")
    assert done.stdout == f"{extra} pip install 'nbtape[{extra}]' ModuleNotFoundError\n", done.stderr
    assert extra in EXTRAS


def test_images_for_a_model_are_left_out_with_a_warning(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"x")
    code = (
        "from nbtape import CodeResult\nfrom nbtape.integrations._answers import pictures\n"
        "print(pictures(CodeResult(0, '', ['a.png', 'a.png'], 'ok', [], None)))"
    )
    code = f"import logging\nlogging.basicConfig(format='%(message)s')\n{code}"
    done = run_without(["PIL"], code, cwd=tmp_path)
    assert done.stdout == "[]\n"
    assert done.stderr == "The model sees no images: they need the package pillow (pip install pillow).\n"


def test_the_core_requires_no_package_of_an_extra() -> None:
    required = {requirement.split(">")[0] for requirement in PROJECT["dependencies"]}
    assert not required & ABSENT.keys()
    assert len(required) == len(PROJECT["dependencies"]), "each is named once"


def test_the_extra_all_includes_every_compatible_extra() -> None:
    frameworks = {name.replace("_", "-") for name in FRAMEWORKS} - {"mcp"}
    assert EXTRAS["all"] == [f"nbtape[{','.join(sorted(EXTRAS.keys() - frameworks - {'all', 'replay'}))}]"]
    assert "nbtape[replay]" in EXTRAS["export"]


def test_a_missing_extra_is_a_module_not_found_error() -> None:
    with pytest.raises(ModuleNotFoundError) as raised:
        MissingExtraError.check("This", "export", no_such_module_anywhere="no-such-package")
    assert str(raised.value) == "This needs the package no-such-package: pip install 'nbtape[export]'"
