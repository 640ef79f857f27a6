"""The engine that is asked, and where it is, without one that answers."""

from __future__ import annotations

import gc
import hashlib
import json
from importlib.util import find_spec
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from nbtape import ServerError
from nbtape.servers.docker.engine import Engine

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


# docker-py leaves the socket of a failed connection open.
pytestmark = pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning", "ignore:unclosed:ResourceWarning"
)


@pytest.fixture
def docker_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A configuration of the Docker CLI, without settings."""
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    for name in ("DOCKER_HOST", "DOCKER_CONTEXT"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "config.json").write_text("{}")
    yield tmp_path
    gc.collect()  # closes those sockets here, not in a later test


def add_context(config: Path, name: str, host: str) -> None:
    """Create a context, as `docker context create` does."""
    directory = config / "contexts" / "meta" / hashlib.sha256(name.encode()).hexdigest()
    directory.mkdir(parents=True)
    meta = {"Name": name, "Metadata": {}, "Endpoints": {"docker": {"Host": host, "SkipTLSVerify": False}}}
    (directory / "meta.json").write_text(json.dumps(meta))


@pytest.mark.parametrize("by", ["configuration", "variable"])
def test_an_error_names_the_engine_of_the_current_context(
    docker_config: Path, monkeypatch: pytest.MonkeyPatch, by: str
) -> None:
    add_context(docker_config, "other", "unix:///nowhere/other.sock")
    if by == "variable":
        monkeypatch.setenv("DOCKER_CONTEXT", "other")
    else:
        (docker_config / "config.json").write_text('{"currentContext": "other"}')
    with pytest.raises(
        ServerError,
        match=r"^No Docker engine answers at unix:///nowhere/other\.sock \(Docker context other\)\. Start it",
    ):
        Engine()


def test_docker_host_is_named_before_a_context(docker_config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (docker_config / "config.json").write_text('{"currentContext": "missing"}')
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/host.sock")
    with pytest.raises(ServerError, match=r"^No Docker engine answers at unix:///nowhere/host\.sock\. Install"):
        Engine()


def test_a_context_that_does_not_exist_is_an_error_not_the_local_engine(docker_config: Path) -> None:
    (docker_config / "config.json").write_text('{"currentContext": "missing"}')
    with pytest.raises(ServerError, match=r"^The Docker context missing does not exist\. Choose one"):
        Engine()


def test_a_context_that_cannot_be_read_is_an_error(docker_config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    add_context(docker_config, "broken", "unix:///nowhere")
    next((docker_config / "contexts" / "meta").glob("*/meta.json")).write_text("{")
    monkeypatch.setenv("DOCKER_CONTEXT", "broken")
    with pytest.raises(ServerError, match=r"^The Docker context broken cannot be read .*Repair it"):
        Engine()


def test_an_error_of_a_context_by_ssh_names_the_missing_package(
    docker_config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if find_spec("paramiko") is not None:
        pytest.skip("paramiko is installed, so docker-py would connect. Uninstall it to run this test.")
    add_context(docker_config, "far", "ssh://alice@far.example")
    monkeypatch.setenv("DOCKER_CONTEXT", "far")
    with pytest.raises(
        ServerError, match=r"at ssh://alice@far\.example \(Docker context far\) .*pip install 'docker\[ssh\]'"
    ):
        Engine()


class Client:
    """A client that reaches an engine in some way, as docker-py's does."""

    def __init__(self, base_url: str, ssh_host: str = "") -> None:
        adapter = SimpleNamespace(ssh_host=ssh_host) if ssh_host else object()
        self.api = SimpleNamespace(base_url=base_url, _custom_adapter=adapter)

    def ping(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("client", "host"),
    [
        (Client("http+docker://ssh", "alice@far.example:2222"), "far.example"),
        (Client("http+docker://ssh", "far.example"), "far.example"),
        (Client("http+docker://ssh", "localhost"), ""),
        (Client("http://192.0.2.7:2375"), "192.0.2.7"),
        (Client("https://127.0.0.1:2376"), ""),
        (Client("http+docker://localhost"), ""),
    ],
)
def test_an_engine_is_remote_by_the_address_of_its_client(client: Any, host: str) -> None:
    assert Engine(client).remote_host == host


def test_a_remote_host_without_an_address_is_an_error() -> None:
    client: Any = Client("http+docker://ssh", "no-such-host.invalid")
    with pytest.raises(ServerError, match=r"The address of the Docker engine's host no-such-host\.invalid is unknown"):
        _ = Engine(client).publishing_address
