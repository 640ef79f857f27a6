"""Render replay reports as one HTML page, with both runs of each cell side by side and no active content.

Text is escaped, images are embedded, HTML outputs appear as plain text, and the page's content security policy forbids
everything else.
"""

from __future__ import annotations

import html
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final

from nbtape.common.hidden_text import mark_hidden, reveal_in_prose
from nbtape.common.image_types import PILLOW_FORMATS, SVG, data_url
from nbtape.common.safe_images import safe_image
from nbtape.common.text import fit_text, strip_escapes
from nbtape.errors import MissingExtraError
from nbtape.notebook.output_text import output_text
from nbtape.notebook.read import read_document
from nbtape.notebook.unknown_types import spelled_out

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from markupsafe import Markup
    from nbformat import NotebookNode

    from nbtape.replay.report import ReplayReport

_MAX_TEXT_CHARS: Final = 20_000


def check_packages() -> None:
    """Raise MissingExtraError if a package that the page needs is not installed."""
    MissingExtraError.check("An HTML report", "replay", PIL="pillow", lxml="lxml")


def render(reports: Sequence[ReplayReport]) -> str:
    """Render the page from the reports and their notebooks, or raise NotebookReadError if one cannot be read."""
    check_packages()
    from jinja2 import Environment

    environment = Environment(autoescape=True, keep_trailing_newline=True)
    environment.filters |= {"text": _text, "code": _code, "output": _output, "bytes": _bytes}
    page = environment.from_string(files("nbtape.replay").joinpath("report.html.j2").read_text(encoding="utf-8"))
    title = reveal_in_prose(", ".join(report.notebook.name for report in reports)[:200])
    with_cells = ((report, *map(_cells, _documents(report))) for report in reports)
    return page.render(title=f"Replay of {title}", reports=with_cells)


def _documents(report: ReplayReport) -> tuple[NotebookNode, NotebookNode]:
    return report.documents or (read_document(report.notebook), read_document(report.output))


def _cells(document: NotebookNode) -> dict[str, Mapping[str, Any]]:
    return {cell["id"]: cell for cell in spelled_out(document)["cells"]}


def _output(output: Mapping[str, Any]) -> Markup:
    """Render an output as an image if possible, otherwise as text."""
    from markupsafe import Markup

    if url := _image_url(output.get("data", {})):
        return Markup('<img alt="" src="{}">').format(url)
    return Markup("<pre>{}</pre>").format(_text(output_text(output)))


def _image_url(data: Mapping[str, Any]) -> str:
    for mime in (*PILLOW_FORMATS, SVG):
        if (content := safe_image(mime, data.get(mime))) is not None:
            return data_url(mime, content)
    return ""


def _code(source: object) -> Markup:
    """Escape code, shortened and with its hidden characters marked."""
    from markupsafe import Markup

    return Markup(mark_hidden(html.escape(fit_text(_shorten(str(source)))), is_code=True))  # noqa: S704  (escaped)


def _text(value: object) -> Markup:
    """Escape a text, shortened, without terminal escape sequences and with hidden characters marked."""
    from markupsafe import Markup

    text = _shorten(str(value))
    return Markup(mark_hidden(html.escape(strip_escapes(fit_text(text)))))  # noqa: S704  (escaped)


def _bytes(size: int | None) -> str:
    return "" if size is None else f"{size:,} bytes"


def _shorten(text: str) -> str:
    if len(text) <= _MAX_TEXT_CHARS:
        return text
    return f"{text[:_MAX_TEXT_CHARS]}\n[{len(text) - _MAX_TEXT_CHARS:,} more characters]"
