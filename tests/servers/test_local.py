"""A local server: its lifetime, who is admitted, and that it leaves nothing behind."""

from __future__ import annotations

import asyncio
import gc
import importlib.util
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from types import SimpleNamespace
from typing import TYPE_CHECKING, Protocol, Self

import psutil  # type: ignore[import-untyped,unused-ignore]
import pytest
from executors import blocks, check_fresh, run
from full_matrix import first
from jupyter_client.session import Session
from jupyter_servers import ask, kernels_of
from reading import code_cells, descendants, eventually, is_running, read_notebook, seconds, stream_text
from websockets.client import ClientProtocol
from websockets.exceptions import InvalidStatus
from websockets.protocol import State
from websockets.sync.client import connect
from websockets.typing import Subprotocol
from websockets.uri import parse_uri

from nbtape import (
    AsyncJupyterCodeExecutor,
    JupyterCodeExecutor,
    JupyterConnectionInfo,
    KernelNotInstalledError,
    KernelStartError,
    LocalJupyterServer,
    ServerError,
)
from nbtape.kernels.remote.wire import BINARY, BinaryWire

if TYPE_CHECKING:
    from collections.abc import Iterator
    from importlib.machinery import ModuleSpec
    from pathlib import Path

#: A server must stop within this number of seconds, as its docstring promises.
PROMPTLY = 2.0

#: Code that leaves a process running, and prints the process IDs of the server, the kernel and that process.
LEAVE_CHILD = "import os, subprocess\nprint(os.getppid(), os.getpid(), subprocess.Popen(['sleep', '600']).pid)"

#: Kernel programs that fail to start.
UNLUCKY = ["sh", "-c", "echo no luck today >&2; exit 3"]
MISSING = ["/no/such/program", "{connection_file}"]

pytestmark = pytest.mark.usefixtures("leaves_nothing")


@pytest.fixture
def server(leaves_nothing: None) -> Iterator[LocalJupyterServer]:
    """A server for one test: most tests stop it in one way or another."""
    del leaves_nothing  # Requested first so that it is checked last.
    with LocalJupyterServer() as server:
        yield server


class Leave(Protocol):
    """Lets an executor's code leave a process running; returns the IDs of the server, the kernel and that process."""

    def __call__(self, executor: JupyterCodeExecutor) -> list[int]: ...


@pytest.fixture
def leave() -> Iterator[Leave]:
    """Kill what a failed test leaves running, as it is no longer a child process."""
    known: list[int] = []

    def leave(executor: JupyterCodeExecutor) -> list[int]:
        pids = [int(pid) for pid in run(executor, LEAVE_CHILD).output.split()]
        known.extend(pids)
        return pids

    yield leave
    end(known)


def end(pids: list[int]) -> None:
    for pid in filter(is_running, pids):
        os.kill(pid, signal.SIGKILL)


