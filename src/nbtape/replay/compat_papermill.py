"""The private API of papermill that nbtape depends on. `tests/replay/test_compat_papermill.py` checks each use."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nbformat import NotebookNode
from papermill.clientwrap import PapermillNotebookClient  # type: ignore[import-untyped]
from papermill.iorw import papermill_io  # type: ignore[import-untyped]
from papermill.log import logger  # type: ignore[import-untyped]

if TYPE_CHECKING:
    from collections.abc import Mapping

# Without a handler, Python prints papermill's warnings on standard error.
logger.addHandler(logging.NullHandler())


def working_directory() -> Path:
    """The directory that papermill resolves its output path against; the engine itself runs in the notebook's `cwd`."""
    # The handler's public method `cwd` returns this only when it sets a new one.
    return Path(getattr(papermill_io.get_handler("local"), "_cwd", None) or ".")


class _ExpectedError(NotebookNode):
    """An error that papermill does not raise for: it checks the attribute, and writes the dict."""

    @property
    def output_type(self) -> str:
        return "expected_error"


def excuse_errors(cell: NotebookNode) -> None:
    """Keep papermill from raising for the errors of a cell. The written notebook does not change."""
    # papermill also raises for error outputs of cells with the tag `raises-exception`.
    for position, output in enumerate(cell["outputs"]):
        if output["output_type"] == "error":
            cell["outputs"][position] = _ExpectedError(output)  # type: ignore[no-untyped-call]


class OutputEcho:
    """Sends outputs to papermill's log and to the options `stdout_file` and `stderr_file`, as its own engine does."""

    def __init__(self, options: Mapping[str, Any], *, log_output: bool) -> None:
        self.log_output = log_output
        self.stdout_file, self.stderr_file = options.get("stdout_file"), options.get("stderr_file")
        self.log = logger

    def take(self, output: Mapping[str, Any]) -> None:
        if self.log_output or self.stdout_file or self.stderr_file:
            # The method needs only the attributes of this class. A papermill client would need a kernel.
            PapermillNotebookClient.log_output_message(self, NotebookNode(output))
