"""The shared options for where code runs and where its notebook is written."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import itertools
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from nbtape.cli.command import given_option
from nbtape.cli.completion import argument, directories, kernels
from nbtape.cli.display.plain import plain_line
from nbtape.cli.display.status_line import say, working
from nbtape.kernels.local.interpreters import default_python
from nbtape.kernels.remote.connection import JupyterConnectionInfo

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from nbtape.kernels.local.manager import LocalPython
    from nbtape.kernels.sources import Server
    from nbtape.servers.docker.server import DockerJupyterServer

#: The value of `--docker` without an image; no image can have this name.
OUR_IMAGE: Final = "(nbtape's own)"

_OPTIONS: Final = (
    click.option(
        "--server",
        metavar="URL",
        help="Run the code on a Jupyter server instead of a local kernel. Set the environment variable JUPYTER_TOKEN "
        "to its token; a token in the URL is visible to other users in the list of processes.",
    ),
    click.option(
        "--python",
        metavar="PATH",
        help="The Python of a local kernel, or its virtual environment. It needs the package ipykernel.  [default: the "
        "Python that runs nbtape; under uvx or pipx, $VIRTUAL_ENV or else the .venv of the project]",
    ),
    click.option(
        "--docker",
        metavar="[IMAGE]",
        is_flag=False,
        flag_value=OUR_IMAGE,
        shell_complete=argument,
        help="Run the code in a Docker container that can access only the directory of the notebook. Uses IMAGE, or "
        "nbtape's own image, which is built on first use.",
    ),
    click.option(
        "--base-image",
        metavar="IMAGE",
        help="With --docker: the base of nbtape's own image.  [default: python:3.12-slim]",
    ),
    click.option(
        "--network",
        metavar="NAME",
        help="With --docker: the Docker network for the code; none disables networking.  [default: the engine's]",
    ),
)


output_dir_option = click.option(
    "--output-dir",
    metavar="DIR",
    shell_complete=directories,
    help="Directory for the notebook and its files; created with its parents if missing.  [default: the current "
    "directory; with --docker, a new directory in it if a container must not mount it, such as your home directory]",
)


def notebook_option(default: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """The option `--notebook` of commands that record."""
    return click.option(
        "--notebook",
        metavar="NAME",
        help="Name of the notebook. An existing notebook is never overwritten: the new one is then NAME-2, NAME-3 "
        f"and so on.  [default: {default}]",
    )


def kernel_option(meaning: str, default: str | None = None) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """The option `--kernel`."""
    return click.option(
        "--kernel", metavar="NAME", default=default, show_default=True, shell_complete=kernels, help=meaning
    )


@dataclasses.dataclass(frozen=True, slots=True)
class Place:
    """The values of the options for where code runs."""

    server: str | None
    python: str | None
    docker: str | None
    base_image: str | None
    network: str | None

    @contextlib.contextmanager
    def ready(self) -> Iterator[Server]:
        """Provide kernels while entered; a terminal shows the progress of building an image."""
        with contextlib.ExitStack() as stack:
            source: Server = self.connection() or self.local()
            with working("looking for the Docker engine") as show:
                if (containers := self.containers(show)) is not None:
                    source = stack.enter_context(containers)
            yield source

    def containers(self, on_progress: Callable[[str], None]) -> DockerJupyterServer | None:
        """The container server of --docker, not started yet; `on_progress` is called with each build step."""
        if self.docker is None:
            return None
        from nbtape.servers.docker.server import DockerJupyterServer

        return DockerJupyterServer(
            custom_image_name=None if self.docker == OUR_IMAGE else self.docker,
            base_image=self.base_image,
            network=self.network,
            on_progress=on_progress,
        )

    def output_dir(self, given: str | None) -> str:
        """The given output directory, or else the current one, or a new one if a container must not mount that."""
        if self.docker is None:
            return given or "."
        from nbtape.servers.docker.mounts import check_place, refusal

        if given is not None:
            check_place(Path(given).absolute())  # before an image is built
            return given
        if not (why := refusal(Path())):
            return "."
        new = _new_directory()
        say(f"A container must not mount the current directory: {why}. Using the new directory {new} instead.")
        return str(new)

    def connection(self) -> JupyterConnectionInfo | None:
        """The connection to the requested server; None without --server."""
        if self.server is None:
            return None
        info = JupyterConnectionInfo.from_url(self.server)
        return info if info.token else dataclasses.replace(info, token=os.environ.get("JUPYTER_TOKEN") or None)

    def local(self) -> LocalPython | None:
        """The requested Python for local kernels, or the default one, which is printed; None for nbtape's own."""
        from nbtape.kernels.local.manager import LocalPython

        if self.python is not None:
            return LocalPython(self.python)
        if self.docker is not None or self.server is not None or (python := default_python(Path())) is None:
            return None
        where = plain_line(str(python.parent.parent))
        say(f"nbtape: The kernel runs in the Python of {where}. Set --python to change that.")
        return LocalPython(python, must=False)

    def check(self) -> None:
        """Raise a UsageError if options exclude each other."""
        if self.python is not None and (self.docker is not None or self.server is not None):
            other = given_option("docker", "server")
            raise click.UsageError(f"--python is for local kernels and cannot be combined with {other}.")
        if self.docker is not None and self.server is not None:
            raise click.UsageError("--docker and --server cannot be combined. Use one of them.")
        if self.docker is None and (option := given_option("base_image", "network")):
            raise click.UsageError(f"{option} needs --docker.")
        if self.docker not in {None, OUR_IMAGE} and self.base_image:
            raise click.UsageError(
                f"--base-image is for nbtape's own image, but --docker names {self.docker}. Leave out one of them."
            )


def _new_directory() -> Path:
    """Make a directory in the current one that only its owner can enter."""
    for number in itertools.count(1):
        directory = Path(f"nbtape-run-{number}")
        with contextlib.suppress(FileExistsError):
            directory.mkdir(mode=0o700)
            return directory
    raise AssertionError("numbers do not end")


def with_place(command: Callable[..., int]) -> Callable[..., int]:
    """Add these options to a command, which gets their values as its argument `place`."""

    @functools.wraps(command)
    def collect(*arguments: Any, **options: Any) -> int:  # noqa: ANN401  (click's)
        place = Place(**{field.name: options.pop(field.name) for field in dataclasses.fields(Place)})
        return command(*arguments, place=place, **options)

    for option in reversed(_OPTIONS):
        collect = option(collect)
    return collect
