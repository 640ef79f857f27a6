"""One recorded session: its kernel, its recording and its options."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import logging
from typing import TYPE_CHECKING, Final

from nbtape.common.concurrency import Callback
from nbtape.common.text import fit_text
from nbtape.errors import KernelError, NotebookWriteError
from nbtape.messages.languages import cell_source, is_python, language_meant, languages_of
from nbtape.results import STOPPED, join_cells
from nbtape.session.approval import decide
from nbtape.session.kernel_lifecycle import KernelLifecycle
from nbtape.session.missing_modules import INTERPRETER, advice, missing_module
from nbtape.session.variables import Variables, read_variables

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from nbtape.kernels.protocols import KernelSource
    from nbtape.kernels.start import ReadyKernel
    from nbtape.messages.code_blocks import CodeBlock
    from nbtape.results import CellResult, CodeResult
    from nbtape.session.approval import Decision
    from nbtape.session.cell_runner import Exit, Outcome
    from nbtape.session.options import Options
    from nbtape.session.recording import Recording
    from nbtape.session.resume import Origin
    from nbtape.session.resume_plan import Resumption

logger = logging.getLogger(__name__)

#: Maximum time for an idle kernel to name its interpreter.
_INTERPRETER_TIMEOUT_SECONDS: Final = 1.0

_INTERRUPTED: Final = "Not run: interrupted before it started."

_CUT: Final = (
    "Not run: the message ends inside this block, so it may be incomplete. Complete the block, close it with ```, and "
    "run it again."
)

#: What an exit did.
_EXITS: Final[Mapping[Exit, str]] = {
    "": "",
    "kernel": "The code exited the kernel.",
    "kept": "The code called exit() with an argument, which stops neither the code nor the kernel of a notebook.",
    "code": "The code stopped itself (SystemExit).",
}


class RecordedSession:
    """Runs blocks on a kernel and records them. Calls must not overlap, except for `interrupt`.

    `origin` is the notebook to resume, if any, and `resumption` the outcome. `url` is the URL of the notebook in
    JupyterLab.
    """

    def __init__(self, source: KernelSource, directory: Path, name: str, timeout: float, options: Options) -> None:
        self._source = source
        self._directory = directory
        self._name = name
        self.timeout = timeout
        self.options = options
        self.kernels = KernelLifecycle(source, directory, options["startup_timeout"])
        self.origin: Origin | None = None
        self.resumption: Resumption | None = None
        self.url = ""
        self._recording: Recording | None = None
        self._stop: asyncio.Event | None = None
        self._on_output = Callback(options["on_output"])
        self._is_ending = False

    @property
    def recording(self) -> Recording:
        """The recording of a session that has started."""
        assert self._recording is not None, "the session has started"
        return self._recording

    @property
    def notebook(self) -> Path:
        """Path of the recording; before the start, the path it gets if that name is free."""
        return self._recording.path if self._recording else self._directory / f"{self._name}.ipynb"

    @property
    def block_count(self) -> int:
        """Number of blocks in the notebook; 0 before the start."""
        return self._recording.notebook.cells.block_count if self._recording else 0

    async def start(self) -> None:
        """Start the recording, and start or replace the kernel if none is alive."""
        if await self.kernels.is_alive():
            return
        if self.origin is not None and self.resumption is None:
            await self._resume(self.origin)
            if self.kernels.has_kernel:
                return
        kernel, epoch = await self.kernels.start(), self.kernels.epoch + 1
        try:
            self._record_on(kernel, epoch)
            self._use(kernel, epoch)
        except BaseException:
            await kernel.abandon()
            raise
        await self._share(kernel)

    async def stop(self) -> None:
        """Shut down the kernel, then complete the recording, so that code cannot change it during or after the save."""
        self._is_ending = False
        try:
            await self.kernels.finish()
        finally:
            if self._recording is not None:
                await self._recording.close()

    async def restart(self) -> None:
        """Replace the kernel."""
        self._is_ending = False
        await self.kernels.renew()
        await self.start()

    def interrupt(self, *, ending: bool = False) -> None:
        """Interrupt the running block, if any; `ending` if `stop` or `restart` shuts down the kernel next."""
        self._is_ending = self._is_ending or ending
        if self._stop is not None:
            self._stop.set()

    async def add_markdown(self, text: str, agent: str) -> None:
        """Append a Markdown cell."""
        await self.start()
        self.recording.add_markdown(text, agent)
        self.recording.autosave.save()

    async def edit_cell(self, cell_id: str, source: str, agent: str) -> str:
        """Add a version of a cell; return its id."""
        await self.start()
        version = self.recording.edit(cell_id, source, agent or self.options["agent"])
        self.recording.autosave.save_now()  # the journal knows no order
        return version

    async def delete_cell(self, cell_id: str, agent: str) -> None:
        """Mark a cell as deleted."""
        await self.start()
        self.recording.delete(cell_id, agent or self.options["agent"])
        self.recording.autosave.save()

    async def move_cell(self, cell_id: str, position: int, agent: str) -> None:
        """Move a cell, and mark it."""
        await self.start()
        self.recording.move(cell_id, position, agent or self.options["agent"])
        self.recording.autosave.save_now()

    async def run(self, blocks: Sequence[CodeBlock], timeout: float | None, stop: asyncio.Event) -> CodeResult:
        """Run blocks until one fails or `stop` is set; see `ExecutorBase.execute_code_blocks` for errors."""
        cells: list[CellResult] = []
        with self._interruptible(stop):
            try:
                await self.start()
                self.recording.begin_call()
                for block in blocks:
                    self._add_message(block.said_before, block.said_by)
                    cells.append(await self._run(block, cells, timeout or self.timeout, stop))
                    self._add_message(block.said_after, block.said_by)
                    self.recording.autosave.save()
            except NotebookWriteError as exc:
                if self._recording is None:
                    raise
                cells += [self.recording.skip(block, "") for block in blocks[len(cells) :]]
                raise NotebookWriteError(exc.path, exc.reason, self._join(cells)) from exc
            finally:
                await self._on_output.catch_up()
        return self._join(cells)

    async def skip(self, blocks: Sequence[CodeBlock], note: str) -> CodeResult:
        """Record blocks that are not run."""
        await self.start()
        cells = []
        for block in blocks:
            self._add_message(block.said_before, block.said_by)
            cells.append(self.recording.skip(block, note))
            self._add_message(block.said_after, block.said_by)
        self.recording.autosave.save()
        return self._join(cells)

    def tag(self, cells: Sequence[CellResult], tag: str) -> None:
        """Add a tag to cells."""
        for cell in cells:
            self.recording.tag(cell, tag)
        self.recording.autosave.save()

    async def variables(
        self, expressions: Mapping[str, str], timeout: float, limit: int, stop: asyncio.Event
    ) -> Variables:
        """Ask the kernel for its variables, with the expressions of `variables.question`."""
        if not self.kernels.has_kernel:
            return Variables()
        if not is_python(language := self.kernels.language):
            raise KernelError(
                f"Variables are only available from Python kernels, and this one runs {language}. Print them in a "
                "block."
            )
        with self._interruptible(stop):
            return read_variables(await self.kernels.ask(expressions, timeout, stop), limit)

    @contextlib.contextmanager
    def _interruptible(self, stop: asyncio.Event) -> Iterator[None]:
        """Let `interrupt` set `stop`."""
        before, self._stop = self._stop, stop
        try:
            yield
        finally:
            self._stop = before

    def _add_message(self, text: str, agent: str) -> None:
        """Record the agent's text around a block if `record_messages` is set. Does not save."""
        if text and self.options["record_messages"]:
            self.recording.add_markdown(text, agent or self.options["agent"])

    def _join(self, cells: Sequence[CellResult]) -> CodeResult:
        return join_cells(cells, self.notebook, self.options["max_output_chars"])

    async def _run(
        self, block: CodeBlock, before: Sequence[CellResult], timeout: float, stop: asyncio.Event
    ) -> CellResult:
        """Run one block, or record why it was not run."""
        if any(cell.stops for cell in before):
            return self.recording.skip(block, "")
        if block.is_cut:
            return self.recording.skip(block, _CUT)
        if (refused := self._refuse(block)) is not None:
            return refused
        decision = None if stop.is_set() else await decide(self.options["approve"], block, stop)
        if decision is None:
            return self.recording.skip(block, _INTERRUPTED)
        if decision.refusal:
            return self.recording.skip(block, decision.note, decision.metadata())
        if decision.original is not None and (refused := self._refuse(decision.block)) is not None:
            return refused
        return await self._run_cell(decision, timeout, stop)

    def _refuse(self, block: CodeBlock) -> CellResult | None:
        """Record a block that the kernel cannot run; None if it can."""
        source = cell_source(block, self.kernels.language)
        if source is None:
            skipped = self.recording.skip(block, _why_unknown(block, self.kernels.language))
            return dataclasses.replace(skipped, is_foreign=True)
        if fit_text(source) != source:
            return self.recording.skip(block, "Not run: the code has characters that UTF-8 cannot hold (surrogates).")
        return None

    async def _run_cell(self, decision: Decision, timeout: float, stop: asyncio.Event) -> CellResult:
        await self.start()
        block = decision.block
        source = cell_source(block, self.kernels.language) or block.code
        recording, epoch = self.recording, self.kernels.epoch
        index = recording.begin(block, source, timeout, epoch, decision.metadata())
        try:
            recording.autosave.begin()
        except NotebookWriteError:
            # A block that cannot be recorded is not run. The next save raises the reason.
            return recording.withdraw(index, "Not run: the notebook cannot be written.")
        notice = "\n".join(filter(None, [self.kernels.take_notice(), decision.note]))
        room = max(0, self.options["max_notebook_chars"] - recording.notebook.recorded_bytes)
        outcome = await self.kernels.run(index, timeout, min(room, self.options["max_cell_chars"]), stop)
        note = _describe(outcome, timeout, is_ending=self._is_ending) or await self._missing_module(outcome, stop)
        return await recording.end(index, outcome, epoch, notice, note)

    async def _missing_module(self, outcome: Outcome, stop: asyncio.Event) -> str:
        """The note for a module that the Python of the kernel lacks, if that is the error."""
        module = missing_module(outcome.error_name, outcome.error_value)
        if not module or not is_python(self.kernels.language):
            return ""
        try:
            return advice(module, await self.kernels.ask(INTERPRETER, _INTERPRETER_TIMEOUT_SECONDS, stop))
        except KernelError as exc:
            logger.warning("The interpreter of the kernel is unknown: %s", exc)
            return ""

    async def _resume(self, origin: Origin) -> None:
        """Resume a recorded session. If its kernel died in the meantime, no kernel is in use afterwards."""
        from nbtape.session.resume import Terms, restore

        stop = self._stop or asyncio.Event()
        with self._interruptible(stop):
            restored = await restore(origin, self._source, Terms(self.timeout, self.options), stop)
        self._recording, self.resumption = restored.recording, restored.resumption
        if restored.kernel is not None:
            self._use(restored.kernel, restored.epoch)
            await self._share(restored.kernel)
        needs_notice = restored.resumption.differing or restored.resumption.note
        self.kernels.resume(restored.epoch, str(restored.resumption) if needs_notice else "")

    def _record_on(self, kernel: ReadyKernel, epoch: int) -> None:
        """Create the recording, or write the new kernel to its metadata."""
        from nbtape.session.recording import Recording

        described = kernel.describe(epoch)
        if self._recording is None:
            self._recording = Recording.create(self._directory, self._name, self.options, described)
        else:
            self._recording.notebook.describe(described)

    def _use(self, kernel: ReadyKernel, epoch: int) -> None:
        """Run and record the next blocks on this kernel."""
        from nbtape.session.output_limits import Listener

        listener = Listener(self.recording.changed, self._on_output.tell)
        notebook, grace = self.recording.notebook.node, self.options["interrupt_grace"]
        self.recording.autosave.prepare = self.kernels.use(kernel, epoch, notebook, listener, grace).settle

    async def _share(self, kernel: ReadyKernel) -> None:
        """Share the kernel with people who open the recording in JupyterLab, if the server can do that."""
        self.url = await self._source.share(kernel.manager, self.recording.path)


