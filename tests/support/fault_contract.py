"""Faults that a session must survive on every kind of kernel: the fault, its visible effect, and the next block.

More faults are in the contract suite, marked in the same way. `scripts/faults` makes a table of the observed effects.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import random
import signal as signals
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import psutil  # type: ignore[import-untyped,unused-ignore]
import pytest
from executors import Executors, blocks, check_fresh, run, stopped_by
from full_matrix import first
from observing import see
from reading import code_cells, stream_text

from nbtape import AsyncJupyterCodeExecutor, JupyterConnectionInfo

if TYPE_CHECKING:
    from executors import Factory, Signal

    from nbtape import JupyterCodeExecutor
    from nbtape.kernels.sources import Server

fault = pytest.mark.fault

NEVER_RETURNS = "sum(range(10**15))"  # and does not check for signals

#: A block that prints a hundred numbers, a few at a time.
COUNTING = "import time\nfor n in range(100):\n    print(n, flush=True)\n    time.sleep(0.05)"


class EndFaults(Executors):
    """Ways in which a kernel's process may exit, in addition to those of the contract."""

    @fault("crash in native code (SIGSEGV)")
    def test_a_crash_in_native_code_is_a_dead_kernel(self, make: Factory, signal: Signal) -> None:
        executor = make(on_output=signal.give)
        code = f"print('before', flush=True)\n{signal.wait}\nimport ctypes\nctypes.string_at(1)"
        result = run(executor, code, "print('rest')")
        assert [cell.status for cell in result.cells] == ["kernel_died", "not_run"]
        assert result.output.startswith("before\n")
        check_fresh(executor)

    @fault("no memory left for the process (RLIMIT_AS)")
    def test_running_out_of_memory_is_an_error_and_keeps_the_kernel(self, executor: JupyterCodeExecutor) -> None:
        run(executor, "import resource\nkept = 7\nlimit = resource.getrlimit(resource.RLIMIT_AS)")
        bound = "used = int(open('/proc/self/statm').read().split()[0]) * resource.getpagesize()"
        result = run(
            executor, f"{bound}\nresource.setrlimit(resource.RLIMIT_AS, (used + 2**26, limit[1]))\nb'x' * 2**30"
        )
        assert (result.status, result.cells[0].error_name) == ("error", "MemoryError")
        assert run(executor, "resource.setrlimit(resource.RLIMIT_AS, limit)\nprint(kept)").output == "7\n"


class DisobedienceFaults(Executors):
    """Code that does not obey an interrupt."""

    @fault("interrupt during native code that ignores it")
    def test_native_code_that_ignores_the_interrupt_gets_its_kernel_killed(self, make: Factory) -> None:
        executor = make(timeout=1, interrupt_grace=1)
        result = run(executor, f"print('before', flush=True)\n{NEVER_RETURNS}", "print('rest')")
        assert [cell.status for cell in result.cells] == ["timeout", "not_run"]
        assert result.output.startswith("before\n")
        assert "the kernel was killed" in result.output
        assert "may be missing" not in result.output
        check_fresh(executor)

    @fault("interrupt meets a `finally` that sleeps")
    def test_a_finally_that_sleeps_is_interrupted_too(self, make: Factory) -> None:
        executor = make(timeout=1, interrupt_grace=8)
        code = "import time\nkept = 7\ntry:\n    time.sleep(60)\nfinally:\n    print('tidying', flush=True)\n"
        result = run(executor, f"{code}    time.sleep(60)")
        assert (result.status, "tidying\n" in result.output) == ("timeout", True)
        assert run(executor, "print(kept)").output == "7\n"


