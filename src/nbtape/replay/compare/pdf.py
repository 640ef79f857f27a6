"""Compare PDF files without the times at which they were made.

A PDF file also has such times, and ids, in compressed objects, which are not read: LaTeX compresses them by default.
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import TYPE_CHECKING, Final

from nbtape.replay.compare.settings import SAME, Judgement
from nbtape.replay.compare.timestamps import are_nows

if TYPE_CHECKING:
    from nbtape.replay.compare.settings import Terms

PDF: Final = "application/pdf"

#: Dates in the document information (PDF 32000-1, 14.3.3) and in XMP metadata.
_DATES: Final = re.compile(
    rb"(?<=/CreationDate \(D:)\d{14}[^()<>\\]{0,8}(?=\))|(?<=/ModDate \(D:)\d{14}[^()<>\\]{0,8}(?=\))"
    rb"|(?<=/CreationDate\(D:)\d{14}[^()<>\\]{0,8}(?=\))|(?<=/ModDate\(D:)\d{14}[^()<>\\]{0,8}(?=\))"
    rb"|(?<=Date>)\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[-+:Z\d]{0,6}(?=</xmp:)"
)

#: The ids of a file in its trailer (14.4), which are made of the time.
_IDS: Final = re.compile(rb"(?<=/ID)\s*\[\s*<[0-9a-fA-F]{0,64}>\s*<[0-9a-fA-F]{0,64}>\s*\]")


def compare_pdfs(old: str, new: str, terms: Terms) -> Judgement:
    """Compare two PDF files in base64: only times at which their cell ran, and ids beside those, may differ."""
    if old == new:
        return SAME
    left, right = _decode(old), _decode(new)
    if left is None or right is None or not terms.allow("moments"):
        return _DIFFERENT
    if left == right:
        return Judgement("cosmetic", "only the notation differs")
    times, other_times = (list(map(_readable, _DATES.findall(each))) for each in (left, right))
    if _without_times(left) != _without_times(right) or len(times) != len(other_times):
        return _DIFFERENT
    moved = [pair for pair in zip(times, other_times, strict=True) if pair[0] != pair[1]]
    if not moved or not all(are_nows(*pair, terms) for pair in moved):
        return _DIFFERENT
    return Judgement("cosmetic", "only the times at which the PDF was made differ")


_DIFFERENT: Final = Judgement("different", "the PDF differs")


def _decode(text: str) -> bytes | None:
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError):
        return None


def _without_times(content: bytes) -> bytes:
    return _IDS.sub(b"", _DATES.sub(b"", content))


def _readable(date: bytes) -> str:
    """A date as `timestamps` reads it: PDF writes the UTC offset as `+01'00'`."""
    return date.decode("ascii", "replace").replace("'", "")
