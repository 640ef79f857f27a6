"""Make untrusted text safe for a terminal, whether `echo` or rich prints it.

These functions return `Shown`. Any other text, including what `+` or an f-string makes of `Shown`, is made `plain`
when it is printed. So a forgotten call loses a color but lets no escape sequence through.
"""

from __future__ import annotations

from typing import Any

import click

from nbtape.common.hidden_text import reveal, reveal_but_colours, reveal_in_prose, reveal_line
from nbtape.common.text import fit_text, keep_colours, strip_escapes


class Shown(str):
    """Text that is safe to write to a terminal unchanged."""

    __slots__ = ()


def plain(text: str) -> Shown:
    """Output of a program: terminal escape sequences are dropped, other hidden characters shown as `\\x07`."""
    return Shown(_without_returns(reveal_in_prose(strip_escapes(fit_text(text)))))


def coloured(text: str) -> Shown:
    """Like `plain`, except that colors and text styles stay; they are reset at the end."""
    return Shown(_without_returns(reveal_but_colours(keep_colours(fit_text(text)))) + "\x1b[0m")


def plain_line(text: str) -> Shown:
    """A name or another one-line value: hidden characters are shown as escapes, such as `\\x1b` and `\\n`."""
    return Shown(reveal_line(fit_text(text)))


def plain_code(text: str) -> Shown:
    """Code, or a message of several lines: like `plain_line`, except that newlines and tabs stay."""
    return Shown(reveal(fit_text(text)).replace("\r\n", "\n"))


def styled(text: str, **style: Any) -> Shown:  # noqa: ANN401  (those of `click.style`)
    """Text in a color or style, made plain first unless it is `Shown`."""
    return Shown(click.style(shown(text), **style))


def shown(text: str) -> Shown:
    """The text itself if it is `Shown`, otherwise `plain(text)`."""
    return text if isinstance(text, Shown) else plain(text)


def joined(*parts: str, by: str = "") -> Shown:
    """Join texts, making each plain unless it is `Shown`."""
    return Shown(by.join(map(shown, parts)))


def overwritten(line: str) -> str:
    """A line as a terminal shows it after carriage returns."""
    return line.rstrip("\r").rpartition("\r")[2]


def _without_returns(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\\r")
