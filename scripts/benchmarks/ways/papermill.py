"""A notebook run again as a whole, kernel included: by papermill, with its own engine or ours, or by nbclient."""

from __future__ import annotations

import subprocess
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def replay(engine: str, cells: str, code: str, first: str = "") -> Iterator[Callable[[], dict[str, float]]]:
    """By papermill, which saves after each cell.

    Args:
        engine: The name of papermill's engine, or of ours.
        cells: How many there are.
        code: What they do.
        first: What the first one does, if that is something else.
    """
    import papermill  # type: ignore[import-untyped]

    import nbtape.replay.papermill_engine  # noqa: F401  (what warms up is not counted)

    _write(cells, code, first)

    def step() -> dict[str, float]:
        name = None if engine == "papermill" else engine
        began = time.perf_counter()
        papermill.execute_notebook("recorded.ipynb", "replayed.ipynb", engine_name=name, progress_bar=False)
        return {"wall": time.perf_counter() - began}

    yield step


def replay_by_nbclient(saved: str, cells: str, code: str, first: str = "") -> Iterator[Callable[[], dict[str, float]]]:
    """By nbclient, `saved` by nbformat.write after each cell, or not (empty)."""
    import nbformat
    from nbclient import NotebookClient

    _write(cells, code, first)

    def step() -> dict[str, float]:
        began = time.perf_counter()
        notebook = nbformat.read("recorded.ipynb", as_version=4)
        client = NotebookClient(notebook)
        if saved:
            client.on_cell_executed = lambda **_: nbformat.write(notebook, "replayed.ipynb")
        client.execute(stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        return {"wall": time.perf_counter() - began}

    yield step


def _write(cells: str, code: str, first: str) -> None:
    import nbformat

    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nodes = [nbformat.v4.new_code_cell(code) for _ in range(int(cells))]
    if first:
        nodes[0] = nbformat.v4.new_code_cell(first)
    nbformat.write(nbformat.v4.new_notebook(cells=nodes, metadata={"kernelspec": kernel}), "recorded.ipynb")
