"""What every kind of kernel guarantees about messages: order, loss, late output, floods, deadlines and deaths."""

from __future__ import annotations

import asyncio
import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from reading import code_cells, eventually, stream_text

from nbtape import (
    AsyncJupyterCodeExecutor,
    JupyterCodeExecutor,
)

if TYPE_CHECKING:
    from pathlib import Path

    from nbtape.kernels.sources import Server

from executors import Executors, Factory, Signal, blocks, check_fresh, indented, prints_late, run, stopped_by


class OutputContract(Executors):
    """What a kernel sends arrives complete, in order, and under the right cell."""

    def test_chunks_of_a_stream_are_joined_in_order(self, executor: JupyterCodeExecutor) -> None:
        result = run(executor, "print('a', end='', flush=True)\nprint('b', end='', flush=True)")
        assert result.output == "ab"
        (cell,) = code_cells(executor.notebook)
        assert [output["text"] for output in cell["outputs"]] == ["ab"]

    def test_stdout_and_stderr_are_joined_in_order(self, executor: JupyterCodeExecutor) -> None:
        code = (
            "import sys\nfor n in range(2):\n    print('o', end='', flush=True)\n"
            "    print('e', end='', file=sys.stderr, flush=True)"
        )
        assert run(executor, code).output == "oeoe"
        (cell,) = code_cells(executor.notebook)
        assert [output["name"] for output in cell["outputs"]] == ["stdout", "stderr"] * 2

    def test_ten_megabytes_are_cut_for_the_agent_and_complete_in_the_notebook(self, make: Factory) -> None:
        executor = make(max_output_chars=5000)
        result = run(executor, "for n in range(100_000):\n    print(f'{n:06d} ' + 92 * 'x')")
        assert (result.status, len(result.output) <= 5000) == ("ok", True)
        assert result.output.startswith("000000 xxx")
        assert result.output.endswith(f"099999 {92 * 'x'}\n")
        assert "characters left out" in result.output
        assert f"nbtape show {executor.notebook.name}" in result.output
        (cell,) = code_cells(executor.notebook)
        assert stream_text(cell) == "".join(f"{n:06d} {92 * 'x'}\n" for n in range(100_000))

    def test_two_thousand_displays_all_arrive_in_order(self, executor: JupyterCodeExecutor) -> None:
        run(executor, "for n in range(2000):\n    display(n)")
        (cell,) = code_cells(executor.notebook)
        assert [output["data"]["text/plain"] for output in cell["outputs"]] == [str(n) for n in range(2000)]

    def test_thread_output_during_a_later_block_is_kept(self, executor: JupyterCodeExecutor, signal: Signal) -> None:
        """Ipykernel 7 labels it with the running block, and JupyterLab shows it there; no client can know better."""
        code = (
            f"def later():\n{indented(signal.wait)}\n    print('late')\n"
            "import threading\nthread = threading.Thread(target=later)\nthread.start()\nprint('early')"
        )
        assert run(executor, code).output == "early\n"
        signal.give()
        result = run(executor, "thread.join()\nprint('next')")
        assert "next\n" in result.output
        executor.stop()
        first, second = code_cells(executor.notebook)
        assert sorted((stream_text(first) + stream_text(second)).split()) == ["early", "late", "next"]

    def test_thread_output_between_blocks_goes_under_the_last_block(
        self, executor: JupyterCodeExecutor, signal: Signal
    ) -> None:
        code, printed = prints_late(signal)
        assert run(executor, code).output == "early\n"
        signal.give()
        assert eventually(printed.exists)
        assert run(executor, "print('next')").output == "next\n"
        first, second = code_cells(executor.notebook)
        assert (stream_text(first), stream_text(second)) == ("early\nlate\n", "next\n")

    def test_the_last_thread_output_is_recorded_at_the_stop(
        self, executor: JupyterCodeExecutor, signal: Signal
    ) -> None:
        printed = signal.path.with_name("printed")
        code = (
            f"def later():\n{indented(signal.wait)}\n    print('late', flush=True)\n"
            f"    open({signal.in_code(printed)!r}, 'w')\n"
            "import threading\nthreading.Thread(target=later).start()\nprint('early')"
        )
        run(executor, code)
        signal.give()
        assert eventually(printed.exists)
        executor.stop()
        (cell,) = code_cells(executor.notebook)
        assert stream_text(cell) == "early\nlate\n"

    def test_late_output_of_a_task_goes_under_its_own_cell(self, executor: JupyterCodeExecutor) -> None:
        code = (
            "import asyncio\ngo = asyncio.Event()\nasync def later():\n    await go.wait()\n    print('late')\n"
            "task = asyncio.create_task(later())\nprint('early')"
        )
        assert run(executor, code).output == "early\n"
        assert run(executor, "go.set()\nawait task\nprint('next')").output == "next\n"
        first, second = code_cells(executor.notebook)
        assert (stream_text(first), stream_text(second)) == ("early\nlate\n", "next\n")

    @pytest.mark.fault("a thread that keeps printing")
    def test_a_thread_that_prints_forever_does_not_block_other_calls(self, executor: JupyterCodeExecutor) -> None:
        code = (
            "import itertools, sys, threading, time\ndef chatter():\n"
            "    for n in itertools.count():\n        sys.stdout.write(f'chatter {n}\\n')\n        time.sleep(0.001)\n"
            "threading.Thread(target=chatter, daemon=True).start()"
        )
        assert run(executor, code).status == "ok"
        for n in range(20):
            result = run(executor, f"print({n})")
            assert result.status == "ok"
            assert re.sub(r"chatter \d+\n", "", result.output) == f"{n}\n"
        executor.stop()
        text = "".join(map(stream_text, code_cells(executor.notebook)))
        chatter = [int(number) for number in re.findall(r"chatter (\d+)\n", text)]
        assert chatter == list(range(len(chatter))), "each line once, in order"

    def test_on_output_is_called_as_outputs_arrive(self, make: Factory, signal: Signal) -> None:
        heard: list[str] = []

        def listen(output: Any) -> None:
            heard.append(output["text"])
            signal.give()

        result = run(make(on_output=listen), f"print('now', flush=True)\n{signal.wait}\nprint('then')")
        assert (result.status, result.output) == ("ok", "now\nthen\n")
        assert "".join(heard) == "now\nthen\n"

    def test_a_failing_on_output_changes_nothing(self, make: Factory) -> None:
        def listen(_: object) -> None:
            raise RuntimeError("the listener is broken")

        result = run(make(on_output=listen), "print(1)")
        assert (result.status, result.output) == ("ok", "1\n")


