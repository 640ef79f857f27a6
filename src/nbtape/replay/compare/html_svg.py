"""Two texts in HTML or SVG: element beside element, as they are read and not as they are written."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Final, NamedTuple

from nbtape.replay.compare.printed_text import compare_texts
from nbtape.replay.compare.settings import SAME, Judgement, shown, worst

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from lxml.etree import HTMLParser, XMLParser, _Element

    from nbtape.replay.compare.settings import Terms

#: Longer markup is compared as text (characters).
_LONGEST: Final = 2_000_000

#: Markup with more than this between two tags, quoted values apart, may be one tag with so many attributes that
#: libxml2 takes minutes for it, and is compared as text (characters).
_DENSE: Final = 60_000
_QUOTED: Final = re.compile(r"\"[^\"]*\"|'[^']*'")

#: Elements whose text nobody reads, and those whose blanks count.
_CODE: Final = frozenset({"script", "style"})
_VERBATIM: Final = frozenset({"pre", "textarea", "script", "style"})

#: Attributes that say something: where a link leads, what a picture shows, what a field holds.
_READ: Final = frozenset({"href", "src", "alt", "title", "value", "placeholder", "content"})

#: Attributes of SVG that hold lengths and places in the picture, and by how much of itself each may move: by less
#: than anybody sees, as pixels may.
_PLACES: Final = frozenset({"d", "points", "x", "y", "x1", "x2", "y1", "y2", "cx", "cy", "r", "width", "height"})
_MOVED: Final = 1e-4

_REFERENCE: Final = re.compile(r"url\(#([^)\s]{1,200})\)|^#(\S{1,200})$")


class _Part(NamedTuple):
    """A part of a document, in its order.

    Args:
        kind: What has to be equal on both sides: a tag, the end of one, the name of an attribute.
        value: A text or the value of an attribute.
        is_code: Whether nobody reads the value.
        is_place: Whether it says where something is drawn.
    """

    kind: str
    value: str = ""
    is_code: bool = False
    is_place: bool = False


def compare_html(old: str, new: str, terms: Terms) -> Judgement:
    """What is said of two texts in HTML, whatever they are: libxml2 reads everything."""
    return _compare(old, new, terms, _html_parts)


def compare_svg(old: str, new: str, terms: Terms) -> Judgement:
    """What is said of two pictures in SVG: ids and metadata do not count, for matplotlib draws and dates them anew."""
    return _compare(old, new, terms, _svg_parts)


def _compare(old: str, new: str, terms: Terms, read: Callable[[str], list[_Part] | None]) -> Judgement:
    if old == new:
        return SAME
    if is_costly(old) or is_costly(new) or not (terms.allow("whitespace") and terms.allow("ids")):
        return compare_texts(old, new, terms)
    left, right = read(old), read(new)
    if left is None or right is None:
        return compare_texts(old, new, terms)
    judgement = worst(_differences(left, right, terms))
    return Judgement("cosmetic", "only written otherwise") if judgement is SAME else judgement


def is_costly(text: str) -> bool:
    if len(text) > _LONGEST:
        return True
    return any(len(_QUOTED.sub("", part)) > _DENSE for part in text.split("<") if len(part) > _DENSE)


def _differences(old: list[_Part], new: list[_Part], terms: Terms) -> Iterator[Judgement]:
    relative = max(terms.settings.relative, _MOVED)
    drawn = replace(terms, settings=replace(terms.settings, relative=relative))
    for left, right in zip(old, new, strict=False):
        if left.kind != right.kind:
            yield Judgement("different", shown("the markup differs", _told(left), _told(right)))
            return
        yield compare_texts(left.value, right.value, drawn if left.is_place else terms, is_code=left.is_code)
    if len(old) != len(new):
        more = (old[len(new) :] or new[len(old) :])[0]
        yield Judgement("different", f"{len(old)} parts of markup became {len(new)}: {_told(more)}")


def _told(part: _Part) -> str:
    return f"{part.kind} {part.value}"


def _html_parts(text: str) -> list[_Part] | None:
    from lxml import etree

    parser = etree.HTMLParser(no_network=True, recover=True, huge_tree=False, encoding="utf-8", remove_comments=True)
    root = _parsed(text, parser)
    return None if root is None else list(_parts(root, {}))


def _svg_parts(text: str) -> list[_Part] | None:
    from lxml import etree

    parser = etree.XMLParser(
        no_network=True, resolve_entities=False, load_dtd=False, huge_tree=False, remove_comments=True, remove_pis=True
    )
    root = _parsed(text, parser)
    return None if root is None else list(_parts(root, _ordinals(root)))


def _parsed(text: str, parser: XMLParser | HTMLParser) -> _Element | None:
    """The root of a document, or None if it is none."""
    from lxml import etree

    try:
        return etree.fromstring(text.encode("utf-8", "replace"), parser)
    except (etree.LxmlError, ValueError):
        return None


def _ordinals(root: _Element) -> dict[str, str]:
    """The ids of a document, each with its place among them."""
    ids = dict.fromkeys(element.get("id") for element in root.iter() if element.get("id"))
    return {str(name): f"id{place}" for place, name in enumerate(ids)}


def _parts(root: _Element, ordinals: dict[str, str]) -> Iterator[_Part]:
    """A document as the parts it is read in; with a stack of its own, for documents may be deep."""
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
            yield from _attributes(element, ordinals)
            yield from _text(element.text, tag, verbatim=bool(verbatim))
            stack.append((element, True))
            stack += [(child, False) for child in reversed(element)]
            continue
        yield from _text(element.tail, "", verbatim=bool(verbatim))


def _tag(element: _Element) -> str:
    """The name of an element, empty for entities and the like."""
    return element.tag.rpartition("}")[2] if isinstance(element.tag, str) else ""


def _attributes(element: _Element, ordinals: dict[str, str]) -> Iterator[_Part]:
    for name, value in sorted((str(name), str(value)) for name, value in element.attrib.items()):
        short = name.rpartition("}")[2]
        if ordinals:
            value = ordinals.get(value, value) if short == "id" else _referring(value, ordinals)  # noqa: PLW2901
        yield _Part(f"attribute {short}", value, short not in _READ, bool(ordinals) and short in _PLACES)


def _referring(value: str, ordinals: dict[str, str]) -> str:
    """The value of an attribute with the ids that it refers to by their places."""
    return _REFERENCE.sub(lambda match: f"#{ordinals.get(match[1] or match[2], match[1] or match[2])}", value)


def _text(text: str | None, tag: str, *, verbatim: bool) -> Iterator[_Part]:
    if not text or not text.strip():
        return
    yield _Part("text", text if verbatim else " ".join(text.split()), is_code=tag in _CODE)
