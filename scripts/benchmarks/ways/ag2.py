"""ag2's executors, which record nothing."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def first_result() -> Iterator[Callable[[], dict[str, float]]]:
    """From the constructor of the embedded executor to the result of `print(1)`."""

    def step() -> dict[str, float]:
        began = time.perf_counter()
        from autogen.coding.jupyter import EmbeddedIPythonCodeExecutor

        executor = EmbeddedIPythonCodeExecutor()
        output = _run(executor, "print(1)")
        seconds = time.perf_counter() - began
        executor._kernel_client.stop_channels()  # noqa: SLF001  (it has no way to stop)
        executor._kernel_manager.shutdown_kernel(now=True)  # noqa: SLF001
        if output != "1\n":
            raise RuntimeError(f"ag2 answers {output!r}")
        return {"wall": seconds}

    yield step


def cells(code: str) -> Iterator[Callable[[], dict[str, float]]]:
    """A warm cell with the embedded executor."""
    from autogen.coding.jupyter import EmbeddedIPythonCodeExecutor

    executor = EmbeddedIPythonCodeExecutor()
    yield lambda: _timed(executor, code)
    executor._kernel_client.stop_channels()  # noqa: SLF001
    executor._kernel_manager.shutdown_kernel(now=True)  # noqa: SLF001


def cells_on_server(code: str) -> Iterator[Callable[[], dict[str, float]]]:
    """A warm cell with its client, on a Kernel Gateway that ag2 starts."""
    from autogen.coding.jupyter import JupyterCodeExecutor, LocalJupyterServer

    with LocalJupyterServer() as server:
        executor = JupyterCodeExecutor(server)
        yield lambda: _timed(executor, code)
        executor.stop()


def _timed(executor: Any, code: str) -> dict[str, float]:  # noqa: ANN401
    began = time.perf_counter()
    _run(executor, code)
    return {"wall": time.perf_counter() - began}


def _run(executor: Any, code: str) -> str:  # noqa: ANN401  (one of two)
    from autogen.coding import CodeBlock

    result = executor.execute_code_blocks([CodeBlock(code=code, language="python")])
    if result.exit_code:
        raise RuntimeError(f"ag2 answers {result}")
    return str(result.output)