class TimeoutContract(Executors):
    """A block has one deadline; after it, the kernel is idle, whatever the code does."""

    @pytest.mark.fault("the deadline")
    def test_a_timeout_keeps_output_and_state(self, make: Factory) -> None:
        executor = make(timeout=1)
        result = run(executor, "print('before')\nkept = 7\nimport time\ntime.sleep(60)", "print('rest')")
        assert (result.status, result.exit_code) == ("timeout", 124)
        assert result.output.startswith("before\n")
        assert "Timeout" in result.output
        assert result.cells[1].status == "not_run"
        after = run(executor, "print(kept)")
        assert (after.status, after.output) == ("ok", "7\n")
        assert executor.kernel_epoch == 1
        cell = code_cells(executor.notebook)[0]
        assert (stream_text(cell), cell["metadata"]["nbtape"]["status"]) == ("before\n", "timeout")

    def test_late_output_of_a_timed_out_block_is_not_added_to_the_next_block(self, make: Factory) -> None:
        executor = make(timeout=1)
        code = "import time\ntry:\n    time.sleep(60)\nfinally:\n    for n in range(1000):\n        print('late', n)"
        result = run(executor, code)
        assert (result.status, "late 999\n" in result.output) == ("timeout", True)
        assert run(executor, "print('clean')").output == "clean\n"

    def test_a_block_that_prints_forever_is_stopped_at_its_deadline(self, make: Factory) -> None:
        executor = make(timeout=1)
        result = run(executor, "kept = 7\nwhile True:\n    print('again')")
        assert result.status == "timeout"
        assert result.cells[0].duration < 20
        after = run(executor, "print(kept)")
        assert (after.status, after.output) == ("ok", "7\n")

    def test_a_block_that_displays_forever_is_stopped_at_its_deadline(self, make: Factory) -> None:
        executor = make(timeout=1)
        result = run(executor, "kept = 7\nwhile True:\n    display('again')")
        assert result.status == "timeout"
        assert result.cells[0].duration < 20
        after = run(executor, "print(kept)")
        assert (after.status, after.output) == ("ok", "7\n")

    @pytest.mark.fault("interrupt swallowed once")
    def test_a_block_that_swallows_one_interrupt_is_interrupted_again(self, make: Factory) -> None:
        executor = make(timeout=1, interrupt_grace=4)
        code = (
            "import time\nkept = 7\ntry:\n    time.sleep(60)\nexcept KeyboardInterrupt:\n    print('swallowed')\n"
            "time.sleep(60)"
        )
        result = run(executor, code)
        assert (result.status, "swallowed\n" in result.output) == ("timeout", True)
        assert run(executor, "print(kept)").output == "7\n"
        assert executor.kernel_epoch == 1

    @pytest.mark.fault("interrupt swallowed always")
    def test_a_block_that_swallows_every_interrupt_gets_its_kernel_killed_and_a_note(self, make: Factory) -> None:
        executor = make(timeout=1, interrupt_grace=1)
        code = (
            "import time\nprint('before')\nwhile True:\n    try:\n        time.sleep(60)\n"
            "    except KeyboardInterrupt:\n        print('no')"
        )
        result = run(executor, code)
        assert (result.status, result.exit_code) == ("timeout", 124)
        assert result.output.startswith("before\n")
        assert "kernel was killed" in result.output
        check_fresh(executor)

    @pytest.mark.fault("kernel stopped (SIGSTOP)")
    def test_a_stopped_kernel_is_killed_at_the_deadline(self, make: Factory) -> None:
        executor = make(timeout=1, interrupt_grace=1)
        result = run(executor, "import os, signal\nos.kill(os.getpid(), signal.SIGSTOP)")
        assert (result.status, result.exit_code) == ("timeout", 124)
        check_fresh(executor)

    def test_a_child_process_that_the_block_waits_for_is_interrupted_too(self, make: Factory) -> None:
        executor = make(timeout=1)
        run(executor, "kept = 7")
        assert run(executor, "import subprocess\nsubprocess.run(['sleep', '60'])").status == "timeout"
        assert run(executor, "print(kept)").output == "7\n"


