"""Compare HTML or SVG by elements, attributes and text."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Final, NamedTuple

from nbtape.replay.compare.printed_text import compare_texts
from nbtape.replay.compare.settings import SAME, Judgement, shown, worst

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lxml.etree import _Element

    from nbtape.replay.compare.settings import Terms

_MAX_MARKUP_CHARS: Final = 2_000_000

#: Maximum characters between two "<", without quoted values: libxml2 takes minutes for a tag with too many attributes.
_MAX_TAG_CHARS: Final = 60_000
_QUOTED: Final = re.compile(r"\"[^\"]*\"|'[^']*'")

#: Maximum nesting of documents in the attribute `srcdoc` of frames.
_MAX_FRAMES: Final = 3

#: Elements with code, and those whose whitespace is significant.
_CODE: Final = frozenset({"script", "style"})
_VERBATIM: Final = frozenset({"pre", "textarea", "script", "style"})

#: Attributes that are content; others are code.
_CONTENT_ATTRIBUTES: Final = frozenset({"href", "src", "alt", "title", "value", "placeholder", "content"})

#: SVG attributes with coordinates and lengths, and their relative tolerance, which is not visible.
_COORDINATES: Final = frozenset({"d", "points", "x", "y", "x1", "x2", "y1", "y2", "cx", "cy", "r", "width", "height"})
_COORDINATE_TOLERANCE: Final = 1e-4

_REFERENCE: Final = re.compile(r"url\(#([^)\s]{1,200})\)|^#(\S{1,200})$")


class _Part(NamedTuple):
    """A part of a document. Its kind, such as a tag or an attribute's name, must be equal on both sides."""

    kind: str
    value: str = ""
    is_code: bool = False
    is_coordinate: bool = False

    def __str__(self) -> str:
        return f"{self.kind} {self.value}"


def compare_html(old: str, new: str, terms: Terms) -> Judgement:
    """Compare two HTML texts, even if they are malformed."""
    return _compare(old, new, terms, is_svg=False)


def compare_svg(old: str, new: str, terms: Terms) -> Judgement:
    """Compare two SVG images, ignoring ids and metadata, which matplotlib changes each time."""
    return _compare(old, new, terms, is_svg=True)


def _compare(old: str, new: str, terms: Terms, *, is_svg: bool) -> Judgement:
    if old == new:
        return SAME
    if is_costly(old) or is_costly(new) or not (terms.allow("whitespace") and terms.allow("ids")):
        return compare_texts(old, new, terms)
    left, right = _parse(old, is_svg=is_svg), _parse(new, is_svg=is_svg)
    if left is None or right is None:
        return compare_texts(old, new, terms)
    judgement = worst(_differences(left, right, terms))
    return Judgement("cosmetic", "only the notation differs") if judgement is SAME else judgement


def is_costly(text: str) -> bool:
    """Whether markup is too large to parse."""
    if len(text) > _MAX_MARKUP_CHARS:
        return True
    return any(len(_QUOTED.sub("", part)) > _MAX_TAG_CHARS for part in text.split("<") if len(part) > _MAX_TAG_CHARS)


def _differences(old: list[_Part], new: list[_Part], terms: Terms) -> Iterator[Judgement]:
    relative = max(terms.settings.relative, _COORDINATE_TOLERANCE)
    drawn = replace(terms, settings=replace(terms.settings, relative=relative))
    for left, right in zip(old, new, strict=False):
        if left.kind != right.kind:
            yield Judgement("different", shown("the markup differs", str(left), str(right)))
            return
        yield compare_texts(left.value, right.value, drawn if left.is_coordinate else terms, is_code=left.is_code)
    if len(old) != len(new):
        more = (old[len(new) :] or new[len(old) :])[0]
        yield Judgement("different", f"{len(old)} parts of the markup became {len(new)}: {more}")


def _parse(text: str, *, is_svg: bool, frames: int = 0) -> list[_Part] | None:
    """Parse a document inside of `frames` others; None if it has no root element or is not XML."""
    from lxml import etree

    parser: etree.XMLParser | etree.HTMLParser = (
        etree.XMLParser(no_network=True, resolve_entities=False, load_dtd=False, remove_comments=True, remove_pis=True)
        if is_svg
        else etree.HTMLParser(no_network=True, encoding="utf-8", remove_comments=True)
    )
    try:
        root = etree.fromstring(text.encode("utf-8", "replace"), parser)
    except (etree.LxmlError, ValueError):
        return None
    if root is None:  # an empty document
        return None
    return list(_parts(root, _numbered_ids(root) if is_svg else {}, frames))


def _numbered_ids(root: _Element) -> dict[str, str]:
    """Replacements for the ids of a document: their numbers in document order."""
    ids = dict.fromkeys(element.get("id") for element in root.iter() if element.get("id"))
    return {str(name): f"id{place}" for place, name in enumerate(ids)}


def _parts(root: _Element, new_ids: dict[str, str], frames: int) -> Iterator[_Part]:
    """Split a document into parts without recursion, because it may be deeply nested."""
    stack: list[tuple[_Element, bool]] = [(root, False)]
    verbatim = 0
    while stack:
        element, is_left = stack.pop()
        tag = _tag(element)
        if is_left:
            verbatim -= tag in _VERBATIM
            yield _Part(f"</{tag}>")
        elif tag not in {"metadata", ""}:
            verbatim += tag in _VERBATIM
            yield _Part(f"<{tag}>")
            yield from _attributes(element, new_ids, frames)
            yield from _text(element.text, tag, verbatim=bool(verbatim))
            stack.append((element, True))
            stack += [(child, False) for child in reversed(element)]
            continue
        yield from _text(element.tail, "", verbatim=bool(verbatim))


def _tag(element: _Element) -> str:
    """The tag without its namespace; empty for comments, entities and processing instructions."""
    return element.tag.rpartition("}")[2] if isinstance(element.tag, str) else ""


def _attributes(element: _Element, new_ids: dict[str, str], frames: int) -> Iterator[_Part]:
    for name, value in sorted((str(name), str(value)) for name, value in element.attrib.items()):
        short = name.rpartition("}")[2]
        if short == "srcdoc" and (frame := _parse_frame(value, frames + 1)) is not None:
            yield from [_Part("frame"), *frame, _Part("/frame")]
            continue
        if new_ids:
            value = new_ids.get(value, value) if short == "id" else _replace_ids(value, new_ids)  # noqa: PLW2901
        is_code = short not in _CONTENT_ATTRIBUTES or value.startswith("#")
        yield _Part(f"attribute {short}", value, is_code, bool(new_ids) and short in _COORDINATES)


def _parse_frame(text: str, frames: int) -> list[_Part] | None:
    """Parse the document in a frame; None if that costs too much."""
    if frames > _MAX_FRAMES or is_costly(text):
        return None
    return _parse(text, is_svg=False, frames=frames)


def _replace_ids(value: str, new_ids: dict[str, str]) -> str:
    """Replace the ids that an attribute refers to."""
    return _REFERENCE.sub(lambda match: f"#{new_ids.get(match[1] or match[2], match[1] or match[2])}", value)


def _text(text: str | None, tag: str, *, verbatim: bool) -> Iterator[_Part]:
    if not text or not text.strip():
        return
    yield _Part("text", text if verbatim else " ".join(text.split()), is_code=tag in _CODE)
