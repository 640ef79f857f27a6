"""Pools of pre-started kernels: the executor contract, and the guarantees of a pool."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from executors import blocks, install, kernel_pid, run
from reading import descendants, eventually, is_running

from nbtape import AsyncJupyterCodeExecutor, DockerJupyterServer, JupyterCodeExecutor, KernelPool, KernelStartError
from nbtape.kernels.local.manager import LocalKernelManager

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from nbtape import LocalJupyterServer

pytestmark = pytest.mark.usefixtures("leaves_nothing")


@pytest.fixture
def pool() -> Iterator[KernelPool]:
    with KernelPool(size=2) as pool:
        pool.fill()
        yield pool


def idle(pool: KernelPool) -> list[int]:
    """The processes of the kernels that are ready."""
    return [kernel.manager.provisioner.process.pid for kernel in list(pool._stock._idle)]  # type: ignore[attr-defined]


@pytest.mark.parametrize("fork", [False, None])
def test_a_ready_kernel_is_handed_out_once(output_dir: Path, *, fork: bool | None) -> None:
    with KernelPool(size=2, fork=fork) as pool:
        pool.fill()
        ready = set(idle(pool))
        assert len(ready) == 2
        with (
            JupyterCodeExecutor(pool, output_dir=output_dir) as one,
            JupyterCodeExecutor(pool, output_dir=output_dir) as two,
            JupyterCodeExecutor(pool, output_dir=output_dir) as three,
        ):
            pids = [kernel_pid(executor) for executor in (one, two, three)]
            assert len(set(pids)) == 3
            assert set(pids[:2]) == ready
            one.restart()
            assert kernel_pid(one) not in pids


def test_the_first_block_on_a_filled_pool_imports_nothing(tmp_path: Path) -> None:
    code = """
import sys
from nbtape import JupyterCodeExecutor, KernelPool
with KernelPool(size=1) as pool:
    pool.fill()
    before = set(sys.modules)
    with JupyterCodeExecutor(pool) as executor:
        assert executor.run("print(1)").output == "1\\n"
        print(sorted(set(sys.modules) - before))
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_a_kernel_works_in_the_directory_of_its_executor(pool: KernelPool, tmp_path: Path) -> None:
    directory = tmp_path / "größe 你好"
    with JupyterCodeExecutor(pool, output_dir=directory) as executor:
        (directory / "helper.py").write_text("answer = 42")
        result = run(executor, "import os, helper\nprint(os.getcwd(), helper.answer, *map(str, _dh))")
        assert result.output == f"{directory} 42 {directory}\n"
        assert run(executor, "%cd -q /\n%cd -q -\nprint(os.getcwd())").output == f"{directory}\n"


def test_a_pooled_kernel_looks_like_any_other(pool: KernelPool, output_dir: Path) -> None:
    code = (
        "import os, signal, sys\n"
        "print(sys.path, sys.argv[0], sys.flags, get_ipython().execution_count, In, Out, repr(_), _dh, sorted(dir()))\n"
        "print(sorted(os.environ))\n"
        "print(signal.getsignal(signal.SIGINT), os.umask(0o22), sys.stdin, os.getcwd())"
    )
    told = []
    for source in (pool, None):
        with JupyterCodeExecutor(source, output_dir=output_dir) as executor:
            told.append(run(executor, code).output.splitlines())
    for pooled, started in zip(*told, strict=True):
        assert pooled == started


@pytest.mark.parametrize("fork", [False, None])
def test_a_dead_kernel_is_never_handed_out(output_dir: Path, *, fork: bool | None) -> None:
    with KernelPool(size=2, fork=fork) as pool:
        pool.fill()
        first, second = idle(pool)
        os.kill(first, signal.SIGKILL)
        with JupyterCodeExecutor(pool, output_dir=output_dir) as executor:
            assert kernel_pid(executor) == second
            assert run(executor, "print('alive')").output == "alive\n"


def test_a_dead_kernel_is_replaced(pool: KernelPool) -> None:
    killed = idle(pool)
    for pid in killed:
        os.kill(pid, signal.SIGKILL)
    assert eventually(lambda: len(idle(pool)) == 2 and not set(idle(pool)) & set(killed), 30)


def test_all_kernels_are_replaced_when_their_parent_dies(pool: KernelPool, output_dir: Path) -> None:
    with JupyterCodeExecutor(pool, output_dir=output_dir) as executor:
        parent = int(run(executor, "import os\nprint(os.getppid())").output)
    pool.fill()
    old = idle(pool)
    os.kill(parent, signal.SIGKILL)
    assert eventually(lambda: not any(map(is_running, old)))  # They die shortly after their parent.
    with JupyterCodeExecutor(pool, output_dir=output_dir) as executor:
        assert run(executor, "print('alive')").output == "alive\n"
        assert eventually(lambda: len(idle(pool)) == 2 and not set(idle(pool)) & set(old), 30)


