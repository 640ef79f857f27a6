"""Shared fixtures; with NBTAPE_NO_SKIPS set, a skipped test fails."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

import docker
import docker.errors
import pytest
import trustme

pytest.register_assert_rewrite(
    "calling",
    "executors",
    "fault_contract",
    "jupyter_servers",
    "jupyterlab_pages",
    "observing",
    "reading",
    "session_contract",
    "transport_contract",
)
pytest_plugins = ["full_matrix", "observing", "sendable_reports", "warm_kernels"]

# A shell that starts pytest in the background lets it and its children ignore Ctrl-C; tests of Ctrl-C would hang.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

from jupyter_servers import TOKEN, enterprise_gateway, plain_server  # noqa: E402  (rewritten by the line before)
from reading import descendants, eventually  # noqa: E402  (rewritten by the line before)

from nbtape import DockerJupyterServer, JupyterConnectionInfo, LocalJupyterServer  # noqa: E402  (like the next)
from nbtape.kernels.processes import sweep  # noqa: E402  (like the next)
from nbtape.servers.docker.engine import Engine  # noqa: E402  (like the next)
from nbtape.servers.docker.image import DEFAULT_BASE_IMAGE, Recipe, have_image  # noqa: E402  (like the next)

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from jupyterlab_pages import Lab
    from playwright.sync_api import Browser


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--picture", metavar="FILE", help="record the image of the README in FILE")


@pytest.fixture
def output_dir(tmp_path: Path) -> Path:
    """Return the directory in which an executor records."""
    return tmp_path


@pytest.fixture
def temp_dir(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Give this test and its processes a temporary directory of their own, with a name as short as /tmp's can be."""
    tmp_path_factory.getbasetemp()  # created once for all tests, outside this directory
    directory = Path(tempfile.mkdtemp(prefix="t"))
    monkeypatch.setenv("TMPDIR", str(directory))
    monkeypatch.setattr(tempfile, "tempdir", None)
    yield directory
    shutil.rmtree(directory)


@pytest.fixture
def leaves_nothing(temp_dir: Path) -> Iterator[None]:
    """Fail a test that leaves a process, a thread or a directory of nbtape behind."""
    processes, threads = descendants(), set(threading.enumerate())
    yield
    assert eventually(lambda: not descendants() - processes), "processes are left behind"
    assert eventually(lambda: not _own_threads() - threads), f"threads are left behind:\n{_stacks(threads)}"
    sweep(temp_dir)  # as the next start does for killed processes
    assert eventually(lambda: not list(temp_dir.glob("nbtape-*"))), "directories of kernels are left behind"


def _own_threads() -> set[threading.Thread]:
    """Return the running threads, except the event loop's pool, which pytest-asyncio stops after the fixtures."""
    return {thread for thread in threading.enumerate() if not thread.name.startswith("asyncio_")}


def _stacks(known: set[threading.Thread]) -> str:
    """Return the names of the threads that are new, and what each is doing."""
    frames = sys._current_frames()
    new = [(thread.name, frames.get(thread.ident or 0)) for thread in _own_threads() - known]
    return "\n".join(f"{name}\n{''.join(traceback.format_stack(frame))}" for name, frame in new)


# Shared servers: each starts once, when the first test needs it.


@pytest.fixture(scope="session")
def gateway() -> Iterator[LocalJupyterServer]:
    """Run a server that nbtape starts."""
    with LocalJupyterServer() as server:
        yield server


@pytest.fixture(scope="session")
def lab_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalJupyterServer]:
    """Run a server that nbtape starts, with pages, for the directories of all tests."""
    with LocalJupyterServer(lab=True, root_dir=tmp_path_factory.getbasetemp()) as server:
        yield server


@pytest.fixture(scope="session")
def far_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[JupyterConnectionInfo]:
    """Run an external jupyter_server below a path, over https, with a certificate that nothing else trusts."""
    home = tmp_path_factory.mktemp("far")
    authority = trustme.CA()
    authority.cert_pem.write_to_path(home / "ca.pem")
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(home / "server.pem")
    options = [
        f"--ServerApp.certfile={home / 'server.pem'}",
        f"--ServerApp.keyfile={home / 'server.pem'}",
        "--ZMQChannelsWebsocketConnection.limit_rate=False",
    ]
    with plain_server(home, *options, base_path="/user/alice/", scheme="https") as port:
        yield JupyterConnectionInfo(
            "127.0.0.1", use_https=True, port=port, token=TOKEN, base_path="/user/alice/", ca_file=home / "ca.pem"
        )


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Run an external JupyterLab."""
    from jupyterlab_pages import jupyterlab

    with jupyterlab(tmp_path_factory.mktemp("lab")) as lab:
        yield lab


@pytest.fixture(scope="session")
def enterprise(tmp_path_factory: pytest.TempPathFactory) -> Iterator[JupyterConnectionInfo]:
    """Run an Enterprise Gateway."""
    with enterprise_gateway(tmp_path_factory.mktemp("enterprise")) as info:
        yield info


# Tests that need Docker are skipped if there is no engine.


@pytest.fixture(scope="session")
def docker_client() -> Iterator[docker.DockerClient]:
    """Connect to the local Docker engine."""
    try:
        client = docker.from_env()
    except docker.errors.DockerException as exc:
        pytest.skip(f"There is no Docker engine: {exc}. Install and start one, as .ci/run does.")
    with contextlib.closing(client):
        yield client


@pytest.fixture(scope="session")
def base_image(docker_client: docker.DockerClient) -> str:
    """Return the base for images: the one scripts/base-image builds if it exists, else the default from a registry."""
    names = [tag for image in docker_client.images.list("nbtape-base") for tag in image.tags]
    if names:
        return str(names[0])
    docker_client.images.pull(DEFAULT_BASE_IMAGE)
    return DEFAULT_BASE_IMAGE


@pytest.fixture(scope="session")
def container(base_image: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DockerJupyterServer]:
    """Run a container in which the directories of all tests are mounted."""
    with DockerJupyterServer(base_image=base_image, bind_dir=tmp_path_factory.getbasetemp()) as server:
        # A container that is lent stays: no test is the first one to start it, and none waits for another one.
        server.connection_info  # noqa: B018  (starts it)
        yield server


@pytest.fixture(scope="session")
def science_image(docker_client: docker.DockerClient, base_image: str) -> str:
    """Build an image in which the transcripts of the documentation can run."""
    return have_image(Engine(docker_client), Recipe(base_image, ("matplotlib", "pandas")))


# A skip that no one reads hides a test that never runs: in CI it fails and names what was skipped.


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if not hasattr(report, "wasxfail"):
        _refuse_skip(report)
    return report


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    _refuse_skip(report)
    return report


def _refuse_skip(report: Any) -> None:
    if report.skipped and os.environ.get("NBTAPE_NO_SKIPS"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome = "failed"
        report.longrepr = f"{report.nodeid} was skipped, which NBTAPE_NO_SKIPS forbids. {reason}"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Mount a disk of 512 KiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", str(disk)], capture_output=True, text=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"a small disk cannot be mounted here: {mounted.stderr.strip()}")
    try:
        yield disk
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Start the system's Chromium."""
    from playwright.sync_api import sync_playwright

    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found is None:
        pytest.skip("There is no Chromium: install it, as .ci/run does.")
    with sync_playwright() as playwright:
        # Chromium cannot create its own sandbox for root.
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield browser
        browser.close()
