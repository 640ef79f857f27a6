"""Checks of images that a kernel sent: their real type, and limits on their size."""

from __future__ import annotations

import base64
import binascii
import re
import warnings
from io import BytesIO
from typing import TYPE_CHECKING, Final

from nbtape.common import image_types
from nbtape.common.image_types import SVG
from nbtape.common.text import fit_text

if TYPE_CHECKING:
    from lxml.etree import _Element

#: Maximum depth of `<use>` elements that refer to others.
_MAX_USE_DEPTH: Final = 12

#: Elements that make an SVG active when it is opened by itself.
_ACTIVE_TAGS: Final = frozenset(
    {"script", "foreignObject", "animate", "animateTransform", "animateMotion", "set", "handler"}
)

#: References to other files in styles, and stylesheets.
_EXTERNAL: Final = re.compile(rb"@import|<\?xml-stylesheet|url\(\s*['\"]?[^#'\"\s]|\\", re.IGNORECASE)


def safe_image(mime: str, data: object) -> bytes | None:
    """Return the bytes of an image, or None if it is broken or too large; `mime` is one of `image_types.SHOWN`.

    `data` is base64; an SVG may also be its source.
    """
    if not isinstance(data, str):
        return None
    content = fit_text(data).encode() if mime == SVG and "<" in data else _decode(data)
    is_safe = _is_safe_svg(content) if mime == SVG else _is_safe_raster(mime, content)
    return content if is_safe else None


def is_static_svg(content: bytes) -> bool:
    """Whether an SVG has no active content and loads nothing, even when it is opened by itself."""
    root = _parse(content)
    return root is not None and not _EXTERNAL.search(content) and not any(map(_is_active, root.iter()))


def _decode(data: str) -> bytes:
    try:
        return base64.b64decode("".join(data.split()).encode(), validate=True)
    except (binascii.Error, UnicodeEncodeError):
        return b""


def _is_safe_raster(mime: str, content: bytes) -> bool:
    from PIL import Image, UnidentifiedImageError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's own size limit
            image = Image.open(BytesIO(content), formats=(image_types.PILLOW_FORMATS[mime],))
    except (UnidentifiedImageError, Image.DecompressionBombError, OSError, ValueError, SyntaxError):
        return False
    return image.width * image.height <= image_types.MAX_SHOWN_PIXELS and max(image.size) <= image_types.MAX_SIDE_PIXELS


def _is_safe_svg(content: bytes) -> bool:
    root = _parse(content)
    if root is None or root.tag != "{http://www.w3.org/2000/svg}svg":
        return False
    return _drawn_elements(root) <= image_types.MAX_SVG_ELEMENTS


def _parse(content: bytes) -> _Element | None:
    """Parse an SVG; None if it is not XML, is too large, or has entities, which can expand without limit."""
    from lxml import etree

    if len(content) > image_types.MAX_SVG_BYTES or b"<!ENTITY" in content:
        return None
    parser = etree.XMLParser(no_network=True, resolve_entities=False, load_dtd=False, huge_tree=False)
    try:
        return etree.fromstring(content, parser)
    except (etree.LxmlError, ValueError):
        return None


def _drawn_elements(root: _Element) -> float:
    """Count the elements that are drawn, with repetitions by `<use>`; infinite if they nest too deeply."""
    elements = list(root.iter())
    by_id = {element.get("id"): element for element in elements if element.get("id")}
    counts = dict.fromkeys(elements, 0.0)
    # Each round resolves one more level of references.
    for _ in range(_MAX_USE_DEPTH):
        before, counts = counts, {}
        for element in reversed(elements):
            used = by_id.get(_used_id(element))
            counts[element] = 1 + (0 if used is None else before[used]) + sum(counts[child] for child in element)
        if counts[root] == before[root] or counts[root] > image_types.MAX_SVG_ELEMENTS:
            return counts[root]
    return float("inf")


def _used_id(element: _Element) -> str:
    """The id that a `<use>` refers to; empty for any other element."""
    return _attributes(element).get("href", "").strip().removeprefix("#") if _local_tag(element) == "use" else ""


def _is_active(element: _Element) -> bool:
    if not isinstance(element.tag, str):
        return False
    attributes = _attributes(element)
    if _local_tag(element) in _ACTIVE_TAGS or any(name.startswith("on") for name in attributes):
        return True
    return not attributes.get("href", "#").strip().startswith(("#", "data:image/png;", "data:image/jpeg;"))


def _local_tag(element: _Element) -> str:
    """The tag without its namespace; empty for comments and processing instructions."""
    return element.tag.rpartition("}")[2] if isinstance(element.tag, str) else ""


def _attributes(element: _Element) -> dict[str, str]:
    """The attributes by lowercase name without the namespace."""
    return {str(name).rpartition("}")[2].lower(): str(value) for name, value in element.attrib.items()}
