"""Sanitize untrusted HTML with nh3: keep only known elements and attributes, and only embedded images."""

from __future__ import annotations

import re
from collections import Counter
from typing import Final

from nbtape.common.image_types import SHOWN, data_url
from nbtape.common.safe_images import safe_image
from nbtape.common.text import fit_text
from nbtape.export.hidden_html import without_hidden
from nbtape.replay.compare.html_svg import is_costly

_TAG_NAMES: Final = """
a abbr b blockquote br caption cite code col colgroup dd del details dfn div dl dt em figcaption figure h1 h2 h3 h4 h5
h6 hr i img input ins kbd li mark ol p pre q s samp small span strike strong sub summary sup table tbody td tfoot th
thead tr tt u ul var wbr
"""
#: Elements that are removed with their contents. The contents of other unknown elements stay.
_REMOVED_NAMES: Final = """
applet audio canvas embed frame frameset head iframe link math meta noembed noframes noscript object option plaintext
script select style svg template textarea title video xmp
"""
_ATTRIBUTES: Final = {
    "*": {"align", "class", "colspan", "lang", "rowspan", "scope", "start", "style", "title", "valign"},
    "a": {"href"},
    "img": {"src", "alt"},
    "input": {"checked"},
}
_STYLES: Final = frozenset(
    {"background-color", "color", "font-style", "font-weight", "text-align", "text-decoration", "vertical-align"}
)
_CHECKBOX: Final = {"input": {"type": "checkbox", "disabled": ""}}

#: Elements whose end tag may be missing in ordinary HTML; they nest only through other elements.
_NOT_CLOSED: Final = """
area base br col colgroup dd dt embed hr img input li link meta option p source tbody td tfoot th thead tr track wbr
"""
_TAG: Final = re.compile(r"<(/?)([a-zA-Z][^\s/>]{0,20})")
_MAX_DEPTH: Final = 1000

#: The classes that Pygments and nbconvert set in code; the page's own classes are longer.
HIGHLIGHTING: Final = re.compile(r" ?highlight(?: hl-[\w+-]{1,30})?|[a-z][a-z0-9]{0,2}|escape")
_NO_CLASS: Final = re.compile(r"(?!)")


def inert_html(text: str, classes: re.Pattern[str] = _NO_CLASS) -> str:
    """Return untrusted HTML without active content; empty if nothing visible is left.

    Values of `class` are kept if they match `classes`.
    """
    import nh3

    if is_costly(text) or _is_deep(text):
        return ""
    text = without_hidden(text)

    def checked(tag: str, attribute: str, value: str) -> str | None:
        if attribute == "class":
            return value if classes.fullmatch(value) else None
        if attribute == "href":
            return None if value.startswith("data:") else value
        return _embedded_image(value) if (tag, attribute) == ("img", "src") else value

    shown = nh3.clean(
        fit_text(text),
        tags=set(_TAG_NAMES.split()),
        clean_content_tags=set(_REMOVED_NAMES.split()),
        attributes=_ATTRIBUTES,
        attribute_filter=checked,
        filter_style_properties=set(_STYLES),
        set_tag_attribute_values=_CHECKBOX,
        url_schemes={"http", "https", "mailto", "data"},
        url_relative="deny",
        link_rel="noopener noreferrer nofollow",
    )
    return shown if "<img " in shown or re.sub(r"<[^>]*>", "", shown).strip() else ""


def _is_deep(text: str) -> bool:
    """Whether elements nest so deeply that parsing takes quadratic time."""
    opened: Counter[str] = Counter()
    depth, not_closed = 0, frozenset(_NOT_CLOSED.split())
    for slash, tag in _TAG.findall(text):
        name = tag.lower()
        if name in not_closed:
            continue
        if not slash:
            opened[name] += 1
            depth += 1
        elif opened[name]:
            opened[name] -= 1
            depth -= 1
        if depth > _MAX_DEPTH:
            return True
    return False


def _embedded_image(url: str) -> str | None:
    """Return the data URL of an image that is safe to show; None for any other URL."""
    scheme, _, data = url.strip().partition(";base64,")
    mime = scheme.removeprefix("data:")
    content = safe_image(mime, data) if mime in SHOWN else None
    return None if content is None else data_url(mime, content)
