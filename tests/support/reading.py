"""What a test reads to judge a run: the notebook on disk, the clock, the processes of this machine."""

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
    """A notebook as any reader would get it, with every rule of nbformat checked."""
    notebook: NotebookNode = nbformat.read(path, as_version=nbformat.NO_CONVERT)
    nbformat.validate(notebook)
    return notebook


def kernel_id_in(path: Path) -> str:
    """The id of the kernel that a notebook names."""
    return str(read_notebook(path)["metadata"]["nbtape"]["kernel_id"])


def code_cells(path: Path) -> list[NotebookNode]:
    """The code cells of a notebook; a busy machine's session may take a moment to save what is in the journal."""
    eventually(lambda: not journal.path_of(path).exists(), seconds=2)
    return [cell for cell in read_notebook(path)["cells"] if cell["cell_type"] == "code"]


def stream_text(cell: NotebookNode, name: str = "stdout") -> str:
    """All that a cell keeps of one stream."""
    return "".join(
        output["text"] for output in cell["outputs"] if output["output_type"] == "stream" and output["name"] == name
    )


def seconds(act: Callable[[], object]) -> float:
    """How long something takes."""
    began = time.monotonic()
    act()
    return time.monotonic() - began


def eventually(holds: Callable[[], Any], seconds: float = 10) -> bool:
    """Whether something comes true within some seconds."""
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def is_running(pid: int) -> bool:
    """Whether a process runs; one that is dead and that nobody has asked about does not."""
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def descendants(pid: int | None = None) -> set[int]:
    """The processes that a process (None: this one) has started, and those that they have started."""
    return {child.pid for child in psutil.Process(pid).children(recursive=True) if is_running(child.pid)}


def image_tags(client: docker.DockerClient) -> set[str]:
    """The names of all images that an engine has."""
    return {tag for image in client.images.list() for tag in image.tags}
