"""Two texts: line beside line, token beside token."""

from __future__ import annotations

import re
from itertools import zip_longest
from typing import TYPE_CHECKING, Final

from nbtape.common.terminal_text import StreamText
from nbtape.common.text import strip_escapes
from nbtape.replay.compare.durations import mask_blocks, mask_durations
from nbtape.replay.compare.progress_bars import settle_bars
from nbtape.replay.compare.set_order import sort_sets
from nbtape.replay.compare.settings import SAME, Judgement, cut, shown
from nbtape.replay.compare.tokens import compare_tokens, is_money, split_tokens

if TYPE_CHECKING:
    from nbtape.replay.compare.settings import Context, Terms, Verdict

#: Longer texts, and longer lines of any, are equal or different (characters).
LONGEST: Final = 2_000_000
_LONGEST_LINE: Final = 50_000

_INSTALLED: Final = re.compile(r"[^\s'\"<>(),:;=]{0,400}[/\\](?:site|dist)-packages[/\\]")
_STANDARD: Final = re.compile(r"[^\s'\"<>(),:;=]{0,400}(/lib/python3\.\d+/)(?=\w)")
#: Runs of blanks and of the strokes that tables are ruled with: columns are as wide as what is in them.
_GAPS: Final = re.compile(r"[ \t]+|-{3,}|={3,}|─{3,}|═{3,}|━{3,}")
#: By how much a gap may be wider than it was (characters): a number got a sign or a place, and no cell became empty.
_WIDER: Final = 3
_REASONS: Final[dict[Verdict, str]] = {
    "cosmetic": "only what never repeats differs",
    "drift": "numbers moved within tolerance",
    "different": "the text differs",
}


def compare_texts(old: str, new: str, terms: Terms, *, is_code: bool = False) -> Judgement:
    """What is said of two texts.

    Args:
        old: The recorded one.
        new: The replayed one.
        terms: On what terms.
        is_code: Whether nobody reads it, as a script or an attribute of HTML: random ids never count there.
    """
    if old == new and not is_code:
        return SAME
    if max(len(old), len(new)) > LONGEST:
        return SAME if old == new else Judgement("different", "the texts differ and are too long to compare")
    return _Comparison(terms, is_code=is_code).compare(_settled(old, terms), _settled(new, terms), is_equal=old == new)


def collapse_stream(text: str) -> str:
    """A stream as a terminal leaves it, carriage returns obeyed."""
    stream = StreamText()
    for line in text.splitlines(keepends=True) if len(text) > LONGEST else [text]:
        stream.write(line)
    return stream.getvalue()


def _settled(text: str, terms: Terms) -> list[str]:
    """The lines of a text without what is never content, in a way that keeps equal texts equal."""
    # Our own marks stand in these brackets.
    text = text.replace("⟦", "⟦⟦")
    if terms.allow("whitespace"):
        text = text.replace("\r\n", "\n")
    if terms.allow("progress"):
        text = settle_bars(text)
    if terms.allow("colours"):
        text = strip_escapes(text)
    if terms.allow("sets"):
        text = sort_sets(text)
    if terms.allow("durations"):
        text = mask_blocks(text)
    if terms.allow("whitespace"):
        text = "\n".join(line.rstrip() for line in text.split("\n")).rstrip("\n")
    return text.split("\n")


