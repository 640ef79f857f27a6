"""What in a line may change without a change of what it says, and whether it did: one token beside another."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from nbtape.replay.compare.numbers import NUMBER, is_close
from nbtape.replay.compare.timestamps import MOMENT, are_nows

if TYPE_CHECKING:
    from nbtape.replay.compare.settings import Rule, Terms, Verdict

#: Where Python's tempfile makes its names, and what they are: `tmp` and eight characters.
_TEMPORARY_PATH: Final = (
    r"(?:(?<![\w/])/tmp/|/var/tmp/|/var/folders/[\w+]{2}/[\w+]{1,60}/T/|\\Temp\\)"
    r"tmp(?!_[a-z]{7}(?![a-z0-9_]))[a-z0-9_]{8}(?![\w-])"
)

#: Ids that libraries draw by chance or count up; only looked for in attributes, scripts and style sheets.
_ID: Final = (
    r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
    r"|(?<![0-9a-zA-Z])T_[0-9a-f]{5}(?![0-9a-f])"  # pandas.Styler
    r"|sk-(?:container|estimator)-id-\d+"  # scikit-learn
)

_KINDS: Final = {
    "ids": _ID,
    # The second is the end of a repr that was cut in its middle.
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
#: Seconds since 1970 look like any number.
_NUMBER: Final = re.compile(NUMBER)

_MONEY_BEFORE: Final = re.compile(r"[$€£¥₹][ \u00a0]?-?$|\b(?:USD|EUR|GBP|CHF|JPY|CNY|INR) ?$")
_MONEY_AFTER: Final = re.compile(r"[ \u00a0]?(?:[$€£¥₹]|(?:USD|EUR|GBP|CHF|JPY|CNY|INR)\b)")


def split_tokens(line: str, *, is_code: bool = False) -> tuple[list[str], list[tuple[str, str]]]:
    """The tokens of a line, each with its kind, and the texts around them, one more.

    Args:
        line: A line, or any other text.
        is_code: Whether nobody reads it, as an attribute of HTML: ids are looked for there.
    """
    texts, tokens, end = [], [], 0
    for match in (_IN_CODE if is_code else _IN_TEXT).finditer(line):
        texts.append(line[end : match.start()])
        tokens.append((match.lastgroup or "", match[0]))
        end = match.end()
    return [*texts, line[end:]], tokens


def compare_tokens(kind: str, old: str, new: str, terms: Terms) -> Verdict:
    """What is said of two tokens of one kind at the same place of two texts."""
    if kind in {"ids", "paths"}:
        # Also where they are equal: another one in the place of one that was seen is a difference.
        known = terms.names.match(old, new)
        return "same" if old == new else "cosmetic" if known and _allows(kind, terms) else "different"
    if old == new:
        return "same"
    if kind in {"addresses", "counts"}:
        return "cosmetic" if _allows(kind, terms) else "different"
    if kind == "moments" and terms.allow("moments") and are_nows(old, new, terms):
        return "cosmetic"
    is_number = kind == "numbers" or (_NUMBER.fullmatch(old) and _NUMBER.fullmatch(new))
    return "drift" if is_number and is_close(old, new, terms.settings) else "different"


def _allows(kind: str, terms: Terms) -> bool:
    rules: dict[str, Rule] = {"ids": "ids", "paths": "paths", "addresses": "addresses", "counts": "counts"}
    return terms.allow(rules[kind])


def is_money(before: str, after: str) -> bool:
    """Whether a number between two texts is an amount of money."""
    return bool(_MONEY_BEFORE.search(before[-8:]) or _MONEY_AFTER.match(after))
