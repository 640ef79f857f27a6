"""A recorded notebook is run again with papermill, and each of its cells is judged."""

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


def replay(  # noqa: PLR0913  (each is a thing of its own that a caller may say)
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
    """Run a notebook again from the start on a fresh kernel, to a new notebook, and judge every cell.

    The kernel works in the notebook's directory, and what the code writes goes there, as when it was recorded. What
    had failed may fail again and stops nothing; what had not been run is not run. Any notebook of nbformat 4 will do.

    Args:
        notebook: The recorded notebook; it stays as it is.
        output: The new one, written while it runs; what is there is replaced. None for `<name>-replayed.ipynb` beside
            the notebook, with a number where that is taken.
        jupyter_server: Where the kernel comes from, as for `JupyterCodeExecutor`.
        kernel_name: The kernel spec; None for the one that the notebook names.
        directory: Where the kernel works; None for the notebook's directory.
        parameters: Variables that override those of its `parameters` cell, as papermill does it.
        timeout: Seconds for each cell, unless it was recorded with more, or ran into its timeout: then it has those.
        keep_going: Whether the rest is run after a cell that failed and had not failed.
        settings: What counts as no difference; see `ReplaySettings`.
        on_cell: Called with how many have run of how many cells that are to be run.
        on_start: Called with what stops the replay, from any thread: the cell that runs is interrupted.

    Raises:
        NotebookReadError: There is no notebook that could be run.
        NotebookWriteError: The new one cannot be written.
        KernelError: No kernel can be had.
        ValueError: Another value that cannot work.
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
    """Have papermill run it. That it raises for a cell that failed is a verdict, and not its business here."""
    import papermill  # type: ignore[import-untyped]
    from papermill.engines import papermill_engines  # type: ignore[import-untyped]
    from papermill.exceptions import PapermillExecutionError  # type: ignore[import-untyped]

    from nbtape.replay.papermill_engine import NbtapeEngine

    papermill_engines.register(_ENGINE, NbtapeEngine)  # where nbtape is used without being installed
    if not target.parent.is_dir():
        raise NotebookWriteError(target, "there is no such directory. Make it, or name another output.")
    with contextlib.suppress(PapermillExecutionError):
        papermill.execute_notebook(
            copy.deepcopy(recorded), _literally(target), engine_name=_ENGINE, progress_bar=False, **options
        )


def _literally(path: Path) -> str:
    """A path as papermill takes it, which looks for parameters in braces."""
    return str(path).replace("{", "{{").replace("}", "}}")


def _free_place(notebook: Path) -> Path:
    """Where the new notebook goes if nobody says where."""
    return next(places(notebook.parent, f"{notebook.stem}-replayed"))


def _context(notebook: Mapping[str, Any], where: Path) -> Context:
    """What a notebook, which is run in the directory `where`, tells for the judge of its outputs."""
    environment = environment_of(notebook)
    if environment is None:
        return Context(directory=str(where))
    return Context(directory=environment.directory, utc_offset=environment.utc_offset)


def _differences(recorded: Mapping[str, Any], replayed: Mapping[str, Any]) -> list[Difference] | None:
    """How what the two runs ended in differs; None if one of them does not tell."""
    before, after = environment_of(recorded), environment_of(replayed)
    if before is None or after is None:
        return None
    places = [(key, place_of(recorded).get(key), place_of(replayed).get(key)) for key in PLACE]
    moved = [Difference(*place) for place in places if place[1] != place[2]]
    return [*moved, *differences(before, after)]
