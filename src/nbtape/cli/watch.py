"""`nbtape watch`: a session that goes on in another process, as it goes on."""

from __future__ import annotations

import functools
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

import click

from nbtape.cli.plain import plain_line
from nbtape.cli.refusals import refusals, say
from nbtape.overview.words import counted_cells
from nbtape.results import EXIT_CODES

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from nbtape.cli.pictures import Protocol
    from nbtape.watching.events import Teller
    from nbtape.watching.looks import Look
    from nbtape.watching.session import Session

_EXIT_CODES_OF_WATCH: Final = """
\b
Exit codes of watch:
  0    the session has ended, however its cells did; or nobody writes the notebook, and it was shown
  2    there is no notebook, or it cannot be read
  130  interrupted (Ctrl-C)
"""


@click.command(epilog=_EXIT_CODES_OF_WATCH)
@click.argument("notebook", metavar="NOTEBOOK")
@click.option(
    "--cells",
    type=click.IntRange(min=0),
    default=3,
    show_default=True,
    metavar="N",
    help="Begin with the last N cells that are there.",
)
@click.option("--from-start", is_flag=True, help="Begin with the first cell.")
@click.option("--wait", is_flag=True, help="If no session goes on in NOTEBOOK, or it is not there, wait for one.")
@click.option(
    "--pictures",
    type=click.Choice(["auto", "kitty", "iterm2", "sixel", "none"]),
    default="auto",
    show_default=True,
    help="How pictures are shown. By default where the terminal is known to: Kitty, Ghostty, iTerm2, WezTerm, foot, "
    "mlterm, Contour, and none of them behind tmux or screen.",
)
@click.pass_obj
def watch(
    debug: bool,  # noqa: FBT001  (click's object)
    *,
    notebook: str,
    cells: int,
    from_start: bool,
    wait: bool,
    pictures: str,
) -> None:
    """Follow a session while it runs, from any process that can read its NOTEBOOK.

    The code of each cell is shown when it begins, its outputs as they come, and its status, its time and its files when
    it ends. It ends when the session does: when the executor stops, or its process. A NOTEBOOK that nobody writes is
    shown to its end. A directory stands for the notebook that is being written in it, or else for its newest.

    Who writes a notebook has it locked, and that is how it is told. On drives without locks, and on Windows, nobody can
    tell: there it is followed until Ctrl-C. Nothing is written, and nothing sent to the kernel.

    \b
    Examples:
      nbtape watch coding/session.ipynb
      nbtape watch coding --wait
      nbtape watch coding/session.ipynb --from-start | tee session.log
      ssh host nbtape watch coding/session.ipynb
    """
    with refusals(debug=debug):
        try:
            path = _chosen(Path(notebook), wait=wait)
            _follow(path, None if from_start else cells, _painter(pictures))
        except KeyboardInterrupt:
            sys.exit(EXIT_CODES["interrupted"])


def _chosen(place: Path, *, wait: bool) -> Path:
    from nbtape.watching.session import newest_notebook

    if wait:
        return _await(place)
    return newest_notebook(place) if place.is_dir() else place


def _await(place: Path) -> Path:
    from nbtape.watching.session import await_session

    is_told = False
    for found in await_session(place):
        if found is not None:
            return found
        if not is_told:
            say(f"Waiting for a session in {plain_line(str(place))}; Ctrl-C ends this.")
            is_told = True
    raise AssertionError("unreachable: it waits until there is one")


def _follow(path: Path, count: int | None, draw: Callable[[Mapping[str, Any]], str]) -> None:
    """Show a session until it ends.

    Args:
        path: Its notebook.
        count: With how many of the cells that are there to begin; None for all.
        draw: Shows pictures.
    """
    from nbtape.cli.live import Live
    from nbtape.watching.events import Teller
    from nbtape.watching.session import Session

    session, teller, live = Session(path), Teller(), Live(path, draw)
    is_first = True
    try:
        for look in session.follow():
            if look is not None and is_first:
                _introduce(session, look, path.name, count)
                teller.skip(look, 0 if count is None else max(0, len(look.cells) - count))
                is_first = False
            for event in teller.tell(look) if look is not None else ():
                live.tell(event)
            live.tick()
    finally:
        live.close()
    _conclude(session, teller, path.name)


def _introduce(session: Session, look: Look, name: str, count: int | None) -> None:
    there, name = len(look.cells), plain_line(name)
    if session.lives is None:
        say(f"Following {name}. Where it is, nobody can tell when a session ends: Ctrl-C ends this.")
    elif session.lives:
        say(f"Following {name} until its session ends, or Ctrl-C.")
    if count is not None and there > count:
        say(f"{there} cells are there{f'; these are the last {count}:' if count else '.'}")


def _conclude(session: Session, teller: Teller, name: str) -> None:
    told, name = counted_cells(teller.counts), plain_line(name)
    if session.ending == "ended":
        cut_off = "; what is running was cut off" if "running" in teller.counts else ""
        say(f"\nThe session of {name} has ended: {told}{cut_off}.")
    elif session.ending == "gone":
        say(f"\n{name} is gone, and nobody writes it: {told}.")
    else:
        say(f"\nNobody writes {name}: {told}. That is as far as it goes; --wait waits for a session.")


def _painter(pictures: str) -> Callable[[Mapping[str, Any]], str]:
    """What shows pictures, as the command line wants it."""
    from nbtape.cli.pictures import drawn, protocol_of

    chosen = pictures
    if pictures == "auto":
        chosen = (protocol_of(os.environ) if sys.stdout.isatty() else None) or "none"
    return (lambda _: "") if chosen == "none" else functools.partial(drawn, protocol=cast("Protocol", chosen))
