"""Render replay reports as one HTML page, with both runs of each cell side by side and no active content.

Text is escaped, images are embedded, HTML outputs appear as plain text, and the page's policy forbids everything else.
"""

from __future__ import annotations

import base64
import html
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final

from nbtape.common.image_types import PILLOW_FORMATS, SVG, data_url
from nbtape.common.text import fit_text, strip_escapes
from nbtape.notebook.output_text import output_text
from nbtape.notebook.read import read_document

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from markupsafe import Markup
    from nbformat import NotebookNode

    from nbtape.replay.report import ReplayReport

_MAX_TEXT_CHARS: Final = 20_000


def render(reports: Sequence[ReplayReport]) -> str:
    """Render the page from the reports and their notebooks, or raise NotebookReadError if one cannot be read."""
    from jinja2 import Environment

    environment = Environment(autoescape=True, keep_trailing_newline=True)
    environment.filters |= {"text": _text, "output": _output}
    page = environment.from_string(files("nbtape.replay").joinpath("report.html.j2").read_text(encoding="utf-8"))
    title = ", ".join(report.notebook.name for report in reports)[:200]
    with_cells = ((report, *map(_cells, _documents(report))) for report in reports)
    return page.render(title=f"Replay of {title}", reports=with_cells)


def _documents(report: ReplayReport) -> tuple[NotebookNode, NotebookNode]:
    return report.documents or (read_document(report.notebook), read_document(report.output))


def _cells(document: NotebookNode) -> dict[str, Mapping[str, Any]]:
    return {cell["id"]: cell for cell in document["cells"]}


def _output(output: Mapping[str, Any]) -> Markup:
    """Render an output as an image if possible, or else as text."""
    from markupsafe import Markup

    if url := _image_url(output.get("data", {})):
        return Markup('<img alt="" src="{}">').format(url)
    return Markup("<pre>{}</pre>").format(_text(output_text(output)))


def _image_url(data: Mapping[str, Any]) -> str:
    for mime in PILLOW_FORMATS:
        if isinstance(data.get(mime), str) and (content := _decode(data[mime])):
            return data_url(mime, content)
    svg = data.get(SVG)
    return data_url(SVG, fit_text(svg).encode()) if isinstance(svg, str) else ""


def _decode(encoded: str) -> bytes:
    try:
        return base64.b64decode(encoded)
    except ValueError:
        return b""


def _text(value: object) -> Markup:
    """Escape a text, shortened and without terminal escape sequences."""
    from markupsafe import Markup

    text = str(value)
    if len(text) > _MAX_TEXT_CHARS:
        text = f"{text[:_MAX_TEXT_CHARS]}\n[{len(text) - _MAX_TEXT_CHARS:,} more characters]"
    return Markup(html.escape(strip_escapes(fit_text(text))))  # noqa: S704  (escaped)
