"""The blocking executor in a script, a thread, an event loop and Jupyter, and in processes that exit abnormally."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar, copy_context
from typing import IO, TYPE_CHECKING, Any

import pytest
from reading import code_cells, descendants, eventually, is_running, stream_text

from nbtape import CodeBlock, JupyterCodeExecutor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from nbtape import CodeResult

pytestmark = pytest.mark.usefixtures("leaves_nothing")

PRELUDE = """
import gc, json, os, signal, sys, threading, time
from nbtape import BlockInterrupted, CodeBlock, JupyterCodeExecutor

def run(executor, *codes):
    return executor.execute_code_blocks([CodeBlock(code, "python") for code in codes])

def say(**facts):
    print(json.dumps(facts), flush=True)
"""

#: For a test that drops an executor without stopping it, about which Python rightly warns.
forgets = pytest.mark.filterwarnings("ignore::ResourceWarning")

#: In a script: report that a block has begun to print.
SAY_BEGUN = "lambda output: output['output_type'] == 'stream' and say(begun=True)"

FOREVER = "print('begun', flush=True)\nimport time\ntime.sleep(600)"


def run(executor: JupyterCodeExecutor, *codes: str) -> CodeResult:
    return executor.execute_code_blocks([CodeBlock(code, "python") for code in codes])


@contextmanager
def script(directory: Path, code: str) -> Iterator[Script]:
    """Return a separate Python process that runs `code`, in a session of its own as if in its own terminal."""
    path = directory / "script.py"
    path.write_text(PRELUDE + textwrap.dedent(code))
    with subprocess.Popen(
        [sys.executable, str(path)],
        cwd=directory,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            yield Script(process)
        finally:
            process.kill()


class Script:
    """A running script and its output."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        assert process.stdout
        self._stdout: IO[str] = process.stdout

    def hear(self) -> Any:
        """Return its next line; the timeout of the test is the deadline."""
        line = self._stdout.readline()
        assert line, f"the script ended: {self.process.communicate()[1]}"
        return json.loads(line)

    def end(self, seconds: float = 20) -> str:
        """Wait for its exit, which must be clean and without output on stderr; return the rest of its output."""
        out, err = self.process.communicate(timeout=seconds)
        assert (self.process.returncode, err) == (0, "")
        return out


# Environments


def test_it_works_in_a_plain_script(tmp_path: Path) -> None:
    code = """
        with JupyterCodeExecutor(output_dir="coding") as executor:
            print(run(executor, "print('Hello, World!')"))
        """
    with script(tmp_path, code) as plain:
        assert plain.end() == "exit_code=0 output='Hello, World!\\n' output_files=[]\n"
    assert stream_text(code_cells(tmp_path / "coding" / "session.ipynb")[0]) == "Hello, World!\n"


def test_it_works_in_a_thread(output_dir: Path) -> None:
    with ThreadPoolExecutor(1) as one, ThreadPoolExecutor(1) as other:
        executor = JupyterCodeExecutor(output_dir=output_dir)
        assert one.submit(run, executor, "x = 1\nprint(x)").result(30).output == "1\n"
        assert other.submit(run, executor, "print(x + 1)").result(30).output == "2\n"
        executor.stop()


async def test_it_works_inside_a_running_event_loop(output_dir: Path) -> None:
    assert asyncio.get_running_loop().is_running()
    with JupyterCodeExecutor(output_dir=output_dir) as executor:
        assert run(executor, "print(1)").output == "1\n"


def test_it_works_after_asyncio_run_has_finished(output_dir: Path) -> None:
    with JupyterCodeExecutor(output_dir=output_dir) as executor:
        asyncio.run(asyncio.sleep(0))
        assert run(executor, "print(1)").output == "1\n"

        async def inside() -> str:
            return run(executor, "print(2)").output

        assert asyncio.run(inside()) == "2\n"
        assert run(executor, "print(3)").output == "3\n"


def test_it_works_in_a_jupyter_cell(output_dir: Path) -> None:
    cell = textwrap.dedent("""\
        from nbtape import CodeBlock, JupyterCodeExecutor
        with JupyterCodeExecutor(output_dir="inner") as executor:
            result = executor.execute_code_blocks([CodeBlock("print('within')", "python")])
        print(result)
        """)
    with JupyterCodeExecutor(output_dir=output_dir) as outer:
        assert run(outer, cell).output == "exit_code=0 output='within\\n' output_files=[]\n"
    assert stream_text(code_cells(output_dir / "inner" / "session.ipynb")[0]) == "within\n"


