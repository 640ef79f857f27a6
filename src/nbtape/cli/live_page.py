"""`nbtape watch --web`: a session as a page for browsers of this machine, which fills while it runs."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import click

from nbtape.cli.display.status_line import say
from nbtape.cli.following import say_conclusion, say_until_when
from nbtape.summary.wording import conclusion_of

if TYPE_CHECKING:
    from pathlib import Path


def follow_on_page(path: Path, port: int) -> None:
    """Serve the page until the session has ended and every page that is open has all of it.

    Args:
        path: The notebook.
        port: Where to listen; 0 for any port that is free.

    Raises:
        NotebookReadError: There is no notebook, or what is there is none and stays so.
        OSError: The port cannot be had.
    """
    from nbtape.common.heavy_imports import defer_grammar

    defer_grammar()
    from nbtape.watch.follow import Session
    from nbtape.watch.page_server import PageServer
    from nbtape.watch.page_state import Board

    session, board = Session(path), Board(path.name)
    looks = session.follow()
    with contextlib.ExitStack() as stack:
        server = None
        for look in looks:
            if look is not None:
                board.post(look)
                if server is None:  # what is no notebook gets no page
                    server = stack.enter_context(PageServer(board, port))
                    say_until_when(session, path.name)
                    click.echo(server.url)
        say_conclusion(session, path.name, board.counts)
        if server is None:
            return
        board.conclude(conclusion_of(path.name, session.ending, board.counts))
        if server.is_awaited:
            say("Nobody has opened the page yet: it can be opened for a minute from now.")
        server.linger()
