"""Resume a recorded session, on its live kernel or on a fresh kernel that reruns its cells."""

from __future__ import annotations

import contextlib
import hashlib
import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, NamedTuple

from nbformat.v4 import new_code_cell, new_notebook

from nbtape.common.argument_checks import check_callable, check_instance, path_argument
from nbtape.common.concurrency import offload, see_through, tell
from nbtape.errors import KernelStartError, NotebookReadError
from nbtape.kernels.sources import DEFAULT_KERNEL
from nbtape.kernels.start import connect, start_kernel
from nbtape.notebook.document import Notebook
from nbtape.notebook.format import FORMAT_VERSION, kernel_name_of, own_metadata, preamble, recorded_seconds, timestamp
from nbtape.notebook.journal import read_journal
from nbtape.notebook.read import parse_document, read_content, recover_document
from nbtape.session.cell_runner import CellRunner
from nbtape.session.output_limits import Listener
from nbtape.session.recording import Recording
from nbtape.session.resume_plan import (
    Resumption,
    count_of,
    epochs_of,
    left_out,
    next_epoch,
    plan,
    ran,
    restored_epochs,
    resumed_list,
)

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable
    from pathlib import Path

    from nbformat import NotebookNode

    from nbtape.kernels.protocols import KernelSource
    from nbtape.kernels.start import ReadyKernel
    from nbtape.session.cell_runner import Outcome
    from nbtape.session.options import Options

logger = logging.getLogger(__name__)

_NO_LISTENER: Final = Listener(lambda _: None, lambda _: None)


@dataclass(frozen=True, slots=True)
class Origin:
    """The notebook to resume or, with `until`, to fork after that many cells."""

    path: Path
    kernel_name: str
    until: int | None
    on_progress: Callable[[str], None] | None

    @classmethod
    def check(cls, notebook: Path | str, until: int | None, on_progress: Callable[[str], None] | None) -> Origin:
        """Read and check a notebook; raises NotebookReadError, or ValueError if it has fewer than `until` cells."""
        check_callable("on_progress", on_progress)
        if until is not None:
            check_instance("until", until, int)
        path = path_argument("notebook", notebook).absolute()
        node = recover_document(path)
        if type(version := own_metadata(node).get("version")) is int and version > FORMAT_VERSION:
            raise NotebookReadError(path, "it was recorded by a newer nbtape. Upgrade nbtape.")
        if until is not None and not 0 <= until <= len(node["cells"]):
            raise ValueError(f"until= must be from 0 to {len(node['cells'])} (the number of cells), not {until}.")
        return cls(path, kernel_name_of(node) or DEFAULT_KERNEL, until, on_progress)

    @property
    def name(self) -> str:
        """Name of the resulting notebook, without `.ipynb`."""
        return self.path.stem if self.until is None else f"{self.path.stem}-fork"

    def open(self) -> Notebook:
        """Open the notebook to continue: this one, or a new one with its first cells. Raises NotebookError."""
        if self.until is None:
            return Notebook.open(self.path)
        content = read_content(self.path)
        node = parse_document(self.path, content, read_journal(self.path))
        cells = node["cells"][: self.until]
        sha256 = hashlib.sha256(content).hexdigest()
        last = max(epochs_of(cells), default=0)
        ours = {
            **preamble(),
            "origin": {"notebook": self.path.name, "until": self.until, "sha256": sha256},
            "resumed": [entry for entry in resumed_list(node) if count_of(entry, "kernel_epoch") <= last],
        }
        return Notebook.create(self.path.parent, self.name, {**node["metadata"], "nbtape": ours}, cells)

    def discard(self, notebook: Notebook) -> None:
        """Close the notebook after a failure, and delete it if it is new."""
        notebook.close()
        if self.until is not None:
            with contextlib.suppress(OSError):
                notebook.file.directory.remove(notebook.path.name)


class Terms(NamedTuple):
    """Seconds for each cell (a longer recorded timeout takes precedence), and the executor's options."""

    timeout: float
    options: Options


@dataclass(frozen=True, slots=True)
class Restored:
    """A resumed session. Its kernel is None if it died while cells were rerun."""

    recording: Recording
    kernel: ReadyKernel | None
    epoch: int
    resumption: Resumption


async def restore(origin: Origin, source: KernelSource, terms: Terms, stop: asyncio.Event) -> Restored:
    """Resume a recorded session. If canceled, no kernel is left running. Raises KernelError or NotebookError.

    Setting `stop` interrupts the running cell and skips the rest.
    """

    async def discard(restored: Restored) -> None:
        if restored.kernel is not None:
            await restored.kernel.abandon()
        origin.discard(restored.recording.notebook)

    return await see_through(_restore(origin, source, terms, stop), stop, discard)


async def _restore(origin: Origin, source: KernelSource, terms: Terms, stop: asyncio.Event) -> Restored:
    notebook = await offload(origin.open)
    try:
        recording = Recording(notebook, terms.options)
        attached = None if origin.until is not None else await _attach(notebook, source, terms.options)
        if attached is not None:
            kernel, was_busy = attached
            return await _continue(recording, kernel, was_busy=was_busy)
        return await _start_anew(origin, recording, source, terms, stop)
    except BaseException:
        origin.discard(notebook)
        raise


