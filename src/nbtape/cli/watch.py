"""`nbtape watch`: follow a session of another process while it runs."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

import click

from nbtape.cli import completion
from nbtape.cli.command import Command, given_option
from nbtape.cli.display.plain import plain_line
from nbtape.cli.display.printing import echo
from nbtape.cli.display.status_line import say
from nbtape.common.text import plural
from nbtape.results import INTERRUPTED, WELL
from nbtape.summary.wording import conclusion_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nbtape.watch.follow import Session


@click.command(
    cls=Command,
    examples=[
        "nbtape watch coding/session.ipynb",
        "nbtape watch coding --wait",
        "nbtape watch coding/session.ipynb --from-start | tee session.log",
        "nbtape watch coding/session.ipynb --web",
        "ssh host nbtape watch coding/session.ipynb",
        "ssh -L 8000:localhost:8000 host nbtape watch coding --web --port 8000",
    ],
)
@click.argument("notebook", metavar="NOTEBOOK", shell_complete=completion.notebooks)
@click.option(
    "--cells",
    type=click.IntRange(min=0),
    default=3,
    show_default=True,
    metavar="N",
    help="Start with the last N existing cells.",
)
@click.option("--from-start", is_flag=True, help="Start with the first cell.")
@click.option("--wait", is_flag=True, help="Wait if NOTEBOOK does not exist or no session is recording it.")
@click.option("--web", is_flag=True, help="Show the session on a local web page instead of the terminal.")
@click.option(
    "--port",
    type=click.IntRange(1, 65535),
    metavar="N",
    help="With --web: the port of the page.  [default: a free one]",
)
def watch(
    *,
    notebook: str,
    cells: int,
    from_start: bool,
    wait: bool,
    web: bool,
    port: int | None,
) -> int:
    """Follow a session while it runs.

    Shows the code of each cell when it starts, outputs as they arrive, and status, time and files when it finishes.
    Exits with 0 when the executor or its process stops, even if cells failed. A NOTEBOOK that is not being recorded is
    shown to its end. If NOTEBOOK is a directory, the notebook being recorded in it is shown, or else
    the newest one that is not a replay or an export of another.
    Only the file is read; nothing is written or sent to the kernel.

    The recorder locks its notebook, and the lock shows when a session ends. On Windows and on file systems without
    locks, press Ctrl-C to stop.

    With --web, prints a link to a page that shows the session from its first cell on. The page is served on the
    loopback interface, only to those who have the link: its last part is a secret. Scripts in outputs are removed. When
    the session has ended, the command waits until all open pages are complete, and up to a minute for the first page to
    be opened.
    """
    if web and (option := given_option("cells", "from_start")):
        raise click.UsageError(f"{option} cannot be combined with --web: the page shows all cells.")
    if not web and (option := given_option("port")):
        raise click.UsageError(f"{option} needs --web.")
    try:
        path = _chosen(Path(notebook), wait=wait)
        if web:
            _follow_on_page(path, port or 0)
        else:
            _follow(path, None if from_start else cells)
    except KeyboardInterrupt:
        return INTERRUPTED
    return WELL


def _chosen(place: Path, *, wait: bool) -> Path:
    from nbtape.watch.follow import await_session, newest_notebook

    if not wait:
        return newest_notebook(place) if place.is_dir() else place
    waiting = await_session(place)
    found = next(waiting)
    if found is None:
        say(f"Waiting for a session in {plain_line(str(place))}. Press Ctrl-C to stop.")
    return found or next(filter(None, waiting))


def _follow(path: Path, count: int | None) -> None:
    """Print a session until it ends, from the last `count` cells on, or from the first one if it is None."""
    from nbtape.cli.display.watch_output import Live
    from nbtape.watch.events import EventTracker
    from nbtape.watch.follow import Session

    session, tracker, live = Session(path), EventTracker(), Live(path)
    begin: int | None = None
    try:
        for snapshot in session.follow():
            if snapshot is not None:
                if begin is None:
                    begin = _introduce(session, path.name, len(snapshot.cells), count)
                for event in tracker.events(snapshot, begin):
                    live.show(event)
                begin = 0
            live.tick()
    finally:
        live.close()
    _say_conclusion(session, path.name, tracker.counts)


def _introduce(session: Session, name: str, cells: int, count: int | None) -> int:
    """Print which notebook and cells are shown; return the index of the first shown cell."""
    _say_until_when(session, name)
    if count is None or cells <= count:
        return 0
    say(f"The notebook has {plural(cells, 'cell')}{f'; showing the last {count}:' if count else '.'}")
    return cells - count


def _say_until_when(session: Session, name: str) -> None:
    name = plain_line(name)
    if session.lives is None:
        say(f"Following {name}. Its file system has no locks, so the end cannot be detected. Press Ctrl-C to stop.")
    elif session.lives:
        say(f"Following {name} until its session ends. Press Ctrl-C to stop.")


def _say_conclusion(session: Session, name: str, counts: Mapping[str, int]) -> None:
    hint = " Use --wait to wait for the next session." if session.ending == "not written" else ""
    say(f"\n{conclusion_of(plain_line(name), session.ending, counts)}{hint}")


def _follow_on_page(path: Path, port: int) -> None:
    """Serve the page until the session has ended and every open page is complete."""
    from nbtape.common.compat_jsonschema import defer_grammar

    defer_grammar()
    from nbtape.watch.follow import Session
    from nbtape.watch.page_server import PageServer
    from nbtape.watch.page_state import Board

    session, board = Session(path), Board(path.name)
    server = None
    with contextlib.ExitStack() as stack:
        for snapshot in session.follow():
            if snapshot is None:
                continue
            board.post(snapshot)
            if server is None:  # the notebook is invalid
                server = stack.enter_context(PageServer(board, port))
                _say_until_when(session, path.name)
                echo(server.url)
        _say_conclusion(session, path.name, board.counts)
        if server is None:
            return
        board.conclude(conclusion_of(path.name, session.ending, board.counts))
        if server.is_awaited:
            say("The page has not been opened yet; it stays available for one minute.")
        server.linger()
