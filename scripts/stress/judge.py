"""Check the results of a stress session: compare the promises with the notebook, the journal and the truth."""

from __future__ import annotations

import itertools
import json
import re
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import nbformat
from reading import read_notebook

from nbtape import NotebookReadError
from nbtape.notebook.read import read_document
from stress.steps import TRUTH

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from nbformat import NotebookNode

    from stress.sessions import Session
    from stress.steps import Block

_MARK: Final = re.compile(r"@(\w+):(\d+)@")
_RECALLED: Final = re.compile(r"@(\w+)=([\w,]*)@")
_LABEL: Final = re.compile(r"# block (\w+)$", re.MULTILINE)
_RAN: Final = frozenset({"ok", "error", "timeout", "interrupted", "kernel_died", "running"})


@dataclass(frozen=True, slots=True)
class Breach:
    """A broken promise.

    Args:
        promise: The promise.
        where: The block or the executor.
        expected: The expected value.
        seen: The observed value.
    """

    promise: str
    where: str
    expected: str
    seen: str

    def __str__(self) -> str:
        return f"{self.promise} ({self.where}): expected {self.expected}, seen {self.seen}"


@dataclass(slots=True)
class Played:
    """What one executor left, and what is known about it.

    Args:
        session: The session that was played.
        track: The number of the executor.
        notebook: Its notebook.
        truth: What the code itself recorded: lines printed by label, runs by `<label>.runs`, joins by `<label>.joined`.
        results: The result of each block as the journal has it, by label.
    """

    session: Session
    track: int
    notebook: Path
    truth: dict[str, int] = field(default_factory=dict)
    results: dict[str, dict[str, Any]] = field(default_factory=dict)


def read_truth(directory: Path) -> dict[str, int]:
    """Return what the code recorded below its working directory."""
    files = (directory / TRUTH).glob("*")
    return {file.name: len(file.read_text()) if file.suffix else int(file.read_text() or 0) for file in files}


def read_journal(path: Path) -> list[dict[str, Any]]:
    """Return the lines of a journal; the last may be cut off if the process that wrote it was killed."""
    lines = path.read_text().split("\n")[:-1] if path.exists() else []
    return [json.loads(line) for line in lines]


def judge(played: Played) -> list[Breach]:
    """Return all breaches in an executor's notebook."""
    if not played.notebook.exists():
        ran = [name for name in played.truth if name.endswith(".runs")]
        return [Breach("what runs is recorded", "the notebook", f"the cells of {ran}", "no notebook")] if ran else []
    try:
        read_notebook(played.notebook)  # valid for every reader, and complete for nbtape's
        notebook = read_document(played.notebook)
    except (nbformat.ValidationError, ValueError, NotebookReadError) as exc:
        return [Breach("the notebook is valid", str(played.notebook), "nbformat's rules kept", str(exc)[:2000])]
    return _Judge(played, notebook).breaches()


