"""Rerun the cells of a recorded notebook in order, replacing a lost kernel with a fresh one."""

from __future__ import annotations

import asyncio
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from nbtape.common.concurrency import unless_stopped
from nbtape.common.text import fit_json
from nbtape.notebook.format import own_metadata
from nbtape.notebook.notices import tell_cut, tell_ending, tell_failure
from nbtape.notebook.output_text import output_size
from nbtape.session.output_limits import Listener
from nbtape.session.recording import outcome_facts, record_facts

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from nbformat import NotebookNode

    from nbtape.replay.execution_manager import ExecutionManager
    from nbtape.replay.expectations import Expectation
    from nbtape.session.kernel_lifecycle import KernelLifecycle
    from nbtape.session.options import Options
    from nbtape.session.written_files import WorkingDirectory

#: How long a cell has to obey the interrupt when the replay is stopped.
_LAST_GRACE_SECONDS: Final = 0.3


@dataclass(slots=True)
class Rerun:
    """Reruns the cells of the manager's notebook, which must have no outputs, and writes their outputs into it.

    `expectations` are by cell position; `timeout` is in seconds per cell, unless an expectation has its own.
    The files that appear in `written` are recorded.
    """

    manager: ExecutionManager
    expectations: Mapping[int, Expectation]
    kernels: KernelLifecycle
    options: Options
    timeout: float
    keep_going: bool
    on_output: Callable[[Mapping[str, Any]], None]
    written: WorkingDirectory | None = None
    has_begun: bool = field(init=False, default=False)
    _chars_left: int = field(init=False)

    def __post_init__(self) -> None:
        self._chars_left = self.options["max_notebook_chars"]

    async def run(self, stop: asyncio.Event) -> None:
        """Run the cells in order until one fails unexpectedly. Setting `stop` interrupts the running cell.

        Raises KernelStartError if no kernel can be started, and NotebookWriteError if the notebook cannot be written.
        """
        is_over = False
        try:
            for index, expected in self.expectations.items():
                if is_over or stop.is_set() or not expected.runs:
                    _close(self.manager.nb["cells"][index], status="not_run")
                else:
                    is_over = not await self._run_cell(index, expected, stop) and not self.keep_going
        finally:
            await self.kernels.finish(now=stop.is_set())

    async def _run_cell(self, index: int, expected: Expectation, stop: asyncio.Event) -> bool:
        """Run a cell; return whether it succeeded or was allowed to fail."""
        try:
            await unless_stopped(self._start(), stop)
        except asyncio.CancelledError:
            if not stop.is_set():
                raise
            _close(self.manager.nb["cells"][index], status="not_run")
            return False
        self.has_begun = True
        epoch, timeout = self.kernels.epoch, expected.seconds(self.timeout)
        self.manager.begin(index)
        cell = self.manager.nb["cells"][index]
        max_chars = min(self._chars_left, self.options["max_cell_chars"])
        outcome = await self.kernels.run(index, timeout, max_chars, stop)
        tell_cut(cell, outcome.left_out)
        if outcome.status == "error":
            tell_failure(cell, outcome.error)
        tell_ending(cell, outcome.status)
        self._chars_left = max(0, self._chars_left - sum(map(output_size, cell["outputs"])))
        note = " ".join(filter(None, [outcome.cause, outcome.missing]))
        seconds = timeout if math.isfinite(timeout) else None
        facts = outcome_facts(outcome, note)
        if self.written is not None:
            facts |= await self.written.facts(self.written.changes())
        _close(cell, status=outcome.status, timeout=seconds, kernel_epoch=epoch, **facts)
        if outcome.installed is not None:
            self.manager.describe({"nbtape": outcome.installed.metadata()})
        unexpected = outcome.status != "ok" and not expected.may_fail
        self.manager.end(index, unexpected=unexpected)
        return not unexpected

    async def _start(self) -> None:
        """Start a kernel if none is alive."""
        if await self.kernels.is_alive():
            return
        kernel, epoch = await self.kernels.start(), self.kernels.epoch + 1
        listener = Listener(self.manager.changed, self.on_output)
        grace = self.options["interrupt_grace"]
        runner = self.kernels.use(kernel, epoch, self.manager.nb, listener, grace, _LAST_GRACE_SECONDS)
        self.manager.describe(kernel.describe(epoch))
        self.manager.follow(runner.settle)


def _close(cell: NotebookNode, **facts: Any) -> None:  # noqa: ANN401  (JSON values)
    """Record the outcome of a cell; of its old metadata, keep the language and the settings for replays."""
    kept = {key: value for key, value in own_metadata(cell).items() if key in {"language", "replay"}}
    cell["metadata"]["nbtape"] = fit_json(kept)
    record_facts(cell, **facts)
