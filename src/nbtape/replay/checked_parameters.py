"""Check the parameters of a replay against the cell of the notebook that defines them, as papermill reads it."""

from __future__ import annotations

import ast
import logging
from typing import TYPE_CHECKING

from nbtape.messages.languages import is_python
from nbtape.session.parameters import TAG

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from nbformat import NotebookNode

logger = logging.getLogger(__name__)


def check_parameters(notebook: NotebookNode, path: Path, kernel_name: str, given: Collection[str]) -> None:
    """Raise ValueError if the `parameters` cell of a notebook does not define a given parameter.

    Without such a cell, papermill sets the values in a new first cell: then a warning says so.
    """
    if not given:
        return
    language = _language(notebook)
    if is_python(language) and (wrong := [name for name in given if not str(name).isidentifier()]):
        raise ValueError(f"{wrong[0]!r} is not a name of a Python variable. Correct the name of the parameter.")
    code = (cell for cell in notebook["cells"] if cell["cell_type"] == "code")
    cell = next((cell for cell in code if TAG in cell["metadata"].get("tags", [])), None)
    known = _inferred("" if cell is None else cell["source"], kernel_name, language)
    if cell is None:
        logger.warning(
            "%s has no cell tagged %s, so papermill sets %s in a new first cell; later cells may override that.",
            path.name,
            TAG,
            ", ".join(given),
        )
        return
    known |= _assigned(cell["source"])
    unknown = [name for name in given if name not in known]
    if unknown and (known or is_python(language)):  # papermill knows the parameters of Python only
        listed = f"Its parameters: {', '.join(sorted(known))}." if known else f"Its {TAG} cell assigns no variable."
        raise ValueError(f"{path.name} has no parameter {', '.join(unknown)}. {listed}")


def _language(notebook: NotebookNode) -> str:
    metadata = notebook["metadata"]
    named = metadata.get("language_info", {}).get("name") or metadata.get("kernelspec", {}).get("language")
    return str(named or "python")


def _inferred(source: str, kernel_name: str, language: str) -> set[str]:
    """The parameters that papermill finds in code; raises ValueError if it cannot set any in that language."""
    import papermill  # type: ignore[import-untyped]
    from nbformat.v4 import new_code_cell, new_notebook
    from papermill.exceptions import PapermillException  # type: ignore[import-untyped]
    from papermill.translators import papermill_translators  # type: ignore[import-untyped]

    kernelspec = {"name": kernel_name, "display_name": kernel_name, "language": language}
    metadata = {"kernelspec": kernelspec, "language_info": {"name": language}}
    cells = [new_code_cell(source, metadata={"tags": [TAG]})]
    try:
        papermill_translators.find_translator(kernel_name, language)
        return set(papermill.inspect_notebook(new_notebook(cells=cells, metadata=metadata)))
    except PapermillException as exc:
        raise ValueError(f"papermill cannot set parameters of {language} notebooks. Leave out parameters=.") from exc


def _assigned(source: str) -> set[str]:
    """The variables that Python code assigns, in ways that papermill does not read; empty if it does not parse."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return set()
    return {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