class _Judge:
    """Checks one notebook."""

    def __init__(self, played: Played, notebook: NotebookNode) -> None:
        self._played = played
        self._dies = any(step.name == "die" for step in played.session.steps)
        # A jupyter_server discards messages it has not sent when the connection breaks, and nbtape must report that.
        loses = {"tear", "cut", "away"} if played.session.place == "plain" else {"tear"}
        self._may_lose = any(step.name in loses for step in played.session.steps)
        self._blocks = {block.label: block for block in played.session.blocks(played.track)}
        self._cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
        self._labels = [_label(cell) for cell in self._cells]
        self._muted: dict[int, int] = {}  # the cell after which a kernel, by its number, may be mute
        for index, label in enumerate(self._labels):
            if label in self._blocks and self._blocks[label].mutes:
                self._muted.setdefault(self._epoch(index), index)
        self._found: list[Breach] = []

    def breaches(self) -> list[Breach]:
        """Return all breaches."""
        self._judge_cells()
        for index, label in enumerate(self._labels):
            if label in self._blocks:
                self._judge_status(index, self._blocks[label])
                self._judge_lines(index, self._blocks[label])
                self._judge_results(index, self._blocks[label])
                self._judge_memory(index, label)
        self._judge_news()
        self._judge_threads()
        return self._found

    def _expect(self, holds: object, promise: str, where: str, expected: object, seen: object) -> None:
        if not holds:
            self._found.append(Breach(promise, where, str(expected), str(seen)))

    # One cell

    def _status(self, index: int) -> str:
        return str(self._cells[index]["metadata"]["nbtape"].get("status"))

    def _epoch(self, index: int) -> int:
        return int(self._cells[index]["metadata"]["nbtape"].get("kernel_epoch", 0))

    def _note(self, index: int) -> str:
        return str(self._cells[index]["metadata"]["nbtape"].get("note", ""))

    def _is_mute(self, index: int) -> bool:
        return self._muted.get(self._epoch(index), index + 1) <= index

    def _judge_status(self, index: int, block: Block) -> None:
        status, runs = self._status(index), self._played.truth.get(f"{block.label}.runs", 0)
        allowed = set(block.statuses) | ({"error"} if self._is_mute(index) else set())
        if self._dies and index == len(self._cells) - 1:
            allowed.add("running")
        if index and self._status(index - 1) != "ok" and _step(self._labels[index - 1]) == _step(block.label):
            allowed.add("not_run")  # after a failed block of the same call
        self._expect(status in allowed, "a block ends as it must", block.label, sorted(allowed), self._say(index))
        most = status in _RAN
        self._expect(runs <= most, "a block runs once, and only if its cell says so", block.label, f"{most:d}", runs)
        least = status == "ok"
        self._expect(runs >= least, "a block that is ok has run", block.label, f"{least:d}", runs)

    def _say(self, index: int) -> str:
        error = [f"{out['ename']}: {out['evalue']}" for out in self._cells[index]["outputs"] if "ename" in out]
        return " ".join([self._status(index), self._note(index), *error])

    def _judge_lines(self, index: int, block: Block) -> None:
        """Check its lines, each once and in order: all that were printed, or all that are required."""
        numbers = [number for label, number in _marks(self._cells[index]) if label == block.label]
        nbtape = self._cells[index]["metadata"]["nbtape"]
        incomplete = bool(nbtape.get("outputs_incomplete"))
        where = f"{block.label}, {self._say(index)}"
        # Output in transit is lost with a killed kernel, and a server drops messages of a kernel that forges frames.
        excused = self._may_lose or "the kernel was killed" in self._note(index) or self._is_hostile(index)
        self._expect(not incomplete or excused, "no output is lost", block.label, "all lines", self._note(index))
        whole = list(range(block.first, block.first + len(numbers)))
        # Displays of a mute kernel still arrive.
        right = sorted(set(numbers)) if incomplete or self._is_mute(index) else whole
        self._expect(numbers == right, "each line is there once, in order", where, _brief(right), _brief(numbers))
        least, most = self._bounds(index, block)
        least = 0 if incomplete or self._is_mute(index) else least
        self._expect(least <= len(numbers) <= most, "all lines are there", where, f"{least} to {most}", len(numbers))
        images = sum("image/png" in output.get("data", {}) for output in self._cells[index]["outputs"])
        files = [self._played.notebook.parent / file["path"] for file in nbtape.get("extracted", [])]
        if self._status(index) == "ok" and not incomplete:
            seen = (images, sum(file.exists() for file in files))
            expected = (block.images, block.images)
            self._expect(seen == expected, "each image is there, and a file", where, expected, seen)

    def _bounds(self, index: int, block: Block) -> tuple[int, int]:
        """Return the minimum and maximum number of lines of a cell."""
        status, printed = self._status(index), self._played.truth.get(block.label)
        if status in {"not_run", "running"}:  # a running block has as many as were saved
            return 0, 0 if status == "not_run" else block.may
        if status == "ok":
            return block.may, block.may
        most = block.may if printed is None else max(0, min(block.may, printed + 1 - block.first))
        if "ariables are gone" in self._note(index):
            # A killed kernel loses what it printed in its last milliseconds.
            return min(block.must, most), most
        return max(0, (printed or 0) - block.first), most

    def _judge_results(self, index: int, block: Block) -> None:
        """Check that the caller got what is recorded."""
        result = self._played.results.get(block.label)
        if result is None:
            return
        seen = (result["status"], result["incomplete"])
        nbtape = self._cells[index]["metadata"]["nbtape"]
        recorded = (self._status(index), bool(nbtape.get("outputs_incomplete")))
        self._expect(seen == recorded, "a result is as its cell", block.label, recorded, seen)
        if self._is_hostile(index):
            return
        returned = [int(n) for label, n in _MARK.findall(result["output"]) if label == block.label]
        lines = [n for label, n in _marks(self._cells[index]) if label == block.label]
        self._expect(returned == lines, "a result has its cell's lines", block.label, _brief(lines), _brief(returned))

    def _is_hostile(self, index: int) -> bool:
        """Return whether the kernel may have forged the end of this block or the one before."""
        return any(
            self._played.session.steps[step].name in {"forge", "garble"}
            for label in self._labels[: index + 1]
            if (step := _step(label)) is not None
        )

    # Between cells

    def _judge_cells(self) -> None:
        """Check that each block has one cell, each with its own source, in order."""
        for label, count in Counter(self._labels).items():
            self._expect(count == 1 and label in self._blocks, "one block, one cell", label, 1, count)
        for name in self._played.truth:
            label, _, what = name.partition(".")
            if what == "runs":
                self._expect(label in self._labels, "what runs is recorded", label, "a cell", self._labels)
        for label in self._played.results:
            self._expect(label in self._labels, "what is reported is recorded", label, "a cell", self._labels)
        if not self._dies:
            missing = [label for label in self._blocks if label not in self._labels and not self._was_cancelled(label)]
            self._expect(not missing, "every block has a cell", ", ".join(missing), "a cell", self._labels)
        steps = [step for label in self._labels if (step := _step(label)) is not None]
        self._expect(steps == sorted(steps), "cells are in order", "all", sorted(steps), steps)
        for index, cell in enumerate(self._cells):
            strangers = {label for label, _ in _marks(cell) if label != self._labels[index] and label[-1] != "t"}
            self._expect(not strangers, "no output is under the wrong cell", self._labels[index], "its own", strangers)

    def _was_cancelled(self, label: str) -> bool:
        step = _step(label)
        return step is not None and self._played.session.steps[step].name == "cancel"

    def _judge_memory(self, index: int, label: str) -> None:
        """Check that variables live as long as the kernel, and no longer."""
        recalled = [
            set(names.split(","))
            for output in self._cells[index]["outputs"]
            for whose, names in _RECALLED.findall(str(output.get("text", "")))
            if whose == label
        ]
        if not recalled:
            return
        alike = [n for n in range(index + 1) if self._epoch(n) == self._epoch(index)]
        ran = {self._labels[n] for n in alike if f"{self._labels[n]}.runs" in self._played.truth}
        ran = {name for name in ran if self._blocks[name].language == "python"}
        known = {self._labels[n] for n in alike}
        self._expect(ran <= recalled[0] <= known, "variables live as long as the kernel", label, ran, recalled[0])

    def _judge_news(self) -> None:
        """Check that the first block on a fresh kernel reports that variables are gone."""
        epochs = [(self._epoch(n), n) for n in range(len(self._cells)) if self._status(n) in _RAN]
        for (before, _), (epoch, index) in itertools.pairwise(epochs):
            self._expect(epoch >= before, "kernels are counted", self._labels[index], f"{before} or more", epoch)
            if epoch > before and self._status(index) != "running":
                news = "variables of earlier blocks are gone"
                self._expect(
                    news in self._note(index), "news is reported", self._labels[index], news, self._note(index)
                )

    def _judge_threads(self) -> None:
        """Check that thread output is under the cell that started the thread or a later one, once and in order."""
        for index, label in enumerate(self._labels):
            late = f"{label}t"
            if late not in self._played.truth:
                continue
            where = [n for n, cell in enumerate(self._cells) for name, _ in _marks(cell) if name == late]
            numbers = [number for cell in self._cells for name, number in _marks(cell) if name == late]
            may_lose = self._may_lose or self._is_cleared_after(index)
            right = sorted(set(numbers)) if may_lose else list(range(len(numbers)))
            self._expect(numbers == right, "each line of a thread is there once", late, _brief(right), _brief(numbers))
            strays = [self._labels[n] for n in where if n < index or self._epoch(n) != self._epoch(index)]
            self._expect(not strays, "no line of a thread is under the wrong cell", late, "none", set(strays))
            if self._was_joined(index) and not may_lose and self._epoch(index) not in self._muted:
                printed = self._played.truth[late]
                self._expect(len(numbers) == printed, "all lines of a thread are there", late, printed, len(numbers))

    def _is_cleared_after(self, index: int) -> bool:
        """Return whether a later block clears its outputs, including thread output under it."""
        later = map(_step, self._labels[index + 1 :])
        return any(step is not None and self._played.session.steps[step].name == "clear" for step in later)

    def _was_joined(self, index: int) -> bool:
        """Return whether a later block on the same kernel has waited for the thread and succeeded."""
        return any(
            f"{self._labels[n]}.joined" in self._played.truth and self._status(n) == "ok"
            for n in range(index + 1, len(self._cells))
            if self._epoch(n) == self._epoch(index)
        )


