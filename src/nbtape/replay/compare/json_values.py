"""Compare two JSON values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from nbtape.replay.compare.numbers import is_close
from nbtape.replay.compare.printed_text import compare_texts
from nbtape.replay.compare.settings import SAME, Judgement, cut, shown, worst

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nbtape.replay.compare.settings import Terms

_MAX_VALUES: Final = 2_000_000

#: Keys of random ids: plotly's traces, models of widgets.
_RANDOM_KEYS: Final = frozenset({"uid", "model_id"})


class _Pair(NamedTuple):
    """Two values at the same position, with the nearest key above."""

    old: object
    new: object
    key: str


def compare_structures(old: object, new: object, terms: Terms) -> Judgement:
    """Compare two JSON values of any depth, without recursion."""
    return worst(_differences(old, new, terms))


def _differences(old: object, new: object, terms: Terms) -> Iterator[Judgement]:
    pairs = [_Pair(old, new, "")]
    count = 0
    while pairs:
        count += 1
        if count > _MAX_VALUES:
            yield Judgement("different", "the data are too large to compare")
            return
        pair = pairs.pop()
        if isinstance(pair.old, dict) and isinstance(pair.new, dict):
            yield from _dicts(pair.old, pair.new, pairs)
        elif isinstance(pair.old, list) and isinstance(pair.new, list):
            yield from _lists(pair, pairs)
        else:
            yield _scalars(pair, terms)


def _dicts(old: dict[object, object], new: dict[object, object], pairs: list[_Pair]) -> Iterator[Judgement]:
    if old.keys() != new.keys():
        missing, more = (sorted(map(str, keys)) for keys in (old.keys() - new.keys(), new.keys() - old.keys()))
        yield Judgement("different", shown("keys of the data", missing, more))
        return
    pairs += [_Pair(old[key], new[key], str(key)) for key in reversed(old)]


def _lists(pair: _Pair, pairs: list[_Pair]) -> Iterator[Judgement]:
    old, new, key = pair
    assert isinstance(old, list)
    assert isinstance(new, list)
    if len(old) != len(new):
        yield Judgement("different", f"{cut(key) or 'the list'}: {len(old)} items became {len(new)}")
        return
    pairs += [_Pair(left, right, key) for left, right in zip(reversed(old), reversed(new), strict=True)]


def _scalars(pair: _Pair, terms: Terms) -> Judgement:
    old, new, key = pair
    if isinstance(old, str) and isinstance(new, str):
        if key in _RANDOM_KEYS and terms.allow("ids"):
            known = terms.names.match(f"{key}:{old}", f"{key}:{new}")
            return SAME if old == new else Judgement("cosmetic" if known else "different", shown(key, old, new))
        return compare_texts(old, new, terms)
    if old == new and isinstance(old, bool) == isinstance(new, bool):
        return SAME
    if isinstance(old, float) and isinstance(new, float):
        if repr(old) == repr(new):
            return SAME  # not a number, both times
        if is_close(repr(old), repr(new), terms.settings):
            return Judgement("drift", shown(cut(key) or "a number", old, new))
    return Judgement("different", shown(cut(key) or "the data", old, new))
