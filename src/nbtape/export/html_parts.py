"""What a page shows of a recorded run, piece by piece: code, prose and outputs, and nothing in them that could act."""

from __future__ import annotations

from html import escape
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final

from nbtape.common.text import keep_colours, shorten
from nbtape.export.sanitise_html import HIGHLIGHTING, inert_html
from nbtape.export.sanitise_images import KINDS, picture_of, picture_url
from nbtape.notebook.output_text import output_text
from nbtape.summary.wording import edits, span

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from nbtape.summary.run_summary import RunCell

#: Characters of an output that are shown, and of code and of Markdown that are more than escaped: what reads them can
#: take the square of their length, of a line of code above all (75 s for one of 50,000).
_MOST_SHOWN: Final = 50_000
_MOST_READ: Final = 20_000
_LONGEST_LINE: Final = 500
_ELSEWHERE: Final = "the whole is in the notebook"

#: The colours of terminals, by the classes that nbconvert gives them.
_COLOURS: Final = dict(
    zip(
        ("black", "red", "green", "yellow", "blue", "magenta", "cyan", "white"),
        ("#3e424d", "#c8322b", "#007a3d", "#9a6700", "#1a6fb5", "#8a3ab9", "#258f8f", "#8b8f98"),
        strict=True,
    )
)


class Parts:
    """What the cells of one notebook are on a page.

    Args:
        metadata: The notebook's, which names the language of its code.
    """

    def __init__(self, metadata: Mapping[str, Any]) -> None:
        self._highlighted = _highlighter(metadata)

    def head(self, cell: Mapping[str, Any], run: RunCell) -> str:
        """How a cell of code ended, and the code.

        Args:
            cell: The cell, in shape.
            run: What it says of how it ran.
        """
        told = [f"<span>{escape(text)}</span>" for text in (span(run.seconds), ", ".join(run.files), edits(run))]
        note = f'<p class="cell-note">{escape(run.note)}</p>' if run.note else ""
        badge = f'<span class="run-badge status-{escape(run.status)}">{escape(run.status)}</span>'
        return (
            f'<div class="cell-head"><span>cell {run.index}</span>{badge}{"".join(told)}</div>\n'
            f'<div class="cell-source">{self._highlighted(cell["source"])}</div>\n{note}'
        )

    def prose(self, cell: Mapping[str, Any]) -> str:
        """A cell that is no code.

        Args:
            cell: The cell, in shape.
        """
        if cell["cell_type"] == "markdown":
            return _markdown(cell["source"], cell.get("attachments", {}))
        return _verbatim(cell["source"])

    def output(self, output: Mapping[str, Any]) -> str:
        """One output, in the first of its forms that can be shown.

        Args:
            output: The output, in shape.
        """
        kind = output["output_type"]
        if kind == "stream":
            return _block(f"output-{'stderr' if output['name'] == 'stderr' else 'stdout'}", _terminal(output["text"]))
        if kind == "error":
            return _block("output-error", _terminal(output_text(output)))
        return _bundle(output)


def style() -> str:
    """The style of a page that is made of these."""
    from pygments.formatters import HtmlFormatter  # type: ignore[import-untyped]

    ours = files("nbtape.export").joinpath("page.css").read_text(encoding="utf-8")
    return f"{HtmlFormatter(style='default').get_style_defs('.highlight')}\n{ours}{_colours()}"


def _highlighter(metadata: Mapping[str, Any]) -> Callable[[str], str]:
    """What colours code in the language of a notebook."""
    from nbconvert.filters import Highlight2HTML
    from pygments.lexers import find_lexer_class_by_name  # type: ignore[import-untyped]
    from pygments.util import ClassNotFound  # type: ignore[import-untyped]

    language = metadata.get("language_info")
    language = language if isinstance(language, dict) else {}
    lexer = str(language.get("pygments_lexer") or language.get("name") or "ipython3")
    try:
        find_lexer_class_by_name(lexer)
    except ClassNotFound:
        lexer = "ipython3" if lexer == "ipython3" else "text"
    highlight = Highlight2HTML(pygments_lexer=lexer)

    def highlighted(source: str) -> str:
        return str(highlight(source)) if _is_readable(source) else _verbatim(source)

    return highlighted


def _is_readable(code: str) -> bool:
    return len(code) <= _MOST_SHOWN and all(len(line) <= _LONGEST_LINE for line in code.splitlines())


def _markdown(source: str, attachments: Mapping[str, Any]) -> str:
    """Markdown as nbconvert renders it, made inert; what it cannot render, as it was written."""
    from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath

    if len(source) > _MOST_READ:
        return _verbatim(source)

    class Renderer(IPythonRenderer):  # type: ignore[misc, unused-ignore]  # mistune has no types
        def block_code(self, code: str, info: str | None = None) -> str:
            return str(super().block_code(code, info if _is_readable(code) else None))

    renderer = Renderer(escape=False, attachments=dict(attachments), exclude_anchor_links=True)
    try:
        html = MarkdownWithMath(renderer=renderer).render(source)
    except Exception:  # noqa: BLE001  (mistune on hostile text: attachments that are missing, nesting without an end)
        return _verbatim(source)
    return inert_html(html, HIGHLIGHTING) or _verbatim(source)


def _bundle(output: Mapping[str, Any]) -> str:
    """An output that is given in several forms."""
    data = output["data"]
    if isinstance(html := data.get("text/html"), str) and (inert := inert_html(html)):
        return _block("output-table", inert)
    for mime in KINDS:
        if found := picture_of(mime, data.get(mime)):
            return _block("output-picture", f'<img alt="" src="{picture_url(*found)}">')
    if isinstance(text := data.get("text/markdown"), str):
        return _block("output-table", _markdown(text, {}))
    withheld = ", ".join(mime for mime in data if mime in KINDS or mime == "text/html")
    note = f'<p class="output-withheld">[{escape(withheld)}: not for a page; see the notebook]</p>' if withheld else ""
    return _block("output-text", note + _terminal(output_text(output)))


def _block(name: str, html: str) -> str:
    return f'<div class="cell-output {name}">{html}</div>'


def _terminal(text: str) -> str:
    """Text with the colours of a terminal."""
    from nbconvert.filters import ansi2html

    return f"<pre>{ansi2html(keep_colours(shorten(text, _MOST_SHOWN, _ELSEWHERE)))}</pre>"


def _verbatim(text: str) -> str:
    return f"<pre>{escape(shorten(text, _MOST_SHOWN, _ELSEWHERE))}</pre>"


def _colours() -> str:
    """The style of what `ansi2html` makes."""
    lines = [".ansi-bold { font-weight: 600 } .ansi-underline { text-decoration: underline }"]
    for name, colour in _COLOURS.items():
        lines.append(f".ansi-{name}-fg, .ansi-{name}-intense-fg {{ color: {colour} }}")
        lines.append(f".ansi-{name}-bg, .ansi-{name}-intense-bg {{ background: {colour}; color: #fff }}")
    lines.append(".ansi-default-inverse-fg { color: #fff } .ansi-default-inverse-bg { background: #1f2328 }")
    return "\n".join(lines)