class SabotageFaults(Executors):
    """Blocks that break the process they run in."""

    @fault("children that keep printing")
    def test_children_that_keep_printing_block_nothing_and_stop_with_the_kernel(
        self, executor: JupyterCodeExecutor
    ) -> None:
        code = "import subprocess\nchild = subprocess.Popen(['sh', '-c', 'while :; do echo child; sleep 0.01; done'])"
        assert run(executor, code).status == "ok"
        for n in range(5):
            # In one write, so that no output of a child comes in between.
            result = run(executor, f"import time\ntime.sleep(0.1)\nprint('block {n}\\n', end='')")
            assert (result.status, f"block {n}\n" in result.output) == ("ok", True)
        assert "poll: None\n" in run(executor, "print(f'poll: {child.poll()}\\n', end='')").output

    @fault("`sys.stdout` replaced")
    @pytest.mark.parametrize("value", first(1, ["None", "open('/dev/null', 'w')", "object()"]))
    def test_output_from_before_stdout_is_replaced_is_kept(self, make: Factory, value: str) -> None:
        executor = make(timeout=3, interrupt_grace=1)
        run(executor, f"import sys\nprint('before')\nsys.stdout = {value}")
        # The kernel sends what is left in the old stdout on its next periodic flush, not at the end of a block.
        run(executor, "import sys, time\ntime.sleep(0.5)\nsys.stdout = sys.__stdout__")
        executor.restart()
        assert run(executor, "print('whole')").output.endswith("whole\n")
        assert stream_text(code_cells(executor.notebook)[0]) == "before\n"

    @fault("stdout closed")
    @pytest.mark.parametrize("code", ["sys.stdout.close()", "os.close(1)", "os.close(1); os.close(2)"])
    def test_a_closed_stdout_works_again_after_a_restart(self, executor: JupyterCodeExecutor, code: str) -> None:
        result = run(executor, f"import os, sys\nprint('before', flush=True)\n{code}", "kept = 7")
        assert result.output.startswith("before\n")
        assert result.status in {"ok", "error"}
        assert run(executor, "kept").status in {"ok", "error", "kernel_died"}
        executor.restart()
        assert run(executor, "print('whole')").output.endswith("whole\n")

    @fault("`print` and `display` replaced, builtins gone, `__main__` deleted")
    @pytest.mark.parametrize(
        "code",
        first(
            3,
            [
                "import builtins\nbuiltins.print = builtins.open = builtins.repr = None",
                "import IPython.display as d\nd.display.__globals__['display'] = d.display = display = None",
                "import sys\ndel sys.modules['__main__']",
                "import sys\nsys.modules.clear()",
                "globals().clear()",
                "get_ipython().user_ns.clear()\nget_ipython().display_formatter = None",
                "from signal import *\nfor each in (SIGINT, SIGTERM):\n    signal(each, SIG_IGN)",
                "import json, time\njson.dumps = time.time = time.monotonic = None",
            ],
        ),
        ids=["builtins", "display", "main", "modules", "globals", "ipython", "signals", "json"],
    )
    def test_a_block_that_breaks_python_finishes_and_a_restart_repairs_it(self, make: Factory, code: str) -> None:
        executor = make(timeout=2, interrupt_grace=1)
        run(executor, code)
        run(executor, "print('perhaps')")
        executor.restart()
        assert run(executor, "print('whole')").output.endswith("whole\n")
        sources = [cell["source"] for cell in code_cells(executor.notebook)]
        assert sources == [code, "print('perhaps')", "print('whole')"]

    @fault("messages forged on the kernel's own sockets")
    @pytest.mark.parametrize(
        ("kind", "content"),
        first(
            3,
            [
                ("status", {"execution_state": "idle"}),
                ("status", {"execution_state": "dead"}),
                ("status", {"execution_state": None}),
                ("stream", {"name": 3, "text": ["not", "text"]}),
                ("error", {"ename": "Forged", "evalue": "", "traceback": 3}),
                ("execute_input", {"code": "forged", "execution_count": -1}),
                ("shutdown_reply", {"restart": False}),
            ],
        ),
        ids=["idle", "dead", "none", "stream", "error", "input", "shutdown"],
    )
    def test_forged_messages_affect_only_their_own_block(
        self, make: Factory, kind: str, content: dict[str, Any]
    ) -> None:
        executor = make(timeout=5, interrupt_grace=1)
        forge = (
            "kernel = get_ipython().kernel\n"
            "def forge(kind, content):\n"
            "    parent = kernel.get_parent('shell')\n"
            "    kernel.session.send(kernel.iopub_socket, kind, content, parent=parent, ident=b'forged')\n"
        )
        result = run(executor, f"{forge}print('before', flush=True)\nforge({kind!r}, {content!r})\nprint('after')")
        assert result.output.startswith("before\n")
        after = run(executor, "print('next')")
        assert after.output.endswith("next\n")
        first, second = code_cells(executor.notebook)
        assert "after" not in stream_text(second)
        assert stream_text(first) in {"before\n", "before\nafter\n", "before\n['not', 'text']after\n"}

    @fault("bytes on the kernel's own sockets that are not messages")
    def test_invalid_bytes_on_the_kernels_sockets_cause_no_delay(self, executor: JupyterCodeExecutor) -> None:
        garbage = (
            "io = get_ipython().kernel.iopub_thread\n"
            "for frames in ([b'garbage'], [b''], [b'<IDS|MSG>'], [b'<IDS|MSG>', b'', b'{', b'', b'', b'']):\n"
            "    io.schedule(lambda frames=frames: io.socket.send_multipart(frames))\n"
        )
        result = run(executor, f"print('before', flush=True)\n{garbage}print('after', flush=True)")
        assert (result.status, result.output) == ("ok", "before\nafter\n")
        assert result.cells[0].duration < 5
        assert run(executor, "print('next')").output == "next\n"

    @fault("an answer that the kernel never sends")
    @pytest.mark.parametrize("forgotten", first(1, ["execute_reply", "idle"]))
    def test_a_kernel_that_forgets_to_answer_is_kept(self, make: Factory, forgotten: str) -> None:
        executor = make(timeout=2, interrupt_grace=4)
        code = (
            "kept, session = 7, get_ipython().kernel.session\nsend = session.send\n"
            "def forget(stream, message, content=None, *more, **options):\n"
            "    kind = message if isinstance(message, str) else message['msg_type']\n"
            f"    if {forgotten!r} in (kind, (content or {{}}).get('execution_state')):\n"
            "        session.send = send\n"
            "    else:\n"
            "        return send(stream, message, content, *more, **options)\n"
            "session.send = forget\nprint('before')"
        )
        result = run(executor, code)
        assert result.status in {"ok", "timeout"}
        assert result.output.startswith("before\n")
        assert run(executor, "print(kept)").output == "7\n"
        assert executor.kernel_epoch == 1

    @fault("the kernel's sockets closed by the code")
    def test_a_block_that_closes_the_kernels_sockets_is_stopped_at_its_deadline(self, make: Factory) -> None:
        executor = make(timeout=2, interrupt_grace=1)
        run(executor, "print('before', flush=True)\nget_ipython().kernel.iopub_socket.close()", "print('rest')")
        executor.restart()
        assert run(executor, "print('whole')").output.endswith("whole\n")


