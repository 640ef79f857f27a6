"""The report on replays as one page of HTML: what was recorded beside what came, and nothing in it that could act.

Texts are escaped, pictures are in the page itself, HTML of a kernel is shown by its plain text, and a policy forbids
what is left: scripts, and whatever is loaded from elsewhere.
"""

from __future__ import annotations

import base64
import html
from typing import TYPE_CHECKING, Any, Final

from nbtape.common.text import fit_text, strip_escapes
from nbtape.notebook.output_text import output_text
from nbtape.notebook.read import read_document

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from nbtape.environment import Difference
    from nbtape.replay.report import ReplayedCell, ReplayReport

#: Characters of an output that are shown; the whole is in the notebooks.
_SHOWN: Final = 20_000

#: What browsers decode into pixels, and base64 holds.
_PICTURES: Final = ("image/png", "image/jpeg", "image/gif")
_DRAWING: Final = "image/svg+xml"

_PAGE: Final = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
body {{ font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 90rem; padding: 0 1rem; color: #222 }}
pre {{ font: 13px/1.45 ui-monospace, monospace; white-space: pre-wrap; overflow-wrap: anywhere; margin: .3rem 0 }}
section {{ border-top: 1px solid #ddd; padding: .8rem 0 }}
.source {{ background: #f6f6f6; padding: .5rem; border-radius: 4px }}
.pair {{ display: grid; grid-template-columns: 1fr 1fr; gap: 1rem }}
.verdict {{ border-radius: 4px; padding: .1rem .5rem; background: #e4f1e4 }}
.different, .error, .fixed, .not_run {{ background: #fbe3e0 }}
.drift {{ background: #fdf3d0 }}
img {{ max-width: 100%; background: #fff }}
h4 {{ margin: .2rem 0; font-weight: 600; color: #666 }}
</style>
</head>
<body>
{body}
</body>
</html>
"""


def render(reports: Sequence[ReplayReport]) -> str:
    """The page.

    Args:
        reports: The reports; both notebooks of each are read.

    Raises:
        NotebookReadError: One of them is not there any more.
    """
    title = ", ".join(report.notebook.name for report in reports)[:200]
    return _PAGE.format(title=_text(f"Replay of {title}"), body="\n".join(map(_report, reports)))


def _report(report: ReplayReport) -> str:
    recorded, replayed = (_cells(path) for path in (report.notebook, report.output))
    counts = ", ".join(f"{count} {verdict}" for verdict, count in report.counts.items())
    sections = [_section(cell, recorded[cell.cell_id], replayed.get(cell.cell_id, {})) for cell in report.cells]
    head = f"<h1>{_text(report.notebook.name)}</h1>\n<p>{_text(counts)}. Run again to {_text(report.output.name)}.</p>"
    return "\n".join([head, *_environment(report.environment or []), *sections])


def _environment(found: Sequence[Difference]) -> list[str]:
    """What is another in the environment, folded up."""
    if not found:
        return []
    rows = "".join(f"<li>{_text(str(difference))}</li>" for difference in found)
    return [f"<details><summary>{len(found)} differences of the environment</summary><ul>{rows}</ul></details>"]


def _cells(path: Path) -> dict[str, Mapping[str, Any]]:
    return {cell["id"]: cell for cell in read_document(path)["cells"]}


def _section(cell: ReplayedCell, recorded: Mapping[str, Any], replayed: Mapping[str, Any]) -> str:
    pair = "".join(
        f"<div><h4>{name}: {_text(status or 'not recorded')}</h4>{_outputs(node.get('outputs', ()))}</div>"
        for name, status, node in (("recorded", cell.recorded, recorded), ("replayed", cell.replayed, replayed))
    )
    return (
        f'<section>\n<p>Cell {cell.index} <span class="verdict {cell.verdict}">{cell.verdict}</span> '
        f'{_text(cell.reason)}</p>\n<pre class="source">{_text(recorded["source"])}</pre>\n'
        f'<div class="pair">{pair}</div>\n</section>'
    )


def _outputs(outputs: Iterable[Mapping[str, Any]]) -> str:
    return "".join(_picture(output) or f"<pre>{_text(output_text(output))}</pre>" for output in outputs)


def _picture(output: Mapping[str, Any]) -> str:
    """A picture as the page holds it, drawings too, in which scripts do not run there; empty if it is none."""
    data = output.get("data", {})
    for kind in _PICTURES:
        if isinstance(encoded := data.get(kind), str) and (content := _decoded(encoded)):
            return _image(kind, content)
    if isinstance(drawing := data.get(_DRAWING), str):
        return _image(_DRAWING, fit_text(drawing).encode())
    return ""


def _image(kind: str, content: bytes) -> str:
    return f'<img alt="" src="data:{kind};base64,{base64.b64encode(content).decode()}">'


def _decoded(encoded: str) -> bytes:
    try:
        return base64.b64decode(encoded)
    except ValueError:
        return b""


def _text(text: str) -> str:
    shown = text if len(text) <= _SHOWN else f"{text[:_SHOWN]}\n[{len(text) - _SHOWN:,} more characters]"
    return html.escape(strip_escapes(fit_text(shown)))
