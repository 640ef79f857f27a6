"""The public names, and the cost of importing them."""

from __future__ import annotations

import subprocess
import sys

import pytest

import nbtape

#: Modules that are imported on first use, so that `import nbtape` stays light.
HEAVY = [
    "click",
    "httpx",
    "jupyter_client",
    "jupytext",
    "markdown_it",
    "nbclient",
    "nbformat",
    "pandas",
    "papermill",
    "rich",
    "websockets",
    "zmq",
]


def test_the_list_of_public_names() -> None:
    assert nbtape.__all__ == [
        "CODE_WRITER_SYSTEM_MESSAGE",
        "AsyncJupyterCodeExecutor",
        "BlockInterrupted",
        "CellResult",
        "CodeBlock",
        "CodeResult",
        "DirectoryCopyError",
        "DockerJupyterServer",
        "EmbeddedIPythonCodeExecutor",
        "JupyterCodeExecutor",
        "JupyterConnectionInfo",
        "KernelBusyError",
        "KernelError",
        "KernelNotInstalledError",
        "KernelPool",
        "KernelStartError",
        "LocalJupyterServer",
        "MarkdownCodeExtractor",
        "MissingExtraError",
        "NbtapeError",
        "NotCopyableError",
        "NotebookError",
        "NotebookInUseError",
        "NotebookReadError",
        "NotebookWriteError",
        "Options",
        "OutputDirectoryError",
        "OutputWriteError",
        "ReplayReport",
        "ReplaySettings",
        "ReplayedCell",
        "ReplayedFile",
        "ResumedCell",
        "Resumption",
        "ServerError",
        "SourceError",
        "Variable",
        "Variables",
        "WrongLoopError",
        "WrongProcessError",
        "replay",
    ]


def test_every_public_name_exists() -> None:
    assert [name for name in nbtape.__all__ if not hasattr(nbtape, name)] == []


def test_nothing_else_looks_public() -> None:
    submodules = {name for name, value in vars(nbtape).items() if type(value).__name__ == "module"}
    found = {name for name in dir(nbtape) if not name.startswith("_")} - submodules - {"annotations"}
    assert found == set(nbtape.__all__)


def test_the_import_is_light() -> None:
    code = f"import sys, nbtape; print(sorted(sys.modules.keys() & {set(HEAVY)!r}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize("first", ["nbtape", "nbtape.replay", "nbtape.replay.report"])
def test_replay_is_the_function_whatever_is_imported_first(first: str) -> None:
    code = (
        f"import {first}\nfrom nbtape import replay\nimport nbtape.replay.compare.settings\nimport nbtape\n"
        "print(callable(replay), nbtape.replay is replay)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "True True\n"
