"""autogen-ext's executors, which record nothing."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def first_result() -> Iterator[Callable[[], dict[str, float]]]:
    """From the constructor to the result of `print(1)`."""

    def step() -> dict[str, float]:
        began = time.perf_counter()
        import asyncio

        return asyncio.run(_first_result(began))

    yield step


async def _first_result(began: float) -> dict[str, float]:
    from autogen_ext.code_executors.jupyter import JupyterCodeExecutor

    executor = JupyterCodeExecutor(output_dir="out")
    await executor.start()
    output = await _run(executor, "print(1)")
    seconds = time.perf_counter() - began
    await executor.stop()
    if output != "1\n":
        raise RuntimeError(f"autogen-ext answers {output!r}")
    return {"wall": seconds}


def cells(code: str) -> Iterator[Callable[[], dict[str, float]]]:
    """A warm cell."""
    import asyncio

    from autogen_ext.code_executors.jupyter import JupyterCodeExecutor

    loop = asyncio.new_event_loop()
    executor = JupyterCodeExecutor(output_dir="out")
    loop.run_until_complete(executor.start())
    yield lambda: _timed(loop, executor, code)
    loop.run_until_complete(executor.stop())
    loop.close()


def first_result_in_docker(image: str) -> Iterator[Callable[[], dict[str, float]]]:
    """From DockerJupyterServer, with its image built, to the result of `print(1)`. `stop` is the server's."""
    import asyncio
    from pathlib import Path

    loop = asyncio.new_event_loop()
    directory = str(Path.cwd())
    servers = []

    def step() -> dict[str, float]:
        began = time.perf_counter()
        server, executor = loop.run_until_complete(_start_docker(image, directory))
        servers.append(server)
        output = loop.run_until_complete(_run(executor, "print(1)"))
        seconds = time.perf_counter() - began
        loop.run_until_complete(executor.stop())
        if output.strip() != "1":
            raise RuntimeError(f"autogen-ext answers {output!r}")
        return {"wall": seconds}

    import autogen_ext.code_executors.docker_jupyter  # noqa: F401  (is not to be measured)

    yield step
    for server in servers:
        loop.run_until_complete(server.stop())


def cells_in_docker(code: str, image: str) -> Iterator[Callable[[], dict[str, float]]]:
    """A warm cell in a container."""
    import asyncio
    from pathlib import Path

    loop = asyncio.new_event_loop()
    server, executor = loop.run_until_complete(_start_docker(image, str(Path.cwd())))
    yield lambda: _timed(loop, executor, code)
    loop.run_until_complete(executor.stop())
    loop.run_until_complete(server.stop())


async def _start_docker(image: str, directory: str) -> tuple[Any, Any]:
    import asyncio

    from autogen_ext.code_executors.docker_jupyter import DockerJupyterCodeExecutor, DockerJupyterServer

    server = DockerJupyterServer(custom_image_name=image, bind_dir=directory)
    executor = DockerJupyterCodeExecutor(jupyter_server=server, output_dir=directory, timeout=60)
    for _ in range(6000):  # it needs a running container before its server can answer
        try:
            await executor.start()
        except Exception:  # noqa: BLE001  (any error of a refused connection)
            await asyncio.sleep(0.01)
        else:
            return server, executor
    raise RuntimeError("autogen-ext's server in a container did not answer within a minute")


def _timed(loop: Any, executor: Any, code: str) -> dict[str, float]:  # noqa: ANN401
    began = time.perf_counter()
    loop.run_until_complete(_run(executor, code))
    return {"wall": time.perf_counter() - began}


async def _run(executor: Any, code: str) -> str:  # noqa: ANN401  (one of two)
    from autogen_core import CancellationToken
    from autogen_core.code_executor import CodeBlock

    result = await executor.execute_code_blocks([CodeBlock(code=code, language="python")], CancellationToken())
    if result.exit_code:
        raise RuntimeError(f"autogen-ext answers {result}")
    return str(result.output)
