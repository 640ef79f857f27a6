"""What is to be expected of a cell that is run again, by how it was recorded: pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from nbtape.notebook.format import is_left_out, own_status, recorded_seconds, recorded_status

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Seconds that a cell has at least, however soon it was stopped.
_SHORTEST: Final = 1.0

#: Tags of a cell that may fail, nbclient's and nbval's.
_MAY_FAIL: Final = frozenset({"raises-exception", "nbval-raises-exception"})

#: How a cell ended that did not succeed.
FAILED: Final = frozenset({"error", "timeout", "interrupted", "kernel_died"})


@dataclass(frozen=True, slots=True)
class Expectation:
    """How a code cell was recorded.

    Args:
        status: How it ended; `running` where the recording was cut off, empty where nothing is recorded.
        runs: Whether it is to be run again.
        timeout: The seconds after which it was stopped; None if it was not.
        patience: The seconds that it had; None if the notebook does not say.
        is_tagged: Whether a tag says that it may fail.
    """

    status: str
    runs: bool
    timeout: float | None = None
    patience: float | None = None
    is_tagged: bool = False

    @property
    def failed(self) -> bool:
        """Whether it did not succeed."""
        return self.status in FAILED

    @property
    def may_fail(self) -> bool:
        """Whether it need not succeed now: a failure stops nothing."""
        return self.failed or self.is_tagged

    def seconds(self, least: float) -> float:
        """The seconds that it has now: those after which it was stopped, else at least as many as it had."""
        if self.timeout is not None:
            return self.timeout
        return max(least, self.patience or least)


def expectation(cell: Mapping[str, Any]) -> Expectation:
    """What is to be expected of a code cell.

    Args:
        cell: The cell with its outputs, as nbformat has it.
    """
    is_tagged = bool(_MAY_FAIL & set(cell["metadata"].get("tags", [])))
    if not own_status(cell) and cell["execution_count"] is None and not cell["outputs"]:
        return Expectation("", runs=not is_left_out(cell), is_tagged=is_tagged)
    status = recorded_status(cell)
    if status == "not_run" or is_left_out(cell):
        return Expectation("not_run", runs=False)
    patience = _seconds(cell, "timeout")
    # What somebody interrupted may go on for ever: it is stopped when it was.
    stopped = {"timeout": patience, "interrupted": _seconds(cell, "duration")}.get(status)
    return Expectation(status, runs=True, timeout=stopped, patience=patience, is_tagged=is_tagged)


def _seconds(cell: Mapping[str, Any], key: str) -> float | None:
    seconds = recorded_seconds(cell, key)
    return None if seconds is None else max(_SHORTEST, seconds)