class _Comparison:
    """One comparison of two texts, and what was found so far."""

    def __init__(self, terms: Terms, *, is_code: bool) -> None:
        self._terms = terms
        self._is_code = is_code
        self._moved = False  # whether a token differs
        self._reflowed = ""  # the first line in which blanks differ
        self._found: Judgement = SAME

    def compare(self, old: list[str], new: list[str], *, is_equal: bool) -> Judgement:
        if len(old) != len(new):
            return self._other_lines(old, new)
        for left, right in zip(old, new, strict=True):
            if left != right or self._is_code:
                self._line(left, right)
                if self._found.verdict == "different":
                    return self._found
        if self._reflowed and not self._moved:
            return Judgement("different", f"only blanks differ: {self._reflowed}")
        if self._found is SAME and not is_equal:
            return Judgement("cosmetic", _REASONS["cosmetic"])
        return self._found

    def _other_lines(self, old: list[str], new: list[str]) -> Judgement:
        """Lines are missing or too many: shown is the first that is none of the other side's."""
        for left, right in zip_longest(old, new):
            if left is None or right is None:
                break
            before, self._found = self._found, SAME
            self._line(left, right)
            if self._found.verdict == "different":
                return Judgement("different", f"{len(old)} lines became {len(new)}, {self._found.reason}")
            self._found = before
        more = new[len(old) :] or old[len(new) :]
        sign = "+" if len(new) > len(old) else "-"
        return Judgement("different", f"{len(old)} lines became {len(new)}: {sign} {cut(more[0])}")

    def _line(self, old: str, new: str) -> None:
        if max(len(old), len(new)) > _LONGEST_LINE:
            if old != new:
                self._find("different", old, new)
            return
        left, right = (
            self._masked(line, at) for line, at in ((old, self._terms.recorded), (new, self._terms.replayed))
        )
        if left == right and not self._is_code:
            self._find("cosmetic" if old != new else "same", old, new)
            self._moved = True
        else:
            self._tokens(left, right, old, new)

    def _masked(self, line: str, context: Context) -> str:
        if self._terms.allow("durations"):
            line = mask_durations(line)
        if self._terms.allow("paths"):
            line = _mask_paths(line, context.directory)
        for pattern in self._terms.settings.extra:
            line = re.sub(pattern, "⟦extra⟧", line)
        return line

    def _tokens(self, left: str, right: str, old: str, new: str) -> None:
        (texts, tokens), (other_texts, other_tokens) = (
            split_tokens(line, is_code=self._is_code) for line in (left, right)
        )
        if [kind for kind, _ in tokens] != [kind for kind, _ in other_tokens] or not self._texts(texts, other_texts):
            self._find("different", old, new)
            return
        self._find("cosmetic" if old != new and tokens == other_tokens else "same", old, new)
        for position, ((kind, token), (_, other)) in enumerate(zip(tokens, other_tokens, strict=True)):
            verdict = compare_tokens(kind, token, other, self._terms)
            if verdict == "drift" and is_money(texts[position], texts[position + 1]):
                verdict = "different"
            self._moved |= verdict != "same"
            self._find(verdict, old, new)

    def _texts(self, old: list[str], new: list[str]) -> bool:
        """Whether the texts around tokens are equal but for blanks."""
        for left, right in zip(old, new, strict=True):
            if left != right:
                if not _is_reflowed(left, right):
                    return False
                self._reflowed = self._reflowed or shown("a line", left, right)
        return True

    def _find(self, verdict: Verdict, old: str, new: str) -> None:
        order = ("same", "cosmetic", "drift", "different")
        if order.index(verdict) > order.index(self._found.verdict):
            self._found = Judgement(verdict, shown(_REASONS[verdict], *_around(old, new)))


def _is_reflowed(old: str, new: str) -> bool:
    """Whether two texts are equal but for the widths of gaps, none so much wider that it skips a column."""
    if _GAPS.sub(_gap, old).strip() != _GAPS.sub(_gap, new).strip():
        return False
    gaps = max(1, len(_GAPS.findall(old)), len(_GAPS.findall(new)))
    return abs(_blanks(old) - _blanks(new)) <= _WIDER * gaps


def _blanks(text: str) -> int:
    return text.count(" ") + text.count("\t")


def _gap(match: re.Match[str]) -> str:
    return " " if match[0][0] in " \t" else match[0][:3]


def _mask_paths(line: str, directory: str) -> str:
    if "-packages" in line:
        line = _INSTALLED.sub("⟦packages⟧", line)
    if "/lib/python3" in line:
        line = _STANDARD.sub(r"⟦python⟧\1", line)
    if len(directory.rstrip("/")) > 1:
        line = re.sub(re.escape(directory.rstrip("/")) + r"(?![\w.-])", ".", line)
    return line


def _around(old: str, new: str) -> tuple[str, str]:
    """Two long lines, from shortly before they differ."""
    if max(len(old), len(new)) <= 80:  # noqa: PLR2004  (what `cut` keeps)
        return old, new
    first = next((at for at, (left, right) in enumerate(zip(old, new, strict=False)) if left != right), 0)
    start = max(0, first - 30)
    return old[start:], new[start:]
