"""docker-py has the private attributes that nbtape depends on."""

from __future__ import annotations

import inspect

from docker.api.client import APIClient

CHANGED = "docker-py has changed: adapt nbtape.servers.docker.compat_docker"


def test_the_stream_of_a_container_has_its_socket_and_keeps_its_response() -> None:
    source = inspect.getsource(APIClient._get_raw_response_socket)  # type: ignore[attr-defined]
    assert "sock = response.raw._fp.fp.raw" in source, CHANGED
    assert "sock._response = response" in source, CHANGED
