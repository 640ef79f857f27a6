"""Types of cells and outputs that later minor versions of nbformat 4 may have, whose form is unknown."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nbformat import NotebookNode

CELL_TYPES: Final = frozenset({"code", "markdown", "raw"})
OUTPUT_TYPES: Final = frozenset({"stream", "display_data", "execute_result", "error"})


def spelled_out(notebook: NotebookNode) -> NotebookNode:
    """A copy in which unknown cells are raw cells, and unknown outputs are text, with their JSON."""
    copy: NotebookNode = type(notebook)({**notebook, "cells": [_cell(cell) for cell in notebook["cells"]]})
    return copy


def _cell(cell: NotebookNode) -> NotebookNode:
    if cell["cell_type"] not in CELL_TYPES:
        known = {"cell_type": "raw", "id": cell["id"], "metadata": {}, "source": _json(cell)}
    elif cell["cell_type"] == "code" and not all(output["output_type"] in OUTPUT_TYPES for output in cell["outputs"]):
        known = {**cell, "outputs": [_output(output) for output in cell["outputs"]]}
    else:
        return cell
    node: NotebookNode = type(cell)(known)
    return node


def _output(output: Mapping[str, Any]) -> Mapping[str, Any]:
    if output["output_type"] in OUTPUT_TYPES:
        return output
    return {"output_type": "display_data", "data": {"text/plain": _json(output)}, "metadata": {}}


def _json(value: Mapping[str, Any]) -> str:
    return json.dumps(value, indent=1, ensure_ascii=False)
