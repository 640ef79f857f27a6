"""Text that somebody else wrote, as a terminal may have it: it is shown, and does nothing to the terminal."""

from __future__ import annotations

import re
from typing import Final

from nbtape.common.text import fit_text, strip_escapes

#: What moves, rings, erases or turns a line around and is no code that `strip_escapes` knows: controls but for tab and
#: newline, and the marks of Unicode that change the direction of what follows, or break lines.
_CONTROL: Final = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")

#: A colour, or how bold: all that a code may do to a person's terminal (ECMA-48, SGR).
_COLOUR: Final = re.compile(r"(\x1b\[[0-9;]*m)")


def plain(text: str) -> str:
    """`text` without codes for a terminal; other controls are seen as `\\x07`."""
    return _CONTROL.sub(lambda found: ascii(found[0])[1:-1], strip_escapes(fit_text(text)).replace("\r\n", "\n"))


def plain_line(text: str) -> str:
    """The same in one line."""
    return plain(text).replace("\n", "\\n").replace("\t", " ")


def coloured(text: str) -> str:
    """`text` with its colours, and with nothing else that a terminal obeys. What follows has none of them."""
    pieces = _COLOUR.split(text)
    return "".join(piece if number % 2 else plain(piece) for number, piece in enumerate(pieces)) + "\x1b[0m"
