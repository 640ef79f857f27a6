"""What never repeats is masked where it stands and nowhere else: a real change next to it is different."""

from __future__ import annotations

import base64
import json
import random
import re
from typing import TYPE_CHECKING, Any, Final

import pytest
from full_matrix import first

from nbtape.replay.compare.cell_outputs import judge
from nbtape.replay.compare.settings import Context, ReplaySettings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

#: 2026-03-05 14:00:00 UTC, and an hour and two days later.
BEGAN = 1772719200.0
LATER = BEGAN + 3600 + 2 * 86400
RECORDED = Context(BEGAN, BEGAN + 10, "/home/ann/work", 0, writes_file=True)
REPLAYED = Context(LATER, LATER + 10, "/srv/replay", 0, writes_file=True)


def stream(text: str) -> dict[str, Any]:
    return {"output_type": "stream", "name": "stdout", "text": text}


def display(mime: str, value: Any) -> dict[str, Any]:
    return {"output_type": "display_data", "data": {mime: value}, "metadata": {}}


def pdf(content: str) -> dict[str, Any]:
    return display("application/pdf", base64.b64encode(content.encode("latin-1")).decode())


CHART = """
<style>#altair-viz-{a}.vega-embed {{ width: 100%; }}</style>
<div id="altair-viz-{a}" class="chart"></div>
<script>
  (function(spec) {{
    const div = document.getElementById("altair-viz-{a}");
    embed(div, spec, {{"mode": "lite"}});
  }})({{"title": "Sales 2024", "values": [{{"day": "mo", "sold": 28}}, {{"day": "tu", "sold": 41}}]}});
</script>
<p>28 sold on day 1</p>
"""
MAP = """<div style="width:100%"><iframe srcdoc="&lt;html&gt;&lt;style&gt;#map_{r} {{ left: 5.5%; }}&lt;/style&gt;
&lt;div class=&quot;folium-map&quot; id=&quot;map_{r}&quot;&gt;&lt;/div&gt;&lt;p&gt;depot 7&lt;/p&gt;
&lt;script&gt;var map_{r} = L.map(&quot;map_{r}&quot;, {{ center: [47.4, 8.5], zoom: 9 }});
var marker_{h} = L.marker([47.41, 8.51]).addTo(map_{r});
&lt;/script&gt;&lt;/html&gt;" style="height:60%"></iframe></div>"""
ANIMATION = """<img id="_anim_img{a}"><input id="_anim_slider{a}" name="slider" max="10" value="7">
<button onclick="anim{a}.next_frame()">next 3</button><a href="#_anim_img{a}">top 5</a>
<script>var frames = new Array(2); anim{a} = new Animation(frames, "_anim_img{a}", "_anim_slider{a}", 200);</script>"""
LOADING = """(function(root) {{ const id = "{u}";
root.run(document.getElementById("{u}"), ["bokeh-3.4.1.min.js"], 5000); }})(window);"""
PDF = """%PDF-1.4
1 0 obj << /Title (Sales 2024) /CreationDate (D:{d}Z) /ModDate (D:{d}Z) >> endobj
2 0 obj << /Length 17 >> stream 10 20 m 30 40 l S endstream endobj
trailer << /Size 3 /ID [<{h}> <{h}>] >> startxref 217
"""

#: Outputs with fields: a (a UUID without dashes), u (with dashes), i (with underscores), h, r (random hex), e, p (of
#: mpld3), d (a time), m (an address), s and n (durations, counts), w (what %%writefile says).
OUTPUTS: Final[dict[str, Callable[[dict[str, str]], dict[str, Any]]]] = {
    "altair": lambda v: display("text/html", CHART.format(**v)),
    "folium": lambda v: display("text/html", MAP.format(**v)),
    "animation": lambda v: display("text/html", ANIMATION.format(**v)),
    "mpld3": lambda v: display(
        "text/html",
        '<div id="fig_el{e}"></div><script>draw("fig_el{e}", {{"id": "el{e}", "data": [12, 7]}});</script>'.format(**v),
    ),
    "mpld3 with names": lambda v: display(
        "text/html",
        '<div id="fig_{p}"></div><script>draw("fig_{p}", {{"id": "{p}", "data": [12, 7]}});</script>'.format(**v),
    ),
    "itables": lambda v: display(
        "text/html",
        '<table id="itables_{i}"></table><script>show("#itables_{i}:not(.dataTable)", 12)</script>'.format(**v),
    ),
    "bokeh": lambda v: display("application/vnd.bokehjs_load.v0+json", LOADING.format(**v)),
    "nested script": lambda v: display(
        "application/vnd.holoviews_exec.v0+json", {"id": 7, "script": LOADING.format(**v), "size": [3, 4]}
    ),
    "javascript": lambda v: display(
        "application/javascript", "element.append('<b id=\"{a}\">12</b>'); n = 7;".format(**v)
    ),
    "handle": lambda v: display("text/plain", "<DisplayHandle display_id={h}> of 12".format(**v)),
    "figure widget": lambda v: display("text/plain", "{{'type': 'bar', 'uid': '{u}', 'y': [12, 7]}}".format(**v)),
    "execution result": lambda v: display(
        "text/plain",
        "<ExecutionResult object at {m}, execution_count=7 info=<ExecutionInfo object at {m}, raw_cell=1> "
        "result=12>".format(**v),
    ),
    "timeit": lambda v: stream(
        "size: 7 {s} µs ± {s} ns per loop (mean ± std. dev. of 5 runs, {n} loops each), sum 12\n".format(**v)
    ),
    "python -m timeit": lambda v: stream("size: 7 {n} loops, best of 5: {s} usec per loop, sum 12\n".format(**v)),
    "time": lambda v: stream(
        "rows: 7 CPU times: user {s} ms, sys: {s} µs, total: {s} ms\nWall time: {s} ms\n12\n".format(**v)
    ),
    "PDF": lambda v: pdf(PDF.format(**v)),
    "writefile": lambda v: stream("{w} results-12.csv\n".format(**v)),
}


