"""Make text of unknown origin safe for a terminal."""

from __future__ import annotations

import re
from typing import Final

from nbtape.common.text import fit_text, keep_colours, strip_escapes

#: What `strip_escapes` leaves: control characters except tab and newline, and marks of Unicode that change the
#: direction of text or break lines.
_CONTROL: Final = re.compile("[\x00-\x08\x0b-\x1a\x1c-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")


def plain(text: str) -> str:
    """Remove terminal escape sequences, and show other control characters as `\\x07`."""
    return _without_controls(strip_escapes(fit_text(text)))


def plain_line(text: str) -> str:
    """The same, in one line."""
    return plain(text).replace("\n", "\\n").replace("\t", " ")


def coloured(text: str) -> str:
    """The same as `plain`, except that colors and text styles stay; they are reset at the end."""
    return _without_controls(keep_colours(fit_text(text))) + "\x1b[0m"


def _without_controls(text: str) -> str:
    return _CONTROL.sub(lambda found: ascii(found[0])[1:-1], text.replace("\r\n", "\n"))


def overwritten(line: str) -> str:
    """A line as a terminal shows it after carriage returns."""
    return line.rstrip("\r").rpartition("\r")[2]
