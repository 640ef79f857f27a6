"""Read nbtape's metadata of a recorded notebook: how its cells ended and where they ran."""

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING, Any, Final

from nbtape._version import __version__
from nbtape.environment import PLACE, read_environment
from nbtape.notebook.failures import reports_failure
from nbtape.results import EXIT_CODES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nbtape.environment import Environment

FORMAT_VERSION: Final = 1

#: Valid statuses; a cell with any other status was not recorded by nbtape.
_STATUSES: Final = frozenset({*EXIT_CODES, "running"})

#: Maximum recorded timeout or duration of a cell: a week.
MAX_CELL_SECONDS: Final = 7 * 24 * 3600


def kernel_name_of(notebook: Mapping[str, Any]) -> str:
    """The kernel spec named in a notebook; empty if it names none."""
    return str(notebook["metadata"].get("kernelspec", {}).get("name") or "")


def own_metadata(node: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of nbtape's metadata of a notebook or a cell; empty if it is not a dict."""
    ours = node["metadata"].get("nbtape")
    return dict(ours) if isinstance(ours, dict) else {}


def recorded_status(cell: Mapping[str, Any]) -> str:
    """The status of a code cell, or `running` if its recording was cut off.

    If a person has run it, or rerun it after an error, its outputs determine the status.
    """
    status = own_status(cell)
    if status and not (status == "error" and _is_repaired(cell)):
        return status
    if cell["execution_count"] is None:
        return "not_run"
    return "error" if shows_error(cell) else "ok"


def own_status(cell: Mapping[str, Any]) -> str:
    """The status that nbtape recorded for a cell; empty if it did not record it."""
    status = own_metadata(cell).get("status")
    return status if isinstance(status, str) and status in _STATUSES else ""


def recorded_seconds(cell: Mapping[str, Any], key: str) -> float | None:
    """The `timeout` or `duration` that nbtape recorded for a cell; None if it is missing or invalid."""
    seconds = own_metadata(cell).get(key)
    if type(seconds) not in {int, float} or not 0 < seconds <= MAX_CELL_SECONDS:  # type: ignore[operator]
        return None
    return float(seconds)  # type: ignore[arg-type]


def environment_of(notebook: Mapping[str, Any]) -> Environment | None:
    """The environment of a notebook's kernel at the end of the recording; None if unknown."""
    return read_environment(own_metadata(notebook).get("environment"))


def place_of(notebook: Mapping[str, Any]) -> dict[str, str]:
    """Where the kernel of a notebook ran, by the keys of `PLACE`; empty for a local kernel."""
    ours = own_metadata(notebook)
    return {key: ours[key] for key in PLACE if isinstance(ours.get(key), str)}


def is_left_out(cell: Mapping[str, Any]) -> bool:
    """Whether papermill, nbclient and nbtape skip a cell when they run its notebook."""
    return "skip-execution" in cell["metadata"].get("tags", [])


def shows_error(cell: Mapping[str, Any]) -> bool:
    """Whether the outputs of a cell show that it failed."""
    return any(map(reports_failure, cell["outputs"]))


def _is_repaired(cell: Mapping[str, Any]) -> bool:
    """Whether a person has rerun a cell since it failed, so that it no longer shows an error."""
    complete = not own_metadata(cell).get("outputs_incomplete")
    return complete and cell["execution_count"] is not None and not shows_error(cell)


def preamble() -> dict[str, Any]:
    """The `nbtape` metadata at the start of every recording."""
    return {"version": FORMAT_VERSION, "recorded_by": f"nbtape {__version__}", "started": timestamp()}


def timestamp() -> str:
    """The current time in ISO 8601."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
