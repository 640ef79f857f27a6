"""Make an untrusted SVG inert: parse it and write only known elements, attributes and styles.

References may lead only to the same document or to embedded raster images. The number of drawn elements is limited,
counting every repetition by a reference.
"""

from __future__ import annotations

import base64
import re
from typing import TYPE_CHECKING, Final, NamedTuple

from nbtape.common import image_types

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from collections.abc import Set as AbstractSet

    from lxml.etree import _Element

    IsSafeRaster = Callable[[str, bytes], bool]

_SVG: Final = "{http://www.w3.org/2000/svg}"
_XLINK: Final = "{http://www.w3.org/1999/xlink}"
_NAMESPACES: Final = {None: _SVG[1:-1], "xlink": _XLINK[1:-1]}
_SPACE: Final = "{http://www.w3.org/XML/1998/namespace}space"


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_SHAPES: Final = _words("circle ellipse line path polygon polyline rect text textPath tspan")
#: An <a> is a group here: it has no attributes with URLs.
_ELEMENTS: Final = _SHAPES | _words(
    """
    a clipPath defs desc g image linearGradient marker mask pattern radialGradient stop style svg switch symbol title
    use
    """
)
_ATTRIBUTES: Final = _words(
    """
    baseProfile class clipPathUnits cx cy d dx dy fr fx fy gradientTransform gradientUnits height id lengthAdjust
    markerHeight markerUnits markerWidth maskContentUnits maskUnits method offset orient pathLength patternContentUnits
    patternTransform patternUnits points preserveAspectRatio r refX refY rotate rx ry side spacing spreadMethod
    startOffset textLength version viewBox width x x1 x2 y y1 y2
    """
)
#: CSS properties, most of which are attributes too. Filters are left out: their cost does not depend on the number of
#: drawn elements.
_PROPERTIES: Final = _words(
    """
    alignment-baseline background background-color baseline-shift clip clip-path clip-rule color color-interpolation
    color-rendering direction display dominant-baseline fill fill-opacity fill-rule font font-family font-size
    font-size-adjust font-stretch font-style font-variant font-weight image-rendering isolation letter-spacing marker
    marker-end marker-mid marker-start mask mask-type mix-blend-mode opacity overflow paint-order pointer-events
    shape-rendering stop-color stop-opacity stroke stroke-dasharray stroke-dashoffset stroke-linecap stroke-linejoin
    stroke-miterlimit stroke-opacity stroke-width text-anchor text-decoration text-rendering transform transform-box
    transform-origin unicode-bidi vector-effect visibility white-space word-spacing writing-mode
    """
)
_FUNCTIONS: Final = _words(
    """
    calc circle clamp ellipse hsl hsla hwb inset lab lch matrix max min oklab oklch polygon rgb rgba rotate scale scalex
    scaley skewx skewy translate translatex translatey
    """
)
_REFERRING: Final = _words("linearGradient pattern radialGradient textPath use")

#: Properties whose references children inherit, and the others.
_PAINTS: Final = ("fill", "stroke")
_MARKERS: Final = ("marker-start", "marker-end")
_MARKERS_OF_EACH_POINT: Final = ("marker", "marker-mid")
_NOT_INHERITED: Final = ("clip-path", "mask")
_KEYS: Final = (*_PAINTS, *_MARKERS, *_MARKERS_OF_EACH_POINT, *_NOT_INHERITED)

#: Maximum length of a chain of references.
_MAX_DEPTH: Final = 12

_DECLARATION: Final = re.compile(r"\s*<\?xml\s([^?<>]{0,200})\?>")
_ENCODING: Final = re.compile(r"\bencoding\s*=\s*[\"']([^\"']*)[\"']")
#: The document type declarations that matplotlib and Graphviz write. They have no effect and are left out.
_KNOWN_DOCTYPE: Final = re.compile(
    r"\s*<!DOCTYPE svg PUBLIC \"-//W3C//DTD SVG 1\.[01]//EN\"\s{1,9}"
    r"\"http://www\.w3\.org/(?:Graphics/SVG/1\.1/DTD/svg11|TR/2001/REC-SVG-20010904/DTD/svg10)\.dtd\"\s*>"
)
#: libxml2 takes minutes for a tag with very many attributes.
_MAX_TAG_CHARS: Final = 60_000
_QUOTED_VALUE: Final = re.compile(r"\"[^\"]*\"|'[^']*'")