def _why_unknown(block: CodeBlock, language: str) -> str:
    """The note for a block in a language that the kernel cannot run."""
    if cell_source(dataclasses.replace(block, code=block.language, language=block.code), language) is not None:
        return (
            f"Not run: the code and the language are swapped. The code comes first: CodeBlock({block.language!r:.100}, "
            f"{block.code!r})."
        )
    runs, meant = languages_of(language), language_meant(block.language, language)
    hint = f" Did you mean {meant}?" if meant else ""
    return f"Not run: this kernel cannot run {block.language!r:.100}; it runs {', '.join(runs)}.{hint}"


def _describe(outcome: Outcome, timeout: float, *, is_ending: bool) -> str:
    """The note for a cell that neither just succeeded nor just raised an exception."""
    what = {
        "timeout": f"Timeout: stopped after {timeout:g} s.",
        "interrupted": "Interrupted.",
        "kernel_died": f"The kernel died. {outcome.cause}".rstrip(),
    }.get(outcome.status, _EXITS[outcome.exit])
    if not what:
        return ""
    if is_ending:
        what += " The kernel is shut down."
    elif not outcome.kernel_lost:
        return f"{what} Variables are kept."
    elif outcome.status in STOPPED:
        what += " The code ignored the interrupt, so the kernel was killed."
    return f"{what} Variables are gone; the next block gets a fresh kernel."
