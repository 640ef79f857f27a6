"""A notebook that is there: read whole, checked against nbformat's schema, and as nbformat 4.5 has it."""

from __future__ import annotations

import json
import re
import uuid
from typing import TYPE_CHECKING, Any, Final

from nbformat import ValidationError, validate
from nbformat.v4 import to_notebook

from nbtape.errors import NotebookReadError

if TYPE_CHECKING:
    from pathlib import Path

    from nbformat import NotebookNode

#: The first minor version of nbformat 4 whose cells have ids.
_IDS_SINCE: Final = 5

_SURROGATE: Final = re.compile(rb"\\u[dD][89a-fA-F]")


def read_document(path: Path) -> NotebookNode:
    """A notebook of nbformat 4, brought to 4.5 where it is older: its cells get ids.

    Raises:
        NotebookReadError: There is none, or it is no such notebook.
    """
    return parse_document(path, read_content(path))


def parse_document(path: Path, content: bytes) -> NotebookNode:
    """The same of what a file holds.

    Args:
        path: The file, for errors.
        content: What it holds.

    Raises:
        NotebookReadError: It is no such notebook.
    """
    document = _parsed(path, content)
    _check_version(path, document)
    _give_ids(document["cells"])
    try:
        document["nbformat_minor"] = max(document.get("nbformat_minor", 0), _IDS_SINCE)
        validate(document)
    except (ValidationError, TypeError) as exc:
        why = str(getattr(exc, "message", exc))[:200]
        raise NotebookReadError(path, f"it is no valid notebook: {why}. Open it in JupyterLab and save it.") from exc
    notebook: NotebookNode = to_notebook(document)
    return notebook


def read_content(path: Path) -> bytes:
    """What the file of a notebook holds.

    Raises:
        NotebookReadError: There is none, or it cannot be read.
    """
    if path.suffix != ".ipynb":
        raise NotebookReadError(path, "its name does not end in .ipynb. Name a notebook.")
    if not path.exists():
        raise NotebookReadError(path, "it does not exist. Check the path.")
    if not path.is_file():
        raise NotebookReadError(path, "it is not a file. Name a notebook in it, if it is a directory.")
    try:
        return path.read_bytes()
    except OSError as exc:
        raise NotebookReadError(path, f"{exc.strerror or exc}. Check its permissions.") from exc


def _parsed(path: Path, content: bytes) -> dict[str, Any]:
    try:
        document = json.loads(content.decode("utf-8-sig"))
        if _SURROGATE.search(content):  # half a pair of them is JSON, but no text
            json.dumps(document, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as exc:
        raise NotebookReadError(path, "it is not JSON in UTF-8. Look whether it was saved whole.") from exc
    if not isinstance(document, dict) or "nbformat" not in document:
        raise NotebookReadError(path, "it is JSON, and no notebook. Name a notebook.")
    return document


def _check_version(path: Path, document: dict[str, Any]) -> None:
    version, cells = document["nbformat"], document.get("cells")
    if version != 4:  # noqa: PLR2004  (the one that Jupyter has written since 2015)
        advice = "Convert it with jupyter nbconvert --to notebook --nbformat 4."
        raise NotebookReadError(path, f"it is of nbformat {str(version)[:20]}, and not of 4. {advice}")
    if not isinstance(cells, list) or not all(isinstance(cell, dict) for cell in cells):
        raise NotebookReadError(path, "it has no list of cells. Name a notebook.")


def _give_ids(cells: list[dict[str, Any]]) -> None:
    """Have each cell know itself: older notebooks have no ids, and some tools copy a cell together with its own."""
    seen: set[str] = set()
    for cell in cells:
        if not isinstance(cell.get("id"), str) or cell["id"] in seen:
            cell["id"] = str(uuid.uuid4())
        seen.add(cell["id"])
