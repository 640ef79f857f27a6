"""The text of a stream as a terminal leaves it: chunks in, `\\r` and `\\b` obeyed, one string out.

JupyterLab shows streams this way (`packages/outputarea/src/model.ts`): a progress bar is one line, not a thousand.
"""

from __future__ import annotations

import re
from typing import Final

_MOVES: Final = re.compile(r"([\n\r\b])")

#: A line longer than this (characters) is not rewound: rewriting a line of megabytes for each tick of a progress bar
#: would let a block stall whoever records it.
REWIND_LIMIT: Final = 4096


class StreamText:
    """Collects the chunks of one stream output."""

    def __init__(self) -> None:
        self._finished: list[str] = []
        self._finished_size = 0
        self._line = ""
        self._column = 0

    def __len__(self) -> int:
        """The characters held."""
        return self._finished_size + len(self._line)

    def write(self, text: str) -> None:
        """Take in one chunk."""
        if "\r" not in text and "\b" not in text and self._column == len(self._line):
            self._append(text)
            return
        for piece in _MOVES.split(text):
            self._put(piece)

    def getvalue(self) -> str:
        """All text so far."""
        self._finished = ["".join(self._finished)]
        return self._finished[0] + self._line

    def _append(self, text: str) -> None:
        head, newline, tail = text.rpartition("\n")
        if newline:
            self._finish(self._line + head + newline)
            self._line = tail
        else:
            self._line += tail
        self._column = len(self._line)

    def _finish(self, text: str) -> None:
        self._finished.append(text)
        self._finished_size += len(text)
        self._line, self._column = "", 0

    def _put(self, piece: str) -> None:
        """Obey one control character, or write text over what is under the cursor."""
        if piece == "\n":
            self._finish(self._line + piece)
        elif piece in {"\r", "\b"}:
            if len(self._line) > REWIND_LIMIT:
                self._finish(self._line)
            elif piece == "\r":
                self._column = 0
            elif self._column:
                self._column -= 1
                self._line = self._line[: self._column] + self._line[self._column + 1 :]
        elif piece:
            # Colour codes take no room on a terminal, so columns mean nothing in a line that has them.
            rest = "" if "\x1b" in self._line else self._line[self._column + len(piece) :]
            self._line = self._line[: self._column] + piece + rest
            self._column += len(piece)
