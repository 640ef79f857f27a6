"""nbtape, which records everything it runs."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

#: Record everything, because output that is cut costs nothing.
_UNBOUNDED: Final = 1 << 40


def first_result() -> Iterator[Callable[[], dict[str, float]]]:
    """From the constructor to the result of `print(1)`."""
    yield _first_print


def first_result_on_server() -> Iterator[Callable[[], dict[str, float]]]:
    """The same on a running LocalJupyterServer."""
    from nbtape import LocalJupyterServer

    with LocalJupyterServer() as server:
        yield lambda: _first_print(server)


def first_result_of_server() -> Iterator[Callable[[], dict[str, float]]]:
    """The same including the start of that server."""
    from nbtape import LocalJupyterServer

    def step() -> dict[str, float]:
        began = time.perf_counter()
        with LocalJupyterServer() as server:
            begun = time.perf_counter() - began
            return {"wall": begun + _first_print(server)["wall"]}

    yield step


def first_result_in_docker(base_image: str) -> Iterator[Callable[[], dict[str, float]]]:
    """From DockerJupyterServer, with its image built, to the result of `print(1)`. `stop` is the server's."""
    import httpx  # noqa: F401  (imports here are not measured)
    import websockets  # noqa: F401

    from nbtape import DockerJupyterServer

    servers = []

    def step() -> dict[str, float]:
        began = time.perf_counter()
        server = DockerJupyterServer(base_image=base_image)
        servers.append(server)
        server.start()
        begun = time.perf_counter() - began
        return {"wall": begun + _first_print(server)["wall"]}

    yield step
    for server in servers:
        server.stop()


def first_result_from_pool() -> Iterator[Callable[[], dict[str, float]]]:
    """The same with a kernel from a filled pool."""
    from nbtape import KernelPool

    with KernelPool(size=2) as pool:

        def step() -> dict[str, float]:
            pool.fill()
            return _first_print(pool)

        yield step


def _first_print(place: Any = None) -> dict[str, float]:  # noqa: ANN401  (any source)
    began = time.perf_counter()
    from nbtape import CodeBlock, JupyterCodeExecutor

    executor = JupyterCodeExecutor(place)
    result = executor.execute_code_blocks([CodeBlock(language="python", code="print(1)")])
    seconds = time.perf_counter() - began
    executor.stop()
    if result.output != "1\n":
        raise RuntimeError(f"nbtape answers {result}")
    return {"wall": seconds}


#: A kernel's own memory, as reported by the kernel: the memory that no other process shares.
_TELL_USS: Final = """
with open("/proc/self/smaps_rollup") as _file:
    print(sum(int(line.split()[1]) for line in _file if line.startswith("Private")))
"""


def first_import(imports: str) -> Iterator[Callable[[], dict[str, float]]]:
    """From the constructor to the result of a block of imports, on a newly started kernel."""
    yield lambda: _first_import(imports)


def first_import_forked(imports: str) -> Iterator[Callable[[], dict[str, float]]]:
    """The same on a newly forked kernel: the clock starts after another executor has emptied the pool."""
    from nbtape import CodeBlock, JupyterCodeExecutor, KernelPool

    modules = imports.removeprefix("import ").split(", ")
    with KernelPool(size=1, preload=modules) as pool:

        def step() -> dict[str, float]:
            pool.fill()
            began = time.perf_counter()
            with JupyterCodeExecutor(pool) as other:
                other.execute_code_blocks([CodeBlock(language="python", code="print(1)")])
                return _first_import(imports, pool, began)

        yield step


def _first_import(imports: str, place: Any = None, began: float | None = None) -> dict[str, float]:  # noqa: ANN401
    from nbtape import CodeBlock, JupyterCodeExecutor

    began = time.perf_counter() if began is None else began
    with JupyterCodeExecutor(place) as executor:
        first = executor.execute_code_blocks([CodeBlock(language="python", code=f"{imports}\nprint(1)")])
        seconds = time.perf_counter() - began
        told = executor.execute_code_blocks([CodeBlock(language="python", code=_TELL_USS)])
    if first.output != "1\n" or told.status != "ok":
        raise RuntimeError(f"nbtape answers {first}, {told}")
    return {"wall": seconds, "uss": float(told.output) * 1024}


def cells(code: str) -> Iterator[Callable[[], dict[str, float]]]:
    """A warm cell on a local kernel."""
    yield from _cells(code)


def cells_after(code: str, count: str) -> Iterator[Callable[[], dict[str, float]]]:
    """The same in a session that has already run some cells."""
    for step in _cells(code):
        for _ in range(int(count)):
            step()
        yield step


def sessions(at_once: str) -> Iterator[Callable[[], dict[str, float]]]:
    """50 sessions on one event loop, some of them concurrently, each with ten cells that print their number."""
    import asyncio

    from nbtape import AsyncJupyterCodeExecutor, CodeBlock

    async def run(session: int, turn: asyncio.Semaphore) -> None:
        async with turn, AsyncJupyterCodeExecutor(notebook=f"session-{session}") as executor:
            for cell in range(10):
                code = f"print({session}, {cell})"
                result = await executor.execute_code_blocks([CodeBlock(language="python", code=code)])
                if result.output != f"{session} {cell}\n":
                    raise RuntimeError(f"nbtape answers {result}")

    async def run_all() -> None:
        turn = asyncio.Semaphore(int(at_once))
        await asyncio.gather(*(run(session, turn) for session in range(50)))

    def step() -> dict[str, float]:
        began = time.perf_counter()
        asyncio.run(run_all())
        return {"wall": time.perf_counter() - began}

    yield step


def cells_on_server(code: str) -> Iterator[Callable[[], dict[str, float]]]:
    """The same on a LocalJupyterServer, which is a Kernel Gateway."""
    from nbtape import LocalJupyterServer

    with LocalJupyterServer() as server:
        yield from _cells(code, server)


def cells_on_jupyter_server(code: str) -> Iterator[Callable[[], dict[str, float]]]:
    """The same on a jupyter_server with usual settings."""
    from benchmarks.ways.jupyter_server import run_server
    from nbtape import JupyterConnectionInfo

    with run_server() as (port, token):
        yield from _cells(code, JupyterConnectionInfo("127.0.0.1", use_https=False, port=port, token=token))


def cells_in_docker(code: str, base_image: str) -> Iterator[Callable[[], dict[str, float]]]:
    """The same in a container."""
    from nbtape import DockerJupyterServer

    with DockerJupyterServer(base_image=base_image) as server:
        yield from _cells(code, server)


def _cells(code: str, place: Any = None) -> Iterator[Callable[[], dict[str, float]]]:  # noqa: ANN401
    import asyncio

    from nbtape import AsyncJupyterCodeExecutor, CodeBlock

    loop = asyncio.new_event_loop()
    executor = AsyncJupyterCodeExecutor(place, max_cell_chars=_UNBOUNDED, max_notebook_chars=_UNBOUNDED)
    loop.run_until_complete(executor.start())

    def step() -> dict[str, float]:
        began = time.perf_counter()
        result = loop.run_until_complete(executor.execute_code_blocks([CodeBlock(language="python", code=code)]))
        seconds = time.perf_counter() - began
        if result.status != "ok":
            raise RuntimeError(f"nbtape answers {result}")
        return {"wall": seconds}

    yield step
    loop.run_until_complete(executor.stop())
    loop.close()
