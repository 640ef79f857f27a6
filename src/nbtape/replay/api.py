"""Replay a recorded notebook with papermill and compare each cell."""

from __future__ import annotations

import contextlib
import copy
import functools
import time
from collections.abc import Mapping
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import TYPE_CHECKING, Any, Final

from nbtape.common.argument_checks import check_callable, check_instance, path_argument, text_argument
from nbtape.common.heavy_imports import import_heavy_packages
from nbtape.common.untrusted_files import Directory
from nbtape.environment import PLACE, Difference, differences
from nbtape.kernels.sources import DEFAULT_KERNEL, checked_directory
from nbtape.notebook.encoding import encode_document
from nbtape.notebook.format import environment_of, kernel_name_of, own_status, place_of
from nbtape.notebook.numbering import code_cells
from nbtape.notebook.read import parse_document, read_document
from nbtape.notebook.unknown_types import CELL_TYPES
from nbtape.replay.cell_verdict import judge_cell
from nbtape.replay.checked_parameters import check_parameters
from nbtape.replay.compare.cell_outputs import check_packages
from nbtape.replay.compare.settings import Context, ReplaySettings
from nbtape.replay.file_verdict import Runs, has_digests, judge_files
from nbtape.replay.notebook_settings import CellRules
from nbtape.replay.publish import Destination
from nbtape.replay.report import ReplayReport
from nbtape.replay.working_copy import Stop, can_work_in, left_out, workplace
from nbtape.session.options import checked_timeout

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from nbformat import NotebookNode

    from nbtape.kernels.sources import Server
    from nbtape.replay.report import ReplayedCell, ReplayedFile
    from nbtape.replay.working_copy import Workplace

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
    trust_notebook_settings: bool = False,
    allow_ignored: bool = False,
    in_place: bool = False,
    on_cell: Callable[[int, int], None] | None = None,
    on_copy: Callable[[int, int], None] | None = None,
    on_start: Callable[[Callable[[], None]], None] | None = None,
) -> ReplayReport:
    """Rerun a notebook from the start on a fresh kernel, into a new notebook, and compare every cell.

    The kernel works in a private copy of the notebook's directory, which is removed afterwards, so recorded files stay
    as recorded. The copy has no files that the recording created: the code has to write them again. Each recorded file
    gets a verdict, too. Absolute paths in the code lead to the original. Cells that failed may fail again without
    stopping the replay; cells that were not run are not run. Any notebook works.

    Args:
        notebook: The recorded notebook; it is not changed.
        output: Path of the new notebook, written after the kernel has stopped. An existing file is replaced. None for
            `<name>-replayed.ipynb` next to the notebook, with a number if that is taken.
        jupyter_server: The source of the kernel, as for `JupyterCodeExecutor`.
        kernel_name: The kernel spec; None for the one named in the notebook.
        directory: The directory for the kernel to work in a copy of; None for the notebook's directory.
        parameters: Variables that override those of its `parameters` cell, as in papermill. Without such a cell, they
            are set in a new first cell, with a warning in the log. In the new notebook's metadata, numbers that are not
            finite are strings, such as "nan".
        timeout: Seconds for each cell. A cell keeps a longer recorded timeout, and any timeout that it exceeded.
        keep_going: Whether to continue after a cell that fails but did not fail before.
        settings: Which differences to ignore; see `ReplaySettings`.
        trust_notebook_settings: Whether to apply settings in the notebook that relax the comparison: the metadata
            `nbtape.replay`, the tags `nbval-ignore-output`, `nbval-skip`, `skip-execution` (on a cell that was run) and
            `raises-exception` (on one that was not), and the comments `# NBVAL_IGNORE_OUTPUT` and `# NBVAL_SKIP`. The
            verdict on such a cell is `ignored` or `skipped`. If False, they are ignored and listed in
            `ReplayReport.ignored_settings`.
        allow_ignored: Whether the exit code may be 0 despite `ignored` and `skipped` cells.
        in_place: Whether the kernel works in the directory itself, so that the code overwrites the recorded files. A
            server on another machine always works with its own files.
        on_cell: Called after each cell with the number of cells that have run and their total.
        on_copy: Called during the copy with the bytes that are copied and their total.
        on_start: Called with a function that stops the replay from any thread, by interrupting the running cell. A
            replay that is stopped before the first cell raises BlockInterrupted.

    Raises:
        NotebookReadError: The file is not a usable notebook.
        NotebookWriteError: The new notebook cannot be written.
        DirectoryCopyError: The directory cannot be copied, or has more than 1 GB or 100,000 files.
        KernelError: No kernel can be started.
        MissingExtraError: The notebook has images, HTML or SVG, and the package to compare them is not installed.
        ValueError: The notebook has no such parameter, or another value is invalid.
    """
    path = path_argument("notebook", notebook).absolute()
    target = None if output is None else path_argument("output", output).absolute()
    check_callable("on_cell", on_cell)
    check_callable("on_copy", on_copy)
    check_callable("on_start", on_start)
    recorded = read_document(path)
    destination = Destination(path, target)
    return replay_document(
        recorded,
        path,
        destination,
        jupyter_server=jupyter_server,
        kernel_name=kernel_name,
        directory=directory,
        parameters=parameters,
        timeout=timeout,
        keep_going=keep_going,
        settings=settings,
        trust_notebook_settings=trust_notebook_settings,
        allow_ignored=allow_ignored,
        in_place=in_place,
        on_cell=on_cell,
        on_copy=on_copy,
        on_start=on_start,
    )


