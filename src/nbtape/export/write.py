"""Exports on disk: what is written where, and never over what somebody else has written."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, get_args

from nbtape.common.new_files import replace_file
from nbtape.errors import NotebookWriteError
from nbtape.notebook.atomic_write import places

if TYPE_CHECKING:
    from pathlib import Path

    from nbformat import NotebookNode

Format = Literal["html", "py", "md", "ipynb"]
FORMATS: Final[tuple[str, ...]] = get_args(Format)


@dataclass(frozen=True, slots=True)
class Export:
    """What was written.

    Args:
        output: The export.
        files: Pictures beside it.
    """

    output: Path
    files: tuple[Path, ...] = ()


def target_of(notebook: Path, form: Format, output: Path | None, *, suffix: str = "") -> Path:
    """Where an export goes.

    Args:
        notebook: The recorded notebook.
        form: What it is to be.
        output: Where somebody wants it, and what is there is replaced; None for a free place beside the notebook.
        suffix: What its name has besides the notebook's, if nobody says where.

    Raises:
        ValueError: That is the notebook itself.
        NotebookWriteError: There is no such directory.
    """
    if output is None:
        return next(places(notebook.parent, notebook.stem + suffix, f".{form}"))
    if output.exists() and output.samefile(notebook):
        raise ValueError(f"{output} is the recorded notebook: name another output.")
    if not output.parent.is_dir():
        raise NotebookWriteError(output, "there is no such directory. Make it, or name another output.")
    return output


def write(document: NotebookNode, name: str, form: Format, target: Path) -> Export:
    """Write an export.

    Args:
        document: The notebook, checked.
        name: What it is called.
        form: What it is to be.
        target: Where.

    Raises:
        OSError: It cannot be written.
        NotebookWriteError: The same, of a notebook.
        ValueError: It cannot be such a thing.
    """
    if form == "ipynb":
        from nbtape.notebook.document import Notebook  # imports nbformat, which `nbtape --help` does without

        notebook = Notebook(target, document)
        notebook.save()
        notebook.close()
        return Export(target)
    if form == "md":
        return _write_report(document, name, target)
    if form == "py":
        from nbtape.export.script import write_script as render
    else:
        from nbtape.export.html import render
    replace_file(target, render(document, name).encode())
    return Export(target)


def _write_report(document: NotebookNode, name: str, target: Path) -> Export:
    from nbtape.export.markdown import write_report

    directory = target.with_name(f"{target.stem}_files")
    report = write_report(document, name, directory.name)
    if report.pictures and not directory.is_dir():
        directory.mkdir()
    if directory.is_symlink():
        raise NotebookWriteError(directory, "it is a link. Take it away, or name another output.")
    for path, content in report.pictures.items():
        replace_file(target.parent / path, content)
    replace_file(target, report.text.encode())
    return Export(target, tuple(target.parent / path for path in report.pictures))