async def _attach(notebook: Notebook, source: KernelSource, options: Options) -> tuple[ReadyKernel, bool] | None:
    """Connect to the recorded kernel if it is alive, and return it with whether it was busy.

    Kills it if it does not answer.
    """
    kernel_id = own_metadata(notebook.node).get("kernel_id")
    if not isinstance(kernel_id, str):
        return None
    spec = await source.spec()
    if spec.name != kernel_name_of(notebook.node) or (found := await source.find(kernel_id)) is None:
        return None
    try:
        with contextlib.suppress(KernelStartError):  # code may swallow an interrupt and delay the answer
            kernel = await connect(source, spec, found.manager, options["interrupt_grace"])
            return kernel, found.was_busy
        await found.manager.interrupt_kernel()
        return await connect(source, spec, found.manager, options["startup_timeout"]), found.was_busy
    except KernelStartError as exc:
        logger.warning("The recorded kernel does not answer and is shut down: %s", exc)
        await found.manager.shutdown_kernel(now=True)
        return None
    except BaseException:
        await found.manager.shutdown_kernel(now=True)
        raise


async def _continue(recording: Recording, kernel: ReadyKernel, *, was_busy: bool) -> Restored:
    """Continue on the recorded kernel."""
    node = recording.notebook.node
    epoch = count_of(own_metadata(node), "kernel_epoch") or max(epochs_of(node["cells"]), default=1)
    cells = [replace(cell, reason="Not rerun: the kernel was still running.") for cell in plan(node)]
    busy = "A block was still running and was interrupted." if was_busy else ""
    try:
        entry = {"time": timestamp(), "attached": True, "kernel_epoch": epoch, "restored_epochs": []}
        recording.resume({"nbtape": {"resumed": [*resumed_list(node), entry]}}, busy)
    except BaseException:
        await kernel.abandon()
        raise
    return Restored(recording, kernel, epoch, Resumption(cells, attached=True, note=busy))


async def _start_anew(
    origin: Origin, recording: Recording, source: KernelSource, terms: Terms, stop: asyncio.Event
) -> Restored:
    """Start a kernel and rerun the cells that succeeded."""
    node = recording.notebook.node
    epoch = next_epoch(node)
    kernel = await start_kernel(source, recording.path.parent, terms.options["startup_timeout"])
    try:
        resumption, is_lost = await _run_again(origin, kernel, node, terms, stop)
        entry = {
            "time": timestamp(),
            "attached": False,
            "kernel_epoch": epoch,
            "restored_epochs": [] if is_lost else sorted(restored_epochs(node)),
        }
        described = kernel.describe(epoch)
        ours = {**preamble(), **own_metadata(node), **described["nbtape"], "resumed": [*resumed_list(node), entry]}
        recording.resume({**described, "nbtape": ours}, "")
    except BaseException:
        await kernel.abandon()
        raise
    if is_lost:
        await kernel.abandon()
    return Restored(recording, None if is_lost else kernel, epoch, resumption)


async def _run_again(
    origin: Origin, kernel: ReadyKernel, node: NotebookNode, terms: Terms, stop: asyncio.Event
) -> tuple[Resumption, bool]:
    """Rerun the cells that succeeded, outside the recording; return also whether the kernel was lost.

    If it is lost, the remaining cells are not run: a fresh kernel would lack the state of the cells before them.
    """
    report = plan(node)
    scratch = new_notebook(cells=[new_code_cell(node["cells"][cell.index]["source"]) for cell in report])
    runner = CellRunner(scratch, kernel.manager, kernel.client, _NO_LISTENER, grace=terms.options["interrupt_grace"])
    wanted = [position for position, cell in enumerate(report) if not cell.reason]
    for position in wanted:
        if stop.is_set():
            return Resumption(left_out(report, "Not rerun: the resumption was interrupted.")), False
        cell = node["cells"][report[position].index]
        first_line = next(iter(cell["source"].strip().splitlines()), "")[:100]
        tell(origin.on_progress, f"[{report[position].block}/{len(report)}] {first_line}")
        # The record already has its output, so only an error is kept.
        timeout = max(terms.timeout, recorded_seconds(cell, "timeout") or 0)
        outcome = await runner.run(position, timeout, 0, stop)
        report[position] = ran(report[position], outcome.status, _error(outcome))
        if outcome.kernel_lost:
            end = f"the kernel exited in block {report[position].block}"
            note = f"{end.capitalize()}, and the variables of earlier cells were lost. {outcome.cause}".rstrip()
            return Resumption(left_out(report, f"Not rerun: {end}."), note=note), True
    return Resumption(report), False


def _error(outcome: Outcome) -> str:
    return f"{outcome.error_name}: {outcome.error_value}"[:500] if outcome.error_name else outcome.cause
