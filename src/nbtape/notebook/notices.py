"""What nbtape says in the outputs of a cell, in brackets on stderr, for people who see nothing else of how it went."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from nbformat.v4 import new_output

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from nbformat import NotebookNode

#: What is said of a cell whose end no error tells. No cause, no number: what ends alike when it is run again is equal.
_ENDINGS: Final[Mapping[str, str]] = {
    "running": "the recording was cut off here",
    "timeout": "the time of this block was up here",
    "interrupted": "this block was interrupted here",
    "kernel_died": "the kernel died here, and its variables are gone",
}


def tell_cut(cell: NotebookNode, left_out: int) -> None:
    """Say that some of the outputs are missing.

    Args:
        cell: The cell, which gets an output more.
        left_out: How many characters of them; if none are, nothing is said.
    """
    if left_out:
        _say(cell, f"{left_out:,} characters of output are left out here: the cell has as much as it may keep")


def tell_ending(cell: NotebookNode, status: str) -> None:
    """Say how a cell failed, unless an error in its outputs does.

    Args:
        cell: The cell, which gets an output more.
        status: How it ended; `running` for one whose recording was cut off.
    """
    if status in _ENDINGS and not any(output["output_type"] == "error" for output in cell["outputs"]):
        _say(cell, _ENDINGS[status])


def tells_ending(output: Mapping[str, Any]) -> bool:
    """Whether an output is about the end of its cell: an error, or what `tell_ending` has said in its place."""
    return output["output_type"] == "error" or output.get("text") in [_remark(words) for words in _ENDINGS.values()]


def _say(cell: NotebookNode, words: str) -> None:
    cell["outputs"].append(new_output("stream", name="stderr", text=_remark(words)))


def _remark(words: str) -> str:
    return f"\n[nbtape: {words}]\n"
