"""What every command does where it cannot do what it was told, and how it tells of its progress."""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING, Final

import click

from nbtape.errors import NbtapeError
from nbtape.results import EXIT_CODES

if TYPE_CHECKING:
    from collections.abc import Iterator

#: The exit code where nothing could be run at all: click's own for a wrong command line.
CANNOT_RUN: Final = 2


@contextlib.contextmanager
def refusals(*, debug: bool) -> Iterator[None]:
    """Have what cannot be done said in one line, and end."""
    try:
        yield
    except (NbtapeError, ValueError, OSError) as exc:
        if debug:
            raise
        click.echo(f"nbtape: {exc}", err=True)
        sys.exit(CANNOT_RUN)
    except KeyboardInterrupt:  # where no block runs yet: a kernel starts, or cells are run again
        click.echo("nbtape: Interrupted.", err=True)
        sys.exit(EXIT_CODES["interrupted"])


def working(what: str) -> contextlib.AbstractContextManager[object]:
    """Show that something is under way: on a terminal, and to nobody else."""
    from rich.console import Console

    console = Console(stderr=True)
    return console.status(what) if console.is_terminal else contextlib.nullcontext()


def say(line: str) -> None:
    """Progress, for people."""
    click.echo(line, err=True)
