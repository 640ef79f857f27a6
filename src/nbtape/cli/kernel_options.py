"""Where the code is to run: the options that say so, which several commands have."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import os
from typing import TYPE_CHECKING, Any, Final

import click

from nbtape.cli.completion import argument
from nbtape.cli.display.status_line import working
from nbtape.kernels.remote.connection import JupyterConnectionInfo

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from nbtape.kernels.sources import Server
    from nbtape.servers.docker.server import DockerJupyterServer

#: What `--docker` means without an image: a name that none can have.
OUR_IMAGE: Final = "(nbtape's own)"

_OPTIONS: Final = (
    click.option(
        "--server",
        metavar="URL",
        help="A Jupyter server whose kernels are used in place of this machine's. Its token comes in the variable "
        "JUPYTER_TOKEN, or in the URL, which others on this machine may see in the list of processes.",
    ),
    click.option(
        "--docker",
        metavar="[IMAGE]",
        is_flag=False,
        flag_value=OUR_IMAGE,
        shell_complete=argument,
        help="Run the code in a Docker container, in which of this machine there is nothing but the output directory: "
        "in IMAGE, or in nbtape's own image, which is built the first time.",
    ),
    click.option(
        "--base-image",
        metavar="IMAGE",
        help="With --docker: what nbtape's own image is built on.  [default: python:3.12-slim]",
    ),
    click.option(
        "--network",
        metavar="NAME",
        help="With --docker: the network that the code is on; none for no network at all.  [default: the engine's]",
    ),
)


@dataclasses.dataclass(frozen=True, slots=True)
class Place:
    """Where the code is to run, as the command line says it.

    Args:
        server: The URL of a Jupyter server.
        docker: A Docker image, or `OUR_IMAGE`.
        base_image: What our image is built on.
        network: The network of a container.
    """

    server: str | None
    docker: str | None
    base_image: str | None
    network: str | None

    @contextlib.contextmanager
    def ready(self) -> Iterator[Server]:
        """Where kernels come from, as long as it is entered; a terminal shows that an image is built."""
        with contextlib.ExitStack() as stack, contextlib.ExitStack() as meanwhile:
            told = meanwhile.enter_context(working("looking for the Docker engine" if self.docker else "one moment"))
            kernels = stack.enter_context(self.kernels(on_progress=told))
            meanwhile.close()
            yield kernels

    def kernels(self, on_progress: Callable[[str], None]) -> contextlib.AbstractContextManager[Server]:
        """Where kernels come from, as long as it is entered.

        Args:
            on_progress: Called with each step of the build of an image.
        """
        if self.docker is not None:
            return self._containers(self.docker, on_progress)
        return contextlib.nullcontext(None if self.server is None else _server(self.server))

    def _containers(self, image: str, on_progress: Callable[[str], None]) -> DockerJupyterServer:
        from nbtape.servers.docker.server import DockerJupyterServer

        return DockerJupyterServer(
            custom_image_name=None if image == OUR_IMAGE else image,
            base_image=self.base_image,
            network=self.network,
            on_progress=on_progress,
        )

    def check(self) -> None:
        """Refuse what does not go together.

        Raises:
            UsageError: It does not.
        """
        if self.docker is not None and self.server is not None:
            raise click.UsageError("--docker and --server are two places: name one of them.")
        if self.docker is None and (self.base_image or self.network):
            raise click.UsageError("--base-image and --network go with --docker.")
        if self.docker not in {None, OUR_IMAGE} and self.base_image:
            raise click.UsageError(f"--base-image is for nbtape's own image, and --docker names {self.docker}.")


def with_place(command: Callable[..., int]) -> Callable[..., int]:
    """Give a command the options, and what they say as its argument `place`."""

    @functools.wraps(command)
    def collect(*arguments: Any, **options: Any) -> int:  # noqa: ANN401  (click's)
        place = Place(**{field.name: options.pop(field.name) for field in dataclasses.fields(Place)})
        return command(*arguments, place=place, **options)

    for option in reversed(_OPTIONS):
        collect = option(collect)
    return collect


def _server(url: str) -> JupyterConnectionInfo:
    info = JupyterConnectionInfo.from_url(url)
    return info if info.token else dataclasses.replace(info, token=os.environ.get("JUPYTER_TOKEN") or None)
