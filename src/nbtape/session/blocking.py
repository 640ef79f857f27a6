"""The blocking face: the same executor for callers without an event loop, or with one that is busy."""

from __future__ import annotations

import asyncio
import atexit
import logging
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, Unpack

from nbtape.common.finalizers import when_forgotten
from nbtape.common.heavy_imports import defer_grammar
from nbtape.kernels.sources import DEFAULT_KERNEL
from nbtape.session.executor import AsyncJupyterCodeExecutor
from nbtape.session.loop_thread import END_LIMIT, LoopThread

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import TracebackType

    from nbtape.kernels.sources import Server
    from nbtape.messages.code_blocks import CodeBlock, MarkdownCodeExtractor
    from nbtape.results import CellResult, CodeResult
    from nbtape.session.options import Options
    from nbtape.session.resume_plan import Resumption
    from nbtape.session.variables import Variables

logger = logging.getLogger(__name__)


class JupyterCodeExecutor:
    """Runs code blocks in a stateful Jupyter kernel and records them as a notebook.

    Works in a plain script, in any thread, and where an event loop runs already (in Jupyter, in an async test): the
    session has an event loop and a thread of its own, from its start to its stop.

    Nothing starts before `start`, `with` or the first use. Ctrl-C in a call interrupts the block, records what that
    printed, and raises `BlockInterrupted`, a `KeyboardInterrupt` with the result; the executor is ready for the next.

    Args:
        jupyter_server: Where the kernel comes from: a server that nbtape starts (`DockerJupyterServer`,
            `LocalJupyterServer`), one that somebody else runs (`JupyterConnectionInfo`, or its URL and `token=`);
            a `KernelPool` of any of them; None for a kernel of this machine.
        kernel_name: The kernel spec.
        timeout: Seconds for each block, at least 1.
        output_dir: Where the notebook and its files go, and the kernel's working directory. Made if its parent exists.
        notebook: The name of the notebook, with or without `.ipynb`; where it is taken, a number is added.
        options: See `nbtape.Options`.

    Raises:
        ValueError: A value that cannot work.
    """

    def __init__(
        self,
        jupyter_server: Server = None,
        kernel_name: str = DEFAULT_KERNEL,
        timeout: float = 60,
        output_dir: Path | str = ".",
        *,
        notebook: str | None = None,
        **options: Unpack[Options],
    ) -> None:
        self._executor = AsyncJupyterCodeExecutor(
            jupyter_server, kernel_name, timeout, output_dir, notebook=notebook, **options
        )
        self._timeout, self._kernel_name, self._output_dir = timeout, kernel_name, Path(output_dir)
        self._thread = LoopThread()
        # Whoever forgets to stop gets it done: when the executor is collected, or the process ends. Then it has to come
        # before what ends the kernel and its server by force, which is younger, and so would be first.
        atexit.register(when_forgotten(self, _stop_forgotten, self._executor, self._thread))

    @classmethod
    def resume(
        cls,
        notebook: Path | str,
        jupyter_server: Server = None,
        kernel_name: str | None = None,
        timeout: float = 60,
        *,
        until: int | None = None,
        on_progress: Callable[[str], None] | None = None,
        **options: Unpack[Options],
    ) -> Self:
        """An executor that goes on with a recorded notebook, whoever stopped, killed or edited it.

        When it starts, it goes on with the kernel of the recording if that still lives on its server; else it starts
        one and runs again what had succeeded on the last kernel, with all that this does to files. What is in the
        notebook stays as it is; new cells come after it. `resumption` says what became of each cell.

        Args:
            notebook: The notebook; its directory is the `output_dir`.
            jupyter_server: As for the class.
            kernel_name: The kernel spec; None for the one that the notebook names.
            timeout: As for the class; a cell that was recorded with more seconds has those when it is run again.
            until: How many cells, from the first, a new notebook is to begin with (`<name>-fork.ipynb`, which names
                its origin). None goes on in this one.
            on_progress: Called with a line for people as each cell is run again, on the executor's event loop.
            options: See `nbtape.Options`.

        Raises:
            NotebookReadError: There is no notebook that could be gone on with.
            ValueError: Another value that cannot work.
        """
        defer_grammar()
        from nbtape.session.resume import Origin

        origin = Origin.check(notebook, until, on_progress)
        name, directory = kernel_name or origin.kernel_name, origin.path.parent
        executor = cls(jupyter_server, name, timeout, directory, notebook=origin.name, **options)
        executor._executor._origin = origin  # noqa: SLF001  (one implementation has two faces)
        return executor

    @property
    def resumption(self) -> Resumption | None:
        """What became of the cells of the notebook that is gone on with; None before the start, and where none is."""
        return self._executor.resumption

    @property
    def code_extractor(self) -> MarkdownCodeExtractor:
        """What finds the code blocks in a message."""
        return self._executor.code_extractor

    @property
    def notebook(self) -> Path:
        """The recording; before the start, where it will be if that name is free."""
        return self._executor.notebook

    @property
    def url(self) -> str:
        """Where people open the notebook in JupyterLab, on the kernel that records it; without any token.

        Empty before the start, and where there is none: the kernel is on no server, or on one that has no JupyterLab,
        does not see the notebook, or has another kernel for it.
        """
        return self._executor.url

    @property
    def timeout(self) -> float:
        """Seconds for each block."""
        return self._timeout

    @property
    def kernel_name(self) -> str:
        """The kernel spec."""
        return self._kernel_name

    @property
    def output_dir(self) -> Path:
        """Where the notebook and its files go, as it was given."""
        return self._output_dir

    @property
    def max_output_chars(self) -> int:
        """The most characters of `CodeResult.output`."""
        return self._executor.max_output_chars

    @property
    def options(self) -> Options:
        """All options, as they were given or are by default."""
        return self._executor.options

    def outputs(self, cell: CellResult) -> list[Mapping[str, Any]]:
        """What a cell shows now, as nbformat has it.

        Args:
            cell: What came of its block.
        """
        return self._executor.outputs(cell)

    @property
    def kernel_epoch(self) -> int:
        """Which kernel is in use, counted from 1; 0 before the first."""
        return self._executor.kernel_epoch

    def start(self) -> None:
        """Start the kernel and the recording; harmless when they run.

        Raises:
            KernelStartError: The kernel cannot be started.
            NotebookInUseError: The notebook that is to be resumed is still being written.
            NotebookWriteError: The notebook cannot be written.
        """
        try:
            self._thread.call(self._executor.start())
        except BaseException:
            self._thread.end_if_idle()
            raise

    def stop(self) -> None:
        """End the kernel, interrupting what runs. The notebook is complete; another use starts a fresh kernel.

        Raises:
            NotebookWriteError: The last of the recording cannot be written. The kernel is ended all the same.
        """
        try:
            self._thread.call(self._executor.stop())
        finally:
            self._thread.end_if_idle()

    def restart(self) -> None:
        """End the kernel and start a fresh one; variables are gone. The recording goes on."""
        self._thread.call(self._executor.restart())

    def interrupt(self) -> None:
        """Interrupt the block that runs in another thread, if one does; its result will say so. Returns at once."""
        self._thread.call(self._executor.interrupt())

    def add_markdown(self, text: str, agent: str = "") -> None:
        """Append a Markdown cell: what the agent, or anybody, said.

        Args:
            text: Markdown.
            agent: Who said it, for the cell's metadata; empty for nobody in particular.

        Raises:
            NotebookWriteError: It cannot be written; it is kept for the next save.
        """
        self._thread.call(self._executor.add_markdown(text, agent))

    def execute_code_blocks(self, code_blocks: Sequence[CodeBlock], *, timeout: float | None = None) -> CodeResult:
        """Run code blocks, each in a cell of its own, until one fails; variables live on between calls.

        Args:
            code_blocks: The blocks. Anything with the attributes `code` and `language` will do.
            timeout: Seconds for each of them, at least 1; None for those of the executor.

        Raises:
            ValueError: A timeout that is none.
            KernelStartError: No kernel can be started.
            NotebookWriteError: The notebook cannot be written; its `result` says what was run.
            BlockInterrupted: Ctrl-C; its `result` says what was run.
        """
        stop = asyncio.Event()
        return self._thread.call(self._executor.execute_code_blocks(code_blocks, timeout=timeout, stop=stop), stop)

    async def aexecute_code_blocks(
        self, code_blocks: Sequence[CodeBlock], *, timeout: float | None = None
    ) -> CodeResult:
        """The same for a caller on an event loop, whichever it is: the loop stays free while the blocks run.

        Cancelling this call interrupts its block, and no other; what that printed is recorded before this ends.

        Args:
            code_blocks: As for `execute_code_blocks`.
            timeout: The same.

        Raises:
            ValueError: A timeout that is none.
            KernelStartError: No kernel can be started.
            NotebookWriteError: The notebook cannot be written; its `result` says what was run.
        """
        stop = asyncio.Event()
        return await self._thread.wait(
            self._executor.execute_code_blocks(code_blocks, timeout=timeout, stop=stop), stop
        )

    def parameters(self, **values: object) -> CodeResult:
        """Define variables in a cell that a replay finds: `papermill -p` and `nbtape replay -p` override it.

        One such cell to a notebook, before what uses it: papermill goes by the first.

        Args:
            values: By name, numbers, texts, booleans, None, and lists, tuples and dicts of them.

        Raises:
            ValueError: A name or a value is none of these.
            KernelStartError: No kernel can be started.
            NotebookWriteError: The notebook cannot be written.
        """
        return self._thread.call(self._executor.parameters(**values))

    def skip_code_blocks(self, code_blocks: Sequence[CodeBlock], note: str = "") -> CodeResult:
        """Record code blocks without running them: a policy refused them, or what they build on failed.

        Args:
            code_blocks: The blocks; each becomes a cell with the status `not_run`.
            note: Why, a sentence.

        Raises:
            NotebookWriteError: The notebook cannot be written; the cells are kept for the next save.
        """
        return self._thread.call(self._executor.skip_code_blocks(code_blocks, note))

    def variables(self, *, timeout: float = 10, limit: int = 200) -> Variables:
        """The variables of the kernel, sorted by name; nothing is recorded, and `_`, `In`, `Out` stay as they are.

        Left out are modules, names with an underscore in front, and what IPython put there. Waits for a block that
        runs. Starts nothing: without a kernel there are no variables.

        Args:
            timeout: Seconds for the kernel to answer, at least 1; half of them for all reprs together. Then it is
                interrupted, and never ended.
            limit: The most variables to tell of; `left_out` of the answer says how many more there are.

        Raises:
            KernelBusyError: The kernel does not answer.
            KernelError: It is dead, is no Python, or its answer makes no sense.
        """
        return self._thread.call(self._executor.variables(timeout=timeout, limit=limit))

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()


