"""Add notices to a cell's outputs, in brackets on stderr, for people who see only the notebook."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from nbformat.v4 import new_output

from nbtape.notebook.failures import FAILURE_NOTICE, reports_failure

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from nbformat import NotebookNode

#: Notices by status, for a cell without an error output. They have no details, so that they are the same in a replay.
_ENDINGS: Final[Mapping[str, str]] = {
    "running": "the recording was cut off here",
    "timeout": "this block timed out here",
    "interrupted": "this block was interrupted here",
    "kernel_died": "the kernel died here, and its variables are gone",
}


def tell_cut(cell: NotebookNode, left_out: int) -> None:
    """Append a notice if characters of output were left out."""
    if left_out:
        _add_notice(
            cell, f"{left_out:,} characters of output are left out here: the size limit of the cell was reached"
        )


def tell_ending(cell: NotebookNode, status: str) -> None:
    """Append a notice of how a cell failed, unless it shows an error; `running` means that it was cut off."""
    if status in _ENDINGS and not any(output["output_type"] == "error" for output in cell["outputs"]):
        _add_notice(cell, _ENDINGS[status])


def tell_failure(cell: NotebookNode, error: str) -> None:
    """Append a notice of the error with which a cell failed, unless an output shows that it did."""
    if not any(map(reports_failure, cell["outputs"])):
        cell["outputs"].append(new_output("stream", name="stderr", text=f"{FAILURE_NOTICE}{error}]\n"))


def tells_ending(output: Mapping[str, Any]) -> bool:
    """Whether an output reports how its cell failed: an error, or a notice of this module."""
    return (
        output["output_type"] == "error"
        or reports_failure(output)
        or output.get("text") in [*map(_framed, _ENDINGS.values())]
    )


def _add_notice(cell: NotebookNode, notice: str) -> None:
    cell["outputs"].append(new_output("stream", name="stderr", text=_framed(notice)))


def _framed(notice: str) -> str:
    return f"\n[nbtape: {notice}]\n"