class ErrorFaults(Executors):
    """Output around an error, and errors among blocks."""

    @fault("output before, during and after an error")
    def test_output_before_during_and_after_an_error_is_kept_in_order(self, executor: JupyterCodeExecutor) -> None:
        code = (
            "import atexit, sys, threading\n"
            "class Loud(Exception):\n"
            "    def __str__(self):\n        print('during', flush=True)\n        return 'loud'\n"
            "print('before')\n"
            "try:\n    raise Loud\nfinally:\n    print('after', flush=True)"
        )
        result = run(executor, code)
        assert (result.status, result.cells[0].error_name) == ("error", "Loud")
        assert result.output.startswith("before\nafter\n")
        assert "during\n" in result.output
        assert "Loud: loud" in result.output

    @fault("an error in the middle of five blocks")
    def test_an_error_in_the_middle_of_five_blocks_stops_the_rest(self, executor: JupyterCodeExecutor) -> None:
        result = run(executor, "a = 1", "b = a + 1", "c = b + undefined", "d = c", "e = d")
        assert [cell.status for cell in result.cells] == ["ok", "ok", "error", "not_run", "not_run"]
        assert "2 more blocks were not run" in result.output
        assert run(executor, "print(a, b)").output == "1 2\n"


class HandFaults(Executors):
    """Concurrent callers of one executor, at random times."""

    @fault("canceled at up to 50 random times", seen="`CancelledError`; what was printed is kept.")
    async def test_calls_cancelled_at_random_times_leave_a_clean_kernel(
        self, source: Server, output_dir: Path, caplog: pytest.LogCaptureFixture, *, full: bool
    ) -> None:
        chance = random.Random(5)
        async with AsyncJupyterCodeExecutor(source, output_dir=output_dir, interrupt_grace=8) as executor:
            for n in range(50 if full else 15):
                code = f"import time\nfor k in range(20):\n    print('{n} %d' % k, flush=True)\n    time.sleep(0.005)"
                call = asyncio.ensure_future(executor.execute_code_blocks(blocks(code)))
                await asyncio.sleep(chance.uniform(0, 0.2))
                call.cancel()
                await asyncio.wait({call})
            assert (await executor.execute_code_blocks(blocks("print('next')"))).output == "next\n"
            assert executor.kernel_epoch == 1
        for cell in code_cells(executor.notebook)[:-1]:
            n = cell["source"].split("print('")[1].split()[0]
            lines = stream_text(cell).splitlines()
            assert lines == [f"{n} {line}" for line in range(len(lines))]
            assert len(lines) == 20 or cell["metadata"]["nbtape"]["status"] in {"interrupted", "not_run"}
        gc.collect()  # asyncio now reports exceptions that were never retrieved
        assert [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR] == []

    @fault("Ctrl-C at up to 50 random times")
    def test_ctrl_c_at_random_times_leaves_a_clean_kernel(
        self, source: Server, output_dir: Path, *, full: bool
    ) -> None:
        chance = random.Random(6)
        moments = 50 if full else 15
        with Client(source, output_dir, str(moments), 30, script=INTERRUPTED) as client:
            for _ in range(moments):
                client.wait_begun()
                time.sleep(chance.uniform(0, 0.2))  # a random time
                client.process.send_signal(signals.SIGINT)
            assert client.result() == "ok"
        cells = code_cells(output_dir / "client.ipynb")
        assert {cell["metadata"]["nbtape"].get("kernel_epoch", 1) for cell in cells} == {1}  # none if it was not run
        for cell in cells[:-1]:
            lines = stream_text(cell).splitlines()
            assert lines == [str(n) for n in range(len(lines))]
            assert len(lines) == 100 or cell["metadata"]["nbtape"]["status"] in {"interrupted", "not_run"}

    @fault("used from 16 threads at once")
    def test_sixteen_threads_each_get_their_own_results(self, executor: JupyterCodeExecutor) -> None:
        run(executor, "done = []")

        def work(thread: int) -> list[str]:
            return [run(executor, f"done.append({thread})\nprint({thread}, {n})").output for n in range(4)]

        with ThreadPoolExecutor(16) as pool:
            outputs = list(pool.map(work, range(16)))
        assert outputs == [[f"{thread} {n}\n" for n in range(4)] for thread in range(16)]
        assert run(executor, "print(len(done))").output == "64\n"
        counts = [cell["execution_count"] for cell in code_cells(executor.notebook)]
        assert counts == list(range(1, 67))

    @fault("`restart()` during a block")
    def test_a_restart_interrupts_the_block_and_gives_a_fresh_kernel(self, make: Factory) -> None:
        begun = threading.Event()
        executor = make(on_output=lambda _: begun.set())
        result = stopped_by(executor, executor.restart, begun)
        assert [cell.status for cell in result.cells] == ["interrupted", "not_run"]
        assert result.output.startswith("begun\n")
        told = run(executor, "print('fresh')")
        assert told.output.endswith("fresh\n")
        assert told.kernel_epoch == 2


