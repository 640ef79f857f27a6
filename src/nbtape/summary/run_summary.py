"""What a recorded run was: where and when it ran, how long, and how each cell ended. Pure."""

from __future__ import annotations

import datetime
from collections import Counter
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

from nbtape.notebook.format import environment_of, own_metadata, place_of, recorded_seconds, recorded_status
from nbtape.summary.normalise import fit_cell, text_of

if TYPE_CHECKING:
    from collections.abc import Mapping

#: The version of what `Run.to_dict` gives.
SUMMARY_VERSION: Final = 1

#: Characters of an error that are told; the whole is in the cell.
_TOLD: Final = 300


@dataclass(frozen=True, slots=True)
class RunCell:
    """What a code cell says of how it ran.

    Args:
        index: Its position in the notebook, from 0.
        cell_id: Its id.
        status: How it ended, a status; `running` where the recording was cut off, or is still going on.
        seconds: How long it ran; None if that is not recorded.
        first_line: The first line of its code that is not blank.
        files: Files made from its outputs, and those that its code wrote.
        error: What it raised, a line; empty if nothing.
        note: What nbtape had to say about it; empty if nothing.
        kernel_epoch: Which kernel ran it, counted from 1; 0 if that is not recorded.
        touched: What somebody else changed of it while it was recorded; `added` if it is his.
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


@dataclass(frozen=True, slots=True)
class Run:
    """What a notebook tells of the run that it holds; a text is empty where it does not tell.

    Args:
        cells: One for each code cell, in order.
        recorded_by: What recorded it, with its version.
        started: When the recording began (ISO 8601).
        ended: When its last cell had run (ISO 8601).
        seconds: How long its cells ran, together.
        kernel: What the kernel is called.
        python: The version of Python that the kernel ran.
        platform: The system, the processor and the distribution that it ran on.
        directory: Where it worked, as it calls that.
        place: Its server or its image; empty for the machine that recorded it.
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

    @property
    def counts(self) -> dict[str, int]:
        """How many cells ended how, the most frequent first."""
        return dict(Counter(cell.status for cell in self.cells).most_common())

    @property
    def failed(self) -> list[RunCell]:
        """The cells that ran and did not succeed."""
        return [cell for cell in self.cells if cell.status not in {"ok", "not_run", "running"}]

    def to_dict(self) -> dict[str, Any]:
        """All of it as JSON has it: the fields, `counts`, and `version` 1."""
        return {"version": SUMMARY_VERSION, **asdict(self), "counts": self.counts}


def summarise(document: Mapping[str, Any]) -> Run:
    """What a notebook tells of its run.

    Args:
        document: The notebook as its file has it; only that its cells are objects is taken for granted.
    """
    shaped = [(index, fit_cell(cell)) for index, cell in enumerate(document["cells"])]
    code = [(index, cell) for index, cell in shaped if cell["cell_type"] == "code"]
    cells = tuple(run_cell(index, cell) for index, cell in code)
    metadata = document.get("metadata")
    notebook = {"metadata": metadata if isinstance(metadata, dict) else {}}
    ours, environment, kernelspec = (
        own_metadata(notebook),
        environment_of(notebook),
        notebook["metadata"].get("kernelspec"),
    )
    began, ended = ([time for _, cell in code if (time := _time(cell, key))] for key in (_BEGAN, _ENDED))
    return Run(
        cells=cells,
        recorded_by=text_of(ours.get("recorded_by")),
        started=text_of(ours.get("started")) or min(began, default=""),
        ended=max(ended, default=""),
        seconds=sum(cell.seconds or 0 for cell in cells),
        kernel=text_of(kernelspec.get("display_name") or kernelspec.get("name"))
        if isinstance(kernelspec, dict)
        else "",
        python=environment.python if environment else "",
        platform=environment.platform if environment else "",
        directory=environment.directory if environment else "",
        place=place_of(notebook),
    )


def run_cell(index: int, cell: Mapping[str, Any]) -> RunCell:
    """What a code cell says of how it ran.

    Args:
        index: Its position in the notebook.
        cell: The cell, in shape.
    """
    ours = own_metadata(cell)
    return RunCell(
        index=index,
        cell_id=cell["id"],
        status=recorded_status(cell),
        seconds=_seconds(cell),
        first_line=next((line for line in cell["source"].splitlines() if line.strip()), ""),
        files=(*_paths(ours.get("extracted")), *_paths(ours.get("files"))),
        error=next((_error(output) for output in cell["outputs"] if output["output_type"] == "error"), ""),
        note=text_of(ours.get("note")),
        kernel_epoch=epoch if type(epoch := ours.get("kernel_epoch")) is int and epoch > 0 else 0,
        touched=tuple(text_of(mark) for mark in marks) if isinstance(marks := ours.get("touched"), list) else (),
    )


#: When a cell began and ended, as JupyterLab and nbclient write it under `execution`.
_BEGAN: Final = "iopub.execute_input"
_ENDED: Final = "shell.execute_reply"


def _seconds(cell: Mapping[str, Any]) -> float | None:
    """How long a cell ran: by our word, else by JupyterLab's."""
    if (ours := recorded_seconds(cell, "duration")) is not None:
        return ours
    began, ended = _time(cell, _BEGAN), _time(cell, _ENDED)
    try:
        took = datetime.datetime.fromisoformat(ended) - datetime.datetime.fromisoformat(began)
    except (ValueError, TypeError):  # no times, or one without a zone beside one with
        return None
    return max(0.0, took.total_seconds())


def _time(cell: Mapping[str, Any], key: str) -> str:
    times = cell["metadata"].get("execution")
    return text_of(times.get(key)) if isinstance(times, dict) else ""


def _paths(files: object) -> list[str]:
    listed = files if isinstance(files, list) else []
    return [path for file in listed if isinstance(file, dict) and (path := text_of(file.get("path")))]


def _error(output: Mapping[str, Any]) -> str:
    first, *_ = [*text_of(output.get("evalue")).splitlines(), ""]
    return f"{text_of(output.get('ename'))}: {first}"[:_TOLD].removesuffix(": ")