def dashed(name: str) -> str:
    return f"{name[:8]}-{name[8:12]}-{name[12:16]}-{name[16:20]}-{name[20:]}"


def values(seed: int, began: float) -> dict[str, str]:
    """Random values for all fields, as a run that began at this time would have them."""
    chance = random.Random(seed)

    def uuid() -> str:
        digits = list(random_hex())
        digits[12], digits[16] = "4", chance.choice("89ab")
        return "".join(digits)

    def random_hex() -> str:
        return f"{chance.getrandbits(128):032x}"

    moment = {BEGAN: "20260305140003", LATER: "20260307150004"}[began]
    return {
        "a": uuid(),
        "i": dashed(uuid()).replace("-", "_"),
        "p": f"el{chance.randint(99, 99999)}{dashed(uuid())}{chance.randrange(10**9)}",
        "u": dashed(uuid()),
        "h": random_hex(),
        "r": random_hex(),
        "e": f"2361{chance.randrange(10**14, 10**15)}",
        "d": moment,
        "m": f"7f{chance.getrandbits(40):010x}",
        "s": f"{chance.uniform(1, 900):.3g}",
        "n": f"{10 ** chance.randint(2, 7):,}",
        "w": chance.choice(["Writing", "Overwriting"]),
    }


OLD, NEW = values(1, BEGAN), {**values(2, LATER), "w": "Overwriting"}
OLD["w"] = "Writing"


def verdict(old: dict[str, Any], new: dict[str, Any], settings: ReplaySettings | None = None) -> str:
    return judge([old], [new], RECORDED, REPLAYED, settings).verdict


@pytest.mark.parametrize("name", OUTPUTS)
def test_what_never_repeats_is_cosmetic(name: str) -> None:
    assert verdict(OUTPUTS[name](OLD), OUTPUTS[name](NEW)) == "cosmetic"
    assert verdict(OUTPUTS[name](OLD), OUTPUTS[name](OLD)) == "same"


@pytest.mark.parametrize("seed", first(3, range(100)))
def test_what_never_repeats_is_cosmetic_whatever_its_value(seed: int) -> None:
    other = values(seed + 100, LATER)
    assert {name: verdict(render(OLD), render(other)) for name, render in OUTPUTS.items()} == dict.fromkeys(
        OUTPUTS, "cosmetic"
    ) | {"writefile": "cosmetic" if other["w"] != OLD["w"] else "same"}


def mutations(text: str, masked: dict[str, str]) -> Iterator[str]:
    """A text with one real change each: a word, a number, a line or a mark outside of what is masked."""
    holes = [match.span() for value in masked.values() for match in re.finditer(re.escape(value), text)]

    def is_free(start: int, end: int) -> bool:
        return all(end <= left or start >= right for left, right in holes)

    for match in re.finditer(r"(?:<|&lt;)/\w+(?:>|&gt;)|[A-Za-z]{2,}|\d+|[^\w\s]", text):
        if is_free(*match.span()) and not match[0].startswith(("</", "&lt;/")):  # a broken end tag is notation
            start, end = match.span()
            token = match[0]
            changed = str((int(token[-1]) + 1) % 10) if token.isdigit() else "x" if token[-1] != "x" else "y"
            yield text[: end - 1] + changed + text[end:]
            if not re.match(r"[^\w]", token):
                yield text[:start] + token[::-1] * 2 + text[end:]


def mutated(output: dict[str, Any], masked: dict[str, str]) -> Iterator[dict[str, Any]]:
    if output["output_type"] == "stream":
        yield from (stream(text) for text in mutations(output["text"], masked))
        return
    ((mime, value),) = output["data"].items()
    if mime == "application/pdf":
        yield from (pdf(text) for text in mutations(base64.b64decode(value).decode("latin-1"), masked))
    elif isinstance(value, str):
        yield from (display(mime, text) for text in mutations(value, masked))
    else:
        yield display(mime, {**value, "id": 8})
        yield display(mime, {**value, "size": [3, 5]})
        yield from (display(mime, {**value, "script": text}) for text in mutations(value["script"], masked))


