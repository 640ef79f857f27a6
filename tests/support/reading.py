"""What tests read to judge a run: the notebook on disk, the clock, local processes."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import nbformat
import psutil  # type: ignore[import-untyped,unused-ignore]

from nbtape.notebook import journal

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import docker
    from nbformat import NotebookNode


def read_notebook(path: Path) -> NotebookNode:
    """Read a notebook as any reader does, checking every rule of nbformat."""
    notebook: NotebookNode = nbformat.read(path, as_version=nbformat.NO_CONVERT)
    nbformat.validate(notebook)
    return notebook


def kernel_id_in(path: Path) -> str:
    """Return the id of the kernel that a notebook names."""
    return str(read_notebook(path)["metadata"]["nbtape"]["kernel_id"])


def code_cells(path: Path) -> list[NotebookNode]:
    """Return the code cells of a notebook; on a busy machine, a session may save its journal a little later."""
    eventually(lambda: not journal.path_of(path).exists(), seconds=2)
    return [cell for cell in read_notebook(path)["cells"] if cell["cell_type"] == "code"]


def stream_text(cell: NotebookNode, name: str = "stdout") -> str:
    """Return the full text of one stream of a cell."""
    return "".join(
        output["text"] for output in cell["outputs"] if output["output_type"] == "stream" and output["name"] == name
    )


def seconds(act: Callable[[], object]) -> float:
    """Return how many seconds a call takes."""
    began = time.monotonic()
    act()
    return time.monotonic() - began


def eventually(holds: Callable[[], Any], seconds: float = 10) -> bool:
    """Return whether a condition becomes true within some seconds."""
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def is_running(pid: int) -> bool:
    """Return whether a process runs; a zombie does not."""
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def descendants(pid: int | None = None) -> set[int]:
    """Return all descendants of a process (None: this one)."""
    return {child.pid for child in psutil.Process(pid).children(recursive=True) if is_running(child.pid)}


def image_tags(client: docker.DockerClient) -> set[str]:
    """Return the tags of all images of an engine."""
    return {tag for image in client.images.list() for tag in image.tags}
