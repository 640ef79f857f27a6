"""What the pages of one session are told: which cells there are, which have changed since, and what each looks like.

A page asks for what is new since a revision, and then, cell by cell, for the pieces of HTML that it lacks: so 2,000
cells with 100 MB of pictures are a list of numbers until somebody looks at them, and a line that is printed does not
have the pictures above it sent again.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections import Counter
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from nbtape.export.html_parts import Parts
from nbtape.summary.normalise import fit_output
from nbtape.summary.run_summary import run_cell, summarise
from nbtape.summary.wording import facts_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping

    from nbtape.watch.snapshots import Look, SeenCell

#: Characters of what is told about a session, each.
_MOST_TOLD: Final = 300


@dataclass(frozen=True, slots=True)
class Posted:
    """A cell, as pages know it.

    Args:
        number: What it is called among pages, as long as it is there.
        index: Its position in the notebook.
        status: How it ended; empty where it is no code.
        revision: Since when it has been like this.
        seen: The cell itself.
    """

    number: int
    index: int
    status: str
    revision: int
    seen: SeenCell


class Board:
    """Filled by who follows a session, and read by any number of pages, each in a thread of its own.

    Args:
        name: What the notebook is called.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._turned = threading.Condition()
        self._revision = 0
        self._ordered = 0  # the revision at which cells last came, went or moved
        self._metadata: Mapping[str, Any] = {}
        self._parts = Parts({})
        self._cells: Mapping[str, Posted] = {}
        self._numbers: Mapping[int, str] = {}
        self._count = 0
        self._conclusion = ""

    @property
    def counts(self) -> dict[str, int]:
        """How many cells of code ended how, the most frequent first."""
        return dict(Counter(posted.status for posted in self._cells.values() if posted.status).most_common())

    def post(self, look: Look) -> None:
        """Have pages told what a look has found.

        Args:
            look: The look.
        """
        with self._turned:
            self._revision += 1
            if look.metadata.get("language_info") != self._metadata.get("language_info"):
                self._parts = Parts(look.metadata)
            self._metadata = look.metadata
            changed = set(look.changed)
            cells = {
                seen.key: self._posted(index, seen, is_changed=index in changed)
                for index, seen in enumerate(look.cells)
            }
            if list(cells) != list(self._cells):
                self._ordered = self._revision
            self._cells, self._numbers = cells, {posted.number: key for key, posted in cells.items()}
            self._turned.notify_all()

    def conclude(self, conclusion: str) -> None:
        """Have pages told that nothing more is to come.

        Args:
            conclusion: What became of the session, a sentence.
        """
        with self._turned:
            self._revision += 1
            self._conclusion = conclusion
            self._turned.notify_all()

    def news(self, since: int, patience: float) -> dict[str, Any]:
        """What has changed since a revision, as JSON has it; if nothing has, but `revision` and `conclusion`.

        `cells` are those that have: the number, the position and the status of each; `order` has the numbers of all, if
        that is another. The `conclusion` is empty as long as more may come.

        Args:
            since: The revision that the page has.
            patience: Seconds to wait where there is nothing new.
        """
        with self._turned:
            self._turned.wait_for(lambda: self._revision > since, patience)
            revision, cells, metadata = self._revision, self._cells, self._metadata
            is_ordered, conclusion = self._ordered > since, self._conclusion
        if revision <= since:
            return {"revision": revision, "conclusion": conclusion}
        run = summarise({"metadata": metadata, "cells": [posted.seen.outline for posted in cells.values()]})
        return {
            "revision": revision,
            "name": self._name[:_MOST_TOLD],
            "facts": [[name, value[:_MOST_TOLD]] for name, value in facts_of(run)],
            "cells": [
                [posted.number, posted.index, posted.status] for posted in cells.values() if posted.revision > since
            ],
            "order": [posted.number for posted in cells.values()] if is_ordered else None,
            "conclusion": conclusion,
        }

    def cell(self, number: int, known: Collection[str]) -> dict[str, Any] | None:
        """What a cell looks like, as JSON has it; None if it is gone.

        It has a `revision`, and `parts`: of each its mark, and its HTML, which is None if the page has it.

        Args:
            number: The cell.
            known: The marks of those parts that the page has.
        """
        with self._turned:
            posted, parts = self._cells.get(self._numbers.get(number, "")), self._parts
        if posted is None:
            return None
        told = [[mark, None if mark in known else render()] for mark, render in _parts(posted, parts)]
        return {"revision": posted.revision, "parts": told}

    def _posted(self, index: int, seen: SeenCell, *, is_changed: bool) -> Posted:
        before = self._cells.get(seen.key)
        if before is not None and before.index == index and not is_changed:
            return Posted(before.number, index, before.status, before.revision, seen)
        if before is None:
            self._count += 1
        number = self._count if before is None else before.number
        status = run_cell(index, seen.outline).status if seen.outline["cell_type"] == "code" else ""
        return Posted(number, index, status, self._revision, seen)


def _parts(posted: Posted, parts: Parts) -> Iterator[tuple[str, Callable[[], str]]]:
    """The pieces of a cell: what tells each from another, and what makes it."""
    cell = posted.seen.load()
    head = {**cell, "outputs": []}
    if not posted.status:
        yield _mark(head), partial(parts.prose, cell)
        return
    counts: Counter[str] = Counter()
    about = run_cell(posted.index, {**cell, "outputs": posted.seen.outline["outputs"]})
    yield _mark([head, about.index, about.status]), partial(parts.head, cell, about)
    for raw in cell["outputs"]:
        output = fit_output(raw)
        counts[mark := _mark(output)] += 1  # a cell may show the same thing twice
        yield f"{mark}.{counts[mark]}", partial(parts.output, output)


def _mark(value: object) -> str:
    return hashlib.blake2b(json.dumps(value, sort_keys=True).encode(), digest_size=12).hexdigest()
