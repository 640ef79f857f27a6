"""What a model is told, in every integration alike: of the tool that runs code, and of what came of its code."""

from __future__ import annotations

import io
import logging
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from nbtape.common.text import shorten

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nbtape.errors import NbtapeError
    from nbtape.results import CodeResult

logger = logging.getLogger(__name__)


#: The most files that are named, and characters of their names.
_MOST_FILES: Final = 50
_LONGEST_NAMES: Final = 4000

#: Files that may be pictures.
PICTURE_ENDINGS: Final = frozenset({".png", ".jpg", ".jpeg", ".gif", ".webp"})

#: What is read as a picture, by its content; the most bytes of a file, and pixels in it.
_FORMATS: Final = ("PNG", "JPEG", "GIF", "WEBP")
_LARGEST_FILE: Final = 50_000_000
MOST_PIXELS: Final = 50_000_000

#: The longest side of a picture that a model is shown, pixels.
_LONGEST_SIDE: Final = 1024

#: The most bytes of a picture that is passed on as it is.
_LARGEST_PICTURE: Final = 2_000_000


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture for a model: a PNG.

    Args:
        path: The file that it was made of.
        content: Its bytes.
    """

    path: Path
    content: bytes

    mime_type = "image/png"


def answer(result: CodeResult) -> str:
    """What a model is told of its code: output, a line for each file, and how it ended. A little over the bound of it.

    Args:
        result: What came of the code.
    """
    parts = [result.output.rstrip("\n") or _silence(result)]
    # Files that outputs showed are named there; those that the code wrote, and what was cut out, are named here.
    if unnamed := [path for path in result.output_files if path not in result.output]:
        lines = [f"File written: {path}" for path in unnamed[:_MOST_FILES]]
        if rest := len(unnamed) - len(lines):
            lines.append(f"{rest} more files were written.")
        parts.append(shorten("\n".join(lines), _LONGEST_NAMES, "the notebook has all names"))
    return "\n".join(parts)


def trouble(error: NbtapeError) -> str:
    """What a model is told where nbtape itself fails; what did run is told as well, so that it is not run again.

    Args:
        error: How it failed.
    """
    result = getattr(error, "result", None)
    return f"{error}\n{answer(result)}" if result is not None else str(error)


def pictures(result: CodeResult, *, most: int = 8, side: int = _LONGEST_SIDE) -> list[Picture]:
    """The pictures of a result, those that its code wrote as files too. What cannot be read as one is left out.

    Args:
        result: What came of the code.
        most: The most pictures; the last ones, if there are more.
        side: The longest side that one may have, pixels: larger ones are scaled down.
    """
    paths = [Path(path) for path in dict.fromkeys(result.output_files) if Path(path).suffix.lower() in PICTURE_ENDINGS]
    return list(_read(paths[-most:] if most else [], side))


def _silence(result: CodeResult) -> str:
    return "The code ran and printed nothing." if result.status == "ok" else f"The code ended: {result.status}."


def _read(paths: list[Path], side: int) -> Iterator[Picture]:
    for path in paths:
        try:
            yield Picture(path, scaled(_content(path), side))
        except Exception as exc:  # noqa: BLE001  (whatever a decoder makes of a file that code wrote)
            logger.info("%s is no picture that could be shown: %s", path, exc)


def _content(path: Path) -> bytes:
    """The bytes of a file. Code may have put something else in its place: a link, a pipe, more than is good.

    Raises:
        OSError: It is no file, or too large a one.
    """
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    return content_of(os.open(path, flags))


def content_of(opened: int) -> bytes:
    """What a file holds that was opened without a wait; it is closed.

    Args:
        opened: Its descriptor.

    Raises:
        OSError: It is no file (a pipe, say), or too large a one.
    """
    with os.fdopen(opened, "rb") as file:
        info = os.fstat(file.fileno())
        if not stat.S_ISREG(info.st_mode):
            raise OSError("it is no file")
        if info.st_size > _LARGEST_FILE:
            raise OSError(f"it has {info.st_size} bytes, more than {_LARGEST_FILE}")
        return file.read(_LARGEST_FILE)


def scaled(content: bytes, side: int = _LONGEST_SIDE) -> bytes:
    """A picture as a PNG whose sides are at most `side`.

    Args:
        content: A picture of some format: PNG, JPEG, GIF, WEBP.
        side: Pixels.

    Raises:
        ValueError: It is too large.
        OSError: It is none (Pillow's).
    """
    from PIL import Image

    with Image.open(io.BytesIO(content), formats=_FORMATS) as image:
        if image.width * image.height > MOST_PIXELS:
            raise ValueError(f"it has {image.width} by {image.height} pixels")
        if image.format == "PNG" and max(image.size) <= side and len(content) <= _LARGEST_PICTURE:
            image.load()
            return content
        image.draft("RGB", (side, side))
        shown = image.convert("RGBA" if image.has_transparency_data else "RGB")
        shown.thumbnail((side, side))
        made = io.BytesIO()
        shown.save(made, "PNG")
        return made.getvalue()