class DeathContract(Executors):
    """A kernel that exits is noticed, reported and replaced; no block runs twice."""

    @pytest.mark.alone
    @pytest.mark.fault("kernel killed (SIGKILL)")
    def test_a_kernel_that_is_killed_is_noticed_at_once(self, make: Factory, signal: Signal) -> None:
        killed: list[float] = []

        def kill(_: object) -> None:
            killed.append(time.monotonic())
            signal.give()

        executor = make(timeout=60, on_output=kill)
        code = f"print('before', flush=True)\n{signal.wait}\nimport os, signal\nos.kill(os.getpid(), signal.SIGKILL)"
        result = run(executor, code, "print('rest')")
        assert time.monotonic() - killed[0] < self.notices_death_within
        assert (result.status, result.exit_code) == ("kernel_died", 137)
        assert result.output.startswith("before\n")
        assert "kernel died" in result.output
        assert result.cells[1].status == "not_run"
        assert stream_text(code_cells(executor.notebook)[0]) == "before\n"
        check_fresh(executor)

    @pytest.mark.fault("`os._exit()`")
    def test_a_kernel_process_that_exits_is_a_dead_kernel(self, make: Factory, signal: Signal) -> None:
        executor = make(on_output=signal.give)
        result = run(executor, f"print('before', flush=True)\n{signal.wait}\nimport os\nos._exit(3)")
        assert (result.status, result.exit_code) == ("kernel_died", 137)
        assert result.output.startswith("before\n")
        check_fresh(executor)

    @pytest.mark.parametrize("code", ["print('before')\nexit()", "print('before')\nquit()", "exit"])
    @pytest.mark.fault("`exit()`")
    def test_code_that_asks_to_exit_gets_a_fresh_kernel_next(self, executor: JupyterCodeExecutor, code: str) -> None:
        result = run(executor, code)
        assert (result.status, result.exit_code) == ("ok", 0)
        assert ("before\n" in result.output) == ("before" in code)
        assert "ariables are gone" in result.output
        check_fresh(executor)

    def test_a_call_continues_after_a_block_that_asks_to_exit(self, executor: JupyterCodeExecutor) -> None:
        result = run(executor, "x = 1\nexit()", "print('x' in globals())")
        assert result.status == "ok"
        assert result.output.endswith("\nFalse\n")
        assert [cell.kernel_epoch for cell in result.cells] == [1, 2]

    def test_sys_exit_is_an_error_and_keeps_the_kernel(self, executor: JupyterCodeExecutor) -> None:
        result = run(executor, "kept = 7\nimport sys\nsys.exit(3)")
        assert (result.status, result.cells[0].error_name) == ("error", "SystemExit")
        assert run(executor, "print(kept)").output == "7\n"

    def test_a_restart_drops_the_variables_and_reports_it(self, executor: JupyterCodeExecutor) -> None:
        run(executor, "x = 1")
        executor.restart()
        assert executor.kernel_epoch == 2
        result = run(executor, "print('x' in globals())")
        assert result.output.endswith("\nFalse\n")
        assert "variables of earlier blocks are gone" in result.output
        assert len(code_cells(executor.notebook)) == 2, "the recording goes on"

    def test_a_restart_of_an_unused_kernel_is_not_reported(self, executor: JupyterCodeExecutor) -> None:
        executor.start()
        executor.restart()
        assert run(executor, "print(1)").output == "1\n"

    @pytest.mark.fault("`stop()` twice, and use after it")
    def test_use_after_stop_starts_a_fresh_kernel_and_continues_the_recording(
        self, executor: JupyterCodeExecutor
    ) -> None:
        run(executor, "x = 1")
        notebook = executor.notebook
        executor.stop()
        executor.stop()
        check_fresh(executor)
        assert executor.notebook == notebook
        assert len(code_cells(notebook)) == 3


