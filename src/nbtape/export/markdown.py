"""Export a recorded run as a Markdown report without active content, safe in any renderer.

Outputs are fenced text, images are files next to the report, and Markdown cells with HTML or unsafe links are fenced.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from nbtape.common.hidden_text import reveal, reveal_in_prose
from nbtape.common.image_types import EXTENSIONS, SHOWN
from nbtape.common.safe_images import safe_image
from nbtape.common.text import fit_text, shorten, strip_escapes
from nbtape.notebook.output_text import output_text
from nbtape.summary.run_summary import summarise
from nbtape.summary.wording import counted, edits, facts_of, span

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from markdown_it.token import Token
    from nbformat import NotebookNode

    from nbtape.summary.run_summary import RunCell

_MAX_OUTPUT_CHARS: Final = 20_000

#: Longer prose is fenced, because checking its links can take quadratic time.
_MAX_PROSE_CHARS: Final = 50_000

#: Characters with a meaning in Markdown outside of code.
_SPECIAL: Final = re.compile(r"([\\`*_{}\[\]()#+!|<>&~$])")

#: Allowed targets of links (no scripts) and of images (relative paths only).
_LINK: Final = re.compile(r"https?://|mailto:|[^:]*$", re.IGNORECASE)
_RELATIVE_PATH: Final = re.compile(r"(?![/\\])[^:\\]*$")


@dataclass(slots=True)
class Report:
    """A Markdown report, and its image files by their paths relative to it."""

    text: str = ""
    images: dict[str, bytes] = field(default_factory=dict)


def write_report(notebook: NotebookNode, name: str, directory: str) -> Report:
    """Return the report of a validated notebook, with its images in the relative `directory`."""
    report, run = Report(), summarise(notebook)
    cells = {cell.index: cell for cell in run.cells}
    language = str(notebook["metadata"].get("language_info", {}).get("name", ""))
    parts = [*_summary(name, counted(run), facts_of(run), run.failed)]
    for index, cell in enumerate(notebook["cells"]):
        if cell["cell_type"] == "markdown":
            parts.append(_prose(cell["source"]))
        elif cell["cell_type"] == "raw":
            parts.append(_fence(reveal(cell["source"])))
        else:
            parts += [_heading(cells[index]), _fence(reveal(cell["source"]), language)]
            for position, output in enumerate(cell["outputs"]):
                parts.append(
                    _image(report, output, f"{directory}/{cells[index].block}_{position}") or _fence(_text(output))
                )
    report.text = fit_text("\n\n".join(filter(None, parts))) + "\n"
    return report


def _summary(name: str, count: str, facts: Iterable[tuple[str, str]], failed: Iterable[RunCell]) -> Iterator[str]:
    yield f"# {_literal(name)}"
    yield "\n".join([f"- {_literal(count)}", *(f"- {_literal(fact)}: {_literal(value)}" for fact, value in facts)])
    yield "\n".join(f"- **block {cell.block}: {cell.status}** {_literal(cell.error or cell.note)}" for cell in failed)


def _heading(cell: RunCell) -> str:
    status = f"block {cell.block}: {cell.status}"
    line = _literal(", ".join(filter(None, [status, span(cell.seconds), cell.error or cell.note, edits(cell)])))
    return f"*{line}*" if cell.status == "ok" else f"**{line}**"


def _prose(source: str) -> str:
    """Return a Markdown cell unchanged, or fenced if it is very long or has HTML or unsafe links."""
    source = reveal_in_prose(source)
    is_short = len(source) <= _MAX_PROSE_CHARS
    return source if is_short and all(map(_is_harmless, _tokens(source))) else _fence(source, "markdown")


def _tokens(source: str) -> Iterator[Token]:
    from markdown_it import MarkdownIt

    parser = MarkdownIt("commonmark").enable("table")
    parser.validateLink = lambda url: True  # type: ignore[method-assign]  # noqa: ARG005  (`_is_harmless` checks them)
    for token in parser.parse(source):
        yield token
        yield from token.children or ()


def _is_harmless(token: Token) -> bool:
    if token.type in {"html_block", "html_inline"}:
        return False
    link, image = str(token.attrs.get("href", "")), str(token.attrs.get("src", ""))
    return _LINK.match(link) is not None and _RELATIVE_PATH.match(image) is not None


def _image(report: Report, output: Mapping[str, Any], stem: str) -> str:
    """Add an image of an output to the report and return a link to it; empty if the output has no image."""
    for mime in SHOWN:
        content = safe_image(mime, output.get("data", {}).get(mime))
        if content is not None:
            path = f"{stem}{EXTENSIONS[mime]}"
            report.images[path] = content
            return f"![]({quote(path)})"
    return ""


def _text(output: Mapping[str, Any]) -> str:
    withheld = ", ".join(mime for mime in output.get("data", {}) if mime in SHOWN)
    text = reveal_in_prose(strip_escapes(output_text(output)))
    return shorten(
        f"[{withheld}: see the notebook] {text}" if withheld else text, _MAX_OUTPUT_CHARS, "see the notebook"
    )


def _fence(text: str, language: str = "") -> str:
    """Fence text with more backticks than any run in it."""
    longest = max((len(run) for run in re.findall("`{3,}", text)), default=2)
    fence = "`" * (longest + 1)
    label = language if re.fullmatch(r"[\w+-]{1,30}", language) else ""
    return f"{fence}{label}\n{text.strip(chr(10))}\n{fence}" if text.strip() else ""


def _literal(text: str) -> str:
    """Escape text for one line of Markdown."""
    return _SPECIAL.sub(r"\\\1", reveal_in_prose(" ".join(text.split())))
