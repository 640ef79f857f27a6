"""Remove the elements of foreign HTML that it hides, because the sanitizer drops what hides them."""

from __future__ import annotations

import re
from itertools import islice
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from lxml.html import HtmlElement

#: What can hide an element: the attribute, and the styles `display: none` and `visibility: hidden`.
_MAY_HIDE: Final = re.compile(r"\bhidden\b|\bdisplay\s*:\s*none\b", re.IGNORECASE)

_DECLARATION: Final = re.compile(
    r"(?:^|;)\s*(?:display\s*:\s*([\w-]+)|visibility\s*:\s*(hidden)\b)\s*(!\s*important)?", re.IGNORECASE
)

#: The selectors that are understood: types, classes and ids of an element and of those around it.
_COMPOUND: Final = re.compile(r"(?=[\w.#*-])(\*|[a-zA-Z][\w-]*)?((?:[.#][\w-]+)*)")
_NAMES: Final = re.compile(r"([.#])([\w-]+)")

#: Style sheets are ignored if they have more rules for more elements than this.
_MAX_TESTS: Final = 100_000

#: How many levels around an element are searched for the other elements of a selector.
_MAX_LEVELS: Final = 50


class _Compound(NamedTuple):
    """One element of a selector."""

    tag: str
    classes: frozenset[str]
    ids: frozenset[str]

    def matches(self, element: HtmlElement) -> bool:
        return (
            self.tag in {"", "*", element.tag}
            and self.ids <= {element.get("id", "")}
            and self.classes <= set(element.get("class", "").split())
        )


class _Rule(NamedTuple):
    """Whether elements are hidden; of the rules for one element, that with the greatest weight counts."""

    weight: tuple[bool, int, int, int, int]  # important, ids, classes, types, position
    path: list[_Compound]  # the element comes last
    hides: bool

    def matches(self, element: HtmlElement) -> bool:
        *around, last = self.path
        if not last.matches(element):
            return False
        for ancestor in islice(element.iterancestors(), _MAX_LEVELS):
            if around and around[-1].matches(ancestor):
                around.pop()
        return not around


def without_hidden(text: str) -> str:
    """Remove what the attribute `hidden`, inline styles and style sheets with plain selectors hide."""
    if not _MAY_HIDE.search(text):
        return text
    from lxml import etree, html

    try:
        root = html.fragment_fromstring(text, create_parent="div")
    except (etree.LxmlError, ValueError):  # such as a control character
        return text
    elements = [element for element in root.iterdescendants() if isinstance(element.tag, str)]
    sheet = "\n".join(element.text_content() for element in elements if element.tag == "style")
    most = _MAX_TESTS // (len(elements) + 1)
    rules = list(islice(_rules(sheet), most + 1))
    hidden = [element for element in elements if _is_hidden(element, rules if len(rules) <= most else [])]
    for element in hidden:
        if element.getparent() is not None:
            element.drop_tree()
    return "".join(_pieces(root))


def _pieces(root: HtmlElement) -> Iterator[str]:
    from html import escape

    from lxml import html

    yield escape(root.text or "")
    for child in root:
        yield html.tostring(child, encoding="unicode")


def _is_hidden(element: HtmlElement, rules: Iterable[_Rule]) -> bool:
    matching = [rule for rule in rules if rule.matches(element)]
    strongest = max(matching, key=lambda rule: rule.weight, default=None)
    inline = _hides(element.get("style", ""))
    if inline is not None and not (strongest is not None and strongest.weight[0]):
        return inline[0]
    if strongest is not None:
        return strongest.hides
    return element.get("hidden") is not None


def _rules(sheet: str) -> Iterator[_Rule]:
    """The rules of a style sheet that hide or show elements, and whose selectors are understood."""
    is_conditional = False
    for position, chunk in enumerate(_without_comments(sheet).split("}")):
        selectors, _, declarations = chunk.partition("{")
        is_conditional = (is_conditional and bool(chunk.strip())) or "{" in declarations  # in a rule such as @media
        found = None if is_conditional else _hides(declarations)
        if found is None:
            continue
        hides, is_important = found
        for selector in selectors.split(","):
            if path := _path(selector):
                ids, classes, tags = (sum(map(len, part)) for part in zip(*map(_weights, path), strict=True))
                yield _Rule((is_important, ids, classes, tags, position), path, hides)


def _weights(compound: _Compound) -> tuple[frozenset[str], frozenset[str], frozenset[str]]:
    return compound.ids, compound.classes, frozenset({compound.tag} - {"", "*"})


def _hides(declarations: str) -> tuple[bool, bool] | None:
    """Whether declarations hide an element, and are important; None if they say neither."""
    found = _DECLARATION.findall(_without_comments(declarations))
    if not found:
        return None
    hides = any(hidden or display.lower() == "none" for display, hidden, _ in found)
    return hides, any(important for _, _, important in found)


def _without_comments(sheet: str) -> str:
    first, *others = sheet.split("/*")
    return first + "".join(other.partition("*/")[2] for other in others)


def _path(selector: str) -> list[_Compound]:
    """The elements of a selector, from the outermost; empty if it is not understood."""
    path = []
    for word in selector.replace(">", " ").split():
        found = _COMPOUND.fullmatch(word)
        if found is None:
            return []
        names = _NAMES.findall(found[2])
        classes, ids = (frozenset(name for kind, name in names if kind == mark) for mark in ".#")
        path.append(_Compound((found[1] or "").lower(), classes, ids))
    return path