def prepare() -> None:
    """Import what a replay needs. In a thread other than the main one, Ctrl-C could not stop that."""
    import papermill  # type: ignore[import-untyped]  # noqa: F401

    import nbtape.replay.papermill_engine  # noqa: F401

    import_heavy_packages()


def replay_document(  # noqa: PLR0913  (the options of `replay`)
    recorded: NotebookNode,
    path: Path,
    destination: Destination | None,
    *,
    jupyter_server: Server = None,
    kernel_name: str | None = None,
    directory: Path | str | None = None,
    parameters: Mapping[str, Any] | None = None,
    timeout: float = 600,
    keep_going: bool = False,
    settings: ReplaySettings | None = None,
    trust_notebook_settings: bool = False,
    allow_ignored: bool = False,
    in_place: bool = False,
    on_cell: Callable[[int, int], None] | None = None,
    on_copy: Callable[[int, int], None] | None = None,
    on_start: Callable[[Callable[[], None]], None] | None = None,
) -> ReplayReport:
    """`replay` a notebook in memory that was read from `path`; without `destination`, `path` is the report's output."""
    if allow_ignored and not trust_notebook_settings:
        raise ValueError("allow_ignored= needs trust_notebook_settings=True: without it, no cell is ignored.")
    kernel_name = text_argument("kernel_name", kernel_name or kernel_name_of(recorded) or DEFAULT_KERNEL)
    if parameters is not None:
        check_instance("parameters", parameters, Mapping)
    if settings is not None:
        check_instance("settings", settings, ReplaySettings)
    check_parameters(recorded, path, kernel_name, parameters or {})
    check_packages(output for _, _, cell in code_cells(recorded["cells"]) for output in cell["outputs"])
    where = path.parent if directory is None else checked_directory(path_argument("directory", directory))
    rules = {
        index: CellRules.of(block, cell, settings or ReplaySettings(), trusted=trust_notebook_settings)
        for index, block, cell in code_cells(recorded["cells"])
    }
    execution_timeout = checked_timeout(timeout)
    runs = {index for index, _, cell in code_cells(recorded["cells"]) if rules[index].expectation(cell).runs}
    began, stop = time.monotonic(), Stop()
    if on_start is not None:
        on_start(stop)
    without = left_out(recorded, runs, path, None if destination is None else destination.path, where)
    with workplace(
        where,
        without,
        functools.partial(can_work_in, jupyter_server, kernel_name),
        in_place=in_place,
        stop=stop,
        on_copy=on_copy,
    ) as place:
        content, target = _run(
            recorded,
            destination,
            kernel_name=kernel_name,
            parameters=dict(parameters or {}),
            notebook=path,
            directory=place.path,
            jupyter_server=jupyter_server,
            execution_timeout=execution_timeout,
            keep_going=keep_going,
            trust_notebook_settings=trust_notebook_settings,
            on_cell=on_cell,
            on_start=stop.pass_to,
        )
        replayed = parse_document(path, content)
        contexts = _context(recorded, where), _context(replayed, where, place.moved)
        cells = _judge_cells(recorded, replayed, contexts, rules)
        absent = without.files if place.is_copy else ()
        files = _judge_files(Runs(recorded, replayed, contexts, rules, cells), path.parent, place, absent)
    return ReplayReport(
        path,
        target or path,
        cells,
        time.monotonic() - began,
        _differences(recorded, replayed),
        trusts_settings=trust_notebook_settings,
        allows_ignored=allow_ignored,
        files=files,
        in_place=not place.is_copy,
        notes=place.notes,
        documents=(recorded, replayed),
    )


