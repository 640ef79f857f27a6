"""`nbtape image`: build Docker images for kernels."""

from __future__ import annotations

from typing import Final

import click

from nbtape.cli.command import Group
from nbtape.cli.display.plain import plain_line
from nbtape.cli.display.printing import echo
from nbtape.cli.display.status_line import working

_BUILD: Final = "nbtape image build --package matplotlib --package pandas --tag nbtape-science"


@click.group(cls=Group, no_args_is_help=False, examples=[_BUILD])
def image() -> None:
    """Build Docker images to run code in."""


@image.command(
    examples=[
        _BUILD,
        "nbtape run answer.md --docker nbtape-science",
        "nbtape image build --base-image mirror.example.org/library/python:3.12-slim",
    ]
)
@click.option(
    "--base-image",
    metavar="IMAGE",
    help="An image with Python 3.11 or newer, pip and venv.  [default: python:3.12-slim]",
)
@click.option(
    "--package",
    "packages",
    multiple=True,
    metavar="PACKAGE",
    help="A Python package to install, as pip accepts it; may be repeated.",
)
@click.option("--tag", metavar="NAME", help="An additional name for the image.")
def build(*, base_image: str | None, packages: tuple[str, ...], tag: str | None) -> None:
    """Build a Docker image with extra packages.

    Prints the name of the image. Pass it to other commands as `--docker NAME`. An image that exists is not built again.
    """
    from nbtape.servers.docker.engine import Engine
    from nbtape.servers.docker.image import DEFAULT_BASE_IMAGE, Recipe, have_image

    with working("looking for the Docker engine") as told:
        engine = Engine()
        name = have_image(engine, Recipe(base_image or DEFAULT_BASE_IMAGE, packages), on_progress=told)
    if tag is not None:
        with engine.refusals(f"tag the image {tag}"):
            engine.docker.images.get(name).tag(tag)
    echo(plain_line(tag or name))