def test_eight_executors_work_in_parallel(output_dir: Path) -> None:
    together = threading.Barrier(8)

    def session(number: int) -> tuple[Path, str]:
        together.wait(30)
        with JupyterCodeExecutor(output_dir=output_dir) as executor:
            run(executor, f"x = {number}")
            together.wait(60)
            return executor.notebook, run(executor, "import os\nprint(os.getpid(), x)").output

    with ThreadPoolExecutor(8) as pool:
        sessions = list(pool.map(session, range(8)))
    pids, numbers = zip(*(output.split() for _, output in sessions), strict=True)
    assert numbers == tuple("01234567")
    assert len(set(pids)) == len({notebook for notebook, _ in sessions}) == 8
    for notebook, output in sessions:
        assert [stream_text(cell) for cell in code_cells(notebook)] == ["", output]


def test_two_executors_with_the_same_notebook_name_write_two_notebooks(output_dir: Path) -> None:
    with (
        JupyterCodeExecutor(output_dir=output_dir, notebook="same") as one,
        JupyterCodeExecutor(output_dir=output_dir, notebook="same") as two,
    ):
        first, second = run(one, "print('one')"), run(two, "print('two')")
        assert (first.notebook, second.notebook) == (output_dir / "same.ipynb", output_dir / "same-2.ipynb")
        assert (first.output_files, second.output_files) == ([], [])
    assert stream_text(code_cells(one.notebook)[0]) == "one\n"
    assert stream_text(code_cells(two.notebook)[0]) == "two\n"


# On an event loop


async def test_cancelling_a_call_on_an_event_loop_stops_only_that_call(output_dir: Path) -> None:
    begun, loop = asyncio.Event(), asyncio.get_running_loop()

    def tell(_: object) -> None:
        loop.call_soon_threadsafe(begun.set)

    with JupyterCodeExecutor(output_dir=output_dir, on_output=tell) as executor:
        running, waiting = (
            asyncio.ensure_future(executor.aexecute_code_blocks([CodeBlock(code, "python")]))
            for code in (f"kept = 7\n{FOREVER}", "never = True")
        )
        await asyncio.wait_for(begun.wait(), 60)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert not running.done()
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        result = await executor.aexecute_code_blocks([CodeBlock("print(kept, 'never' in globals())", "python")])
        assert result.output == "7 False\n"
    assert [cell["metadata"]["nbtape"]["status"] for cell in code_cells(executor.notebook)] == ["interrupted", "ok"]


async def test_calls_on_an_event_loop_run_in_order(output_dir: Path) -> None:
    with JupyterCodeExecutor(output_dir=output_dir) as executor:
        codes = ["n = 0", *(f"n = n * 2 + {place}\nprint(n)" for place in range(5))]
        calls = [executor.aexecute_code_blocks([CodeBlock(code, "python")]) for code in codes]
        results = await asyncio.gather(*calls)
    assert [result.output for result in results[1:]] == ["0\n", "1\n", "4\n", "11\n", "26\n"]


def test_the_context_of_the_first_caller_is_not_kept(output_dir: Path) -> None:
    class Held:
        pass

    def call() -> weakref.ref[Held]:
        held = Held()
        variable.set(held)
        run(executor, "x = 1")
        return weakref.ref(held)

    variable: ContextVar[Held] = ContextVar("held")
    executor = JupyterCodeExecutor(output_dir=output_dir)
    held = copy_context().run(call)
    gc.collect()
    assert held() is None
    executor.stop()


# Ctrl-C


@pytest.mark.parametrize("to", ["the process", "the group, as a terminal does"])
def test_ctrl_c_keeps_output_and_leaves_the_executor_usable(tmp_path: Path, to: str) -> None:
    code = f"""
        with JupyterCodeExecutor(on_output=lambda output: "text" in output and say(begun=True)) as executor:
            try:
                run(executor, "kept = 7\\n" + {FOREVER!r}, "print('rest')")
            except KeyboardInterrupt as exc:
                interrupted = exc
            say(kind=type(interrupted).__name__, status=interrupted.result.status, output=interrupted.result.output)
            say(after=run(executor, "kept").output)
        """
    with script(tmp_path, code) as interrupted:
        assert interrupted.hear() == {"begun": True}
        if to == "the process":
            interrupted.process.send_signal(signal.SIGINT)
        else:
            os.killpg(interrupted.process.pid, signal.SIGINT)
        said = interrupted.hear()
        assert (said["kind"], said["status"]) == ("BlockInterrupted", "interrupted")
        assert said["output"].startswith("begun\n")
        assert "not run" in said["output"]
        assert interrupted.hear() == {"after": "7"}
        interrupted.end()
    statuses = [cell["metadata"]["nbtape"]["status"] for cell in code_cells(tmp_path / "session.ipynb")]
    assert statuses == ["interrupted", "not_run", "ok"]


