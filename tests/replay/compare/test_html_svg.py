"""HTML and SVG: visible content counts, formatting of the markup does not."""

from __future__ import annotations

import pytest

from nbtape.replay.compare.html_svg import compare_html, compare_svg
from nbtape.replay.compare.settings import Terms

SVG = '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink">{}</svg>'


@pytest.mark.parametrize(
    ("old", "new", "verdict"),
    [
        ("<p>7 rows</p>", "<p>8 rows</p>", "different"),
        ("<p>7 rows", "<p>7 rows</p>\n", "cosmetic"),
        ("<p>a <b>b</b></p>", "<p>a b</p>", "different"),
        ("<p>a</p><p>b</p>", "<p>a</p>", "different"),
        ("<pre>a  b</pre>", "<pre>a b</pre>", "different"),
        ("<p>a  b</p>", "<p>a b</p>", "cosmetic"),
        ('<i id="T_ab12c_row0">1</i><i id="T_ab12c">', '<i id="T_ff00e_row0">1</i><i id="T_ff00e">', "cosmetic"),
        ('<i id="T_ab12c_row0">1</i><i id="T_ab12c">', '<i id="T_ff00e_row0">1</i><i id="T_ff00f">', "different"),
        ('<i id="T_ab12c_row0">', '<i id="T_ff00e_row1">', "different"),
        ("<i id='sk-container-id-3'>", "<i id='sk-container-id-12'>", "cosmetic"),
        ("<p>0b5c1a52-6f0c-4c9b-9d53-5d5b3f7d7c11", "<p>0b5c1a52-6f0c-4c9b-9d53-5d5b3f7d7c12", "different"),
        ('<a href="#sk-container-id-3">1</a>', '<a href="#sk-container-id-12">1</a>', "cosmetic"),
        ('<a href="/sk-container-id-3">1</a>', '<a href="/sk-container-id-12">1</a>', "different"),
        ("<iframe srcdoc='<p>a  b'></iframe>", "<iframe srcdoc='<p>a b</p>'></iframe>", "cosmetic"),
        ("<iframe srcdoc='<p>7 rows'></iframe>", "<iframe srcdoc='<p>8 rows'></iframe>", "different"),
        ("<iframe srcdoc='<p>7</p>'></iframe>", "<iframe></iframe><p>7</p>", "different"),
        ("<style>p {color: red}</style>", "<style>p {color: blue}</style>", "different"),
        ("<b>0.12345678</b>", "<b>0.12345679</b>", "drift"),
        ("<b>12</b>", "<i>12</i>", "different"),
        ("<img alt='7'>", "<img alt='8'>", "different"),
        ("<td>1</td><td>2</td>", "<td>12</td><td></td>", "different"),
        ("<details open>a", "<details>a", "different"),
    ],
)
def test_html_is_compared_by_its_visible_content(old: str, new: str, verdict: str) -> None:
    assert compare_html(old, new, Terms()).verdict == verdict
    assert compare_html(new, old, Terms()).verdict == verdict


@pytest.mark.parametrize(
    ("old", "new", "verdict"),
    [
        (
            '<clipPath id="p1a"/><g clip-path="url(#p1a)"/>',
            '<clipPath id="p9f"/><g clip-path="url(#p9f)"/>',
            "cosmetic",
        ),
        ('<g id="a"/><g id="b"/><use href="#a"/>', '<g id="a"/><g id="b"/><use href="#b"/>', "different"),
        ("<metadata><date>1</date></metadata><g/>", "<metadata><date>2</date></metadata><g/>", "cosmetic"),
        ('<g id="a"/><path d="M 10.123456 5.5"/>', '<g id="a"/><path d="M 10.123556 5.5"/>', "drift"),
        ('<g id="a"/><path d="M 10.123456 5.5"/>', '<g id="a"/><path d="M 10.133456 5.5"/>', "different"),
        ("<text>2024</text>", "<text>2023</text>", "different"),
        ('<path style="fill: #ff0000"/>', '<path style="fill: #0000ff"/>', "different"),
    ],
)
def test_svg_is_compared_by_its_visible_content(old: str, new: str, verdict: str) -> None:
    left, right = SVG.format(old), SVG.format(new)
    assert compare_svg(left, right, Terms()).verdict == verdict
    assert compare_svg(right, left, Terms()).verdict == verdict


BOMB = '<!DOCTYPE a [<!ENTITY b "bbbbbbbbbb">' + "".join(
    f'<!ENTITY {name} "{f"&{inner};" * 10}">' for inner, name in zip("bcdefgh", "cdefghi", strict=True)
)
HOSTILE = [
    "",
    "\0",
    "\ud800",
    "<" * 100_000,
    "<b>" * 100_000,
    "<b a='" + "x" * 100_000,
    "<!--" * 50_000,
    "<svg>" * 3_000 + "</svg>" * 3_000,
    "&" * 100_000,
    "<a " + " ".join(f"b{i}='1'" for i in range(20_000)) + ">",
    BOMB + "]><svg>&i;</svg>",
    '<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><svg>&b;</svg>',
    "<?xml version='1.0' encoding='utf-16'?><svg/>",
    "{'a', 'b'}",
    "<iframe srcdoc='" * 5_000,
    "<iframe srcdoc='<iframe srcdoc=&quot;<iframe srcdoc=&amp;quot;<iframe srcdoc=x>&amp;quot;>&quot;>'>",
]


@pytest.mark.timeout(60)
@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: repr(text[:12]))
def test_hostile_markup_is_compared_quickly(text: str) -> None:
    for compare in (compare_html, compare_svg):
        assert compare(text, text, Terms()).verdict == "same"
        assert compare(text, text + "7", Terms()).verdict == compare(text + "7", text, Terms()).verdict
        compare(text, text.replace("b", "c", 1), Terms())
