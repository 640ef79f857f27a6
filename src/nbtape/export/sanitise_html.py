"""HTML that somebody else wrote, made inert: built anew of elements that only show something.

What a parser makes of hostile HTML is not what a browser makes of it. So nothing is passed on as it was written: of the
parsed document only known elements are written again, each closed, with known attributes whose values were checked, and
all text is escaped. Elements within which a browser reads otherwise (scripts, styles, SVG, MathML, templates) are left
out with what is in them.
"""

from __future__ import annotations

import re
from html import escape
from typing import TYPE_CHECKING, Final

from nbtape.common.text import fit_text
from nbtape.export.sanitise_images import KINDS, picture_of, picture_url
from nbtape.replay.compare.html_svg import is_costly

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from lxml.etree import _Element

_SHOWN_NAMES: Final = """
a abbr b blockquote caption cite code col colgroup dd del details dfn div dl dt em figcaption figure h1 h2 h3 h4 h5 h6 i
ins kbd li mark ol p pre q s samp small span strike strong sub summary sup table tbody td tfoot th thead tr tt u ul var
"""
_SHOWN: Final = frozenset(_SHOWN_NAMES.split())
_EMPTY: Final = frozenset({"br", "hr", "wbr", "col"})

#: Left out with what is in them; of all others that are not shown, what is in them is.
_LEFT_OUT_NAMES: Final = """
applet audio canvas embed frame frameset head iframe link math meta noembed noframes noscript object option plaintext
script select style svg template textarea title video xmp
"""
_LEFT_OUT: Final = frozenset(_LEFT_OUT_NAMES.split())

_COLOUR: Final = r"(?:#[0-9a-f]{3,8}|[a-z]{3,20}|rgba?\([0-9., %]{5,40}\))"
_DECLARATION: Final = re.compile(
    r"(?:text-align|vertical-align|font-weight|font-style|text-decoration)\s*:\s*[a-z0-9-]{1,20}"
    rf"|(?:color|background-color)\s*:\s*{_COLOUR}",
    re.IGNORECASE,
)
_LINK: Final = re.compile(r"(?:https?://|mailto:)[^\s\x00-\x20<>\"'`\\]+", re.IGNORECASE)
_NUMBER: Final = re.compile(r"[0-9]{1,3}")
_WORD: Final = re.compile(r"[a-z-]{1,20}", re.IGNORECASE)

#: The classes that Pygments and nbconvert give to pieces of code; the page's own are longer.
HIGHLIGHTING: Final = re.compile(r" ?highlight(?: hl-[\w+-]{1,30})?|[a-z][a-z0-9]{0,2}")
_NO_CLASS: Final = re.compile(r"(?!)")


def inert_html(text: str, classes: re.Pattern[str] = _NO_CLASS) -> str:
    """HTML that shows what `text` shows, and does nothing; empty if that is nothing.

    Args:
        text: A piece of HTML, whatever it is.
        classes: The values of `class` that are kept.
    """
    root = _parsed(text)
    if root is None:
        return ""
    pieces: list[str] = []
    # A stack of its own, for documents may be deep: elements to begin, and what is to be written after them.
    stack: list[_Element | str] = [root]
    while stack:
        item = stack.pop()
        if isinstance(item, str):
            pieces.append(item)
            continue
        begin, end = _tags(item, classes)
        if begin is not None:
            pieces.append(begin + escape(item.text or ""))
            stack.append(end)
            for child in reversed(item):
                stack += [escape(child.tail or ""), child]
    shown = "".join(pieces)
    return shown if "<img " in shown or re.sub(r"<[^>]*>", "", shown).strip() else ""


def _parsed(text: str) -> _Element | None:
    from lxml import etree

    if is_costly(text):
        return None
    # `huge_tree` is off: libxml2 reads no deeper than its own bound.
    parser = etree.HTMLParser(no_network=True, recover=True, huge_tree=False, encoding="utf-8", remove_comments=True)
    try:
        return etree.fromstring(fit_text(text).replace("\0", "").encode(), parser)
    except (etree.LxmlError, ValueError):
        return None


def _tags(element: _Element, classes: re.Pattern[str]) -> tuple[str | None, str]:
    """What stands before and after what is in an element; None if that is left out."""
    tag = element.tag.lower() if isinstance(element.tag, str) else ""
    if not tag or tag in _LEFT_OUT:
        return None, ""
    if tag == "img":
        return _picture(str(element.get("src", "")), str(element.get("alt", ""))), ""
    if tag == "input":  # a list of tasks, as Markdown has it
        return ("☑ " if "checked" in element.attrib else "☐ ") if element.get("type") == "checkbox" else "", ""
    if tag in _EMPTY:
        return f"<{tag}>", ""
    if tag not in _SHOWN:
        return "", ""
    kept = [
        f' {name}="{escape(value)}"'
        for name, check in _ATTRIBUTES.items()
        if name in element.attrib and (value := check(str(element.attrib[name])))
    ]
    if (name := str(element.get("class", ""))) and classes.fullmatch(name):
        kept.append(f' class="{escape(name.strip())}"')
    if tag == "a":
        kept += _link(str(element.get("href", "")))
    return f"<{tag}{''.join(kept)}>", f"</{tag}>"


def _link(target: str) -> list[str]:
    """Where a link leads: to the web, or nowhere."""
    target = target.strip()
    return [f' href="{escape(target)}" rel="noopener noreferrer nofollow"'] if _LINK.fullmatch(target) else []


def _picture(source: str, text: str) -> str:
    """A picture that is in the document itself; of any other what is said of it."""
    scheme, _, data = source.strip().partition(";base64,")
    kind, name = scheme.removeprefix("data:"), escape(text or "picture")
    found = picture_of(kind, data) if kind in KINDS else None
    return f"[{name}]" if found is None else f'<img alt="{name}" src="{picture_url(*found)}">'


def _matching(pattern: re.Pattern[str]) -> Callable[[str], str]:
    return lambda value: value if pattern.fullmatch(value) else ""


def _style(value: str) -> str:
    return "; ".join(part.strip() for part in value.split(";") if _DECLARATION.fullmatch(part.strip()))


_ATTRIBUTES: Final[Mapping[str, Callable[[str], str]]] = {
    "colspan": _matching(_NUMBER),
    "rowspan": _matching(_NUMBER),
    "start": _matching(_NUMBER),
    "align": _matching(_WORD),
    "valign": _matching(_WORD),
    "scope": _matching(_WORD),
    "lang": _matching(_WORD),
    "title": lambda value: value[:300],
    "style": _style,
}