def _label(cell: NotebookNode) -> str:
    found = _LABEL.search(cell["source"])
    return found[1] if found else "?"


def _step(label: str) -> int | None:
    """Return the position of the step that the block belongs to; None for the block after all steps."""
    found = re.match(r"(\d+)", label)
    return int(found[1]) if found else None


def _marks(cell: NotebookNode) -> list[tuple[str, int]]:
    """Return the marks in a cell's outputs, in order."""
    texts = [output.get("text") or output.get("data", {}).get("text/plain", "") for output in cell["outputs"]]
    return [(label, int(number)) for text in texts for label, number in _MARK.findall(str(text))]


def _brief(numbers: Sequence[int]) -> str:
    """Abbreviate runs of numbers by their ends."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    told = [str(low) if low == high else f"{low}-{high}" for low, high in runs[:20]]
    return ", ".join(told) + (", …" if len(runs) > 20 else "") or "none"  # noqa: PLR2004  (fits on a line)


def judge_process(session: Session, journal: Iterable[Mapping[str, Any]], code: int) -> list[Breach]:
    """Return the breaches of the process that played the session: its calls, its exit, its leftovers."""
    breaches = []
    dies, cancels = (any(step.name == name for step in session.steps) for name in ("die", "cancel"))
    expected = -9 if dies else 0
    if code != expected:
        breaches.append(Breach("nothing hangs, nothing crashes", "the process", f"exit code {expected}", str(code)))
    for line in journal:
        if "failed" in line:
            breaches.append(Breach("nothing is raised", line["failed"], "a result", line["error"]))
        if "cancelled" in line and not cancels:
            breaches.append(Breach("nothing is cancelled", line["cancelled"], "a result", "CancelledError"))
        breaches += [Breach("nothing is left", "the process", "nothing", what) for what in line.get("left", [])]
    return breaches
