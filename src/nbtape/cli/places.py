"""Where the code is to run: the options that say so, which several commands have."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import os
from typing import TYPE_CHECKING, Any, Final

import click

from nbtape.cli.refusals import say
from nbtape.kernels.connection import JupyterConnectionInfo

if TYPE_CHECKING:
    from collections.abc import Callable

    from nbtape.options import Server
    from nbtape.servers.docker import DockerJupyterServer

#: What `--docker` means without an image: a name that none can have.
OUR_IMAGE: Final = "(nbtape's own)"

_OPTIONS: Final = (
    click.option(
        "--server",
        metavar="URL",
        help="A Jupyter server whose kernels are used in place of this machine's. Its token comes in the URL or, so "
        "that no process list shows it, in the variable JUPYTER_TOKEN.",
    ),
    click.option(
        "--docker",
        metavar="[IMAGE]",
        is_flag=False,
        flag_value=OUR_IMAGE,
        help="Run the code in a Docker container, in which of this machine there is nothing but the output directory: "
        "in IMAGE, or in nbtape's own image, which is built the first time.",
    ),
    click.option(
        "--base-image", help="With --docker: what nbtape's own image is built on.  [default: python:3.12-slim]"
    ),
    click.option("--network", help="With --docker: the network that the code is on; none for no network at all."),
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

    def kernels(self, *, quiet: bool) -> contextlib.AbstractContextManager[Server]:
        """Where kernels come from, as long as it is entered.

        Args:
            quiet: Say nothing while an image is built.
        """
        if self.docker is not None:
            return self._containers(self.docker, quiet=quiet)
        return contextlib.nullcontext(None if self.server is None else _server(self.server))

    def _containers(self, image: str, *, quiet: bool) -> DockerJupyterServer:
        from nbtape.servers.docker import DockerJupyterServer

        return DockerJupyterServer(
            custom_image_name=None if image == OUR_IMAGE else image,
            base_image=self.base_image,
            network=self.network,
            on_progress=None if quiet else say,
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


def with_place(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options, and what they say as its argument `place`."""

    @functools.wraps(command)
    def collect(*arguments: Any, **options: Any) -> None:  # noqa: ANN401  (click's)
        place = Place(**{field.name: options.pop(field.name) for field in dataclasses.fields(Place)})
        command(*arguments, place=place, **options)

    for option in reversed(_OPTIONS):
        collect = option(collect)
    return collect


def _server(url: str) -> JupyterConnectionInfo:
    info = JupyterConnectionInfo.from_url(url)
    return info if info.token else dataclasses.replace(info, token=os.environ.get("JUPYTER_TOKEN") or None)
