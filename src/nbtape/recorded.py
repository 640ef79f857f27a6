"""How a cell of a recorded notebook had ended, by what the notebook says and shows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from nbtape.notebook import own_metadata
from nbtape.results import EXIT_CODES

if TYPE_CHECKING:
    from collections.abc import Mapping

#: What a cell may say of how it ended; a cell that says none of these was not recorded by nbtape.
_STATUSES: Final = frozenset({*EXIT_CODES, "running"})


def recorded_status(cell: Mapping[str, Any]) -> str:
    """How a code cell ended: a status, or `running` where the recording was cut off.

    What a person has run is told by its outputs; and so is what a person has repaired.

    Args:
        cell: The cell, as nbformat has it.
    """
    status = own_status(cell)
    if status and not (status == "error" and _is_repaired(cell)):
        return status
    if cell["execution_count"] is None:
        return "not_run"
    return "error" if shows_error(cell) else "ok"


def own_status(cell: Mapping[str, Any]) -> str:
    """What nbtape recorded of how a cell ended; empty if it did not record it."""
    status = own_metadata(cell).get("status")
    return status if isinstance(status, str) and status in _STATUSES else ""


def is_left_out(cell: Mapping[str, Any]) -> bool:
    """Whether papermill, nbclient and nbtape leave a cell out when its notebook is run."""
    return "skip-execution" in cell["metadata"].get("tags", [])


def shows_error(cell: Mapping[str, Any]) -> bool:
    """Whether there is an error among the outputs of a cell."""
    return any(output["output_type"] == "error" for output in cell["outputs"])


def _is_repaired(cell: Mapping[str, Any]) -> bool:
    """Whether somebody has run a cell since it failed, so that it shows no error any more."""
    complete = not own_metadata(cell).get("outputs_incomplete")
    return complete and cell["execution_count"] is not None and not shows_error(cell)