def test_many_executors_at_once_each_get_a_kernel_and_the_pool_keeps_its_size(pool: KernelPool, tmp_path: Path) -> None:
    most = 0
    done = threading.Event()

    def watch() -> None:
        nonlocal most
        while not done.wait(0.01):
            most = max(most, pool.ready)

    def session(number: int) -> int:
        with JupyterCodeExecutor(pool, output_dir=tmp_path / str(number)) as executor:
            return kernel_pid(executor)

    with ThreadPoolExecutor(21) as threads:
        watcher = threads.submit(watch)
        pids = list(threads.map(session, range(20)))
        done.set()
        watcher.result()
    assert len(set(pids)) == 20
    assert 1 <= most <= 2


def test_several_event_loops_and_threads_share_a_pool(pool: KernelPool, tmp_path: Path) -> None:
    async def session(name: str) -> str:
        async with AsyncJupyterCodeExecutor(pool, output_dir=tmp_path / name) as executor:
            await executor.execute_code_blocks(blocks("x = 1"))
            await executor.restart()
            return (await executor.execute_code_blocks(blocks("print('x' in dir())"))).output

    with ThreadPoolExecutor() as threads:
        calls = [threads.submit(asyncio.run, session(str(number))) for number in range(3)]
        for call in calls:
            assert call.result(60).endswith("False\n")


async def test_a_pool_is_started_and_stopped_on_an_event_loop(output_dir: Path) -> None:
    async with KernelPool(size=1) as pool, AsyncJupyterCodeExecutor(pool, output_dir=output_dir) as executor:
        assert (await executor.execute_code_blocks(blocks("print(1)"))).output == "1\n"


@pytest.mark.parametrize("fork", [False, None])
@pytest.mark.parametrize(
    ("preload", "why"),
    [("no_such_module", "no_such_module cannot be imported: ModuleNotFoundError"), ("antigravity2.x", "antigravity2")],
)
def test_a_failing_import_is_reported(output_dir: Path, *, fork: bool | None, preload: str, why: str) -> None:
    others = descendants()
    pool = KernelPool(preload=[preload], fork=fork)
    with pytest.raises(KernelStartError, match=why):
        pool.start()
    assert eventually(lambda: descendants() <= others)
    pool._stock.open()
    assert eventually(lambda: pool._stock._failure is not None, 30)
    executor = JupyterCodeExecutor(pool, output_dir=output_dir)
    with pytest.raises(KernelStartError, match=f"The pool cannot start kernels.*{why}"):
        executor.start()
    executor.stop()
    pool.stop()


@pytest.mark.parametrize("fork", [False, None])
def test_a_hanging_import_is_reported_and_does_not_delay_a_stop(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch, *, fork: bool | None
) -> None:
    directory = tmp_path_factory.mktemp("modules")
    (directory / "hanging.py").write_text("import time\ntime.sleep(600)")
    others = descendants()
    monkeypatch.setenv("PYTHONPATH", str(directory))
    with pytest.raises(KernelStartError, match="2 s"):
        KernelPool(preload=["hanging"], fork=fork, startup_timeout=2).start()
    gc.collect()
    pool = KernelPool(preload=["hanging"], fork=fork)
    with ThreadPoolExecutor() as threads:
        start = threads.submit(pool.start)
        assert eventually(lambda: descendants() - others != set())
        time.sleep(0.5)  # Stops in the middle of the import; the stop must work at any point.
        pool.stop()
        with pytest.raises(KernelStartError, match="stopped"):
            start.result(10)


def test_stopping_a_pool_while_a_kernel_shuts_down_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    shutdown_kernel = LocalKernelManager.shutdown_kernel
    pauses = iter([0.0])

    async def shut_down_slowly(manager: LocalKernelManager, *, now: bool = False) -> None:
        await asyncio.sleep(next(pauses, 1.0))  # The second kernel is shutting down when the first one stops the pool.
        await shutdown_kernel(manager, now=now)

    monkeypatch.setattr(LocalKernelManager, "shutdown_kernel", shut_down_slowly)
    with pytest.raises(KernelStartError, match="no_such_module"):
        KernelPool(size=2, preload=["no_such_module"], fork=False).start()


def test_stopping_a_pool_while_it_refills_leaves_nothing(output_dir: Path) -> None:
    for _ in range(3):
        with KernelPool(size=3, fork=False) as pool, JupyterCodeExecutor(pool, output_dir=output_dir) as executor:
            run(executor, "1")
        assert pool.ready == 0


def test_a_stopped_pool_is_an_error_and_can_be_started_again(output_dir: Path) -> None:
    pool = KernelPool(size=1)
    pool.start()
    pool.stop()
    pool.stop()
    executor = JupyterCodeExecutor(pool, output_dir=output_dir)
    with pytest.raises(KernelStartError, match=r"stopped\. Call start\(\)"):
        executor.start()
    with pool:
        assert run(executor, "print(1)").output == "1\n"
        executor.stop()


def test_the_first_use_starts_a_pool(output_dir: Path) -> None:
    others = descendants()
    pool = KernelPool(size=1)
    assert descendants() <= others
    with JupyterCodeExecutor(pool, output_dir=output_dir) as executor:
        assert run(executor, "print(1)").output == "1\n"
        assert eventually(lambda: pool.ready == 1, 30)
    pool.stop()