_ID: Final = r"[^\s\"'()<>\\{};@#]{1,200}"
_FRAGMENT: Final = re.compile(rf"\s*#({_ID})\s*")
_URL: Final = re.compile(rf"\burl\(\s*(?:\"#({_ID})\"|'#({_ID})'|#({_ID}))\s*\)", re.IGNORECASE)
_ODD: Final = re.compile(r"[\\@<>{};\x00-\x08\x0e-\x1f\x7f]|/\*")
_STRING: Final = re.compile(r"\"[^\"\n\r\f]*\"|'[^'\n\r\f]*'")
_FUNCTION: Final = re.compile(r"([^\s(),:'\"+*/]{0,40})\(")
_CSS_PART: Final = re.compile(r"(?:[^;\"']|\"[^\"]*\"|'[^']*')++")
_SELECTOR: Final = re.compile(r"[\w\s.#*,>+~:-]+")
_EMBEDDED: Final = re.compile(r"\s*data:([a-z/]{1,20});base64,([A-Za-z0-9+/=\s]*)")


def sanitise_svg(content: bytes, is_safe_raster: IsSafeRaster) -> bytes | None:
    """Return the SVG without active content and without references to elsewhere; None if it is broken or too costly.

    Only UTF-8 is accepted. Document types are refused, except the two that common libraries write.
    `is_safe_raster` decides about embedded images, given their MIME type and content.
    """
    from lxml import etree

    root = _parse(content)
    if root is None or root.tag != f"{_SVG}svg":
        return None
    copy = _Copy(is_safe_raster).of(root)
    if _drawn_elements(copy) > image_types.MAX_SVG_ELEMENTS:
        return None
    return etree.tostring(copy, encoding="utf-8")


def _parse(content: bytes) -> _Element | None:
    from lxml import etree

    text = _document(content)
    if text is None or _has_costly_tag(text) or text.count("<") - text.count("</") > image_types.MAX_SVG_ELEMENTS:
        return None
    parser = etree.XMLParser(
        encoding="utf-8",
        no_network=True,
        resolve_entities=False,
        load_dtd=False,
        huge_tree=False,
        remove_comments=True,
        remove_pis=True,
    )
    try:
        return etree.fromstring(text.encode(), parser)
    except (etree.LxmlError, ValueError):
        return None


def _document(content: bytes) -> str | None:
    """The text of an SVG without its declarations; None for other encodings, document types and entities."""
    if len(content) > image_types.MAX_SVG_BYTES:
        return None
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return None
    if declaration := _DECLARATION.match(text):
        encoding = _ENCODING.search(declaration[1])
        if encoding and encoding[1].lower() not in {"utf-8", "utf8"}:
            return None
        text = text[declaration.end() :]
    if known := _KNOWN_DOCTYPE.match(text):
        text = text[known.end() :]
    return None if "<!DOCTYPE" in text or "<!ENTITY" in text or "\0" in text else text.lstrip()


def _has_costly_tag(text: str) -> bool:
    tags = (tag for tag in text.split("<") if len(tag) > _MAX_TAG_CHARS)
    return any(len(_QUOTED_VALUE.sub("", tag).partition(">")[0]) > _MAX_TAG_CHARS for tag in tags)


