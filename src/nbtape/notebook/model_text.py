"""Format the outputs of a cell for a model: like the record, but with bounded tables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nbtape.notebook.output_text import cell_text, output_text
from nbtape.notebook.tables import frame_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence


def model_text(outputs: Iterable[Mapping[str, Any]], saved: Mapping[int, Sequence[str]]) -> str:
    """The outputs of a cell as text for a model. `saved` has the lines about extracted files, by position."""
    return cell_text(map(_bounded, outputs), saved)


def model_output_text(output: Mapping[str, Any]) -> str:
    """One output as text for a model, including terminal codes."""
    return output_text(_bounded(output))


def _bounded(output: Mapping[str, Any]) -> Mapping[str, Any]:
    """The same output, with a bounded text of a DataFrame."""
    text = frame_text(output["data"]) if "data" in output else None
    return output if text is None else {**output, "data": {**output["data"], "text/plain": text}}
