"""Defaults from the environment and [tool.nbtape]; command-line options take precedence."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import click
import pytest
from calling import nbtape

from nbtape.cli.commands import nbtape as command
from nbtape.cli.defaults import VARIABLES

if TYPE_CHECKING:
    from pathlib import Path


def fenced(code: str) -> str:
    return f"```python\n{code}\n```\n"


def notebook_of(tmp_path: Path, *arguments: str, **environment: str) -> str:
    done = nbtape("run", "-", "--json", *arguments, cwd=tmp_path, stdin=fenced("1"), **environment)
    assert done.returncode == 0, done.stderr
    return str(json.loads(done.stdout)["notebook"]).removeprefix(f"{tmp_path}/")


def test_options_override_the_environment_which_overrides_the_table(tmp_path: Path) -> None:
    (tmp_path / "below").mkdir()
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "nbtape-x"\n[tool.nbtape]\noutput-dir = "table"\n')
    assert notebook_of(tmp_path / "below") == f"{tmp_path}/table/session.ipynb"
    assert notebook_of(tmp_path) == "table/session-2.ipynb"
    assert notebook_of(tmp_path, NBTAPE_OUTPUT_DIR="variable") == "variable/session.ipynb"
    assert notebook_of(tmp_path, "--output-dir", "option", NBTAPE_OUTPUT_DIR="variable") == "option/session.ipynb"


def test_timeout_and_kernel_take_defaults_too(tmp_path: Path) -> None:
    for environment in ({"NBTAPE_TIMEOUT": "1"}, {}):
        done = nbtape("run", "-", cwd=tmp_path, stdin=fenced("import time; time.sleep(60)"), **environment)
        assert done.returncode == 124
        (tmp_path / "pyproject.toml").write_text("[tool.nbtape]\ntimeout = 1.5\n")
    done = nbtape("run", "-", cwd=tmp_path, stdin=fenced("1"), NBTAPE_KERNEL="nosuch")
    assert (done.returncode, "nosuch" in done.stderr) == (2, True)


def test_a_local_kernel_does_not_see_the_variables(tmp_path: Path) -> None:
    code = f"import os; print('found:', os.environ.keys() & {set(VARIABLES.values())!r})"
    done = nbtape("run", "-", cwd=tmp_path, stdin=fenced(code))
    assert "found: set()" in done.stdout, done.stdout + done.stderr


def test_an_option_overrides_a_conflicting_default(tmp_path: Path) -> None:
    assert notebook_of(tmp_path) == "session.ipynb"
    assert notebook_of(tmp_path, "--resume", "session.ipynb", NBTAPE_OUTPUT_DIR="elsewhere") == "session.ipynb"
    done = nbtape("run", "-", "--docker", "no such image", cwd=tmp_path, stdin=fenced("1"), NBTAPE_SERVER="http://x")
    assert "--server" not in done.stderr
    assert notebook_of(tmp_path, "--python", sys.executable, NBTAPE_SERVER="http://127.0.0.1:1") == "session-2.ipynb"
    done = nbtape("export", "session.ipynb", "--to", "ipynb", cwd=tmp_path, NBTAPE_SERVER="http://127.0.0.1:1")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("table", "told"),
    [
        ('server = "http://x"', "has server. Use output-dir, timeout, kernel."),
        ("timeout = true", "timeout of [tool.nbtape] in {file} must be a number."),
        ("kernel = 3", "kernel of [tool.nbtape] in {file} must be a string."),
        ('output-dir = "../up"', "output-dir of [tool.nbtape] in {file} must be in the directory of that file."),
        ('output-dir = "/tmp"', "must be in the directory of that file."),
        ("timeout =", "is not valid TOML"),
    ],
)
def test_an_invalid_table_is_a_one_line_error(tmp_path: Path, table: str, told: str) -> None:
    (file := tmp_path / "pyproject.toml").write_text(f"[tool.nbtape]\n{table}\n")
    done = nbtape("run", "-", cwd=tmp_path, stdin=fenced("1"))
    assert (done.returncode, done.stdout) == (2, "")
    assert told.format(file=file) in done.stderr


def test_a_pyproject_file_that_is_a_link_or_not_toml_is_ignored(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").symlink_to("/dev/zero")
    assert notebook_of(tmp_path) == "session.ipynb"
    (tmp_path / "pyproject.toml").unlink()
    (tmp_path / "pyproject.toml").write_text("not TOML")
    assert notebook_of(tmp_path) == "session-2.ipynb"


@pytest.mark.parametrize("name", ["run", "replay", "export", "mcp"])
def test_the_help_names_the_variables(name: str) -> None:
    told = command.commands[name].get_help(click.Context(command.commands[name]))
    options = {option.name for option in command.commands[name].params}
    named = {option for option, variable in VARIABLES.items() if f"[env var: {variable}" in " ".join(told.split())}
    assert named == VARIABLES.keys() & options
    assert named
