"""After a session has stopped, nothing that its code started is left, neither locally nor in a container."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from executors import run
from reading import code_cells

from nbtape import (
    CodeBlock,
    DockerJupyterServer,
    JupyterCodeExecutor,
    KernelPool,
    LocalJupyterServer,
)
from nbtape.kernels.leftovers import Leftovers
from nbtape.kernels.processes import is_running

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [
    pytest.mark.usefixtures("leaves_nothing"),
    pytest.mark.skipif(sys.platform != "linux", reason="processes are found in /proc"),
]

BEGIN = "import os, signal, subprocess, sys, time\ndef stay():\n    open('pid', 'w').write(str(os.getpid()))\n"
BEGIN += "    for each in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT): signal.signal(each, signal.SIG_IGN)\n"
BEGIN += "    time.sleep(300)\n"
EXEC = "import os, time; open('pid', 'w').write(str(os.getpid())); time.sleep(300)"

WAYS = {
    "a session of its own": "if os.fork() == 0:\n    os.setsid(); stay()",
    "a double fork": "if os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0: stay()\n    os._exit(0)\nos.wait()",
    "an orphan in the session": "if os.fork() == 0:\n    if os.fork() == 0: os.setpgid(0, 0); stay()\n    os._exit(0)",
    "another program": f"subprocess.Popen(['setsid', 'nohup', sys.executable, '-c', {EXEC!r}])",
    "no environment": f"subprocess.Popen([sys.executable, '-c', {EXEC!r}], env={{}}, start_new_session=True)",
    "a shell that is gone": f"subprocess.run(['sh', '-c', 'setsid {sys.executable} -c \"$0\" &', {EXEC!r}])",
}
WAIT = "while not (os.path.exists('pid') and open('pid').read()): time.sleep(0.01)"


def leave(executor: JupyterCodeExecutor, way: str) -> None:
    (cell,) = run(executor, f"{BEGIN}{WAYS[way]}\n{WAIT}").cells
    assert cell.status == "ok", cell.output


def left(directory: Path) -> int:
    return int((directory / "pid").read_text())


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest) -> Iterator[str]:
    return request.param  # type: ignore[no-any-return]


def test_nothing_is_left_of_a_local_kernel_when_the_record_is_final(output_dir: Path, way: str) -> None:
    with JupyterCodeExecutor(output_dir=output_dir) as executor:
        leave(executor, way)
        assert is_running(left(output_dir))
    assert not runs(left(output_dir))


def test_nothing_is_left_of_a_kernel_that_died(output_dir: Path) -> None:
    with JupyterCodeExecutor(output_dir=output_dir) as executor:
        leave(executor, "a double fork")
        run(executor, "import os\nos._exit(3)")
    assert not runs(left(output_dir))


def test_nothing_is_left_after_a_restart(output_dir: Path) -> None:
    with JupyterCodeExecutor(output_dir=output_dir) as executor:
        leave(executor, "a double fork")
        executor.restart()
        assert not runs(left(output_dir))


def test_nothing_is_left_of_a_servers_kernel(output_dir: Path, gateway: LocalJupyterServer, way: str) -> None:
    with JupyterCodeExecutor(gateway, output_dir=output_dir) as executor:
        leave(executor, way)
    assert not runs(left(output_dir))


@pytest.mark.parametrize("fork", [True, False])
def test_nothing_is_left_of_a_pooled_kernel_and_other_kernels_keep_running(output_dir: Path, *, fork: bool) -> None:
    (output_dir / "other").mkdir()
    with KernelPool(size=2, fork=fork) as pool, JupyterCodeExecutor(pool, output_dir=output_dir / "other") as other:
        run(other, "x = 1")
        leave(other, "a session of its own")
        with JupyterCodeExecutor(pool, output_dir=output_dir) as executor:
            leave(executor, "a double fork")
        assert not runs(left(output_dir))
        assert is_running(left(output_dir / "other")), "what another kernel started is not touched"
        assert run(other, "print(x)").output == "1\n"


def test_a_stopped_server_leaves_nothing(output_dir: Path) -> None:
    server = LocalJupyterServer()
    server.start()
    executor = JupyterCodeExecutor(server, output_dir=output_dir)
    leave(executor, "a double fork")
    server.stop()
    assert not runs(left(output_dir))
    executor.stop()


FORGE = """\
import json, os, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        import fcntl
        for fd in range(3, 4096):
            try: os.close(fd)
            except OSError: pass
        end = time.time() + 60
        while time.time() < end:
            try:
                with open("session.ipynb") as file:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    document = json.load(file)
                    document["cells"][0]["source"] = "forged"
                    open(".t", "w").write(json.dumps(document)); os.rename(".t", "session.ipynb"); break
            except (OSError, ValueError): pass
            time.sleep(0.001)
    os._exit(0)
"""


@pytest.mark.parametrize("place", ["local", "container", "bind_dir"])
def test_no_code_changes_a_final_record(output_dir: Path, base_image: str, place: str) -> None:
    server: Any = None
    if place != "local":
        server = DockerJupyterServer(base_image=base_image, bind_dir=output_dir if place == "bind_dir" else None)
    with JupyterCodeExecutor(server, output_dir=output_dir, timeout=60) as executor:
        executor.execute_code_blocks([CodeBlock(FORGE, "python")])
    time.sleep(0.5)  # leftovers would have time to act
    assert code_cells(executor.notebook)[0]["source"] == FORGE
    assert not (output_dir / ".t").exists()
    if server is not None:
        server.stop()


def test_a_container_stops_with_its_last_session_and_is_replaced(output_dir: Path, base_image: str) -> None:
    with DockerJupyterServer(base_image=base_image, bind_dir=output_dir) as server:
        with JupyterCodeExecutor(server, output_dir=output_dir) as first:
            name = run(first, "import socket; print(socket.gethostname())").output
            with JupyterCodeExecutor(server, output_dir=output_dir) as second:
                assert run(second, "import socket; print(socket.gethostname())").output == name
            assert run(first, "print(1)").output == "1\n", "the container is shared"
        with JupyterCodeExecutor(server, output_dir=output_dir) as third:
            assert run(third, "import socket; print(socket.gethostname())").output != name


def test_processes_that_keep_starting_others_are_killed(tmp_path: Path) -> None:
    bomb = "import os, time\nfor _ in range(20000):\n    if os.fork(): os._exit(0)\n    os.setsid(); time.sleep(0.0005)"
    for _ in range(10):
        leftovers = Leftovers()
        environment = {**os.environ, **leftovers.environment}
        subprocess.run([sys.executable, "-c", bomb], env=environment, cwd=tmp_path, check=True, start_new_session=True)
        assert leftovers.end()
        assert not leftovers._find()


def runs(pid: int) -> bool:
    """Return whether a process runs, and is not a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False
