"""A recording on a Jupyter server that sees it: whoever opens it there is on the kernel that records it.

JupyterLab looks for a session of the notebook's path, and takes the kernel of that; see `/api/sessions` and
`/api/contents` of https://jupyter-server.readthedocs.io/en/latest/developers/rest-api.html.
"""

from __future__ import annotations

import datetime
import logging
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from nbtape.kernels.remote.rest import RestApi

logger = logging.getLogger(__name__)


async def share(api: RestApi, kernel_id: str, notebook: Path, root: Path) -> str:
    """Have a notebook and a kernel belong together on a server.

    A notebook for which the server has another kernel keeps it: that is somebody's, with their variables.

    Args:
        api: The server.
        kernel_id: The kernel.
        notebook: The notebook, which nobody writes just now.
        root: Where the server's files may begin. It is not taken on trust: the server is asked for the file.

    Returns:
        The URL at which JupyterLab shows the notebook on that kernel; empty if the server does not see it, has no
        JupyterLab, or has another kernel for it.

    Raises:
        KernelError: The server could not be asked.
    """
    path = path_below(root, notebook)
    if path is None or not _is_same(await api.file(path), notebook):
        return ""
    owner = await api.open_session(path, kernel_id)
    if owner != kernel_id:
        logger.warning("whoever opens %s in JupyterLab gets kernel %s, which is none of ours", path, owner)
        return ""
    return await api.page_of(path)


def path_below(root: Path | None, path: Path | None) -> str | None:
    """A file or directory as a server whose files begin at `root` calls it; None if it is not among them."""
    if root is None or path is None:
        return None
    for begin, place in ((root, path), (root.resolve(), path.resolve())):  # links may lead to either
        if place.is_relative_to(begin):
            return place.relative_to(begin).as_posix()
    return None


def _is_same(model: Mapping[str, Any] | None, notebook: Path) -> bool:
    """Whether what a server says of a file is said of ours: two of one size are not changed in one microsecond."""
    if model is None:
        return False
    known = notebook.stat()
    changed = datetime.datetime.fromtimestamp(known.st_mtime, datetime.UTC)
    try:
        told = datetime.datetime.fromisoformat(model["last_modified"])
    except (KeyError, TypeError, ValueError):
        return False
    return bool(model.get("size") == known.st_size and told == changed)
