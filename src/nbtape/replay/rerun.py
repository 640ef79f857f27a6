"""Rerun the cells of a recorded notebook in order, on a fresh kernel when one is lost."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from nbtape.common.text import fit_json
from nbtape.notebook.format import own_metadata
from nbtape.notebook.notices import tell_cut, tell_ending
from nbtape.notebook.output_text import output_size
from nbtape.session.kernel_lifecycle import KernelLifecycle
from nbtape.session.output_limits import Listener
from nbtape.session.recording import outcome_facts, record_facts

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from nbformat import NotebookNode

    from nbtape.kernels.protocols import KernelSource
    from nbtape.replay.expectations import Expectation
    from nbtape.session.options import Options


class Watcher(Protocol):
    """Follows a rerun, on its event loop."""

    def describe(self, metadata: Mapping[str, Any]) -> None:
        """Add to the notebook's metadata."""

    def follow(self, settle: Callable[[int], None]) -> None:
        """Call `settle` before a save: it writes a cell's merged output into the notebook."""

    def begin(self, index: int) -> None:
        """Cell `index` starts."""

    def changed(self, index: int) -> None:
        """Its outputs have changed."""

    def output(self, output: Mapping[str, Any]) -> None:
        """It produced an output."""

    def end(self, index: int, *, unexpected: bool) -> None:
        """It has run; `unexpected` if it failed and the recording allows no failure."""


@dataclass(frozen=True, slots=True)
class Terms:
    """How a notebook is rerun.

    Args:
        timeout: Seconds for each cell, unless the recording says otherwise.
        keep_going: Whether to continue after an unexpected failure.
        options: The executor's options.
    """

    timeout: float
    keep_going: bool
    options: Options


class Rerun:
    """Reruns the cells of a notebook.

    Args:
        notebook: The notebook, without outputs; they are written into it.
        expectations: Expectation for each code cell, by position.
        source: Where kernels come from.
        directory: Their working directory.
        terms: Timeouts and bounds.
        watcher: Follows the rerun.
    """

    def __init__(
        self,
        notebook: NotebookNode,
        expectations: Mapping[int, Expectation],
        source: KernelSource,
        directory: Path,
        terms: Terms,
        watcher: Watcher,
    ) -> None:
        self._notebook = notebook
        self._expectations = expectations
        self._terms = terms
        self._watcher = watcher
        self._room = terms.options["max_notebook_chars"]
        self._kernels = KernelLifecycle(source, directory, terms.options["startup_timeout"])

    async def run(self, stop: asyncio.Event) -> None:
        """Run the cells in order, until one fails unexpectedly.

        Args:
            stop: Setting it interrupts the running cell and skips the rest.

        Raises:
            KernelStartError: No kernel can be started.
            NotebookWriteError: The notebook cannot be written.
        """
        is_over = False
        try:
            for index, expected in self._expectations.items():
                if is_over or stop.is_set() or not expected.runs:
                    _close(self._notebook["cells"][index], status="not_run")
                    continue
                is_over = not await self._run_cell(index, expected, stop) and not self._terms.keep_going
        finally:
            await self._kernels.end()

    async def _run_cell(self, index: int, expected: Expectation, stop: asyncio.Event) -> bool:
        """Run a cell; return whether it succeeded or was allowed to fail."""
        await self._start()
        epoch, timeout = self._kernels.epoch, expected.seconds(self._terms.timeout)
        self._watcher.begin(index)
        cell = self._notebook["cells"][index]
        limit = min(self._room, self._terms.options["max_cell_chars"])
        outcome = await self._kernels.run(index, timeout, limit, stop)
        tell_cut(cell, outcome.left_out)
        tell_ending(cell, outcome.status)
        self._room = max(0, self._room - sum(map(output_size, cell["outputs"])))
        note = " ".join(filter(None, [outcome.cause, outcome.missing]))
        seconds = timeout if math.isfinite(timeout) else None
        facts = outcome_facts(outcome, note)
        _close(cell, status=outcome.status, timeout=seconds, kernel_epoch=epoch, **facts)
        if outcome.installed is not None:
            self._watcher.describe({"nbtape": outcome.installed.metadata()})
        unexpected = outcome.status != "ok" and not expected.may_fail
        self._watcher.end(index, unexpected=unexpected)
        return not unexpected

    async def _start(self) -> None:
        """Start a kernel if none is alive."""
        if await self._kernels.is_alive():
            return
        kernel, epoch = await self._kernels.start(), self._kernels.epoch + 1
        listener = Listener(self._watcher.changed, self._watcher.output)
        grace = self._terms.options["interrupt_grace"]
        runner = self._kernels.use(kernel, epoch, self._notebook, listener, grace)
        self._watcher.describe(kernel.describe(epoch))
        self._watcher.follow(runner.settle)


def _close(cell: NotebookNode, **facts: Any) -> None:  # noqa: ANN401  (JSON values)
    """Record how a cell ended; of its former metadata, keep its language and what people added for replays."""
    kept = {key: value for key, value in own_metadata(cell).items() if key in {"language", "replay"}}
    cell["metadata"]["nbtape"] = fit_json(kept)
    record_facts(cell, **facts)
