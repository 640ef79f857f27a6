"""Pictures that a kernel sent, looked at before anybody shows them: what they say they are, and of a bearable size."""

from __future__ import annotations

import base64
import binascii
import re
import warnings
from io import BytesIO
from typing import TYPE_CHECKING, Any, Final

from nbtape.common.text import fit_text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lxml.etree import _Element

DRAWING: Final = "image/svg+xml"
#: What is shown, by preference, with Pillow's name for it; its other decoders are not let near what a kernel sent.
KINDS: Final[Mapping[str, str]] = {DRAWING: "", "image/png": "PNG", "image/jpeg": "JPEG", "image/gif": "GIF"}

#: A small file can hold a picture that fills the memory of who looks at it (pixels, both ways and along one side).
_MOST_PIXELS: Final = 40_000_000
_LONGEST_SIDE: Final = 20_000

#: Bytes of a drawing, and elements that it may come to when all that it repeats is drawn.
_LARGEST_DRAWING: Final = 5_000_000
_MOST_ELEMENTS: Final = 500_000

#: What makes a drawing more than a drawing where it is opened by itself.
_ACTING: Final = frozenset(
    {"script", "foreignObject", "animate", "animateTransform", "animateMotion", "set", "handler"}
)

#: How a style or a stylesheet that is named brings in what is elsewhere.
_ELSEWHERE: Final = re.compile(rb"@import|<\?xml-stylesheet|url\(\s*['\"]?[^#'\"\s]|\\", re.IGNORECASE)


def picture_of(kind: str, data: object) -> tuple[str, bytes] | None:
    """A picture that can be shown, as its kind and its bytes; None if it is none, or is too large.

    Args:
        kind: Its MIME type, one of `KINDS`.
        data: Text in base64; of a drawing, its source or that.
    """
    if not isinstance(data, str):
        return None
    content = fit_text(data).encode() if kind == DRAWING and "<" in data else _decoded(data)
    fits = _is_drawing(content) if kind == DRAWING else _is_picture(kind, content)
    return (kind, content) if fits else None


def picture_url(kind: str, content: bytes) -> str:
    """The URL that holds a picture. In an `<img>`, nothing in a drawing runs and nothing is fetched for it."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def is_still(content: bytes) -> bool:
    """Whether a drawing does nothing where it is opened by itself, and shows nothing that is elsewhere."""
    root = _parsed(content)
    return root is not None and not _ELSEWHERE.search(content) and not any(_acts(element) for element in root.iter())


def _decoded(data: str) -> bytes:
    try:
        return base64.b64decode("".join(data.split()).encode(), validate=True)
    except (binascii.Error, UnicodeEncodeError):
        return b""


def _is_picture(kind: str, content: bytes) -> bool:
    from PIL import Image, UnidentifiedImageError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of sizes, which are bounded here
            image = Image.open(BytesIO(content), formats=(KINDS[kind],))
    except (UnidentifiedImageError, Image.DecompressionBombError, OSError, ValueError, SyntaxError):
        return False
    return image.width * image.height <= _MOST_PIXELS and max(image.size) <= _LONGEST_SIDE


def _is_drawing(content: bytes) -> bool:
    root = _parsed(content)
    return root is not None and root.tag == "{http://www.w3.org/2000/svg}svg" and _size(root) <= _MOST_ELEMENTS


def _parsed(content: bytes) -> _Element | None:
    """A drawing; None if it is none, or has entities, which can stand for more than any memory holds."""
    from lxml import etree

    if len(content) > _LARGEST_DRAWING or b"<!ENTITY" in content:
        return None
    parser = etree.XMLParser(no_network=True, resolve_entities=False, load_dtd=False, huge_tree=False)
    try:
        return etree.fromstring(content, parser)
    except (etree.LxmlError, ValueError):
        return None


def _size(root: _Element) -> float:
    """How many elements are drawn, those that are repeated as often as they are; infinite if that has no end."""
    elements = list(root.iter())
    named = {element.get("id"): element for element in elements if element.get("id")}
    sizes = dict.fromkeys(elements, 0.0)
    # What is repeated may repeat others: each round counts one level more, until nothing more is found.
    for _ in range(_LEVELS):
        before, sizes = sizes, {}
        for element in reversed(elements):
            repeated = named.get(_reference(element))
            again = 0 if repeated is None else before[repeated]
            sizes[element] = 1 + again + sum(sizes[child] for child in element)
        if sizes[root] == before[root] or sizes[root] > _MOST_ELEMENTS:
            return sizes[root]
    return float("inf")


#: How deep what is repeated may repeat others.
_LEVELS: Final = 12


def _reference(element: _Element) -> str:
    """The id of what a `<use>` repeats; empty for any other element."""
    if not isinstance(element.tag, str) or element.tag.rpartition("}")[2] != "use":
        return ""
    return next((target.removeprefix("#") for target in _targets(element)), "")


def _targets(element: _Element) -> list[str]:
    return [str(value).strip() for name, value in _attributes(element).items() if name == "href"]


def _attributes(element: _Element) -> dict[str, Any]:
    return {str(name).rpartition("}")[2].lower(): value for name, value in element.attrib.items()}


def _acts(element: _Element) -> bool:
    if not isinstance(element.tag, str):
        return False
    if element.tag.rpartition("}")[2] in _ACTING or any(name.startswith("on") for name in _attributes(element)):
        return True
    return any(not target.startswith(("#", "data:image/png;", "data:image/jpeg;")) for target in _targets(element))
