"""Which cells of a recorded notebook bring its state back, and what became of them: pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeGuard

from nbtape.notebook.format import is_left_out, own_metadata, recorded_status

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from nbtape.results import Status


@dataclass(frozen=True, slots=True)
class ResumedCell:
    """What became of one code cell when its notebook was resumed.

    Args:
        index: Its position in the notebook, from 0.
        cell_id: Its id.
        recorded: How it had ended, as the notebook has it: a status, or `running` where the recording was cut off.
        status: How it ended when it was run again; None if it was not.
        differs: Whether its outcome is not as recorded, or nobody can say, because it should have run and did not.
        reason: What was done with it and why, a sentence.
    """

    index: int
    cell_id: str
    recorded: str
    status: Status | None = None
    differs: bool = False
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Resumption:
    """How a recorded session was gone on with.

    Args:
        cells: One for each code cell that was there, in the notebook's order.
        attached: Whether the kernel still lived, with all its variables, so that no cell was run again.
        note: What befell the kernel, a sentence or two; empty if nothing.
    """

    cells: list[ResumedCell]
    attached: bool = False
    note: str = ""

    @property
    def differing(self) -> list[ResumedCell]:
        """The cells whose outcome is not as recorded; empty if the state is back, as far as statuses tell."""
        return [cell for cell in self.cells if cell.differs]

    def __str__(self) -> str:
        if self.attached:
            return f"Resumed on the kernel that still lived. {self.note}".rstrip()
        again = sum(cell.status is not None for cell in self.cells)
        told = [f"Resumed: {again} of {len(self.cells)} code cells were run again.", self.note]
        if differing := self.differing:
            told.append(f"Not as recorded: cell {', '.join(str(cell.index) for cell in differing)}.")
        return " ".join(filter(None, told))


def plan(notebook: Mapping[str, Any]) -> list[ResumedCell]:
    """Each code cell of a notebook, with the reason why it is not to be run again; without one, it is.

    Args:
        notebook: The notebook, as nbformat has it.
    """
    epochs = _epochs_of_state(notebook)
    planned = []
    for index, cell in enumerate(notebook["cells"]):
        if cell["cell_type"] == "code":
            why_not = _why_not(cell, epochs)
            planned.append(ResumedCell(index, cell["id"], recorded_status(cell), reason=why_not))
    return planned


def ran(cell: ResumedCell, status: Status, error: str = "") -> ResumedCell:
    """What a cell is reported as that was run again.

    Args:
        cell: The cell, as planned.
        status: How it ended.
        error: What it raised, if it did.
    """
    if status == "ok":
        return replace(cell, status=status, reason="Run again, and it succeeded as recorded.")
    what = f"{status}, {error}" if error else status
    return replace(cell, status=status, differs=True, reason=f"Run again, and it did not succeed as recorded: {what}.")


def left_out(cells: Iterable[ResumedCell], why: str) -> list[ResumedCell]:
    """Cells that should have been run again and were not.

    Args:
        cells: The cells, as planned.
        why: Why not, a sentence.
    """
    return [cell if cell.reason else replace(cell, differs=True, reason=why) for cell in cells]


def epochs_of(cells: Iterable[Mapping[str, Any]]) -> set[int]:
    """The kernels that ran some cells, as they were counted."""
    return {epoch for cell in cells if (epoch := count_of(own_metadata(cell), "kernel_epoch"))}


def resumed_list(notebook: Mapping[str, Any]) -> list[dict[str, Any]]:
    """How often a notebook was resumed, and how, as its metadata has it."""
    listed = own_metadata(notebook).get("resumed")
    return [dict(entry) for entry in listed if isinstance(entry, dict)] if isinstance(listed, list) else []


def restored_epochs(notebook: Mapping[str, Any]) -> list[int]:
    """The kernels whose cells make the state at the end of a notebook."""
    return sorted(_epochs_of_state(notebook))


def next_epoch(notebook: Mapping[str, Any]) -> int:
    """The number of the next kernel: one more than the greatest that is recorded."""
    counted = [count_of(entry, "kernel_epoch") for entry in [own_metadata(notebook), *resumed_list(notebook)]]
    return max([0, *epochs_of(notebook["cells"]), *counted]) + 1


def _epochs_of_state(notebook: Mapping[str, Any]) -> set[int]:
    """The last kernel that ran a cell, and those whose cells were run again when that one began.

    What the cells before had made was gone with their kernels: to run them again would make another state.
    """
    last = max(epochs_of(notebook["cells"]), default=0)
    epochs = {last}
    for entry in resumed_list(notebook):
        earlier = entry.get("restored_epochs")
        if entry.get("kernel_epoch") == last and isinstance(earlier, list):
            epochs |= {epoch for epoch in earlier if _is_count(epoch)}
    return epochs


def _why_not(cell: Mapping[str, Any], epochs: set[int]) -> str:
    """Why a cell is not to be run again, a sentence; empty if it is."""
    recorded = recorded_status(cell)
    if recorded == "not_run" or is_left_out(cell):
        return "Not run again: it was never run, or is tagged skip-execution."
    if recorded == "running":
        return "Not run again: its recording was cut off."
    if recorded != "ok":
        return f"Not run again: it had not succeeded ({recorded})."
    epoch = count_of(own_metadata(cell), "kernel_epoch")
    if epoch and epoch not in epochs:
        return "Not run again: it ran on an earlier kernel, whose variables were gone."
    return ""


def count_of(facts: Mapping[str, Any], key: str) -> int:
    """A count that a file has under a key, 0 if it is none."""
    value = facts.get(key)
    return value if _is_count(value) else 0


def _is_count(value: object) -> TypeGuard[int]:
    return type(value) is int and value > 0