def _stop_forgotten(executor: AsyncJupyterCodeExecutor, thread: LoopThread) -> None:
    """Stop what nobody stopped."""
    if not thread.is_running:
        return
    if thread.is_current:  # the collector runs where it likes, and here nobody can wait
        threading.Thread(target=_stop_forgotten, args=(executor, thread), daemon=True).start()
        return
    try:
        thread.submit(executor.stop()).result(END_LIMIT)
    except Exception as exc:  # noqa: BLE001  (nobody is there to be told)
        logger.warning("an executor that was not stopped could not be stopped at its end: %s", exc)
    thread.end()


class EmbeddedIPythonCodeExecutor(JupyterCodeExecutor):
    """`JupyterCodeExecutor` without a server, under the name of AutoGen's class; new code has no need of it.

    https://github.com/ag2ai/ag2/blob/v0.14.0/autogen/coding/jupyter/embedded_ipython_code_executor.py

    AutoGen's class starts its kernel when it is made and never ends it. This one starts it at the first use and ends it
    with `stop`, with `with`, when the executor is forgotten, or at exit.

    Args:
        timeout: Seconds for each block, at least 1 (60).
        kernel_name: The kernel spec ("python3").
        output_dir: Where the notebook and its files go, and the kernel's working directory (".").
        options: What else `JupyterCodeExecutor` takes. All by keyword, as there.

    Raises:
        ValueError: A value that cannot work.
    """
