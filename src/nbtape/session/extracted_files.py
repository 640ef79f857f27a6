"""Save outputs (images, PDF, and HTML on request) as files next to the notebook, named by block and output."""

from __future__ import annotations

import base64
import binascii
import logging
from dataclasses import dataclass, field
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final

from nbtape.common import image_types
from nbtape.common.untrusted_files import Directory
from nbtape.notebook.charts import chart_of, is_blank, needs_scripts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

logger = logging.getLogger(__name__)

_HTML: Final = "text/html"
_EXTENSIONS: Final = {**image_types.EXTENSIONS, "application/pdf": ".pdf", _HTML: ".html"}

#: Prevents an extracted HTML file from running scripts or loading anything. The notebook keeps the original.
_INERT: Final = (
    '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; '
    "img-src data:; font-src data:; style-src 'unsafe-inline'\">\n"
)

#: The first line of an extracted HTML file that has scripts or frames.
_WITHOUT_SCRIPTS: Final = "<p><em>[nbtape: scripts and frames do not run in this file, only in the notebook]</em></p>\n"


@dataclass(slots=True)
class Extraction:
    """The files extracted from one cell: their path (absolute), output (its position) and mime_type.

    `lines` has the lines for the agent, by position of the output.
    """

    files: list[dict[str, Any]] = field(default_factory=list)
    lines: dict[int, list[str]] = field(default_factory=dict)


class FileExtractor:
    """Extracts files to `directory`, named after the notebook. One per session: it overwrites only its own files.

    Args:
        directory: Their directory.
        stem: The name of the notebook without its suffix.
        with_html: Whether HTML outputs become files too.
        shown: The path of a file in the lines for the agent; by default its name.
    """

    def __init__(
        self,
        directory: Directory | Path,
        stem: str,
        *,
        with_html: bool = False,
        shown: Callable[[Path], str] = attrgetter("name"),
    ) -> None:
        self._directory = Directory.of(directory)
        self._types = _EXTENSIONS.keys() - (set() if with_html else {_HTML})
        self._shown = shown
        self._stem = stem.replace(" ", "_")
        self._own: dict[tuple[int, int, str], Path] = {}

    def extract(self, cell: int, block: int, outputs: Iterable[Mapping[str, Any]]) -> Extraction:
        """Write the files of a cell, replacing those that it wrote before; `block` is its number.

        If a file cannot be written, a line for the agent reports it instead of an error: the notebook has the content.
        """
        extraction = Extraction()
        for position, output in enumerate(outputs):
            data = output.get("data", {})
            for mime, value in data.items():
                if mime in self._types and _is_worth_a_file(data, mime):
                    self._extract(extraction, (cell, position, mime), block, value)
        return extraction

    def _extract(self, extraction: Extraction, key: tuple[int, int, str], block: int, value: str) -> None:
        _, position, mime = key
        kind = "Image" if mime in image_types.EXTENSIONS else {_HTML: "HTML", "application/pdf": "PDF"}[mime]
        try:
            path = self._write(key, block, _content(mime, value))
        except (OSError, ValueError) as exc:
            logger.warning("%s of block %d could not be saved as a file: %s", mime, block, exc)
            line = f"{kind} data could not be saved as a file ({_reason(exc)}); it is in the notebook"
        else:
            line = f"{kind} data saved to {self._shown(path)}"
            extraction.files.append({"path": str(path), "output": position, "mime_type": mime})
        extraction.lines.setdefault(position, []).append(line)

    def _write(self, key: tuple[int, int, str], block: int, content: bytes) -> Path:
        """Write a file; never replace or follow one that the code may have created."""
        self._directory.refresh()
        if key in self._own:
            self._directory.replace(self._own[key].name, content)
            return self._own[key]
        _, position, mime = key
        name, extension = f"{self._stem}_{block}_{position}", _EXTENSIONS[mime]
        number = 1
        while True:
            path = self._directory.path / (f"{name}{extension}" if number == 1 else f"{name}-{number}{extension}")
            try:
                self._directory.create(path.name, content)
            except FileExistsError:
                number += 1
            else:
                self._own[key] = path
                return path


def _is_worth_a_file(data: Mapping[str, Any], mime: str) -> bool:
    """Whether a file of this type shows something that no other one shows."""
    if mime == "image/jpeg":  # Pillow shows every image as both
        return image_types.PNG not in data
    return mime != _HTML or not (is_blank(data) or chart_of(data))  # extracted HTML runs no scripts


def _content(mime: str, value: str) -> bytes:
    """Decode the content of a file; raises binascii.Error for invalid base64."""
    if mime == _HTML:
        return (_INERT + (_WITHOUT_SCRIPTS if needs_scripts(value) else "") + value).encode()
    if mime == image_types.SVG:
        return value.encode()
    return base64.b64decode("".join(value.split()).encode(), validate=True)


def _reason(exc: Exception) -> str:
    if isinstance(exc, binascii.Error):
        return "it is not valid base64"
    return exc.strerror or str(exc) if isinstance(exc, OSError) else str(exc)
