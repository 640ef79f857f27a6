"""Every code block an agent runs, on tape: a live Jupyter notebook that anyone can open, check and replay.

with JupyterCodeExecutor(output_dir="coding") as executor:
    result = executor.execute_code_blocks([CodeBlock(language="python", code="print('Hello, World!')")])
"""

from __future__ import annotations

__version__ = "0.1.0"

import logging as _logging

from nbtape.blocking import JupyterCodeExecutor
from nbtape.blocks import CODE_WRITER_SYSTEM_MESSAGE, CodeBlock, MarkdownCodeExtractor
from nbtape.errors import (
    BlockInterrupted,
    KernelError,
    KernelNotInstalledError,
    KernelStartError,
    NbtapeError,
    NotebookError,
    NotebookWriteError,
    OutputDirectoryError,
    SourceError,
    WrongLoopError,
)
from nbtape.executor import AsyncJupyterCodeExecutor
from nbtape.results import CellResult, CodeResult

__all__ = [
    "CODE_WRITER_SYSTEM_MESSAGE",
    "AsyncJupyterCodeExecutor",
    "BlockInterrupted",
    "CellResult",
    "CodeBlock",
    "CodeResult",
    "JupyterCodeExecutor",
    "KernelError",
    "KernelNotInstalledError",
    "KernelStartError",
    "MarkdownCodeExtractor",
    "NbtapeError",
    "NotebookError",
    "NotebookWriteError",
    "OutputDirectoryError",
    "SourceError",
    "WrongLoopError",
]

# The library logs and never prints: not even where nobody has set up logging.
_logging.getLogger(__name__).addHandler(_logging.NullHandler())
