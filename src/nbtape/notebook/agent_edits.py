"""Changes that the agent makes to cells after they were recorded. The record stays, and each change is marked.

- An edited cell stays as it was. Its new source is a cell of its own after it, which has not run.
- A deleted cell stays, and is marked.
- A moved cell stands in its new place, and is marked.

See `edits` in `document`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nbformat import from_dict

from nbtape.notebook.format import own_metadata, timestamp

if TYPE_CHECKING:
    from nbtape.notebook.document import Notebook


def cell_number(notebook: Notebook, cell_id: str) -> int:
    """The number of a cell that is in the notebook.

    Raises:
        ValueError: There is no such cell.
    """
    try:
        number = notebook.cells.number(cell_id)
    except KeyError:
        number = -1
    if number < 0 or notebook.cells.place(number) < 0:
        raise ValueError(f"The notebook has no cell with the id {cell_id!r:.100}. Read its cells to see their ids.")
    return number


def add_version(notebook: Notebook, number: int, source: str, agent: str) -> int:
    """Add a version of a cell after it and its other versions; return the number of the new cell."""
    cell = notebook.cells[number]
    ours = own_metadata(cell)
    metadata: dict[str, Any] = {"version_of": cell["id"], "edits": [_edit("added", agent)]}
    if cell["cell_type"] == "code":
        metadata["language"] = ours.get("language", "")
        version = notebook.add_code(source, {"nbtape": metadata})
    else:
        version = notebook.add_markdown(source, {"nbtape": metadata})
    place = notebook.cells.place(number) + 1
    while _is_version(notebook, place, cell["id"]):
        place += 1
    notebook.move(version, place)
    mark(notebook, number, "source", agent)
    return version


def mark(notebook: Notebook, number: int, action: str, agent: str) -> None:
    """Record in a cell's metadata what the agent has done to it."""
    cell = notebook.cells[number]
    ours = own_metadata(cell)
    edits = ours.get("edits")
    edits = [*(edits if isinstance(edits, list) else []), _edit(action, agent)]
    cell["metadata"]["nbtape"] = from_dict({**ours, "edits": edits})
    notebook.touch(number)


def _edit(action: str, agent: str) -> dict[str, str]:
    return {"action": action, **({"agent": agent} if agent else {}), "time": timestamp()}


def _is_version(notebook: Notebook, place: int, cell_id: str) -> bool:
    """Whether there is a version of a cell in that place."""
    order = notebook.cells.order
    return place < len(order) and own_metadata(notebook.cells[order[place]]).get("version_of") == cell_id
