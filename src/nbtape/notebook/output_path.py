"""Choose the paths of replays and exports of a recorded notebook."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from nbtape.common.untrusted_files import Directory, ObstacleError
from nbtape.errors import OutputWriteError
from nbtape.notebook.atomic_write import advice, places

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def output_path(notebook: Path, output: Path | None, name_suffix: str, extension: str = ".ipynb") -> Path:
    """Check the path of an output file; by default, choose a free one next to the notebook.

    Raises ValueError for the notebook itself, and NotebookWriteError if the directory is missing, or if its path has a
    link below the notebook's directory, where recorded code may have created it.
    """
    if output is None:
        return next(places(notebook.parent, notebook.stem + name_suffix, extension))
    if output.exists() and output.samefile(notebook):
        raise ValueError(f"{output} is the recorded notebook. Choose another output.")
    try:
        Directory(output.parent, [notebook.parent]).refresh()
    except ObstacleError as exc:
        raise OutputWriteError(output, f"{exc.strerror}.") from exc
    except OSError as exc:
        raise OutputWriteError(output, advice(exc)) from exc
    return output


@contextlib.contextmanager
def reporting(target: Path) -> Iterator[None]:
    """Raise OutputWriteError if a file cannot be written."""
    try:
        yield
    except OSError as exc:
        raise OutputWriteError(target, advice(exc)) from exc
