"""Split lines into tokens that may change between runs, and compare two tokens."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from nbtape.replay.compare.numbers import NUMBER, is_close
from nbtape.replay.compare.timestamps import MOMENT, are_nows

if TYPE_CHECKING:
    from nbtape.replay.compare.settings import Terms, Verdict

#: Names made by Python's tempfile: `tmp` and eight characters.
_TEMPORARY_PATH: Final = (
    r"(?:(?<![\w/])/tmp/|/var/tmp/|/var/folders/[\w+]{2}/[\w+]{1,60}/T/|\\Temp\\)"
    r"tmp(?!_[a-z]{7}(?![a-z0-9_]))[a-z0-9_]{8}(?![\w-])"
)

#: Random or counted ids; searched only in attributes, scripts and style sheets.
_ID: Final = (
    r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
    r"|(?<![0-9a-zA-Z])T_[0-9a-f]{5}(?![0-9a-f])"  # pandas.Styler
    r"|sk-(?:container|estimator)-id-\d+"  # scikit-learn
)

_KINDS: Final = {
    "ids": _ID,
    # The second alternative is the end of a shortened repr.
    "addresses": r"(?<=\bat )0x[0-9a-fA-F]{6,16}\b|(?<=\.\.\.)(?:0?x)?[0-9a-f]{8,16}(?=>)",
    "paths": rf"{_TEMPORARY_PATH}|(?<=/)ipykernel_\d+/\d+(?=\.py)|<ipython-input-\d+-[0-9a-f]{{6,40}}>",
    "counts": r"(?<=\bCell In\[)\d+(?=\])|(?<=\bIn \[)\d+(?=\])",
    "moments": MOMENT,
    "numbers": NUMBER,
}


def _pattern(*kinds: str) -> re.Pattern[str]:
    return re.compile("|".join(f"(?P<{kind}>{_KINDS[kind]})" for kind in kinds))


_IN_TEXT: Final = _pattern("addresses", "paths", "counts", "moments", "numbers")
_IN_CODE: Final = _pattern(*_KINDS)
_NUMBER: Final = re.compile(NUMBER)

_MONEY_BEFORE: Final = re.compile(r"[$€£¥₹][ \u00a0]?-?$|\b(?:USD|EUR|GBP|CHF|JPY|CNY|INR) ?$")
_MONEY_AFTER: Final = re.compile(r"[ \u00a0]?(?:[$€£¥₹]|(?:USD|EUR|GBP|CHF|JPY|CNY|INR)\b)")


def split_tokens(line: str, *, is_code: bool = False) -> tuple[list[str], list[tuple[str, str]]]:
    """Return the texts around the tokens of a line, and the tokens with their kinds; `is_code` includes ids."""
    texts, tokens, end = [], [], 0
    for match in (_IN_CODE if is_code else _IN_TEXT).finditer(line):
        texts.append(line[end : match.start()])
        tokens.append((match.lastgroup or "", match[0]))
        end = match.end()
    return [*texts, line[end:]], tokens


def compare_tokens(kind: str, old: str, new: str, terms: Terms) -> Verdict:
    """Compare two tokens of the same kind at the same position."""
    if kind in {"ids", "paths"}:
        is_known = terms.names.match(old, new)  # equal names count, too
        return "same" if old == new else "cosmetic" if is_known and terms.allow(kind) else "different"
    if old == new:
        return "same"
    if kind in {"addresses", "counts"}:
        return "cosmetic" if terms.allow(kind) else "different"
    if kind == "moments" and terms.allow("moments") and are_nows(old, new, terms):
        return "cosmetic"
    # A timestamp in seconds may also be an ordinary number.
    is_number = kind == "numbers" or (_NUMBER.fullmatch(old) and _NUMBER.fullmatch(new))
    return "drift" if is_number and is_close(old, new, terms.settings) else "different"


def is_money(before: str, after: str) -> bool:
    """Whether a number between two texts has a currency."""
    return bool(_MONEY_BEFORE.search(before[-8:]) or _MONEY_AFTER.match(after))
