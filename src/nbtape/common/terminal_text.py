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
        self._line = ""
        self._column = 0
        # What came in since, to be looked at when something is to be moved: joining the line anew for every chunk
        # of a long one takes time that grows with the square of its length.
        self._fresh: list[str] = []
        self._size = 0

    def __len__(self) -> int:
        """The characters held."""
        return self._size

    def write(self, text: str) -> None:
        """Take in one chunk."""
        if "\r" not in text and "\b" not in text and self._column == len(self._line):
            self._fresh.append(text)
            self._size += len(text)
            return
        self._take_in_fresh()
        before = len(self._line)
        finished = sum(self._put(piece) for piece in _MOVES.split(text))
        self._size += finished + len(self._line) - before

    def getvalue(self) -> str:
        """All text so far."""
        self._take_in_fresh()
        self._finished = ["".join(self._finished)]
        return self._finished[0] + self._line

    def _take_in_fresh(self) -> None:
        if self._fresh:
            text = "".join([self._line, *self._fresh])
            end = text.rfind("\n") + 1
            self._finished.append(text[:end])
            self._line = text[end:]
            self._fresh.clear()
            self._column = len(self._line)

    def _put(self, piece: str) -> int:
        """Obey one control character, or write text over what is under the cursor.

        Returns:
            The characters that can no longer be moved.
        """
        if piece == "\n" or (piece in {"\r", "\b"} and len(self._line) > REWIND_LIMIT):
            self._finished.append(self._line + piece.strip("\r\b"))
            self._line, self._column = "", 0
            return len(self._finished[-1])
        if piece == "\r":
            self._column = 0
        elif piece == "\b" and self._column:
            self._column -= 1
            # JupyterLab takes the character under the cursor too, where the cursor is not at the end.
            self._line = self._line[: self._column] + self._line[self._column + 2 :]
        elif piece not in {"", "\b"}:
            # Colour codes take no room on a terminal, so columns mean nothing in a line that has them.
            rest = "" if "\x1b" in self._line else self._line[self._column + len(piece) :]
            self._line = self._line[: self._column] + piece + rest
            self._column += len(piece)
        return 0