def test_a_forgotten_pool_stops(output_dir: Path) -> None:
    others = descendants()
    pool = KernelPool(size=2)
    with JupyterCodeExecutor(pool, output_dir=output_dir) as executor:
        run(executor, "1")
    before = idle(pool)
    del pool, executor
    gc.collect()
    assert eventually(lambda: not any(map(is_running, before)) and descendants() <= others)


def test_stopping_a_pool_right_after_a_kernel_was_taken_leaves_no_connection(output_dir: Path) -> None:
    pool = KernelPool(size=1)
    pool.fill()
    with JupyterCodeExecutor(pool, output_dir=output_dir):
        pool.stop()
    del pool
    gc.collect()  # Python warns about unclosed sockets, which fails the test.


def test_a_pool_that_was_not_stopped_stops_at_exit(output_dir: Path) -> None:
    code = (
        "from nbtape import CodeBlock, JupyterCodeExecutor, KernelPool\n"
        "pool = KernelPool(size=2)\n"
        "executor = JupyterCodeExecutor(pool)\n"
        "print(executor.execute_code_blocks([CodeBlock('print(1)', 'python')]).output)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=output_dir, capture_output=True, text=True, check=True, timeout=60
    )
    assert (done.stdout, done.stderr) == ("1\n\n", "")


def test_invalid_arguments_are_rejected(tmp_path: Path) -> None:
    for arguments, why in [
        ({"size": 0}, "size"),
        ({"startup_timeout": 0}, "startup_timeout"),
        ({"preload": "pandas"}, "must be a list of module names"),
        ({"preload": ["os; print()"]}, "not a module name"),
        ({"kernel_name": "no-such"}, "no-such is not installed"),
        ({"jupyter_server": "http://localhost:1", "fork": True}, "fork"),
        ({"jupyter_server": DockerJupyterServer()}, "output_dir"),
    ]:
        with pytest.raises(ValueError, match=why):
            KernelPool(**arguments)  # type: ignore[arg-type]
    inside = KernelPool(output_dir=tmp_path / "in")
    with pytest.raises(ValueError, match=r"see only .*in, not "):
        JupyterCodeExecutor(inside, output_dir=tmp_path)
    with pytest.raises(ValueError, match="not other"):
        JupyterCodeExecutor(inside, kernel_name="other", output_dir=tmp_path / "in")


def test_a_kernel_of_another_language_is_rejected(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path_factory.mktemp("jupyter")
    monkeypatch.setenv("JUPYTER_PATH", str(path))
    name = install(path, "other", ["sleep", "60"], language="R")
    with pytest.raises(KernelStartError, match="runs R"), KernelPool(kernel_name=name):
        pytest.fail("there is no such pool")


def test_a_fork_of_the_process_takes_no_kernels_from_its_parent(pool: KernelPool, output_dir: Path) -> None:
    pid = os.fork()
    if pid == 0:
        os._exit(0 if pool._stock.take() is None else 1)
    assert os.waitpid(pid, 0)[1] == 0
    with JupyterCodeExecutor(pool, output_dir=output_dir) as executor:
        assert run(executor, "print(1)").output == "1\n"


def test_a_pool_on_a_server_works_like_a_local_one(gateway: LocalJupyterServer, tmp_path: Path) -> None:
    check_on_server(KernelPool(gateway, size=1, preload=["json"]), tmp_path)


def test_a_pool_in_a_container_shared_by_all_executors(base_image: str, tmp_path: Path) -> None:
    with DockerJupyterServer(base_image=base_image, bind_dir=tmp_path) as server:
        check_on_server(KernelPool(server, size=1), tmp_path)


def test_a_pool_in_a_container_for_one_directory(base_image: str, tmp_path: Path) -> None:
    with DockerJupyterServer(base_image=base_image) as server:
        check_on_server(KernelPool(server, size=1, output_dir=tmp_path), tmp_path)


def check_on_server(pool: KernelPool, directory: Path) -> None:
    """A pool starts kernels on a server, gives each to one executor in its directory, and replaces dead ones."""
    with pool:
        pool.fill()
        with JupyterCodeExecutor(pool, output_dir=directory / "work") as executor:
            assert (directory / "work").is_dir()
            result = run(executor, "x = 1\nopen('made.txt', 'w').write('here')\nimport os\nprint(os.getpid())")
            assert result.status == "ok", result.output
            assert (directory / "work" / "made.txt").read_text() == "here"
            assert result.output_files == [str(directory / "work" / "made.txt")]
            executor.restart()
            assert run(executor, "print('x' in dir())").output.endswith("False\n")
        pool.fill()
        (ready,) = pool._stock._idle
        ready.client._die("scripted")  # type: ignore[attr-defined]
        with JupyterCodeExecutor(pool, output_dir=directory / "work") as executor:
            assert run(executor, "print('alive')").output == "alive\n"
