"""Characters that a reader cannot see are shown as escapes; those that a script needs are kept."""

from __future__ import annotations

import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbtape.common.hidden_text import (
    hidden_in_code,
    mark_hidden,
    reveal,
    reveal_but_colours,
    reveal_in_prose,
    reveal_line,
)

#: Invisible characters and line breaks outside the categories Cc and Cf.
OTHERS = "\u2028\u2029\u034f\u115f\u1160\u17b4\u17b5\u3164\uffa0\ufe00\ufe0f\U000e0100\u180b\u180f"
HIDDEN = [
    *(char for char in map(chr, range(sys.maxunicode + 1)) if unicodedata.category(char) in {"Cc", "Cf"}),
    *OTHERS,
]
#: Characters that prose needs in some places, here in a place where they are not needed.
IN_PROSE = [char for char in HIDDEN if char not in "\t\n\r" and not 0x13430 <= ord(char) <= 0x1345F]
VISIBLE_FORMATS = set("\u0600\u0601\u0602\u0603\u0604\u0605\u06dd\u070f\u0890\u0891\u08e2\U000110bd\U000110cd")

NEEDED = {
    "a family": "👨‍👩‍👧‍👦 and 👩🏽‍💻",
    "a heart": "❤️‍🔥 ☂️ ©️",
    "a key": "1️⃣ #️⃣",
    "Persian": "می‌خواهم",
    "Hindi": "क्‍ष and क्‌ष",
    "Sinhala": "ශ්‍රී",
    "Mongolian": "ᠠ᠋ᠠ",
    "Japanese": "葛󠄀飾",
    "Hebrew": "שלום, world",
    "accents": "e\u0301 naïve",
}


@pytest.mark.parametrize("char", sorted(set(HIDDEN) - set("\t\n")), ids=ascii)
def test_code_shows_every_hidden_character(char: str) -> None:
    escape = ascii(char)[1:-1]
    assert reveal(f"a{char}b") == reveal_line(f"a{char}b") == f"a{escape}b"
    assert hidden_in_code(f"a{char}b") == ([] if char == "\r" else [escape])
    assert mark_hidden(f"<i>a{char}b</i>", is_code=True) == f'<i>a<span class="escape">{escape}</span>b</i>'


@pytest.mark.parametrize("char", sorted(set(IN_PROSE) - VISIBLE_FORMATS), ids=ascii)
def test_prose_shows_hidden_characters_it_does_not_need(char: str) -> None:
    escape = ascii(char)[1:-1]
    assert reveal_in_prose(f"a{char}b") == reveal_but_colours(f"a{char}b") == f"a{escape}b"
    assert mark_hidden(f"a{char}b") == f'a<span class="escape">{escape}</span>b'


@pytest.mark.parametrize("text", NEEDED.values(), ids=NEEDED)
def test_prose_keeps_characters_that_emoji_and_scripts_need(text: str) -> None:
    assert reveal_in_prose(text) == reveal_but_colours(text) == mark_hidden(text) == text


def test_a_message_hidden_in_selectors_or_tags_is_revealed_in_prose() -> None:
    selectors = "😀" + "".join(chr(0xE0100 + byte) for byte in b"rm -rf")
    assert reveal_in_prose(selectors).endswith("\\U000e016d\\U000e0120\\U000e012d\\U000e0172\\U000e0166")
    assert "\\U000e0072" in reveal_in_prose("🏴" + "".join(chr(0xE0000 + byte) for byte in b"rm -rf"))


def test_colors_are_kept_and_other_escapes_are_revealed() -> None:
    assert reveal_but_colours("\x1b[1;31mred\x1b[m\x1b[2J") == "\x1b[1;31mred\x1b[m\\x1b[2J"


@given(st.text(alphabet=st.characters(exclude_categories=["Cs", "Cc", "Cf", "Cn", "Zl", "Zp", "Mn", "Lo", "Me"])))
def test_ordinary_text_is_unchanged(text: str) -> None:
    assert reveal(text) == reveal_line(text) == reveal_in_prose(text) == reveal_but_colours(text) == text


def test_newlines_and_tabs_are_kept_in_code_and_escaped_in_a_line() -> None:
    assert reveal("a\n\tb\r\nc\rd") == "a\n\tb\r\nc\\rd"
    assert reveal_line("a\n\tb\r\nc") == "a\\n b\\r\\nc"


@pytest.mark.timeout(60)
@pytest.mark.parametrize("char", ["\u200d", "\ufe0f", "\u202e", "\x1b", "\x1b[", "é", "👩\u200d"])
def test_hostile_text_takes_linear_time(char: str) -> None:
    for function in (reveal, reveal_line, reveal_in_prose, reveal_but_colours, mark_hidden):
        function(char * 300_000)