@pytest.mark.parametrize("name", OUTPUTS)
def test_a_real_change_next_to_it_is_different(name: str) -> None:
    old, new = OUTPUTS[name](OLD), OUTPUTS[name](NEW)
    wrong = [json.dumps(each) for each in mutated(new, NEW) if verdict(old, each) != "different"]
    assert not wrong, f"{len(wrong)} changes are missed: {wrong[:3]}"


@pytest.mark.parametrize(
    "name", ["altair", "folium", "animation", "mpld3", "mpld3 with names", "itables", "bokeh", "nested script"]
)
def test_an_id_that_no_longer_leads_to_its_element_is_different(name: str) -> None:
    """One of several occurrences changes, so that a script no longer finds its element."""
    old, new, third = OUTPUTS[name](OLD), json.dumps(OUTPUTS[name](NEW)), values(3, LATER)
    key = {
        "bokeh": "u",
        "nested script": "u",
        "mpld3": "e",
        "mpld3 with names": "p",
        "itables": "i",
        "folium": "r",
    }.get(name, "a")
    places = [match.span() for match in re.finditer(re.escape(NEW[key]), new)]
    assert len(places) > 1
    for start, end in places:
        broken = json.loads(new[:start] + third[key] + new[end:])
        assert verdict(old, broken) == verdict(json.loads(new), broken) == verdict(broken, old) == "different"


@pytest.mark.parametrize("name", OUTPUTS)
def test_without_its_rule_what_never_repeats_is_different(name: str) -> None:
    strict = ReplaySettings(cosmetic=frozenset())
    assert verdict(OUTPUTS[name](OLD), OUTPUTS[name](NEW), strict) == "different"


HASHES: Final = [
    ("d41d8cd98f00b204e9800998ecf8427e", "9e107d9d372bb6826bd81d3542a419d6"),  # MD5
    ("da39a3ee5e6b4b0d3255bfef95601890afd80709", "2fd4e1c67a2d28fced849ee1bb76e7391b93eb12"),  # SHA-1
    ("e3b0c44298" + "4f3f289869e345daa20ac4e87987dbce", "e3b0c44298" + "0b5c1a526f0c4c9b9d535d5b3f7d7c11"),
    ("4f3f2898", "0b5c1a52"),
]


@pytest.mark.parametrize(("old", "new"), HASHES)
@pytest.mark.parametrize("template", ['<b data-hash="{}">1</b>', "<script>load('main-{}.js', 'sha-{}.css')</script>"])
def test_a_hash_in_markup_is_content(template: str, old: str, new: str) -> None:
    left, right = (display("text/html", template.replace("{}", value)) for value in (old, new))
    assert verdict(left, right) == verdict(right, left) == "different"


@pytest.mark.parametrize("template", ["{}", "order {}", "<p>{}</p>"])
def test_a_random_name_that_is_shown_is_content(template: str) -> None:
    for key in ("a", "u", "h"):
        left, right = (template.format(each[key]) for each in (OLD, NEW))
        assert verdict(stream(left), stream(right)) == "different"
        assert verdict(display("text/html", left), display("text/html", right)) == "different"
        assert verdict(display("application/json", [left]), display("application/json", [right])) == "different"
        old, new = (display("text/html", f"<iframe srcdoc='{text}'></iframe>") for text in (left, right))
        assert verdict(old, new) == "different"


@pytest.mark.parametrize("old", ["20260305140013Z", "20200101000000Z"])
def test_a_date_of_a_pdf_that_is_not_when_its_cell_ran_is_content(old: str) -> None:
    left, right = OUTPUTS["PDF"]({**OLD, "d": old[:14]}), OUTPUTS["PDF"](NEW)
    assert verdict(left, right) == "different"


def test_ids_of_a_pdf_whose_dates_are_equal_are_content() -> None:
    assert verdict(OUTPUTS["PDF"](OLD), OUTPUTS["PDF"]({**OLD, "h": NEW["h"]})) == "different"


def test_only_writefile_may_write_a_file_again() -> None:
    old, new = OUTPUTS["writefile"](OLD), OUTPUTS["writefile"](NEW)
    assert judge([old], [new], Context(), Context()).verdict == "different"


@pytest.mark.timeout(30)
@pytest.mark.parametrize(
    "text",
    [
        "object at " * 9_000,
        "7f" * 20_000,
        "CPU times: user " * 3_000,
        "1 ms ± " * 6_000,
        "1 loops, best of 3: " * 2_000,
        "The slowest run took 3 times longer than the fastest. " * 1_000,
        "el" + "1" * 40_000,
        "function (" * 4_000,
    ],
    ids=lambda text: text[:12],
)
def test_hostile_text_costs_little(text: str) -> None:
    for mime in ("text/plain", "text/html", "application/json", "application/javascript"):
        assert verdict(display(mime, text), display(mime, text)) == "same"
        assert verdict(display(mime, text), display(mime, text + "x")) == "different"
    for content in (text, "/CreationDate (D:" * 5_000, "/ID [<" * 9_000, "/ID" + " " * 50_000):
        assert verdict(pdf(f"{content}1".replace("±", "+")), pdf(f"{content}2".replace("±", "+"))) == "different"
