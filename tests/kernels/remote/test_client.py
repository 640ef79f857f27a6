"""Broken connections: lost output is reported, and nothing is lost without need."""

from __future__ import annotations

import dataclasses
import gc
import json
import random
import threading
import time
import uuid
from typing import TYPE_CHECKING, Any, Self

import psutil  # type: ignore[import-untyped,unused-ignore]
import pytest
from executors import FLOOD_WHILE_THE_PARENT_STANDS_STILL, Signal, check_fresh, run
from full_matrix import first
from jupyter_servers import TOKEN, ask, plain_server
from proxy import Proxy
from reading import code_cells, eventually, kernel_id_in, stream_text
from websockets.sync.client import connect

from nbtape import JupyterCodeExecutor, JupyterConnectionInfo, ServerError
from nbtape.kernels.remote import delivery, websocket

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from types import TracebackType

    from nbtape import CodeResult, LocalJupyterServer
    from nbtape.session.options import Options

pytestmark = pytest.mark.usefixtures("leaves_nothing")

COUNT = "import time\nfor n in range({lines}):\n    print('line', n, flush=True)\n    time.sleep({pause})\nprint('end')"


def counted(lines: int) -> str:
    return "".join(f"line {n}\n" for n in range(lines)) + "end\n"


@pytest.fixture
def proxy(gateway: LocalJupyterServer) -> Iterator[Proxy]:
    port = gateway.connection_info.port
    assert port is not None
    with Proxy(port) as proxy:
        yield proxy


@pytest.fixture
def executor(gateway: LocalJupyterServer, proxy: Proxy, output_dir: Path) -> Iterator[JupyterCodeExecutor]:
    """Return an executor whose connections all go through the proxy."""
    info = dataclasses.replace(gateway.connection_info, port=proxy.port)
    with JupyterCodeExecutor(info, output_dir=output_dir, timeout=60) as executor:
        run(executor, "kept = 7")
        yield executor


@pytest.fixture
def signal(tmp_path_factory: pytest.TempPathFactory) -> Signal:
    return Signal(tmp_path_factory.mktemp("signal") / "given")


def meanwhile(act: Callable[[], Any], delay: float) -> threading.Thread:
    """Do something after a delay, in a thread."""

    def later() -> None:
        time.sleep(delay)
        act()

    thread = threading.Thread(target=later)
    thread.start()
    return thread


def away(proxy: Proxy, seconds: float) -> None:
    """Cut all connections and accept none for some seconds."""
    proxy.close()
    proxy.cut()
    time.sleep(seconds)
    proxy.open()


def check_whole(result: CodeResult, text: str) -> None:
    assert (result.status, result.output) == ("ok", text)
    assert not result.cells[0].outputs_incomplete


