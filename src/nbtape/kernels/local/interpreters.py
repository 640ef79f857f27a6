"""The Python of local kernels: another one than nbtape's own, and how to install packages for it."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from nbtape.common.argument_checks import path_argument

if TYPE_CHECKING:
    from collections.abc import Mapping

#: The file that marks a virtual environment, see https://docs.python.org/3/library/venv.html.
_VENV_FILE: Final = "pyvenv.cfg"

#: Files that pipx and `uv tool install` write into the environments of the commands that they install.
_TOOL_FILES: Final = ("pipx_metadata.json", "uv-receipt.toml")

#: What Python prints if a kernel's interpreter lacks ipykernel.
_LACKS_IPYKERNEL: Final = re.compile(r"^(?P<python>\S.*): No module named '?ipykernel(?:_launcher)?\b", re.MULTILINE)


def checked_python(python: Path | str) -> Path:
    """Return the absolute path of an interpreter, or of the one in a virtual environment; raises ValueError.

    Links are kept: the interpreter of a virtual environment is usually a link.
    """
    path = path_argument("python", python)
    if os.sep not in str(path) and not path.exists() and (found := shutil.which(path)):
        path = Path(found)
    if path.is_dir():
        path = _interpreter_in(path)
    if not path.is_file() or not os.access(path, os.X_OK):
        what = "is not executable" if path.exists() else "does not exist"
        raise ValueError(f"{path} {what}. Set the path of an interpreter or of a virtual environment with python=.")
    return Path(os.path.abspath(path))  # noqa: PTH100  (Path.absolute keeps "..")


def default_python(directory: Path) -> Path | None:
    """The Python for kernels if nbtape was installed apart from the user's packages, by pipx, uvx or `uv tool install`.

    That is the active virtual environment, or the `.venv` of the project that a directory belongs to. None without
    either, or if nbtape shares its environment with the user's packages.
    """
    own = Path(sys.prefix)
    if not _is_isolated(own):
        return None
    active = os.environ.get("VIRTUAL_ENV")
    for place in [Path(active)] if active else _project_environments(directory.absolute()):
        python = _interpreter_in(place)
        if python.is_file() and place.resolve() != own.resolve():
            return python
    return None


def activation(python: Path) -> Mapping[str, str]:
    """Environment variables that activate the virtual environment of a Python, in the form of a kernel spec's `env`."""
    environment = python.parent.parent
    if not (environment / _VENV_FILE).is_file():
        return {}
    return {"VIRTUAL_ENV": str(environment), "PATH": f"{python.parent}{os.pathsep}${{PATH}}"}


def install_command(python: Path | str, *packages: str) -> str:
    """The shell command that installs packages for a Python. Environments that uv made have no pip."""
    try:
        settings = (Path(python).parent.parent / _VENV_FILE).read_text()
    except (OSError, UnicodeDecodeError):
        settings = ""
    if re.search(r"^uv\s*=", settings, re.MULTILINE):
        return shlex.join(["uv", "pip", "install", "--python", str(python), *packages])
    return shlex.join([str(python), "-m", "pip", "install", *packages])


def lack_of_ipykernel(log: str) -> str:
    """What to do if a kernel did not start because its Python lacks ipykernel, by its log; otherwise empty."""
    found = _LACKS_IPYKERNEL.search(log)
    if found is None:
        return ""
    python = found["python"]
    command = install_command(python, "ipykernel")
    return f"{python} has no ipykernel. Install it with `{command}`, or choose an environment that has it with python=."


def _interpreter_in(environment: Path) -> Path:
    return environment / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")


def _is_isolated(prefix: Path) -> bool:
    if any((prefix / name).is_file() for name in _TOOL_FILES):
        return True
    # uvx runs commands in environments in its cache. `uv run --with` does, too, but these extend the project's.
    if not prefix.parent.name.startswith("archive-v") or "UV" not in os.environ:
        return False
    return "extends-environment" not in (prefix / _VENV_FILE).read_text()


def _project_environments(directory: Path) -> list[Path]:
    """The `.venv` of a directory and of those above it, up to the root of the project."""
    places = []
    for place in (directory, *directory.parents):
        places.append(place / ".venv")
        if (place / "pyproject.toml").exists() or (place / ".git").exists():
            return places
    return places[:1]
