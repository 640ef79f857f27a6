"""papermill's engine `nbtape`: a session with its failures runs again, each cell saved once, however many there are.

An engine is what papermill calls to run a notebook (https://papermill.readthedocs.io/en/latest/extending-entry-points.html).
"""

from __future__ import annotations

import asyncio
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from nbformat import NotebookNode
from papermill.clientwrap import PapermillNotebookClient  # type: ignore[import-untyped]
from papermill.engines import Engine, NotebookExecutionManager  # type: ignore[import-untyped]
from papermill.iorw import papermill_io  # type: ignore[import-untyped]
from papermill.log import logger  # type: ignore[import-untyped]

from nbtape.common.concurrency import tell
from nbtape.kernels.sources import checked_source
from nbtape.notebook.autosave import Autosave
from nbtape.notebook.document import Notebook
from nbtape.notebook.format import preamble
from nbtape.replay.expectations import expectation
from nbtape.replay.rerun import Rerun, Terms
from nbtape.session.loop_thread import LoopThread
from nbtape.session.options import DEFAULTS, checked_options

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from nbtape.kernels.sources import Server
    from nbtape.session.options import Options

#: Seconds for a cell where nobody says how many: as many as papermill gives it.
_FOR_EVER: Final = math.inf


class NbtapeEngine(Engine):  # type: ignore[misc]  # untyped
    """Runs a notebook, recorded by nbtape or not, as its session ran: what failed then may fail now."""

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
        """Run it, for papermill.

        Args:
            nb: The notebook, parameters injected; its outputs are replaced.
            kernel_name: The kernel spec.
            output_path: Where it is saved after each cell; None or what is no local path to leave that to papermill.
            progress_bar: Whether papermill's is shown, or its options.
            log_output: Whether outputs go to papermill's logger.
            options: `start_timeout` and `execution_timeout` (seconds), `stdout_file`, `stderr_file`, as papermill's own
                engine has them; `notebook` (the path of one that papermill was given as it is: it would keep all of
                it for that), `jupyter_server`, `directory` (where the kernel works; papermill's `cwd`),
                `keep_going` (an unexpected failure stops nothing), `on_cell` (called with how many cells have
                run of how many), `on_start` (called with what stops it from another thread); others are left alone.

        Raises:
            NbtapeError: No kernel can be had, or the notebook cannot be written.
        """
        expectations = {n: expectation(cell) for n, cell in enumerate(nb["cells"]) if cell["cell_type"] == "code"}
        if "notebook" in options:
            nb["metadata"]["papermill"]["input_path"] = str(options["notebook"])
        account = _Account(nb, _Echo(log_output, options), progress_bar)
        account.on_cell = options.get("on_cell")
        account.expected = sum(expected.runs for expected in expectations.values())
        account.notebook_start()
        account.save_to(_local(output_path))
        directory = Path(options.get("directory") or ".").absolute()
        own: Options = {**DEFAULTS, "startup_timeout": options.get("start_timeout") or DEFAULTS["startup_timeout"]}
        terms = Terms(
            options.get("execution_timeout") or _FOR_EVER, bool(options.get("keep_going")), checked_options(own)
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
                _excuse(nb["cells"][index])
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


class _ExpectedError(NotebookNode):
    """An error that was recorded, too. papermill asks an output for its attribute, and raises where that is "error"."""

    @property
    def output_type(self) -> str:
        return "expected_error"


def _excuse(cell: NotebookNode) -> None:
    """Have papermill not raise for the errors of a cell. What is written is not changed by it."""
    for position, output in enumerate(cell["outputs"]):
        if output["output_type"] == "error":
            cell["outputs"][position] = _ExpectedError(output)  # type: ignore[no-untyped-call]


def _local(path: str | None) -> Path | None:
    """Where a notebook is saved while it runs: where papermill writes to files of this machine, and to nothing else."""
    if not path or not path.endswith(".ipynb") or "://" in path:
        return None
    # We are called in papermill's `cwd`. Where it was itself, its handler of files knows, and gives away by no method
    # that does not change it.
    return Path(getattr(papermill_io.get_handler("local"), "_cwd", None) or ".", path)


class _Account(NotebookExecutionManager):  # type: ignore[misc]  # untyped
    """What papermill notes of a run in the notebook, saved cell by cell; follows a rerun.

    Args:
        nb: The notebook.
        echo: Where outputs go besides.
        progress_bar: As papermill has it.
    """

    def __init__(self, nb: NotebookNode, echo: _Echo, progress_bar: bool | dict[str, Any]) -> None:  # noqa: FBT001  (papermill's)
        super().__init__(nb, progress_bar=progress_bar)
        self.on_cell: Callable[[int, int], None] | None = None
        self.expected = 0
        self._echo = echo
        self._run = 0
        self._document: Notebook | None = None
        self._autosave: Autosave | None = None

    def save_to(self, path: Path | None) -> None:
        """From now on, save there after each change of a cell."""
        if path is not None:
            self.nb["metadata"].pop("nbtape", None)  # what was said of the recording
            self._document = Notebook(path, self.nb)
            self._document.describe({"nbtape": preamble()})
            self._document.save()

    def save(self, **_: Any) -> None:  # noqa: ANN401  (papermill's)
        """papermill's, at the beginning and the end of each cell. Ours is once a cell, and while it runs."""

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
        """See the notebook safe on the disk."""
        if self._autosave is not None:
            autosave, self._autosave = self._autosave, None
            await autosave.flush()

    def close(self) -> None:
        """Let papermill write it."""
        if self._document is not None:
            for index in range(len(self.nb["cells"])):
                self._document.touch(index)
            self._document.describe({})
            self._document.save()
            self._document.close()

    def _touch(self, index: int) -> None:
        if self._document is not None:
            self._document.touch(index)


class _Echo:
    """Where outputs go besides the notebook, as papermill's client has it.

    Args:
        log_output: Whether they go to papermill's logger.
        options: With `stdout_file` and `stderr_file`.
    """

    def __init__(self, log_output: bool, options: Mapping[str, Any]) -> None:  # noqa: FBT001  (papermill's)
        self.log_output = log_output
        self.stdout_file, self.stderr_file = options.get("stdout_file"), options.get("stderr_file")
        self.log = logger

    def take(self, output: Mapping[str, Any]) -> None:
        if self.log_output or self.stdout_file or self.stderr_file:
            PapermillNotebookClient.log_output_message(self, NotebookNode(output))