class TestCuts:
    """The connection breaks and is restored within the timeout."""

    @pytest.mark.parametrize("seconds", first(1, [0.5, 0, 2]))
    @pytest.mark.fault("connection cut repeatedly during a block", kind="LocalJupyterServer")
    def test_a_cut_loses_and_duplicates_no_output_of_a_block(
        self, executor: JupyterCodeExecutor, proxy: Proxy, seconds: float
    ) -> None:
        cutter = meanwhile(lambda: away(proxy, seconds), 0.3)
        result = run(executor, COUNT.format(lines=50, pause=0.02))
        cutter.join()
        check_whole(result, counted(50))
        (_, cell) = code_cells(executor.notebook)
        assert stream_text(cell) == counted(50)
        assert "outputs_incomplete" not in cell["metadata"]["nbtape"]
        assert run(executor, "print(kept)").output == "7\n"

    def test_a_block_that_finishes_during_a_cut_has_the_right_result(
        self, executor: JupyterCodeExecutor, proxy: Proxy
    ) -> None:
        cutter = meanwhile(lambda: away(proxy, 2), 0.3)
        result = run(executor, COUNT.format(lines=20, pause=0.05) + "\n1/0")
        cutter.join()
        assert result.status == "error"
        assert result.cells[0].error_name == "ZeroDivisionError"
        assert result.output.startswith(counted(20))
        assert not result.cells[0].outputs_incomplete

    @pytest.mark.parametrize("seconds", [0, 1])
    def test_a_block_sent_after_a_cut_runs(self, executor: JupyterCodeExecutor, proxy: Proxy, seconds: float) -> None:
        cutter = threading.Thread(target=away, args=(proxy, seconds))
        cutter.start()
        check_whole(run(executor, "print(kept)"), "7\n")
        cutter.join()
        assert executor.kernel_epoch == 1

    def test_thread_output_between_blocks_survives_a_cut(self, executor: JupyterCodeExecutor, proxy: Proxy) -> None:
        count = "for n in range(1000):\n        print('line', n, flush=True)\n        time.sleep(0.002)"
        run(executor, f"import threading, time\ndef count():\n    {count}\nthread = threading.Thread(target=count)")
        assert run(executor, "thread.start()").status == "ok"
        for _ in range(5):
            time.sleep(0.2)
            away(proxy, 0.05)
        assert run(executor, "thread.join()").status == "ok"
        printed = "".join(stream_text(cell) for cell in code_cells(executor.notebook))
        assert sorted(printed.splitlines()) == sorted(f"line {n}" for n in range(1000))

    def test_a_block_lost_in_transit_runs_once(self, executor: JupyterCodeExecutor, proxy: Proxy) -> None:
        for n in range(20):
            proxy.swallow()
            tearer = meanwhile(proxy.tear, 0.1)
            check_whole(run(executor, "kept += 1\nprint(kept)"), f"{8 + n}\n")
            tearer.join()
        assert executor.kernel_epoch == 1

    @pytest.mark.parametrize("seconds", [0, 1])
    def test_listing_variables_survives_a_cut(
        self, executor: JupyterCodeExecutor, proxy: Proxy, seconds: float
    ) -> None:
        slow = "import time\nclass Slow:\n    def __repr__(self):\n        time.sleep(0.3)\n        return 'slow'\n"
        run(executor, f"{slow}a, b, c = Slow(), Slow(), Slow()")
        cutter = meanwhile(lambda: away(proxy, seconds), 0.3)
        told = {variable.name: variable.repr for variable in executor.variables(timeout=20)}
        cutter.join()
        assert [told[name] for name in ("a", "b", "c", "kept")] == ["slow", "slow", "slow", "7"]
        check_whole(run(executor, "print(kept)"), "7\n")

    def test_a_request_for_variables_lost_in_transit_is_sent_again(
        self, executor: JupyterCodeExecutor, proxy: Proxy
    ) -> None:
        for n in range(5):
            proxy.swallow()
            tearer = meanwhile(proxy.tear, 0.1)
            assert [variable.repr for variable in executor.variables()] == [str(7 + n)]
            tearer.join()
            check_whole(run(executor, "kept += 1\nprint(kept)"), f"{8 + n}\n")

    def test_cuts_while_the_kernel_starts_leave_nothing_behind(
        self, executor: JupyterCodeExecutor, proxy: Proxy
    ) -> None:
        check_starts_under_cuts(executor, proxy)
        # After these cuts, the server must not believe that another client is attached; it would then buffer nothing.
        cutter = meanwhile(proxy.cut, 0.3)
        check_whole(run(executor, COUNT.format(lines=50, pause=0.02)), counted(50))
        cutter.join()

    def test_a_plain_server_accepts_the_client_after_cuts_while_the_kernel_starts(
        self, tmp_path_factory: pytest.TempPathFactory, output_dir: Path
    ) -> None:
        with plain_server(tmp_path_factory.mktemp("plain")) as port, Proxy(port) as proxy:
            url = f"http://127.0.0.1:{proxy.port}/"
            with JupyterCodeExecutor(url, token=TOKEN, output_dir=output_dir, startup_timeout=20) as executor:
                run(executor, "kept = 7")
                check_starts_under_cuts(executor, proxy)

    def test_many_cuts_in_one_session_lose_nothing(
        self, executor: JupyterCodeExecutor, proxy: Proxy, *, full: bool
    ) -> None:
        planned = 50 if full else 15
        chance = random.Random(50)
        ended = threading.Event()
        cuts = 0

        def cut_again_and_again() -> None:
            nonlocal cuts
            while cuts < planned and not ended.wait(chance.uniform(0.05, 0.5)):
                proxy.cut()
                cuts += 1

        cutter = threading.Thread(target=cut_again_and_again)
        cutter.start()
        number = 0
        try:
            while cutter.is_alive():
                number += 1
                check_whole(run(executor, COUNT.format(lines=20, pause=0.01)), counted(20))
        finally:
            ended.set()
            cutter.join()
        assert cuts == planned
        assert executor.kernel_epoch == 1
        assert [stream_text(cell) for cell in code_cells(executor.notebook)[1:]] == number * [counted(20)]

    @pytest.mark.fault("connection reset in the middle of a message", kind="LocalJupyterServer")
    def test_output_lost_in_a_reset_is_complete_or_reported(
        self, executor: JupyterCodeExecutor, proxy: Proxy, *, full: bool
    ) -> None:
        for n in range(0, 10, 1 if full else 5):
            tearer = meanwhile(proxy.tear, 0.05 + 0.01 * n)
            result = run(executor, "for n in range(20_000):\n    print('line', n)\nprint('end')")
            tearer.join()
            assert result.status == "ok"
            text = stream_text(code_cells(executor.notebook)[-1])
            assert text == counted(20_000) or result.cells[0].outputs_incomplete
            assert executor.kernel_epoch == 1