class _Copy:
    """Copies the allowed part of a tree, leaving out other elements with their contents."""

    def __init__(self, is_safe_raster: IsSafeRaster) -> None:
        self._is_safe_raster = is_safe_raster

    def of(self, source: _Element) -> _Element:
        from lxml import etree

        root = etree.Element(f"{_SVG}svg", nsmap=_NAMESPACES)
        pending = [(source, root)]
        while pending:
            old, new = pending.pop()
            for name, value in self._attributes(old):
                new.set(name, value)
            if _tag(old) == "style":
                new.text = _style_sheet("".join(old.itertext()))
            else:
                pending += self._children(old, new)
        return root

    def _children(self, old: _Element, new: _Element) -> list[tuple[_Element, _Element]]:
        """Add the allowed children and the text of an element, including text after children that are left out."""
        from lxml import etree

        copied: list[tuple[_Element, _Element]] = []
        texts = [[old.text or ""]]
        for child in old:
            if _tag(child) in _ELEMENTS:
                copied.append((child, etree.SubElement(new, child.tag)))
                texts.append([])
            texts[-1].append(child.tail or "")
        new.text = "".join(texts[0])
        for (_, element), tail in zip(copied, texts[1:], strict=True):
            element.tail = "".join(tail)
        return copied

    def _attributes(self, element: _Element) -> Iterator[tuple[str, str]]:
        tag = _tag(element)
        for name, value in element.attrib.items():
            if name == "style":
                if style := _style(value):
                    yield "style", style
            elif _is_allowed(str(name), value):
                yield name, value
        # A browser ignores xlink:href if there is an href, so only one of them may stay.
        name = "href" if "href" in element.attrib else f"{_XLINK}href"
        if (target := self._target(tag, element.get(name, ""))) is not None:
            yield name, target

    def _target(self, tag: str, url: str) -> str | None:
        """The allowed target of a reference: an element of the document or an embedded image; None for any other."""
        if tag in _REFERRING:
            return f"#{fragment[1]}" if (fragment := _FRAGMENT.fullmatch(url)) else None
        if tag != "image" or not (embedded := _EMBEDDED.fullmatch(url)):
            return None
        mime, data = embedded[1], "".join(embedded[2].split())
        try:
            content = base64.b64decode(data, validate=True)
        except ValueError:
            return None
        is_safe = mime in image_types.PILLOW_FORMATS and self._is_safe_raster(mime, content)
        return image_types.data_url(mime, content) if is_safe else None


def _is_allowed(name: str, value: str) -> bool:
    if name in _PROPERTIES:
        return _is_property(name, value)
    return (name in _ATTRIBUTES and _is_value(value)) or (name == _SPACE and value in {"default", "preserve"})


def _tag(element: _Element) -> str:
    """The name of an SVG element; empty for anything else."""
    tag = element.tag
    return tag.removeprefix(_SVG) if isinstance(tag, str) and tag.startswith(_SVG) else ""


def _style(text: str) -> str:
    """The allowed declarations of a style."""
    return "; ".join(f"{name}: {value}" for name, value in _declarations(text))


def _declarations(text: str) -> Iterator[tuple[str, str]]:
    for part in _CSS_PART.findall(text):
        name, _, value = part.partition(":")
        name, value = name.strip().lower(), value.strip()
        if name in _PROPERTIES and _is_property(name, value):
            yield name, value


def _style_sheet(text: str) -> str:
    """The allowed rules of a style sheet, without references, whose cost would depend on what a rule selects."""
    text = _without_comments(text)
    if "@" in text or "\\" in text or "<" in text:
        return ""
    rules = []
    for rule in text.split("}"):
        selector, _, declarations = rule.partition("{")
        kept = "; ".join(
            f"{name}: {value}" for name, value in _declarations(declarations) if "url(" not in value.lower()
        )
        if kept and _SELECTOR.fullmatch(selector):
            rules.append(f"{selector.strip()} {{{kept}}}")
    return "\n".join(rules)


def _without_comments(css: str) -> str:
    head, *rest = css.split("/*")
    return " ".join([head, *(part.partition("*/")[2] for part in rest)])


def _is_property(name: str, value: str) -> bool:
    return _is_value(value) and not (name in _NOT_INHERITED and "inherit" in value.lower())


def _is_value(value: str) -> bool:
    """Whether a value of an attribute or a property calls only known functions, and refers only to the document."""
    if _ODD.search(value):
        return False
    if "(" not in value and '"' not in value and "'" not in value:
        return True
    rest = _STRING.sub(" ", _URL.sub(" ", value))
    if '"' in rest or "'" in rest:
        return False
    return all(name.lower() in _FUNCTIONS for name in _FUNCTION.findall(rest))


class _Cost(NamedTuple):
    """What an element draws: elements in total, shapes, and characters of points that may have markers."""

    drawn: float = 0
    shapes: float = 0
    points: float = 0


class _References(NamedTuple):
    """The ids that an element uses, grouped by how often the named element is drawn."""

    once: list[str]
    for_each_shape: list[str]
    for_each_point: list[str]
    copied: str


