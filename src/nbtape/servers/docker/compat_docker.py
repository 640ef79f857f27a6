"""The private API of docker-py that nbtape depends on. `tests/servers/docker/test_compat_docker.py` checks each use."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from docker.context import ContextAPI
from docker.context.config import get_current_context_name

from nbtape.errors import ServerError

if TYPE_CHECKING:
    from docker import DockerClient


def socket_of(stream: Any) -> Any:  # noqa: ANN401  (docker-py has several kinds)
    """The socket inside the result of `attach_socket`: only it can be shut down while another thread reads."""
    return getattr(stream, "_sock", stream)


def response_of(stream: Any) -> Any:  # noqa: ANN401
    """The HTTP response that docker-py keeps with the socket; if it is not closed, Python warns at exit."""
    return stream._response  # noqa: SLF001


def ssh_host_of(client: DockerClient) -> str:
    """The host that a client reaches by SSH, as in `user@host:port`; empty if it does not use SSH."""
    return getattr(getattr(client.api, "_custom_adapter", None), "ssh_host", "")


def current_context() -> tuple[str, str]:
    """The Docker context that `docker.from_env` uses, and the address of its engine, empty for the default.

    docker-py knows contexts since 7.2, and uses the local engine if the chosen one does not exist.

    Raises:
        ServerError: The context does not exist, or cannot be read.
    """
    if not hasattr(ContextAPI, "kwargs_from_context"):
        return "default", ""
    name = os.environ.get("DOCKER_CONTEXT") or get_current_context_name()
    try:
        found = ContextAPI.get_context(name)
    except Exception as exc:  # docker-py raises plain Exceptions for files that it cannot read
        raise ServerError(
            f"The Docker context {name} cannot be read ({exc}). Repair it, or choose another one with `docker context "
            "use` or DOCKER_HOST."
        ) from exc
    if found is None:
        raise ServerError(
            f"The Docker context {name} does not exist. Choose one that `docker context ls` lists, with `docker "
            "context use` or DOCKER_CONTEXT."
        )
    return name, found.Host or ""
