"""Summarize a recorded run: where, when and how long it ran, and how each cell ended."""

from __future__ import annotations

import datetime
from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Final

from nbtape.notebook.failures import failure_of
from nbtape.notebook.format import environment_of, own_metadata, place_of, recorded_seconds, recorded_status
from nbtape.notebook.numbering import code_cells
from nbtape.summary.normalise import dict_of, fit_cell, list_of, text_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

#: The version of `Run.to_dict`.
SUMMARY_VERSION: Final = 1

#: When a cell began and ended, as JupyterLab and nbclient write it under `execution`.
_BEGAN: Final = "iopub.execute_input"
_ENDED: Final = "shell.execute_reply"


@dataclass(frozen=True, slots=True)
class RunCell:
    """How a code cell ran, according to the notebook. Missing information is None, 0 or empty.

    The status is `running` if the recording was cut off or is not finished. `files` has the files extracted from the
    outputs, then those that the code wrote. `touched` has what was changed after recording: by someone else (`added`
    for a new cell), by the agent, and `late output` and `updated display` for output that arrived while a later cell
    ran. `block` is its number (see `numbering`), and `execution_count` the one that JupyterLab shows.
    """

    index: int
    cell_id: str
    status: str
    seconds: float | None
    first_line: str
    files: tuple[str, ...] = ()
    error: str = ""
    note: str = ""
    kernel_epoch: int = 0
    touched: tuple[str, ...] = ()
    block: int = 0
    execution_count: int | None = None


@dataclass(frozen=True, slots=True)
class Run:
    """A run, according to its notebook, with times in ISO 8601. Missing information is empty.

    `seconds` is the total time of its code cells, and `place` is its server or image, if any. `changed` has the changes
    after the recording, by the position of the cell, Markdown cells included.
    """

    cells: tuple[RunCell, ...]
    recorded_by: str
    started: str
    ended: str
    seconds: float
    kernel: str
    python: str
    platform: str
    directory: str
    place: Mapping[str, str]
    changed: Mapping[int, tuple[str, ...]] = field(default_factory=dict)

    @property
    def counts(self) -> dict[str, int]:
        """The number of cells by status, the most frequent first."""
        return count_statuses(cell.status for cell in self.cells)

    @property
    def failed(self) -> list[RunCell]:
        """The cells that ran and did not succeed."""
        return [cell for cell in self.cells if cell.status not in {"ok", "not_run", "running"}]

    def to_dict(self) -> dict[str, Any]:
        """Convert the run to JSON types: the fields, `counts` and `version`."""
        return {"version": SUMMARY_VERSION, **asdict(self), "counts": self.counts}


def count_statuses(statuses: Iterable[str]) -> dict[str, int]:
    """The number of cells by status, the most frequent first, without prose, whose status is empty."""
    return dict(Counter(filter(None, statuses)).most_common())


def summarise(document: Mapping[str, Any]) -> Run:
    """Summarize the run in a notebook, in which only the cells are known to be objects."""
    shaped = [fit_cell(cell) for cell in document["cells"]]
    code = list(code_cells(shaped))
    cells = tuple(run_cell(index, block, cell) for index, block, cell in code)
    notebook = {"metadata": dict_of(document.get("metadata"))}
    ours, environment = own_metadata(notebook), environment_of(notebook)
    kernelspec = dict_of(notebook["metadata"].get("kernelspec"))
    began, ended = ([time for _, _, cell in code if (time := _time(cell, key))] for key in (_BEGAN, _ENDED))
    return Run(
        cells=cells,
        recorded_by=text_of(ours.get("recorded_by")),
        started=text_of(ours.get("started")) or min(began, default=""),
        ended=max(ended, default=""),
        seconds=sum(cell.seconds or 0 for cell in cells),
        kernel=text_of(kernelspec.get("display_name") or kernelspec.get("name")),
        python=environment.python if environment else "",
        platform=environment.platform if environment else "",
        directory=environment.directory if environment else "",
        place=place_of(notebook),
        changed={
            index: changes for index, cell in enumerate(shaped) if (changes := changes_of_cell(own_metadata(cell)))
        },
    )


def run_cell(index: int, block: int, cell: Mapping[str, Any]) -> RunCell:
    """Summarize a normalized code cell (see `fit_cell`), from its position and the number of its block."""
    ours = own_metadata(cell)
    return RunCell(
        index=index,
        cell_id=cell["id"],
        status=recorded_status(cell),
        seconds=_seconds(cell),
        first_line=next((line for line in cell["source"].splitlines() if line.strip()), ""),
        files=(*_paths(ours.get("extracted")), *_paths(ours.get("files"))),
        error=failure_of(cell["outputs"]),
        note=text_of(ours.get("note")),
        kernel_epoch=epoch if type(epoch := ours.get("kernel_epoch")) is int and epoch > 0 else 0,
        touched=changes_of_cell(ours),
        block=block,
        execution_count=cell["execution_count"],
    )


def changes_of_cell(ours: Mapping[str, Any]) -> tuple[str, ...]:
    """The parts of a cell that were changed after it was recorded, from nbtape's metadata."""
    late = ["late output"] if ours.get("late") else []
    updated = ["updated display"] if ours.get("updated_by") else []
    version = ["version of a recorded cell"] if ours.get("version_of") else []
    touched = map(text_of, list_of(ours.get("touched")))
    edits = (text_of(dict_of(edit).get("action")) for edit in list_of(ours.get("edits")))
    by_agent = dict.fromkeys(f"{action} by the agent" for action in edits if action)
    return tuple(filter(None, [*touched, *by_agent, *version, *late, *updated]))


def _seconds(cell: Mapping[str, Any]) -> float | None:
    """How long a cell ran, as recorded by nbtape or else by JupyterLab."""
    if (ours := recorded_seconds(cell, "duration")) is not None:
        return ours
    began, ended = _time(cell, _BEGAN), _time(cell, _ENDED)
    try:
        took = datetime.datetime.fromisoformat(ended) - datetime.datetime.fromisoformat(began)
    except (ValueError, TypeError):  # missing times, or only one with a time zone
        return None
    return max(0.0, took.total_seconds())


def _time(cell: Mapping[str, Any], key: str) -> str:
    return text_of(dict_of(cell["metadata"].get("execution")).get(key))


def _paths(files: object) -> list[str]:
    return [path for file in list_of(files) if (path := text_of(dict_of(file).get("path")))]