class InterruptContract(Executors):
    """A block can be stopped from outside; its output is kept, and the executor is ready for the next block."""

    def test_an_interrupt_from_another_thread_keeps_output_and_state(self, make: Factory) -> None:
        begun = threading.Event()
        executor = make(on_output=lambda _: begun.set())
        result = stopped_by(executor, executor.interrupt, begun)
        assert (result.status, result.exit_code) == ("interrupted", 130)
        assert result.output.startswith("begun\n")
        assert result.cells[1].status == "not_run"
        assert run(executor, "print(kept)").output == "7\n"

    @pytest.mark.fault("`stop()` during a block")
    def test_a_stop_from_another_thread_interrupts_the_block(self, make: Factory) -> None:
        begun = threading.Event()
        executor = make(on_output=lambda _: begun.set())
        with ThreadPoolExecutor() as pool:
            call = pool.submit(run, executor, "print('begun')\nimport time\ntime.sleep(60)")
            assert begun.wait(30)
            executor.stop()
            assert call.result(30).status == "interrupted"

    def test_an_interrupt_of_an_idle_kernel_is_harmless(self, executor: JupyterCodeExecutor) -> None:
        executor.interrupt()
        run(executor, "kept = 7")
        executor.interrupt()
        result = run(executor, "print(kept)")
        assert (result.status, result.output) == ("ok", "7\n")

    async def test_a_cancelled_call_is_recorded_as_interrupted_and_leaves_a_clean_kernel(
        self, source: Server, output_dir: Path
    ) -> None:
        begun = asyncio.Event()
        async with AsyncJupyterCodeExecutor(source, output_dir=output_dir, on_output=lambda _: begun.set()) as executor:
            code = "kept = 7\nimport time\ntry:\n    print('begun')\n    time.sleep(60)\nfinally:\n    print('late')"
            call = asyncio.ensure_future(executor.execute_code_blocks(blocks(code, "print('rest')")))
            await asyncio.wait_for(begun.wait(), 30)
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
            first, second = code_cells(executor.notebook)
            assert (first["metadata"]["nbtape"]["status"], stream_text(first)) == ("interrupted", "begun\nlate\n")
            assert second["metadata"]["nbtape"]["status"] == "not_run"
            result = await executor.execute_code_blocks(blocks("print(kept)"))
            assert (result.status, result.output) == ("ok", "7\n")

    @pytest.mark.fault("a call canceled repeatedly", seen="`CancelledError`; the cell is `interrupted`.")
    async def test_a_repeatedly_cancelled_call_still_completes(self, source: Server, output_dir: Path) -> None:
        begun = asyncio.Event()
        async with AsyncJupyterCodeExecutor(source, output_dir=output_dir, on_output=lambda _: begun.set()) as executor:
            code = "print('begun')\nimport time\ntime.sleep(60)"
            call = asyncio.ensure_future(executor.execute_code_blocks(blocks(code)))
            await asyncio.wait_for(begun.wait(), 30)
            while not call.done():
                call.cancel()
                await asyncio.sleep(0.01)
            assert call.cancelled()
            result = await executor.execute_code_blocks(blocks("print('clean')"))
            assert (result.status, result.output) == ("ok", "clean\n")
            assert code_cells(executor.notebook)[0]["metadata"]["nbtape"]["status"] == "interrupted"

    async def test_a_call_cancelled_in_the_queue_runs_nothing(
        self, source: Server, output_dir: Path, signal: Signal
    ) -> None:
        begun = asyncio.Event()
        async with AsyncJupyterCodeExecutor(source, output_dir=output_dir, on_output=lambda _: begun.set()) as executor:
            code = f"print('begun', flush=True)\n{signal.wait}\nprint('ended')"
            running = asyncio.ensure_future(executor.execute_code_blocks(blocks(code)))
            await asyncio.wait_for(begun.wait(), 30)
            queued = asyncio.ensure_future(executor.execute_code_blocks(blocks("queued = True")))
            await asyncio.sleep(0.1)
            queued.cancel()
            with pytest.raises(asyncio.CancelledError):
                await queued
            signal.give()
            assert (await running).output == "begun\nended\n"
            result = await executor.execute_code_blocks(blocks("print('queued' in globals())"))
            assert result.output == "False\n"
            assert len(code_cells(executor.notebook)) == 2

    async def test_a_call_cancelled_while_the_kernel_starts_runs_nothing(
        self, source: Server, output_dir: Path
    ) -> None:
        executor = AsyncJupyterCodeExecutor(source, output_dir=output_dir)
        try:
            call = asyncio.ensure_future(executor.execute_code_blocks(blocks("ran = True")))
            await asyncio.sleep(self.is_starting_after)
            assert executor.kernel_epoch == 0, "the kernel is still on its way"
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
            result = await executor.execute_code_blocks(blocks("print('ran' in globals())"))
            assert result.output == "False\n"
        finally:
            await executor.stop()

    async def test_a_timeout_of_the_caller_works_like_a_cancellation(self, source: Server, output_dir: Path) -> None:
        async with AsyncJupyterCodeExecutor(source, output_dir=output_dir) as executor:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(1):
                    await executor.execute_code_blocks(blocks("kept = 7\nimport time\ntime.sleep(60)"))
            assert (await executor.execute_code_blocks(blocks("print(kept)"))).output == "7\n"


class TransportContract(OutputContract, TimeoutContract, DeathContract, InterruptContract):
    """What every kind of kernel must guarantee, on any transport. Other kinds run parts of it without `--full`."""