def test_an_uncaught_ctrl_c_exits_with_a_complete_notebook(tmp_path: Path) -> None:
    code = f"""
        with JupyterCodeExecutor(on_output={SAY_BEGUN}) as executor:
            run(executor, {FOREVER!r})
        """
    with script(tmp_path, code) as interrupted:
        interrupted.hear()
        interrupted.process.send_signal(signal.SIGINT)
        _, err = interrupted.process.communicate(timeout=20)
        assert interrupted.process.returncode != 0
        assert "BlockInterrupted" in err
    (cell,) = code_cells(tmp_path / "session.ipynb")
    assert (cell["metadata"]["nbtape"]["status"], stream_text(cell)) == ("interrupted", "begun\n")


def test_ctrl_c_in_a_queued_call_stops_only_that_call(tmp_path: Path) -> None:
    code = """
        begun, go = threading.Event(), "go"
        executor = JupyterCodeExecutor(on_output=lambda _: begun.set())
        results = []
        wait = "import os, time\\nprint('begun', flush=True)\\nwhile not os.path.exists('go'): time.sleep(0.01)"
        running = threading.Thread(target=lambda: results.append(run(executor, wait + "\\nprint('ended')")))
        running.start()
        begun.wait(30)
        threading.Timer(0.3, os.kill, [os.getpid(), signal.SIGINT]).start()
        try:
            run(executor, "queued = True")
        except KeyboardInterrupt as exc:
            interrupted = exc
        open("go", "w").close()
        running.join(30)
        say(running=results[0].status, ran=run(executor, "print('queued' in globals())").output.splitlines()[-1])
        executor.stop()
        """
    with script(tmp_path, code) as waiting:
        assert waiting.hear() == {"running": "ok", "ran": "False"}
        waiting.end()


def test_ctrl_c_while_the_kernel_starts_leaves_nothing(tmp_path: Path, temp_dir: Path) -> None:
    directory = tmp_path / "kernels" / "silent"
    directory.mkdir(parents=True)
    spec = {"argv": ["sh", "-c", "touch started; sleep 600"], "display_name": "Silent", "language": "python"}
    (directory / "kernel.json").write_text(json.dumps(spec))
    code = f"""
        os.environ["JUPYTER_PATH"] = {str(tmp_path)!r}
        executor = JupyterCodeExecutor(kernel_name="silent")
        try:
            executor.start()
        except KeyboardInterrupt:
            say(interrupted=True)
        """
    with script(tmp_path, code) as starting:
        assert eventually((tmp_path / "started").exists)
        (kernel,) = filter(is_leader, descendants(starting.process.pid))
        starting.process.send_signal(signal.SIGINT)
        assert starting.hear() == {"interrupted": True}
        starting.end()
    assert eventually(lambda: not is_running(kernel))
    assert eventually(lambda: not list(temp_dir.glob("nbtape-*")))


def is_leader(pid: int) -> bool:
    """Return whether a process leads its group, as a kernel does."""
    return os.getpgid(pid) == pid


# Executors that are not stopped, and processes that die


def test_a_script_that_never_calls_stop_exits_at_once_and_leaves_no_kernel(tmp_path: Path, temp_dir: Path) -> None:
    code = """
        executor = JupyterCodeExecutor()
        say(kernel=int(run(executor, "import os\\nprint(os.getpid())").output))
        """
    with script(tmp_path, code) as forgetful:
        kernel = forgetful.hear()["kernel"]
        forgetful.end(10)
    assert eventually(lambda: not is_running(kernel))
    assert list(temp_dir.glob("nbtape-*")) == []
    assert len(code_cells(tmp_path / "session.ipynb")) == 1


