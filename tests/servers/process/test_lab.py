"""A local JupyterLab server: which files it shows, who is admitted, and that its kernels work like others."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING

import httpx
import pytest
from executors import run
from jupyter_servers import ask, kernels_of
from reading import eventually

from nbtape import JupyterCodeExecutor, KernelPool, LocalJupyterServer, ServerError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from importlib.machinery import ModuleSpec
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("leaves_nothing")


@pytest.fixture
def server(leaves_nothing: None, tmp_path: Path) -> Iterator[LocalJupyterServer]:
    del leaves_nothing  # Requested first so that it is checked last.
    with LocalJupyterServer(lab=True, root_dir=tmp_path) as server:
        yield server


def test_lab_without_other_arguments_gives_a_link_and_a_kernel_in_the_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with LocalJupyterServer(lab=True) as server, JupyterCodeExecutor(server, output_dir=".") as executor:
        assert executor.url == f"{server.connection_info.url}lab/tree/session.ipynb"
        assert run(executor, "import os\nos.getcwd()").output == repr(str(tmp_path))


def test_a_directory_reached_through_a_link_is_the_same(
    server: LocalJupyterServer, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    way = tmp_path_factory.mktemp("way") / "there"
    way.symlink_to(tmp_path)
    with JupyterCodeExecutor(server, output_dir=way) as executor:
        assert executor.url.endswith("/lab/tree/session.ipynb")
        assert run(executor, "import os\nos.getcwd()").output == repr(str(tmp_path))


def test_a_login_link_works_once(server: LocalJupyterServer, tmp_path: Path) -> None:
    with JupyterCodeExecutor(server, output_dir=tmp_path) as executor:
        link = server.login(executor.url)
        assert str(server.connection_info.token) not in link
        kernels = f"{server.connection_info.api}kernels"
        with httpx.Client(follow_redirects=True, trust_env=False) as first:
            assert first.get(link).url.path.startswith("/lab")
            assert first.get(executor.url).url.path.startswith("/lab")
            assert {kernel["id"] for kernel in first.get(kernels).json()} == kernels_of(server)
        with httpx.Client(follow_redirects=True, trust_env=False) as second:
            assert second.get(link).url.path == "/login"
            assert second.get(kernels).status_code == httpx.codes.FORBIDDEN


def test_an_unknown_login_link_admits_no_one(server: LocalJupyterServer) -> None:
    for code in ("", "a", "..", "%2e%2e%2fport"):
        answer = httpx.get(f"{server.connection_info.page}lab?token={code}", follow_redirects=True, trust_env=False)
        assert answer.url.path == "/login"


def test_a_login_link_leads_only_to_the_server(server: LocalJupyterServer) -> None:
    assert server.login().startswith(f"{server.connection_info.page}lab?token=")
    with pytest.raises(ValueError, match="is not a page of the server"):
        server.login("http://example.org/lab")


def test_a_server_without_pages_has_no_link() -> None:
    with pytest.raises(ValueError, match="lab=True"):
        LocalJupyterServer().login()


def test_the_token_is_neither_in_the_log_nor_in_the_kernels(tmp_path: Path) -> None:
    log = tmp_path / "server.log"
    with (
        LocalJupyterServer(lab=True, root_dir=tmp_path, log_file=log, log_level="DEBUG") as server,
        JupyterCodeExecutor(server, output_dir=tmp_path) as executor,
    ):
        token, link = str(server.connection_info.token), server.login()
        httpx.get(link, follow_redirects=True, trust_env=False)
        assert token not in run(executor, "import os\ndict(os.environ)").output
        assert token not in executor.notebook.read_text()
    assert token not in log.read_text()
    assert link.rpartition("=")[2] not in log.read_text()


def test_a_directory_outside_the_root_is_rejected_before_anything_starts(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    server = LocalJupyterServer(lab=True, root_dir=tmp_path)
    with pytest.raises(ValueError, match="Set root_dir= of LocalJupyterServer to a parent of both"):
        JupyterCodeExecutor(server, output_dir=elsewhere)
    with pytest.raises(ValueError, match="Choose an output_dir= in it"):
        JupyterCodeExecutor(KernelPool(server), output_dir=elsewhere)


def test_an_invalid_root_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="needs lab=True"):
        LocalJupyterServer(root_dir=tmp_path)
    with pytest.raises(ValueError, match="not a directory"):
        LocalJupyterServer(lab=True, root_dir=tmp_path / "missing" / "more")


def test_the_error_for_a_missing_jupyterlab_names_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec

    def find_no_lab(name: str, package: str | None = None) -> ModuleSpec | None:
        return None if name == "jupyterlab" else find(name, package)

    monkeypatch.setattr(importlib.util, "find_spec", find_no_lab)
    with pytest.raises(ServerError, match=r"pip install 'nbtape\[lab\]'"):
        LocalJupyterServer(lab=True).start()


def test_a_kernel_of_a_pool_has_a_link_too(server: LocalJupyterServer, tmp_path: Path) -> None:
    with KernelPool(server, size=1) as pool, JupyterCodeExecutor(pool, output_dir=tmp_path) as executor:
        link = executor.url
        assert link.endswith("/lab/tree/session.ipynb")
        executor.restart()
        assert executor.url == link
        assert run(executor, "import os\nos.getcwd()").output.endswith(repr(str(tmp_path)))


def test_each_kernel_death_is_reported_with_its_signal(server: LocalJupyterServer, tmp_path: Path) -> None:
    with JupyterCodeExecutor(server, output_dir=tmp_path) as executor:
        for signal in ("SIGKILL", "SIGSEGV"):
            result = run(executor, f"import os, signal\nos.kill(os.getpid(), signal.{signal})")
            assert (result.status, signal in result.cells[0].note) == ("kernel_died", True)
            assert "variables of earlier blocks are gone" in run(executor, "1").output


def test_a_kernel_shut_down_between_blocks_is_replaced(server: LocalJupyterServer, tmp_path: Path) -> None:
    with JupyterCodeExecutor(server, output_dir=tmp_path) as executor:
        run(executor, "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)")
        (kernel,) = kernels_of(server)
        ask(server.connection_info, f"kernels/{kernel}", "DELETE")
        assert "variables of earlier blocks are gone" in run(executor, "1").output
        assert executor.url
        assert kernel not in kernels_of(server)


def test_a_stopped_executor_leaves_no_kernel(server: LocalJupyterServer, tmp_path: Path) -> None:
    with JupyterCodeExecutor(server, output_dir=tmp_path) as executor:
        run(executor, "1")
        executor.restart()
    assert eventually(lambda: kernels_of(server) == set())
