"""Local kernels: what only a local process can guarantee."""

from __future__ import annotations

import gc
import os
import signal
import stat
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import psutil  # type: ignore[import-untyped,unused-ignore]
import pytest
from executors import check_fresh, install, kernel_pid, run
from jupyter_core.paths import jupyter_runtime_dir
from reading import code_cells, descendants, eventually, is_running

from nbtape import JupyterCodeExecutor, KernelStartError, OutputDirectoryError
from nbtape.kernels.local.manager import LocalKernels

if TYPE_CHECKING:
    from collections.abc import Callable


IPYKERNEL = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]


@pytest.fixture
def jupyter_path(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Create a directory for the kernel specs of a test."""
    path = tmp_path_factory.mktemp("jupyter")
    monkeypatch.setenv("JUPYTER_PATH", str(path))
    return path


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("{", "Expecting property name"),
        ("[]", ""),
        ('{"display_name": "x", "language": "python"}', "argv is missing"),
        ("[" * 100_000, ""),
    ],
)
def test_an_invalid_kernel_spec_is_named(content: str, why: str, jupyter_path: Path) -> None:
    path = jupyter_path / "kernels" / "broken" / "kernel.json"
    path.parent.mkdir(parents=True)
    path.write_text(content)
    with pytest.raises(
        KernelStartError, match=f"The kernel spec {path} is invalid: .*{why}.* Repair or remove the file."
    ):
        JupyterCodeExecutor(kernel_name="broken", output_dir=jupyter_path)


def test_a_provisioner_that_is_not_installed_is_named(jupyter_path: Path) -> None:
    stanza = {"kernel_provisioner": {"provisioner_name": "yarn-provisioner"}}
    name = install(jupyter_path, "Yarn", IPYKERNEL, metadata=stanza)
    path = jupyter_path / "kernels" / name / "kernel.json"
    with pytest.raises(
        KernelStartError, match=f"The kernel spec {path} needs the kernel provisioner yarn-provisioner, which is not"
    ):
        JupyterCodeExecutor(kernel_name=name, output_dir=jupyter_path)


def test_without_a_home_directory_the_error_names_the_variable_to_set(
    monkeypatch: pytest.MonkeyPatch, output_dir: Path
) -> None:
    def unknown(_: int) -> None:
        raise KeyError("no such user")

    monkeypatch.delenv("HOME")
    monkeypatch.setattr("pwd.getpwuid", unknown)
    with pytest.raises(KernelStartError, match=r"home directory\. Set HOME to a directory\.$"):
        JupyterCodeExecutor(output_dir=output_dir)


def check_descriptors(act: Callable[[], None]) -> None:
    """Check that repeating an action uses no more file descriptors than doing it once."""
    process = psutil.Process()
    act()
    gc.collect()
    once = process.num_fds()
    for _ in range(3):
        act()
    gc.collect()
    assert eventually(lambda: process.num_fds() <= once), f"{once} file descriptors became {process.num_fds()}"


@pytest.mark.parametrize("socket", ["manager._control_socket", "client.shell_channel.socket"])
def test_a_dropped_connection_does_not_block_the_garbage_collector(socket: str) -> None:
    """The collector visits them in random order; here the ZeroMQ context always comes before its socket."""
    code = (
        "import asyncio, gc, warnings\n"
        "from nbtape.kernels.local.manager import LocalKernels\n"
        "async def main():\n"
        "    manager = LocalKernels('python3').manager()\n"
        "    await manager.start_kernel(cwd=None)\n"
        "    client = manager.client()\n"
        "    client.start_channels()\n"
        "    manager._connect_control_socket()\n"  # as an interrupt does where it is a message
        f"    ring = [{socket}.context, {socket}]\n"
        "    ring.append(ring)\n"
        "    manager._control_socket = client._shell_channel = None\n"
        "    del manager._trait_values['context'], client._trait_values['context'], ring\n"
        "    gc.collect()\n"
        "    print('collected')\n"
        "    await manager.shutdown_kernel(now=True)\n"
        "asyncio.run(main())\n"
    )
    command = [sys.executable, "-W", "ignore", "-c", code]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=30)
    assert done.stdout == "collected\n"


@pytest.mark.usefixtures("leaves_nothing")
class TestProcesses:
    """Every started process is stopped, and every exit is noticed."""

    def test_a_source_can_be_given(self, output_dir: Path) -> None:
        with JupyterCodeExecutor(LocalKernels("python3"), output_dir=output_dir) as executor:
            assert run(executor, "print(1)").output == "1\n"

    def test_a_timeout_keeps_variables_although_the_caller_blocks_sigint(self, output_dir: Path) -> None:
        outputs = []

        def act() -> None:
            signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
            with JupyterCodeExecutor(output_dir=output_dir, timeout=1) as executor:
                outputs.append(run(executor, "x = 1\nimport time\ntime.sleep(60)").output)
                outputs.append(run(executor, "print(x)").output)

        thread = threading.Thread(target=act)
        thread.start()
        thread.join()
        assert "Timeout" in outputs[0]
        assert "Variables are kept." in outputs[0]
        assert outputs[1] == "1\n"

    def test_a_stop_leaves_only_the_notebook(self, output_dir: Path, temp_dir: Path) -> None:
        runtime = _files(Path(jupyter_runtime_dir()))
        before, threads = descendants(), set(threading.enumerate())
        with JupyterCodeExecutor(output_dir=output_dir) as executor:
            pid = kernel_pid(executor)
            assert is_running(pid)
            assert len(list(temp_dir.glob("nbtape-*"))) == 1
        assert not is_running(pid)
        assert descendants() == before
        assert list(temp_dir.glob("nbtape-*")) == []
        assert _files(output_dir) == {"session.ipynb"}
        assert _files(Path(jupyter_runtime_dir())) == runtime
        assert set(threading.enumerate()) == threads

    def test_a_stop_kills_processes_that_the_code_left_running(self, output_dir: Path) -> None:
        with JupyterCodeExecutor(output_dir=output_dir) as executor:
            result = run(executor, "import subprocess\nprint(subprocess.Popen(['sleep', '600']).pid)")
            left = int(result.output)
            assert is_running(left)
        assert eventually(lambda: not is_running(left))

    def test_stopped_executors_leave_no_file_descriptors(self, output_dir: Path) -> None:
        def come_and_go() -> None:
            with JupyterCodeExecutor(output_dir=output_dir) as executor:
                run(executor, "1")

        check_descriptors(come_and_go)

    def test_restarts_leave_no_file_descriptors(self, output_dir: Path) -> None:
        with JupyterCodeExecutor(output_dir=output_dir) as executor:

            def restart() -> None:
                executor.restart()
                run(executor, "1")

            check_descriptors(restart)

    @pytest.mark.parametrize("sign", [signal.SIGKILL, signal.SIGTERM])
    def test_a_kernel_that_dies_while_idle_is_replaced_and_the_next_block_reports_it(
        self, output_dir: Path, sign: signal.Signals
    ) -> None:
        with JupyterCodeExecutor(output_dir=output_dir) as executor:
            run(executor, "x = 1")
            pid = kernel_pid(executor)
            os.kill(pid, sign)
            # Its parent can learn of its exit shortly after it becomes a zombie: its other threads exit first.
            assert eventually(lambda: os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT))
            result = run(executor, "print('x' in globals())")
            assert (result.status, result.kernel_epoch) == ("ok", 2)
            assert result.output.endswith("\nFalse\n")
            assert "kernel died since the last block" in result.output
            assert "variables of earlier blocks are gone" in result.output

    def test_the_cause_of_a_death_is_named(self, output_dir: Path) -> None:
        with JupyterCodeExecutor(output_dir=output_dir) as executor:
            result = run(executor, "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)")
            assert "SIGKILL" in result.output
            assert "out of memory" in result.output
            result = run(executor, "import os\nos.write(2, b'last words\\n')\nos._exit(3)")
            assert "exited with code 3" in result.output
            assert "last words" in result.output

    def test_a_crash_in_native_code_is_a_dead_kernel(self, output_dir: Path) -> None:
        with JupyterCodeExecutor(output_dir=output_dir) as executor:
            result = run(executor, "import ctypes\nctypes.string_at(0)")
            assert (result.status, result.exit_code) == ("kernel_died", 137)
            assert "SIGSEGV" in result.output
            check_fresh(executor)

    def test_a_block_that_killed_its_kernel_is_not_run_again(self, output_dir: Path) -> None:
        with JupyterCodeExecutor(output_dir=output_dir) as executor:
            code = "import os, signal\nopen('ran', 'a').write('once ')\nos.kill(os.getpid(), signal.SIGKILL)"
            run(executor, code)
            run(executor, "1")
        assert (output_dir / "ran").read_text() == "once "

    def test_an_exit_handler_of_the_code_runs_at_the_stop(self, output_dir: Path) -> None:
        with JupyterCodeExecutor(output_dir=output_dir) as executor:
            run(executor, "import atexit\natexit.register(lambda: open('farewell', 'w').write('done'))")
        assert (output_dir / "farewell").read_text() == "done"

    def test_a_stop_does_not_wait_for_code_that_never_finishes(self, output_dir: Path) -> None:
        executor = JupyterCodeExecutor(output_dir=output_dir)
        run(executor, "import atexit, time\natexit.register(time.sleep, 600)")
        stopper = threading.Thread(target=executor.stop)
        stopper.start()
        stopper.join(20)
        assert not stopper.is_alive()


@pytest.mark.usefixtures("leaves_nothing")
class TestPlace:
    """Where the kernel works, and which files are there."""

    def test_the_kernel_works_in_the_output_directory(self, tmp_path: Path) -> None:
        directory = tmp_path / "größe 你好"
        with JupyterCodeExecutor(output_dir=directory) as executor:
            result = run(executor, "open('data.csv', 'w').write('1')\nimport os\nprint(os.getcwd())")
        assert result.output == f"{directory}\n"
        assert result.output_files == [str(directory / "data.csv")]

    def test_the_sockets_are_accessible_only_to_the_user(self, output_dir: Path, temp_dir: Path) -> None:
        with JupyterCodeExecutor(output_dir=output_dir):
            (directory,) = temp_dir.glob("nbtape-*")
            assert stat.S_IMODE(directory.stat().st_mode) & 0o077 == 0

    def test_a_long_temporary_directory_works(
        self, output_dir: Path, temp_dir: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        deep = temp_dir / ("d" * 120)  # the path of a unix socket has at most 107 bytes, on macOS 103
        deep.mkdir()
        monkeypatch.setenv("TMPDIR", str(deep))
        monkeypatch.setattr("tempfile.tempdir", None)
        with JupyterCodeExecutor(output_dir=output_dir, startup_timeout=20) as executor:
            assert run(executor, "print(1)").output == "1\n"
        assert list(deep.iterdir()) == []

    def test_a_current_directory_that_was_removed_is_an_error_that_says_so(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "gone").mkdir()
        monkeypatch.chdir(tmp_path / "gone")
        (tmp_path / "gone").rmdir()
        with pytest.raises(OutputDirectoryError, match=r"the current directory was removed\. Use an absolute path\."):
            JupyterCodeExecutor(output_dir="coding")
        executor = JupyterCodeExecutor(output_dir=tmp_path)
        with pytest.raises(KernelStartError, match=r"the current directory of this process was removed"):
            executor.start()
        executor.stop()

    def test_the_output_directory_can_be_relative(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        with JupyterCodeExecutor(output_dir="coding") as executor:
            monkeypatch.chdir("/")
            run(executor, "print(1)")
        assert executor.notebook == tmp_path / "coding" / "session.ipynb"
        assert len(code_cells(executor.notebook)) == 1


@pytest.mark.usefixtures("leaves_nothing")
class TestKernelSpecs:
    """Every kernel spec that Jupyter finds, including broken ones."""

    @pytest.mark.parametrize("when", ["at the start", "at the first use"])
    def test_a_kernel_that_dies_while_it_starts_is_an_error_with_its_last_output(
        self, jupyter_path: Path, output_dir: Path, when: str
    ) -> None:
        name = install(jupyter_path, "unlucky", ["sh", "-c", "echo no luck today >&2; exit 3"])
        executor = JupyterCodeExecutor(kernel_name=name, output_dir=output_dir)
        try:
            with pytest.raises(KernelStartError, match=r"(?s)exited with code 3.*no luck today"):
                executor.start() if when == "at the start" else run(executor, "1")
        finally:
            executor.stop()
        assert _files(output_dir) == set()

    def test_a_with_block_whose_kernel_cannot_start_leaves_nothing(self, jupyter_path: Path, output_dir: Path) -> None:
        executor = JupyterCodeExecutor(kernel_name=install(jupyter_path, "false", ["false"]), output_dir=output_dir)
        with pytest.raises(KernelStartError), executor:
            pytest.fail("there is no kernel")

    def test_a_kernel_with_a_missing_program_is_an_error_that_names_it(
        self, jupyter_path: Path, output_dir: Path
    ) -> None:
        name = install(jupyter_path, "lost", ["/no/such/program", "{connection_file}"])
        executor = JupyterCodeExecutor(kernel_name=name, output_dir=output_dir)
        try:
            with pytest.raises(KernelStartError, match=r"lost.*/no/such/program.* Check /.*/lost/kernel\.json\.$"):
                executor.start()
        finally:
            executor.stop()

    def test_a_kernel_that_never_answers_is_an_error_after_the_startup_timeout(
        self, jupyter_path: Path, output_dir: Path
    ) -> None:
        name = install(jupyter_path, "silent", ["sleep", "600"])
        executor = JupyterCodeExecutor(kernel_name=name, output_dir=output_dir, startup_timeout=1)
        try:
            with pytest.raises(KernelStartError, match=r"did not answer within 1 s"):
                executor.start()
        finally:
            executor.stop()

    def test_a_failed_start_can_be_repeated(self, jupyter_path: Path, output_dir: Path) -> None:
        wanted = output_dir / "wanted"
        script = f'test -e "{wanted}" || exit 3; exec {sys.executable} -m ipykernel_launcher -f "$1"'
        name = install(jupyter_path, "moody", ["sh", "-c", script, "sh", "{connection_file}"])
        executor = JupyterCodeExecutor(kernel_name=name, output_dir=output_dir)
        try:
            with pytest.raises(KernelStartError):
                run(executor, "print(1)")
            wanted.touch()
            assert run(executor, "print(1)").output == "1\n"
        finally:
            executor.stop()

    def test_a_kernel_with_a_start_script_is_reached_over_tcp(self, jupyter_path: Path, output_dir: Path) -> None:
        launcher = jupyter_path / "launch.sh"
        launcher.write_text(f'#!/bin/sh\nexec {sys.executable} -m ipykernel_launcher "$@"\n')
        launcher.chmod(0o755)
        name = install(jupyter_path, "scripted", [str(launcher), "-f", "{connection_file}"])
        with JupyterCodeExecutor(kernel_name=name, output_dir=output_dir, timeout=1) as executor:
            assert run(executor, "print(1)").output == "1\n"
            assert run(executor, "import time\ntime.sleep(60)").status == "timeout"
            assert run(executor, "print(2)").output == "2\n"

    def test_a_kernel_with_message_interrupts_can_be_interrupted(self, jupyter_path: Path, output_dir: Path) -> None:
        name = install(jupyter_path, "polite", IPYKERNEL, interrupt_mode="message")
        with JupyterCodeExecutor(kernel_name=name, output_dir=output_dir, timeout=1) as executor:
            run(executor, "kept = 7")
            result = run(executor, "print('before')\nimport time\ntime.sleep(60)")
            assert result.status == "timeout"
            assert result.output.startswith("before\n")
            assert run(executor, "print(kept)").output == "7\n"

    def test_the_kernel_gets_the_environment_of_its_spec(self, jupyter_path: Path, output_dir: Path) -> None:
        name = install(jupyter_path, "set", IPYKERNEL, env={"FLAVOUR": "salt"})
        with JupyterCodeExecutor(kernel_name=name, output_dir=output_dir) as executor:
            assert run(executor, "import os\nprint(os.environ['FLAVOUR'])").output == "salt\n"


def _files(directory: Path) -> set[str]:
    return {path.name for path in directory.iterdir()} if directory.is_dir() else set()
