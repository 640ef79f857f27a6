"""What only scripts can draw is named, by kind and title, wherever it cannot be seen. The bundles are recorded ones."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from nbformat.v4 import new_code_cell, new_notebook, new_output

from nbtape.export.html import render
from nbtape.export.markdown import write_report
from nbtape.notebook.charts import chart_of, is_blank, needs_scripts, shows_something
from nbtape.notebook.output_text import cell_text
from nbtape.session.extracted_files import FileExtractor

#: MIME bundles that the libraries display, by library. Those of libraries are cut.
BUNDLES: dict[str, list[dict[str, Any]]] = json.loads(Path(__file__).with_name("charts.json").read_text())

NAMES = {
    "plotly": "Plotly chart: Sales by region.",
    "plotly as html": "Plotly chart: Sales by region.",
    "altair": "Vega-Lite chart: Alt title.",
    "altair as json": "Vega-Lite chart: Alt title.",
    "bokeh": "Bokeh chart: Bokeh title.",
    "folium": "Folium map: Stops in Turin.",
}


def outputs(name: str) -> list[Any]:
    return [new_output("display_data", data=data) for data in BUNDLES[name]]


@pytest.mark.parametrize("name", NAMES)
def test_a_chart_is_named_for_the_model_and_not_said_to_be_saved(name: str, tmp_path: Path) -> None:
    extraction = FileExtractor(tmp_path, "session", with_html=True).extract(0, 1, outputs(name))
    text = cell_text(outputs(name), extraction.lines)
    assert NAMES[name] in text
    assert "saved to" not in text
    assert (extraction.files, list(tmp_path.iterdir())) == ([], [])


@pytest.mark.parametrize("name", NAMES)
def test_a_chart_has_a_placeholder_in_exports(name: str) -> None:
    notebook = new_notebook(cells=[new_code_cell("draw()", execution_count=1, outputs=outputs(name))])
    assert NAMES[name] in render(notebook, "x")
    assert NAMES[name] in write_report(notebook, "x", "images").text


@pytest.mark.parametrize("name", ["plotly library", "bokeh library"])
def test_a_library_that_is_loaded_is_not_worth_a_line(name: str, tmp_path: Path) -> None:
    assert all(map(is_blank, BUNDLES[name]))
    assert FileExtractor(tmp_path, "session", with_html=True).extract(0, 1, outputs(name)).files == []
    assert cell_text(outputs(name), {}) == ""


def test_a_library_with_a_chart_is_that_chart() -> None:
    library, chart = (BUNDLES[name][-1]["text/html"] for name in ("plotly library", "plotly as html"))
    for html in (library + chart, library + "<div id=x></div><script>Plotly.react(x, data)</script>"):
        assert not is_blank({"text/html": html})
        assert chart_of({"text/html": html}) is not None


def test_jupyterlab_needs_a_package_for_charts_of_plotly_only() -> None:
    """JupyterLab shows nothing at all for them otherwise."""
    assert "JupyterLab with the package plotly installed" in str(chart_of(BUNDLES["plotly"][0]))
    assert "JupyterLab." in str(chart_of({"application/vnd.vegalite.v5+json": {}}))


@pytest.mark.parametrize("name", NAMES)
def test_a_chart_with_an_image_is_that_image(name: str, tmp_path: Path) -> None:
    data = {**BUNDLES[name][-1], "image/svg+xml": "<svg xmlns='http://www.w3.org/2000/svg'/>"}
    assert chart_of(data) is None
    files = FileExtractor(tmp_path, "session").extract(0, 1, [new_output("display_data", data=data)]).files
    assert "image/svg+xml" in {file["mime_type"] for file in files}


@pytest.mark.parametrize(
    ("html", "title"),
    [
        ("<div id=x></div><script>draw()</script>", "HTML with scripts."),
        ("<h2></h2><script>'<h1>no</h1>'</script>", "HTML with scripts."),
        ("<style>/* <h1>no</h1> */</style><title>Flows</title><script>draw()</script>", ": Flows."),
        ("<div id=x></div><script>never closed <h1>no</h1>", "HTML with scripts."),
        ('<iframe src="map.html"></iframe>', "HTML with scripts."),
        ('<iframe srcdoc="&lt;title&gt;Flows &amp;amp; stocks&lt;/title&gt;&lt;p&gt;"></iframe>', ": Flows & stocks."),
    ],
)  # fmt: skip
def test_other_html_that_only_scripts_fill_is_named(html: str, title: str) -> None:
    assert title in str(chart_of({"text/html": html}))


@pytest.mark.parametrize(
    "html", ["<b>a</b>", "a<script>x</script>", "<script>x</script><img src=x>", "<div style='background: red'></div>"]
)
def test_html_that_is_seen_without_scripts_stays_html(html: str, tmp_path: Path) -> None:
    data = {"text/html": html}
    assert (chart_of(data), is_blank(data)) == (None, False)
    shown = [new_output("display_data", data=data)]
    assert FileExtractor(tmp_path, "session").extract(0, 1, shown).files == []
    (file,) = FileExtractor(tmp_path, "session", with_html=True).extract(0, 1, shown).files
    content = Path(file["path"]).read_text()
    assert content.endswith(html)
    assert ("scripts and frames do not run" in content) == needs_scripts(html)


@pytest.mark.parametrize(
    ("html", "seen"),
    [
        ("", False),
        (" &nbsp;\n<p></p><!-- text --><style>p {}</style><head>x</head><title>x</title>", False),
        ("<script>if (a < b) { '<b>' }</script >text", True),
        ("<script>if (a < b) { '<b>' }</script >", False),
        ("<script>never closed", False),
        ("<SCRIPT>x</SCRIPT><HR>", True),
        ("a < b", True),
    ],
)
def test_what_is_seen_of_html_is_its_text_and_what_is_drawn(html: str, seen: bool) -> None:  # noqa: FBT001
    assert shows_something(html) is seen


@pytest.mark.parametrize(
    "value", [None, 7, "text", "{", [], {"title": 7}, {"layout": 7}, {"layout": {"title": {"text": []}}}]
)
def test_a_bundle_of_any_shape_is_named(value: Any) -> None:
    for mime in (
        "application/vnd.plotly.v1+json",
        "application/vnd.vegalite.v5+json",
        "application/vnd.bokehjs_exec.v0+json",
    ):
        assert chart_of({mime: value}) is not None
    chart_of({"text/html": value})


@pytest.mark.parametrize(
    "html",
    [
        "<script>" * 200_000,
        "<!--" * 200_000,
        "<" * 500_000,
        "<a " * 300_000,
        '<iframe srcdoc="' * 100_000,
        "Plotly.newPlot(" * 100_000 + "<script>",
        '<script>Plotly.newPlot("x",' + "[" * 100_000,
        "<script>vega" + "})({" * 100_000,
        '"name":"Title","id":"' * 50_000 + "<script>",
        "<h1>" * 200_000 + "<script>",
        "window.PlotlyConfig" + "<script></script>" * 200_000,
    ],
    ids=range(11),
)
def test_hostile_html_costs_little(html: str) -> None:
    began = time.process_time()
    chart_of({"text/html": html})
    is_blank({"text/html": html})
    chart_of({"application/vnd.bokehjs_exec.v0+json": html})
    assert time.process_time() - began < 3
