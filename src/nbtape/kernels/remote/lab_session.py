"""Share a recording's kernel with people who open the recording in JupyterLab.

JupyterLab looks for a session with the notebook's path and uses the kernel of that session; see `/api/sessions` and
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
    """Connect a notebook, which must not be being written, with a kernel on a server.

    `root` is the assumed root of the server's files, which is checked by requesting the notebook from the server. If
    the notebook already has another kernel, it keeps that, because it belongs to someone else.

    Returns:
        The URL at which JupyterLab shows the notebook on that kernel; empty if the server does not see it, has no
        JupyterLab, or has another kernel for it.
    """
    path = path_below(root, notebook)
    if path is None or not _is_same(await api.file(path), notebook):
        return ""
    owner = await api.open_session(path, kernel_id)
    if owner != kernel_id:
        logger.warning("JupyterLab uses kernel %s for %s, not the kernel of the recording", owner, path)
        return ""
    return await api.page_of(path)


def path_below(root: Path | None, path: Path | None) -> str | None:
    """The path of a file or directory relative to a server's `root`; None if it is not below it."""
    if root is None or path is None:
        return None
    for begin, place in ((root, path), (root.resolve(), path.resolve())):  # both may contain links
        if place.is_relative_to(begin):
            return place.relative_to(begin).as_posix()
    return None


def _is_same(model: Mapping[str, Any] | None, notebook: Path) -> bool:
    """Whether a server's description matches a notebook: the same size, and modification time to 1 µs."""
    if model is None:
        return False
    known = notebook.stat()
    try:
        changed = datetime.datetime.fromisoformat(model["last_modified"])
    except (KeyError, TypeError, ValueError):
        return False
    expected = datetime.datetime.fromtimestamp(known.st_mtime, datetime.UTC)
    return bool(model.get("size") == known.st_size and changed == expected)
