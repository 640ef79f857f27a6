"""What a rerun expects of a cell, from its recording."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from nbtape.notebook.format import is_left_out, own_status, recorded_seconds, recorded_status

if TYPE_CHECKING:
    from collections.abc import Mapping

_MIN_TIMEOUT_SECONDS: Final = 1.0

#: Tags of nbclient and nbval for a cell that may fail.
_MAY_FAIL: Final = frozenset({"raises-exception", "nbval-raises-exception"})

#: Statuses of cells that did not succeed.
FAILED: Final = frozenset({"error", "timeout", "interrupted", "kernel_died"})


@dataclass(frozen=True, slots=True)
class Expectation:
    """How a code cell was recorded.

    The status is `running` if the recording was cut off and empty if nothing is recorded. `timeout` is the number of
    seconds after which the cell was stopped, `allowed` its recorded timeout, and `is_tagged` means that it may fail.
    """

    status: str
    runs: bool
    timeout: float | None = None
    allowed: float | None = None
    is_tagged: bool = False

    @property
    def failed(self) -> bool:
        return self.status in FAILED

    @property
    def may_fail(self) -> bool:
        """Whether a failure is expected."""
        return self.failed or self.is_tagged

    def seconds(self, least: float) -> float:
        """Its timeout now: when it was stopped, otherwise at least as long as before."""
        if self.timeout is not None:
            return self.timeout
        return max(least, self.allowed or least)


def expectation(cell: Mapping[str, Any]) -> Expectation:
    """Derive the expectation from a recorded code cell with its outputs."""
    is_tagged = bool(_MAY_FAIL & set(cell["metadata"].get("tags", [])))
    if not own_status(cell) and cell["execution_count"] is None and not cell["outputs"]:
        return Expectation("", runs=not is_left_out(cell), is_tagged=is_tagged)
    status = recorded_status(cell)
    if status == "not_run" or is_left_out(cell):
        return Expectation("not_run", runs=False)
    allowed = _seconds(cell, "timeout")
    # An interrupted cell may never end, so it is stopped at the same time.
    stopped = {"timeout": allowed, "interrupted": _seconds(cell, "duration")}.get(status)
    return Expectation(status, runs=True, timeout=stopped, allowed=allowed, is_tagged=is_tagged)


def _seconds(cell: Mapping[str, Any], key: str) -> float | None:
    seconds = recorded_seconds(cell, key)
    return None if seconds is None else max(_MIN_TIMEOUT_SECONDS, seconds)
