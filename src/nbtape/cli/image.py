"""`nbtape image`: the Docker images of kernels."""

from __future__ import annotations

import click

from nbtape.cli.command import Group
from nbtape.cli.waiting import working


@click.group(cls=Group)
def image() -> None:
    """The Docker images in which `nbtape run --docker` runs code."""


@image.command()
@click.option("--base-image", help="An image with Python 3.11 or newer, pip and venv.  [default: python:3.12-slim]")
@click.option("--package", "packages", multiple=True, help="A Python package that is to be in it; may be repeated.")
@click.option("--tag", help="A name for it, besides the one that says what it is made of.")
def build(*, base_image: str | None, packages: tuple[str, ...], tag: str | None) -> None:
    """Build the image of kernels, with more packages in it if you like. The last line is its name.

    \b
    Examples:
      nbtape image build --package pandas --package matplotlib --tag nbtape-science
      nbtape run answer.md --docker nbtape-science
      nbtape image build --base-image mirror.example.org/library/python:3.12-slim
    """
    from nbtape.servers.engine import Engine
    from nbtape.servers.image import DEFAULT_BASE_IMAGE, Recipe, have_image

    with working("looking for the Docker engine") as told:
        engine = Engine()
        name = have_image(engine, Recipe(base_image or DEFAULT_BASE_IMAGE, packages), on_progress=told)
    if tag is not None:
        with engine.refusals(f"call the image {tag}"):
            engine.docker.images.get(name).tag(tag)
    click.echo(tag or name)
