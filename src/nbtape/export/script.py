"""Export a recorded run as a Python script with percent cells, for `nbtape run` and editors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nbtape.common.text import fit_text
from nbtape.summary.run_summary import summarise
from nbtape.summary.wording import counted, facts_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nbformat import NotebookNode

#: Tags that change how a cell runs.
_KEPT_TAGS = ("parameters", "raises-exception", "skip-execution")


def write_script(notebook: NotebookNode, name: str) -> str:
    """Return the script of a validated notebook, or raise ValueError if its code is not Python.

    Magics and shell commands become comments, which Jupytext converts back.
    """
    import jupytext  # type: ignore[import-untyped]
    from nbformat.v4 import new_notebook

    language = notebook["metadata"].get("language_info", {}).get("name", "python")
    if language != "python":
        raise ValueError(f"{name} is in {str(language)[:50]}, but a script must be Python. Export it as html or md.")
    cells = [_cell(cell) for cell in notebook["cells"] if cell["cell_type"] != "raw"]
    filters = {"notebook_metadata_filter": "-all", "cell_metadata_filter": "tags,-all"}
    script = jupytext.writes(new_notebook(cells=cells, metadata={"jupytext": filters}), fmt="py:percent")
    return f"{_head(notebook, name)}\n{fit_text(script)}"


def _cell(cell: Mapping[str, Any]) -> NotebookNode:
    from nbformat.v4 import new_code_cell, new_markdown_cell

    if cell["cell_type"] == "markdown":
        # Each line becomes a comment, so no line may contain a character that ends a line in Python.
        return new_markdown_cell("\n".join(cell["source"].splitlines()))  # type: ignore[no-any-return]
    tags = [tag for tag in cell["metadata"].get("tags", []) if tag in _KEPT_TAGS]
    return new_code_cell(cell["source"], metadata={"tags": tags} if tags else {})  # type: ignore[no-any-return]


def _head(notebook: NotebookNode, name: str) -> str:
    """Summarize the run in comments."""
    run = summarise(notebook)
    facts = [f"{fact}: {value}" for fact, value in facts_of(run)]
    return "".join(f"# {' '.join(line.split())}\n" for line in (f"{name}: {counted(run)}", *facts))
