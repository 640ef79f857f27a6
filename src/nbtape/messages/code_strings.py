"""Which places in code are inside a string that spans lines."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

# What starts in a line of code: a long string, a string that ends in the line, a comment, or a run of backticks.
_TOKEN = re.compile(
    r"""(?P<long>\"{3}|'{3}) | "(?:\\.|[^"\\])*(?:"|\\?$) | '(?:\\.|[^'\\])*(?:'|\\?$) | \#.* | (?P<ticks>`{3,})""",
    re.VERBOSE,
)
_ENDS = {quote: re.compile(rf"(?:\\.|[^\\])*?{quote}") for quote in ('"""', "'''")}
_HEREDOC = re.compile(r"<<-?[ \t]*(['\"]?)(\w+)\1")


class StringScanner:
    """Reads code line by line: the triple-quoted strings of Python, or the here-documents of a shell."""

    def __init__(self, *, shell: bool = False) -> None:
        self._shell = shell
        self._quote = ""
        self._heredoc = ""

    @property
    def is_inside(self) -> bool:
        """Whether the next line starts inside a string."""
        return bool(self._quote or self._heredoc)

    def read(self, line: str) -> list[int]:
        """Read the next line; return where runs of backticks stand outside strings and comments."""
        return list(self._shell_ticks(line) if self._shell else self._ticks(line))

    def _ticks(self, line: str) -> Iterator[int]:
        at = 0
        while True:
            if self._quote:
                if not (end := _ENDS[self._quote].match(line, at)):
                    return
                at, self._quote = end.end(), ""
            if not (token := _TOKEN.search(line, at)):
                return
            at = token.end()
            if token["ticks"]:
                yield token.start()
            self._quote = token["long"] or ""

    def _shell_ticks(self, line: str) -> Iterator[int]:
        if self._heredoc:
            if line.strip() == self._heredoc:
                self._heredoc = ""
            return
        if heredoc := _HEREDOC.search(line):
            self._heredoc = heredoc[2]
        yield from self._ticks(line)
        self._quote = ""
