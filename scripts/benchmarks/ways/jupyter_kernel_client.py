"""jupyter-kernel-client, on a jupyter_server with usual settings."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from benchmarks.ways.jupyter_server import run_server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def cells(code: str) -> Iterator[Callable[[], dict[str, float]]]:
    """A warm cell."""
    from jupyter_kernel_client import JupyterKernelClient

    with (
        run_server() as (port, token),
        JupyterKernelClient(server_url=f"http://127.0.0.1:{port}", token=token) as kernel,
    ):

        def step() -> dict[str, float]:
            began = time.perf_counter()
            reply = kernel.execute(code)
            seconds = time.perf_counter() - began
            if reply["status"] != "ok":
                raise RuntimeError(f"jupyter-kernel-client answers {reply}")
            return {"wall": seconds}

        yield step
