"""One kernel after the other in a session: what a block is told of the one that it gets, and on which event loop."""

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


# What a block is told of its kernel


async def test_what_was_lost_is_told_also_when_the_fresh_kernel_has_died_before_any_block(output_dir: Path) -> None:
    async with AsyncJupyterCodeExecutor(LocalKernels("python3"), output_dir=output_dir) as executor:
        await run(executor, "x = 1")
        before = set(descendants())
        await executor.restart()
        (pid,) = set(descendants()) - before
        os.kill(pid, signal.SIGKILL)
        # Until all its threads have ended; and nobody else is to be told of it meanwhile.
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)  # noqa: ASYNC222
        note = (await run(executor, "2")).cells[0].note
        assert note.startswith("The kernel died since the last block.")
        assert note.endswith(FRESH)


class FailsOnce(LocalKernels):
    """Kernels of which one cannot be started, when that is wanted."""

    fails = False

    async def spec(self) -> KernelSpec:
        if self.fails:
            self.fails = False
            raise KernelStartError("It does not start.")
        return await super().spec()


async def test_what_was_lost_is_told_once_however_often_a_start_has_failed(output_dir: Path) -> None:
    kernels = FailsOnce("python3")
    async with AsyncJupyterCodeExecutor(kernels, output_dir=output_dir) as executor:
        await run(executor, "x = 1")
        kernels.fails = True
        with pytest.raises(KernelStartError):
            await executor.restart()
        assert (await run(executor, "2")).cells[0].note == FRESH
        assert (await run(executor, "3")).cells[0].note == ""


# On which event loop


def test_an_executor_belongs_to_the_loop_in_which_it_was_started(output_dir: Path) -> None:
    executor = AsyncJupyterCodeExecutor(output_dir=output_dir)
    with asyncio.Runner() as home:
        home.run(executor.start())
        with asyncio.Runner() as abroad, pytest.raises(WrongLoopError, match="another event loop"):
            abroad.run(run(executor, "print(1)"))
        assert home.run(run(executor, "print(1)")).output == "1\n"
        home.run(executor.stop())


def test_an_executor_that_was_stopped_can_be_used_on_another_loop(output_dir: Path) -> None:
    executor = AsyncJupyterCodeExecutor(output_dir=output_dir)

    async def session() -> str:
        async with executor:
            return (await run(executor, "print(1)")).output.splitlines()[-1]

    assert [asyncio.run(session()) for _ in range(2)] == ["1", "1"]
    assert len(code_cells(executor.notebook)) == 2


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # of what is forgotten, Python warns rightly
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # Python's word on what was forgotten
def test_an_executor_that_was_forgotten_with_its_loop_leaves_no_kernel(output_dir: Path) -> None:
    before = descendants()
    executor = AsyncJupyterCodeExecutor(output_dir=output_dir)
    assert asyncio.run(run(executor, "print(1)")).output == "1\n"
    assert descendants() != before
    del executor
    began = time.monotonic()
    gc.collect()
    assert time.monotonic() - began < 10  # ZeroMQ can wait in there for ever, and no exception gets out of there
    assert eventually(lambda: descendants() == before)
