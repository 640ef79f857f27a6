"""The private API of docker-py that nbtape depends on. `tests/servers/docker/test_compat_docker.py` checks each use."""

from __future__ import annotations

from typing import Any


def socket_of(stream: Any) -> Any:  # noqa: ANN401  (docker-py has several kinds)
    """The socket inside the result of `attach_socket`: only it can be shut down while another thread reads."""
    return getattr(stream, "_sock", stream)


def response_of(stream: Any) -> Any:  # noqa: ANN401
    """The HTTP response that docker-py keeps with the socket; if it is not closed, Python warns at exit."""
    return stream._response  # noqa: SLF001
