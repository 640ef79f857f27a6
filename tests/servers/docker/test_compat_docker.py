"""docker-py has the private attributes that nbtape depends on."""

from __future__ import annotations

import inspect
from pathlib import Path

import docker
from docker.api.client import APIClient
from docker.context import ContextAPI

CHANGED = "docker-py has changed: adapt nbtape.servers.docker.compat_docker"


def test_the_stream_of_a_container_has_its_socket_and_keeps_its_response() -> None:
    source = inspect.getsource(APIClient._get_raw_response_socket)  # type: ignore[attr-defined]
    assert "sock = response.raw._fp.fp.raw" in source, CHANGED
    assert "sock._response = response" in source, CHANGED


def test_a_client_by_ssh_knows_its_host() -> None:
    source = inspect.getsource(APIClient.__init__)
    assert "self._custom_adapter = SSHHTTPAdapter(" in source, CHANGED
    adapter = (Path(docker.__file__).parent / "transport" / "sshconn.py").read_text()  # its import needs paramiko
    assert "self.ssh_host = base_url[len('ssh://'):]" in adapter, CHANGED


def test_a_client_from_the_environment_uses_the_current_context() -> None:
    source = inspect.getsource(docker.DockerClient.from_env)
    assert "ContextAPI.kwargs_from_context(" in source, CHANGED
    assert "cls.get_context(name)" in inspect.getsource(ContextAPI.kwargs_from_context), CHANGED
