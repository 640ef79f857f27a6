"""The report on a replay: a verdict on each cell, as text and JSON."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from nbtape._version import __version__
from nbtape.common.notebook_display import Displayed
from nbtape.results import FAILED, REFUSED, WELL

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from nbformat import NotebookNode

    from nbtape.environment import Difference
    from nbtape.replay.compare.settings import Verdict

#: Version of the format of `ReplayReport.to_dict`.
REPORT_VERSION: Final = 1

#: Verdicts on cells that the trusted settings of the notebook leave out of the comparison.
_LEFT_OUT: Final = frozenset({"ignored", "skipped"})

#: Maximum number of environment differences in the text report.
_MAX_DIFFERENCES: Final = 10

#: Maximum number of cells listed in a line.
_MAX_CELLS: Final = 20

#: Maximum number of files listed in the text report.
_MAX_FILES: Final = 20

#: What the report says of a notebook without the digests of written files.
_NO_DIGESTS: Final = "files: not compared, because the notebook has no digests of the files that its code wrote"

AS_RECORDED: Final = frozenset({"same", "cosmetic", "drift", "same_error"})

FileVerdict: TypeAlias = Literal["same", "cosmetic", "drift", "different", "missing", "not_compared", "ignored"]

#: Verdicts on files that fail a replay.
_FAILED_FILES: Final = frozenset({"different", "missing"})


@dataclass(frozen=True, slots=True)
class ReplayedCell:
    """The verdict on one code cell.

    Args:
        index: Its position in the recorded notebook, from 0.
        cell_id: Its id.
        verdict: `same`, `cosmetic`, `drift`, `different`, `error`, `fixed`, `same_error` or `not_run`; if the settings
            of the notebook are trusted, also `ignored` or `skipped`.
        recorded: Its recorded status; `running` if the recording was cut off, empty if nothing was recorded.
        replayed: Its status in the replay.
        reason: What differs, or why the cell was not compared; may be empty.
        settings: Names of tags and metadata of the recorded cell that could relax its verdict.
        block: Its number in the recorded notebook, counted from 1.
    """

    index: int
    cell_id: str
    verdict: Verdict
    recorded: str
    replayed: str
    reason: str = ""
    settings: tuple[str, ...] = ()
    block: int = 0

    @property
    def is_as_recorded(self) -> bool:
        """Whether the verdict is at most `drift`, or `same_error`."""
        return self.verdict in AS_RECORDED


@dataclass(frozen=True, slots=True)
class ReplayedFile:
    """The verdict on one recorded file: one that the code wrote, or one that nbtape extracted from an output.

    Args:
        path: Its path below the notebook's directory, as recorded.
        verdict: `same`, `cosmetic`, `drift` or `different`, as for outputs; `missing` if the replay did not write it;
            `not_compared` if that is not possible; `ignored` if the settings of the notebook are trusted and leave its
            cell out of the comparison.
        reason: What differs, or why it was not compared; may be empty.
        block: The number of the block that wrote its last version.
        size: Its recorded size in bytes; None for an extracted file.
        sha256: Its recorded digest, if any.
        replayed_size: Its size after the replay; None if it is missing or an extracted file.
        replayed_sha256: Its digest after the replay, if known.
        is_extracted: Whether nbtape made it from an output.
    """

    path: str
    verdict: FileVerdict
    reason: str = ""
    block: int = 0
    size: int | None = None
    sha256: str | None = None
    replayed_size: int | None = None
    replayed_sha256: str | None = None
    is_extracted: bool = False

    @property
    def is_as_recorded(self) -> bool:
        """Whether the verdict is neither `different` nor `missing`."""
        return self.verdict not in _FAILED_FILES


@dataclass(frozen=True, slots=True)
class NotReplayed:
    """A notebook that could not be run, and why."""

    notebook: Path
    error: str
    exit_code: int = REFUSED

    def to_dict(self) -> dict[str, Any]:
        """The JSON object that replaces a report."""
        return {"notebook": str(self.notebook), "exit_code": self.exit_code, "error": self.error}


@dataclass(frozen=True, slots=True)
class ReplayReport(Displayed):
    """The result of replaying one notebook. `print(report)` shows a summary.

    Args:
        notebook: The recorded notebook.
        output: The new notebook.
        cells: One for each code cell of the recorded notebook, in its order.
        duration: Seconds that the replay took.
        environment: Differences between the environments; None if one of them is not recorded.
        trusts_settings: Whether the notebook's own settings were applied.
        allows_ignored: Whether cells that those settings leave out of the comparison count as recorded.
        files: One for each recorded file; None if the notebook has no digests of the files that its code wrote.
        in_place: Whether the code ran in the notebook's own directory, or on another machine, instead of a copy.
        notes: Sentences about the copy, such as what it left out.
        documents: Both notebooks as they were compared, even if their files have changed; None if they are not kept.
    """

    notebook: Path
    output: Path
    cells: list[ReplayedCell] = field(default_factory=list)
    duration: float = 0.0
    environment: list[Difference] | None = None
    trusts_settings: bool = False
    allows_ignored: bool = False
    files: list[ReplayedFile] | None = field(default_factory=list)
    in_place: bool = False
    notes: list[str] = field(default_factory=list)
    documents: tuple[NotebookNode, NotebookNode] | None = field(default=None, repr=False, compare=False)

    @property
    def exit_code(self) -> int:
        """0 if every cell and every file is as recorded, see their `is_as_recorded`; otherwise 1.

        With `allows_ignored`, cells that trusted settings leave out of the comparison count as recorded.
        """
        is_well = all(map(self._is_well, self.cells)) and all(file.is_as_recorded for file in self.files or [])
        return WELL if is_well else FAILED

    def _is_well(self, cell: ReplayedCell) -> bool:
        return cell.is_as_recorded or (self.allows_ignored and cell.verdict in _LEFT_OUT)

    @property
    def ignored_settings(self) -> dict[int, tuple[str, ...]]:
        """The settings in the notebook that were not applied, by position of their cell."""
        return {} if self.trusts_settings else {cell.index: cell.settings for cell in self.cells if cell.settings}

    @property
    def counts(self) -> dict[str, int]:
        """How many cells have each verdict, the most frequent first."""
        return dict(Counter(cell.verdict for cell in self.cells).most_common())

    @property
    def file_counts(self) -> dict[str, int]:
        """How many files have each verdict, the most frequent first."""
        return dict(Counter(file.verdict for file in self.files or []).most_common())

    def to_dict(self) -> dict[str, Any]:
        """The report as a JSON object.

        Its keys are `version`, `replayed_by`, the attributes and properties of this class, in `cells` those of
        `ReplayedCell`, and in `files` those of `ReplayedFile`. Items of `environment` have `name`, `before` and
        `after`, and `ignored_settings` is a list of cell positions.
        """
        return {
            "version": REPORT_VERSION,
            "replayed_by": f"nbtape {__version__}",
            "notebook": str(self.notebook),
            "output": str(self.output),
            "exit_code": self.exit_code,
            "duration": round(self.duration, 3),
            "counts": self.counts,
            "file_counts": self.file_counts,
            "in_place": self.in_place,
            "notes": self.notes,
            "environment": self.environment and [asdict(difference) for difference in self.environment],
            "trusts_settings": self.trusts_settings,
            "allows_ignored": self.allows_ignored,
            "ignored_settings": list(self.ignored_settings),
            "cells": [asdict(cell) for cell in self.cells],
            "files": self.files and [asdict(file) for file in self.files],
        }

    def __repr__(self) -> str:
        return f"ReplayReport({str(self.notebook)!r}, exit_code={self.exit_code}, counts={self.counts})"

    def __str__(self) -> str:
        news = [f"block {cell.block}: {cell.verdict}. {cell.reason}" for cell in self.cells if not cell.is_as_recorded]
        told = [*news, *self.news_of_files(), *self.news_of_settings(), *self.news_of_environment()]
        return "\n".join([self.summary(), *told])

    def summary(self) -> str:
        """The counts of all verdicts, in one line."""
        files = f"; files: {_counted(self.file_counts)}" if self.files else ""
        return f"{self.notebook.name}: {_counted(self.counts) or 'no code cells'}{files}."

    def news_of_files(self) -> list[str]:
        """A line for each of the first files that are not as recorded, and the notes on the copy."""
        news = [file for file in self.files or [] if not file.is_as_recorded or file.verdict == "not_compared"]
        told = [f"file {file.path} (block {file.block}): {file.verdict}. {file.reason}" for file in news[:_MAX_FILES]]
        rest = [f"files: {len(news) - _MAX_FILES} more are not as recorded"] if len(news) > _MAX_FILES else []
        return [*told, *rest, *([_NO_DIGESTS] if self.files is None else []), *self.notes]

    def news_of_settings(self) -> list[str]:
        """A line about settings in the notebook that were not applied, if any."""
        ignored = self.ignored_settings
        if not ignored:
            return []
        names = ", ".join(sorted({name for each in ignored.values() for name in each}))
        blocks = [str(cell.block) for cell in self.cells if cell.index in ignored]
        shown = ", ".join(blocks[:_MAX_CELLS])
        rest = f" and {len(ignored) - _MAX_CELLS} more" if len(ignored) > _MAX_CELLS else ""
        return [f"ignored settings in block{'s' if len(ignored) > 1 else ''} {shown}{rest}: {names}"]

    def news_of_environment(self) -> list[str]:
        """A line for each of the first differences between the environments."""
        found = self.environment or []
        told = [f"environment: {difference}" for difference in found[:_MAX_DIFFERENCES]]
        rest = len(found) - len(told)
        return [*told, f"environment: {rest} more differences"] if rest else told


def _counted(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {verdict}" for verdict, count in counts.items())


Outcome: TypeAlias = ReplayReport | NotReplayed
