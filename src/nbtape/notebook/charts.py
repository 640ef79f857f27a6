"""Names charts and other outputs that only scripts can draw: plotly, Vega (altair), Bokeh, folium, HTML with scripts.

Without a browser that runs their scripts, nothing of them is seen. A line with their kind and title stands for them.
"""

from __future__ import annotations

import html
import json
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from nbtape.common.image_types import EXTENSIONS as IMAGES
from nbtape.notebook.html_text import scan

if TYPE_CHECKING:
    from collections.abc import Mapping

_HTML: Final = "text/html"
_PLOTLY: Final = "application/vnd.plotly.v1+json"
_VEGA: Final = re.compile(r"application/vnd\.vega(?P<lite>lite)?\.v\d+(?:\+|\.)json")
#: As of JupyterLab 4.6. The package `plotly` brings an extension for its charts.
_DRAWN_BY_JUPYTERLAB: Final = frozenset(
    {"application/vnd.vega.v5+json", *(f"application/vnd.vegalite.v{version}+json" for version in (3, 4, 5))}
)
_BOKEH_CHART: Final = "application/vnd.bokehjs_exec"
_BOKEH_LIBRARY: Final = "application/vnd.bokehjs_load"
_BOKEH_LOADS: Final = "Loading BokehJS"
_PLOTLY_LOADS: Final = "window.PlotlyConfig"

_MAX_TITLE_CHARS: Final = 200

#: Longer texts are not searched.
_MAX_CHARS: Final = 20_000_000

_NEEDS_SCRIPTS: Final = re.compile(r"<(?:script|iframe|object|embed)\b", re.IGNORECASE)
#: Elements that are seen without a text.
_DRAWN: Final = frozenset(
    {"audio", "button", "hr", "img", "input", "meter", "progress", "select", "svg", "textarea", "video"}
)
_PAINTED: Final = re.compile(r"background|border", re.IGNORECASE)

_STRING: Final = r'"(?P<json>(?:[^"\\]|\\.){0,1000})"'
_BOKEH_TITLE: Final = re.compile(rf'"name": ?"Title", ?"id": ?"[^"]*", ?"attributes": ?\{{"text": ?{_STRING}')
_PLOTLY_CALL: Final = re.compile(r'Plotly\.newPlot\(\s*"[^"]{0,100}",')
#: The call of altair's HTML.
_VEGA_CALL: Final = re.compile(r"\}\)\((?=\{)")
_JSON: Final = json.JSONDecoder()
_HTML_TITLE: Final = re.compile(r"<(h[1-6]|title)\b[^>]{0,1000}>(?P<text>[^<]{1,1000})", re.IGNORECASE)
#: What is not text of the page, up to its end tag if it has one.
_CODE: Final = re.compile(r"<(script|style)\b.*?(?:</\1\b|\Z)", re.IGNORECASE | re.DOTALL)
_SRCDOC: Final = re.compile(r'\bsrcdoc="([^"]*)"')
_MARKUP: Final = re.compile(r"<[^<>]*>")

_UNKNOWN: Final = "HTML with scripts"

_IN_ANY: Final = "To see it, open the notebook in JupyterLab."
_WITH_PLOTLY: Final = "To see it, open the notebook in JupyterLab with the package plotly installed."
_IF_TRUSTED: Final = "To see it, open the notebook in JupyterLab and trust it (File > Trust Notebook)."
_IN_NONE: Final = "The notebook has its JSON, which JupyterLab does not draw."


@dataclass(frozen=True, slots=True)
class Chart:
    """Something that only scripts can draw, where it is seen, and the plain text of its bundle if that is needed."""

    kind: str
    title: str = ""
    where: str = _IF_TRUSTED
    text: str = ""

    def __str__(self) -> str:
        name = f"{self.kind}: {self.title}" if self.title else self.kind
        return f"[{name}. {self.where}]"


