"""The state of a session for its pages: the cells, their changes, and their HTML.

A page requests the changes since a revision, and then the pieces of cells that it lacks. So a large session is only a
list of numbers until someone scrolls to its cells, and a new line of output does not resend the images above it.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import threading
from collections import Counter
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from nbtape.common.hidden_text import reveal_line
from nbtape.export.html_parts import Parts
from nbtape.export.write import check_packages
from nbtape.notebook.numbering import block_numbers
from nbtape.summary.normalise import fit_output
from nbtape.summary.run_summary import count_statuses, run_cell, summarise
from nbtape.summary.wording import facts_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping

    from nbtape.watch.snapshots import CellSnapshot, Snapshot

#: Maximum characters of the notebook's name, and of each fact about its session.
_MAX_FACT_CHARS: Final = 300


@dataclass(frozen=True, slots=True)
class Posted:
    """A cell on the pages: a permanent `number`, the `revision` of its last change, and its status if it is code."""

    number: int
    index: int
    block: int
    status: str
    revision: int
    snapshot: CellSnapshot


class Board:
    """The state of a session, written by one thread and read by any number of threads, one per page."""

    def __init__(self, name: str) -> None:
        check_packages("html", "The live page")
        self._name = name
        self._changed = threading.Condition()
        self._revision = 0
        self._ordered = 0  # the revision at which cells were last added, removed or moved
        self._metadata: Mapping[str, Any] = {}
        self._parts = Parts({})
        self._cells: Mapping[str, Posted] = {}
        self._new_numbers = itertools.count(1)
        self._conclusion = ""

    @property
    def counts(self) -> dict[str, int]:
        """The number of code cells by status, the most frequent first."""
        return count_statuses(posted.status for posted in self._cells.values())

    def post(self, snapshot: Snapshot) -> None:
        """Show the state of the notebook in a snapshot."""
        with self._changed:
            self._revision += 1
            if snapshot.metadata.get("language_info") != self._metadata.get("language_info"):
                self._parts = Parts(snapshot.metadata)
            self._metadata = snapshot.metadata
            changed = set(snapshot.changed)
            numbers = block_numbers(cell.outline for cell in snapshot.cells)
            cells = {
                cell.key: self._posted(index, numbers[index], cell, is_changed=index in changed)
                for index, cell in enumerate(snapshot.cells)
            }
            if list(cells) != list(self._cells):
                self._ordered = self._revision
            self._cells = cells
            self._changed.notify_all()

    def conclude(self, conclusion: str) -> None:
        """Show how the session ended, as the last update."""
        with self._changed:
            self._revision += 1
            self._conclusion = reveal_line(conclusion)
            self._changed.notify_all()

    def updates(self, since: int, timeout: float) -> dict[str, Any]:
        """The changes since a revision as JSON; after `timeout` seconds without any, only `revision` and `conclusion`.

        `cells` has the number, block and status of each changed cell, and `order` all numbers if they changed.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._revision > since, timeout)
            revision, cells, metadata = self._revision, self._cells, self._metadata
            is_ordered, conclusion = self._ordered > since, self._conclusion
        if revision <= since:
            return {"revision": revision, "conclusion": conclusion}
        run = summarise({"metadata": metadata, "cells": [posted.snapshot.outline for posted in cells.values()]})
        return {
            "revision": revision,
            "name": reveal_line(self._name[:_MAX_FACT_CHARS]),
            "facts": [[name, reveal_line(value[:_MAX_FACT_CHARS])] for name, value in facts_of(run)],
            "cells": [
                [posted.number, posted.block, posted.status] for posted in cells.values() if posted.revision > since
            ],
            "order": [posted.number for posted in cells.values()] if is_ordered else None,
            "conclusion": conclusion,
        }

    def cell(self, number: int, known: Collection[str]) -> dict[str, Any] | None:
        """A cell as JSON: its `revision`, and the mark and HTML of each of its `parts`; None if it is gone.

        The HTML is None for parts whose marks are already `known` to the page.
        """
        with self._changed:
            cells, parts = self._cells, self._parts
        posted = next((each for each in cells.values() if each.number == number), None)
        if posted is None:
            return None
        rendered = [[mark, None if mark in known else render()] for mark, render in _parts(posted, parts)]
        return {"revision": posted.revision, "parts": rendered}

    def _posted(self, index: int, block: int, snapshot: CellSnapshot, *, is_changed: bool) -> Posted:
        before = self._cells.get(snapshot.key)
        if before is not None and (before.index, before.block) == (index, block) and not is_changed:
            return replace(before, snapshot=snapshot)
        number = next(self._new_numbers) if before is None else before.number
        status = run_cell(index, block, snapshot.outline).status if snapshot.outline["cell_type"] == "code" else ""
        return Posted(number, index, block, status, self._revision, snapshot)


def _parts(posted: Posted, parts: Parts) -> Iterator[tuple[str, Callable[[], str]]]:
    """The pieces of a cell: an identifying mark and a function that renders it."""
    cell = posted.snapshot.load()
    head = {**cell, "outputs": []}
    if not posted.status:
        yield _mark(head), partial(parts.prose, cell)
        return
    counts: Counter[str] = Counter()
    about = run_cell(posted.index, posted.block, {**cell, "outputs": posted.snapshot.outline["outputs"]})
    yield _mark([head, about.block, about.status]), partial(parts.head, cell, about)
    for raw in cell["outputs"]:
        output = fit_output(raw)
        counts[mark := _mark(output)] += 1  # outputs of a cell may be equal
        yield f"{mark}.{counts[mark]}", partial(parts.output, output)


def _mark(value: object) -> str:
    return hashlib.blake2b(json.dumps(value, sort_keys=True).encode(), digest_size=12).hexdigest()