def _judge_files(
    runs: Runs, directory: Path, place: Workplace, absent: Collection[tuple[str, ...]]
) -> list[ReplayedFile] | None:
    """The verdicts on the files that were recorded in a directory; None if the notebook has no digests.

    `absent` has the paths of files that were not there when the replay began.
    """
    if not has_digests(runs.recorded):
        return None
    with Directory(directory) as originals, Directory(place.path) as results:
        return judge_files(runs, originals if place.is_copy else None, results, absent)


def _judge_cells(
    recorded: NotebookNode,
    replayed: NotebookNode,
    contexts: tuple[Context, Context],
    rules: Mapping[int, CellRules],
) -> list[ReplayedCell]:
    new_cells = {cell["id"]: cell for cell in replayed["cells"]}
    return [
        judge_cell(index, block, cell, new_cells.get(cell["id"]), contexts, rules[index])
        for index, block, cell in code_cells(recorded["cells"])
    ]


def _run(
    recorded: NotebookNode,
    destination: Destination | None,
    **options: Any,  # noqa: ANN401  (papermill's and those of nbtape's engine)
) -> tuple[bytes, Path | None]:
    """Run a notebook with papermill and publish it; return its content and path. If interrupted, publish what ran.

    Ignores papermill's error for a failed cell, because the report shows it. Nothing is written to disk before the
    kernel has stopped, so that code can neither change the judged outputs nor redirect the written file.
    """
    import papermill
    from papermill.engines import papermill_engines  # type: ignore[import-untyped]
    from papermill.exceptions import PapermillExecutionError  # type: ignore[import-untyped]

    from nbtape.replay.papermill_engine import NbtapeEngine

    papermill_engines.register(_ENGINE, NbtapeEngine)  # also works without an installed entry point
    kept: list[NotebookNode] = []
    unknown = {cell["id"]: cell for cell in recorded["cells"] if cell["cell_type"] not in CELL_TYPES}

    def keep(nb: NotebookNode) -> None:
        nb["nbformat_minor"] = recorded["nbformat_minor"]  # papermill claims its own, also for cells that came later
        nb["metadata"]["nbtape"]["derived_from"] = options["notebook"].name
        kept.append(nb)

    @functools.lru_cache(maxsize=1)  # what is published is judged, too
    def encode(path: Path | None) -> bytes:
        kept[0]["metadata"]["papermill"]["output_path"] = None if path is None else str(path)
        return encode_document({**kept[0], "cells": [unknown.get(cell["id"], cell) for cell in kept[0]["cells"]]})

    options = {**options, "engine_name": _ENGINE, "progress_bar": False, "keep": keep}
    try:
        with contextlib.suppress(PapermillExecutionError):
            papermill.execute_notebook(_for_papermill(recorded), None, **options)
    except BaseException:
        if (
            destination is not None
            and kept
            and any(own_status(cell) not in {"", "not_run"} for cell in kept[0]["cells"])
        ):
            destination.publish(encode)
        raise
    path = None if destination is None else destination.publish(encode)
    return encode(path), path


def _for_papermill(recorded: NotebookNode) -> NotebookNode:
    """A copy in the form that papermill expects: its own metadata are dicts, and unknown cells are empty raw cells."""
    document = copy.deepcopy(recorded)
    for node in (document, *document["cells"]):
        if node.get("cell_type", "raw") not in CELL_TYPES:
            node.update(cell_type="raw", source="", metadata={}, outputs=[])
        if not isinstance(node["metadata"].get("papermill", {}), dict):
            del node["metadata"]["papermill"]
    return document


def _context(notebook: Mapping[str, Any], where: Path, moved: tuple[tuple[str, str], ...] = ()) -> Context:
    """The context of a run in the directory `where`, unless the notebook names another; `moved` as in `Context`."""
    environment = environment_of(notebook)
    if environment is None:
        return Context(directory=str(where), moved=moved)
    # The notebook may be untrusted: a "directory" such as "0.99" must not be masked in its outputs.
    is_path = PurePosixPath(environment.directory).is_absolute() or PureWindowsPath(environment.directory).is_absolute()
    directory = environment.directory if is_path else ""
    for part, original in moved:
        directory = directory.replace(part, original)
    return Context(directory=directory, moved=moved, utc_offset=environment.utc_offset)


def _differences(recorded: Mapping[str, Any], replayed: Mapping[str, Any]) -> list[Difference] | None:
    """The differences between the environments of two runs; None if one is unknown."""
    before, after = environment_of(recorded), environment_of(replayed)
    if before is None or after is None:
        return None
    old, new = place_of(recorded), place_of(replayed)
    moved = [Difference(key, old.get(key), new.get(key)) for key in PLACE if old.get(key) != new.get(key)]
    return [*moved, *differences(before, after)]