class StandstillFaults(Executors):
    """A client, or all processes, stopped for a while."""

    #: Seconds for which all processes are stopped.
    stands_still_for = 5

    def processes(self, client: Client) -> list[psutil.Process]:
        """Return the processes that are stopped with the whole machine: the client and those its kernel needs."""
        return [client.process, *client.process.children(recursive=True)]

    @fault("the client stopped (SIGSTOP) during up to 20,000 outputs")
    def test_a_stopped_client_loses_nothing(self, source: Server, output_dir: Path, *, full: bool) -> None:
        count, seconds = (20_000, 5) if full else (5_000, 2)
        code = (
            "from IPython.display import display\nimport time\nprint('begun', flush=True)\ntime.sleep(0.5)\n"
            f"for n in range({count}):\n    display(n)"
        )
        with Client(source, output_dir, code, timeout=200) as client:
            client.wait_begun()
            client.stand_still([client.process], seconds)
            assert client.result() == "ok"
        cell = code_cells(output_dir / "client.ipynb")[0]
        assert [output["data"]["text/plain"] for output in cell["outputs"][1:]] == [str(n) for n in range(count)]

    @fault("a wall clock that jumps by days in both directions")
    def test_a_jumping_wall_clock_changes_no_deadline(self, source: Server, output_dir: Path, tmp_path: Path) -> None:
        clock = tmp_path / "clock"
        clock.write_text("+0")
        code = f"print('begun', flush=True)\n{COUNTING}\ntime.sleep(60)"
        with Client(source, output_dir, code, timeout=8, **false_clock(clock)) as client:
            client.wait_begun()
            for jump in ("+2d", "-5d", "+1s"):
                clock.write_text(jump)
                time.sleep(1)
            assert client.result() == "timeout"
        assert 8 <= client.duration < 10
        cell = code_cells(output_dir / "client.ipynb")[0]
        assert stream_text(cell).splitlines()[1:] == [str(n) for n in range(100)]

    @fault("the whole machine suspended, a minute on a server (SIGSTOP of client, server and kernel)")
    def test_a_suspended_machine_loses_nothing(self, source: Server, output_dir: Path) -> None:
        code = f"import os\nprint('begun', os.getpid(), flush=True)\n{COUNTING}"
        with Client(source, output_dir, code, timeout=200) as client:
            client.wait_begun()
            client.stand_still(self.processes(client), self.stands_still_for)
            assert client.result() == "ok"
        cell = code_cells(output_dir / "client.ipynb")[0]
        assert stream_text(cell).splitlines()[1:] == [str(n) for n in range(100)]


