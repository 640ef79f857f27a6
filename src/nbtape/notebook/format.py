"""What a recorded notebook tells when it is read again: how its cells had ended, and what they ran in."""

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING, Any, Final

from nbtape._version import __version__
from nbtape.environment import PLACE, read_environment
from nbtape.results import EXIT_CODES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nbtape.environment import Environment

FORMAT_VERSION: Final = 1


#: What a cell may say of how it ended; a cell that says none of these was not recorded by nbtape.
_STATUSES: Final = frozenset({*EXIT_CODES, "running"})

#: Seconds that a cell may have on a notebook's word: a week.
_LONGEST: Final = 7 * 24 * 3600


def kernel_name_of(notebook: Mapping[str, Any]) -> str:
    """The kernel spec that a notebook names; empty if it names none."""
    return str(notebook["metadata"].get("kernelspec", {}).get("name") or "")


def own_metadata(node: Mapping[str, Any]) -> dict[str, Any]:
    """What nbtape says of a notebook or a cell; nothing if that is not what nbtape writes."""
    ours = node["metadata"].get("nbtape")
    return dict(ours) if isinstance(ours, dict) else {}


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


def recorded_seconds(cell: Mapping[str, Any], key: str) -> float | None:
    """Seconds that nbtape recorded of a cell, if a cell can have as many; else None.

    Args:
        cell: The cell, as nbformat has it.
        key: What they are called, `timeout` or `duration`.
    """
    seconds = own_metadata(cell).get(key)
    if type(seconds) not in {int, float} or not 0 < seconds <= _LONGEST:  # type: ignore[operator]
        return None
    return float(seconds)  # type: ignore[arg-type]


def environment_of(notebook: Mapping[str, Any]) -> Environment | None:
    """What the kernel of a notebook ran in when the recording ended; None if it does not tell.

    Args:
        notebook: The notebook, as nbformat has it.
    """
    return read_environment(own_metadata(notebook).get("environment"))


def place_of(notebook: Mapping[str, Any]) -> dict[str, str]:
    """Where the kernel of a notebook was, by the keys of `PLACE`; empty for the machine that recorded it."""
    ours = own_metadata(notebook)
    return {key: ours[key] for key in PLACE if isinstance(ours.get(key), str)}


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


def preamble() -> dict[str, Any]:
    """What a notebook of ours says of itself."""
    return {"version": FORMAT_VERSION, "recorded_by": f"nbtape {__version__}", "started": timestamp()}


def timestamp() -> str:
    """Now, as a notebook has it."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
