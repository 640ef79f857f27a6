"""Show invisible characters, and those that reorder text, as escapes such as `\\u202e`."""

from __future__ import annotations

import re
from typing import Final

#: Control characters except tab, newline and carriage return, and Unicode's separators of lines.
_CONTROLS: Final = "\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028\u2029"

#: Marks that change the direction of text, so that code is displayed in another order than it runs (Trojan Source).
_DIRECTIONS: Final = "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"

#: Zero-width characters from the categories Cf, Mn and Lo, including tag characters.
_INVISIBLE: Final = (
    "\u00ad\u034f\u115f\u1160\u17b4\u17b5\u180e\u200b\u2060-\u2065\u206a-\u206f\u3164\ufeff\uffa0\ufff0-\ufffb"
    "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e00ff\U000e01f0-\U000e0fff"
)

#: Zero-width characters that prose needs: joiners in emoji and several scripts, and variation selectors.
_JOINERS: Final = "\u200c\u200d"
_SELECTORS: Final = "\u180b-\u180d\u180f\ufe00-\ufe0f\U000e0100-\U000e01ef"

#: Visible format characters, such as those of Arabic numbers. They are unusual in code, so code shows them as escapes.
_VISIBLE_FORMATS: Final = (
    "\u0600-\u0605\u06dd\u070f\u0890\u0891\u08e2\U000110bd\U000110cd\U00013430-\U00013440\U00013447-\U00013455"
)

#: Emoji with a selector, and scripts with joiners: Arabic to Sinhala, Thai to Myanmar, Khmer and Mongolian.
_JOINABLE: Final = (
    "©®\u0600-\u0dff\u0e00-\u109f\u1780-\u17b3\u17b6-\u180a\u1810-\u18af\ua840-\uabff\u2190-\u2bff\u3030\u303d\ufb50-"
    "\ufdff\ufe0f\ufe70-\ufefc\U00010a00-\U00011fff\U0001e900-\U0001e95f\U0001f000-\U0001faff"
)

_IN_CODE: Final = re.compile(f"[{_CONTROLS}{_DIRECTIONS}{_INVISIBLE}{_JOINERS}{_SELECTORS}{_VISIBLE_FORMATS}]|\r(?!\n)")
_IN_PROSE: Final = re.compile(
    f"[{_CONTROLS}{_DIRECTIONS}{_INVISIBLE}]"
    f"|(?<![{_JOINABLE}])[{_JOINERS}]|[{_JOINERS}](?![{_JOINABLE}])"
    # A sequence of selectors can hold a hidden message.
    f"|(?<![^\x00-\x7f]|[0-9#*])[{_SELECTORS}]|(?<=[{_SELECTORS}])[{_SELECTORS}]"
)
_IN_LINE: Final = re.compile(f"{_IN_CODE.pattern}|[\n\r]")
_SGR: Final = re.compile(rf"\x1b\[[0-9;]*m|(?P<hidden>{_IN_PROSE.pattern})")


def reveal(text: str) -> str:
    """Show all hidden characters of code; tabs and newlines stay."""
    return text if _is_plain(text) else _IN_CODE.sub(_escape, text)


def reveal_line(text: str) -> str:
    """Show the hidden characters of a one-line value, newlines included; tabs become spaces."""
    return text if text.isascii() and text.isprintable() else _IN_LINE.sub(_escape, text.replace("\t", " "))


def reveal_in_prose(text: str) -> str:
    """Show the hidden characters of prose or output, except those that emoji and several scripts need."""
    return text if _is_plain(text) else _IN_PROSE.sub(_escape, text)


def reveal_but_colours(text: str) -> str:
    """Like `reveal_in_prose`, except that terminal codes for colors and text styles stay."""
    if _is_plain(text):
        return text
    return _SGR.sub(lambda found: _escape(found) if found["hidden"] else found[0], text)


def mark_hidden(html: str, *, is_code: bool = False) -> str:
    """Show hidden characters as marked elements, in HTML made by nbtape, where only text can contain them."""
    if _is_plain(html):
        return html
    pattern = _IN_CODE if is_code else _IN_PROSE
    return pattern.sub(lambda found: f'<span class="escape">{_escape(found)}</span>', html)


def hidden_in_code(code: str) -> list[str]:
    """The escapes of the distinct hidden characters in code, in order of appearance."""
    return list(dict.fromkeys(map(_escape, _IN_CODE.finditer(code.replace("\r\n", "\n").replace("\r", "\n")))))


def _is_plain(text: str) -> bool:
    return text.isascii() and text.replace("\n", "").replace("\t", "").isprintable()


def _escape(found: re.Match[str]) -> str:
    return ascii(found[0])[1:-1]
