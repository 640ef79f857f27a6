"""What a caller gets: `CodeResult` and `CellResult`, and outputs as text that an agent can read. Pure."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal

from nbtape.exit_codes import FAILED, INTERRUPTED, KERNEL_DIED, TIMEOUT, WELL

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

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


_ESCAPES: Final = re.compile(  # ECMA-48
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"  # control sequences: colours, cursor
    r"|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)"  # commands to the terminal's system: title, clipboard, links
    r"|\x1b[ -/]*[0-Z\\^-~]"  # all others
    r"|[\x1b\x9b]"  # and what is left of broken ones
)

_COLOUR: Final = re.compile(r"\x1b\[[0-9;]*m")


def strip_escapes(text: str) -> str:
    """`text` without the codes that colour and move on a person's terminal."""
    return _ESCAPES.sub("", text) if "\x1b" in text or "\x9b" in text else text


def keep_colours(text: str) -> str:
    """`text` with those codes only that colour it, or make it bold."""
    return _ESCAPES.sub(lambda code: code[0] if _COLOUR.fullmatch(code[0]) else "", text)


def shorten(text: str, limit: int, where: str) -> str:
    """At most `limit` characters of `text`: its head, how much is missing and where it is, and its tail.

    Args:
        text: What may be too long.
        limit: The most characters to return.
        where: Where the rest is to be found, a clause.
    """
    if len(text) <= limit:
        return text
    # The notice is measured with the largest number it can hold, so that the whole never exceeds the limit.
    room = limit - len(_notice(len(text), where))
    if room <= 0:
        return text[:limit]
    head, tail = text[: room - room // 2], text[len(text) - room // 2 :]
    return head + _notice(len(text) - len(head) - len(tail), where) + tail


def _notice(missing: int, where: str) -> str:
    return f"\n[… {missing:,} characters left out; {where} …]\n"


def cell_text(
    outputs: Iterable[Mapping[str, Any]], saved: Mapping[int, Sequence[str]], *, is_apart: bool = False
) -> str:
    """The outputs of a cell as text: streams as they came, everything else from a new line.

    Args:
        outputs: The outputs, as nbformat has them.
        saved: For the position of an output, a line for each file extracted from it.
        is_apart: Whether a newline comes before everything else even where a line has ended, as in AutoGen 0.7.
    """
    parts: list[str] = []
    after_stream = False
    for position, output in enumerate(outputs):
        text = strip_escapes(output_text(output, saved.get(position, ())))
        if not text:
            continue
        is_stream = output["output_type"] == "stream"
        if parts and not (is_stream and after_stream) and (is_apart or not parts[-1].endswith("\n")):
            parts.append("\n")
        parts.append(text)
        after_stream = is_stream
    return "".join(parts)


def output_text(output: Mapping[str, Any], saved: Sequence[str] = ()) -> str:
    """One output as text, terminal codes included.

    Args:
        output: The output, as nbformat has it.
        saved: A line for each file extracted from it.
    """
    if output["output_type"] == "stream":
        return str(output["text"])
    if output["output_type"] == "error":
        # An error without a traceback comes from a kernel that has none, or from a `raise` that hid it.
        return "\n".join(output["traceback"]) or f"{output['ename']}: {output['evalue']}"
    return "\n".join(filter(None, [_bundle_text(output["data"], drawn=bool(saved)), *saved]))


def _bundle_text(data: Mapping[str, Any], *, drawn: bool) -> str:
    """The most readable text of a MIME bundle; the repr of a picture that was saved says nothing beside its path."""
    if drawn and any(mime.startswith("image/") for mime in data):
        return ""
    for mime in ("text/plain", "text/markdown", "text/latex"):
        if data.get(mime):
            return str(data[mime])
    if "application/json" in data:
        return json.dumps(data["application/json"], ensure_ascii=False)
    return "" if drawn or not data else f"(output of type {', '.join(data)}: see the notebook)"