SET_UP = """
import os, sys
os.environ.pop("LD_PRELOAD", None)  # is for this process alone
from nbtape import CodeBlock, JupyterCodeExecutor

def tell(output):
    if output.get("text", "").startswith("begun"):
        print("begun", flush=True)

def run(code):
    return executor.execute_code_blocks([CodeBlock(code, "python")])

directory, code, timeout = sys.argv[1:]
server, token = os.environ.get("SERVER"), os.environ.get("TOKEN")
options = {"output_dir": directory, "notebook": "client", "timeout": float(timeout), "on_output": tell}
executor = JupyterCodeExecutor(server, **options, **({"token": token} if server else {}))
"""

RUNS_ONE = """
with executor:
    result = run(code)
    peak = next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM"))
    after = run("print('next')")
    assert after.output.endswith("next\\n"), after
    print(result.status, round(result.cells[0].duration, 1), int(peak) // 1024, len(result.output), flush=True)
"""

#: Is interrupted in each of `code` blocks; a block that finishes early is followed by a sleep.
INTERRUPTED = """
import time
with executor:
    for _ in range(int(code)):
        try:
            print("begun", flush=True)
            run("for n in range(100):\\n    print(n, flush=True)")
            time.sleep(60)
        except KeyboardInterrupt:
            pass
    after = run("print('next')")
    assert after.output.endswith("next\\n"), after
    print(after.status, 0, 0, 0, flush=True)
"""


