"""The cells of a recorded notebook run again, in order, on a fresh kernel wherever the recording lost one."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from nbtape.common.text import fit_json
from nbtape.kernels.start import start_kernel
from nbtape.notebook.format import own_metadata
from nbtape.notebook.notices import tell_cut, tell_ending
from nbtape.session.cell_runner import CellRunner
from nbtape.session.kernel_messages import output_size
from nbtape.session.output_limits import Listener

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from nbformat import NotebookNode

    from nbtape.kernels.protocols import KernelSource
    from nbtape.replay.expectations import Expectation
    from nbtape.session.cell_runner import Outcome
    from nbtape.session.options import Options


class Watcher(Protocol):
    """Who follows a rerun, on its event loop."""

    def describe(self, metadata: Mapping[str, Any]) -> None:
        """This is to be said in the notebook's metadata."""

    def follow(self, settle: Callable[[int], None]) -> None:
        """`settle` brings what a cell has printed so far into the notebook."""

    def begin(self, index: int) -> None:
        """Cell `index` runs."""

    def changed(self, index: int) -> None:
        """Its outputs have changed."""

    def output(self, output: Mapping[str, Any]) -> None:
        """It has put this out."""

    def end(self, index: int, *, unexpected: bool) -> None:
        """It has run; `unexpected`: it failed, and had not when it was recorded."""


@dataclass(frozen=True, slots=True)
class Terms:
    """How a notebook is run again.

    Args:
        timeout: Seconds for each cell, unless it had more or was stopped.
        keep_going: Whether an unexpected failure stops nothing.
        options: As an executor has them.
    """

    timeout: float
    keep_going: bool
    options: Options


class Rerun:
    """Runs the cells of a notebook again.

    Args:
        notebook: The notebook, without outputs; they are written into it.
        expectations: What is expected of its code cells, by position.
        source: Where kernels come from.
        directory: Where they are to work.
        terms: Timeouts and bounds.
        watcher: Who follows.
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
        self._source = source
        self._directory = directory
        self._terms = terms
        self._watcher = watcher
        self._room = terms.options["max_notebook_chars"]
        self._runner: CellRunner | None = None
        self._epoch = 0

    async def run(self, stop: asyncio.Event) -> None:
        """Run all cells that are to be run; those after an unexpected failure are not.

        Args:
            stop: Interrupts the cell that runs when it is set; the rest is not run.

        Raises:
            KernelStartError: No kernel can be had.
            NotebookWriteError: The notebook cannot be written.
        """
        is_over = False
        try:
            for index, expected in self._expectations.items():
                if is_over or stop.is_set() or not expected.runs:
                    _close(self._notebook["cells"][index], {"status": "not_run"})
                    continue
                is_over = not await self._run_cell(index, expected, stop) and not self._terms.keep_going
        finally:
            await self._end_kernel()

    async def _run_cell(self, index: int, expected: Expectation, stop: asyncio.Event) -> bool:
        """Run a cell; return whether that went as well as when it was recorded."""
        runner = await self._have_kernel()
        timeout = expected.seconds(self._terms.timeout)
        self._watcher.begin(index)
        cell = self._notebook["cells"][index]
        outcome = await runner.run(index, timeout, min(self._room, self._terms.options["max_cell_chars"]), stop)
        tell_cut(cell, outcome.left_out)
        tell_ending(cell, outcome.status)
        self._room = max(0, self._room - sum(map(output_size, cell["outputs"])))
        _close(cell, _facts(outcome, timeout, self._epoch))
        if outcome.installed is not None:
            self._watcher.describe({"nbtape": outcome.installed.metadata()})
        if outcome.kernel_lost:
            await self._end_kernel()
        unexpected = outcome.status != "ok" and not expected.may_fail
        self._watcher.end(index, unexpected=unexpected)
        return not unexpected

    async def _have_kernel(self) -> CellRunner:
        if self._runner is not None and await self._runner.is_alive():
            return self._runner
        await self._end_kernel()
        options = self._terms.options
        kernel = await start_kernel(self._source, self._directory, options["startup_timeout"])
        self._epoch += 1
        listener = Listener(self._watcher.changed, self._watcher.output)
        self._runner = CellRunner(
            self._notebook, kernel.manager, kernel.client, listener, grace=options["interrupt_grace"]
        )
        self._watcher.describe(kernel.describe(self._epoch))
        self._watcher.follow(self._runner.settle)
        return self._runner

    async def _end_kernel(self) -> None:
        if self._runner is not None:
            runner, self._runner = self._runner, None
            await runner.close()


def _facts(outcome: Outcome, timeout: float, epoch: int) -> dict[str, Any]:
    """What a cell says of how it ran, see `nbtape.notebook.document`."""
    return {
        "status": outcome.status,
        "timeout": timeout if math.isfinite(timeout) else None,
        "kernel_epoch": epoch,
        "duration": round(outcome.duration, 6),
        "note": " ".join(filter(None, [outcome.cause, outcome.missing])),
        "outputs_incomplete": bool(outcome.missing),
        "left_out": outcome.left_out,
        "installed": outcome.installed and outcome.installed.cell_metadata(),
    }


def _close(cell: NotebookNode, facts: Mapping[str, Any]) -> None:
    """Have a cell say how it ended, and nothing of how it was recorded but its language, and what people said of it."""
    kept = {key: value for key, value in own_metadata(cell).items() if key in {"language", "replay"}}
    told = {key: value for key, value in facts.items() if value}
    cell["metadata"]["nbtape"] = fit_json({**kept, **told})
