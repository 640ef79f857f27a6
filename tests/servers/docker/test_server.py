"""Servers in containers, on a real engine: isolation, ownership of files, and cleanup."""

from __future__ import annotations

import contextlib
import dataclasses
import gc
import math
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import docker
import docker.errors
import psutil  # type: ignore[import-untyped,unused-ignore]
import pytest
from executors import Signal, blocks, check_fresh, run
from jupyter_servers import ask, kernels_of
from reading import code_cells, eventually, image_tags, read_notebook, seconds, stream_text

from nbtape import (
    DockerJupyterServer,
    JupyterCodeExecutor,
    JupyterConnectionInfo,
    KernelNotInstalledError,
    ServerError,
)
from nbtape.servers.docker.engine import LABEL, OWNER_LABEL

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from docker.models.containers import Container

pytestmark = pytest.mark.usefixtures("leaves_nothing", "leaves_no_container")

ROOT = Path(__file__).parents[3]

#: A container must stop within this number of seconds.
PROMPTLY = 2.0


class Make:
    """Makes servers on the base image of the tests, and stops them."""

    def __init__(self, base_image: str, stack: contextlib.ExitStack) -> None:
        self._base_image = base_image
        self._stack = stack

    def __call__(self, **options: Any) -> DockerJupyterServer:
        if "custom_image_name" not in options:
            options.setdefault("base_image", self._base_image)
        server = DockerJupyterServer(**options)
        self._stack.callback(server.stop)
        return server


@pytest.fixture
def leaves_no_container(docker_client: docker.DockerClient) -> Iterator[None]:
    """Fail a test that leaves a container of nbtape behind."""
    before = names(docker_client)
    yield
    assert eventually(lambda: names(docker_client) <= before), names(docker_client) - before


def names(client: docker.DockerClient) -> set[str]:
    """The names of all containers of nbtape from this run, in any state. Other tests may run at the same time."""
    containers = client.api.containers(all=True, filters={"label": LABEL})
    return {str(found["Names"][0]) for found in containers if is_of_this_run(found["Labels"].get(OWNER_LABEL, ""))}


def is_of_this_run(owner: str) -> bool:
    """Whether a container belongs to this process, to a child process, or to a process that has exited."""
    pid = owner.rpartition("/")[2]
    try:
        process = psutil.Process(int(pid))
    except (ValueError, psutil.NoSuchProcess):
        return True
    return os.getpid() in {process.pid, *(parent.pid for parent in process.parents())}


@pytest.fixture
def make(base_image: str, leaves_nothing: None, leaves_no_container: None) -> Iterator[Make]:
    del leaves_nothing, leaves_no_container  # Requested first so that they are checked last.
    with contextlib.ExitStack() as stack:
        yield Make(base_image, stack)


def container_of(client: docker.DockerClient, executor: JupyterCodeExecutor) -> Any:
    """The container that runs an executor's kernel."""
    name = run(executor, "import socket\nprint(socket.gethostname())").output.splitlines()[-1]
    return client.containers.get(name)


