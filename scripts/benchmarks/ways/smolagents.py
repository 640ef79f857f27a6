"""smolagents' executor in a container, which records nothing."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def first_result_in_docker(image: str) -> Iterator[Callable[[], dict[str, float]]]:
    """From DockerExecutor, with its image built, to the result of `print(1)`. `stop` is the container's."""
    import smolagents.remote_executors  # noqa: F401  (is not to be measured)

    executors = []

    def step() -> dict[str, float]:
        began = time.perf_counter()
        executor = _start(image)
        executors.append(executor)
        logs = executor.run_code_raise_errors("print(1)").logs
        seconds = time.perf_counter() - began
        if logs != "1\n":
            raise RuntimeError(f"smolagents answers {logs!r}")
        return {"wall": seconds}

    yield step
    for executor in executors:
        executor.cleanup()


def cells_in_docker(code: str, image: str) -> Iterator[Callable[[], dict[str, float]]]:
    """A warm cell."""
    executor = _start(image)

    def step() -> dict[str, float]:
        began = time.perf_counter()
        executor.run_code_raise_errors(code)
        return {"wall": time.perf_counter() - began}

    yield step
    executor.cleanup()


def _start(image: str) -> Any:  # noqa: ANN401  (a DockerExecutor)
    import socket

    from smolagents.monitoring import AgentLogger, LogLevel
    from smolagents.remote_executors import DockerExecutor

    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    logger = AgentLogger(level=LogLevel.OFF)
    return DockerExecutor([], logger, port=port, image_name=image, build_new_image=False)
