"""Kernels from a fork server: what a fork must not share."""

from __future__ import annotations

import asyncio
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import psutil  # type: ignore[import-untyped,unused-ignore]
import pytest
from executors import install, kernel_pid, run
from reading import descendants, eventually, is_running

from nbtape import JupyterCodeExecutor, KernelPool, KernelStartError
from nbtape.kernels.local.forked import ForkedKernels

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.usefixtures("leaves_nothing")

if sys.platform == "win32":
    pytest.skip("Windows has no fork", allow_module_level=True)


@pytest.fixture
def forked() -> Iterator[Callable[..., ForkedKernels]]:
    """Return a factory for sources of forked kernels."""
    made: list[ForkedKernels] = []

    def make(*preload: str, must: bool = True, kernel_name: str = "python3", timeout: float = 60) -> ForkedKernels:
        made.append(ForkedKernels(kernel_name, preload, timeout, must=must))
        return made[-1]

    yield make
    for kernels in made:
        kernels.close()


@pytest.fixture
def module(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], str]:
    """Return a factory that writes a module for kernels to import and returns its name."""
    directory = tmp_path_factory.mktemp("modules")
    monkeypatch.setenv("PYTHONPATH", str(directory))

    def make(source: str) -> str:
        (directory / "preloaded.py").write_text(source)
        return "preloaded"

    return make


def parent_of(executor: JupyterCodeExecutor) -> int:
    return int(run(executor, "import os\nprint(os.getppid())").output.splitlines()[-1])


def said(executor: JupyterCodeExecutor, code: str) -> str:
    result = run(executor, code)
    assert result.status == "ok", result.output
    return result.output.strip()


def test_preloaded_modules_are_loaded_but_not_in_the_namespace(
    forked: Callable[..., ForkedKernels], module: Callable[[str], str], output_dir: Path
) -> None:
    name = module("import os\nwhere = os.getpid()\nprint('noise')")
    with JupyterCodeExecutor(forked(name), output_dir=output_dir) as executor:
        assert said(executor, "import sys\nprint('preloaded' in sys.modules, 'preloaded' in dir())") == "True False"
        assert said(executor, "import os, preloaded\nprint(preloaded.where == os.getppid())") == "True"


def test_forks_have_their_own_state_keys_and_random_numbers(
    forked: Callable[..., ForkedKernels], output_dir: Path
) -> None:
    source = forked("numpy")
    random = "import random, numpy, uuid\nprint(random.random(), numpy.random.random(), uuid.uuid4())"
    with (
        JupyterCodeExecutor(source, output_dir=output_dir) as one,
        JupyterCodeExecutor(source, output_dir=output_dir) as two,
    ):
        assert not set(said(one, random).split()) & set(said(two, random).split())
        run(one, "import math\nmath.pi = 3\nmine = 1")
        assert said(two, "import math\nprint(math.pi > 3, 'mine' in dir())") == "True False"
        key = "import ipykernel, json\nprint(json.load(open(ipykernel.get_connection_file()))['key'])"
        assert said(one, key) != said(two, key)
        assert parent_of(one) == parent_of(two) != os.getpid()


def test_linear_algebra_works_in_a_fork_of_a_parent_that_has_used_its_threads(
    forked: Callable[..., ForkedKernels], module: Callable[[str], str], output_dir: Path
) -> None:
    name = module("import numpy\nones = numpy.ones((400, 400))\nassert (ones @ ones).sum() == 400**3")
    with JupyterCodeExecutor(forked(name), output_dir=output_dir, timeout=30) as executor:
        code = "import preloaded\nprint(int((preloaded.ones @ preloaded.ones).sum()))"
        assert said(executor, code) == str(400**3)


def test_a_plot_with_preloaded_pyplot_is_shown(forked: Callable[..., ForkedKernels], output_dir: Path) -> None:
    with JupyterCodeExecutor(forked("matplotlib.pyplot"), output_dir=output_dir) as executor:
        result = run(executor, "import matplotlib.pyplot as plt\n_ = plt.plot([1, 2])")
        assert [Path(file).suffix for file in result.output_files] == [".png"]


def test_a_fork_shares_no_sockets_or_pipes_with_its_parent_or_siblings(
    forked: Callable[..., ForkedKernels], output_dir: Path
) -> None:
    source = forked()
    with (
        JupyterCodeExecutor(source, output_dir=output_dir) as one,
        JupyterCodeExecutor(source, output_dir=output_dir) as two,
    ):
        parent = psutil.Process(parent_of(two))
        kernel = psutil.Process(kernel_pid(two))
        sibling = psutil.Process(kernel_pid(one))
        for other in (parent, sibling):
            assert sockets(kernel) & sockets(other) == set()
        log = Path(f"/proc/{kernel.pid}/fd/1").resolve()
        assert log.name == "kernel.log"
        assert stat.S_IMODE(log.parent.stat().st_mode) & 0o077 == 0
        assert os.getpgid(kernel.pid) == os.getsid(kernel.pid) == kernel.pid


def sockets(process: psutil.Process) -> set[str]:
    """Return the open connections of a process, by their system names."""
    names = set()
    for descriptor in Path(f"/proc/{process.pid}/fd").iterdir():
        names.add(str(descriptor.readlink()))
    return {name for name in names if name.startswith(("socket", "pipe"))}


