"""Replay a recorded notebook with papermill and compare each cell."""

from __future__ import annotations

import contextlib
import copy
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from nbtape.common.untrusted_files import read_file, replace_file
from nbtape.environment import PLACE, Difference, differences
from nbtape.errors import NotebookWriteError
from nbtape.kernels.sources import DEFAULT_KERNEL
from nbtape.notebook.atomic_write import advice
from nbtape.notebook.format import environment_of, kernel_name_of, place_of
from nbtape.notebook.output_path import output_path
from nbtape.notebook.read import MAX_FILE_BYTES, read_document
from nbtape.replay.cell_verdict import judge_cell, settings_of
from nbtape.replay.compare.settings import Context, ReplaySettings
from nbtape.replay.report import ReplayReport
from nbtape.session.options import checked_timeout

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from nbformat import NotebookNode

    from nbtape.kernels.sources import Server
    from nbtape.replay.report import ReplayedCell

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
        jupyter_server: The source of the kernel, as for `JupyterCodeExecutor`.
        kernel_name: The kernel spec; None for the one that the notebook names.
        directory: The working directory of the kernel; None for the notebook's directory.
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
    target = output_path(path, None if output is None else Path(output).absolute(), "-replayed")
    cell_settings = {index: settings_of(index, cell, settings or ReplaySettings()) for index, cell in _code(recorded)}
    began = time.monotonic()
    replayed = _run(
        recorded,
        target,
        [path.parent, where],
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
    cells = _judge_cells(recorded, replayed, where, cell_settings)
    return ReplayReport(path, target, cells, time.monotonic() - began, _differences(recorded, replayed))


def _judge_cells(
    recorded: NotebookNode, replayed: NotebookNode, where: Path, settings: Mapping[int, ReplaySettings]
) -> list[ReplayedCell]:
    new_cells = {cell["id"]: cell for cell in replayed["cells"]}
    contexts = _context(recorded, where), _context(replayed, where)
    return [
        judge_cell(index, cell, new_cells.get(cell["id"]), contexts, settings[index]) for index, cell in _code(recorded)
    ]


def _code(notebook: NotebookNode) -> Iterator[tuple[int, NotebookNode]]:
    """The code cells of a notebook with their positions."""
    return ((index, cell) for index, cell in enumerate(notebook["cells"]) if cell["cell_type"] == "code")


def _run(recorded: NotebookNode, target: Path, untrusted: Sequence[Path], **options: Any) -> NotebookNode:  # noqa: ANN401  (papermill's and our engine's)
    """Run a notebook with papermill and return the new one. Ignore its error for a failed cell, which the report shows.

    papermill follows links, so it writes to a private directory; nbtape's engine saves cells to `target`. For
    `untrusted`, see `Directory`.
    """
    import papermill  # type: ignore[import-untyped]
    from papermill.engines import papermill_engines  # type: ignore[import-untyped]
    from papermill.exceptions import PapermillExecutionError  # type: ignore[import-untyped]

    from nbtape.replay.papermill_engine import NbtapeEngine

    papermill_engines.register(_ENGINE, NbtapeEngine)  # works without an installed entry point, too
    with tempfile.TemporaryDirectory(prefix="nbtape-replay-") as private:
        written = Path(private) / "replayed.ipynb"
        escaped = str(written).replace("{", "{{").replace("}", "}}")  # papermill formats its output path
        with contextlib.suppress(PapermillExecutionError):
            papermill.execute_notebook(
                copy.deepcopy(recorded), escaped, engine_name=_ENGINE, progress_bar=False, save_to=target, **options
            )
        replayed = read_document(written)
        try:
            replace_file(target, read_file(written, MAX_FILE_BYTES), untrusted)
        except OSError as exc:
            raise NotebookWriteError(target, advice(exc)) from exc
    return replayed


def _context(notebook: Mapping[str, Any], where: Path) -> Context:
    """The context of a run in the directory `where`, unless the notebook names another."""
    environment = environment_of(notebook)
    if environment is None:
        return Context(directory=str(where))
    return Context(directory=environment.directory, utc_offset=environment.utc_offset)


def _differences(recorded: Mapping[str, Any], replayed: Mapping[str, Any]) -> list[Difference] | None:
    """Differences between the environments of two runs; None if one is unknown."""
    before, after = environment_of(recorded), environment_of(replayed)
    if before is None or after is None:
        return None
    old, new = place_of(recorded), place_of(replayed)
    moved = [Difference(key, old.get(key), new.get(key)) for key in PLACE if old.get(key) != new.get(key)]
    return [*moved, *differences(before, after)]
