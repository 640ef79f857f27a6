"""What HTML hides from its reader, an exported page does not show."""

from __future__ import annotations

import re
import time

import pytest

from nbtape.export.hidden_html import without_hidden
from nbtape.export.sanitise_html import inert_html

TOGGLED = "<style>p {display: none} input:checked ~ p {display: block} p:hover {display: block}</style>"

#: As scikit-learn shows an estimator: a fallback that its style sheet hides, and the rest, which it shows.
ESTIMATOR = """\
<style>/* a { */ #sk-1 div.sk-text-repr-fallback {display: none;}
#sk-1 div.sk-container { display: inline-block !important; }
@media print { #sk-1 { display: none } }</style>
<div id="sk-1" class="sk-top"><div class="sk-text-repr-fallback"><pre>Model()</pre><b>please rerun this cell</b></div>
<div class="sk-container" hidden><label>Model</label></div></div>"""


@pytest.mark.parametrize(
    ("html", "seen"),
    [
        ("<p>a</p><p hidden>b</p>c", "<p>a</p>c"),
        ('a <b style="color: red; display:none">b</b> c', "a  c"),
        ('<i style="visibility: hidden">b</i>c', "c"),
        ("<ul><li hidden>1</li><li>2</li></ul>", "<ul><li>2</li></ul>"),
        ("<p hidden>a<p>b", "<p>b</p>"),
        ("a &lt;i hidden&gt; b", "a &lt;i hidden&gt; b"),
        ("<style>.x{display:none}</style><p class='y x'>a</p><p class=y>b</p>", "<p>b</p>"),
        ("<style>#i > .x{display:none}</style><div id=i><p class=x>a</p></div><p class=x>b</p>", "<div></div><p>b</p>"),
        ("<style>p{display:none} p.x{display:block}</style><p class=x>b</p><p>a</p>", "<p>b</p>"),
        ("<style>@media print{p{display:none}} b{display:none}</style><p>a</p><b>b</b>", "<p>a</p>"),
        ("<style>p:hover{display:none}</style><p>a</p>", "<p>a</p>"),
        (f"{TOGGLED}<input checked><p>a</p>", "<input><p>a</p>"),
        (f"{TOGGLED}<input><p>a</p>", ""),
        (f"{TOGGLED}<p>a</p><input checked>", ""),
    ],
)  # fmt: skip
def test_what_is_hidden_is_left_out_and_nothing_else(html: str, seen: str) -> None:
    # The attributes that nh3 adds to an input are in any order.
    assert re.sub("<input[^>]*>", "<input>", inert_html(html)) == seen


def test_an_estimator_is_shown_without_its_fallback() -> None:
    seen = inert_html(ESTIMATOR)
    assert "Model" in seen
    assert "rerun" not in seen


def test_html_that_hides_nothing_is_not_parsed() -> None:
    html = "<p>a<p>b & c"
    assert without_hidden(html) is html


@pytest.mark.parametrize(
    "html",
    [
        "hidden" + "<i>" * 900 + "<style>" + "i i i{display:none}" * 10_000 + "</style>",
        "hidden<style>" + "/*" * 100_000 + "</style>",
        "hidden<style>" + "@{" * 100_000 + "</style>",
        "hidden<style>" + " " * 100_000 + "{display:none}</style>",
        "<p hidden>" * 20_000,
    ],
    ids=["rules", "comments", "blocks", "blanks", "hidden"],
)
def test_hostile_html_costs_little(html: str) -> None:
    began = time.process_time()
    without_hidden(html)
    assert time.process_time() - began < 5
