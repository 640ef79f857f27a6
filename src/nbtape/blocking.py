"""The blocking face: the same executor for callers without an event loop, or with one that is busy."""

from __future__ import annotations

import asyncio
import logging
import threading
from concurrent.futures import CancelledError
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar, Unpack

from nbtape.errors import BlockInterrupted, WrongLoopError
from nbtape.executor import AsyncJupyterCodeExecutor
from nbtape.kernels.forgotten import when_forgotten

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence
    from concurrent.futures import Future
    from pathlib import Path
    from types import TracebackType

    from nbtape.blocks import CodeBlock, MarkdownCodeExtractor
    from nbtape.options import Options, Server
    from nbtape.results import CodeResult
    from nbtape.resumption import Resumption
    from nbtape.variables import Variables

T = TypeVar("T")

logger = logging.getLogger(__name__)

#: Seconds that the end of an executor that nobody stopped may hold up the end of the process.
_END_LIMIT: Final = 10.0


class JupyterCodeExecutor:
    """Runs code blocks in a stateful Jupyter kernel and records them as a notebook.

    Works in a plain script, in any thread, and where an event loop runs already (in Jupyter, in an async test): the
    session has an event loop and a thread of its own, from its start to its stop.

    Nothing starts before `start`, `with` or the first use. Ctrl-C in a call interrupts the block, records what that
    printed, and raises `BlockInterrupted`, a `KeyboardInterrupt` with the result; the executor is ready for the next.

    Args:
        jupyter_server: Where the kernel comes from: a server that nbtape starts (`DockerJupyterServer`,
            `LocalJupyterServer`), one that somebody else runs (`JupyterConnectionInfo`, or its URL and `token=`);
            None for a kernel of this machine.
        kernel_name: The kernel spec.
        timeout: Seconds for each block, at least 1.
        output_dir: Where the notebook and its files go, and the kernel's working directory. Made if its parent exists.
        notebook: The name of the notebook, with or without `.ipynb`; where it is taken, a number is added.
        options: See `nbtape.options.Options`.

    Raises:
        ValueError: A value that cannot work.
    """

    def __init__(
        self,
        jupyter_server: Server = None,
        kernel_name: str = "python3",
        timeout: float = 60,
        output_dir: Path | str = ".",
        *,
        notebook: str | None = None,
        **options: Unpack[Options],
    ) -> None:
        self._executor = AsyncJupyterCodeExecutor(
            jupyter_server, kernel_name, timeout, output_dir, notebook=notebook, **options
        )
        self._thread = _LoopThread()
        # Whoever forgets to stop gets it done: when the executor is collected, or the process ends.
        when_forgotten(self, _stop_forgotten, self._executor, self._thread)

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
            options: See `nbtape.options.Options`.

        Raises:
            NotebookReadError: There is no notebook that could be gone on with.
            ValueError: Another value that cannot work.
        """
        from nbtape.restoring import Origin

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
    def max_output_chars(self) -> int:
        """The most characters of `CodeResult.output`."""
        return self._executor.max_output_chars

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

    def add_markdown(self, text: str) -> None:
        """Append a Markdown cell: what the agent, or anybody, said.

        Raises:
            NotebookWriteError: It cannot be written; it is kept for the next save.
        """
        self._thread.call(self._executor.add_markdown(text))

    def execute_code_blocks(self, code_blocks: Sequence[CodeBlock]) -> CodeResult:
        """Run code blocks, each in a cell of its own, until one fails; variables live on between calls.

        Args:
            code_blocks: The blocks. Anything with the attributes `code` and `language` will do.

        Raises:
            KernelStartError: No kernel can be started.
            NotebookWriteError: The notebook cannot be written; its `result` says what was run.
            BlockInterrupted: Ctrl-C; its `result` says what was run.
        """
        stop = asyncio.Event()
        return self._thread.call(self._executor.execute_code_blocks(code_blocks, stop=stop), stop)

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


class _LoopThread:
    """An event loop in a thread of its own, from the first call to `end`, and anew if there is another call."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._calls = 0

    @property
    def is_running(self) -> bool:
        """Whether there is a loop."""
        return self._loop is not None

    @property
    def is_current(self) -> bool:
        """Whether the caller is on it."""
        return self._thread is threading.current_thread()

    def call(self, work: Coroutine[Any, Any, T], stop: asyncio.Event | None = None) -> T:
        """Do the work on the loop and wait for it.

        Args:
            work: The work.
            stop: What Ctrl-C sets; the work ends by itself then. Without it, Ctrl-C cancels the work.

        Raises:
            BlockInterrupted: Ctrl-C, with what the work came to.
        """
        future = self.submit(work)
        try:
            return future.result()
        except KeyboardInterrupt:
            if stop is None:
                future.cancel()
                raise
            self._tell(stop.set)
            raise BlockInterrupted(_result_if_begun(future)) from None
        finally:
            with self._lock:
                self._calls -= 1

    def submit(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        """Do the work on the loop.

        Raises:
            WrongLoopError: The caller is on the loop, and would wait for itself.
        """
        if self.is_current:
            work.close()
            raise WrongLoopError("This was called from on_output, on the executor's own thread: call it from another.")
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                self._thread = threading.Thread(target=_run, args=(self._loop,), name="nbtape", daemon=True)
                self._thread.start()
            self._calls += 1
            return asyncio.run_coroutine_threadsafe(work, self._loop)

    def _tell(self, action: Callable[[], None]) -> None:
        """Have something done on the loop, without waiting for it."""
        with self._lock:
            if self._loop is not None:
                self._loop.call_soon_threadsafe(action)

    def end_if_idle(self) -> None:
        """End loop and thread, unless a call is under way."""
        with self._lock:
            if self._calls:
                return
            ended = self._detach()
        _join(*ended)

    def end(self) -> None:
        """End loop and thread, whatever is under way."""
        with self._lock:
            ended = self._detach()
        _join(*ended)

    def _detach(self) -> tuple[asyncio.AbstractEventLoop | None, threading.Thread | None]:
        loop, thread, self._loop, self._thread = self._loop, self._thread, None, None
        return loop, thread


def _join(loop: asyncio.AbstractEventLoop | None, thread: threading.Thread | None) -> None:
    if loop is not None and thread is not None:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(_END_LIMIT)


def _result_if_begun(future: Future[Any]) -> CodeResult | None:
    """What a call came to that was told to stop; None if it still waited for its turn."""
    try:
        result: CodeResult = future.result()
    except CancelledError:
        return None
    return result


def _run(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    loop.run_forever()
    left = asyncio.all_tasks(loop)
    for task in left:
        task.cancel()
    loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.run_until_complete(loop.shutdown_default_executor())
    loop.close()


def _stop_forgotten(executor: AsyncJupyterCodeExecutor, thread: _LoopThread) -> None:
    """Stop what nobody stopped."""
    if not thread.is_running:
        return
    if thread.is_current:  # the collector runs where it likes, and here nobody can wait
        threading.Thread(target=_stop_forgotten, args=(executor, thread), daemon=True).start()
        return
    try:
        thread.submit(executor.stop()).result(_END_LIMIT)
    except Exception as exc:  # noqa: BLE001  (nobody is there to be told)
        logger.warning("an executor that was not stopped could not be stopped at its end: %s", exc)
    thread.end()
