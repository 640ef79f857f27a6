"""Make text of unknown origin safe for a terminal: what `echo` prints, and what rich does.

Text that passed one of these functions is `Shown`. Anything else, and what is made of it with `+` or an f-string, is
made `plain` when it is printed, so that a forgotten call costs a color and lets nothing through.
"""

from __future__ import annotations

from typing import Any

import click

from nbtape.common.hidden_text import reveal, reveal_but_colours, reveal_in_prose, reveal_line
from nbtape.common.text import fit_text, keep_colours, strip_escapes


class Shown(str):
    """Text that may be written to a terminal as it is."""

    __slots__ = ()


def plain(text: str) -> Shown:
    """Output of a program: terminal escape sequences are dropped, other hidden characters shown as `\\x07`."""
    return Shown(_without_returns(reveal_in_prose(strip_escapes(fit_text(text)))))


def coloured(text: str) -> Shown:
    """The same, except that colors and text styles stay; they are reset at the end."""
    return Shown(_without_returns(reveal_but_colours(keep_colours(fit_text(text)))) + "\x1b[0m")


def plain_line(text: str) -> Shown:
    """A name, or another value on one line: everything hidden is shown as an escape, such as `\\x1b` and `\\n`."""
    return Shown(reveal_line(fit_text(text)))


def plain_code(text: str) -> Shown:
    """Code, or a message of several lines: the same, except that newlines and tabs stay."""
    return Shown(reveal(fit_text(text)).replace("\r\n", "\n"))


def styled(text: str, **style: Any) -> Shown:  # noqa: ANN401  (those of `click.style`)
    """Text in a color or style; unless it is `Shown`, it is made plain."""
    return Shown(click.style(shown(text), **style))


def shown(text: str) -> Shown:
    """The text itself if it is `Shown`, and else what `plain` makes of it."""
    return text if isinstance(text, Shown) else plain(text)


def joined(*parts: str, by: str = "") -> Shown:
    """Join texts, each of which is made plain unless it is `Shown`."""
    return Shown(by.join(map(shown, parts)))


def overwritten(line: str) -> str:
    """A line as a terminal shows it after carriage returns."""
    return line.rstrip("\r").rpartition("\r")[2]


def _without_returns(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\\r")
