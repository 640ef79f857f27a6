"""A recorded notebook is run again with papermill, and each of its cells is judged."""

from __future__ import annotations

import contextlib
import copy
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from nbtape.errors import NotebookWriteError
from nbtape.judging.verdicts import ReplaySettings
from nbtape.notebook import own_metadata
from nbtape.options import checked_timeout
from nbtape.reader import read_document
from nbtape.replaying.cells import judge_cell, missing_cell, settings_of
from nbtape.replaying.report import ReplayReport

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from nbformat import NotebookNode

    from nbtape.options import Server

#: The name of our engine, and of the kernel spec where a notebook names none.
_ENGINE: Final = "nbtape"
_KERNEL: Final = "python3"


def replay(  # noqa: PLR0913  (each is a thing of its own that a caller may say)
    notebook: Path | str,
    output: Path | str | None = None,
    *,
    jupyter_server: Server = None,
    kernel_name: str | None = None,
    parameters: Mapping[str, Any] | None = None,
    timeout: float = 600,
    keep_going: bool = False,
    settings: ReplaySettings | None = None,
    on_cell: Callable[[int, int], None] | None = None,
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
        parameters: Variables that override those of its `parameters` cell, as papermill does it.
        timeout: Seconds for each cell, unless it was recorded with more, or ran into its timeout: then it has those.
        keep_going: Whether the rest is run after a cell that failed and had not failed.
        settings: What counts as no difference; see `ReplaySettings`.
        on_cell: Called with how many of how many code cells have run.

    Raises:
        NotebookReadError: There is no notebook that could be run.
        NotebookWriteError: The new one cannot be written.
        KernelError: No kernel can be had.
        ValueError: Another value that cannot work.
    """
    return replay_stoppable(
        notebook,
        output,
        jupyter_server=jupyter_server,
        kernel_name=kernel_name,
        parameters=parameters,
        timeout=timeout,
        keep_going=keep_going,
        settings=settings,
        on_cell=on_cell,
    )


def replay_stoppable(
    notebook: Path | str,
    output: Path | str | None,
    *,
    kernel_name: str | None,
    parameters: Mapping[str, Any] | None,
    timeout: float,
    settings: ReplaySettings | None = None,
    **options: Any,  # noqa: ANN401  (those of the engine)
) -> ReplayReport:
    """The same for callers with several threads: `on_start` is called with what stops the replay from another one."""
    path = Path(notebook).absolute()
    recorded = read_document(path)
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
        kernel_name=kernel_name or _kernel_name(recorded),
        parameters=dict(parameters or {}),
        notebook=path,
        directory=path.parent,
        execution_timeout=checked_timeout(timeout),
        **options,
    )
    replayed = read_document(target)
    again = {cell["id"]: cell for cell in replayed["cells"]}
    directories = _directory(recorded, path.parent), _directory(replayed, path.parent)
    cells = [
        judge_cell(index, cell, again[cell["id"]], directories, chosen[cell["id"]])
        if cell["id"] in again
        else missing_cell(index, cell)
        for index, cell in enumerate(recorded["cells"])
        if cell["cell_type"] == "code"
    ]
    return ReplayReport(path, target, cells, time.monotonic() - began)


def _run(recorded: NotebookNode, target: Path, **options: Any) -> None:  # noqa: ANN401  (papermill's and our engine's)
    """Have papermill run it. That it raises for a cell that failed is a verdict, and not its business here."""
    import papermill  # type: ignore[import-untyped]
    from papermill.engines import papermill_engines  # type: ignore[import-untyped]
    from papermill.exceptions import PapermillExecutionError  # type: ignore[import-untyped]

    from nbtape.replaying.engine import NbtapeEngine

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
    number = 1
    while True:
        suffix = "" if number == 1 else f"-{number}"
        place = notebook.with_name(f"{notebook.stem}-replayed{suffix}.ipynb")
        if not place.exists():
            return place
        number += 1


def _directory(notebook: Mapping[str, Any], where: Path) -> str:
    """Where the kernel of a notebook worked, as it calls it."""
    told = str(own_metadata(notebook).get("directory") or "")
    return str(where) if told == "." else told


def _kernel_name(notebook: Mapping[str, Any]) -> str:
    return str(notebook["metadata"].get("kernelspec", {}).get("name") or _KERNEL)
