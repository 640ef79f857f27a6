"""Format the outputs of a cell as plain text, and measure their size."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final

from nbtape.common.json_cost import CONTAINER_COST, VALUE_COST
from nbtape.common.text import strip_escapes
from nbtape.notebook.charts import chart_of, is_blank
from nbtape.notebook.failures import without_exits
from nbtape.notebook.html_text import html_text
from nbtape.notebook.tables import styled_table

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

#: Characters that an output counts for in addition to its content: an empty display takes 3 objects and 84 bytes of
#: JSON.
OUTPUT_COST: Final = 500

_OBJECT_REPR: Final = re.compile(r"<[^\n]*(?: object| at 0x[0-9a-fA-F]+[^\n]*)>")
_MAX_REPR_CHARS: Final = 500


def cell_text(
    outputs: Iterable[Mapping[str, Any]], saved: Mapping[int, Sequence[str]], *, is_apart: bool = False
) -> str:
    """The outputs of a cell as text: streams unchanged, every other output on a new line.

    `saved` has the lines about extracted files, by position of the output. `is_apart` adds a newline before every
    output except streams, even after the end of a line, as AutoGen 0.7 does.
    """
    parts: list[str] = []
    after_stream = False
    for position, output in enumerate(without_exits(outputs)):
        text = strip_escapes(output_text(output, saved.get(position, ())))
        if not text:
            continue
        is_stream = output["output_type"] == "stream"
        if parts and not (is_stream and after_stream) and (is_apart or not parts[-1].endswith("\n")):
            parts.append("\n")
        parts.append(text)
        after_stream = is_stream
    return "".join(parts)


def output_text(output: Mapping[str, Any], saved: Sequence[str] = ()) -> str:
    """One output as text, including terminal codes and the lines about files extracted from it."""
    if output["output_type"] == "stream":
        return str(output["text"])
    if output["output_type"] == "error":
        # Some kernels send no traceback, and code can remove it.
        return "\n".join(output["traceback"]) or f"{output['ename']}: {output['evalue']}"
    return "\n".join(filter(None, [_bundle_text(output["data"], drawn=bool(saved)), *saved]))


def _bundle_text(data: Mapping[str, Any], *, drawn: bool) -> str:
    """The most readable text of a MIME bundle; empty for an image whose file is named instead."""
    if drawn and any(mime.startswith("image/") for mime in data):
        return ""
    if not drawn and is_blank(data):
        return ""
    if styled := styled_table(data):
        return styled
    if not drawn and (chart := chart_of(data)):
        return "\n".join(filter(None, [str(chart), "" if _is_object_repr(chart.text) else chart.text]))
    plain = data.get("text/plain")
    if plain and not _is_object_repr(plain):
        return str(plain)
    return _written(data) or str(plain or "") or _types(data, drawn=drawn)


def _written(data: Mapping[str, Any]) -> str:
    """The text of a MIME bundle in its richer types; empty without any."""
    for mime in ("text/markdown", "text/latex"):
        if data.get(mime):
            return str(data[mime])
    if isinstance(html := data.get("text/html"), str) and (text := html_text(html)):
        return text
    return json.dumps(data["application/json"], ensure_ascii=False) if "application/json" in data else ""


def _types(data: Mapping[str, Any], *, drawn: bool) -> str:
    return "" if drawn or not data else f"(output of type {', '.join(data)}: see the notebook)"


def _is_object_repr(text: object) -> bool:
    """Whether a text is the repr that every object has, such as `<IPython.core.display.Markdown object>`."""
    return isinstance(text, str) and len(text) < _MAX_REPR_CHARS and bool(_OBJECT_REPR.fullmatch(text.strip()))


def output_size(output: Mapping[str, Any]) -> int:
    """The characters that an output counts for: its text, and the memory of its JSON values.

    A cell with more than one output also counts `OUTPUT_COST` for each further one.
    """
    if output["output_type"] == "stream":
        return len(output["text"])
    if output["output_type"] == "error":
        return len(output["ename"]) + len(output["evalue"]) + json_size(output["traceback"])
    return json_size(output["data"]) + json_size(output["metadata"])


def json_size(value: object) -> int:
    """The characters that a JSON value counts for."""
    if isinstance(value, str):
        return len(value) + VALUE_COST
    if isinstance(value, dict):
        return CONTAINER_COST + sum(len(key) + VALUE_COST + json_size(item) for key, item in value.items())
    if isinstance(value, list):
        return CONTAINER_COST + sum(map(json_size, value))
    return VALUE_COST
