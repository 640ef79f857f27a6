"""Successive kernels of a session: notices about a fresh kernel, and the event loop of an executor."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import time
from typing import TYPE_CHECKING

import pytest
from reading import code_cells, descendants, eventually

from nbtape import AsyncJupyterCodeExecutor, CodeBlock, KernelStartError, WrongLoopError
from nbtape.kernels.local.manager import LocalKernels

if TYPE_CHECKING:
    from pathlib import Path

    from nbtape import CodeResult
    from nbtape.kernels.protocols import KernelSpec

pytestmark = pytest.mark.usefixtures("leaves_nothing")

FRESH = "A fresh kernel was started: the variables of earlier blocks are gone."


async def run(executor: AsyncJupyterCodeExecutor, *codes: str) -> CodeResult:
    return await executor.execute_code_blocks([CodeBlock(code, "python") for code in codes])


# Notices about the kernel


async def test_lost_variables_are_reported_even_if_the_fresh_kernel_dies_before_any_block(output_dir: Path) -> None:
    async with AsyncJupyterCodeExecutor(LocalKernels("python3"), output_dir=output_dir) as executor:
        await run(executor, "x = 1")
        before = set(descendants())
        await executor.restart()
        (pid,) = set(descendants()) - before
        os.kill(pid, signal.SIGKILL)
        # Wait until all its threads have exited, without reporting the notice to any other block.
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)  # noqa: ASYNC222
        note = (await run(executor, "2")).cells[0].note
        assert note.startswith("The kernel died since the last block.")
        assert note.endswith(FRESH)


class FailsOnce(LocalKernels):
    """Kernels of which one fails to start on request."""

    fails = False

    async def spec(self) -> KernelSpec:
        if self.fails:
            self.fails = False
            raise KernelStartError("It does not start.")
        return await super().spec()


async def test_lost_variables_are_reported_once_after_any_number_of_failed_starts(output_dir: Path) -> None:
    kernels = FailsOnce("python3")
    async with AsyncJupyterCodeExecutor(kernels, output_dir=output_dir) as executor:
        await run(executor, "x = 1")
        kernels.fails = True
        with pytest.raises(KernelStartError):
            await executor.restart()
        assert (await run(executor, "2")).cells[0].note == FRESH
        assert (await run(executor, "3")).cells[0].note == ""


# Event loops


def test_an_executor_belongs_to_the_event_loop_that_started_it(output_dir: Path) -> None:
    executor = AsyncJupyterCodeExecutor(output_dir=output_dir)
    with asyncio.Runner() as home:
        home.run(executor.start())
        with asyncio.Runner() as abroad, pytest.raises(WrongLoopError, match="another event loop"):
            abroad.run(run(executor, "print(1)"))
        assert home.run(run(executor, "print(1)")).output == "1\n"
        home.run(executor.stop())


def test_a_stopped_executor_can_be_used_on_another_loop(output_dir: Path) -> None:
    executor = AsyncJupyterCodeExecutor(output_dir=output_dir)

    async def session() -> str:
        async with executor:
            return (await run(executor, "print(1)")).output.splitlines()[-1]

    assert [asyncio.run(session()) for _ in range(2)] == ["1", "1"]
    assert len(code_cells(executor.notebook)) == 2


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # Python rightly warns about what is dropped
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # Python's report about dropped objects
def test_an_executor_garbage_collected_with_its_loop_leaves_no_kernel(output_dir: Path) -> None:
    before = descendants()
    executor = AsyncJupyterCodeExecutor(output_dir=output_dir)
    assert asyncio.run(run(executor, "print(1)")).output == "1\n"
    assert descendants() != before
    del executor
    began = time.monotonic()
    gc.collect()
    assert time.monotonic() - began < 10  # ZeroMQ can wait in there forever, and no exception can leave it
    assert eventually(lambda: descendants() == before)
