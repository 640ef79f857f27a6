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

#: The selectors that are understood: types, classes, ids and `:checked` of an element and of those around it.
_COMPOUND: Final = re.compile(r"(?=[\w.#*-])(\*|[a-zA-Z][\w-]*)?((?:[.#][\w-]+)*)(:checked)?")
_NAMES: Final = re.compile(r"([.#])([\w-]+)")
_COMBINATOR: Final = re.compile(r"\s*([>+~])\s*|\s+")

#: Style sheets are ignored if they have more rules for more elements than this.
_MAX_TESTS: Final = 100_000

#: How many levels around an element are searched for the other elements of a selector.
_MAX_LEVELS: Final = 50


class _Compound(NamedTuple):
    """One element of a selector."""

    tag: str
    classes: frozenset[str]
    ids: frozenset[str]
    is_checked: bool

    def matches(self, element: HtmlElement) -> bool:
        return (
            self.tag in {"", "*", element.tag}
            and self.ids <= {element.get("id", "")}
            and self.classes <= set(element.get("class", "").split())
            and (not self.is_checked or element.get("checked") is not None)
        )


class _Rule(NamedTuple):
    """Whether elements are hidden; of the rules for one element, that with the greatest weight counts."""

    weight: tuple[bool, int, int, int, int]  # important, ids, classes, types, position
    element: _Compound
    around: list[tuple[str, _Compound]]  # from the element outwards, each with the combinator after it
    hides: bool

    def matches(self, element: HtmlElement) -> bool:
        if not self.element.matches(element):
            return False
        for combinator, compound in self.around:
            candidates = islice(_candidates(element, combinator), _MAX_LEVELS)
            found = next((each for each in candidates if compound.matches(each)), None)
            if found is None:
                return False
            element = found
        return True


def _candidates(element: HtmlElement, combinator: str) -> Iterator[HtmlElement]:
    """The elements that may stand before a combinator."""
    if combinator in {"~", "+"}:
        siblings = element.itersiblings(preceding=True)
        return siblings if combinator == "~" else islice(siblings, 1)
    ancestors = element.iterancestors()
    return islice(ancestors, 1) if combinator == ">" else ancestors


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
            if compounds := _compounds(selector):
                (_, element), *around = compounds
                ids, classes, tags = (sum(map(len, part)) for part in zip(*map(_weights, compounds), strict=True))
                yield _Rule((is_important, ids, classes, tags, position), element, around, hides)


def _weights(part: tuple[str, _Compound]) -> tuple[frozenset[str], frozenset[object], frozenset[str]]:
    _, compound = part
    return (
        compound.ids,
        compound.classes | {True} if compound.is_checked else compound.classes,
        frozenset({compound.tag} - {"", "*"}),
    )


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


def _compounds(selector: str) -> list[tuple[str, _Compound]]:
    """The elements of a selector from the last outwards, with what stands after them; empty if not understood."""
    found = []
    words = _COMBINATOR.split(selector.strip())
    for word, combinator in zip(words[::2], [*words[1::2], ""], strict=True):
        parts = _COMPOUND.fullmatch(word)
        if parts is None:
            return []
        names = _NAMES.findall(parts[2])
        classes, ids = (frozenset(name for kind, name in names if kind == mark) for mark in ".#")
        found.append((combinator or " ", _Compound((parts[1] or "").lower(), classes, ids, bool(parts[3]))))
    return found[::-1]
