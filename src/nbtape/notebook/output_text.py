"""The outputs of a cell as plain text."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from nbtape.common.text import strip_escapes

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence


def cell_text(
    outputs: Iterable[Mapping[str, Any]], saved: Mapping[int, Sequence[str]], *, is_apart: bool = False
) -> str:
    """The outputs of a cell as text: streams as they came, everything else from a new line.

    Args:
        outputs: The outputs, as nbformat has them.
        saved: For the position of an output, a line for each file extracted from it.
        is_apart: Whether a newline comes before everything else even where a line has ended, as in AutoGen 0.7.
    """
    parts: list[str] = []
    after_stream = False
    for position, output in enumerate(outputs):
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
    """One output as text, terminal codes included.

    Args:
        output: The output, as nbformat has it.
        saved: A line for each file extracted from it.
    """
    if output["output_type"] == "stream":
        return str(output["text"])
    if output["output_type"] == "error":
        # An error without a traceback comes from a kernel that has none, or from a `raise` that hid it.
        return "\n".join(output["traceback"]) or f"{output['ename']}: {output['evalue']}"
    return "\n".join(filter(None, [_bundle_text(output["data"], drawn=bool(saved)), *saved]))


def _bundle_text(data: Mapping[str, Any], *, drawn: bool) -> str:
    """The most readable text of a MIME bundle; the repr of a picture that was saved says nothing beside its path."""
    if drawn and any(mime.startswith("image/") for mime in data):
        return ""
    for mime in ("text/plain", "text/markdown", "text/latex"):
        if data.get(mime):
            return str(data[mime])
    if "application/json" in data:
        return json.dumps(data["application/json"], ensure_ascii=False)
    return "" if drawn or not data else f"(output of type {', '.join(data)}: see the notebook)"