def chart_of(data: Mapping[str, Any]) -> Chart | None:
    """The chart in a MIME bundle; None without one, or if the bundle also has an image of it."""
    if any(mime in IMAGES for mime in data):
        return None
    for mime, value in data.items():
        if mime == _PLOTLY:
            return Chart("Plotly chart", _title(_dict(_dict(value).get("layout")).get("title")), _WITH_PLOTLY)
        if found := _VEGA.fullmatch(mime):
            kind = "Vega-Lite chart" if found["lite"] else "Vega chart"
            where = _IN_ANY if mime in _DRAWN_BY_JUPYTERLAB else _IF_TRUSTED if _HTML in data else _IN_NONE
            return Chart(kind, _title(_dict(value).get("title")), where)
        if mime.startswith(_BOKEH_CHART):
            return Chart("Bokeh chart", _bokeh_title("".join(map(str, data.values()))))
    text, plain = data.get(_HTML), data.get("text/plain")
    chart = _chart_in_html(text) if isinstance(text, str) and needs_scripts(text) else None
    if chart is None or chart.kind != _UNKNOWN:
        return chart
    return replace(chart, text=plain if isinstance(plain, str) else "")


def is_blank(data: Mapping[str, Any]) -> bool:
    """Whether a MIME bundle shows nothing: a library that is loaded, or HTML that scripts of other outputs fill."""
    if any(mime.startswith(_BOKEH_LIBRARY) for mime in data):
        return True
    if list(data) != [_HTML]:
        return False
    if needs_scripts(data[_HTML]):
        return _loads_plotly(data[_HTML])
    return _BOKEH_LOADS in data[_HTML] or not shows_something(data[_HTML])


def _loads_plotly(text: str) -> bool:
    """Whether HTML has only the scripts with which plotly's renderers for notebooks load its library."""
    if _PLOTLY_LOADS not in text or _PLOTLY_CALL.search(text):
        return False
    return all(isinstance(piece, str) and not _is_text(piece) for piece in scan(text))


def needs_scripts(text: str) -> bool:
    """Whether HTML has scripts or frames, which extracted files and exported pages do not run."""
    return bool(_NEEDS_SCRIPTS.search(text))


def shows_something(text: str) -> bool:
    """Whether something of HTML is seen without its scripts and frames."""
    for piece in scan(text):
        if isinstance(piece, str):
            if _is_text(piece):
                return True
        elif piece.name in _DRAWN or _PAINTED.search(piece.attributes):
            return True
    return False


def _is_text(piece: str) -> bool:
    return bool(html.unescape(piece).strip())


def _chart_in_html(text: str) -> Chart | None:
    if len(text) > _MAX_CHARS:
        return None
    if frame := _SRCDOC.search(text):
        document = html.unescape(frame[1])
        if "leaflet" in document:
            return Chart("Folium map", _html_title(document))
        return Chart(_UNKNOWN, _html_title(document))
    if found := _PLOTLY_CALL.search(text):
        return Chart("Plotly chart", _title(_argument(text, found.end(), 1).get("title")))
    if (found := _VEGA_CALL.search(text)) and "vega" in text:
        return Chart("Vega-Lite chart", _title(_argument(text, found.end(), 0).get("title")))
    return None if shows_something(text) else Chart(_UNKNOWN, _html_title(text))


def _argument(script: str, start: int, number: int) -> dict[str, Any]:
    """An argument of a call, counted from `start`, if it and those before it are JSON; else an empty object."""
    value = None
    try:
        for _ in range(number + 1):
            value, start = _JSON.raw_decode(script, len(script) - len(script[start:].lstrip(", \n")))
    except (ValueError, RecursionError):
        return {}
    return _dict(value)


def _html_title(text: str) -> str:
    """The first heading or title of HTML, outside of scripts."""
    found = _HTML_TITLE.search(_CODE.sub("", text))
    return _title(found["text"]) if found else ""


def _bokeh_title(text: str) -> str:
    """The title of the first plot in Bokeh's JSON."""
    found = _BOKEH_TITLE.search(text)
    try:
        return _title(json.loads(f'"{found["json"]}"')) if found else ""
    except ValueError:
        return ""


def _title(value: object) -> str:
    """A title on one line: plotly's and Vega's is a text, a list of lines, or an object with one of these."""
    if isinstance(value, dict):
        value = value.get("text")
    if isinstance(value, list):
        value = " ".join(map(str, value))
    if not isinstance(value, str):
        return ""
    plain = html.unescape(_MARKUP.sub(" ", value[: 2 * _MAX_TITLE_CHARS]))
    return " ".join(plain.split())[:_MAX_TITLE_CHARS]


def _dict(value: object) -> dict[str, Any]:
    """A JSON object, also one that is in a text; empty for anything else."""
    if isinstance(value, str) and len(value) <= _MAX_CHARS:
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return {}
    return value if isinstance(value, dict) else {}
