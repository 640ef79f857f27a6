"""Write exports to disk without overwriting any file that the caller did not name."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, get_args

from nbtape.common.untrusted_files import Directory, replace_file
from nbtape.errors import MissingExtraError, OutputWriteError
from nbtape.notebook.format import own_metadata
from nbtape.notebook.output_path import reporting
from nbtape.notebook.unknown_types import spelled_out

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from nbformat import NotebookNode

Format = Literal["html", "py", "md", "ipynb"]
FORMATS: Final[tuple[str, ...]] = get_args(Format)

_IMAGES: Final = {"PIL": "pillow", "lxml": "lxml"}
#: The optional packages of each format, by the modules that are imported.
_PACKAGES: Final[Mapping[str, Mapping[str, str]]] = {
    "html": {"nbconvert": "nbconvert", "nh3": "nh3", **_IMAGES},
    "md": _IMAGES,
    "py": {"jupytext": "jupytext"},
    "ipynb": {},
}


def check_packages(form: Format, feature: str | None = None) -> None:
    """Raise MissingExtraError if a package that the format needs is not installed."""
    MissingExtraError.check(feature or f"Export to {form}", "export", **_PACKAGES[form])


@dataclass(frozen=True, slots=True)
class Export:
    """The paths of an export and of the images next to it."""

    output: Path
    files: tuple[Path, ...] = ()


def write(document: NotebookNode, name: str, form: Format, target: Path, untrusted: Sequence[Path] = ()) -> Export:
    """Write a validated notebook in another format, replacing `target`; for `untrusted`, see `Directory`.

    Raises OutputWriteError if it cannot be written, ValueError if the format does not allow it, and
    MissingExtraError if the format needs a package that is not installed.
    """
    check_packages(form)
    if form == "ipynb":
        document["metadata"]["nbtape"] = {**own_metadata(document), "derived_from": name}
        save_notebook(target, document, untrusted)
        return Export(target)
    document = spelled_out(document)
    if form == "md":
        with reporting(target):
            return _write_report(document, name, target, untrusted)
    if form == "py":
        from nbtape.export.script import write_script as render
    else:
        from nbtape.export.html import render
    content = render(document, name).encode()
    with reporting(target):
        replace_file(target, content, untrusted)
    return Export(target)


def save_notebook(path: Path, document: NotebookNode, untrusted: Sequence[Path] = ()) -> None:
    """Save a notebook as an .ipynb; for `untrusted`, see `Directory`."""
    from nbtape.notebook.document import Notebook  # imports nbformat, which is too slow for `nbtape --help`

    notebook = Notebook(path, document, untrusted=untrusted)
    notebook.save()
    notebook.close()


def _write_report(document: NotebookNode, name: str, target: Path, untrusted: Sequence[Path]) -> Export:
    from nbtape.export.markdown import write_report

    images = f"{target.stem}_files"
    report = write_report(document, name, images)
    with Directory(target.parent, untrusted) as directory:
        if report.images:
            try:
                directory.make(images)
                below = directory.below(images)
            except OSError as exc:
                reason = "it exists and is not a regular directory. Remove it, or choose another output."
                raise OutputWriteError(target.with_name(images), reason) from exc
            with below:
                for path, content in report.images.items():
                    below.replace(Path(path).name, content)
        directory.replace(target.name, report.text.encode())
    return Export(target, tuple(target.parent / path for path in report.images))
