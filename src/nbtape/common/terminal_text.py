"""The text of a stream with `\\r` and `\\b` applied, as JupyterLab shows it (`packages/outputarea/src/model.ts`)."""

from __future__ import annotations

import re
from typing import Final

_MOVES: Final = re.compile(r"([\n\r\b])")

#: Maximum characters of a line that can be rewound. Rewriting megabytes for each tick of a progress bar is too slow.
REWIND_LIMIT: Final = 4096


class StreamText:
    """Collects the chunks of one stream output."""

    def __init__(self) -> None:
        self._finished: list[str] = []
        self._line = ""
        self._column = 0
        # Text to append to the line later. Appending each chunk at once would take quadratic time.
        self._fresh: list[str] = []
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def write(self, text: str) -> None:
        if "\r" not in text and "\b" not in text and self._column == len(self._line):
            self._fresh.append(text)
            self._size += len(text)
            return
        self._take_in_fresh()
        before = len(self._line)
        finished = sum(self._put(piece) for piece in _MOVES.split(text))
        self._size += finished + len(self._line) - before

    def getvalue(self) -> str:
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
        """Apply a control character, or write text at the cursor; return the length of a line that this finished."""
        if piece == "\n" or (piece in {"\r", "\b"} and len(self._line) > REWIND_LIMIT):
            self._finished.append(self._line + piece.strip("\r\b"))
            self._line, self._column = "", 0
            return len(self._finished[-1])
        if piece == "\r":
            self._column = 0
        elif piece == "\b" and self._column:
            self._column -= 1
            # JupyterLab removes the character under the cursor too.
            self._line = self._line[: self._column] + self._line[self._column + 2 :]
        elif piece not in {"", "\b"}:
            # Color codes have no width, so columns are unknown in a line with them.
            rest = "" if "\x1b" in self._line else self._line[self._column + len(piece) :]
            self._line = self._line[: self._column] + piece + rest
            self._column += len(piece)
        return 0