@pytest.mark.parametrize(
    ("source", "why"),
    [
        (
            "import threading\nthreading.Thread(target=threading.Event().wait, name='worker', daemon=True).start()",
            "worker",
        ),
        ("import socket\nkept = socket.socketpair()", "a socket or a pipe is open"),
    ],
)
def test_unsafe_preloads_are_not_forked(
    forked: Callable[..., ForkedKernels], module: Callable[[str], str], output_dir: Path, source: str, why: str
) -> None:
    name = module(source)
    executor = JupyterCodeExecutor(forked(name), output_dir=output_dir)
    with pytest.raises(KernelStartError, match=f"cannot be forked.*{why}.*fork=True"):
        executor.start()
    executor.stop()
    with JupyterCodeExecutor(forked(name, must=False), output_dir=output_dir) as executor:
        assert parent_of(executor) == os.getpid()


def test_a_kernel_with_a_start_script_is_started_and_not_forked(
    forked: Callable[..., ForkedKernels],
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
    output_dir: Path,
) -> None:
    jupyter_path = tmp_path_factory.mktemp("jupyter")
    monkeypatch.setenv("JUPYTER_PATH", str(jupyter_path))
    launcher = jupyter_path / "launch.sh"
    launcher.write_text(f'#!/bin/sh\nexec {sys.executable} -m ipykernel_launcher "$@"\n')
    launcher.chmod(0o755)
    name = install(jupyter_path, "scripted", [str(launcher), "-f", "{connection_file}"])
    with JupyterCodeExecutor(forked(must=False, kernel_name=name), output_dir=output_dir) as executor:
        assert parent_of(executor) == os.getpid()
    executor = JupyterCodeExecutor(forked(kernel_name=name), output_dir=output_dir)
    with pytest.raises(KernelStartError, match="python -m ipykernel_launcher"):
        executor.start()
    executor.stop()


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("raise RuntimeError('no luck today')", "preloaded cannot be imported: RuntimeError: no luck today"),
        ("import os\nprint('farewell', flush=True)\nos._exit(3)", "(?s)exited while importing.*farewell"),
        ("import time\ntime.sleep(600)", "not imported within 2 s"),
    ],
)
def test_imports_that_fail_or_hang_are_errors(
    forked: Callable[..., ForkedKernels], module: Callable[[str], str], output_dir: Path, source: str, why: str
) -> None:
    executor = JupyterCodeExecutor(forked(module(source), must=False, timeout=2), output_dir=output_dir)
    with pytest.raises(KernelStartError, match=why):
        executor.start()
    executor.stop()


def test_a_fork_server_that_dies_stops_its_kernels_and_is_replaced(
    forked: Callable[..., ForkedKernels], output_dir: Path
) -> None:
    with JupyterCodeExecutor(forked(), output_dir=output_dir) as executor:
        parent, kernel = parent_of(executor), kernel_pid(executor)
        os.kill(parent, signal.SIGKILL)
        assert eventually(lambda: not is_running(kernel))
        result = run(executor, "print('alive')")
        assert (result.status, result.output.endswith("alive\n")) == ("ok", True)
        assert "The kernel died" in result.output
        assert parent_of(executor) not in {parent, os.getpid()}


@pytest.mark.parametrize("when", ["idle", "stopped"])
def test_all_processes_exit_when_the_client_is_killed(output_dir: Path, when: str) -> None:
    code = (
        "from nbtape import CodeBlock, JupyterCodeExecutor, KernelPool\n"
        "pool = KernelPool(size=2)\n"
        "pool.fill()\n"
        "executor = JupyterCodeExecutor(pool)\n"
        "block = CodeBlock('import os; print(os.getpid())', 'python')\n"
        "print(executor.execute_code_blocks([block]).output, flush=True)\n"
        "input()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], cwd=output_dir, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        kernel = int(process.stdout.readline())
        started = descendants(process.pid)
        assert kernel in started
        if when == "stopped":
            os.kill(kernel, signal.SIGSTOP)
        process.kill()
        assert eventually(lambda: not any(map(is_running, started)))


def test_a_kernel_dropped_by_its_pool_is_still_reaped(output_dir: Path) -> None:
    pool = KernelPool(size=1)
    with JupyterCodeExecutor(pool, output_dir=output_dir) as executor:
        pool.stop()
        assert said(executor, "print('mine')") == "mine"
        pid = kernel_pid(executor)
        result = run(executor, "import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)\nimport time\ntime.sleep(9)")
        assert result.status == "kernel_died"
        assert "SIGSEGV" in result.output
        assert not is_running(pid)
        with pytest.raises(KernelStartError, match="was stopped"):
            run(executor, "1")


def test_many_kernels_can_be_forked_at_once(forked: Callable[..., ForkedKernels], output_dir: Path) -> None:
    async def one(source: ForkedKernels) -> int:
        manager = source.manager()
        await manager.start_kernel(cwd=output_dir)
        client = manager.client()
        client.start_channels()
        await client.wait_for_ready(60)
        client.stop_channels()
        await manager.shutdown_kernel(now=True)
        return 1

    async def all_of_them() -> int:
        source = forked()
        return sum(await asyncio.gather(*(one(source) for _ in range(8))))

    assert asyncio.run(all_of_them()) == 8
