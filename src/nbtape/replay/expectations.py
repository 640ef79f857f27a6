"""Derive from the recording what a rerun should expect of a cell."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from nbtape.notebook.format import is_left_out, own_status, recorded_seconds, recorded_status, shows_error
from nbtape.replay.markers import may_fail_marks

if TYPE_CHECKING:
    from collections.abc import Mapping

_MIN_TIMEOUT_SECONDS: Final = 1.0

#: Statuses of cells that did not succeed.
FAILED: Final = frozenset({"error", "timeout", "interrupted", "kernel_died"})


@dataclass(frozen=True, slots=True)
class Expectation:
    """How a code cell was recorded.

    The status is `running` if the recording was cut off, and empty if nothing was recorded. `timeout` is the number of
    seconds after which the cell was stopped, and `allowed` is its recorded timeout. `is_tagged` means that it may fail;
    `is_skipped` means that it is left out although it was run.
    """

    status: str
    runs: bool
    timeout: float | None = None
    allowed: float | None = None
    is_tagged: bool = False
    is_skipped: bool = False

    @property
    def failed(self) -> bool:
        return self.status in FAILED

    @property
    def may_fail(self) -> bool:
        """Whether a failure is expected."""
        return self.failed or self.is_tagged

    def seconds(self, least: float) -> float:
        """The timeout of the rerun: the time at which it was stopped, otherwise at least its recorded timeout."""
        if self.timeout is not None:
            return self.timeout
        return max(least, self.allowed or least)


def expectation(cell: Mapping[str, Any], *, skipped: bool = False) -> Expectation:
    """Derive the expectation from a recorded code cell with its outputs.

    A cell with outputs was run, whatever its status and tags are. `skipped` means that the caller lets a tag or comment
    leave the cell out.
    """
    is_tagged = bool(may_fail_marks(cell))
    if not was_run(cell):
        is_left = skipped or is_left_out(cell) or own_status(cell) == "not_run"
        return Expectation(own_status(cell), runs=not is_left, is_tagged=is_tagged)
    status = recorded_status(cell)
    if status == "not_run":
        status = "error" if shows_error(cell) else "ok"
    if skipped:
        return Expectation(status, runs=False, is_skipped=True)
    allowed = _seconds(cell, "timeout")
    # An interrupted cell may never end, so it is stopped after the same time.
    stopped = {"timeout": allowed, "interrupted": _seconds(cell, "duration")}.get(status)
    return Expectation(status, runs=True, timeout=stopped, allowed=allowed, is_tagged=is_tagged)


def was_run(cell: Mapping[str, Any]) -> bool:
    """Whether a recorded code cell was run, according to its outputs or its metadata."""
    return bool(cell["outputs"]) or cell["execution_count"] is not None or own_status(cell) not in {"", "not_run"}


def _seconds(cell: Mapping[str, Any], key: str) -> float | None:
    seconds = recorded_seconds(cell, key)
    return None if seconds is None else max(_MIN_TIMEOUT_SECONDS, seconds)