def test_a_kernel_whose_script_never_calls_stop_is_shut_down_cleanly(tmp_path: Path) -> None:
    code = """
        executor = JupyterCodeExecutor()
        run(executor, "import atexit\\natexit.register(open('farewell', 'w').write, 'bye')")
        """
    with script(tmp_path, code) as forgetful:
        forgetful.end(10)
    assert (tmp_path / "farewell").read_text() == "bye"


@pytest.mark.fault("interpreter shutdown with a block running", seen="The process ends; no kernel is left.")
def test_a_script_that_exits_while_another_thread_waits_for_a_block_leaves_no_kernel(tmp_path: Path) -> None:
    code = f"""
        begun = threading.Event()
        executor = JupyterCodeExecutor(on_output=lambda _: begun.set())
        pid = int(run(executor, "import os\\nprint(os.getpid())").output)
        begun.clear()
        block = "open('data.csv', 'w').write('1')\\n" + {FOREVER!r}
        threading.Thread(target=run, args=[executor, block], daemon=True).start()
        begun.wait(30)
        say(kernel=pid)
        """
    with script(tmp_path, code) as leaving:
        kernel = leaving.hear()["kernel"]
        leaving.end(10)
    assert eventually(lambda: not is_running(kernel))
    _, cell = code_cells(tmp_path / "session.ipynb")
    assert stream_text(cell) == "begun\n"
    assert cell["metadata"]["nbtape"]["status"] == "interrupted"


@pytest.mark.parametrize("doing", ["idle", "busy", "frozen"])
@pytest.mark.fault("the client killed (SIGKILL)", seen="The kernel exits and its files are removed.")
def test_a_kernel_exits_when_its_client_process_is_killed(tmp_path: Path, temp_dir: Path, doing: str) -> None:
    code = f"""
        executor = JupyterCodeExecutor(on_output=lambda output: print(output["text"], end="", flush=True))
        run(executor, "import json, os, sys\\nprint(json.dumps(os.getpid()))")
        if {doing != "idle"}:
            run(executor, "print(json.dumps('busy'), flush=True)\\nwhile True: pass")
        say(idle=True)
        time.sleep(600)
        """
    with script(tmp_path, code) as killed:
        kernel = killed.hear()
        killed.hear()
        assert is_running(kernel)
        if doing == "frozen":
            os.kill(kernel, signal.SIGSTOP)
        killed.process.kill()
        killed.process.wait()
        assert eventually(lambda: not is_running(kernel))
    for directory in temp_dir.glob("nbtape-*"):
        shutil.rmtree(directory)  # no one else will do it
    assert code_cells(tmp_path / "session.ipynb")[0]["metadata"]["nbtape"]["status"] == "ok"


@forgets
def test_a_garbage_collected_executor_stops_its_kernel_and_its_thread(output_dir: Path) -> None:
    processes, threads = descendants(), set(threading.enumerate())
    executor = JupyterCodeExecutor(output_dir=output_dir)
    run(executor, "print(1)")
    assert descendants() != processes
    del executor
    gc.collect()
    assert eventually(lambda: descendants() == processes)
    assert eventually(lambda: set(threading.enumerate()) == threads)
    assert len(code_cells(output_dir / "session.ipynb")) == 1


@pytest.mark.fault("fork of the client", seen="The fork exits; the kernel stays with its owner.")
def test_a_fork_that_exits_stops_nothing(tmp_path: Path) -> None:
    code = """
        import warnings
        warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12: a fork of a process with threads
        executor = JupyterCodeExecutor()
        run(executor, "x = 1")
        child = os.fork()
        if not child:
            sys.exit()
        deadline = time.monotonic() + 5
        status = (0, None)
        while status[0] != child and time.monotonic() < deadline:
            status = os.waitpid(child, os.WNOHANG)
            time.sleep(0.01)
        say(status=status[1] if status[0] else "hangs", output=run(executor, "print(x)").output)
        executor.stop()
        """
    with script(tmp_path, code) as forked:
        assert forked.hear() == {"status": 0, "output": "1\n"}
        forked.end()


