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

_UUID: Final = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"

#: Suffixes of files that pages load.
_SUFFIXES: Final = (
    r"css|csv|gif|gz|html?|ico|ipynb|jpe?g|js|json|mjs|mp4|otf|parquet|pdf|png|svg|ttf|txt|wasm|webp|woff2?|zip"
)

#: Random or counted ids; searched only in attributes, scripts and style sheets.
_ID: Final = (
    rf"(?<![0-9a-zA-Z])el\d{{1,10}}{_UUID}\d{{0,20}}"  # mpld3: a process id, a random name and another number
    rf"|{_UUID}|{_UUID.replace('}-', '}_')}"
    # A random UUID without dashes, recognized by its version 4 and its variant; an MD5 hash has them in one case of 64.
    r"|(?<![0-9a-f]{2})[0-9a-f]{12}4[0-9a-f]{3}[89ab][0-9a-f]{15}(?![0-9a-f]{2})"
    # 16 random bytes after a name, as in folium's `map_…`, but not in the name of a file.
    rf"|(?<=[A-Za-z][_-])[0-9a-f]{{32}}(?![0-9a-zA-Z])(?!\.(?:{_SUFFIXES})\b)"
    r"|(?<![0-9a-zA-Z])el\d{14,40}"  # mpld3 before 0.5.11: a process id and an address
    r"|(?<![0-9a-zA-Z])T_[0-9a-f]{5}(?![0-9a-f])"  # pandas.Styler
    r"|sk-(?:container|estimator)-id-\d+"  # scikit-learn
)

#: Random ids in the reprs of IPython's display handles and of plotly's figure widgets.
_NAMED_ID: Final = rf"(?<=\bdisplay_id=)[0-9a-f]{{32}}(?=>)|(?<='uid': '){_UUID}(?=')"

_ADDRESS: Final = (
    r"(?<=\bat )0x[0-9a-fA-F]{6,16}\b"
    # IPython's results of `run_cell`: without "0x", but with a letter or as long as addresses in 64 bits are.
    r"|(?<=\bobject at )(?=[0-9]{0,15}[a-f]|[0-9]{9})[0-9a-f]{7,16}(?=>|, \w+=)"
    r"|(?<=, started )\d{4,20}(?=\)>)|(?<=, started daemon )\d{4,20}(?=\)>)"  # threads
    r"|(?<=\.\.\.)(?:0?x)?[0-9a-f]{8,16}(?=>)"  # the end of a shortened repr
)

_KINDS: Final = {
    "ids": _ID,
    "named_ids": _NAMED_ID,
    "addresses": _ADDRESS,
    "paths": rf"{_TEMPORARY_PATH}|(?<=/)ipykernel_\d+/\d+(?=\.py)|<ipython-input-\d+-[0-9a-f]{{6,40}}>",
    "counts": r"(?<=\bCell In\[)\d+(?=\])|(?<=\bIn \[)\d+(?=\])",
    "moments": MOMENT,
    "numbers": NUMBER,
}


def _pattern(*kinds: str) -> re.Pattern[str]:
    return re.compile("|".join(f"(?P<{kind}>{_KINDS[kind]})" for kind in kinds))


_IN_TEXT: Final = _pattern("named_ids", "addresses", "paths", "counts", "moments", "numbers")
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
    if kind in {"ids", "named_ids", "paths"}:
        is_known = terms.names.match(old, new)  # equal names count, too: another one may have become this one
        is_allowed = old == new or terms.allow("paths" if kind == "paths" else "ids")
        return "different" if not (is_known and is_allowed) else "same" if old == new else "cosmetic"
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
