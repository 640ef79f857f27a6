"""Record every code block an agent runs as a live Jupyter notebook that anyone can open, check and replay.

with JupyterCodeExecutor(output_dir="coding") as executor:
    result = executor.execute_code_blocks([CodeBlock(language="python", code="print('Hello, World!')")])
"""

from __future__ import annotations

import logging as _logging
from typing import TYPE_CHECKING as _TYPE_CHECKING

import nbtape.replay
from nbtape._version import __version__ as __version__
from nbtape.errors import (
    BlockInterrupted,
    DirectoryCopyError,
    KernelBusyError,
    KernelError,
    KernelNotInstalledError,
    KernelStartError,
    MissingExtraError,
    NbtapeError,
    NotCopyableError,
    NotebookError,
    NotebookInUseError,
    NotebookReadError,
    NotebookWriteError,
    OutputDirectoryError,
    OutputWriteError,
    ServerError,
    SourceError,
    WrongLoopError,
    WrongProcessError,
)
from nbtape.messages.code_blocks import CodeBlock
from nbtape.messages.prompts import CODE_WRITER_SYSTEM_MESSAGE
from nbtape.results import CellResult, CodeResult

if _TYPE_CHECKING:
    from nbtape.kernels.remote.connection import JupyterConnectionInfo
    from nbtape.messages.extractor import MarkdownCodeExtractor
    from nbtape.pools.pool import KernelPool
    from nbtape.replay.api import replay
    from nbtape.replay.compare.settings import ReplaySettings
    from nbtape.replay.report import ReplayedCell, ReplayedFile, ReplayReport
    from nbtape.servers.docker.server import DockerJupyterServer
    from nbtape.servers.local import LocalJupyterServer
    from nbtape.session.blocking import EmbeddedIPythonCodeExecutor, JupyterCodeExecutor
    from nbtape.session.executor import AsyncJupyterCodeExecutor
    from nbtape.session.options import Options
    from nbtape.session.resume_plan import ResumedCell, Resumption
    from nbtape.session.variables import Variable, Variables

__all__ = [
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

# The library only logs. Without this handler, Python would print warnings if logging is not configured.
_logging.getLogger(__name__).addHandler(_logging.NullHandler())

# Loaded on first use: the executors import asyncio and the servers ssl, which take most of the import time.
_LOADED_WHEN_USED = {
    "AsyncJupyterCodeExecutor": "nbtape.session.executor",
    "DockerJupyterServer": "nbtape.servers.docker.server",
    "EmbeddedIPythonCodeExecutor": "nbtape.session.blocking",
    "JupyterCodeExecutor": "nbtape.session.blocking",
    "JupyterConnectionInfo": "nbtape.kernels.remote.connection",
    "KernelPool": "nbtape.pools.pool",
    "LocalJupyterServer": "nbtape.servers.local",
    "MarkdownCodeExtractor": "nbtape.messages.extractor",
    "Options": "nbtape.session.options",
    "ReplayReport": "nbtape.replay.report",
    "ReplaySettings": "nbtape.replay.compare.settings",
    "ReplayedCell": "nbtape.replay.report",
    "ReplayedFile": "nbtape.replay.report",
    "ResumedCell": "nbtape.session.resume_plan",
    "Resumption": "nbtape.session.resume_plan",
    "Variable": "nbtape.session.variables",
    "Variables": "nbtape.session.variables",
    "replay": "nbtape.replay.api",
}

# Importing the package `nbtape.replay` would bind its name here and hide the function. Import it first and unbind it,
# so that `nbtape.replay` is always the function. `from nbtape.replay.report import …` still works.
del nbtape, replay


def __getattr__(name: str) -> object:
    if name not in _LOADED_WHEN_USED:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_LOADED_WHEN_USED[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