class Client:
    """A separate process that runs one block.

    Args:
        source: Where its kernel comes from.
        output_dir: Where it records, as `client.ipynb`.
        code: The block; it prints `begun` first.
        timeout: Seconds for the block.
        script: What it does when it is set up, and has an executor.
        environment: More of its environment.
    """

    def __init__(
        self, source: Server, output_dir: Path, code: str, timeout: float, script: str = RUNS_ONE, **environment: str
    ) -> None:
        self._arguments = [sys.executable, "-c", SET_UP + script, str(output_dir), code, str(timeout)]
        self._environment = {**os.environ, **where(source), **environment}

    def __enter__(self) -> Self:
        self._popen = subprocess.Popen(self._arguments, env=self._environment, stdout=subprocess.PIPE, text=True)
        self.process = psutil.Process(self._popen.pid)
        return self

    def __exit__(self, *_: object) -> None:
        self._popen.kill()
        self._popen.communicate()

    def wait_begun(self) -> None:
        """Return when the block has begun."""
        assert self._popen.stdout is not None
        assert self._popen.stdout.readline() == "begun\n"

    @staticmethod
    def stand_still(processes: list[psutil.Process], seconds: float) -> None:
        """Stop processes for some seconds. This sleep hides no race: the time itself is the fault."""
        for process in processes:
            process.send_signal(signals.SIGSTOP)
        time.sleep(seconds)
        for process in processes:
            process.send_signal(signals.SIGCONT)

    def result(self) -> str:
        """Return the status of the block."""
        out, _ = self._popen.communicate(timeout=250)
        self.status, duration, peak, answer = out.splitlines()[-1].split()
        self.duration, self.peak, self.answer = float(duration), int(peak), int(answer)
        see(self.status, "", self.duration)
        return self.status


