"""The pre-commit hooks and the GitHub Action replay notebooks, and their guide shows what they accept."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import nbformat
import pytest
import yaml  # type: ignore[import-untyped]
from nbformat.v4 import new_code_cell, new_notebook, new_output

REPOSITORY = Path(__file__).parents[2]
HOOKS = yaml.safe_load((REPOSITORY / ".pre-commit-hooks.yaml").read_text())
ACTION = yaml.safe_load((REPOSITORY / "action.yml").read_text())
GUIDE = (REPOSITORY / "notebooks" / "guides" / "continuous-integration.md").read_text()
EXTRAS = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["optional-dependencies"]
EXAMPLES = [yaml.safe_load(text) for text in re.findall(r"^```yaml\n(.*?)^```", GUIDE, re.MULTILINE | re.DOTALL)]
INSTALL, REPLAY = ACTION["runs"]["steps"]


def write_notebook(path: Path, output: str) -> Path:
    """Write a notebook that prints 2 and shows this output."""
    path.parent.mkdir(exist_ok=True, parents=True)
    cell = new_code_cell("print(1 + 1)", outputs=[new_output("stream", text=output)], execution_count=1)
    nbformat.write(new_notebook(cells=[cell]), path)
    return path


def run(command: list[str], cwd: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, **variables}
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=120, check=False)


class TestHooks:
    @pytest.mark.parametrize("hook", HOOKS, ids=[hook["id"] for hook in HOOKS])
    def test_a_hook_replays_the_notebooks_of_a_commit_and_leaves_no_files(
        self, hook: dict[str, Any], tmp_path: Path
    ) -> None:
        work, temporary = tmp_path / "work", tmp_path / "tmp"
        temporary.mkdir()
        files = [write_notebook(work / "a b" / "good.ipynb", "2\n"), write_notebook(work / "bad.ipynb", "3\n")]
        command = [*shlex.split(hook["entry"]), "--timeout=60", *(str(file.relative_to(work)) for file in files)]
        done = run(command, work, TMPDIR=str(temporary))
        assert done.returncode == 1, done.stderr
        assert "2 notebooks: 1 as recorded, 1 not as recorded" in done.stdout + done.stderr
        assert sorted(path for path in work.rglob("*") if path.is_file()) == sorted(files)
        assert not list(temporary.glob("*/*.ipynb"))

    def test_the_environment_of_pre_commit_gets_the_extra(self) -> None:
        assert [hook.get("additional_dependencies") for hook in HOOKS] == [[".[replay]"], None]
        assert "replay" in EXTRAS


class TestAction:
    def replay(self, cwd: Path, notebooks: str, arguments: str = "") -> tuple[subprocess.CompletedProcess[str], str]:
        """Run the step as GitHub does; also return the outputs that it sets."""
        outputs = cwd.parent / "outputs"
        variables = {"NOTEBOOKS": notebooks, "ARGUMENTS": arguments, "REPORT": "report.html"}
        assert variables.keys() == REPLAY["env"].keys()
        done = run([sys.executable, "-c", REPLAY["run"]], cwd, GITHUB_OUTPUT=str(outputs), **variables)
        return done, outputs.read_text()

    def test_globs_with_spaces_are_replayed_and_reported(self, tmp_path: Path) -> None:
        work = tmp_path / "work"
        write_notebook(work / "a b" / "same.ipynb", "2\n")
        write_notebook(work / "c" / "same.ipynb", "2\n")
        done, outputs = self.replay(work, "a b/*.ipynb\n\n**/*.ipynb\n", "--timeout=60\n--keep-going\n")
        assert (done.returncode, outputs) == (0, "exit-code=0\n"), done.stderr
        assert (work / "report.html").exists()
        replayed = [path.relative_to(work) for path in work.rglob("*-replayed*")]
        assert sorted(replayed) == [Path("a b/same-replayed.ipynb"), Path("c/same-replayed.ipynb")]

    def test_a_notebook_that_differs_fails_the_step(self, tmp_path: Path) -> None:
        work = tmp_path / "work"
        write_notebook(work / "n.ipynb", "3\n")
        done, outputs = self.replay(work, "n.ipynb")
        assert (done.returncode, outputs) == (1, "exit-code=1\n"), done.stderr

    def test_a_pattern_without_notebooks_fails_the_step(self, tmp_path: Path) -> None:
        work = tmp_path / "work"
        write_notebook(work / "n.ipynb", "2\n")
        done, outputs = self.replay(work, "n.ipynb\nother/*.ipynb")
        assert (done.returncode, outputs) == (2, "exit-code=2\n")
        assert done.stdout == "::error::No notebook matches other/*.ipynb\n"
        assert [path.name for path in work.iterdir()] == ["n.ipynb"]

    def test_packages_are_installed_with_the_extra(self, tmp_path: Path) -> None:
        pip = tmp_path / "pip" / "__main__.py"
        pip.parent.mkdir()
        (pip.parent / "__init__.py").touch()
        pip.write_text("import sys\nprint(sys.argv[1:])\nsys.exit(3)\n")
        packages = "pandas>=2\n\n  seaborn==0.13 ; python_version > '3'\n"
        variables = {"PACKAGES": packages, "GITHUB_ACTION_PATH": "/an action", "PYTHONPATH": str(tmp_path)}
        done = run([sys.executable, "-c", INSTALL["run"]], tmp_path, **variables)
        assert done.returncode == 3
        assert done.stdout == (
            "['install', '--quiet', '/an action[replay]', 'pandas>=2', \"seaborn==0.13 ; python_version > '3'\"]\n"
        )

    def test_inputs_reach_a_step_only_as_environment_variables(self) -> None:
        used: set[str] = set()
        for step in ACTION["runs"]["steps"]:
            assert step["shell"] == "python"
            assert "${{" not in step["run"], "an input could then be code"
            used |= {found for value in step["env"].values() for found in re.findall(r"inputs\.([\w-]+)", value)}
        assert used == ACTION["inputs"].keys()


class TestGuide:
    def test_the_hooks_in_the_guide_are_those_of_the_repository(self) -> None:
        (repository,) = EXAMPLES[0]["repos"]
        shown = {hook["id"] for hook in repository["hooks"]}
        names = {hook["id"] for hook in HOOKS}
        assert shown <= names
        assert names == set(re.findall(r"\| `(nbtape-replay[\w-]*)` \|", GUIDE))

    def test_the_inputs_in_the_guide_are_those_of_the_action(self) -> None:
        steps = EXAMPLES[1]["jobs"]["replay"]["steps"]
        (step,) = [step for step in steps if step["uses"].startswith("OWNER/nbtape@")]
        table = re.findall(r"^\| `(\w+)` \| (?:.*) \| (.*) \|$", GUIDE, re.MULTILINE)
        assert step["with"].keys() <= ACTION["inputs"].keys()
        assert [name for name, _ in table] == list(ACTION["inputs"])
        defaults = {"required": None, "none": ""}
        for name, default in table:
            assert ACTION["inputs"][name].get("default") == defaults.get(default, default.strip("`"))
