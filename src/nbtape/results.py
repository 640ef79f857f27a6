"""What a caller gets: `CodeResult` and `CellResult`, and outputs as text that an agent can read. Pure."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal

from nbtape.common.text import shorten

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

WELL: Final = 0

FAILED: Final = 1

REFUSED: Final = 2

#: EX_SOFTWARE of sysexits.h: what scripts read as 1 or 2 it is not.
BUG: Final = 70

#: As timeout(1) has it.
TIMEOUT: Final = 124

#: As a shell has it of a process that SIGINT, SIGKILL or SIGPIPE ended.
INTERRUPTED: Final = 130

KERNEL_DIED: Final = 137

UNREAD: Final = 141

MEANINGS: Final[Mapping[int, str]] = {
    WELL: "all is well",
    FAILED: "it ran, and a block failed, a cell is not as recorded, or a clean export does not work",
    REFUSED: "it could not be run: the command line, a file, the kernel or the server",
    BUG: "a bug in nbtape",
    TIMEOUT: "a block ran into its timeout",
    INTERRUPTED: "interrupted (Ctrl-C)",
    KERNEL_DIED: "the kernel died",
    UNREAD: "whoever read the output has gone",
}


Status = Literal["ok", "error", "timeout", "interrupted", "kernel_died", "not_run"]

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
    """What became of one code block.

    Args:
        index: The position of its cell in the notebook, from 0; -1 if somebody has deleted it there.
        cell_id: The id of its cell, which stays when cells move.
        status: How it ended.
        output: What it printed, displayed and raised, as plain text of at most `max_output_chars` characters.
        output_files: Absolute paths: first the files extracted from its outputs, then those that its code wrote.
        execution_count: The kernel's number for it (`In [n]`), None if it never began.
        duration: Seconds from sending the block to the end of its outputs, 0 if it never began.
        kernel_epoch: Which kernel ran it, counted from 1; a higher number than before says that variables are gone.
        error_name: The class of the exception that ended it, None if none did.
        error_value: The message of that exception.
        outputs_incomplete: Whether output that the kernel sent may be missing; `note` says why.
        note: What nbtape has to say about it (a timeout, a dead kernel, a cut output), empty if nothing.
        left_out: Characters of output over the bound of a cell, which are recorded nowhere.
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


@dataclass(frozen=True, slots=True)
class CodeResult:
    """What became of the blocks of one call.

    Args:
        exit_code: 0 if all went well, else the code of `status` (see `EXIT_CODES`).
        output: The texts of the blocks, joined by a newline, at most `max_output_chars` characters.
        output_files: Absolute paths of all files, in the order of the blocks.
        status: `ok`, or the status of the first block that did not go well.
        cells: One result for each block.
        notebook: The recording.
    """

    exit_code: int
    output: str
    output_files: list[str] = field(default_factory=list)
    status: Status = "ok"
    cells: list[CellResult] = field(default_factory=list)
    notebook: Path | None = None

    def __str__(self) -> str:
        return f"exit_code={self.exit_code} output={self.output!r} output_files={self.output_files!r}"

    @property
    def kernel_epoch(self) -> int:
        """Which kernel ran the last block, counted from 1; 0 if none ran."""
        return max((cell.kernel_epoch for cell in self.cells), default=0)

    def to_dict(self) -> dict[str, Any]:
        """The result as JSON has it."""
        data = asdict(self)
        data["notebook"] = None if self.notebook is None else str(self.notebook)
        data["kernel_epoch"] = self.kernel_epoch
        return data


def join_cells(cells: Sequence[CellResult], notebook: Path, limit: int) -> CodeResult:
    """The result of a call out of those of its blocks.

    Args:
        cells: One for each block, in order.
        notebook: The recording.
        limit: The most characters of `output`.
    """
    status: Status = next((cell.status for cell in cells if cell.status != "ok"), "ok")
    told = [cell for cell in cells if cell.status != "not_run" or cell.note]
    texts = [cell.output for cell in told]
    if skipped := len(cells) - len(told):
        texts.append(f"{skipped} more block{'s were' if skipped > 1 else ' was'} not run.")
    return CodeResult(
        exit_code=EXIT_CODES[status],
        output=shorten("\n".join(texts), limit, f"the whole is in {notebook}"),
        output_files=[path for cell in cells for path in cell.output_files],
        status=status,
        cells=list(cells),
        notebook=notebook,
    )