_NO_IDS: Final[frozenset[str]] = frozenset()
_NO_REFERENCES: Final = _References([], [], [], "")


def _drawn_elements(root: _Element) -> float:
    """Count the elements that are drawn, with repetitions by references; infinite if they nest too deeply."""
    elements = list(root.iter())
    by_id = {element.get("id"): element for element in reversed(elements) if element.get("id")}
    references = _all_references(elements, by_id.keys())
    if all(used is _NO_REFERENCES for used in references.values()):
        return len(elements)
    costs = dict.fromkeys(elements, _Cost())
    # Each round resolves one more level of references.
    for _ in range(_MAX_DEPTH):
        before, costs = costs, {}
        known = {name: before[element] for name, element in by_id.items() if name is not None}
        for element in reversed(elements):
            costs[element] = _cost(element, references[element], known, (costs[child] for child in element))
        if costs[root].drawn > image_types.MAX_SVG_ELEMENTS or costs == before:
            return costs[root].drawn
    return float("inf")


def _cost(element: _Element, used: _References, known: dict[str, _Cost], children: Iterable[_Cost]) -> _Cost:
    inside = list(children)
    shapes = sum(child.shapes for child in inside)
    points = sum(child.points for child in inside)
    drawn = 1 + sum(child.drawn for child in inside) + sum(known[name].drawn for name in used.once)
    own_shapes, own_points = 0.0, 0.0
    if used.copied:
        copied = known[used.copied]
        drawn += copied.drawn
        own_shapes, own_points = copied.shapes, copied.points
    elif _tag(element) in _SHAPES:
        own_shapes, own_points = 1, len(element.get("d", "")) + len(element.get("points", ""))
    drawn += own_shapes * sum(known[name].drawn for name in used.for_each_shape)
    drawn += own_points * sum(known[name].drawn for name in used.for_each_point)
    return _Cost(drawn, shapes + own_shapes, points + own_points)


def _all_references(elements: list[_Element], ids: AbstractSet[str | None]) -> dict[_Element, _References]:
    """The references of each element, with those that it inherits."""
    effective: dict[_Element, dict[str, frozenset[str]]] = {}
    found: dict[_Element, _References] = {}
    for element in elements:
        parent = element.getparent()
        inherited = effective[parent] if parent is not None else {}
        own = _own_references(element, ids)
        # Inherited references count even if the element has a value of its own, which a browser may not understand.
        used = inherited if not own else {key: inherited.get(key, _NO_IDS) | own.get(key, _NO_IDS) for key in _KEYS}
        effective[element] = used if not own else {key: used[key] for key in _KEYS if key not in _NOT_INHERITED}
        copied = _copied(element, ids)
        found[element] = _references(own, used, copied) if used or copied else _NO_REFERENCES
    return found


def _references(own: dict[str, frozenset[str]], used: dict[str, frozenset[str]], copied: str) -> _References:
    return _References(
        once=[name for key in _NOT_INHERITED for name in own.get(key, ())],
        for_each_shape=[name for key in (*_PAINTS, *_MARKERS) for name in used.get(key, ())],
        for_each_point=[name for key in _MARKERS_OF_EACH_POINT for name in used.get(key, ())],
        copied=copied,
    )


def _copied(element: _Element, ids: AbstractSet[str | None]) -> str:
    """The id of the element that an element repeats as its content; empty if it repeats none."""
    if _tag(element) not in {"use", "pattern"}:
        return ""
    name = (element.get("href") or element.get(f"{_XLINK}href") or "").removeprefix("#")
    return name if name in ids else ""


def _own_references(element: _Element, ids: AbstractSet[str | None]) -> dict[str, frozenset[str]]:
    """The ids that the properties of an element refer to, by property, in attributes and in the style."""
    values = [(str(name), value) for name, value in element.attrib.items() if name in _KEYS]
    if "url(" in (style := element.get("style", "")).lower():
        values += [(name, value) for name, value in _declarations(style) if name in _KEYS]
    found: dict[str, frozenset[str]] = {}
    for key, value in values:
        if names := {name for groups in _URL.findall(value) if (name := "".join(groups)) in ids}:
            found[key] = found.get(key, _NO_IDS) | names
    return found
