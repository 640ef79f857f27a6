"""The papermill engine `nbtape`, see https://papermill.readthedocs.io/en/latest/extending-entry-points.html."""

from __future__ import annotations

import asyncio
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from papermill.engines import Engine  # type: ignore[import-untyped]

from nbtape.common.text import spell_out
from nbtape.errors import BlockInterrupted
from nbtape.kernels.sources import checked_source
from nbtape.notebook.format import is_left_out
from nbtape.replay.compat_papermill import OutputEcho, excuse_errors, working_directory
from nbtape.replay.execution_manager import ExecutionManager
from nbtape.replay.expectations import expectation
from nbtape.replay.markers import skip_marks
from nbtape.replay.rerun import Rerun
from nbtape.session.kernel_lifecycle import KernelLifecycle
from nbtape.session.loop_thread import LoopThread
from nbtape.session.options import DEFAULTS, checked_options
from nbtape.session.written_files import WorkingDirectory

if TYPE_CHECKING:
    from collections.abc import Callable

    from nbformat import NotebookNode

    from nbtape.kernels.sources import Server
    from nbtape.session.options import Options


class NbtapeEngine(Engine):  # type: ignore[misc]  # untyped
    """Reruns any notebook and saves each cell once. Cells that failed in a recording may fail again."""

    @classmethod
    def execute_notebook(
        cls,
        nb: NotebookNode,
        kernel_name: str,
        output_path: str | None = None,
        progress_bar: bool | dict[str, Any] = True,  # noqa: FBT001, FBT002  (papermill's)
        log_output: bool = False,  # noqa: FBT001, FBT002  (papermill's)
        **options: Any,  # noqa: ANN401  (papermill's)
    ) -> NotebookNode:
        """Run a notebook; papermill calls this.

        Args:
            nb: The notebook with parameters; its outputs are replaced.
            kernel_name: The kernel spec.
            output_path: Where to save it after each cell. If None or not a local path, only papermill saves it.
            progress_bar: Whether to show papermill's progress bar, or its options.
            log_output: Whether outputs go to papermill's logger.
            options: `start_timeout`, `execution_timeout`, `stdout_file` and `stderr_file` as in papermill's own engine;
                `notebook`, the path to record as the input; `directory`, the kernel's working directory;
                `jupyter_server`, `keep_going`, `on_cell`, `on_start` and `trust_notebook_settings` as in
                `nbtape.replay` (without it, the tag `skip-execution` applies, as in papermill's own engine); `keep`,
                which is called with `nb` before it runs, prevents saving while the code, which could change the file,
                is running, and lists the files that the code writes. Other options are ignored.

        Raises:
            NbtapeError: No kernel can be started, or the notebook cannot be written.
        """
        skips = _skips(options.get("trust_notebook_settings"))
        expectations = {
            n: expectation(cell, skipped=skips(cell))
            for n, cell in enumerate(nb["cells"])
            if cell["cell_type"] == "code"
        }
        nb["metadata"]["papermill"] = spell_out(nb["metadata"]["papermill"])
        if "notebook" in options:
            nb["metadata"]["papermill"]["input_path"] = str(options["notebook"])
        runs = sum(expected.runs for expected in expectations.values())
        manager = ExecutionManager(nb, progress_bar, options.get("on_cell"), runs)
        manager.notebook_start()
        if (keep := options.get("keep")) is not None:
            manager.record(Path(options["notebook"]), in_memory=True)
            keep(nb)
        elif path := _local(output_path):
            manager.record(path)
        directory = Path(options.get("directory") or ".").absolute()
        own: Options = {**DEFAULTS, "startup_timeout": options.get("start_timeout") or DEFAULTS["startup_timeout"]}
        session = checked_options(own)
        server: Server = options.get("jupyter_server")
        source = checked_source(server, kernel_name, None, directory)
        source.check()
        rerun = Rerun(
            manager,
            expectations,
            KernelLifecycle(source, directory, session["startup_timeout"]),
            session,
            timeout=options.get("execution_timeout") or math.inf,
            keep_going=bool(options.get("keep_going")),
            on_output=OutputEcho(options, log_output=log_output).take,
            written=WorkingDirectory(directory) if keep is not None else None,
        )
        try:
            _run(rerun, manager, options.get("on_start"))
        finally:
            manager.close()
        for index, expected in expectations.items():
            if expected.may_fail:
                excuse_errors(nb["cells"][index])
        return nb


def _run(rerun: Rerun, manager: ExecutionManager, on_start: Callable[[Callable[[], None]], None] | None) -> None:
    thread, stop = LoopThread(), asyncio.Event()

    async def run() -> None:
        try:
            if on_start is not None:  # here, because a stop before the loop runs would be lost
                on_start(lambda: thread.tell(stop.set))
            await rerun.run(stop)
        finally:
            await manager.flush()

    try:
        thread.call(run(), stop)
    finally:
        thread.end()
    if stop.is_set() and not rerun.has_begun:
        raise BlockInterrupted


def _skips(trusted: bool | None) -> Callable[[NotebookNode], bool]:  # noqa: FBT001  (an option)
    """Whether a tag or comment of a cell leaves it out; `trusted` is None if papermill is in charge."""
    if trusted is None:
        return is_left_out
    return lambda cell: trusted and bool(skip_marks(cell))


def _local(path: str | None) -> Path | None:
    """The path to save a notebook to while it runs; None if papermill does not write to a local file."""
    if not path or not path.endswith(".ipynb") or "://" in path:
        return None
    return working_directory() / path
