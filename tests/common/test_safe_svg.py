"""Foreign SVG is reduced to a bounded number of drawing elements."""

from __future__ import annotations

import re

import pytest
from lxml import etree
from payloads import EVIL, RUN
from svg_payloads import BOMBS, DISARMED, GRAPHVIZ, PLOTLY, REFUSED, svg

from nbtape.common.safe_images import is_safe_raster, safe_image
from nbtape.common.safe_svg import sanitise_svg

ACTIVE = {
    "script",
    "handler",
    "listener",
    "set",
    "discard",
    "foreignObject",
    "iframe",
    "link",
    "video",
    "audio",
    "filter",
}


def disarmed(text: str) -> str | None:
    content = safe_image("image/svg+xml", text)
    return None if content is None else content.decode()


def test_the_corpus_is_large() -> None:
    assert len(DISARMED) + len(REFUSED) + len(BOMBS) >= 90


@pytest.mark.parametrize("text", DISARMED.values(), ids=DISARMED)
def test_scripts_animations_and_external_references_are_removed(text: str) -> None:
    left = disarmed(text)
    assert left is not None
    root = etree.fromstring(left)
    tags = {str(element.tag).partition("}")[2] for element in root.iter()}
    assert not tags & ACTIVE
    assert not {tag for tag in tags if tag.startswith("animate")}
    attributes = {str(name): str(value) for element in root.iter() for name, value in element.attrib.items()}
    assert not {name for name in attributes if name.rpartition("}")[2].startswith("on") or name.endswith("}base")}
    for name, value in attributes.items():
        assert EVIL not in value
        assert "javascript" not in value
        if name.endswith("href"):
            assert value.startswith(("#", "data:image/png;base64,"))
    assert EVIL not in "".join(style.text or "" for style in root.iter("{*}style"))
    assert re.search(r"<\?|<!|&[^lga#]", left) is None
    assert 'fill="green"' in left


@pytest.mark.parametrize("text", REFUSED.values(), ids=REFUSED)
def test_ambiguous_svg_is_rejected(text: str) -> None:
    assert disarmed(text) is None


@pytest.mark.timeout(60)
@pytest.mark.parametrize("text", BOMBS.values(), ids=BOMBS)
def test_an_image_that_draws_too_much_is_rejected(text: str) -> None:
    assert disarmed(text) is None


@pytest.mark.timeout(60)  # With quadratic cost this would take hours.
@pytest.mark.parametrize(
    "text",
    [
        svg("", "".join(f"a{number}='' " for number in range(9_000))),
        svg("", "".join(f"a{number}='' " for number in range(200_000))),
        svg("<x/>a" * 400_000),
        svg("<text>" + "<x/>a" * 400_000 + "</text>"),
        svg(f"<style>{'a{' * 1_000_000}</style>"),
        svg(f"<style>{'/*' * 1_000_000}</style>"),
        svg(f"<style>{'a' * 2_000_000}</style>"),
        svg(f"""<g style="{"'" + ";" * 1_000_000}"/>"""),
        svg(f"""<g style="{"fill:rgb(" * 200_000}"/>"""),
        svg(f"""<g fill="({"a" * 2_000_000}"/>"""),
        svg(f"""<g fill="{"url(" * 500_000}"/>"""),
        svg(f"""<g fill="{"url(#" * 500_000}"/>"""),
        svg(f"""<g fill="url({" " * 2_000_000}"/>"""),
        svg(f"""<use href="{" " * 2_000_000}#"/>"""),
        svg(f"""<image href="data:image/png;base64,{" " * 2_000_000}!"/>"""),
        svg('<g fill="url(#a)">' * 200 + '<path stroke="url(#a)"/>' * 100_000 + "</g>" * 200),
        "<!DOCTYPE svg PUBLIC" + " " * 2_000_000,
    ],
    ids=lambda text: text[-40:],
)
def test_hostile_text_takes_linear_time(text: str) -> None:
    disarmed(text)


@pytest.mark.parametrize("text", [GRAPHVIZ, PLOTLY], ids=["Graphviz", "plotly"])
def test_images_of_common_libraries_keep_every_drawing_element(text: str) -> None:
    left = disarmed(text)
    assert left is not None
    before, after = (etree.fromstring(each.encode()) for each in (text, left))
    kept = {"d", "points", "fill", "stroke", "cx", "transform", "viewBox", "clip-path", "width", "font-family", "class"}

    def drawn(root: etree._Element) -> list[object]:
        return [
            (
                element.tag,
                (element.text or "").strip(),
                (element.tail or "").strip(),
                {name: element.get(name) for name in kept},
            )
            for element in root.iter("{*}*")
        ]

    assert drawn(after) == drawn(before)
    assert left.count("url(") == text.count("url(")
    for style in before.xpath("//@style"):
        for declaration in str(style).split(";"):
            assert "".join(declaration.split()) in "".join(left.replace("&quot;", '"').split())


def test_sanitizing_twice_changes_nothing() -> None:
    for text in (*DISARMED.values(), GRAPHVIZ, PLOTLY):
        once = sanitise_svg(text.encode(), is_safe_raster)
        assert once is not None
        assert sanitise_svg(once, is_safe_raster) == once
        assert RUN.encode() not in re.sub(rb"<(title|text)>.*?</\1>", b"", once)
