"""The session: code blocks in, recorded cells out (async)."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, Unpack

from nbtape.common.concurrency import Turns, see_through, take_turn, tell
from nbtape.common.heavy_imports import defer_grammar
from nbtape.common.text import fit_text
from nbtape.errors import KernelError, NotebookWriteError
from nbtape.kernels.protocols import SharedKernels
from nbtape.kernels.sources import DEFAULT_KERNEL, checked_directory, checked_source
from nbtape.messages.code_blocks import CodeBlock, MarkdownCodeExtractor
from nbtape.messages.languages import cell_source, is_python, languages_of
from nbtape.results import CellResult, CodeResult, join_cells
from nbtape.session.kernel_lifecycle import KernelEpochs
from nbtape.session.options import DEFAULT_NAME, checked_block, checked_name, checked_options, checked_timeout
from nbtape.session.parameters import TAG, assignments
from nbtape.session.variables import Variables, question, read_variables

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import TracebackType

    from nbtape.kernels.sources import Server
    from nbtape.kernels.start import ReadyKernel
    from nbtape.session.cell_runner import Outcome
    from nbtape.session.options import Options
    from nbtape.session.recording import Recording
    from nbtape.session.resume import Origin
    from nbtape.session.resume_plan import Resumption


class AsyncJupyterCodeExecutor:
    """Runs code blocks in a stateful Jupyter kernel and records them as a notebook, for callers on an event loop.

    Nothing starts before `start`, `async with` or the first use. Calls that overlap queue. Cancelling a call
    interrupts its block, records what that printed, and leaves the executor ready for the next.

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
        ValueError: A value that cannot work; the subclasses `OutputDirectoryError` and `KernelNotInstalledError`
            where they say it better.
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
        self._options = checked_options(options)
        self._timeout = checked_timeout(timeout)
        self._kernel_name = kernel_name
        self._output_dir = Path(output_dir)
        self._directory = checked_directory(self._output_dir)
        self._name = checked_name(notebook or DEFAULT_NAME)
        self._source = checked_source(jupyter_server, kernel_name, self._options["token"], self._directory)
        self._source.check()
        self._kernels = KernelEpochs(self._source, self._directory, self._options["startup_timeout"])
        self._turns = Turns()
        self._stop: asyncio.Event | None = None
        self._recording: Recording | None = None
        self._url = ""
        self._origin: Origin | None = None
        self._resumption: Resumption | None = None

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
        executor._origin = origin
        return executor

    @property
    def resumption(self) -> Resumption | None:
        """What became of the cells of the notebook that is gone on with; None before the start, and where none is."""
        return self._resumption

    @property
    def code_extractor(self) -> MarkdownCodeExtractor:
        """What finds the code blocks in a message."""
        return MarkdownCodeExtractor()

    @property
    def notebook(self) -> Path:
        """The recording; before the start, where it will be if that name is free."""
        return self._recording.path if self._recording else self._directory / f"{self._name}.ipynb"

    @property
    def url(self) -> str:
        """Where people open the notebook in JupyterLab, on the kernel that records it; without any token.

        Empty before the start, and where there is none: the kernel is on no server, or on one that has no JupyterLab,
        does not see the notebook, or has another kernel for it.
        """
        return self._url

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
        return self._options["max_output_chars"]

    @property
    def options(self) -> Options:
        """All options, as they were given or are by default."""
        return self._options.copy()

    @property
    def kernel_epoch(self) -> int:
        """Which kernel is in use, counted from 1; 0 before the first."""
        return self._kernels.number

    def outputs(self, cell: CellResult) -> list[Mapping[str, Any]]:
        """What a cell shows now, as nbformat has it.

        Args:
            cell: What came of its block.
        """
        return self._recorded.outputs(cell)

    async def start(self) -> None:
        """Start the kernel and the recording; harmless when they run.

        Raises:
            KernelStartError: The kernel cannot be started.
            NotebookInUseError: The notebook that is to be resumed is still being written.
            NotebookWriteError: The notebook cannot be written.
        """
        async with self._turns.lock:
            await self._start()

    async def stop(self) -> None:
        """End the kernel, interrupting what runs. The notebook is complete; another use starts a fresh kernel.

        Raises:
            NotebookWriteError: The last of the recording cannot be written. The kernel is ended all the same.
        """
        await self.interrupt()
        async with self._turns.lock:
            await self._kernels.end()
            if self._recording is not None:
                await self._recording.close()

    async def restart(self) -> None:
        """End the kernel and start a fresh one; variables are gone. The recording goes on."""
        await self.interrupt()
        async with self._turns.lock:
            await self._kernels.renew()
            await self._start()

    async def interrupt(self) -> None:
        """Interrupt the block that runs, if one does; its result will say so. Returns at once."""
        if self._stop is not None:
            self._stop.set()

    async def add_markdown(self, text: str, agent: str = "") -> None:
        """Append a Markdown cell: what the agent, or anybody, said.

        Args:
            text: Markdown.
            agent: Who said it, for the cell's metadata; empty for nobody in particular.

        Raises:
            NotebookWriteError: It cannot be written; it is kept for the next save.
        """
        async with self._turns.lock:
            await self._start()
            self._recorded.add_markdown(text, agent)
            self._recorded.save()

    async def execute_code_blocks(
        self, code_blocks: Sequence[CodeBlock], *, timeout: float | None = None, stop: asyncio.Event | None = None
    ) -> CodeResult:
        """Run code blocks, each in a cell of its own, until one fails; variables live on between calls.

        Args:
            code_blocks: The blocks. Anything with the attributes `code` and `language` will do.
            timeout: Seconds for each of them, at least 1; None for those of the executor.
            stop: Interrupts this call, and no other, when it is set; the result says so. One that still waits for
                its turn is cancelled.

        Raises:
            ValueError: A timeout that is none.
            KernelStartError: No kernel can be started.
            NotebookWriteError: The notebook cannot be written; its `result` says what was run.
            WrongLoopError: The kernel runs on another event loop.
        """
        blocks = [checked_block(block) for block in code_blocks]
        seconds = self._timeout if timeout is None else checked_timeout(timeout)
        stop = stop or asyncio.Event()
        return await see_through(self._execute(blocks, seconds, stop), stop)

    async def parameters(self, **values: object) -> CodeResult:
        """Define variables in a cell that a replay finds: `papermill -p` and `nbtape replay -p` override it.

        One such cell to a notebook, before what uses it: papermill goes by the first.

        Args:
            values: By name, numbers, texts, booleans, None, and lists, tuples and dicts of them.

        Raises:
            ValueError: A name or a value is none of these.
            KernelStartError: No kernel can be started.
            NotebookWriteError: The notebook cannot be written.
        """
        result = await self.execute_code_blocks([CodeBlock(assignments(values), "python")])
        for cell in result.cells:
            self._recorded.tag(cell, TAG)
        self._recorded.save()
        return result

    async def skip_code_blocks(self, code_blocks: Sequence[CodeBlock], note: str = "") -> CodeResult:
        """Record code blocks without running them: a policy refused them, or what they build on failed.

        Args:
            code_blocks: The blocks; each becomes a cell with the status `not_run`.
            note: Why, a sentence.

        Raises:
            NotebookWriteError: The notebook cannot be written; the cells are kept for the next save.
        """
        blocks = [checked_block(block) for block in code_blocks]
        async with self._turns.lock:
            await self._start()
            cells = []
            for block in blocks:
                self._note(block.said_before, block.said_by)
                cells.append(self._recorded.skip(block, note))
                self._note(block.said_after, block.said_by)
            self._recorded.save()
            return self._join(cells)

    async def variables(self, *, timeout: float = 10, limit: int = 200) -> Variables:
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
            WrongLoopError: The kernel runs on another event loop.
        """
        expressions = question(limit, checked_timeout(timeout) / 2)
        stop = asyncio.Event()
        return await see_through(self._ask_for_variables(expressions, timeout, limit, stop), stop)

    async def _ask_for_variables(
        self, expressions: Mapping[str, str], timeout: float, limit: int, stop: asyncio.Event
    ) -> Variables:
        async with take_turn(self._turns.lock, stop):
            if not self._kernels.has_kernel:
                return Variables()
            if not is_python(language := self._kernels.language):
                raise KernelError(f"A kernel that runs {language} cannot tell its variables: print them in a block.")
            self._stop = stop
            try:
                return read_variables(await self._kernels.ask(expressions, timeout, stop), limit)
            finally:
                self._stop = None

    async def _execute(self, blocks: Sequence[CodeBlock], timeout: float, stop: asyncio.Event) -> CodeResult:
        async with take_turn(self._turns.lock, stop):
            self._stop = stop
            cells: list[CellResult] = []
            try:
                await self._start()
                for block in blocks:
                    self._note(block.said_before, block.said_by)
                    cells.append(await self._run(block, cells, timeout, stop))
                    self._note(block.said_after, block.said_by)
                    self._recorded.save()
            except NotebookWriteError as exc:
                if self._recording is None:
                    raise
                cells += [self._recorded.skip(block, "") for block in blocks[len(cells) :]]
                raise NotebookWriteError(exc.path, exc.reason, self._join(cells)) from exc
            finally:
                self._stop = None
            return self._join(cells)

    def _note(self, said: str, agent: str) -> None:
        """Record what the agent said around a block, if that is wanted. Not saved yet."""
        if said and self._options["record_messages"]:
            self._recorded.add_markdown(said, agent or self._options["agent"])

    def _join(self, cells: Sequence[CellResult]) -> CodeResult:
        return join_cells(cells, self.notebook, self.max_output_chars)

    async def _run(
        self, block: CodeBlock, before: Sequence[CellResult], timeout: float, stop: asyncio.Event
    ) -> CellResult:
        """Run one block, or say why not."""
        if any(cell.status != "ok" for cell in before):
            return self._recorded.skip(block, "")
        if stop.is_set():
            return self._recorded.skip(block, "Interrupted before it was run.")
        source = cell_source(block, self._kernels.language)
        if source is None:
            spoken = languages_of(self._kernels.language)
            return self._recorded.skip(block, f"Not run: this kernel has no {block.language!r}; it runs {spoken}.")
        if fit_text(source) != source:
            return self._recorded.skip(block, "Not run: the code has characters that UTF-8 cannot hold (surrogates).")
        return await self._run_cell(block, source, timeout, stop)

    async def _run_cell(self, block: CodeBlock, source: str, timeout: float, stop: asyncio.Event) -> CellResult:
        from nbtape.session.recording import Ending

        await self._start()
        epoch = self._kernels.number
        index = self._recorded.begin(block, source, timeout, epoch)
        try:
            self._recorded.keep()
        except NotebookWriteError:
            # What cannot be recorded is not run. The save that follows says why, in an error of its own.
            return self._recorded.withdraw(index, "Not run: the notebook cannot be written.")
        news = self._kernels.take_news()
        room = max(0, self._options["max_notebook_chars"] - self._recorded.notebook.size)
        outcome = await self._kernels.run(index, timeout, min(room, self._options["max_cell_chars"]), stop)
        return await self._recorded.end(index, Ending(outcome, news, _describe(outcome, timeout), epoch))

    @property
    def _recorded(self) -> Recording:
        assert self._recording is not None, "the session has started"
        return self._recording

    async def _start(self) -> None:
        """Have a kernel that lives, and a recording."""
        if await self._kernels.is_alive():
            return
        if self._origin is not None and self._resumption is None:
            await self._restore(self._origin)
            if self._kernels.has_kernel:
                return
        kernel, number = await self._kernels.start(), self._kernels.number + 1
        try:
            self._record_on(kernel, number)
            self._use(kernel, number)
        except BaseException:
            await kernel.abandon()
            raise
        await self._share(kernel)

    async def _restore(self, origin: Origin) -> None:
        """Go on with a recorded session; without a kernel, if that died over it."""
        from nbtape.session.resume import Terms, restore

        stop, before = self._stop or asyncio.Event(), self._stop
        self._stop = stop
        try:
            restored = await restore(origin, self._source, Terms(self._timeout, self._options), stop)
        finally:
            self._stop = before
        self._recording, self._resumption = restored.recording, restored.resumption
        if restored.kernel is not None:
            self._use(restored.kernel, restored.epoch)
            await self._share(restored.kernel)
        is_told = restored.resumption.differing or restored.resumption.note
        self._kernels.go_on(restored.epoch, str(restored.resumption) if is_told else "")

    def _record_on(self, kernel: ReadyKernel, epoch: int) -> None:
        """Have a recording, which says what kernel it is now on."""
        from nbtape.session.recording import Recording

        described = kernel.describe(epoch)
        if self._recording is None:
            self._recording = Recording.create(self._directory, self._name, self._options, described)
        else:
            self._recording.notebook.describe(described)

    def _use(self, kernel: ReadyKernel, epoch: int) -> None:
        """Run and record the blocks that come on this kernel."""
        from nbtape.session.cell_runner import CellRunner
        from nbtape.session.output_limits import Listener

        on_output = self._options["on_output"]
        listener = Listener(self._recorded.changed, lambda output: tell(on_output, output))
        runner = CellRunner(
            self._recorded.notebook.node,
            kernel.manager,
            kernel.client,
            listener,
            grace=self._options["interrupt_grace"],
        )
        self._recorded.follow(runner.settle)
        self._kernels.use(kernel, runner, epoch)

    async def _share(self, kernel: ReadyKernel) -> None:
        """Have people who open the recording be on its kernel, where that can be had."""
        if isinstance(self._source, SharedKernels):
            self._url = await self._source.share(kernel.manager, self._recorded.path)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.stop()


def _describe(outcome: Outcome, timeout: float) -> str:
    """What is to be said of a cell that did not simply succeed or raise."""
    what = {
        "timeout": f"Timeout: stopped after {timeout:g} s.",
        "interrupted": "Interrupted.",
        "kernel_died": f"The kernel died. {outcome.cause}".rstrip(),
    }.get(outcome.status, "The code ended the kernel." if outcome.asked_exit else "")
    if not what:
        return ""
    if not outcome.kernel_lost:
        return f"{what} Variables are kept."
    if outcome.status in {"timeout", "interrupted"}:
        what += " The code did not obey the interrupt, so the kernel was ended."
    return f"{what} Variables are gone; the next block gets a fresh kernel."
