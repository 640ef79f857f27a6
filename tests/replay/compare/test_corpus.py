"""Recorded outputs of real libraries and their replays get the verdict that an analyst would give."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from nbtape.replay.compare.cell_outputs import judge
from nbtape.replay.compare.printed_text import compare_texts
from nbtape.replay.compare.settings import Context, Terms

if TYPE_CHECKING:
    from random import Random

CORPUS = Path(__file__).parent / "corpus"
MATCHES = ["same", "cosmetic", "drift", "same_error"]

#: The tolerated share of matching pairs that get another verdict.
FALSE_ALARMS = 0.03


@dataclass(frozen=True)
class Pair:
    """A cell's recorded and replayed outputs, and the expected verdict."""

    name: str
    recorded: dict[str, Any]
    replayed: dict[str, Any]
    verdict: str

    def judged(self) -> str:
        contexts = Context(**self.recorded["context"]), Context(**self.replayed["context"])
        return judge(self.recorded["outputs"], self.replayed["outputs"], *contexts).verdict


def pairs() -> list[Pair]:
    return [
        Pair(
            f"{entry['library']}: {entry['name']}: {replay['name']}",
            entry["recorded"],
            {"outputs": entry["recorded"]["outputs"], **replay},
            replay["verdict"],
        )
        for path in sorted(CORPUS.glob("*.json"))
        for entry in json.loads(path.read_text())
        for replay in entry["replays"]
    ]


PAIRS = pairs()


@pytest.mark.parametrize("pair", [pair for pair in PAIRS if pair.verdict not in MATCHES], ids=lambda pair: pair.name)
def test_pairs_that_differ_never_match(pair: Pair) -> None:
    assert pair.judged() == pair.verdict


def test_pairs_that_match_rarely_get_another_verdict(capsys: pytest.CaptureFixture[str]) -> None:
    matching = [pair for pair in PAIRS if pair.verdict in MATCHES]
    alarms = [f"{pair.name}: {got} for {pair.verdict}" for pair in matching if (got := pair.judged()) != pair.verdict]
    with capsys.disabled():
        # Print the rate even when it is within the limit.
        print(f"\n{len(PAIRS)} pairs, {len(matching)} match; false alarms: {len(alarms)}", *alarms, sep="\n")  # noqa: T201
    assert len(alarms) <= FALSE_ALARMS * len(matching)


def test_the_corpus_is_large_and_balanced() -> None:
    matching = sum(pair.verdict in MATCHES for pair in PAIRS)
    assert len(PAIRS) >= 200
    assert 0.4 <= matching / len(PAIRS) <= 0.6


TEXTS = [
    output["text"] if "text" in output else output["data"]["text/plain"]
    for pair in PAIRS
    if pair.verdict == "same" and pair.name.startswith(("pandas", "numpy", "python"))
    for output in pair.recorded["outputs"]
    if "text" in output or "text/plain" in output.get("data", {})
]


@given(st.sampled_from(TEXTS), st.randoms(use_true_random=False))
def test_an_integer_with_one_changed_digit_is_different(text: str, chance: Random) -> None:
    places = [match.start() for match in re.finditer(r"(?<![\w.+-])\d+(?![\w.])", text)]
    assume(places)
    place = chance.choice(places)
    digit = str((int(text[place]) + chance.randint(1, 9)) % 10)
    changed = text[:place] + digit + text[place + 1 :]
    assert compare_texts(text, changed, Terms()).verdict == "different"
