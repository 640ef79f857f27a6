"""nbclient as a library that is built on it would use it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def first_result() -> Iterator[Callable[[], dict[str, float]]]:
    """From `NotebookClient` to the result of `print(1)`."""

    def step() -> dict[str, float]:
        began = time.perf_counter()
        import asyncio

        return asyncio.run(_first_result(began))

    yield step


async def _first_result(began: float) -> dict[str, float]:
    import nbformat
    from nbclient import NotebookClient

    client = NotebookClient(nbformat.v4.new_notebook())
    async with client.async_setup_kernel():
        cell = await _run(client, "print(1)")
        seconds = time.perf_counter() - began
    if cell.outputs[0].text != "1\n":
        raise RuntimeError(f"nbclient answers {cell}")
    return {"wall": seconds}


def cells(code: str, path: str = "") -> Iterator[Callable[[], dict[str, float]]]:
    """A warm cell; with a path, followed by `nbformat.write`."""
    import asyncio

    import nbformat
    from nbclient import NotebookClient

    client = NotebookClient(nbformat.v4.new_notebook())

    async def run() -> None:
        await _run(client, code)
        if path:
            nbformat.write(client.nb, path)

    loop = asyncio.new_event_loop()
    kernel = client.async_setup_kernel()
    loop.run_until_complete(kernel.__aenter__())

    def step() -> dict[str, float]:
        began = time.perf_counter()
        loop.run_until_complete(run())
        return {"wall": time.perf_counter() - began}

    yield step
    loop.run_until_complete(kernel.__aexit__(None, None, None))
    loop.close()


async def _run(client: Any, code: str) -> Any:  # noqa: ANN401  (a NotebookClient, a cell)
    import nbformat

    # Not new_code_cell, which validates: that is not required here.
    number = len(client.nb.cells)
    fields = {"id": f"cell-{number}", "cell_type": "code", "metadata": {}, "source": code}
    cell = nbformat.from_dict({**fields, "outputs": [], "execution_count": None})
    client.nb.cells.append(cell)
    return await client.async_execute_cell(cell, number)
