"""Plan which cells to rerun when a recorded notebook is resumed, and describe their outcomes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeGuard

from nbtape.common.text import plural
from nbtape.notebook.format import is_left_out, own_metadata, recorded_status
from nbtape.notebook.numbering import code_cells

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from nbtape.results import Status


@dataclass(frozen=True, slots=True)
class ResumedCell:
    """Outcome of one code cell of a resumed notebook.

    Args:
        index: Its position in the notebook, from 0.
        cell_id: Its id.
        recorded: Its recorded status, or `running` if the recording was cut off.
        status: Its status in the rerun; None if it was not rerun.
        differs: Whether it failed although it had succeeded, or was not rerun although it should have been.
        reason: A sentence on what was done with it and why.
        block: Its number, counted from 1.
    """

    index: int
    cell_id: str
    recorded: str
    status: Status | None = None
    differs: bool = False
    reason: str = ""
    block: int = 0


@dataclass(frozen=True, slots=True)
class Resumption:
    """How a recorded session was resumed.

    Args:
        cells: One entry for each code cell, in the notebook's order.
        attached: Whether the kernel was still alive, so that no cell was rerun.
        note: What happened to the kernel; empty if nothing.
    """

    cells: list[ResumedCell]
    attached: bool = False
    note: str = ""

    @property
    def differing(self) -> list[ResumedCell]:
        """The cells whose status is not as recorded."""
        return [cell for cell in self.cells if cell.differs]

    def __str__(self) -> str:
        if self.attached:
            return f"Resumed on the running kernel. {self.note}".rstrip()
        if not self.cells:
            return f"Resumed: there are no code cells to rerun. {self.note}".rstrip()
        again = sum(cell.status is not None for cell in self.cells)
        told = [f"Resumed: reran {again} of {plural(len(self.cells), 'block')}.", self.note]
        if differing := self.differing:
            told.append(f"Not as recorded: block {', '.join(str(cell.block) for cell in differing)}.")
        return " ".join(filter(None, told))


def plan(notebook: Mapping[str, Any]) -> list[ResumedCell]:
    """List the code cells of a notebook; rerun those without a `reason`."""
    epochs = restored_epochs(notebook)
    return [
        ResumedCell(index, cell["id"], recorded_status(cell), reason=_why_not(cell, epochs), block=block)
        for index, block, cell in code_cells(notebook["cells"])
    ]


def ran(cell: ResumedCell, status: Status, error: str = "") -> ResumedCell:
    """The outcome of a planned cell that was rerun."""
    if status == "ok":
        return replace(cell, status=status, reason="Rerun: it succeeded, as recorded.")
    what = f"{status}, {error}" if error else status
    return replace(
        cell, status=status, differs=True, reason=f"Rerun: it failed, but had succeeded when recorded: {what}."
    )


def left_out(cells: Iterable[ResumedCell], why: str) -> list[ResumedCell]:
    """The outcomes of planned cells that were not rerun after all, with the reason."""
    return [cell if cell.reason else replace(cell, differs=True, reason=why) for cell in cells]


def epochs_of(cells: Iterable[Mapping[str, Any]]) -> set[int]:
    """The numbers of the kernels that ran cells."""
    return {epoch for cell in cells if (epoch := count_of(own_metadata(cell), "kernel_epoch"))}


def resumed_list(notebook: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The earlier resumptions of a notebook, from its metadata."""
    listed = own_metadata(notebook).get("resumed")
    return [dict(entry) for entry in listed if isinstance(entry, dict)] if isinstance(listed, list) else []


def next_epoch(notebook: Mapping[str, Any]) -> int:
    """The number of the next kernel: one more than the highest recorded number."""
    counted = [count_of(entry, "kernel_epoch") for entry in [own_metadata(notebook), *resumed_list(notebook)]]
    return max([0, *epochs_of(notebook["cells"]), *counted]) + 1


def restored_epochs(notebook: Mapping[str, Any]) -> set[int]:
    """The kernels whose cells make up the final state: the last one, and those whose cells were rerun on it.

    Rerunning the cells of other kernels would produce a different state, because their state was lost.
    """
    last = max(epochs_of(notebook["cells"]), default=0)
    epochs = {last}
    for entry in resumed_list(notebook):
        earlier = entry.get("restored_epochs")
        if entry.get("kernel_epoch") == last and isinstance(earlier, list):
            epochs |= {epoch for epoch in earlier if _is_count(epoch)}
    return epochs


def _why_not(cell: Mapping[str, Any], epochs: set[int]) -> str:
    """A sentence on why a cell is not rerun; empty to rerun it."""
    recorded = recorded_status(cell)
    if recorded == "not_run" or is_left_out(cell):
        return "Not rerun: it was never run, or is tagged skip-execution."
    if recorded == "running":
        return "Not rerun: its recording was cut off."
    if recorded != "ok":
        return f"Not rerun: it did not succeed when recorded ({recorded})."
    epoch = count_of(own_metadata(cell), "kernel_epoch")
    if epoch and epoch not in epochs:
        return "Not rerun: it ran on an earlier kernel, whose variables were lost."
    return ""


def count_of(facts: Mapping[str, Any], key: str) -> int:
    """The positive integer under a key of untrusted data; 0 if it is anything else."""
    value = facts.get(key)
    return value if _is_count(value) else 0


def _is_count(value: object) -> TypeGuard[int]:
    return type(value) is int and value > 0