def test_use_in_a_fork_is_an_error_and_a_worker_can_create_its_own(tmp_path: Path) -> None:
    code = """
        import asyncio, copy, warnings
        from nbtape import AsyncJupyterCodeExecutor, KernelPool
        warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12: a fork of a process with threads

        def error_of(act):
            try:
                act()
            except Exception as exc:
                return f"{type(exc).__name__}: {exc}"

        async def main():
            one = AsyncJupyterCodeExecutor()
            await one.start()
            executor, unused, pool = JupyterCodeExecutor(), JupyterCodeExecutor(), KernelPool(size=1, fork=False)
            executor.start()
            pool.start()
            child = os.fork()
            if not child:
                asyncio._set_running_loop(None)  # as in a worker, which has none
                acts = [lambda: run(executor, "1"), executor.stop, pool.fill, lambda: asyncio.run(one.run("1"))]
                errors = [error_of(act) for act in acts]
                say(errors=errors, output=run(unused, "print('worker')").output)
                unused.stop()
                os._exit(0)
            os.waitpid(child, 0)
            say(outputs=[run(executor, "print(1)").output, (await one.run("print(2)")).output])
            await one.stop()
            executor.stop()
            pool.stop()

        asyncio.run(main())
        """
    with script(tmp_path, code) as forked:
        told = forked.hear()
        error = "WrongProcessError: This {} was started before the process forked. Create one in each worker process."
        assert told["errors"] == [error.format(kind) for kind in ("executor", "executor", "pool", "executor")]
        assert told["output"] == "worker\n"
        assert forked.hear() == {"outputs": ["1\n", "2\n"]}
        forked.end()


# Lifecycle


def test_a_second_stop_is_harmless_and_use_after_it_starts_a_fresh_kernel(output_dir: Path) -> None:
    executor = JupyterCodeExecutor(output_dir=output_dir)
    executor.stop()
    run(executor, "x = 1")
    executor.stop()
    executor.stop()
    try:
        result = run(executor, "print('x' in globals())")
        assert (result.status, result.kernel_epoch) == ("ok", 2)
        assert result.output.endswith("\nFalse\n")
    finally:
        executor.stop()
    assert len(code_cells(executor.notebook)) == 2


def test_an_interrupt_before_start_or_after_stop_is_harmless(output_dir: Path) -> None:
    executor = JupyterCodeExecutor(output_dir=output_dir)
    executor.interrupt()
    assert run(executor, "print(1)").output == "1\n"
    executor.stop()
    executor.interrupt()


def test_stops_from_several_threads_at_once_are_harmless(output_dir: Path) -> None:
    executor = JupyterCodeExecutor(output_dir=output_dir)
    run(executor, "x = 1")
    assert all_end([executor.stop] * 4)


def test_a_queued_call_still_runs_after_a_stop(output_dir: Path) -> None:
    begun = threading.Event()
    executor = JupyterCodeExecutor(output_dir=output_dir, on_output=lambda _: begun.set())
    running = threading.Thread(target=run, args=[executor, FOREVER], daemon=True)
    running.start()
    assert begun.wait(30)
    assert all_end([executor.stop, lambda: run(executor, "print('next')")])
    running.join(20)
    assert not running.is_alive()
    executor.stop()


def test_calls_still_queue_after_a_stop(output_dir: Path) -> None:
    with JupyterCodeExecutor(output_dir=output_dir) as executor, ThreadPoolExecutor() as pool:
        for _ in range(2):
            calls = [pool.submit(run, executor, "import time\ntime.sleep(0.2)") for _ in range(3)]
            assert [call.result(30).status for call in calls] == 3 * ["ok"]
            executor.stop()


def test_a_call_from_on_output_does_not_hang(output_dir: Path) -> None:
    def listen(_: object) -> None:
        executor.add_markdown("printed something")

    executor = JupyterCodeExecutor(output_dir=output_dir, on_output=listen)
    assert all_end([lambda: run(executor, "print(1)")])
    executor.stop()


def all_end(acts: list[Callable[[], Any]], seconds: float = 20) -> bool:
    """Return whether calls that begin at once, each in a thread, all return within some seconds."""
    threads = [threading.Thread(target=act, daemon=True) for act in acts]
    for thread in threads:
        thread.start()
    return eventually(lambda: not any(thread.is_alive() for thread in threads), seconds)


def test_a_call_can_set_its_own_timeout(output_dir: Path) -> None:
    with JupyterCodeExecutor(output_dir=output_dir, timeout=60) as executor:
        result = executor.execute_code_blocks([CodeBlock("import time\ntime.sleep(30)", "python")], timeout=1)
        assert result.status == "timeout"
        assert "stopped after 1 s" in result.output
        assert code_cells(executor.notebook)[0]["metadata"]["nbtape"]["timeout"] == 1
        with pytest.raises(ValueError, match="timeout= must be a finite number of seconds, at least 1"):
            executor.execute_code_blocks([], timeout=0)