def check_starts_under_cuts(executor: JupyterCodeExecutor, proxy: Proxy) -> None:
    """Check that kernels start although the connection breaks while the server waits for them."""
    for n in range(8):
        before = proxy.websockets

        def cut_twice(delay: float, before: int = before) -> None:
            for tries in (1, 2):
                assert eventually(lambda: proxy.websockets >= before + tries)  # noqa: B023  (is over in its round)
                time.sleep(delay)
                proxy.cut()

        cutter = threading.Thread(target=cut_twice, args=[0.03 * n])
        cutter.start()
        executor.restart()
        cutter.join()
        # All connections are restored before the next round counts them.
        assert run(executor, "print('kept' in globals())").output.endswith("\nFalse\n")


class TestLosses:
    """Possibly missing output is reported, in the result and in the notebook, and nothing hangs."""

    def test_a_cut_with_another_client_attached_is_reported_if_lines_are_lost(
        self, executor: JupyterCodeExecutor, gateway: LocalJupyterServer, proxy: Proxy
    ) -> None:
        with attached(gateway.connection_info, executor):
            cutter = meanwhile(lambda: away(proxy, 1), 0.3)
            result = run(executor, COUNT.format(lines=50, pause=0.02))
            cutter.join()
        check_missing(executor, result, delivery.CUT)
        assert run(executor, "print(kept)").output == "7\n"

    def test_another_client_alone_is_not_reported_as_a_loss(
        self, executor: JupyterCodeExecutor, gateway: LocalJupyterServer
    ) -> None:
        with attached(gateway.connection_info, executor) as other:
            for _ in range(20):
                other()
                check_whole(run(executor, COUNT.format(lines=3, pause=0)), counted(3))

    def test_a_silently_dropped_connection_is_detected(
        self, executor: JupyterCodeExecutor, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(websocket, "_PING_AFTER_SECONDS", 1)
        monkeypatch.setattr(websocket, "_BROKEN_AFTER_SECONDS", 3)
        swallower = meanwhile(proxy.swallow, 0.3)
        result = run(executor, COUNT.format(lines=50, pause=0.02))
        swallower.join()
        check_missing(executor, result, delivery.CUT)
        assert run(executor, "print(kept)").output == "7\n"

    def test_output_lost_to_a_rate_limit_is_reported(
        self, tmp_path_factory: pytest.TempPathFactory, output_dir: Path
    ) -> None:
        with (
            plain_server(tmp_path_factory.mktemp("limited")) as port,
            JupyterCodeExecutor(f"http://127.0.0.1:{port}/", token=TOKEN, output_dir=output_dir) as executor,
        ):
            result = run(executor, "for n in range(100_000):\n    print(f'{n:06d} ' + 92 * 'x')")
            check_missing(executor, result, delivery.RATE_LIMITED)
            check_whole(run(executor, "print('small')"), "small\n")

    def test_a_printed_rate_limit_message_is_not_reported_as_a_loss(self, executor: JupyterCodeExecutor) -> None:
        code = "import sys\nprint('IOPub data rate exceeded.\\nno', file=sys.stderr)"
        assert not run(executor, code).cells[0].outputs_incomplete


def check_missing(executor: JupyterCodeExecutor, result: CodeResult, why: str) -> None:
    assert result.status == "ok"
    assert result.cells[0].outputs_incomplete
    assert why in result.output
    nbtape = code_cells(executor.notebook)[-1]["metadata"]["nbtape"]
    assert (nbtape["outputs_incomplete"], nbtape["note"]) == (True, why)


class TestHalves:
    """A block finishes with a reply and with `idle`; one or both of them may be lost."""

    @pytest.mark.parametrize("kinds", [{"execute_reply"}, {"idle"}, {"execute_reply", "idle"}])
    @pytest.mark.parametrize("code", first(1, ["print('before')", "print('before')\n1/0"]))
    def test_a_block_has_the_right_result_if_reply_or_idle_is_lost(
        self, executor: JupyterCodeExecutor, proxy: Proxy, monkeypatch: pytest.MonkeyPatch, kinds: set[str], code: str
    ) -> None:
        lose(monkeypatch, kinds)
        if len(kinds) > 1:  # no message then shows that anything is left to wait for, only the end of the connection
            cutter = meanwhile(proxy.cut, 0.5)
        result = run(executor, code)
        if len(kinds) > 1:
            cutter.join()
        assert result.status == ("error" if "1/0" in code else "ok")
        assert result.cells[0].error_name == ("ZeroDivisionError" if "1/0" in code else None)
        assert result.output.startswith("before\n")
        # If both ends and the connection were lost, no one can know where the outputs ended.
        assert result.cells[0].outputs_incomplete == (len(kinds) > 1)
        assert run(executor, "print(kept)").output == "7\n"

    def test_messages_of_another_session_are_ignored(
        self, executor: JupyterCodeExecutor, gateway: LocalJupyterServer, signal: Signal
    ) -> None:
        with attached(gateway.connection_info, executor) as other:
            other("print('not ours')")
            code = f"print('ours', flush=True)\n{signal.wait}\nprint('ours again')"

            def interfere() -> None:
                other("print('nor this')")
                signal.give()

            giver = meanwhile(interfere, 0.3)
            check_whole(run(executor, code), "ours\nours again\n")
            giver.join()
        assert [stream_text(cell) for cell in code_cells(executor.notebook)] == ["", "ours\nours again\n"]


def lose(monkeypatch: pytest.MonkeyPatch, kinds: set[str]) -> None:
    """Lose messages of the next block, each kind once, between the connection and the client."""
    left = set(kinds)
    take = delivery.Ledger.take

    def take_what_is_left(self: delivery.Ledger, channel: str, message: Any) -> Any:
        kind = message["content"].get("execution_state", message["msg_type"])
        if kind in left and self.waits and message["parent_header"].get("msg_id") == self._block.id:  # type: ignore[union-attr]
            left.discard(kind)
            raise ValueError("lost")
        return take(self, channel, message)

    monkeypatch.setattr(delivery.Ledger, "take", take_what_is_left)


class TestEnds:
    """The server or the kernel stops."""

    @pytest.mark.fault("server killed in mid-block", kind="jupyter_server")
    def test_a_server_that_dies_during_a_block_stops_it_within_the_timeout(
        self, tmp_path_factory: pytest.TempPathFactory, output_dir: Path
    ) -> None:
        with plain_server(tmp_path_factory.mktemp("mortal")) as port:
            server = next(
                child
                for child in psutil.Process().children()
                if any(f"port={port}" in word for word in child.cmdline())
            )
            begun = threading.Event()
            executor = JupyterCodeExecutor(
                f"http://127.0.0.1:{port}/",
                token=TOKEN,
                output_dir=output_dir,
                timeout=5,
                on_output=lambda _: begun.set(),
            )
            killer = meanwhile(lambda: begun.wait(60) and server.kill(), 0)
            result = run(executor, COUNT.format(lines=1000, pause=0.1), "print('rest')")
            killer.join()
            assert (result.status, result.exit_code) == ("kernel_died", 137)
            assert result.output.startswith("line 0\n")
            assert "could not be reached" in result.output
            assert result.cells[1].status == "not_run"
            assert stream_text(code_cells(executor.notebook)[0]).startswith("line 0\n")
            with pytest.raises(ServerError, match="Start it, or check the URL"):
                run(executor, "1")
            executor.stop()

    def test_a_kernel_restarted_by_the_server_under_the_same_id_is_a_dead_kernel(
        self, far_server: JupyterConnectionInfo, output_dir: Path, signal: Signal
    ) -> None:
        with JupyterCodeExecutor(far_server, output_dir=output_dir, on_output=signal.give) as executor:
            code = f"print('before', flush=True)\n{signal.wait}\nimport os\nos.kill(os.getpid(), 9)"
            result = run(executor, code)
            assert (result.status, result.exit_code) == ("kernel_died", 137)
            assert result.output.startswith("before\n")
            assert "the server restarted it" in result.output
            check_fresh(executor)

    @pytest.mark.fault("kernel deleted on the server", kind="LocalJupyterServer")
    def test_a_kernel_deleted_on_the_server_is_replaced_and_the_next_block_reports_it(
        self, executor: JupyterCodeExecutor, gateway: LocalJupyterServer
    ) -> None:
        executor.start()
        kernel = kernel_id_in(executor.notebook)
        assert ask(gateway.connection_info, f"kernels/{kernel}", "DELETE").is_success
        result = run(executor, "print('kept' in globals())")
        assert (result.status, result.kernel_epoch) == ("ok", 2)
        assert result.output.endswith("\nFalse\n")
        assert "variables of earlier blocks are gone" in result.output


#: For more output than a notebook keeps by default.
UNBOUNDED: Options = {"max_cell_chars": 200_000_000, "max_notebook_chars": 200_000_000}


class TestSizes:
    """Sizes, as on a local kernel."""

    def test_many_megabytes_arrive_complete(self, gateway: LocalJupyterServer, output_dir: Path, *, full: bool) -> None:
        lines = 1_000_000 if full else 200_000  # of 100 bytes
        with JupyterCodeExecutor(gateway, output_dir=output_dir, timeout=240, **UNBOUNDED) as executor:
            result = run(executor, f"for n in range({lines}):\n    print(f'{{n:06d}} ' + 92 * 'x')")
            assert result.status == "ok"
        text = stream_text(code_cells(executor.notebook)[0])
        assert text == "".join(f"{n:06d} {92 * 'x'}\n" for n in range(lines))

    def test_nothing_is_lost_from_a_kernel_that_is_faster_than_its_server(
        self, gateway: LocalJupyterServer, output_dir: Path
    ) -> None:
        with JupyterCodeExecutor(gateway, output_dir=output_dir, max_output_chars=1_000_000) as executor:
            check_whole(run(executor, FLOOD_WHILE_THE_PARENT_STANDS_STILL), counted(5000))

    def test_one_message_of_thirty_megabytes_arrives_complete(
        self, gateway: LocalJupyterServer, output_dir: Path
    ) -> None:
        with JupyterCodeExecutor(gateway, output_dir=output_dir, timeout=120, **UNBOUNDED) as executor:
            result = run(executor, "from IPython.display import Pretty\ndisplay(Pretty(30_000_000 * 'x'))")
            assert result.status == "ok"
        (cell,) = code_cells(executor.notebook)
        assert cell["outputs"][0]["data"]["text/plain"] == 30_000_000 * "x"

    @pytest.mark.alone
    def test_a_sleeping_block_uses_no_client_cpu(self, gateway: LocalJupyterServer, output_dir: Path) -> None:
        with JupyterCodeExecutor(gateway, output_dir=output_dir) as executor:
            run(executor, "import time")
            gc.collect()  # so that it does not run in the middle
            before = time.process_time()
            assert run(executor, "time.sleep(3)").status == "ok"
            assert time.process_time() - before < 0.03


class attached:  # noqa: N801  (used like a function)
    """Another client of an executor's kernel, such as a user's JupyterLab. Calling it runs a cell there."""

    def __init__(self, info: JupyterConnectionInfo, executor: JupyterCodeExecutor) -> None:
        url = f"{info.websocket_api}kernels/{kernel_id_in(executor.notebook)}/channels?session_id=somebody"
        self._connecting = connect(url, additional_headers=info.secret_headers, proxy=None, close_timeout=0.1)

    def __enter__(self) -> Self:
        self._connection = self._connecting.__enter__()
        self()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._connecting.__exit__(kind, error, traceback)

    def __call__(self, code: str = "1") -> None:
        request = uuid.uuid4().hex
        content = {"code": code, "silent": False, "store_history": True, "user_expressions": {}, "allow_stdin": False}
        header = {
            "msg_id": request,
            "msg_type": "execute_request",
            "session": "somebody",
            "username": "",
            "version": "5.3",
        }
        message = {"header": header, "parent_header": {}, "metadata": {}, "content": content, "channel": "shell"}
        self._connection.send(json.dumps({**message, "buffers": []}))
