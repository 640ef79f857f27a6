"""Run a whole notebook again, including the kernel: papermill with its own engine or nbtape's, or nbclient."""

from __future__ import annotations

import subprocess
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def replay(engine: str, cells: str, code: str, first: str = "") -> Iterator[Callable[[], dict[str, float]]]:
    """Run with papermill, which saves after each cell.

    Args:
        engine: The name of papermill's engine, or of nbtape's.
        cells: The number of cells.
        code: Their code.
        first: The code of the first cell, if it differs.
    """
    import papermill  # type: ignore[import-untyped]

    import nbtape.replay.papermill_engine  # noqa: F401  (warm-up is not measured)

    _write(cells, code, first)

    def step() -> dict[str, float]:
        name = None if engine == "papermill" else engine
        began = time.perf_counter()
        papermill.execute_notebook("recorded.ipynb", "replayed.ipynb", engine_name=name, progress_bar=False)
        return {"wall": time.perf_counter() - began}

    yield step


def replay_by_nbclient(saved: str, cells: str, code: str, first: str = "") -> Iterator[Callable[[], dict[str, float]]]:
    """Run with nbclient; if `saved`, with nbformat.write after each cell."""
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