@pytest.fixture
def jupyter_path(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory for kernel specs, used by servers that start after this fixture."""
    path = tmp_path_factory.mktemp("jupyter")
    monkeypatch.setenv("JUPYTER_PATH", str(path))
    return path


def install(jupyter_path: Path, name: str, argv: list[str]) -> str:
    """Install a kernel spec, and return its name."""
    directory = jupyter_path / "kernels" / name
    directory.mkdir(parents=True)
    spec = {"argv": argv, "display_name": name, "language": "python"}
    (directory / "kernel.json").write_text(json.dumps(spec))
    return name


def process_of(server: LocalJupyterServer) -> psutil.Process:
    """The process of a running server."""
    assert server._process is not None
    return psutil.Process(server._process.pid)


def kernel_pid(executor: JupyterCodeExecutor) -> int:
    return int(run(executor, "import os\nprint(os.getpid())").output.splitlines()[-1])


def files(directory: Path) -> set[str]:
    """The names of all files in a directory, at any depth."""
    return {str(path.relative_to(directory)) for path in directory.rglob("*")}


class TestStartAndStop:
    """When a server is running, and when not."""

    def test_a_constructor_starts_nothing(self, temp_dir: Path) -> None:
        before = descendants()
        server = LocalJupyterServer()
        JupyterCodeExecutor(server)
        assert descendants() == before
        assert files(temp_dir) == set()
        server.stop()

    def test_the_first_use_starts_the_server(self, output_dir: Path) -> None:
        server = LocalJupyterServer()
        try:
            with JupyterCodeExecutor(server, output_dir=output_dir) as executor:
                assert run(executor, "print(1)").output == "1\n"
        finally:
            server.stop()

    def test_the_connection_info_is_that_of_a_running_server(self) -> None:
        server = LocalJupyterServer()
        try:
            info = server.connection_info
            assert (info.host, info.use_https) == ("127.0.0.1", False)
            assert "python3" in ask(info, "kernelspecs").json()["kernelspecs"]
        finally:
            server.stop()

    def test_a_second_start_changes_nothing(self, server: LocalJupyterServer) -> None:
        process, info = process_of(server), server.connection_info
        server.start()
        assert (process_of(server), server.connection_info) == (process, info)

    def test_concurrent_first_uses_start_one_server(self) -> None:
        before = descendants()
        server = LocalJupyterServer()
        try:
            with ThreadPoolExecutor(8) as pool:
                infos = list(pool.map(lambda _: server.connection_info, range(8)))
            assert len(set(infos)) == 1
            assert descendants() - before == {process_of(server).pid}
        finally:
            server.stop()

    def test_a_second_stop_changes_nothing(self, server: LocalJupyterServer) -> None:
        server.stop()
        server.stop()

    def test_a_server_that_was_never_started_can_be_stopped_and_started(self) -> None:
        server = LocalJupyterServer()
        server.stop()
        server.start()
        server.stop()

    def test_use_after_stop_is_an_error_that_suggests_start(self, output_dir: Path) -> None:
        with LocalJupyterServer() as server:
            pass
        with pytest.raises(ServerError, match=r"was stopped.*start\(\)"):
            _ = server.connection_info
        executor = JupyterCodeExecutor(server, output_dir=output_dir)
        with pytest.raises(ServerError, match=r"was stopped.*start\(\)"):
            run(executor, "1")
        executor.stop()

    def test_a_restarted_server_works_for_the_same_executors(
        self, server: LocalJupyterServer, output_dir: Path
    ) -> None:
        with JupyterCodeExecutor(server, output_dir=output_dir) as executor:
            run(executor, "x = 1")
            first = process_of(server).pid
            server.stop()
            with pytest.raises(ServerError, match=r"start\(\)"):
                run(executor, "x")
            server.start()
            assert process_of(server).pid != first
            check_fresh(executor)
            assert len(kernels_of(server)) == 1
        assert kernels_of(server) == set()

    def test_a_forgotten_server_is_stopped(self) -> None:
        server = LocalJupyterServer()
        server.start()
        process = process_of(server)
        del server
        gc.collect()
        assert not is_running(process.pid)

    def test_an_exception_in_a_with_block_stops_the_server(self) -> None:
        before = descendants()
        with pytest.raises(ZeroDivisionError), LocalJupyterServer():
            _ = 1 / 0
        assert descendants() == before


class TestFailedStarts:
    """A server that cannot start is reported, and leaves nothing."""

    @pytest.mark.parametrize("port", [0, -1, 70_000])
    def test_an_invalid_port_is_rejected(self, port: int) -> None:
        with pytest.raises(ValueError, match=rf"{port} is not a port"):
            LocalJupyterServer(port=port)

    @pytest.mark.parametrize("level", ["LOUD", "", "10"])
    def test_an_invalid_log_level_is_rejected(self, level: str) -> None:
        with pytest.raises(ValueError, match="DEBUG, INFO"):
            LocalJupyterServer(log_level=level)

    @pytest.mark.parametrize("ip", ["", "http://127.0.0.1", "127.0.0.1/lab"])
    def test_an_invalid_address_is_rejected(self, ip: str) -> None:
        with pytest.raises(ValueError, match="is not a host name or address"):
            LocalJupyterServer(ip=ip)

    def test_an_address_of_another_host_is_reported(self) -> None:
        server = LocalJupyterServer(ip="192.0.2.1")  # RFC 5737: reserved, used by no host.
        with pytest.raises(ServerError, match=r"192\.0\.2\.1 cannot be used"):
            server.start()

    def test_a_port_in_use_is_reported_and_can_be_tried_again(self) -> None:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            port = taken.getsockname()[1]
            server = LocalJupyterServer(port=port)
            before = descendants()
            for _ in range(2):
                with pytest.raises(ServerError, match=f"Port {port} of 127.0.0.1 cannot be used"):
                    _ = server.connection_info
            assert descendants() == before
        with server:
            assert server.connection_info.port == port

    def test_a_log_file_in_a_missing_directory_is_reported(self, tmp_path: Path) -> None:
        server = LocalJupyterServer(log_file=tmp_path / "nowhere" / "server.log")
        with pytest.raises(ServerError, match="nowhere"):
            server.start()

    def test_a_server_that_does_not_start_in_time_is_stopped(self, temp_dir: Path) -> None:
        server = LocalJupyterServer(startup_timeout=0.01)
        before = descendants()
        with pytest.raises(ServerError, match=r"did not start within 0\.01 s"):
            server.start()
        assert descendants() == before
        assert files(temp_dir) == set()

    def test_the_error_for_a_missing_gateway_names_what_to_install(
        self, temp_dir: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        find = importlib.util.find_spec

        def hide(name: str, package: str | None = None) -> ModuleSpec | None:
            return None if name == "kernel_gateway" else find(name, package)

        monkeypatch.setattr(importlib.util, "find_spec", hide)
        with pytest.raises(ServerError, match=r"pip install 'nbtape\[server\]'"):
            LocalJupyterServer().start()
        assert files(temp_dir) == set()


class TestPlace:
    """Where the server listens, what it writes, and where its kernels work."""

    def test_two_servers_have_different_ports(self, server: LocalJupyterServer) -> None:
        with LocalJupyterServer() as other:
            assert other.connection_info.port != server.connection_info.port
            assert ask(other.connection_info, "kernels").json() == []

    def test_a_given_port_is_used_by_every_start(self) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        with LocalJupyterServer(port=port) as server:
            assert server.connection_info.port == port
            assert ask(server.connection_info, "kernels").json() == []
            server.stop()
            server.start()
            assert server.connection_info.port == port

    def test_a_local_host_name_works_as_address(self, output_dir: Path) -> None:
        with (
            LocalJupyterServer(ip="localhost") as server,
            JupyterCodeExecutor(server, output_dir=output_dir) as executor,
        ):
            assert run(executor, "print(1)").output == "1\n"

    def test_a_wildcard_address_causes_a_warning_and_is_reached_on_loopback(
        self, output_dir: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        with LocalJupyterServer(ip="0.0.0.0") as server:
            assert server.connection_info.host == "127.0.0.1"
            with JupyterCodeExecutor(server, output_dir=output_dir) as executor:
                assert run(executor, "print(1)").output == "1\n"
        (warning,) = (record for record in caplog.records if record.name == "nbtape.servers.local")
        assert warning.levelno == logging.WARNING
        assert "0.0.0.0 can be reached by anyone who has its token" in warning.getMessage()

    def test_a_loopback_address_causes_no_warning(self, caplog: pytest.LogCaptureFixture) -> None:
        with LocalJupyterServer():
            pass
        assert [record.getMessage() for record in caplog.records if record.name.startswith("nbtape")] == []

    @pytest.mark.parametrize("kind", ["RUNTIME", "DATA", "CONFIG"])
    def test_a_server_leaves_nothing_on_disk(
        self,
        output_dir: Path,
        temp_dir: Path,
        tmp_path_factory: pytest.TempPathFactory,
        monkeypatch: pytest.MonkeyPatch,
        kind: str,
    ) -> None:
        home = tmp_path_factory.mktemp("home")
        monkeypatch.setenv(f"JUPYTER_{kind}_DIR", str(home / "jupyter"))
        with (
            LocalJupyterServer(log_level="DEBUG") as server,
            JupyterCodeExecutor(server, output_dir=output_dir) as executor,
        ):
            run(executor, "print(1)")
        assert files(temp_dir) == set()
        assert files(home) == set()
        assert files(output_dir) == {"session.ipynb"}

    def test_the_log_is_appended_to_an_existing_file(self, tmp_path: Path) -> None:
        log = tmp_path / "server.log"
        log.write_text("before\n")
        with LocalJupyterServer(log_file=log):
            pass
        first = log.read_text()
        assert first.startswith("before\n")
        assert "Jupyter Kernel Gateway" in first
        with LocalJupyterServer(log_file=str(log)):
            pass
        second = log.read_text()
        assert second.startswith(first)
        assert len(second) > len(first)

    def test_a_log_file_may_be_relative(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        server = LocalJupyterServer(log_file="server.log")
        monkeypatch.chdir("/")
        with server:
            pass
        assert (tmp_path / "server.log").read_text()

    @pytest.mark.parametrize(("level", "most"), [("debug", "D"), ("INFO", "I"), ("ERROR", "E")])
    def test_the_log_level_applies(self, tmp_path: Path, level: str, most: str) -> None:
        log = tmp_path / "server.log"
        with LocalJupyterServer(log_file=log, log_level=level) as server:
            ask(server.connection_info, "kernels")
        # The messages with level CRITICAL that are logged during a stop are always there.
        letters = {line[1] for line in log.read_text().splitlines() if line.startswith("[")}
        assert letters <= set("DIWEC"["DIWEC".index(most) :])
        assert (most in letters) == (most != "E")

    def test_a_kernel_works_in_the_output_directory(self, server: LocalJupyterServer, tmp_path: Path) -> None:
        directory = tmp_path / "größe 你好 100%41 #?&"
        with JupyterCodeExecutor(server, output_dir=directory) as executor:
            result = run(executor, "open('data.csv', 'w').write('1')\nimport os\nprint(os.getcwd())")
        assert result.output == f"{directory}\n"
        assert result.output_files == [str(directory / "data.csv")]
        assert read_notebook(executor.notebook)["metadata"]["nbtape"]["directory"] == "."

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("KG_BASE_URL", "/elsewhere/"),
            ("KG_MAX_KERNELS", "0"),
            ("KG_PRESPAWN_COUNT", "1"),
        ],
    )
    def test_environment_variables_of_another_gateway_are_ignored(
        self, output_dir: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str
    ) -> None:
        monkeypatch.setenv(name, value)
        with (
            LocalJupyterServer() as server,
            JupyterCodeExecutor(server, output_dir=output_dir) as executor,
        ):
            assert run(executor, "print(1)").output == "1\n"
            assert len(kernels_of(server)) == 1

    @pytest.mark.parametrize("setting", ["auth_token = 'theirs'", "base_url = '/elsewhere/'"])
    def test_the_users_gateway_configuration_is_ignored(
        self,
        output_dir: Path,
        tmp_path_factory: pytest.TempPathFactory,
        monkeypatch: pytest.MonkeyPatch,
        setting: str,
    ) -> None:
        home = tmp_path_factory.mktemp("config")
        (home / "jupyter_kernel_gateway_config.py").write_text(f"c.KernelGatewayApp.{setting}\n")
        monkeypatch.setenv("JUPYTER_CONFIG_DIR", str(home))
        with (
            LocalJupyterServer() as server,
            JupyterCodeExecutor(server, output_dir=output_dir) as executor,
        ):
            assert run(executor, "print(1)").output == "1\n"


class TestToken:
    """The token admits its holder and is shown to no one else."""

    def test_tokens_cannot_be_guessed(self, server: LocalJupyterServer) -> None:
        with LocalJupyterServer() as other:
            tokens = {server.connection_info.token or "", other.connection_info.token or ""}
        assert len(tokens) == 2
        assert all(len(token) >= 32 for token in tokens)

    def test_a_given_token_admits_its_holder(self, output_dir: Path) -> None:
        with LocalJupyterServer(token="open sesame") as server:
            info = server.connection_info
            url = f"http://{info.host}:{info.port}/?token=open%20sesame"
            with JupyterCodeExecutor(url, output_dir=output_dir) as executor:
                assert run(executor, "print(1)").output == "1\n"

    def test_an_empty_token_is_rejected(self) -> None:
        with pytest.raises(ValueError, match="would let anyone run code"):
            LocalJupyterServer(token="")

    @pytest.mark.parametrize("token", ["geheimnis-größe", "two\nlines"])
    def test_a_token_that_cannot_be_sent_is_rejected_and_not_shown(self, token: str) -> None:
        with pytest.raises(ValueError, match="cannot be sent") as caught:
            LocalJupyterServer(token=token)
        assert token not in str(caught.value)

    @pytest.mark.parametrize("token", ["wrong", None])
    def test_a_wrong_token_is_rejected_and_not_shown(
        self, server: LocalJupyterServer, output_dir: Path, token: str | None
    ) -> None:
        right = server.connection_info
        info = JupyterConnectionInfo(right.host, use_https=False, port=right.port, token=token)
        executor = JupyterCodeExecutor(info, output_dir=output_dir)
        with pytest.raises(ServerError, match="token") as caught:
            run(executor, "1")
        executor.stop()
        assert str(right.token) not in str(caught.value)
        assert "wrong" not in str(caught.value)
        kernel = ask(right, "kernels", "POST", name="python3").json()["id"]
        for path in ("kernels", "kernelspecs", f"kernels/{kernel}"):
            assert ask(info, path).status_code in {401, 403}
        assert ask(info, "kernels", "POST", name="python3").status_code in {401, 403}
        assert ask(info, f"kernels/{kernel}", "DELETE").status_code in {401, 403}
        url = f"{info.websocket_api}kernels/{kernel}/channels"
        with pytest.raises(InvalidStatus, match=r"40[13]"):
            connect(url, additional_headers=info.secret_headers, proxy=None)
        assert kernels_of(server) == {kernel}

    def test_the_token_is_not_shown_anywhere(self, output_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
        log = tmp_path_factory.mktemp("log") / "server.log"
        with LocalJupyterServer(log_file=log, log_level="DEBUG") as server:
            token = str(server.connection_info.token)
            seen = [repr(server), str(server), repr(server.connection_info), str(server.connection_info)]
            with JupyterCodeExecutor(server, output_dir=output_dir) as executor:
                code = "import json, os\njson.dump(dict(os.environ), open('environ.json', 'w'))"
                assert run(executor, code, "print('ran')", "1/0").status == "error"
                seen += [" ".join(psutil.Process(pid).cmdline()) for pid in descendants()]
                seen += [str(child.environ()) for child in process_of(server).children()]
            seen += [executor.notebook.read_text(), (output_dir / "environ.json").read_text()]
        with pytest.raises(ServerError) as caught:
            _ = server.connection_info
        seen += [str(caught.value), repr(caught.value), log.read_text()]
        assert "ran" in "".join(seen)
        assert [text[:300] for text in seen if token in text] == []

    def test_the_token_is_not_in_nbtapes_log(
        self, server: LocalJupyterServer, output_dir: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.DEBUG)
        with JupyterCodeExecutor(server, output_dir=output_dir) as executor:
            run(executor, "print(1)")
        token = str(server.connection_info.token)
        assert caplog.records
        assert {record.name for record in caplog.records if token in record.getMessage()} == set()


@pytest.mark.alone
class TestFastStop:
    """Two seconds, whatever the kernels do; then no kernel and no process started by their code is left."""

    @pytest.mark.parametrize("state", ["idle", "stopped"])
    def test_stop_is_fast_with_an_idle_kernel(
        self, server: LocalJupyterServer, output_dir: Path, leave: Leave, state: str
    ) -> None:
        with JupyterCodeExecutor(server, output_dir=output_dir) as executor:
            pids = leave(executor)
            if state == "stopped":
                os.kill(pids[1], signal.SIGSTOP)
            assert seconds(server.stop) < PROMPTLY
            assert not any(map(is_running, pids))

    @pytest.mark.parametrize(
        "code",
        [
            "import time\ntime.sleep(600)",
            "while True: pass",
            "import os, signal\nos.kill(os.getpid(), signal.SIGSTOP)",
            (
                "import signal, time\nfor sign in signal.SIGINT, signal.SIGTERM, signal.SIGHUP:\n"
                "    signal.signal(sign, signal.SIG_IGN)\n"
                "while True:\n    try:\n        time.sleep(1)\n    except BaseException:\n        pass"
            ),
            # In C code that holds the GIL, so no other thread of the kernel runs.
            "import re\nre.match(r'(a+)+$', 40 * 'a' + 'b')",
            "import subprocess\nsubprocess.run(['sleep', '600'])",
        ],
        ids=["asleep", "busy", "stopped", "swallows signals", "holds the GIL", "waits for a program"],
    )
    def test_stop_is_fast_with_a_running_block(
        self, server: LocalJupyterServer, output_dir: Path, leave: Leave, code: str
    ) -> None:
        begun = output_dir / "begun"
        with (
            JupyterCodeExecutor(server, timeout=300, output_dir=output_dir) as executor,
            ThreadPoolExecutor() as pool,
        ):
            pids = leave(executor)
            call = pool.submit(run, executor, f"open('begun', 'w')\n{code}")
            assert eventually(begun.exists)
            pids += [child.pid for child in process_of(server).children(recursive=True)]
            assert seconds(server.stop) < PROMPTLY
            assert not any(map(is_running, pids))
            # The server interrupts its kernels first, and there may be time to report that.
            assert call.result(30).status in {"error", "kernel_died"}
            with pytest.raises(ServerError, match="was stopped"):
                run(executor, "1")

    def test_stop_is_fast_with_code_that_does_not_exit(self, server: LocalJupyterServer, output_dir: Path) -> None:
        with JupyterCodeExecutor(server, output_dir=output_dir) as executor:
            run(executor, "import atexit, time\natexit.register(time.sleep, 600)")
            pid = kernel_pid(executor)
            assert seconds(server.stop) < PROMPTLY
            assert not is_running(pid)

    def test_stop_is_fast_with_many_kernels(self, server: LocalJupyterServer, output_dir: Path, leave: Leave) -> None:
        with ExitStack() as stack:
            executors = [stack.enter_context(JupyterCodeExecutor(server, output_dir=output_dir)) for _ in range(6)]
            pids = [pid for executor in executors for pid in leave(executor)]
            for kernel in pids[1::6]:
                os.kill(kernel, signal.SIGSTOP)
            assert seconds(server.stop) < PROMPTLY
            assert not any(map(is_running, pids))

    def test_stop_is_fast_when_the_server_does_not_answer(self, server: LocalJupyterServer, output_dir: Path) -> None:
        with JupyterCodeExecutor(server, output_dir=output_dir) as executor:
            pids = [process_of(server).pid, kernel_pid(executor)]
            process_of(server).suspend()
            assert seconds(server.stop) < PROMPTLY
            assert eventually(lambda: not any(map(is_running, pids)))

    @pytest.mark.parametrize("state", ["suspended", "killed"])
    def test_stop_is_fast_after_the_server_was_lost(
        self, server: LocalJupyterServer, output_dir: Path, leave: Leave, state: str
    ) -> None:
        with JupyterCodeExecutor(server, output_dir=output_dir) as executor:
            pids = leave(executor)
            process = process_of(server)
            process.suspend() if state == "suspended" else process.kill()
            assert seconds(server.stop) < PROMPTLY
            assert eventually(lambda: not any(map(is_running, pids)))


#: A script that starts a server and a kernel, and prints their process IDs and that of a process left running.
SCRIPT = f"""\
import os, signal, sys, threading, time
from pathlib import Path
from nbtape import BlockInterrupted, CodeBlock, JupyterCodeExecutor, LocalJupyterServer

def run(code):
    return executor.execute_code_blocks([CodeBlock(code=code, language="python")]).output.strip()

def run_for_long(code="import time; open('begun', 'w'); time.sleep(600)"):
    threading.Thread(target=run, args=[code], daemon=True).start()
    while not Path(sys.argv[1], "begun").exists():
        time.sleep(0.01)

server = LocalJupyterServer()
executor = JupyterCodeExecutor(server, timeout=300, output_dir=sys.argv[1])
pids = run({LEAVE_CHILD!r})
"""


class Script:
    """A Python script in its own process and process group.

    Args:
        code: Code to run after `SCRIPT`, beginning with what it prints.
        directory: Its output directory.
    """

    def __init__(self, code: str, directory: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", f"{SCRIPT}{code}\n", str(directory)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self._pids: list[int] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Kill what a failed test leaves running."""
        self.process.kill()
        self.process.communicate()
        end(self._pids)

    def line(self) -> str:
        """The next line that it prints."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline().strip()
        if not line:
            pytest.fail(self.process.communicate(timeout=30)[1])
        return line

    def pids(self) -> list[int]:
        """The process IDs that it prints: server, kernel, and the process left running."""
        self._pids = [int(pid) for pid in self.line().split()]
        return self._pids

    def said(self) -> str:
        """All remaining output, including stderr."""
        return "".join(self.process.communicate(timeout=30))


class TestProcessExit:
    """However the process ends, its server stops, and so does everything that the server started."""

    @pytest.mark.parametrize(
        "busy", [pytest.param("", marks=pytest.mark.full, id="idle"), pytest.param("run_for_long()\n", id="busy")]
    )
    @pytest.mark.parametrize(
        ("end", "code"),
        first(
            3,
            [
                ("", 0),
                ("os._exit(3)", 3),
                ("os.kill(os.getpid(), signal.SIGKILL)", -signal.SIGKILL),
                ("sys.exit(3)", 3),
                ("raise RuntimeError('ours')", 1),
                ("os.kill(os.getpid(), signal.SIGINT)", -signal.SIGINT),
                ("os.kill(os.getpid(), signal.SIGTERM)", -signal.SIGTERM),
            ],
        ),
    )
    def test_process_exit_stops_the_server_and_its_kernels(
        self, output_dir: Path, busy: str, end: str, code: int
    ) -> None:
        with Script(f"{busy}print(pids, flush=True)\n{end}", output_dir) as script:
            pids = script.pids()
            assert len(pids) == 3
            said = script.said()
            assert script.process.returncode == code
            assert said == "" or "ours" in said or "KeyboardInterrupt" in said
            assert eventually(lambda: not any(map(is_running, pids)), 5)

    def test_process_exit_stops_a_restarted_server_silently(self, output_dir: Path) -> None:
        code = (
            "server.stop()\nserver = LocalJupyterServer(ip='localhost')\n"
            "executor = JupyterCodeExecutor(server, output_dir=sys.argv[1])\n"
            f"print(run({LEAVE_CHILD!r}), flush=True)"
        )
        with Script(code, output_dir) as script:
            pids = script.pids()
            assert (script.said(), script.process.returncode) == ("", 0)
            assert eventually(lambda: not any(map(is_running, pids)), 5)

    @pytest.mark.parametrize("state", ["stopped", "swallows"])
    def test_process_exit_kills_kernels_that_ignore_signals(self, output_dir: Path, state: str) -> None:
        code = {
            "stopped": "os.kill(int(pids.split()[1]), signal.SIGSTOP)",
            "swallows": "run('import signal\\nfor n in 1, 2, 15: signal.signal(n, signal.SIG_IGN)')\nrun_for_long()",
        }[state]
        kill = "os.kill(os.getpid(), signal.SIGKILL)"
        with Script(f"{code}\nprint(pids, flush=True)\n{kill}", output_dir) as script:
            pids = script.pids()
            assert eventually(lambda: not any(map(is_running, pids)), 5)

    def test_process_exit_during_startup_stops_the_server(self, output_dir: Path) -> None:
        code = (
            "server.stop()\nthreading.Thread(target=server.start, daemon=True).start()\n"
            "while server._process is None: time.sleep(0.001)\n"
            "print(server._process.pid, flush=True)\nos.kill(os.getpid(), signal.SIGKILL)"
        )
        with Script(code, output_dir) as script:
            (pid,) = script.pids()
            assert eventually(lambda: not is_running(pid), 10)

    @pytest.mark.parametrize(
        "end",
        [
            "sys.exit()",
            "server.stop(); os._exit(0)",
            "sys.exit(JupyterCodeExecutor(server, output_dir=sys.argv[1] + '/child').run('print(1)').output != '1\\n')",
        ],
        ids=["exits", "stops it", "uses it"],
    )
    def test_a_fork_neither_stops_the_server_nor_is_kept_from_it(self, output_dir: Path, end: str) -> None:
        code = (
            f"child = os.fork()\nif not child: {end}\n"
            "print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)\n"
            "print(pids, run('import os; print(os.getppid(), os.getpid())'), flush=True)"
        )
        with Script(code, output_dir) as script:
            assert script.line() == "0"
            server, kernel, _, *after = script.pids()
            assert after == [server, kernel]
            assert script.said() == ""

    @pytest.mark.parametrize("where", ["in a block", "between blocks"])
    def test_ctrl_c_does_not_stop_the_server(self, output_dir: Path, where: str) -> None:
        wait = "run('import time; time.sleep(60)')" if where == "in a block" else "time.sleep(60)"
        code = (
            f"run('kept = 7')\ntry:\n    print(pids, flush=True)\n    {wait}\nexcept KeyboardInterrupt:\n"
            "    print(kept := run('import os; print(os.getppid(), os.getpid(), kept)'), flush=True)"
        )
        with Script(code, output_dir) as script:
            server, kernel, _ = script.pids()
            os.killpg(script.process.pid, signal.SIGINT)
            assert script.line() == f"{server} {kernel} 7"
            assert script.said() == ""


class TestServerDeath:
    """When a server dies, its kernels die too, and no call keeps waiting for them."""

    @pytest.mark.fault("server killed in mid-block, and back", kind="LocalJupyterServer")
    def test_a_server_killed_during_a_block_is_reported_and_recorded(
        self, server: LocalJupyterServer, output_dir: Path
    ) -> None:
        killed: list[float] = []

        def kill(_: object) -> None:
            if not killed:
                killed.append(time.monotonic())
                process_of(server).kill()

        url = server.connection_info.url
        with JupyterCodeExecutor(server, output_dir=output_dir) as plain:
            pid = kernel_pid(plain)
            executor = JupyterCodeExecutor(server, output_dir=output_dir, notebook="killed", on_output=kill)
            result = run(executor, "print('before', flush=True)\nimport time\ntime.sleep(60)", "print('rest')")
            assert time.monotonic() - killed[0] < 3
            assert (result.status, result.exit_code) == ("kernel_died", 137)
            assert result.output.startswith("before\n")
            assert f"The Jupyter server at {url} exited with code -9" in result.output
            assert [cell.status for cell in result.cells] == ["kernel_died", "not_run"]
            first, second = code_cells(executor.notebook)
            assert (stream_text(first), first["metadata"]["nbtape"]["status"]) == ("before\n", "kernel_died")
            assert (second["source"], second["metadata"]["nbtape"]["status"]) == ("print('rest')", "not_run")
            for _ in range(2):
                with pytest.raises(ServerError, match=r"(?s)exited with code -9.*start\(\)"):
                    run(executor, "1")
            server.start()
            check_fresh(executor)
            check_fresh(plain)
            executor.stop()
            assert eventually(lambda: not is_running(pid))
        assert [len(code_cells(executor.notebook)), len(code_cells(plain.notebook))] == [4, 3]

    def test_a_server_killed_between_blocks_is_reported_by_the_next_call(
        self, server: LocalJupyterServer, output_dir: Path
    ) -> None:
        with JupyterCodeExecutor(server, output_dir=output_dir) as executor:
            run(executor, "x = 1")
            process_of(server).kill()
            assert "exited with code -9" in said_next(executor)
            with pytest.raises(ServerError, match=r"(?s)exited with code -9.*start\(\)"):
                run(executor, "x")
            server.start()
            result = run(executor, "print('x' in globals())")
            assert result.output.endswith("\nFalse\n")
            assert "variables of earlier blocks are gone" in result.output

    def test_the_kernels_of_a_killed_server_are_killed(self, server: LocalJupyterServer, output_dir: Path) -> None:
        with JupyterCodeExecutor(server, output_dir=output_dir) as executor:
            pid = kernel_pid(executor)
            process_of(server).kill()
            assert eventually(lambda: not is_running(pid), 5)

    def test_stopping_after_the_server_was_killed_is_fast(self, server: LocalJupyterServer, output_dir: Path) -> None:
        with JupyterCodeExecutor(server, output_dir=output_dir) as executor:
            run(executor, "x = 1")
            process_of(server).kill()
            assert seconds(executor.stop) < PROMPTLY
            assert seconds(server.stop) < PROMPTLY


def said_next(executor: JupyterCodeExecutor) -> str:
    """What the next call reports: in a result if its block was sent before the loss was known, else in an error."""
    try:
        return run(executor, "x").output
    except ServerError as exc:
        return str(exc)


class TestKernels:
    """An executor has one kernel, from start to stop, and touches no other."""

    def test_every_executor_has_its_own_kernel(self, server: LocalJupyterServer, output_dir: Path) -> None:
        with (
            JupyterCodeExecutor(server, output_dir=output_dir) as one,
            JupyterCodeExecutor(server, output_dir=output_dir) as two,
        ):
            run(one, "x = 1")
            assert run(two, "print('x' in globals())").output == "False\n"
            assert kernel_pid(one) != kernel_pid(two)
            assert len(kernels_of(server)) == 2
            one.stop()
            assert len(kernels_of(server)) == 1
            assert run(two, "print(2)").output == "2\n"
        assert kernels_of(server) == set()

    @pytest.mark.full
    def test_twenty_executors_work_at_once(self, server: LocalJupyterServer, output_dir: Path) -> None:
        def work(number: int) -> list[str]:
            with JupyterCodeExecutor(server, output_dir=output_dir, notebook=f"n{number}") as executor:
                result = run(executor, f"n = {number}", *49 * ["n += 1\nprint(n)"])
                assert result.status == "ok", result.output
                assert len(code_cells(executor.notebook)) == 50
            return [cell.output for cell in result.cells]

        with ThreadPoolExecutor(20) as pool:
            outputs = list(pool.map(work, range(20)))
        assert outputs == [["", *(f"{number + n}\n" for n in range(1, 50))] for number in range(20)]
        assert kernels_of(server) == set()
        assert eventually(lambda: not process_of(server).children())

    def test_a_restart_gives_another_kernel_on_the_same_server(
        self, server: LocalJupyterServer, output_dir: Path
    ) -> None:
        with JupyterCodeExecutor(server, output_dir=output_dir) as executor:
            before = kernels_of(server)
            executor.restart()
            after = kernels_of(server)
            assert (len(before), len(after), before & after) == (1, 1, set())

    def test_the_kernel_of_a_forgotten_executor_is_stopped(self, server: LocalJupyterServer, output_dir: Path) -> None:
        executor = JupyterCodeExecutor(server, output_dir=output_dir)
        pid = kernel_pid(executor)
        del executor
        gc.collect()
        assert eventually(lambda: not kernels_of(server))
        assert eventually(lambda: not is_running(pid))

    async def test_the_kernel_of_a_forgotten_async_executor_is_stopped_after_its_event_loop(
        self, server: LocalJupyterServer, output_dir: Path
    ) -> None:
        async def forget() -> None:
            executor = AsyncJupyterCodeExecutor(server, output_dir=output_dir)
            assert (await executor.execute_code_blocks(blocks("print(1)"))).output == "1\n"

        await asyncio.to_thread(lambda: asyncio.run(forget()))
        gc.collect()
        assert eventually(lambda: not kernels_of(server))

    @pytest.mark.parametrize("argv", [UNLUCKY, MISSING], ids=["dies", "is missing"])
    def test_a_kernel_program_that_fails_is_an_error_and_leaves_nothing(
        self, jupyter_path: Path, output_dir: Path, argv: list[str]
    ) -> None:
        name = install(jupyter_path, "unlucky", argv)
        with LocalJupyterServer() as server:
            executor = JupyterCodeExecutor(server, kernel_name=name, output_dir=output_dir)
            with pytest.raises(KernelStartError):
                executor.start()
            assert kernels_of(server) == set()
            executor.stop()
        assert files(output_dir) == set()

    @pytest.mark.parametrize(
        ("argv", "said"),
        [(UNLUCKY, r"(?s)exited with code 3.*no luck today"), (MISSING, "/no/such/program")],
        ids=["dies", "is missing"],
    )
    def test_a_kernel_program_that_fails_is_reported_with_the_reason(
        self, jupyter_path: Path, output_dir: Path, argv: list[str], said: str
    ) -> None:
        name = install(jupyter_path, "unlucky", argv)
        with LocalJupyterServer() as server:
            executor = JupyterCodeExecutor(server, kernel_name=name, output_dir=output_dir)
            with pytest.raises(KernelStartError, match=said):
                executor.start()
            executor.stop()

    def test_a_kernel_that_dies_during_startup_is_reported_immediately(
        self, jupyter_path: Path, output_dir: Path
    ) -> None:
        name = install(jupyter_path, "unlucky", UNLUCKY)
        with LocalJupyterServer() as server:
            executor = JupyterCodeExecutor(server, kernel_name=name, output_dir=output_dir)
            began = time.monotonic()
            with pytest.raises(KernelStartError):
                executor.start()
            assert time.monotonic() - began < 5
            executor.stop()

    def test_a_kernel_that_never_answers_is_an_error_and_leaves_nothing(
        self, jupyter_path: Path, output_dir: Path
    ) -> None:
        name = install(jupyter_path, "silent", ["sleep", "600"])
        with LocalJupyterServer() as server:
            executor = JupyterCodeExecutor(server, kernel_name=name, output_dir=output_dir, startup_timeout=1)
            with pytest.raises(KernelStartError, match=r"did not answer within 1 s"):
                executor.start()
            assert eventually(lambda: not kernels_of(server))
            assert eventually(lambda: not process_of(server).children())
            executor.stop()

    def test_the_error_for_a_missing_kernel_lists_the_installed_ones(
        self, server: LocalJupyterServer, output_dir: Path
    ) -> None:
        executor = JupyterCodeExecutor(server, kernel_name="no-such-kernel", output_dir=output_dir)
        with pytest.raises(KernelNotInstalledError, match=r"no-such-kernel.*python3"):
            executor.start()
        executor.stop()
        assert kernels_of(server) == set()

    def test_kernels_of_other_clients_are_never_touched(self, server: LocalJupyterServer, output_dir: Path) -> None:
        theirs = ask(server.connection_info, "kernels", "POST", name="python3").json()["id"]
        (process,) = process_of(server).children()
        with JupyterCodeExecutor(server, output_dir=output_dir) as executor:
            run(executor, "1")
            executor.restart()
            run(executor, "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)")
            run(executor, "1")
        forgotten = JupyterCodeExecutor(server, output_dir=output_dir)
        forgotten.start()
        del forgotten
        gc.collect()
        assert eventually(lambda: kernels_of(server) == {theirs})
        assert is_running(process.pid)
        server.stop()
        assert not is_running(process.pid)

    @pytest.mark.alone
    def test_a_message_on_a_closed_connection_does_not_keep_the_server_busy(self, server: LocalJupyterServer) -> None:
        info = server.connection_info
        kernel = ask(info, "kernels", "POST", name="python3").json()["id"]
        url = f"{info.websocket_api}kernels/{kernel}/channels?session_id=ours"
        client = ClientProtocol(parse_uri(url), subprotocols=[Subprotocol(BINARY)])
        with socket.create_connection(("127.0.0.1", info.port)) as old:
            request = client.connect()
            request.headers.update(info.secret_headers)
            client.send_request(request)
            old.sendall(b"".join(client.data_to_send()))
            while client.state is State.CONNECTING:
                client.receive_data(old.recv(1 << 16))
            # Another connection of the same session makes the server close the first one, which does not know that yet.
            with connect(url, additional_headers=info.secret_headers, subprotocols=[Subprotocol(BINARY)]):
                client.send_binary(bytes(BinaryWire().encode("shell", Session().msg("kernel_info_request"))))
                old.sendall(b"".join(client.data_to_send()))
                begun = time.monotonic()
                for _ in range(50):  # The message is read during these requests; a busy server would take ten seconds.
                    ask(info, "kernels")
                assert time.monotonic() - begun < 5

    def test_any_object_with_connection_info_works_as_a_server(
        self, server: LocalJupyterServer, output_dir: Path
    ) -> None:
        info = server.connection_info
        # Like AutoGen's JupyterConnectable and JupyterConnectionInfo.
        theirs = SimpleNamespace(
            connection_info=SimpleNamespace(host=info.host, use_https=False, port=info.port, token=info.token)
        )
        with JupyterCodeExecutor(theirs, output_dir=output_dir) as executor:
            assert run(executor, "print(1)").output == "1\n"
            assert len(kernels_of(server)) == 1
        assert kernels_of(server) == set()

    def test_stopping_a_server_is_reported_to_all_threads_that_use_it(
        self, server: LocalJupyterServer, output_dir: Path
    ) -> None:
        begun = threading.Barrier(4, timeout=60)

        def work(_: int) -> str:
            executor = JupyterCodeExecutor(server, output_dir=output_dir)
            try:
                run(executor, "1")
                begun.wait()
                while True:
                    result = run(executor, "1")
                    if result.status != "ok":
                        return result.output
            except ServerError as exc:
                return str(exc)
            finally:
                executor.stop()

        with ThreadPoolExecutor(4) as pool:
            calls = [pool.submit(work, number) for number in range(3)]
            begun.wait()
            server.stop()
            said = [call.result(60) for call in calls]
        assert all("was stopped" in text for text in said), said
