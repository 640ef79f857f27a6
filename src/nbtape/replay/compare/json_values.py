"""Compare two JSON values."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from nbtape.replay.compare.numbers import is_close
from nbtape.replay.compare.printed_text import compare_texts
from nbtape.replay.compare.settings import SAME, Judgement, cut, shown, worst

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nbtape.replay.compare.settings import Terms

_MAX_VALUES: Final = 2_000_000

#: Keys of random ids: plotly's traces, models of widgets.
_RANDOM_KEYS: Final = frozenset({"uid", "model_id"})

#: What only scripts and pages have, as bokeh and HoloViews send them in JSON.
_SCRIPT: Final = re.compile(
    r"<script\b|\bfunction\s{0,9}\w{0,80}\([^()]{0,200}\)\s{0,9}\{|\bdocument\.(?:getElementById|querySelector|createElement)\("
)


def compare_structures(old: object, new: object, terms: Terms) -> Judgement:
    """Compare two JSON values of any depth, without recursion. Random ids in scripts do not count."""
    return worst(_differences(old, new, terms))


def _differences(old: object, new: object, terms: Terms) -> Iterator[Judgement]:
    pairs = [("", old, new)]  # with the closest enclosing key
    for _ in range(_MAX_VALUES):
        if not pairs:
            return
        key, left, right = pairs.pop()
        if isinstance(left, dict) and isinstance(right, dict):
            if left.keys() != right.keys():
                missing, more = (
                    sorted(map(str, keys)) for keys in (left.keys() - right.keys(), right.keys() - left.keys())
                )
                yield Judgement("different", shown("the keys of the data differ", missing, more))
                return
            pairs += [(str(name), left[name], right[name]) for name in reversed(left)]
        elif isinstance(left, list) and isinstance(right, list):
            if len(left) != len(right):
                yield Judgement("different", f"{cut(key) or 'the list'}: {len(left)} items became {len(right)}")
                return
            pairs += [(key, *pair) for pair in zip(reversed(left), reversed(right), strict=True)]
        else:
            yield _compare_scalars(key, left, right, terms)
    if pairs:
        yield Judgement("different", "the data is too large to compare")


def _compare_scalars(key: str, old: object, new: object, terms: Terms) -> Judgement:
    if isinstance(old, str) and isinstance(new, str):
        if key in _RANDOM_KEYS and terms.allow("ids"):
            known = terms.names.match(f"{key}:{old}", f"{key}:{new}")
            return (
                SAME if known and old == new else Judgement("cosmetic" if known else "different", shown(key, old, new))
            )
        is_code = bool(_SCRIPT.search(old) and _SCRIPT.search(new))
        return compare_texts(old, new, terms, is_code=is_code)
    if old == new and isinstance(old, bool) == isinstance(new, bool):
        return SAME
    if isinstance(old, float) and isinstance(new, float):
        if repr(old) == repr(new):
            return SAME  # both are NaN
        if is_close(repr(old), repr(new), terms.settings):
            return Judgement("drift", shown(cut(key) or "a number", old, new))
    return Judgement("different", shown(cut(key) or "the data", old, new))