def false_clock(clock: Path) -> dict[str, str]:
    """Return the environment of a process whose wall clock follows a file (https://github.com/wolfcw/libfaketime)."""
    libraries = list(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
    if not libraries:
        pytest.skip("There is no libfaketime: apt install faketime.")
    return {
        "LD_PRELOAD": str(libraries[0]),
        "FAKETIME_TIMESTAMP_FILE": str(clock),
        "FAKETIME_NO_CACHE": "1",
        "DONT_FAKE_MONOTONIC": "1",
    }


def where(source: Server) -> dict[str, str]:
    """Return the environment variables that give a `Client` its source of kernels."""
    if source is None:
        return {}
    info = source if isinstance(source, JupyterConnectionInfo) else JupyterConnectionInfo.of(source.connection_info)  # type: ignore[union-attr]
    return {"SERVER": info.url, "TOKEN": info.token or ""}


#: Prints 100 MB/s, forever.
PRINTS_FOR_EVER = """
import time
begun, printed = time.monotonic(), 0
while True:
    print("x" * 999_999)
    printed += 1
    while printed > (time.monotonic() - begun) * 100:
        time.sleep(0.001)
"""

#: 5,000 images, each different.
SHOWS_PICTURES = """
import os, struct, zlib
from IPython.display import Image, display

def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

def picture():
    rows = zlib.compress(b"".join(b"\\0" + os.urandom(3 * 24) for _ in range(24)))
    size = struct.pack(">IIBBBBB", 24, 24, 8, 2, 0, 0, 0)
    return b"\\x89PNG\\r\\n\\x1a\\n" + chunk(b"IHDR", size) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")

for n in range(5_000):
    display(Image(data=picture()))
"""

FALLS_DEEP = """
import sys
sys.setrecursionlimit(200_000)

def fall(n):
    return n and 1 + fall(n - 1)

fall(100_000) / None
fall(10**6)
"""


class FloodFaults(Executors):
    """Floods of output: the client's memory stays below 300 MB, and the text reports what is left out."""

    def flood(self, source: Server, output_dir: Path, code: str, timeout: float = 120) -> tuple[Client, Any]:
        """Run the block in a separate client; return the client and the cell."""
        with Client(source, output_dir, code, timeout) as client:
            client.result()
        assert client.peak < 300, f"the client had {client.peak} MB"
        assert client.answer <= 20_000
        assert (output_dir / "client.ipynb").stat().st_size < 60_000_000
        return client, code_cells(output_dir / "client.ipynb")[0]

    @pytest.mark.alone
    @fault("a loop that prints forever, 100 MB/s")
    def test_a_loop_that_prints_forever_is_stopped_at_its_deadline(self, source: Server, output_dir: Path) -> None:
        client, cell = self.flood(source, output_dir, PRINTS_FOR_EVER, timeout=8)
        assert client.status == "timeout"
        assert len(stream_text(cell)) == 16_000_000
        assert cell["metadata"]["nbtape"]["left_out"] > 100_000_000
        assert "characters of output are left out" in stream_text(cell, "stderr")

    @pytest.mark.alone
    async def test_another_session_of_the_same_event_loop_answers_during_a_flood(
        self, source: Server, output_dir: Path
    ) -> None:
        flooded = AsyncJupyterCodeExecutor(source, notebook="flooded", output_dir=output_dir, timeout=5)
        other = AsyncJupyterCodeExecutor(source, notebook="other", output_dir=output_dir, timeout=30)
        waits = []
        async with flooded, other:
            flood = asyncio.ensure_future(flooded.execute_code_blocks(blocks(PRINTS_FOR_EVER)))
            while not flood.done():
                began = time.monotonic()
                assert (await other.execute_code_blocks(blocks("print('here')"))).output == "here\n"
                waits.append(time.monotonic() - began)
            assert (await flood).status == "timeout"
        assert len(waits) > 20
        assert max(waits) < 2

    @fault("one line of 200 MB")
    def test_one_line_of_200_megabytes_is_cut(self, source: Server, output_dir: Path) -> None:
        client, cell = self.flood(source, output_dir, "print('x' * 200_000_000)")
        assert client.status == "ok"
        assert stream_text(cell) == "x" * 16_000_000
        assert cell["metadata"]["nbtape"]["left_out"] == 184_000_001

    @fault("up to 50,000 flushed prints")
    def test_thousands_of_flushed_prints_are_recorded(self, source: Server, output_dir: Path, *, full: bool) -> None:
        count = 50_000 if full else 10_000
        client, cell = self.flood(source, output_dir, f"for n in range({count}):\n    print(n, flush=True)")
        assert client.status == "ok"
        assert stream_text(cell) == "".join(f"{n}\n" for n in range(count))

    @fault("10,000 display updates")
    def test_ten_thousand_display_updates(self, source: Server, output_dir: Path) -> None:
        code = "shown = display(0, display_id=True)\nfor n in range(10_001):\n    shown.update(n)"
        client, cell = self.flood(source, output_dir, code)
        assert client.status == "ok"
        assert [output["data"]["text/plain"] for output in cell["outputs"]] == ["10000"]

    @fault("5,000 images")
    def test_five_thousand_images(self, source: Server, output_dir: Path) -> None:
        client, cell = self.flood(source, output_dir, SHOWS_PICTURES)
        assert client.status == "ok"
        assert len(cell["outputs"]) == 5_000
        assert len(list(output_dir.glob("client_1_*.png"))) == 5_000

    @fault("a progress bar of a million ticks")
    def test_a_progress_bar_of_a_million_ticks(self, source: Server, output_dir: Path) -> None:
        code = (
            "import sys\nfor n in range(1_000_000):\n    sys.stdout.write(f'\\r{n + 1}/1000000 ' + '#' * (n // 20_000))"
        )
        client, cell = self.flood(source, output_dir, code)
        assert client.status == "ok"
        assert stream_text(cell) == "1000000/1000000 " + "#" * 49

    @fault("a traceback of 100,000 frames")
    def test_a_traceback_of_a_hundred_thousand_frames(self, source: Server, output_dir: Path) -> None:
        client, cell = self.flood(source, output_dir, FALLS_DEEP, timeout=10)
        assert client.status in {"error", "timeout", "kernel_died"}
        assert cell["metadata"]["nbtape"]["status"] == client.status

    @fault("a repr that never returns")
    def test_a_repr_that_never_returns_is_stopped_at_its_deadline(self, source: Server, output_dir: Path) -> None:
        code = "class Endless:\n    def __repr__(self):\n        while True:\n            pass\nEndless()"
        client, _ = self.flood(source, output_dir, code, timeout=2)
        assert client.status == "timeout"


class FaultContract(
    EndFaults, DisobedienceFaults, SabotageFaults, ErrorFaults, HandFaults, StandstillFaults, FloodFaults
):
    """All fault tests."""
