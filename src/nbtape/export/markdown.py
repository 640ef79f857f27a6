"""A recorded run as a report in Markdown: a summary, what was said, the code and what came of it.

Whatever renders it, nothing of a kernel acts: outputs are text in fences, pictures are files beside it, and prose with
HTML or odd links in it is shown as it was written.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from nbtape.common.text import fit_text, shorten, strip_escapes
from nbtape.export.sanitise_images import DRAWING, KINDS, is_still, picture_of
from nbtape.notebook.output_text import output_text
from nbtape.summary.run_summary import summarise
from nbtape.summary.wording import counted, edits, facts_of, span

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from markdown_it.token import Token
    from nbformat import NotebookNode

    from nbtape.summary.run_summary import RunCell

_MOST_SHOWN: Final = 20_000
_EXTENSIONS: Final = {DRAWING: "svg", "image/png": "png", "image/jpeg": "jpeg", "image/gif": "gif"}

#: What may do something in Markdown outside of code.
_SPECIAL: Final = re.compile(r"([\\`*_{}\[\]()#+!|<>&~$])")

#: Where a link may lead, and where a picture may be: in no case where a script is, and a picture not elsewhere.
_LINK: Final = re.compile(r"https?://|mailto:|[^:]*$", re.IGNORECASE)
_NEARBY: Final = re.compile(r"(?![/\\])[^:\\]*$")


@dataclass(slots=True)
class Report:
    """A report and the files that it shows.

    Args:
        text: Markdown.
        pictures: What the files hold, by their names relative to the report.
    """

    text: str = ""
    pictures: dict[str, bytes] = field(default_factory=dict)


def write_report(notebook: NotebookNode, name: str, directory: str) -> Report:
    """The report.

    Args:
        notebook: The notebook, checked.
        name: What it is called.
        directory: Where its pictures go, relative to it.
    """
    report, run = Report(), summarise(notebook)
    cells = {cell.index: cell for cell in run.cells}
    language = str(notebook["metadata"].get("language_info", {}).get("name", ""))
    parts = [*_summary(name, counted(run), facts_of(run), run.failed)]
    for index, cell in enumerate(notebook["cells"]):
        if cell["cell_type"] == "markdown":
            parts.append(_prose(cell["source"]))
            continue
        if cell["cell_type"] == "raw":
            parts.append(_fence(cell["source"]))
            continue
        parts += [_heading(cells[index]), _fence(cell["source"], language)]
        for position, output in enumerate(cell["outputs"]):
            parts.append(_picture(report, output, f"{directory}/{index}_{position}") or _fence(_text(output)))
    report.text = fit_text("\n\n".join(filter(None, parts))) + "\n"
    return report


def _summary(name: str, count: str, facts: Iterable[tuple[str, str]], failed: Iterable[RunCell]) -> Iterator[str]:
    yield f"# {_literal(name)}"
    yield "\n".join([f"- {_literal(count)}", *(f"- {_literal(fact)}: {_literal(value)}" for fact, value in facts)])
    yield "\n".join(f"- **cell {cell.index}: {cell.status}** {_literal(cell.error or cell.note)}" for cell in failed)


def _heading(cell: RunCell) -> str:
    how = f"cell {cell.index}: {cell.status}"
    told = ", ".join(filter(None, [how, span(cell.seconds), cell.error or cell.note, edits(cell)]))
    return f"*{_literal(told)}*" if cell.status == "ok" else f"**{_literal(told)}**"


def _prose(source: str) -> str:
    """What was said, as Markdown if nothing of it is more than Markdown."""
    return source if all(map(_is_harmless, _tokens(source))) else _fence(source, "markdown")


def _tokens(source: str) -> Iterator[Token]:
    from markdown_it import MarkdownIt

    parser = MarkdownIt("commonmark").enable("table")
    parser.validateLink = lambda url: True  # type: ignore[method-assign]  # noqa: ARG005  (ours to judge)
    for token in parser.parse(source):
        yield token
        yield from token.children or ()


def _is_harmless(token: Token) -> bool:
    if token.type in {"html_block", "html_inline"}:
        return False
    link, picture = str(token.attrs.get("href", "")), str(token.attrs.get("src", ""))
    return _LINK.match(link) is not None and _NEARBY.match(picture) is not None


def _picture(report: Report, output: Mapping[str, Any], place: str) -> str:
    """A picture of an output, put into the report; empty if it has none."""
    for kind, extension in _EXTENSIONS.items():
        found = picture_of(kind, output.get("data", {}).get(kind))
        if found is not None and (kind != DRAWING or is_still(found[1])):
            path = f"{place}.{extension}"
            report.pictures[path] = found[1]
            return f"![]({quote(path)})"
    return ""


def _text(output: Mapping[str, Any]) -> str:
    withheld = ", ".join(mime for mime in output.get("data", {}) if mime in KINDS)
    text = strip_escapes(output_text(output))
    return shorten(f"[{withheld}: see the notebook] {text}" if withheld else text, _MOST_SHOWN, "see the notebook")


def _fence(text: str, language: str = "") -> str:
    """Text between fences that are longer than any within it."""
    longest = max((len(run) for run in re.findall("`{3,}", text)), default=2)
    fence = "`" * (longest + 1)
    label = language if re.fullmatch(r"[\w+-]{1,30}", language) else ""
    return f"{fence}{label}\n{text.strip(chr(10))}\n{fence}" if text.strip() else ""


def _literal(text: str) -> str:
    """Text in a line that Markdown leaves alone."""
    return _SPECIAL.sub(r"\\\1", " ".join(text.split()))