class TestValues:
    """A constructor stores and checks its arguments, and starts nothing."""

    def test_a_constructor_does_not_contact_the_engine(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")
        DockerJupyterServer().stop()

    def test_a_server_that_was_never_started_can_be_stopped_and_used(self, make: Make, output_dir: Path) -> None:
        server = make()
        server.stop()
        with JupyterCodeExecutor(server, output_dir=output_dir) as executor:
            assert run(executor, "print(1)").output == "1\n"

    @pytest.mark.parametrize(
        "options",
        [
            {"token": ""},
            {"token": "two\nlines"},
            {"memory": "lots"},
            {"memory": "infg"},
            {"memory": math.nan},
            {"memory": "1k"},
            {"cpus": 0},
            {"pids": 0},
            {"bind_dir": "/no/such/directory"},
            {"network": "host"},
            {"network": "container:other"},
            {"network": "none", "stop_container": False},
            {"custom_image_name": "theirs", "base_image": "python:3.12-slim"},
        ],
        ids=str,
    )
    def test_invalid_arguments_are_rejected(self, options: dict[str, Any]) -> None:
        with pytest.raises(ValueError, match=r"."):
            DockerJupyterServer(**options)

    def test_a_rejected_token_is_not_shown(self) -> None:
        with pytest.raises(ValueError, match="token") as refused:
            DockerJupyterServer(token="se\nsame")
        assert "same" not in str(refused.value)


class TestEngine:
    """Faults of the engine are reported, and no code ever runs locally instead."""

    # After a failed connection docker-py leaves the socket open.
    @pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore:unclosed:ResourceWarning")
    def test_a_missing_engine_is_reported(self, output_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")
        executor = JupyterCodeExecutor(DockerJupyterServer(), output_dir=output_dir)
        with pytest.raises(ServerError, match=r"No Docker engine answers at unix:///nowhere.*Install.*No code was run"):
            executor.execute_code_blocks(blocks("open('ran', 'w')"))
        executor.stop()
        gc.collect()
        assert not (output_dir / "ran").exists()

    def test_a_missing_permission_on_the_socket_is_reported(self, tmp_path: Path) -> None:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(tmp_path / "docker.sock"))
            listener.listen()
            (tmp_path / "docker.sock").chmod(0o600)
            code = (
                "from nbtape import DockerJupyterServer, ServerError\n"
                "try:\n    DockerJupyterServer().start()\nexcept ServerError as exc:\n    print(exc)"
            )
            said = python(code, as_user=12345, DOCKER_HOST=f"unix://{tmp_path}/docker.sock")
        assert "no permission to use the Docker engine" in said
        assert "group" in said

    def test_a_base_image_that_cannot_be_pulled_is_reported(self, make: Make) -> None:
        server = make(base_image="127.0.0.1:9/nbtape/none:1")
        with pytest.raises(
            ServerError, match=r"^Cannot pull the base image .*nbtape/none:1: 127.0.0.1 cannot be reached.*base_image="
        ):
            server.start()

    def test_a_missing_image_is_reported(self, make: Make, output_dir: Path) -> None:
        executor = JupyterCodeExecutor(make(custom_image_name="nbtape-no-such:1"), output_dir=output_dir)
        with pytest.raises(ServerError, match="nbtape-no-such:1"):
            executor.start()
        executor.stop()

    def test_a_missing_network_is_reported(self, make: Make, output_dir: Path) -> None:
        executor = JupyterCodeExecutor(make(network="nbtape-no-such"), output_dir=output_dir)
        with pytest.raises(ServerError, match="nbtape-no-such"):
            executor.start()
        executor.stop()

    def test_a_container_name_in_use_is_reported(self, make: Make, tmp_path: Path) -> None:
        first = make(container_name="nbtape-taken", bind_dir=tmp_path)
        first.start()
        second = make(container_name="nbtape-taken", bind_dir=tmp_path)
        with pytest.raises(ServerError, match=r"nbtape-taken.*in use"):
            second.start()
        first.stop()
        second.start()

    def test_several_executors_share_the_name_with_numbers(
        self, make: Make, tmp_path: Path, docker_client: docker.DockerClient
    ) -> None:
        server = make(container_name="nbtape-several")
        directories = [tmp_path / "one", tmp_path / "other"]
        with contextlib.ExitStack() as stack:
            for directory in directories:
                directory.mkdir()
                executor = stack.enter_context(JupyterCodeExecutor(server, output_dir=directory))
                assert run(executor, "print(1)").output == "1\n"
            assert {name for name in names(docker_client) if "several" in name} == {
                "/nbtape-several",
                "/nbtape-several-2",
            }
            info = server.connection_info
            assert info == server.for_directory(directories[0]).connection_info
            assert "python3" in ask(info, "kernelspecs").json()["kernelspecs"]
        server.stop()
        server.start()
        with JupyterCodeExecutor(server, output_dir=directories[1]) as executor:
            assert container_of(docker_client, executor).name == "nbtape-several"

    def test_a_failed_start_without_network_leaves_no_directory(
        self, make: Make, tmp_path: Path, temp_dir: Path
    ) -> None:
        make(container_name="nbtape-taken", bind_dir=tmp_path).start()
        with pytest.raises(ServerError, match=r"nbtape-taken.*in use"):
            make(container_name="nbtape-taken", bind_dir=tmp_path, network="none").start()
        assert list(temp_dir.glob("nbtape-*")) == []

    def test_host_and_port_are_those_of_a_remote_engine(
        self, make: Make, output_dir: Path, docker_client: docker.DockerClient, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        gateway = bridge_address(docker_client)
        with Relay(gateway, "/var/run/docker.sock") as relay:
            monkeypatch.setenv("DOCKER_HOST", f"tcp://{gateway}:{relay.port}")
            server = make()
            with JupyterCodeExecutor(server, output_dir=output_dir) as executor:
                assert run(executor, "open('there', 'w').write('x')\nprint(1)").output == "1\n"
                container = container_of(docker_client, executor)
                ((published,),) = container.attrs["NetworkSettings"]["Ports"].values()
                assert published["HostIp"] == gateway
                assert container.attrs["Mounts"] == []
            server.stop()
        # The engine may be on another host, so local files are not mounted.
        assert not (output_dir / "there").exists()


class TestImage:
    """nbtape's own image is built once, when it is needed."""

    def test_the_image_is_built_once_with_progress(
        self, make: Make, docker_client: docker.DockerClient, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        changed = DockerJupyterServer.DEFAULT_DOCKERFILE + f"\nLABEL nbtape.test={time.time()}\n"
        monkeypatch.setattr("nbtape.servers.docker.image.DEFAULT_DOCKERFILE", changed)
        before = image_tags(docker_client)
        said: list[str] = []
        make(on_progress=said.append).start()
        (tag,) = image_tags(docker_client) - before
        try:
            assert any(line.startswith("Step 2/") for line in said)
            said.clear()
            assert seconds(make(on_progress=said.append).start) < 2
            assert said == []
        finally:
            docker_client.images.remove(tag)

    def test_the_default_dockerfile_matches_the_repository(self) -> None:
        assert (ROOT / "docker" / "Dockerfile").read_text() == DockerJupyterServer.DEFAULT_DOCKERFILE

    @pytest.mark.full  # builds two images
    def test_images_can_be_built_by_hand_from_the_dockerfiles(
        self, make: Make, image: MakeImage, base_image: str, output_dir: Path
    ) -> None:
        kernel = image.build(ROOT / "docker/Dockerfile", ROOT / "src", BASE_IMAGE=base_image)
        science = image.build(ROOT / "docker/Dockerfile.science", ROOT / "docker", KERNEL_IMAGE=kernel)
        plot = "import pandas\nimport matplotlib.pyplot\npandas.Series([1, 3, 2]).plot()\nmatplotlib.pyplot.show()"
        with JupyterCodeExecutor(make(custom_image_name=science, network="none"), output_dir=output_dir) as executor:
            result = run(executor, plot)
        assert result.status == "ok", result.output
        assert [Path(file).name for file in result.output_files] == ["session_1_0.png"]

    def test_a_failed_build_shows_its_last_output(self, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
        broken = DockerJupyterServer.DEFAULT_DOCKERFILE + "\nRUN echo no luck today && exit 3\n"
        monkeypatch.setattr("nbtape.servers.docker.image.DEFAULT_DOCKERFILE", broken)
        with pytest.raises(ServerError, match=r"(?s)could not be built.*no luck today"):
            make().start()


class TestIsolation:
    """Each restriction is tested from inside."""

    @pytest.fixture
    def executor(self, make: Make, output_dir: Path) -> Iterator[JupyterCodeExecutor]:
        with JupyterCodeExecutor(make(memory="512m", pids=128), output_dir=output_dir, timeout=60) as executor:
            yield executor

    def test_the_code_has_no_capabilities_and_gains_none(self, executor: JupyterCodeExecutor) -> None:
        status = run(executor, "print(open('/proc/self/status').read())").output
        told = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
        assert {told[name] for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {"0" * 16}
        assert told["NoNewPrivs"] == "1"
        tries = [
            "os.chown('.', 1, 1)",
            "os.mknod('device', 0o20600, 259)",
            "socket.socket(type=socket.SOCK_RAW, proto=1)",
        ]
        for attempt in tries:
            assert "PermissionError" in run(executor, f"import os, socket\n{attempt}").output, attempt

    @pytest.mark.parametrize("mode", ["0o4755", "0o2755", "0o6777"])
    def test_no_file_can_get_a_set_user_id_bit(
        self, mode: str, executor: JupyterCodeExecutor, output_dir: Path
    ) -> None:
        tries = [
            f"shutil.copy('/bin/sh', 'a')\nos.chmod('a', {mode})",
            f"os.fchmod(os.open('a', os.O_RDONLY), {mode})",
            f"os.chmod(os.path.basename('a'), {mode}, dir_fd=os.open('.', os.O_RDONLY))",
            f"os.open('b', os.O_CREAT | os.O_WRONLY, {mode})",
            f"os.open('.', os.O_TMPFILE | os.O_RDWR, {mode})",
            f"os.mknod('c', {mode} | stat.S_IFREG)",
            f"libc = ctypes.CDLL(None, use_errno=True)\nlibc.creat(b'd', {mode}) < 0 and os.unlink('none')",
            f"libc.syscall(452, -100, b'a', {mode}, 0) < 0 and os.unlink('none')",
            "libc.syscall(425, 1, bytes(120)) < 0 and os.unlink('none')  # io_uring_setup: it could open files",
            "libc.syscall(437, -100, b'a', bytes(24), 24) < 0 and os.unlink('none')  # openat2",
            "os.setxattr('a', 'security.capability', bytes(20))",
            f"subprocess.run(['chmod', '{mode[2:]}', 'a'], check=True)",
        ]
        for attempt in tries:
            result = run(executor, f"import ctypes, os, shutil, stat, subprocess\n{attempt}")
            assert result.status == "error", attempt
        assert run(executor, "os.chmod('a', 0o1755)\nos.mkfifo('e')\nos.mkdir('f', 0o777)").status == "ok"
        found = [path.lstat() for path in output_dir.rglob("*")]
        assert len(found) >= 4
        assert not any(status.st_mode & 0o6000 for status in found)

    def test_the_code_never_runs_as_root(self, make: Make, output_dir: Path, image: MakeImage) -> None:
        with JupyterCodeExecutor(make(), output_dir=output_dir) as executor:
            assert run(executor, "import os\nprint(os.getuid() == 0, open('x', 'w').write('x'))").output == "False 1\n"
        assert 0 not in {(output_dir / "x").stat().st_uid, (output_dir / "x").stat().st_gid}
        for options in ({"user": "0:0"}, {"user": "0"}, {"custom_image_name": image("USER root"), "user": ""}):
            with (
                pytest.raises(ServerError, match="would run as root"),
                JupyterCodeExecutor(make(**options), output_dir=output_dir) as executor,
            ):
                run(executor, "1")

    def test_the_container_log_is_bounded_and_read(
        self, make: Make, output_dir: Path, docker_client: docker.DockerClient
    ) -> None:
        flood = (
            "import os\nline = b'x' * 9999 + b'\\n'\nlog = os.open('/proc/1/fd/1', os.O_WRONLY)\n"
            "for _ in range(3000):\n    os.write(log, line)\nos.write(log, b'the end')"
        )
        with JupyterCodeExecutor(make(), output_dir=output_dir) as executor:
            container = container_of(docker_client, executor)
            assert run(executor, flood).status == "ok"
            assert len(container.logs()) < 3_000_000
            assert container.attrs["HostConfig"]["LogConfig"]["Config"] == {"max-size": "1m", "max-file": "2"}
            server = executor._session._source.server  # type: ignore[attr-defined]
            assert eventually(lambda: "the end" in server._container._logs.last())

    def test_the_cpu_limit_applies(self, make: Make, output_dir: Path) -> None:
        burn = (
            "import time\nbegan, used = time.monotonic(), time.process_time()\n"
            "while time.monotonic() - began < 2:\n    pass\nprint((time.process_time() - used) / 2 < 0.4)"
        )
        with JupyterCodeExecutor(make(cpus=0.25), output_dir=output_dir) as executor:
            assert run(executor, burn).output == "True\n"

    def test_the_memory_limit_may_be_a_fraction(
        self, make: Make, output_dir: Path, docker_client: docker.DockerClient
    ) -> None:
        with JupyterCodeExecutor(make(memory="1.5g"), output_dir=output_dir) as executor:
            assert container_of(docker_client, executor).attrs["HostConfig"]["Memory"] == 3 << 29

    def test_code_in_one_container_cannot_use_the_server_in_another(
        self, make: Make, tmp_path: Path, docker_client: docker.DockerClient
    ) -> None:
        server = make()
        one, two = (JupyterCodeExecutor(server, output_dir=tmp_path / name) for name in ("one", "two"))
        with one, two:
            address = container_of(docker_client, two).attrs["NetworkSettings"]["IPAddress"]
            ask_kernels = (
                "import urllib.request\n"
                "token = open('/proc/1/environ').read().partition('TOKEN=')[2].partition(chr(0))[0]\n"
                f"request = urllib.request.Request('http://{address}:8888/api/kernels')\n"
                "request.add_header('Authorization', 'token ' + token)\n"
                "urllib.request.urlopen(request, timeout=5)"
            )
            # Another container can be reached, but rejects the request without its own token.
            assert "HTTPError: HTTP Error 40" in run(one, ask_kernels).output
            assert run(two, ask_kernels).status == "ok"

    def test_the_root_file_system_is_read_only(self, executor: JupyterCodeExecutor) -> None:
        for path in ("/opt/x", "/etc/x", "/usr/bin/x", "/opt/kernel/x", "/opt/nbtape/nbtape/x"):
            result = run(executor, f"open({path!r}, 'w')")
            assert (result.status, "Read-only file system" in result.output) == ("error", True), path

    def test_files_of_the_host_are_not_visible(
        self, executor: JupyterCodeExecutor, tmp_path_factory: pytest.TempPathFactory, output_dir: Path
    ) -> None:
        secret = tmp_path_factory.mktemp("secret") / "key"
        secret.write_text("sesame")
        assert "FileNotFoundError" in run(executor, f"open({str(secret)!r})").output
        (output_dir / "link").symlink_to(secret)
        assert "FileNotFoundError" in run(executor, "open('link')").output
        # The engine's socket, which would give the code root on the host, is not there either.
        assert run(executor, "import os\nprint(os.path.exists('/var/run/docker.sock'))").output == "False\n"

    def test_a_fork_bomb_is_contained(self, executor: JupyterCodeExecutor) -> None:
        bomb = (
            "import os, time, warnings\nwarnings.simplefilter('ignore')  # fork() beside threads\nchildren = []\n"
            "try:\n    while True:\n        child = os.fork()\n        if not child:\n"
            "            time.sleep(60)\n            os._exit(0)\n        children.append(child)\n"
            "except BlockingIOError:\n    print(len(children) < 128)\n"
            "finally:\n    [os.kill(child, 9) for child in children]\n    [os.waitpid(child, 0) for child in children]"
        )
        assert run(executor, bomb).output == "True\n"
        assert run(executor, "print('alive')").output == "alive\n"

    @pytest.mark.fault("out of memory (the container's bound)", kind="container")
    def test_running_out_of_memory_is_reported_with_the_limit(self, make: Make, output_dir: Path) -> None:
        heard = Signal(output_dir / "heard", "/workspace")
        with JupyterCodeExecutor(make(memory="512m"), output_dir=output_dir, on_output=heard.give) as executor:
            result = run(
                executor, f"print('before', flush=True)\n{heard.wait}\nhog = bytearray(1 << 30)\nprint(len(hog))"
            )
            assert result.status == "kernel_died"
            assert result.output.startswith("before\n")
            assert "out of memory" in result.output
            assert "512 MiB" in result.output
            check_fresh(executor)

    def test_a_full_disk_is_an_error_in_the_code(self, make: Make, output_dir: Path) -> None:
        fill = "with open('/tmp/fill', 'wb') as file:\n    while True:\n        file.write(bytes(1 << 20))"
        with JupyterCodeExecutor(make(), output_dir=output_dir) as executor:
            full = run(executor, "print('before')\n" + fill)
            assert (full.status, "No space left on device" in full.output) == ("error", True)
            assert run(executor, "import os\nos.remove('/tmp/fill')\nprint('alive')").output == "alive\n"

    def test_the_port_is_published_on_loopback_only(
        self, executor: JupyterCodeExecutor, docker_client: docker.DockerClient, other_host: OtherHost
    ) -> None:
        container = container_of(docker_client, executor)
        ((published,),) = container.attrs["NetworkSettings"]["Ports"].values()
        assert published["HostIp"] == "127.0.0.1"
        for address in (other_host.ours, *addresses()):
            assert not other_host.reaches(address, int(published["HostPort"])), address

    def test_the_token_is_not_on_a_command_line_or_in_a_log(
        self, executor: JupyterCodeExecutor, docker_client: docker.DockerClient
    ) -> None:
        container = container_of(docker_client, executor)
        token = next(entry for entry in container.attrs["Config"]["Env"] if entry.startswith("KG_AUTH_TOKEN="))[14:]
        assert len(token) > 30
        assert token not in str(container.top())
        assert token not in str([container.attrs["Path"], container.attrs["Args"]])
        assert token not in container.logs().decode()
        assert token not in executor.notebook.read_text()

    def test_network_none_has_no_network(
        self, make: Make, output_dir: Path, docker_client: docker.DockerClient, tmp_path_factory: pytest.TempPathFactory
    ) -> None:
        with socket.create_server((bridge_address(docker_client), 0)) as listener:
            address = listener.getsockname()
            reach = f"import socket\nsocket.create_connection({address!r}, 2)\nprint('reached')"
            with JupyterCodeExecutor(make(), output_dir=output_dir) as executor:
                assert run(executor, reach).output == "reached\n"  # It is reachable with a network.
            elsewhere = tmp_path_factory.mktemp("elsewhere")
            with JupyterCodeExecutor(make(network="none"), output_dir=elsewhere) as executor:
                assert "Network is unreachable" in run(executor, reach).output
                assert run(executor, "import os\nprint(os.listdir('/sys/class/net'))").output == "['lo']\n"
                run(executor, "open('x', 'w')")
                assert container_of(docker_client, executor).attrs["NetworkSettings"]["Ports"] == {}
        assert (elsewhere / "x").exists()

    def test_a_socket_replaced_by_the_code_is_not_used(
        self, make: Make, output_dir: Path, tmp_path_factory: pytest.TempPathFactory
    ) -> None:
        bait = tmp_path_factory.mktemp("bait") / "socket"
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(bait))
            listener.listen()
            listener.settimeout(0)
            with JupyterCodeExecutor(make(network="none"), output_dir=output_dir) as executor:
                swap = f"os.remove('/run/nbtape/socket')\nos.symlink({str(bait)!r}, '/run/nbtape/socket')"
                assert run(executor, f"import os\n{swap}").status == "ok"
                executor.restart()
                assert run(executor, "print('alive')").output.endswith("alive\n")
            with pytest.raises(BlockingIOError):
                listener.accept()


class TestFiles:
    """Files written by the code are stored locally, with the right owner."""

    def test_the_kernel_works_in_the_output_directory(self, make: Make, output_dir: Path) -> None:
        (output_dir / "input.csv").write_text("a,b\n")
        with JupyterCodeExecutor(make(), output_dir=output_dir) as executor:
            result = run(executor, "text = open('input.csv').read()\nopen('output.csv', 'w').write(text * 2)")
        assert result.output_files == [str(output_dir / "output.csv")]
        assert (output_dir / "output.csv").read_text() == "a,b\na,b\n"
        assert read_notebook(executor.notebook)["metadata"]["nbtape"]["directory"] == "."

    def test_executors_with_different_directories_do_not_see_each_other(
        self, make: Make, tmp_path: Path, docker_client: docker.DockerClient
    ) -> None:
        server = make()
        one, two, three = (
            JupyterCodeExecutor(server, output_dir=tmp_path / name, notebook=notebook)
            for name, notebook in (("one", "a"), ("two", "a"), ("two", "b"))
        )
        with one, two, three:
            run(one, "open('mine', 'w')")
            assert (
                run(two, "import os\nprint(os.path.exists('mine'), os.listdir('/workspace/..'))").output[:5] == "False"
            )
            run(three, "open('shared', 'w')")
            assert run(two, "print(os.path.exists('shared'))").output == "True\n"
            where = [container_of(docker_client, executor).id for executor in (one, two, three)]
            assert where[0] != where[1] == where[2]

    def test_all_executors_see_the_bound_directory(
        self, make: Make, tmp_path: Path, docker_client: docker.DockerClient
    ) -> None:
        server = make(bind_dir=tmp_path)
        below = JupyterCodeExecutor(server, output_dir=tmp_path / "below")
        with below, JupyterCodeExecutor(server, output_dir=tmp_path) as above:
            run(below, "open('x', 'w')")
            assert run(above, "import os\nprint(os.path.exists('below/x'))").output == "True\n"
            assert container_of(docker_client, below).id == container_of(docker_client, above).id

    @pytest.mark.parametrize("user", [12345, 1000])
    def test_files_belong_to_the_owner_of_the_directory(self, make: Make, tmp_path: Path, user: int) -> None:
        if os.getuid() != 0:
            pytest.skip("Only root can be somebody else: run this test as root.")
        directory = tmp_path / "theirs"
        directory.mkdir(mode=0o700)
        os.chown(directory, user, user)
        with JupyterCodeExecutor(make(), output_dir=directory) as executor:
            told = run(
                executor,
                "import os, getpass, pwd\nos.makedirs('a/b')\nopen('a/b/x', 'w')\nprint(os.getuid(), "
                "getpass.getuser(), pwd.getpwuid(os.getuid()).pw_dir)",
            )
            assert told.output == f"{user} nbtape /home/nbtape\n"
        assert {path.stat().st_uid for path in directory.rglob("a*")} == {user}
        assert (directory / "a/b/x").stat().st_uid == user
        assert directory.stat().st_mode & 0o777 == 0o700

    def test_files_belong_to_the_caller(self, base_image: str, tmp_path: Path) -> None:
        directory = tmp_path / "ours"
        directory.mkdir(mode=0o700)
        os.chown(directory, 12345, 12345)
        code = (
            "from nbtape import *\n"
            f"with DockerJupyterServer(base_image={base_image!r}) as server:\n"
            f"    with JupyterCodeExecutor(server, output_dir={str(directory)!r}) as executor:\n"
            "        print(executor.execute_code_blocks([CodeBlock(code=\"open('x', 'w')\", language='python')]))"
        )
        assert "exit_code=0" in python(code, as_user=12345, HOME="/tmp")
        assert {path.stat().st_uid for path in directory.iterdir()} == {12345}
        assert {path.name for path in directory.iterdir()} == {"x", "session.ipynb"}

    def test_the_code_can_install_packages(self, make: Make, output_dir: Path) -> None:
        with JupyterCodeExecutor(make(), output_dir=output_dir, timeout=120) as executor:
            result = run(executor, "%pip install einops", "import einops\nprint(einops.__file__)")
            assert result.status == "ok", result.output
            assert "/home/nbtape/.local/" in result.output


class TestCustomImages:
    """Images as documented by AutoGen, and images that do not work."""

    def test_autogens_images_work_unchanged(self, make: Make, image: MakeImage, output_dir: Path) -> None:
        tag = image(
            'SHELL ["/bin/bash", "-c"]',
            "EXPOSE 8888",
            "ENV TOKEN=UNSET",
            "CMD python -m jupyter kernelgateway --KernelGatewayApp.ip=0.0.0.0 --KernelGatewayApp.port=8888 "
            '--KernelGatewayApp.auth_token="${TOKEN}" --JupyterApp.answer_yes=true '
            "--JupyterWebsocketPersonality.list_kernels=true",
        )
        server = make(custom_image_name=tag, token="a-token-of-ours-to-give")
        with JupyterCodeExecutor(server, output_dir=output_dir) as executor:
            result = run(executor, "import os\nopen('x', 'w').write(os.getcwd())\nprint(os.environ['TOKEN'])")
            assert result.output == "a-token-of-ours-to-give\n"
            died = run(executor, "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)")
            assert died.status == "kernel_died"
            assert run(executor, "print('alive')").output.endswith("alive\n")
        assert (output_dir / "x").read_text() == "/workspace"
        assert seconds(server.stop) < PROMPTLY

    @pytest.mark.parametrize(
        ("lines", "patience", "said"),
        [
            (["CMD echo no luck today >&2; exit 3"], 60, r"(?s)exited \(exit code 3\).*no luck today"),
            (
                ["CMD echo waiting; sleep 600"],
                3,
                r"(?s)was not ready within 3 s: nothing answers on its port.*waiting",
            ),
            (
                ["CMD python -m http.server 8888"],
                3,
                r"(?s)was not ready within 3 s: the server on its port 8888 has no kernel specs \(HTTP 404\)",
            ),
            (["CMD jupyter kernelgateway --ip=0.0.0.0 --port=9999"], 3, r"was not ready within 3 s: nothing answers"),
            (
                ["CMD jupyter kernelgateway --ip=0.0.0.0 --port=8888 --KernelGatewayApp.auth_token=other"],
                60,
                r"rejected the token\. Its command must use the environment variable TOKEN",
            ),
            (['ENTRYPOINT ["/no/such/program"]'], 60, r"exited \(exit code 127\)|could not start"),
        ],
        ids=["ends", "no gateway", "no jupyter", "elsewhere", "another token", "no program"],
    )
    def test_an_image_that_does_not_work_is_reported_with_its_last_output(
        self, make: Make, image: MakeImage, output_dir: Path, lines: list[str], patience: float, said: str
    ) -> None:
        server = make(custom_image_name=image(*lines), startup_timeout=patience)
        executor = JupyterCodeExecutor(server, output_dir=output_dir)
        with pytest.raises(ServerError, match=said):
            executor.start()
        executor.stop()

    def test_a_custom_image_does_not_support_network_none(self, make: Make, image: MakeImage, output_dir: Path) -> None:
        server = make(custom_image_name=image("CMD sleep 600"), network="none")
        executor = JupyterCodeExecutor(server, output_dir=output_dir)
        with pytest.raises(ServerError, match='does not support network="none"'):
            executor.start()
        executor.stop()

    def test_the_error_for_a_missing_kernel_lists_the_installed_ones(self, make: Make, output_dir: Path) -> None:
        executor = JupyterCodeExecutor(make(), kernel_name="no-such-kernel", output_dir=output_dir)
        with pytest.raises(KernelNotInstalledError, match=r"no-such-kernel.*python3"):
            executor.start()
        executor.stop()


class TestNetworks:
    def test_a_named_network_is_joined_and_no_port_is_published(
        self, network: str, make: Make, output_dir: Path, docker_client: docker.DockerClient
    ) -> None:
        with JupyterCodeExecutor(make(network=network), output_dir=output_dir) as executor:
            container = container_of(docker_client, executor)
            assert list(container.attrs["NetworkSettings"]["Networks"]) == [network]
            assert not any(container.attrs["NetworkSettings"]["Ports"].values())

    @pytest.mark.full  # Builds an image with nbtape, which takes half a minute.
    def test_a_client_in_a_container_reaches_a_server_in_another_container(
        self, base_image: str, image: MakeImage, docker_client: docker.DockerClient, network: str, tmp_path: Path
    ) -> None:
        context = tmp_path / "context"
        shutil.copytree(ROOT / "src", context / "src", ignore=shutil.ignore_patterns("__pycache__"))
        for name in ("pyproject.toml", "README.md", "LICENSE"):
            shutil.copy(ROOT / name, context / name)
        (tmp_path / "Dockerfile").write_text("\n".join([f"FROM {base_image}", *CLIENT_IMAGE]))
        tag = image.build(tmp_path / "Dockerfile", context)
        script = (
            "from nbtape import *\n"
            "code = [CodeBlock(code=\"print(open('x', 'w').write('xyz'))\", language='python')]\n"
            "def run(directory, **options):\n"
            f"    with DockerJupyterServer(base_image={base_image!r}, user='1000:1000', **options) as server:\n"
            "        with JupyterCodeExecutor(server, output_dir=directory) as executor:\n"
            "            print(executor.execute_code_blocks(code).output)\n"
            f"run('/shared/out', network={network!r})\n"
            f"run('/elsewhere', network={network!r})\n"
            "try:\n    run('/elsewhere')\nexcept ServerError as exc:\n    print(exc)\n"
        )
        (tmp_path / "out").mkdir()
        (tmp_path / "out").chmod(0o777)
        client = docker_client.containers.run(
            tag,
            ["python", "-c", script],
            network=network,
            volumes={
                "/var/run/docker.sock": {"bind": "/var/run/docker.sock"},
                str(tmp_path): {"bind": "/shared"},
            },
            detach=True,
        )
        try:
            ended = client.wait(timeout=120)
            said = client.logs().decode()
        finally:
            client.remove(force=True)
        assert ended["StatusCode"] == 0, said
        assert said.startswith("3\n\n3\n\n"), said
        # The shared directory is mounted; the other one has no path on the engine's host.
        assert (tmp_path / "out" / "x").read_text() == "xyz"
        assert "nbtape itself runs in a container here" in said
        assert network in said


SCRIPT = """
import os, signal, sys, time
from nbtape import CodeBlock, DockerJupyterServer, JupyterCodeExecutor
server = DockerJupyterServer(base_image={base_image!r}, **{options!r})
server.start()
executor = JupyterCodeExecutor(server, output_dir={directory!r})
code = CodeBlock(code="import socket; print(socket.gethostname())", language="python")
print(executor.execute_code_blocks([code]).output, end="", flush=True)
{end}
"""


def containers(engine: docker.DockerClient, **filters: str | list[str] | bool) -> list[Container]:
    """All matching containers, running or not. Does not inspect them, as one may be removed meanwhile."""
    return engine.containers.list(all=True, ignore_removed=True, filters=filters)


class TestShutdown:
    @pytest.fixture
    def script(self, base_image: str, output_dir: Path) -> Callable[..., subprocess.Popen[str]]:
        """Starts a process that runs a kernel on a server, prints the container's name, and then executes `end`."""

        def start(end: str, **options: Any) -> subprocess.Popen[str]:
            code = SCRIPT.format(base_image=base_image, options=options, directory=str(output_dir), end=end)
            return subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)

        return start

    @pytest.mark.alone
    @pytest.mark.parametrize("state", ["idle", "busy"])
    def test_stop_is_fast(self, make: Make, output_dir: Path, docker_client: docker.DockerClient, state: str) -> None:
        server = make()
        executor = JupyterCodeExecutor(server, output_dir=output_dir)
        name = str(container_of(docker_client, executor).name)
        if state == "busy":
            ignore = "import signal, time\nsignal.signal(signal.SIGINT, signal.SIG_IGN)"
            code = f"{ignore}\nprint('on', flush=True)\ntime.sleep(60)"
            thread = threading.Thread(target=lambda: run(executor, code))
            thread.start()
            assert eventually(lambda: "on" in executor.notebook.read_text())
        assert seconds(server.stop) < PROMPTLY
        with pytest.raises(docker.errors.NotFound):
            docker_client.containers.get(name)
        if state == "busy":
            thread.join(30)
            (_, cell) = code_cells(executor.notebook)
            assert (cell["metadata"]["nbtape"]["status"], stream_text(cell)) == ("kernel_died", "on\n")
        executor.stop()

    def test_use_after_stop_is_an_error_that_suggests_start(self, make: Make, output_dir: Path) -> None:
        server = make()
        executor = JupyterCodeExecutor(server, output_dir=output_dir)
        run(executor, "1")
        server.stop()
        with pytest.raises(ServerError, match=r"was stopped.*start\(\)"):
            run(executor, "1")
        server.start()
        assert run(executor, "print(1)").output.endswith("1\n")
        executor.stop()

    def test_an_unused_container_is_stopped(
        self, make: Make, output_dir: Path, docker_client: docker.DockerClient
    ) -> None:
        server = make()
        executor = JupyterCodeExecutor(server, output_dir=output_dir)
        name = container_of(docker_client, executor).name
        executor.stop()
        del executor
        gc.collect()
        assert eventually(lambda: f"/{name}" not in names(docker_client))

    @pytest.mark.parametrize("end", ["sys.exit(0)", "os.kill(os.getpid(), signal.SIGTERM)", "raise KeyboardInterrupt"])
    def test_the_container_stops_when_the_process_exits(
        self, script: Callable[..., subprocess.Popen[str]], docker_client: docker.DockerClient, end: str
    ) -> None:
        with script(end) as process:
            name = process.stdout.readline().strip() if process.stdout else ""
            assert docker_client.containers.get(name).status == "running"
        assert eventually(lambda: not containers(docker_client, id=name))

    def test_the_container_stops_by_itself_when_the_process_is_killed(
        self, script: Callable[..., subprocess.Popen[str]], docker_client: docker.DockerClient
    ) -> None:
        with script("time.sleep(600)") as process:
            name = process.stdout.readline().strip() if process.stdout else ""
            assert docker_client.containers.get(name).status == "running"
            process.kill()
        assert eventually(lambda: not containers(docker_client, id=name), 60)

    def test_the_next_start_removes_leftover_containers(
        self, make: Make, base_image: str, docker_client: docker.DockerClient
    ) -> None:
        process = subprocess.Popen([sys.executable, "-c", ""])
        process.wait()
        host = socket.gethostname()
        owners = [f"{host}/{process.pid}"] * 2 + [f"{host}/{os.getpid()}", "another-host/1", "nonsense"]
        left = [
            docker_client.containers.create(base_image, ["sleep", "600"], labels={LABEL: "kernels", OWNER_LABEL: owner})
            for owner in owners
        ]
        left[0].start()  # Its code may have killed the process that would stop the container.
        try:
            make().start()
            kept = {container.id for container in containers(docker_client, label=LABEL)}
            assert [container.id in kept for container in left] == [False, False, True, True, True]
        finally:
            for container in left[2:]:
                container.remove()

    def test_stop_container_false_keeps_the_container_and_logs_how_to_stop_it(
        self, make: Make, output_dir: Path, docker_client: docker.DockerClient, caplog: pytest.LogCaptureFixture
    ) -> None:
        server = make(stop_container=False, container_name="nbtape-left")
        with JupyterCodeExecutor(server, output_dir=output_dir) as executor:
            run(executor, "1")
        info = server.for_directory(output_dir).connection_info
        server.stop()
        try:
            assert "docker stop nbtape-left" in caplog.text
            assert info.url in caplog.text
            assert str(info.token) not in caplog.text
            assert kernels_of(info) == set()
            with JupyterCodeExecutor(info, output_dir=output_dir) as executor:
                assert run(executor, "print(1)").output == "1\n"
        finally:
            docker_client.containers.get("nbtape-left").stop(timeout=1)
        assert eventually(lambda: "/nbtape-left" not in names(docker_client))

    def test_auto_remove_false_keeps_the_stopped_container(
        self, make: Make, output_dir: Path, docker_client: docker.DockerClient
    ) -> None:
        server = make(auto_remove=False, container_name="nbtape-kept")
        with JupyterCodeExecutor(server, output_dir=output_dir) as executor:
            run(executor, "1")
        server.stop()
        make().start()
        container = docker_client.containers.get("nbtape-kept")
        assert container.status == "exited"
        container.remove()

    def test_a_container_killed_during_a_cell_is_reported_and_recorded(
        self, make: Make, output_dir: Path, docker_client: docker.DockerClient
    ) -> None:
        server = make()
        killed: list[float] = []
        with JupyterCodeExecutor(server, output_dir=output_dir) as executor:
            container = container_of(docker_client, executor)

            def kill() -> None:
                assert eventually(lambda: "before" in executor.notebook.read_text())
                container.kill()
                killed.append(time.monotonic())

            killer = threading.Thread(target=kill)
            killer.start()
            result = run(executor, "import time\nprint('before', flush=True)\ntime.sleep(60)")
            assert time.monotonic() - killed[0] < 2
            killer.join()
            assert (result.status, result.output.splitlines()[0]) == ("kernel_died", "before")
            assert f"The container {container.name} exited (exit code 137)" in result.output
            with pytest.raises(ServerError, match=r"(?s)exited \(exit code 137\).*start\(\)"):
                run(executor, "1")
            server.start()
            assert run(executor, "print('alive')").output.endswith("alive\n")
        assert stream_text(code_cells(executor.notebook)[1]) == "before\n"

    def test_a_fork_that_exits_does_not_stop_the_container(
        self, make: Make, output_dir: Path, docker_client: docker.DockerClient
    ) -> None:
        with JupyterCodeExecutor(make(), output_dir=output_dir) as executor:
            name = container_of(docker_client, executor).name
            child = os.fork()
            if not child:
                gc.collect()
                os._exit(0)
            os.waitpid(child, 0)
            assert docker_client.containers.get(name).status == "running"
            assert run(executor, "print(1)").output == "1\n"


class TestForOthers:
    def test_the_connection_info_works_for_other_clients(self, make: Make) -> None:
        server = make()
        info = server.connection_info
        assert (info.host, info.use_https) == ("127.0.0.1", False)
        assert "python3" in ask(info, "kernelspecs").json()["kernelspecs"]
        assert str(info.token) not in repr(info)
        assert server.connection_info == info
        assert isinstance(info, JupyterConnectionInfo)
        assert dataclasses.replace(info, token="other") != info
        assert ask(dataclasses.replace(info, token="other"), "kernels").status_code in {401, 403}


#: Installs nbtape, for a client in a container.
CLIENT_IMAGE = [
    "RUN python3 -m venv /opt/client",
    "ENV PATH=/opt/client/bin:$PATH",
    "COPY . /src",
    "RUN pip install --no-cache-dir /src",
]

#: What an image needs to run kernels: the first lines of nbtape's Dockerfile, whose layers are cached.
KERNELS = [
    "RUN python3 -m venv --system-site-packages /opt/kernel",
    "ENV PATH=/opt/kernel/bin:$PATH PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore",
    'RUN pip install --no-cache-dir "jupyter_kernel_gateway>=3.0" "ipykernel>=6.29"',
]


class MakeImage:
    """Builds images that are removed after the test."""

    def __init__(self, client: docker.DockerClient, base_image: str, stack: contextlib.ExitStack, home: Path) -> None:
        self._client = client
        self._base_image = base_image
        self._stack = stack
        self._home = home

    def __call__(self, *commands: str) -> str:
        """Build an image that can run kernels, with these commands added."""
        dockerfile = self._home / "Dockerfile"
        dockerfile.write_text("\n".join([f"FROM {self._base_image}", *KERNELS, *commands]))
        return self.build(dockerfile, self._home)

    def build(self, dockerfile: Path, context: Path, **arguments: str) -> str:
        """Build an image from a Dockerfile."""
        tag = f"nbtape-test:{time.monotonic_ns()}"
        options = [option for name, value in arguments.items() for option in ("--build-arg", f"{name}={value}")]
        subprocess.run(
            ["docker", "build", "-q", "-t", tag, "-f", str(dockerfile), *options, str(context)],
            check=True,
            stdout=subprocess.DEVNULL,
            env={**os.environ, "DOCKER_BUILDKIT": "0"},
        )
        self._stack.callback(self._remove, tag)
        return tag

    def _remove(self, tag: str) -> None:
        """Remove an image, unless it was removed along with another tag of it."""
        with contextlib.suppress(docker.errors.ImageNotFound):
            self._client.images.remove(tag, force=True)


@pytest.fixture
def image(
    docker_client: docker.DockerClient, base_image: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[MakeImage]:
    with contextlib.ExitStack() as stack:
        yield MakeImage(docker_client, base_image, stack, tmp_path_factory.mktemp("image"))


@pytest.fixture
def network(docker_client: docker.DockerClient) -> Iterator[str]:
    """A network for the test."""
    name = f"nbtape-test-{os.getpid()}"
    made = docker_client.networks.create(name)
    yield name
    made.remove()


def python(code: str, *, as_user: int, **environment: str) -> str:
    """Run code as another user who is in the group of the engine's socket, and return what it prints."""
    if os.getuid() != 0 or shutil.which("setpriv") is None:
        pytest.skip("Only root can be somebody else: run this test as root, with util-linux installed.")
    command = [
        *("setpriv", f"--reuid={as_user}", f"--regid={as_user}"),
        f"--groups={Path('/var/run/docker.sock').stat().st_gid}",
        # The test's Python may be in a directory that only this user can read.
        *("--inh-caps=-all,+dac_read_search", "--ambient-caps=-all,+dac_read_search"),
        *(sys.executable, "-c", code),
    ]
    done = subprocess.run(
        command,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
        check=False,
    )
    return done.stdout


def bridge_address(client: docker.DockerClient) -> str:
    """The host's address on the engine's default network."""
    config = client.networks.get("bridge").attrs["IPAM"]["Config"][0]
    return str(config.get("Gateway") or config["Subnet"].rpartition(".")[0] + ".1")


def addresses() -> list[str]:
    """All addresses of the host except loopback."""
    found = [
        entry.address
        for entries in psutil.net_if_addrs().values()
        for entry in entries
        if entry.family == socket.AF_INET
    ]
    return [address for address in found if not address.startswith("127.")]


class OtherHost:
    """Another host for the network: a namespace connected by a virtual cable."""

    def __init__(self, name: str) -> None:
        self._name = name
        #: This end of the cable and the other one, in a network of its own for each run of the tests.
        self.ours, self.theirs = (f"198.18.{os.getpid() % 256}.{end}" for end in (1, 2))

    def reaches(self, address: str, port: int) -> bool:
        """Whether a connection can be made from the other host."""
        code = f"import socket\nsocket.create_connection(({address!r}, {port}), 2)"
        command = ["ip", "netns", "exec", self._name, sys.executable, "-c", code]
        return subprocess.run(command, capture_output=True, check=False).returncode == 0


@pytest.fixture(scope="module")
def other_host() -> Iterator[OtherHost]:
    if os.getuid() != 0 or shutil.which("ip") is None:
        pytest.skip("A network namespace needs root and iproute2: run this test as root, with iproute2 installed.")
    name = f"nbt{os.getpid()}"
    host = OtherHost(name)
    commands = [
        f"netns add {name}",
        f"link add {name}a type veth peer name {name}b netns {name}",
        f"addr add {host.ours}/24 dev {name}a",
        f"link set {name}a up",
        f"-n {name} addr add {host.theirs}/24 dev {name}b",
        f"-n {name} link set {name}b up",
        f"-n {name} route add default via {host.ours}",
    ]
    try:
        for command in commands:
            subprocess.run(["ip", *command.split()], check=True)
        with socket.create_server(("0.0.0.0", 0)) as open_to_all:  # Open ports can be reached.
            assert host.reaches(host.ours, open_to_all.getsockname()[1])
        yield host
    finally:
        subprocess.run(["ip", "netns", "del", name], check=False)


class Relay:
    """A TCP port that forwards to a Unix socket."""

    def __init__(self, address: str, target: str) -> None:
        self._target = target
        self._listener = socket.create_server((address, 0))
        self.port = self._listener.getsockname()[1]
        self._open: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._serve)]
        self._threads[0].start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for each in (self._listener, *self._open):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        for each in (self._listener, *self._open):
            each.close()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                engine = socket.socket(socket.AF_UNIX)
                engine.connect(self._target)
                self._open += [client, engine]
                for source, sink in ((client, engine), (engine, client)):
                    self._threads.append(threading.Thread(target=self._pump, args=[source, sink]))
                    self._threads[-1].start()

    @staticmethod
    def _pump(source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
