"""Compare two texts by lines and tokens."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from nbtape.common.terminal_text import StreamText
from nbtape.common.text import strip_escapes
from nbtape.replay.compare.durations import mask_blocks, mask_durations
from nbtape.replay.compare.progress_bars import settle_bars
from nbtape.replay.compare.set_order import sort_sets
from nbtape.replay.compare.settings import MAX_QUOTED_CHARS, SAME, Judgement, cut, is_worse, shown
from nbtape.replay.compare.tokens import compare_tokens, is_money, split_tokens

if TYPE_CHECKING:
    from nbtape.replay.compare.settings import Context, Terms, Verdict

# Longer texts and lines are compared only for equality.
_MAX_TEXT_CHARS: Final = 2_000_000
_MAX_LINE_CHARS: Final = 50_000
TOO_LONG: Final = "the texts differ and are too long to compare"

_INSTALLED: Final = re.compile(r"[^\s'\"<>(),:;=]{0,400}[/\\](?:site|dist)-packages[/\\]")
_STANDARD: Final = re.compile(r"[^\s'\"<>(),:;=]{0,400}(/lib/python3\.\d+/)(?=\w)")
#: The text that %%writefile prints before the name of its file.
_WROTE: Final = re.compile(r"^(?:Writing|Overwriting|Appending to) (?=\S)", re.MULTILINE)

#: Whitespace and horizontal rules in tables, whose lengths depend on the columns.
_GAPS: Final = re.compile(r"[ \t]+|-{3,}|={3,}|─{3,}|═{3,}|━{3,}")
#: Maximum growth of a gap, for example when a number gets a sign; an empty table cell makes a wider gap.
_MAX_GAP_GROWTH_CHARS: Final = 3
_REASONS: Final[dict[Verdict, str]] = {
    "cosmetic": "only values that change on every run differ",
    "drift": "numbers differ within the tolerance",
    "different": "the text differs",
}


def compare_texts(old: str, new: str, terms: Terms, *, is_code: bool = False) -> Judgement:
    """Compare a recorded and a replayed text; in code, such as scripts and attributes, ignore random ids."""
    if old == new and not is_code:
        return SAME
    if max(len(old), len(new)) > _MAX_TEXT_CHARS:
        return SAME if old == new else Judgement("different", TOO_LONG)
    left, right = _normalize(old, terms, terms.recorded), _normalize(new, terms, terms.replayed)
    return _Comparison(terms, is_code=is_code).compare(left, right, is_equal=old == new)


def collapse_stream(text: str) -> str:
    """Apply the carriage returns of a stream, as a terminal does."""
    stream = StreamText()
    for line in text.splitlines(keepends=True) if len(text) > _MAX_TEXT_CHARS else [text]:
        stream.write(line)
    return stream.getvalue()


def _normalize(text: str, terms: Terms, context: Context) -> list[str]:
    """Split a text into lines and remove parts that are never content; equal texts stay equal."""
    text = text.replace("⟦", "⟦⟦")  # masks are in these brackets
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
    if context.writes_file and terms.allow("files"):
        text = _WROTE.sub("⟦wrote⟧ ", text)
    if terms.allow("whitespace"):
        text = "\n".join(line.rstrip() for line in text.split("\n")).rstrip("\n")
    return text.split("\n")


class _Comparison:
    """One comparison of two texts and its result so far."""

    def __init__(self, terms: Terms, *, is_code: bool) -> None:
        self._terms = terms
        self._is_code = is_code
        self._moved = False  # whether a token differs
        self._reflowed = ""  # the first line in which whitespace differs
        self._found: Judgement = SAME

    def compare(self, old: list[str], new: list[str], *, is_equal: bool) -> Judgement:
        if len(old) != len(new):
            return self._compare_lengths(old, new)
        for left, right in zip(old, new, strict=True):
            if left != right or self._is_code:
                self._compare_line(left, right)
                if self._found.verdict == "different":
                    return self._found
        if self._reflowed and not self._moved:
            return Judgement("different", f"only whitespace differs: {self._reflowed}")
        if self._found is SAME and not is_equal:
            return Judgement("cosmetic", _REASONS["cosmetic"])
        return self._found

    def _compare_lengths(self, old: list[str], new: list[str]) -> Judgement:
        """Report the first differing line of two texts with different numbers of lines."""
        for left, right in zip(old, new, strict=False):
            self._compare_line(left, right)
            if self._found.verdict == "different":
                return Judgement("different", f"{len(old)} lines became {len(new)}, {self._found.reason}")
        extra = f"+ {cut(new[len(old)])}" if len(new) > len(old) else f"- {cut(old[len(new)])}"
        return Judgement("different", f"{len(old)} lines became {len(new)}: {extra}")

    def _compare_line(self, old: str, new: str) -> None:
        if max(len(old), len(new)) > _MAX_LINE_CHARS:
            if old != new:
                self._record("different", old, new)
            return
        left, right = self._mask(old, self._terms.recorded), self._mask(new, self._terms.replayed)
        if left == right and not self._is_code:
            self._record("cosmetic" if old != new else "same", old, new)
            self._moved = True
        else:
            self._compare_tokens(left, right, old, new)

    def _mask(self, line: str, context: Context) -> str:
        if self._terms.allow("durations"):
            line = mask_durations(line)
        if self._terms.allow("paths"):
            line = _mask_paths(line, context)
        extra = self._terms.settings.extra
        return self._terms.patterns.mask(extra, line) if extra else line

    def _compare_tokens(self, left: str, right: str, old: str, new: str) -> None:
        texts, tokens = split_tokens(left, is_code=self._is_code)
        other_texts, other_tokens = split_tokens(right, is_code=self._is_code)
        kinds, other_kinds = ([kind for kind, _ in each] for each in (tokens, other_tokens))
        if kinds != other_kinds or not self._are_equal_texts(texts, other_texts):
            self._record("different", old, new)
            return
        self._record("cosmetic" if old != new and tokens == other_tokens else "same", old, new)
        for position, ((kind, token), (_, other)) in enumerate(zip(tokens, other_tokens, strict=True)):
            verdict = compare_tokens(kind, token, other, self._terms)
            if verdict == "drift" and is_money(texts[position], texts[position + 1]):
                verdict = "different"
            self._moved |= verdict != "same"
            self._record(verdict, old, new)

    def _are_equal_texts(self, old: list[str], new: list[str]) -> bool:
        """Whether the texts around tokens are equal except for whitespace."""
        for left, right in zip(old, new, strict=True):
            if left != right:
                if not _is_reflowed(left, right):
                    return False
                self._reflowed = self._reflowed or shown("a line", left, right)
        return True

    def _record(self, verdict: Verdict, old: str, new: str) -> None:
        if is_worse(verdict, self._found.verdict):
            self._found = Judgement(verdict, shown(_REASONS[verdict], *_around(old, new)))


def _is_reflowed(old: str, new: str) -> bool:
    """Whether two texts differ only in the widths of gaps, and none grew enough to hide an empty column."""
    if _GAPS.sub(_gap, old).strip() != _GAPS.sub(_gap, new).strip():
        return False
    gaps = max(1, len(_GAPS.findall(old)), len(_GAPS.findall(new)))
    blanks, new_blanks = (text.count(" ") + text.count("\t") for text in (old, new))
    return abs(blanks - new_blanks) <= _MAX_GAP_GROWTH_CHARS * gaps


def _gap(match: re.Match[str]) -> str:
    return " " if match[0][0] in " \t" else match[0][:3]


def _mask_paths(line: str, context: Context) -> str:
    for part, original in context.moved:
        line = line.replace(part, original)
    if "-packages" in line:
        line = _INSTALLED.sub("⟦packages⟧", line)
    if "/lib/python3" in line:
        line = _STANDARD.sub(r"⟦python⟧\1", line)
    if len(directory := context.directory.rstrip("/")) > 1:
        line = re.sub(r"(?<![\w.])" + re.escape(directory) + r"(?![\w.-])", ".", line)
    return line


def _around(old: str, new: str) -> tuple[str, str]:
    """Shorten two lines to start shortly before their first difference."""
    if max(len(old), len(new)) <= MAX_QUOTED_CHARS:
        return old, new
    first = next((at for at, (left, right) in enumerate(zip(old, new, strict=False)) if left != right), 0)
    start = max(0, first - 30)
    return old[start:], new[start:]
