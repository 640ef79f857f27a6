"""`nbtape image`: the Docker images of kernels."""

from __future__ import annotations

import click

from nbtape.cli.refusals import refusals, say


@click.group()
def image() -> None:
    """The Docker images in which `nbtape run --docker` runs code."""


@image.command()
@click.option("--base-image", help="An image with Python 3.11 or newer, pip and venv.  [default: python:3.12-slim]")
@click.option("--package", "packages", multiple=True, help="A Python package that is to be in it; may be repeated.")
@click.option("--tag", help="A name for it, besides the one that says what it is made of.")
@click.pass_obj
def build(debug: bool, *, base_image: str | None, packages: tuple[str, ...], tag: str | None) -> None:  # noqa: FBT001  (click's object)
    """Build the image of kernels, with more packages in it if you like. The last line is its name.

    \b
    Examples:
      nbtape image build --package pandas --package matplotlib --tag nbtape-science
      nbtape run answer.md --docker nbtape-science
      nbtape image build --base-image mirror.example.org/library/python:3.12-slim
    """
    with refusals(debug=debug):
        from nbtape.servers.engine import Engine
        from nbtape.servers.image import DEFAULT_BASE_IMAGE, Recipe, have_image

        engine = Engine()
        name = have_image(engine, Recipe(base_image or DEFAULT_BASE_IMAGE, packages), on_progress=say)
        if tag is not None:
            with engine.refusals(f"call the image {tag}"):
                engine.docker.images.get(name).tag(tag)
    click.echo(tag or name)
