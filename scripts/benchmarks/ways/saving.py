"""A notebook that grows by one image per step and is saved after each: no kernel, only the cost of saving."""

from __future__ import annotations

import base64
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def by_nbtape(size: str) -> Iterator[Callable[[], dict[str, float]]]:
    """Save as a session does after each cell: to the notebook, or to its journal when that is cheaper.

    Args:
        size: The bytes of an image.
    """
    import asyncio

    from nbtape.notebook.autosave import Autosave
    from nbtape.notebook.document import Notebook

    async def save(outputs: list[Any]) -> dict[str, float]:
        began = time.perf_counter()
        index = notebook.add_code("plt.show()", {})
        notebook.cells[index]["outputs"] = outputs
        notebook.touch(index)
        autosave.save()
        return {"wall": time.perf_counter() - began}

    notebook = Notebook.create(Path(), "growing", {"nbtape": {"started": "now"}})
    autosave = Autosave(notebook)
    with asyncio.Runner() as runner:
        yield lambda: runner.run(save([_picture(size)]))
        runner.run(autosave.close())
    notebook.close()


def by_nbformat(size: str) -> Iterator[Callable[[], dict[str, float]]]:
    """Save with nbformat.write."""
    import nbformat

    notebook = nbformat.v4.new_notebook()

    def step() -> dict[str, float]:
        outputs = [_picture(size)]
        began = time.perf_counter()
        number = len(notebook.cells)
        fields = {"id": f"cell-{number}", "cell_type": "code", "metadata": {}, "source": "plt.show()"}
        notebook.cells.append(nbformat.from_dict({**fields, "outputs": outputs, "execution_count": None}))
        nbformat.write(notebook, "growing.ipynb")
        return {"wall": time.perf_counter() - began}

    yield step


def _picture(size: str) -> Any:  # noqa: ANN401  (an output)
    from nbformat import from_dict

    data = {"image/png": base64.b64encode(os.urandom(int(size))).decode()}
    return from_dict({"output_type": "display_data", "data": data, "metadata": {}})
