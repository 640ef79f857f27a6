"""`nbtape run --follow`: where people see the notebook in JupyterLab while it is recorded."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    import contextlib
    from pathlib import Path

    from nbtape.cli.kernel_options import Place
    from nbtape.session.blocking import JupyterCodeExecutor
    from nbtape.session.options import Server


def kernels_to_follow(place: Place, directory: Path) -> contextlib.AbstractContextManager[Server]:
    """Where kernels come from: the server that is named, or else a JupyterLab of our own.

    Args:
        place: What the command line says.
        directory: Where the notebook goes.

    Raises:
        UsageError: There are no pages where the code is to run.
    """
    if place.docker is not None:
        raise click.UsageError("--follow is for --server and for this machine: there is no JupyterLab in a container.")
    if place.server is not None:
        return place.ready()
    from nbtape.servers.local import LocalJupyterServer

    return LocalJupyterServer(lab=True, root_dir=directory if directory.is_dir() else directory.parent)


def invitation(executor: JupyterCodeExecutor, kernels: Server) -> str:
    """Where people see the notebook, a sentence.

    Args:
        executor: What records it, started.
        kernels: Where its kernel comes from.
    """
    if not executor.url:
        return f"There is nothing to follow: the server has no JupyterLab, or does not see {executor.notebook}."
    if callable(login := getattr(kernels, "login", None)):
        return f"Follow it in JupyterLab while it runs (the link lets one person in, once): {login(executor.url)}"
    return f"Follow it in JupyterLab (which may ask for the server's token): {executor.url}"
