"""Local kernels in another Python than nbtape's own."""

from __future__ import annotations

import json
import os
import sys
import sysconfig
import venv
from typing import TYPE_CHECKING

import pytest
from executors import install

from nbtape import JupyterCodeExecutor, KernelStartError
from nbtape.kernels.local.interpreters import (
    checked_python,
    default_python,
    install_command,
    lack_of_ipykernel,
)

if TYPE_CHECKING:
    from pathlib import Path


def environment(directory: Path, *, has_ipykernel: bool = False, settings: str = "") -> Path:
    """Create a virtual environment and return its interpreter."""
    venv.create(directory, symlinks=True)
    if has_ipykernel:
        packages = next(directory.glob("lib/python*/site-packages"))
        (packages / "shared.pth").write_text(sysconfig.get_path("purelib"))
    with (directory / "pyvenv.cfg").open("a") as file:
        file.write(settings)
    return directory / "bin" / "python"


@pytest.mark.parametrize("is_directory", [True, False])
def test_code_runs_in_the_given_python_with_its_environment_active(tmp_path: Path, *, is_directory: bool) -> None:
    python = environment(tmp_path / "env", has_ipykernel=True)
    given = tmp_path / "env" if is_directory else python
    with JupyterCodeExecutor(python=given, output_dir=tmp_path) as executor:
        told = executor.run(
            "import sys, os, shutil; print(sys.executable, os.environ['VIRTUAL_ENV'], shutil.which('python'))"
        )
    assert told.output.split() == [str(python), str(tmp_path / "env"), str(python)]


def test_a_python_without_ipykernel_is_reported_with_the_command_that_installs_it(tmp_path: Path) -> None:
    python = environment(tmp_path / "env")
    with pytest.raises(KernelStartError) as caught, JupyterCodeExecutor(python=python, output_dir=tmp_path):
        pass
    told = f"{python} has no ipykernel. Install it with `{python} -m pip install ipykernel`, or choose an environment"
    assert told in str(caught.value)


@pytest.mark.parametrize(
    ("name", "what"),
    [("nowhere", "nowhere does not exist"), ("empty", "python does not exist"), ("file", "file is not executable")],
)
def test_a_path_that_is_not_a_python_is_rejected(name: str, what: str, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match=rf"{what}\. Set the path of an interpreter .* with python=\."):
        JupyterCodeExecutor(python=tmp_path / name, output_dir=tmp_path)


def test_python_is_rejected_for_a_server_and_for_a_kernel_in_another_language(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path))
    name = install(tmp_path, "R", ["R", "{connection_file}"])
    with pytest.raises(ValueError, match="python= is for Python kernels"):
        JupyterCodeExecutor(python=sys.executable, kernel_name=name, output_dir=tmp_path)
    with pytest.raises(ValueError, match="python= is only for local kernels"):
        JupyterCodeExecutor("http://127.0.0.1:1", python=sys.executable, output_dir=tmp_path)


def test_a_command_is_found_on_the_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    python = environment(tmp_path / "env")
    monkeypatch.setenv("PATH", str(python.parent))
    assert checked_python("python") == python


@pytest.mark.parametrize(
    ("settings", "command"),
    [("", "{python} -m pip install ipykernel"), ("uv = 0.9.1\n", "uv pip install --python {python} ipykernel")],
)
def test_the_install_command_fits_the_environment(settings: str, command: str, tmp_path: Path) -> None:
    python = environment(tmp_path / "env", settings=settings)
    assert install_command(python, "ipykernel") == command.format(python=python)


def test_a_path_with_a_space_is_quoted_in_the_install_command() -> None:
    assert install_command("/a b/python", "x") == "'/a b/python' -m pip install x"


@pytest.mark.parametrize(
    ("log", "is_it"),
    [
        ("/x/python: No module named ipykernel_launcher\n", True),
        ("/x/python: No module named 'ipykernel'\n", True),
        ("ModuleNotFoundError: No module named 'numpy'", False),
        ("", False),
    ],
)
def test_the_lack_of_ipykernel_is_read_from_the_log(log: str, is_it: bool) -> None:  # noqa: FBT001  (a parameter)
    assert bool(lack_of_ipykernel(log)) == is_it


class TestDefaultPython:
    """The Python of kernels if nbtape is installed apart from the user's packages."""

    @pytest.fixture(params=["uv-receipt.toml", "pipx_metadata.json", "uvx"])
    def isolated(self, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        """Let nbtape run in an environment of its own."""
        own = tmp_path / "archive-v0" / "own" if request.param == "uvx" else tmp_path / "own"
        environment(own)
        if request.param == "uvx":
            monkeypatch.setenv("UV", "/usr/bin/uv")
        else:
            (own / request.param).write_text(json.dumps({}))
        monkeypatch.setattr(sys, "prefix", str(own))
        monkeypatch.delenv("VIRTUAL_ENV", raising=False)
        return own

    @pytest.mark.usefixtures("isolated")
    def test_it_is_the_active_one(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        python = environment(tmp_path / "active")
        monkeypatch.setenv("VIRTUAL_ENV", str(tmp_path / "active"))
        assert default_python(tmp_path) == python

    @pytest.mark.usefixtures("isolated")
    def test_it_is_that_of_the_project(self, tmp_path: Path) -> None:
        below = tmp_path / "project" / "a" / "b"
        below.mkdir(parents=True)
        outside = environment(tmp_path / ".venv")
        (tmp_path / "project" / "pyproject.toml").touch()
        assert default_python(below) is None
        python = environment(tmp_path / "project" / ".venv")
        assert default_python(below) == python
        assert default_python(tmp_path) == outside

    def test_it_is_not_nbtapes_own(self, isolated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("VIRTUAL_ENV", str(isolated))
        assert default_python(tmp_path) is None

    def test_nbtape_in_the_users_environment_keeps_it(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        environment(tmp_path / "active")
        monkeypatch.setenv("VIRTUAL_ENV", str(tmp_path / "active"))
        assert default_python(tmp_path) is None

    def test_an_environment_that_extends_the_projects_is_kept(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        environment(tmp_path / "archive-v0" / "own", settings=f"extends-environment = {os.sep}project\n")
        monkeypatch.setattr(sys, "prefix", str(tmp_path / "archive-v0" / "own"))
        monkeypatch.setenv("UV", "/usr/bin/uv")
        environment(tmp_path / ".venv")
        assert default_python(tmp_path) is None
