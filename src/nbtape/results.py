"""Results of code blocks, and their statuses and exit codes."""

from __future__ import annotations

import shlex
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal

from nbtape.common.notebook_display import preformatted
from nbtape.common.text import shorten

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

WELL: Final = 0

FAILED: Final = 1

REFUSED: Final = 2

#: EX_SOFTWARE of sysexits.h, so that scripts do not confuse it with 1 or 2.
BUG: Final = 70

#: As in timeout(1).
TIMEOUT: Final = 124

#: As a shell reports a process killed by SIGINT, SIGKILL or SIGPIPE.
INTERRUPTED: Final = 130

KERNEL_DIED: Final = 137

UNREAD: Final = 141

MEANINGS: Final[Mapping[int, str]] = {
    WELL: "success",
    FAILED: "a block failed, a cell is not as recorded, or a clean export does not work",
    REFUSED: "usage error, or a file, the kernel or a server cannot be used",
    BUG: "a bug in nbtape",
    TIMEOUT: "a block timed out",
    INTERRUPTED: "interrupted (Ctrl-C)",
    KERNEL_DIED: "the kernel died",
    UNREAD: "the reader of the output closed the pipe",
}


Status = Literal["ok", "error", "timeout", "interrupted", "kernel_died", "not_run"]

#: Statuses of blocks that were stopped, whose outputs depend on the time.
STOPPED: Final = frozenset({"timeout", "interrupted"})

#: The exit code of each status.
EXIT_CODES: Final[Mapping[Status, int]] = {
    "ok": WELL,
    "error": FAILED,
    "timeout": TIMEOUT,
    "interrupted": INTERRUPTED,
    "kernel_died": KERNEL_DIED,
    "not_run": FAILED,
}


@dataclass(frozen=True, slots=True)
class CellResult:
    """Result of one code block.

    Args:
        index: Position of its cell in the notebook, from 0; -1 if the cell was deleted by someone else.
        cell_id: Id of its cell; unlike the index, it never changes.
        status: Its final status.
        output: What it printed, displayed and raised: plain text, at most `max_output_chars` characters. Its paths
            are those that the code sees: relative to the working directory.
        output_files: Absolute paths of the files extracted from its outputs, then of those that its code wrote.
        execution_count: The kernel's execution count (`In [n]`); None if the block did not start.
        duration: Seconds from sending the block to the end of its outputs; 0 if it did not start.
        kernel_epoch: Number of the kernel that ran it, from 1. A higher number than before means lost variables.
        error_name: Class name of the exception that the code raised, if any.
        error_value: Message of that exception.
        outputs_incomplete: Whether output may be missing; `note` says why.
        note: Message from nbtape about it, such as a timeout, a dead kernel or truncated output; may be empty.
        left_out: Characters of output over the cell's limit, which were not recorded.
        is_foreign: Whether it was not run because the kernel does not run its language. Blocks after it run.
        block: Its number in the notebook, counted from 1; 0 if the cell was deleted by someone else.
    """

    index: int
    cell_id: str
    status: Status
    output: str = ""
    output_files: list[str] = field(default_factory=list)
    execution_count: int | None = None
    duration: float = 0.0
    kernel_epoch: int = 0
    error_name: str | None = None
    error_value: str | None = None
    outputs_incomplete: bool = False
    note: str = ""
    left_out: int = 0
    is_foreign: bool = False
    block: int = 0

    @property
    def stops(self) -> bool:
        """Whether the blocks after it are not run."""
        return self.status != "ok" and not self.is_foreign


@dataclass(frozen=True, slots=True)
class CodeResult:
    """Result of the blocks of one call.

    Args:
        exit_code: 0 on success, otherwise the code of `status` (see `EXIT_CODES`).
        output: Outputs of the blocks, joined by newlines, at most `max_output_chars` characters.
        output_files: Absolute paths of all files, in the order of the blocks.
        status: `ok`, or the status of the first block that did not succeed. Blocks in a language that the kernel does
            not run count only if no block ran.
        cells: One result for each block.
        notebook: The recording.
    """

    exit_code: int
    output: str
    output_files: list[str] = field(default_factory=list)
    status: Status = "ok"
    cells: list[CellResult] = field(default_factory=list, repr=False)
    notebook: Path | None = None

    def __str__(self) -> str:
        return f"exit_code={self.exit_code} output={self.output!r} output_files={self.output_files!r}"

    def _repr_html_(self) -> str:
        files = [f"File: {path}" for path in self.output_files]
        return preformatted("\n".join([f"{self.status} (exit code {self.exit_code})", self.output.rstrip(), *files]))

    @property
    def kernel_epoch(self) -> int:
        """Number of the kernel that ran the last block, counted from 1; 0 if none ran."""
        return max((cell.kernel_epoch for cell in self.cells), default=0)

    def to_dict(self) -> dict[str, Any]:
        """Convert the result to JSON types."""
        data = asdict(self)
        data["notebook"] = None if self.notebook is None else str(self.notebook)
        data["kernel_epoch"] = self.kernel_epoch
        return data


def how_to_see(notebook: Path, blocks: Sequence[int]) -> str:
    """How to see the whole output of blocks, by their numbers; those of deleted cells are 0."""
    command = f"to see all: nbtape show {shlex.quote(notebook.name)}"
    there = [block for block in blocks if block]
    if not there:
        return command
    first, last = min(there), max(there)
    return f"{command} --block {first}" if first == last else f"{command} --block N, N from {first} to {last}"


def join_cells(cells: Sequence[CellResult], notebook: Path, limit: int) -> CodeResult:
    """Join the results of blocks into the result of a call.

    Args:
        cells: One for each block, in order.
        notebook: The recording.
        limit: Maximum length of `output`.
    """
    counted = [cell for cell in cells if not cell.is_foreign] or cells
    status: Status = next((cell.status for cell in counted if cell.status != "ok"), "ok")
    told = [cell for cell in cells if cell.status != "not_run" or cell.note]
    texts = [cell.output for cell in told]
    if skipped := len(cells) - len(told):
        texts.append(f"{skipped} more block{'s were' if skipped > 1 else ' was'} not run.")
    return CodeResult(
        exit_code=EXIT_CODES[status],
        output=shorten("\n".join(texts), limit, how_to_see(notebook, [cell.block for cell in told])),
        output_files=[path for cell in cells for path in cell.output_files],
        status=status,
        cells=list(cells),
        notebook=notebook,
    )
