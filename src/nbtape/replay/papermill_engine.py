"""papermill's engine `nbtape`: reruns a recorded session, allows the recorded failures, and saves each cell once.

papermill calls an engine to run a notebook (https://papermill.readthedocs.io/en/latest/extending-entry-points.html).
"""

from __future__ import annotations

import asyncio
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from papermill.engines import Engine, NotebookExecutionManager  # type: ignore[import-untyped]

from nbtape.common.concurrency import tell
from nbtape.kernels.sources import checked_source
from nbtape.notebook.autosave import Autosave
from nbtape.notebook.document import Notebook
from nbtape.notebook.format import preamble
from nbtape.replay.compat_papermill import OutputEcho, excuse_errors, working_directory
from nbtape.replay.expectations import expectation
from nbtape.replay.rerun import Rerun, Terms
from nbtape.session.loop_thread import LoopThread
from nbtape.session.options import DEFAULTS, checked_options

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from nbformat import NotebookNode

    from nbtape.kernels.sources import Server
    from nbtape.session.options import Options

#: Papermill's default timeout of a cell, in seconds.
_NO_TIMEOUT: Final = math.inf


class NbtapeEngine(Engine):  # type: ignore[misc]  # untyped
    """Reruns a notebook, recorded by nbtape or not. Cells that failed when it was recorded may fail again."""

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
            nb: The notebook, parameters injected; its outputs are replaced.
            kernel_name: The kernel spec.
            output_path: Where to save it after each cell. If None or not a local path, only papermill saves it.
            progress_bar: Whether papermill's is shown, or its options.
            log_output: Whether outputs go to papermill's logger.
            options: `start_timeout` and `execution_timeout` (seconds), `stdout_file`, `stderr_file`, as papermill's own
                engine has them; `notebook` (the path of one that papermill was given as it is: it would keep all of
                it for that), `jupyter_server`, `directory` (where the kernel works; papermill's `cwd`),
                `keep_going` (an unexpected failure stops nothing), `on_cell` (called with how many cells have
                run of how many), `on_start` (called with what stops it from another thread); others are left alone.

        Raises:
            NbtapeError: No kernel can be started, or the notebook cannot be written.
        """
        expectations = {n: expectation(cell) for n, cell in enumerate(nb["cells"]) if cell["cell_type"] == "code"}
        if "notebook" in options:
            nb["metadata"]["papermill"]["input_path"] = str(options["notebook"])
        account = _Account(nb, OutputEcho(options, log_output=log_output), progress_bar)
        account.on_cell = options.get("on_cell")
        account.expected = sum(expected.runs for expected in expectations.values())
        account.notebook_start()
        account.save_to(_local(output_path))
        directory = Path(options.get("directory") or ".").absolute()
        own: Options = {**DEFAULTS, "startup_timeout": options.get("start_timeout") or DEFAULTS["startup_timeout"]}
        terms = Terms(
            options.get("execution_timeout") or _NO_TIMEOUT, bool(options.get("keep_going")), checked_options(own)
        )
        server: Server = options.get("jupyter_server")
        source = checked_source(server, kernel_name, None, directory)
        source.check()
        try:
            _run(Rerun(nb, expectations, source, directory, terms, account), account, options.get("on_start"))
        finally:
            account.notebook_complete()
            account.close()
        for index, expected in expectations.items():
            if expected.may_fail:
                excuse_errors(nb["cells"][index])
        return nb


def _run(rerun: Rerun, account: _Account, on_start: Callable[[Callable[[], None]], None] | None) -> None:
    thread, stop = LoopThread(), asyncio.Event()
    if on_start is not None:
        on_start(lambda: thread.tell(stop.set))

    async def run() -> None:
        try:
            await rerun.run(stop)
        finally:
            await account.flush()

    try:
        thread.call(run(), stop)
    finally:
        thread.end()


def _local(path: str | None) -> Path | None:
    """The path to save a notebook to while it runs; None if papermill does not write to a local file."""
    if not path or not path.endswith(".ipynb") or "://" in path:
        return None
    return working_directory() / path


class _Account(NotebookExecutionManager):  # type: ignore[misc]  # untyped
    """Records papermill's metadata of a run and saves the notebook cell by cell; follows a rerun.

    Args:
        nb: The notebook.
        echo: Gets each output, too.
        progress_bar: Papermill's option.
    """

    def __init__(self, nb: NotebookNode, echo: OutputEcho, progress_bar: bool | dict[str, Any]) -> None:  # noqa: FBT001  (papermill's)
        super().__init__(nb, progress_bar=progress_bar)
        self.on_cell: Callable[[int, int], None] | None = None
        self.expected = 0
        self._echo = echo
        self._run = 0
        self._document: Notebook | None = None
        self._autosave: Autosave | None = None

    def save_to(self, path: Path | None) -> None:
        """Save to `path` whenever a cell changes."""
        if path is not None:
            self.nb["metadata"].pop("nbtape", None)  # it describes the recording
            self._document = Notebook(path, self.nb)
            self._document.describe({"nbtape": preamble()})
            self._document.save()

    def save(self, **_: Any) -> None:  # noqa: ANN401  (papermill's)
        """Do nothing: papermill saves twice per cell; nbtape saves at its own times."""

    def describe(self, metadata: Mapping[str, Any]) -> None:
        self.nb["metadata"].update({key: value for key, value in metadata.items() if key != "nbtape"})
        if self._document is not None:
            self._document.describe(metadata)
            self._autosave = self._autosave or Autosave(self._document)

    def follow(self, settle: Callable[[int], None]) -> None:
        if self._autosave is not None:
            self._autosave.prepare = settle

    def begin(self, index: int) -> None:
        self.cell_start(self.nb["cells"][index], index)
        self.changed(index)

    def changed(self, index: int) -> None:
        if self._autosave is not None:
            self._autosave.changed(index)

    def output(self, output: Mapping[str, Any]) -> None:
        self._echo.take(output)

    def end(self, index: int, *, unexpected: bool) -> None:
        if unexpected:
            self.cell_exception(self.nb["cells"][index], index)
        self._touch(index)
        self.cell_complete(self.nb["cells"][index], index)
        if self._autosave is not None:
            self._autosave.save()
        self._run += 1
        tell(self.on_cell, self._run, self.expected)

    async def flush(self) -> None:
        """Wait until the notebook is on disk."""
        if self._autosave is not None:
            autosave, self._autosave = self._autosave, None
            await autosave.flush()

    def close(self) -> None:
        """Save all and release the notebook, which papermill writes next."""
        if self._document is not None:
            for index in range(len(self.nb["cells"])):
                self._document.touch(index)
            self._document.describe({})
            self._document.save()
            self._document.close()

    def _touch(self, index: int) -> None:
        if self._document is not None:
            self._document.touch(index)
