"""Render cells and outputs as HTML without active content, for exports and the live page."""

from __future__ import annotations

from html import escape
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final

from nbtape.common.hidden_text import mark_hidden, reveal_in_prose
from nbtape.common.image_types import SHOWN, data_url
from nbtape.common.safe_images import safe_image
from nbtape.common.text import keep_colours, shorten
from nbtape.export.highlighting import Highlighter
from nbtape.export.sanitise_html import HIGHLIGHTING, inert_html
from nbtape.notebook.charts import chart_of, is_blank
from nbtape.notebook.output_text import output_text
from nbtape.summary.wording import edits, span

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nbtape.summary.run_summary import RunCell

_MAX_SHOWN_CHARS: Final = 50_000

#: Longer Markdown is only escaped, because renderers can take quadratic time.
_MAX_MARKDOWN_CHARS: Final = 20_000


class Parts:
    """Render the cells of one notebook, whose `metadata` names the language."""

    def __init__(self, metadata: Mapping[str, Any]) -> None:
        self._language = _language(metadata)
        self._highlighter = Highlighter()

    def head(self, cell: Mapping[str, Any], run: RunCell) -> str:
        """Render the status and the source of a code cell."""
        facts = [f"<span>{_marked(text)}</span>" for text in (span(run.seconds), ", ".join(run.files), edits(run))]
        note = f'<p class="cell-note">{_marked(run.note)}</p>' if run.note else ""
        badge = f'<span class="run-badge status-{escape(run.status)}">{escape(run.status)}</span>'
        return (
            f'<div class="cell-head"><span>block {run.block}</span>{badge}{"".join(facts)}</div>\n'
            f'<div class="cell-source">{self._code(cell["source"])}</div>\n{note}'
        )

    def _code(self, source: str) -> str:
        css_class = f" highlight hl-{self._language}"
        return self._highlighter.html(source, self._language, css_class) or _verbatim(source, is_code=True)

    def prose(self, cell: Mapping[str, Any]) -> str:
        """Render a Markdown or raw cell."""
        if cell["cell_type"] == "markdown":
            return _markdown(cell["source"], cell.get("attachments", {}), self._highlighter)
        return _verbatim(cell["source"])

    def output(self, output: Mapping[str, Any]) -> str:
        """Render one output in the richest format that is safe to show."""
        kind = output["output_type"]
        if kind == "stream":
            name = "output-stderr" if output["name"] == "stderr" else "output-stdout"
            return _block(name, _terminal(output["text"]))
        if kind == "error":
            return _block("output-error", _terminal(output_text(output)))
        return _bundle(output, self._highlighter)


def style() -> str:
    """Return the style sheet of a page."""
    from pygments.formatters import HtmlFormatter  # type: ignore[import-untyped]

    ours = files("nbtape.export").joinpath("page.css").read_text(encoding="utf-8")
    return f"{HtmlFormatter(style='default').get_style_defs('.highlight')}\n{ours}"


def _language(metadata: Mapping[str, Any]) -> str:
    language = metadata.get("language_info")
    language = language if isinstance(language, dict) else {}
    return str(language.get("pygments_lexer") or language.get("name") or "ipython3")


def _markdown(source: str, attachments: Mapping[str, Any], highlighter: Highlighter) -> str:
    """Render Markdown with nbconvert and sanitize it; show the source if that fails."""
    from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath

    if len(source) > _MAX_MARKDOWN_CHARS:
        return _verbatim(source)

    class Renderer(IPythonRenderer):  # type: ignore[misc, unused-ignore]  # mistune has no types
        def block_code(self, code: str, info: str | None = None) -> str:
            language = (info or "").partition(" ")[0].strip()
            return highlighter.html(code, language) or f"<pre>{mark_hidden(escape(code), is_code=True)}</pre>\n"

    renderer = Renderer(escape=False, attachments=dict(attachments), exclude_anchor_links=True)
    try:
        html = MarkdownWithMath(renderer=renderer).render(source)
    except Exception:  # noqa: BLE001  (mistune raises anything on hostile text, such as deep nesting)
        return _verbatim(source)
    return reveal_in_prose(inert_html(html, HIGHLIGHTING)) or _verbatim(source)


def _bundle(output: Mapping[str, Any], highlighter: Highlighter) -> str:
    data = output["data"]
    if is_blank(data):
        return ""
    if chart := chart_of(data):
        text = _terminal(chart.text) if chart.text else ""
        return _block("output-text", f'<p class="output-withheld">{_marked(str(chart))}</p>{text}')
    if isinstance(html := data.get("text/html"), str) and (inert := inert_html(html)):
        return _block("output-table", reveal_in_prose(inert))
    for mime in SHOWN:
        if image := safe_image(mime, data.get(mime)):
            return _block("output-picture", f'<img alt="" src="{data_url(mime, image)}">')
    if isinstance(text := data.get("text/markdown"), str):
        return _block("output-table", _markdown(text, {}, highlighter))
    withheld = ", ".join(mime for mime in data if mime in SHOWN or mime == "text/html")
    note = (
        f'<p class="output-withheld">[{escape(withheld)}: not shown on a page; see the notebook]</p>'
        if withheld
        else ""
    )
    return _block("output-text", note + _terminal(output_text(output)))


def _block(name: str, html: str) -> str:
    return f'<div class="cell-output {name}">{html}</div>'


def _terminal(text: str) -> str:
    from nbconvert.filters import ansi2html

    return f"<pre>{mark_hidden(ansi2html(keep_colours(_shorten(text))))}</pre>"


def _verbatim(text: str, *, is_code: bool = False) -> str:
    return f"<pre>{mark_hidden(escape(_shorten(text)), is_code=is_code)}</pre>"


def _marked(text: str) -> str:
    """A one-line text as HTML."""
    return mark_hidden(escape(text))


def _shorten(text: str) -> str:
    return shorten(text, _MAX_SHOWN_CHARS, "full text in the notebook")
