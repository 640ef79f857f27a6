"""Replay a recorded notebook with papermill and compare each cell."""

from __future__ import annotations

import contextlib
import copy
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from nbtape.environment import PLACE, Difference, differences
from nbtape.errors import NotebookWriteError
from nbtape.kernels.sources import DEFAULT_KERNEL
from nbtape.notebook.atomic_write import places
from nbtape.notebook.format import environment_of, kernel_name_of, place_of
from nbtape.notebook.read import read_document
from nbtape.replay.cell_verdict import judge_cell, missing_cell, settings_of
from nbtape.replay.compare.settings import Context, ReplaySettings
from nbtape.replay.report import ReplayReport
from nbtape.session.options import checked_timeout

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from nbformat import NotebookNode

    from nbtape.kernels.sources import Server

#: The name of our engine.
_ENGINE: Final = "nbtape"


def replay(  # noqa: PLR0913  (independent options of the public API)
    notebook: Path | str,
    output: Path | str | None = None,
    *,
    jupyter_server: Server = None,
    kernel_name: str | None = None,
    directory: Path | str | None = None,
    parameters: Mapping[str, Any] | None = None,
    timeout: float = 600,
    keep_going: bool = False,
    settings: ReplaySettings | None = None,
    on_cell: Callable[[int, int], None] | None = None,
    on_start: Callable[[Callable[[], None]], None] | None = None,
) -> ReplayReport:
    """Rerun a notebook from the start on a fresh kernel, into a new notebook, and compare every cell.

    The kernel works in the notebook's directory, so the code writes its files there again. Cells that failed may fail
    again without stopping the replay; cells that were not run are not run. Any nbformat 4 notebook works.

    Args:
        notebook: The recorded notebook; it is not changed.
        output: Path of the new notebook, which is replaced if it exists. None for `<name>-replayed.ipynb` beside the
            notebook, with a number if that is taken.
        jupyter_server: Where the kernel comes from, as for `JupyterCodeExecutor`.
        kernel_name: The kernel spec; None for the one that the notebook names.
        directory: Where the kernel works; None for the notebook's directory.
        parameters: Variables that override those of its `parameters` cell, as in papermill.
        timeout: Seconds for each cell. A cell keeps a longer recorded timeout, and any timeout that it ran into.
        keep_going: Whether to continue after a cell that fails and did not fail before.
        settings: Which differences to ignore; see `ReplaySettings`.
        on_cell: Called after each cell with the number of cells that have run and their total.
        on_start: Called with a function that stops the replay from any thread by interrupting the running cell.

    Raises:
        NotebookReadError: The file is not a usable notebook.
        NotebookWriteError: The new notebook cannot be written.
        KernelError: No kernel can be started.
        ValueError: Another value is invalid.
    """
    path = Path(notebook).absolute()
    recorded = read_document(path)
    where = path.parent if directory is None else Path(directory).absolute()
    target = _free_place(path) if output is None else Path(output).absolute()
    if target.exists() and target.samefile(path):
        raise ValueError(f"{target} is the recorded notebook: name another output.")
    chosen = {
        cell["id"]: settings_of(index, cell, settings or ReplaySettings())
        for index, cell in enumerate(recorded["cells"])
        if cell["cell_type"] == "code"
    }
    began = time.monotonic()
    _run(
        recorded,
        target,
        kernel_name=kernel_name or kernel_name_of(recorded) or DEFAULT_KERNEL,
        parameters=dict(parameters or {}),
        notebook=path,
        directory=where,
        jupyter_server=jupyter_server,
        execution_timeout=checked_timeout(timeout),
        keep_going=keep_going,
        on_cell=on_cell,
        on_start=on_start,
    )
    replayed = read_document(target)
    again = {cell["id"]: cell for cell in replayed["cells"]}
    contexts = _context(recorded, where), _context(replayed, where)
    cells = [
        judge_cell(index, cell, again[cell["id"]], contexts, chosen[cell["id"]])
        if cell["id"] in again
        else missing_cell(index, cell)
        for index, cell in enumerate(recorded["cells"])
        if cell["cell_type"] == "code"
    ]
    return ReplayReport(path, target, cells, time.monotonic() - began, _differences(recorded, replayed))


def _run(recorded: NotebookNode, target: Path, **options: Any) -> None:  # noqa: ANN401  (papermill's and our engine's)
    """Run a notebook with papermill. A failed cell raises there; the comparison reports it."""
    import papermill  # type: ignore[import-untyped]
    from papermill.engines import papermill_engines  # type: ignore[import-untyped]
    from papermill.exceptions import PapermillExecutionError  # type: ignore[import-untyped]

    from nbtape.replay.papermill_engine import NbtapeEngine

    papermill_engines.register(_ENGINE, NbtapeEngine)  # works without an installed entry point, too
    if not target.parent.is_dir():
        raise NotebookWriteError(target, "there is no such directory. Make it, or name another output.")
    with contextlib.suppress(PapermillExecutionError):
        papermill.execute_notebook(
            copy.deepcopy(recorded), _literally(target), engine_name=_ENGINE, progress_bar=False, **options
        )


def _literally(path: Path) -> str:
    """Escape the braces of a path, in which papermill would insert parameters."""
    return str(path).replace("{", "{{").replace("}", "}}")


def _free_place(notebook: Path) -> Path:
    """The default path of the new notebook."""
    return next(places(notebook.parent, f"{notebook.stem}-replayed"))


def _context(notebook: Mapping[str, Any], where: Path) -> Context:
    """What the comparison needs to know about a run in the directory `where`."""
    environment = environment_of(notebook)
    if environment is None:
        return Context(directory=str(where))
    return Context(directory=environment.directory, utc_offset=environment.utc_offset)


def _differences(recorded: Mapping[str, Any], replayed: Mapping[str, Any]) -> list[Difference] | None:
    """Differences between the environments of two runs; None if one is unknown."""
    before, after = environment_of(recorded), environment_of(replayed)
    if before is None or after is None:
        return None
    places = [(key, place_of(recorded).get(key), place_of(replayed).get(key)) for key in PLACE]
    moved = [Difference(*place) for place in places if place[1] != place[2]]
    return [*moved, *differences(before, after)]
